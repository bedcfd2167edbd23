import { get, post, stream } from "./api.js";
import { asCurl, copies } from "./copy.js";
import { bars, chooser, field, h, note, percent, show } from "./dom.js";

export function compare({ heads, writers }) {
  const labels = heads.filter((m) => ["classification", "multilabel"].includes(m.task) && !m.pairs);
  const models = [...labels, ...writers];
  if (models.length < 2) return note("Comparing needs two runs of one task. Start with: tailor serve RUN/arms/lora RUN/arms/rag");
  const byName = Object.fromEntries(models.map((m) => [m.id, m]));
  const first = chooser("First", models.map((m) => m.id), models[0].id, changed);
  const second = chooser("Second", models.map((m) => m.id), models[1].id, changed);
  const text = h("textarea", { spellcheck: false });
  const button = h("button", { class: "main", type: "submit" }, "Compare");
  const list = h("section", { class: "card", "aria-label": "Where they disagree" });
  const sides = [h("section", { class: "card", "aria-live": "polite" }), h("section", { class: "card", "aria-live": "polite" })];
  const code = h("div");
  const form = h("form", { class: "card", submit: (event) => { event.preventDefault(); run(); } },
    h("div", { class: "row" }, first.element, second.element), field("Text", text), h("div", { class: "row" }, button), code);
  changed();
  return h("div", {}, h("div", { class: "columns" }, form, list), h("h2", { class: "visually-hidden" }, "Answers"),
    h("div", { class: "columns", id: "sides" }, sides));

  function pair() { return [byName[first.value], byName[second.value]]; }

  async function changed() {
    pair().forEach((model, i) => show(sides[i], h("h2", {}, model.id)));
    pair().forEach((model, i) => evidence(model, sides[i]));
    const [a, b] = pair();
    show(list, h("h2", {}, "Where they disagree on the test"));
    if (a.id === b.id || a.task === "generation" || b.task === "generation") {
      list.append(h("p", { class: "soft" }, "Shown for two runs of labels that were tested on the same examples."));
      return;
    }
    try {
      const found = await get(`v1/disagreements?first=${encodeURIComponent(a.id)}&second=${encodeURIComponent(b.id)}`);
      list.append(h("p", { class: "soft" }, `${found.total} of ${found.examples} test examples.`),
        h("ul", { class: "list scroll", tabindex: "0", "aria-label": "Test examples" }, found.data.map((row) => h("li", {},
          h("button", { type: "button", click: (event) => { text.value = row.text; mark(event.currentTarget); run(row.label); } },
            h("span", { class: "text" }, row.text), `${a.id}: ${row.first}, ${b.id}: ${row.second}, right: ${row.label}`)))));
    } catch (fault) {
      list.append(note(fault.message));
    }
  }

  function mark(button) {
    for (const other of list.querySelectorAll("[aria-current]")) other.removeAttribute("aria-current");
    button.setAttribute("aria-current", "true");
  }

  async function evidence(model, place) {
    try {
      const known = await get(`v1/evidence/${model.id}`);
      const parts = [known.score && `${known.headline} ${percent(known.score.value)} (${percent(known.score.low)} to ${percent(known.score.high)})`,
        known.ms_per_example && `${known.ms_per_example.toFixed(1)} ms a text when tested`,
        known.train_seconds && `trained in ${known.train_seconds.toFixed(0)} s`].filter(Boolean);
      place.append(h("p", { class: "soft" }, parts.join(", ")));
    } catch { /* a base model has no test */ }
  }

  async function run(right) {
    if (!text.value.trim()) return;
    button.disabled = true;
    await Promise.all(pair().map((model, i) => side(model, sides[i], right)));
    show(code, copies({ curl: pair().map((m) => m.task === "generation"
      ? asCurl("/v1/chat/completions", { model: m.id, messages: [{ role: "user", content: text.value }] })
      : asCurl("/predict", { model: m.id, inputs: text.value, truncate: true })).join("\n\n") }));
    button.disabled = false;
  }

  async function side(model, place, right) {
    const began = performance.now();
    try {
      if (model.task === "generation") {
        const words = h("div", { class: "turn assistant" }), about = h("p", { class: "soft" });
        show(place, h("h2", {}, model.id), words, about);
        const body = { model: model.id, messages: [{ role: "user", content: text.value }], stream: true };
        if (model.max_model_len !== null) Object.assign(body, { temperature: 0, max_tokens: 128 });
        for await (const chunk of stream("v1/chat/completions", body)) words.textContent += chunk.choices[0]?.delta.content ?? "";
        about.textContent = `answered in ${(performance.now() - began).toFixed(0)} ms`;
        return;
      }
      const rows = await post("predict", { model: model.id, inputs: text.value, truncate: true });
      const took = performance.now() - began;
      const verdict = right === undefined ? "" : rows[0].label === right ? ", right" : ", wrong";
      show(place, h("h2", {}, model.id), h("p", {}, h("strong", {}, rows[0].label), `${verdict}, ${took.toFixed(0)} ms`),
        bars(Object.fromEntries(rows.map((row) => [row.label, row.score])), 6));
      evidence(model, place);
    } catch (fault) {
      show(place, h("h2", {}, model.id), note(fault.message, true));
    }
  }
}
