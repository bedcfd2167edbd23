import { get, post, remove } from "./api.js";
import { asCurl, asOpenAI, copies } from "./copy.js";
import { bars, chooser, field, h, note, percent, show } from "./dom.js";

const EXAMPLE = "for i in range(len(names)):\n    print(names[i + 1])\nIndexError: list index out of range";

export function classify({ heads, example }) {
  if (!heads.length) return note("No run of labels or numbers is served. Start with: tailor serve RUN");
  const byName = Object.fromEntries(heads.map((m) => [m.id, m]));
  const names = chooser("Model", heads.map((m) => m.id), heads[0].id, adapt);
  const text = h("textarea", { spellcheck: false });
  const second = h("textarea", { spellcheck: false });
  const secondField = field("Second text", second);
  const button = h("button", { class: "main", type: "submit" }, "Classify");
  const result = h("section", { class: "card", "aria-live": "polite", "aria-label": "Answer" });
  if (example) text.value = EXAMPLE;
  show(result, h("p", { class: "soft" }, "The answer appears here."));
  const form = h("form", { class: "card", submit: (event) => { event.preventDefault(); run(); } },
    names.element, field("Text", text), secondField, h("div", { class: "row" }, button));
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  adapt();
  return h("div", { class: "columns" }, form, result);

  function adapt() { secondField.hidden = !byName[names.value].pairs; }

  async function run() {
    const model = byName[names.value];
    button.disabled = true;
    try {
      const began = performance.now();
      const inputs = model.pairs ? [text.value, second.value] : text.value;
      const body = { model: model.id, inputs, truncate: true };
      const rows = await post("predict", body);
      const took = performance.now() - began;
      if (model.task === "tokens") show(result, tokens(text.value, rows, took), code("/predict", body, model));
      else if (model.task === "regression") show(result, values(rows, took), code("/predict", body, model));
      else await labels(model, body, rows, took);
    } catch (fault) {
      show(result, note(fault.message, true));
    } finally {
      button.disabled = false;
    }
  }

  async function labels(model, body, rows, took) {
    const probabilities = Object.fromEntries(rows.map((row) => [row.label, row.score]));
    const evidence = h("div"), words = h("div"), right = h("div");
    show(result, h("h2", {}, rows[0].label), h("p", { class: "soft" }, `answered in ${took.toFixed(0)} ms`),
      bars(probabilities), evidence, right, words, code("/predict", body, model));
    trust(model, rows[0].score, evidence);
    if (!model.pairs) {
      correct(model, text.value, rows, right);
      await why(model, text.value, words);
    }
  }

  function code(path, body, model) {
    const forms = { curl: asCurl(path, body) };
    if (["classification", "multilabel"].includes(model.task) && !model.pairs) {
      const questions = model.task === "classification"
        ? [{ type: "choice", instructions: "", choices: model.labels.map((value) => ({ value })) }]
        : model.labels.map((name) => ({ type: "predicate", name, instructions: "" }));
      forms.openai = asOpenAI("decisions.create", { model: model.id, input: text.value, questions });
    }
    const given = model.pairs ? `(${JSON.stringify(text.value)}, ${JSON.stringify(second.value)})` : JSON.stringify(text.value);
    forms.Python = `import tailorbird\n\npredictor = tailorbird.load("RUN")  # the folder of ${model.id}\nprint(predictor.predict([${given}]))`;
    return copies(forms);
  }
}

function tokens(text, rows, took) {
  const parts = [];
  let at = 0;
  for (const row of rows) {
    parts.push(text.slice(at, row.start), h("mark", {}, text.slice(row.start, row.end),
      h("span", { class: "tag" }, `${row.entity_group} ${percent(row.score)}`)));
    at = row.end;
  }
  return [h("h2", {}, `${rows.length} found`), h("p", { class: "soft" }, `answered in ${took.toFixed(0)} ms`),
    h("p", { class: "text" }, parts, text.slice(at))];
}

function values(rows, took) {
  return [h("h2", {}, "Values"), h("p", { class: "soft" }, `answered in ${took.toFixed(0)} ms`),
    h("ul", {}, rows.map((row) => h("li", {}, `${row.label}: ${row.score.toPrecision(5)}`)))];
}

/** Say how often answers that were this sure were right on the test. */
async function trust(model, confidence, place) {
  let evidence;
  try { evidence = await get(`v1/evidence/${model.id}`); } catch { return; }
  const bins = evidence.calibration ?? [];
  if (!bins.length || model.task !== "classification") return;
  const near = bins.reduce((a, b) => Math.abs(b.confidence - confidence) < Math.abs(a.confidence - confidence) ? b : a);
  show(place, h("p", { class: "soft" }, `On the test, of ${near.count} answers about this sure (${percent(near.confidence)}), `,
    h("strong", {}, `${percent(near.accuracy)} were right`), "."));
}

/** Mark the words by how much less likely the label is without each. */
async function why(model, text, place) {
  show(place, h("h3", {}, "Which words mattered"), h("p", { class: "soft" }, "Leaving out each word in turn …"));
  let answer;
  try {
    answer = await post("v1/explain", { model: model.id, input: text });
  } catch (fault) {
    show(place, h("h3", {}, "Which words mattered"), note(fault.message, true));
    return;
  }
  const most = Math.max(...answer.words.map((word) => Math.abs(word.effect)), 1e-9);
  const parts = [];
  let at = 0;
  for (const word of answer.words) {
    const share = word.effect / most;
    const sign = word.effect >= 0 ? "+" : "−";
    const span = h("span", { class: "word", title: `${sign}${percent(Math.abs(word.effect))}` }, word.text);
    span.style.background = `rgba(var(--${share >= 0 ? "for" : "against"}), ${(0.55 * Math.abs(share)).toFixed(2)})`;
    parts.push(text.slice(at, word.start), span);
    at = word.end;
  }
  const top = [...answer.words].sort((a, b) => b.effect - a.effect).slice(0, 3).filter((w) => w.effect > 0);
  show(place, h("h3", {}, "Which words mattered"), h("p", { class: "text" }, parts, text.slice(at)),
    h("p", { class: "soft" }, `For ${answer.label}: `, top.length
      ? top.map((w) => `${w.text} (+${percent(w.effect)})`).join(", ") : "no single word", "."),
    answer.neighbours.length ? [h("h3", {}, "Nearest training examples"),
      answer.neighbours.map((n) => h("div", { class: "passage" }, h("p", { class: "text" }, n.text),
        h("p", { class: "soft" }, `${n.label}, similarity ${n.similarity.toFixed(2)}`)))] : null);
}

/** Let the person say what is right. */
function correct(model, text, rows, place) {
  const labels = chooser("Wrong? The right label is", model.labels, rows[0].label);
  const told = h("div", { "aria-live": "polite" });
  const button = h("button", { type: "button", click: send }, "Correct");
  show(place, h("div", { class: "row" }, labels.element, button), told);

  async function send() {
    try {
      const kept = await post("v1/corrections", { model: model.id, text, label: labels.value });
      const undo = h("button", { class: "small", type: "button", click: async () => {
        await remove(`v1/corrections/${kept.id}`);
        show(told, note("Undone."));
      } }, "Undo");
      show(told, h("p", { class: "note" }, `${kept.message} `, undo));
    } catch (fault) {
      show(told, note(fault.message, true));
    }
  }
}
