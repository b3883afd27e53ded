// Shows the rows and marks that pass all filters, and opens the run that a link leads to.
const filters = [...document.querySelectorAll("[data-filter]")];
const controls = document.getElementById("controls");
function filter() {
  const rows = [...document.querySelectorAll("#board tbody tr")];
  for (const row of rows) {
    const passes = filters.every(({ value, dataset }) => !value || row.getAttribute(`data-${dataset.filter.replaceAll(" ", "-")}`) === value);
    row.hidden = !passes || (controls && !controls.checked && row.classList.contains("control"));
    for (const mark of document.querySelectorAll(`#board [data-row="${row.id.slice(4)}"]`)) mark.classList.toggle("gone", row.hidden);
  }
  const shown = rows.filter(row => !row.hidden).length;
  if (controls) document.getElementById("count").textContent = `${shown} of ${rows.length} rows`;
}
function unfold() {
  const run = location.hash && document.getElementById(location.hash.slice(1))?.closest("details.run");
  if (!run || run.open) return;
  run.open = true;
  document.getElementById(location.hash.slice(1)).scrollIntoView();
}
for (const box of [...filters, ...(controls ? [controls] : [])]) box.addEventListener("change", filter);
addEventListener("hashchange", unfold);
filter();
unfold();
