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

/** Return a text with the code between ``` marks set apart; an open block goes on to the end. */
export function prose(text) {
  return text.split(/^```.*\n?/m).map((part, i) => {
    if (!part.trim()) return null;
    return i % 2 ? h("pre", { tabindex: "0", "aria-label": "Code" }, part.trimEnd()) : h("div", {}, part.trim());
  });
}

export function show(place, ...children) {
  place.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
}

/** Return what went and what came between two texts, word by word (longest common subsequence). */
export function difference(before, after) {
  const a = words(before), b = words(after);
  const table = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      table[i][j] = same(a[i], b[j]) ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
  // Of two answers that share next to nothing, scattered words would say less than both of them.
  if (table[0][0] < Math.max(a.length, b.length) / 2)
    return h("div", {}, h("p", {}, h("del", {}, before)), h("p", {}, h("ins", {}, after)));
  const parts = [];
  let i = 0, j = 0;
  while (i < a.length || j < b.length) {
    const start = j;
    while (i < a.length && j < b.length && same(a[i], b[j])) { i++; j++; }
    parts.push(b.slice(start, j).join(""));
    const gone = i, come = j;
    while ((i < a.length || j < b.length) && !(i < a.length && j < b.length && same(a[i], b[j]))) {
      if (j === b.length || (i < a.length && table[i + 1][j] >= table[i][j + 1])) i++;
      else j++;
    }
    if (i > gone) parts.push(h("del", {}, a.slice(gone, i).join("").trimEnd()), " ");
    if (j > come) parts.push(h("ins", {}, b.slice(come, j).join("").trimEnd()), " ");
  }
  return h("p", {}, parts);
}

function words(text) { return (text.match(/\S+\s*/g) ?? []).slice(0, 600); }

function same(one, other) { return one.trimEnd() === other.trimEnd(); }
