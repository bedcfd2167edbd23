// The page reads without this: it adds sorting, copying, and links that open an arm.
"use strict";

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (head.classList.contains("plain")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sort(table, heads, column));
  });
}

function sort(table, heads, column) {
  const numeric = heads[column].classList.contains("n");
  const before = heads[column].getAttribute("aria-sort");
  const up = before ? before === "descending" : heads[column].dataset.first !== "down";
  heads.forEach((head) => head.removeAttribute("aria-sort"));
  heads[column].setAttribute("aria-sort", up ? "ascending" : "descending");
  const key = (row) => {
    const value = row.cells[column]?.dataset.v;
    if (value === undefined || value === "" || value === "None") return null;
    return numeric ? Number(value) : value;
  };
  const body = table.tBodies[0];
  const rows = [...body.rows].sort((a, b) => {
    const x = key(a), y = key(b);
    if (x === null || y === null) return (x === null) - (y === null);
    const order = numeric ? x - y : x.localeCompare(y);
    return up ? order : -order;
  });
  body.append(...rows);
}

function openArm() {
  const id = location.hash.slice(1);
  const radio = [...document.querySelectorAll("input[name=arm]")].find((input) => input.value === id);
  if (!radio) return;
  radio.checked = true;
  document.getElementById(id).scrollIntoView();
}
addEventListener("hashchange", openArm);
openArm();

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    const words = document.getElementById(button.dataset.copy).textContent;
    try {
      await navigator.clipboard.writeText(words);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(document.getElementById(button.dataset.copy));
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
}
