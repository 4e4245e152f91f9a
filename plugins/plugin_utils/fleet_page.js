"use strict";
// Sorts and filters the tables that are already on the page. Tenants' text is only ever handled as text, never as HTML.
const FILTER_FROM = 10; // rows
const collator = new Intl.Collator("en", { numeric: true });

const keyOf = (cell, number) => {
  if (!number) return cell.firstChild ? cell.firstChild.textContent : ""; // without the note for phones
  return cell.hasAttribute("data-sort") ? Number(cell.getAttribute("data-sort")) : null;
};

// Unknown values come last in either direction.
const compare = (a, b, descending) => {
  if (a === null || b === null) return (a === null) - (b === null);
  const order = typeof a === "number" ? a - b : collator.compare(a, b);
  return descending ? -order : order;
};

const makeSortable = (table) => {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.textContent = "";
    head.append(button);
    button.addEventListener("click", () => {
      const number = head.classList.contains("n");
      const now = head.getAttribute("aria-sort");
      const descending = now ? now === "ascending" : number;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const body = table.tBodies[0];
      const rows = [...body.rows].map((row) => [keyOf(row.cells[column], number), row]);
      rows.sort((a, b) => compare(a[0], b[0], descending));
      body.append(...rows.map(([, row]) => row));
    });
  });
};

const makeFilterable = (table) => {
  const rows = [...table.tBodies[0].rows];
  if (rows.length < FILTER_FROM) return;
  const texts = rows.map((row) => [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase());
  const bar = document.createElement("div");
  bar.className = "filter";
  const label = document.createElement("label");
  const input = document.createElement("input");
  const shown = document.createElement("output");
  input.type = "search";
  input.placeholder = "Filter";
  input.setAttribute("aria-label", "Filter: " + table.closest("section").querySelector("h2").textContent);
  label.append(input);
  bar.append(label, shown);
  table.parentElement.before(bar);
  const filter = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    rows.forEach((row, index) => {
      const matches = words.every((word) => texts[index].includes(word));
      row.hidden = !matches;
      count += matches;
    });
    shown.textContent = words.length ? `${count.toLocaleString("en")} of ${rows.length.toLocaleString("en")} rows` : `${rows.length.toLocaleString("en")} rows`;
  };
  input.addEventListener("input", filter);
  filter();
};

document.querySelectorAll("table").forEach((table) => {
  if (!table.tHead) return;
  makeSortable(table);
  makeFilterable(table);
});
