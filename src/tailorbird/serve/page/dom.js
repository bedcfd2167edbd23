// Elements from plain values: text is always text, so that no answer becomes markup.

/** Return an element; `attributes` that are functions listen, others are set. */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") element.addEventListener(key, value);
    else if (key === "class") element.className = value;
    else if (key in element && typeof value !== "string") element[key] = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

let count = 0;

/** Return a control with its label before it. */
export function field(words, control) {
  control.id ||= `field-${++count}`;
  return h("div", {}, h("label", { for: control.id }, words), control);
}

export function chooser(words, options, chosen, change = () => {}) {
  const select = h("select", { change: () => change(select.value) },
    options.map((option) => h("option", { value: option, selected: option === chosen }, option)));
  return { element: field(words, select), get value() { return select.value; }, set value(v) { select.value = v; } };
}

export function percent(share) {
  return `${(100 * share).toFixed(1)} %`;
}

/** Return probabilities as bars, the likeliest first. */
export function bars(probabilities, most = 12) {
  const rows = Object.entries(probabilities).sort((a, b) => b[1] - a[1]).slice(0, most);
  return h("ul", { class: "bars" }, rows.map(([label, p], i) => {
    const fill = h("div", { class: "fill" });
    fill.style.width = `${100 * p}%`;
    return h("li", { class: i ? "" : "first" }, h("span", { class: "name" }, label),
      h("span", { class: "number" }, percent(p)), h("div", { class: "track", "aria-hidden": "true" }, fill));
  }));
}

export function note(words, fault = false) {
  return h("p", { class: fault ? "note fault" : "note", role: fault ? "alert" : null }, words);
}

export function show(place, ...children) {
  place.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
}

/** Return both texts' words as one line of what stayed, went and came (longest common subsequence). */
export function difference(before, after) {
  const a = before.split(/(\s+)/).slice(0, 600), b = after.split(/(\s+)/).slice(0, 600);
  const table = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      table[i][j] = a[i] === b[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
  const parts = [];
  let i = 0, j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) { parts.push(a[i]); i++; j++; }
    else if (j < b.length && (i === a.length || table[i][j + 1] >= table[i + 1][j])) parts.push(h("ins", {}, b[j++]));
    else parts.push(h("del", {}, a[i++]));
  }
  return h("p", { class: "text" }, parts);
}
