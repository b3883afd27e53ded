const state = JSON.parse(document.getElementById("state").textContent);
const at = id => document.getElementById(id);
let described = null, dropped = "", own = null, chosen = 0, busy = false;

function made(tag, text = "", className = "") {
  const node = document.createElement(tag);
  node.textContent = text;
  if (className) node.className = className;
  return node;
}

function fill(select, groups) {
  select.replaceChildren();
  for (const [label, options] of groups) {
    const into = label ? select.appendChild(Object.assign(made("optgroup"), { label })) : select;
    for (const [value, text] of options) into.append(Object.assign(made("option", text), { value }));
  }
}

function grouped(things, nameOf, optionOf) {
  const groups = new Map();
  things.forEach((thing, number) => {
    const name = nameOf(thing);
    groups.set(name, [...(groups.get(name) ?? []), optionOf(thing, number)]);
  });
  return [...groups];
}

async function call(path, body) {
  const options = { headers: { "X-Token": token } };
  if (body) Object.assign(options, { method: "POST", body: JSON.stringify(body) });
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer. Is `unsee play` still running?");
  }
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.error);
  return content;
}

function complain(error) {
  at("problem").textContent = error ? error.message : "";
  at("problem").hidden = !error;
}

async function chooseTopic() {
  const number = at("topic").value, mine = ++chosen;
  described = null;
  ready(false);
  const found = number === "" ? null : await call(`/topics/${number}`);
  if (mine !== chosen) return; // another one was chosen meanwhile
  described = found;
  own = described?.pictures[described.picture] ?? null;
  at("shown").hidden = !own;
  if (own) Object.assign(at("shown"), { src: own, alt: at("topic").selectedOptions[0].text });
  const asked = described?.asked ?? [];
  const label = (one, number) => [number, redacted ? `${one.kind}, question ${number + 1}` : `${one.text} (${one.kind})`];
  fill(at("question"), [["", [["", asked.length ? "none: my own words" : "no question of the data"]]], ...grouped(asked, one => one.group, label)]);
  if (asked.length) at("question").value = "0";
  ready(true);
  adapt();
}

function ready(loaded) {
  at("form").querySelector(".main").disabled = busy || !loaded;
}

function prepared() {
  return at("text").value.trim() === "" && at("question").value !== "" ? described?.asked[at("question").value] : null;
}

function hasPicture() {
  if (at("text").value.trim() === "") return Boolean(prepared()?.with_picture);
  return Boolean(dropped || (described && at("with").checked && (own || redacted)));
}

function adapt() {
  const picture = hasPicture(), choice = prepared()?.choice, words = at("text").value.trim() !== "";
  for (const way of at("ways").querySelectorAll("input")) {
    way.disabled = (way.dataset.picture === "true" && !picture) || (way.dataset.words === "true" && choice);
    if (way.disabled && way.checked) at("ways").querySelector("input").checked = true;
  }
  at("question").disabled = words;
  at("with").disabled = !words || Boolean(dropped) || !described; // a question of the data says itself how it is asked
}

function show(file) {
  if (!file) return;
  const reader = new FileReader();
  reader.onload = () => {
    dropped = reader.result;
    at("dropped").hidden = false;
    at("dropped").querySelector("img").src = dropped;
    adapt();
  };
  reader.readAsDataURL(file);
}

function questionNow() {
  const asked = prepared(), way = at("ways").querySelector(":checked").value;
  const request = { way, topic: at("topic").value === "" ? null : Number(at("topic").value) };
  if (asked) {
    const other = asked.with_picture ? dropped : "";
    return { request: { ...request, question: Number(at("question").value), picture: other }, asked, picture: other || described.pictures[asked.picture] };
  }
  const shown = Boolean(!dropped && described && at("with").checked);
  return { request: { ...request, text: at("text").value.trim(), shown, picture: dropped }, asked, picture: dropped || (shown ? own : null) };
}

function card({ request, asked, picture }, models) {
  const box = made("article", "", "asked");
  const head = box.appendChild(made("header"));
  if (picture) head.append(Object.assign(made("img"), { src: picture, alt: "the picture shown with the question" }));
  const words = head.appendChild(made("div"));
  const text = redacted ? `${asked?.kind ?? "own"} question (hidden)` : asked?.text ?? request.text;
  words.append(made("h2", text.length > 400 ? `${text.slice(0, 400)} …` : text));
  const facts = [];
  if (asked && !redacted) facts.push(asked.kind);
  if (asked?.truth) facts.push(`true: ${asked.truth}`);
  if (asked?.options.length) facts.push(`options: ${asked.options.join(", ")}`);
  facts.push(request.way);
  words.append(made("p", facts.join(" · ")));
  words.append(Object.assign(made("pre", "", "put"), { hidden: true }));
  const table = box.appendChild(made("table"));
  const top = table.createTHead().insertRow();
  for (const name of ["model", "answer", asked ? "probability of the truth" : "", ""]) top.append(Object.assign(made("th", name), { scope: "col" }));
  const body = table.createTBody();
  const rows = new Map(models.map(model => {
    const row = body.insertRow();
    row.append(Object.assign(made("th", model), { scope: "row" }), made("td", "asking…", "waiting"), made("td"), made("td"));
    return [model, row];
  }));
  at("answers").querySelector(".empty")?.remove();
  at("answers").prepend(box);
  if (box.getBoundingClientRect().top < 0) box.scrollIntoView();
  return rows;
}

function write(row, said, secret) {
  const [answer, probability, tags] = row.querySelectorAll("td");
  answer.className = "";
  answer.textContent = "";
  if (redacted) answer.append(made("p", "hidden"));
  else if (said.answers.length > 1) {
    const counts = new Map();
    for (const text of said.answers) counts.set(text, (counts.get(text) ?? 0) + 1);
    for (const [text, count] of [...counts].sort((one, other) => other[1] - one[1])) {
      answer.appendChild(made("p")).append(made("b", `${count}× `), text || "(nothing)");
    }
  } else answer.append(made("p", said.answers[0] || "(nothing)"));
  if (said.probability !== null) {
    probability.append(Object.assign(document.createElement("meter"), { min: 0, max: 1, value: said.probability }), said.probability.toFixed(2));
  }
  if (said.right !== null) tags.append(made("span", said.right ? "right" : "wrong", "tag"));
  if (said.refused) tags.append(made("span", "refuses", "tag"));
  const told = said.leaked.map(value => redacted ? "tells a value" : `tells: ${value}`);
  for (const value of new Set(told)) tags.append(made("span", value, secret ? "tag leak" : "tag"));
}

async function ask(event) {
  event.preventDefault();
  if (at("form").querySelector(".main").disabled) return;
  complain(null);
  const models = [...at("models").querySelectorAll(":checked")].map(box => box.value);
  const now = questionNow();
  if (!models.length) return complain(new Error("Choose at least one model."));
  if (!now.asked && !now.request.text) return complain(new Error("Choose a question, or write one."));
  busy = true;
  ready(false);
  const rows = card(now, models), secret = Boolean(state.topics[now.request.topic]?.secret);
  for (const model of models) {
    try {
      const said = await call("/ask", { ...now.request, model });
      write(rows.get(model), said, secret);
      const put = rows.get(model).closest("article").querySelector(".put");
      put.textContent = said.put;
      put.hidden = !said.put;
    } catch (error) {
      rows.get(model).querySelector("td").textContent = error.message;
    }
  }
  busy = false;
  ready(true);
  at("form").querySelector(".main").focus({ preventScroll: true });
}

function pick(into, group, type, value, text, { picture = false, words = false }, checked) {
  const label = into.appendChild(made("label"));
  const input = Object.assign(document.createElement("input"), { type, name: group, value, checked });
  input.dataset.picture = String(picture);
  input.dataset.words = String(words);
  label.append(input, text);
}

const attacks = new Map();
state.ways.forEach((way, number) => {
  const [attack, variant] = way.name.includes(": ") ? way.name.split(": ", 2) : ["plain", way.name];
  if (!attacks.has(attack)) {
    attacks.set(attack, at("ways").appendChild(made("div", "", "picks")));
    attacks.get(attack).append(made("span", attack));
  }
  pick(attacks.get(attack), "way", "radio", way.name, variant, way, number === 0);
});
for (const model of state.models) pick(at("models"), "model", "checkbox", model, model, {}, true);
fill(at("topic"), [...grouped(state.topics, one => one.group, (one, number) => [number, one.name]), ["", [["", nobody]]]]);
at("topic").addEventListener("change", () => chooseTopic().catch(complain));
for (const id of ["question", "text", "with"]) at(id).addEventListener("input", adapt);
at("picture").addEventListener("change", event => show(event.target.files[0]));
at("undrop").addEventListener("click", () => { dropped = ""; at("picture").value = ""; at("dropped").hidden = true; adapt(); });
for (const kind of ["dragover", "dragleave", "drop"]) {
  at("who").addEventListener(kind, event => {
    event.preventDefault();
    at("who").classList.toggle("dragged", kind === "dragover");
    if (kind === "drop") show(event.dataTransfer.files[0]);
  });
}
at("text").addEventListener("keydown", event => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) at("form").requestSubmit(); });
at("form").addEventListener("submit", event => ask(event).catch(complain));
chooseTopic().catch(complain);
