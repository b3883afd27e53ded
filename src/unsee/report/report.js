"use strict";
// Names the marks nearest to where a plot is pressed, for screens without a pointer that hovers.
for (const plot of document.querySelectorAll(".plot")) {
  const points = [...plot.querySelectorAll(".point")];
  const shown = plot.closest("figure").querySelector(".pressed");
  plot.addEventListener("click", (event) => {
    const distances = points.map((point) => {
      const box = point.querySelector(".marker").getBoundingClientRect();
      return Math.hypot(box.x + box.width / 2 - event.clientX, box.y + box.height / 2 - event.clientY);
    });
    const near = Math.min(...distances) + 4;
    const chosen = points.filter((_, number) => distances[number] <= near);
    points.forEach((point) => point.classList.toggle("chosen", chosen.includes(point)));
    shown.replaceChildren(...chosen.map((point) => Object.assign(document.createElement("span"), { textContent: point.querySelector("title").textContent })));
  });
}
// Sorts a table by the column whose heading is pressed; numbers by data-value, the rest as text.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const value = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const isNumber = body.rows[0].cells[column].dataset.value !== undefined;
      const before = heading.getAttribute("aria-sort");
      const order = before ? (before === "ascending" ? "descending" : "ascending") : isNumber ? "descending" : "ascending";
      const sign = order === "ascending" ? 1 : -1;
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", order);
      const compare = (a, b) => (isNumber ? a - b : a.localeCompare(b));
      body.append(...[...body.rows].sort((a, b) => sign * compare(value(a, column), value(b, column))));
    });
  });
}
