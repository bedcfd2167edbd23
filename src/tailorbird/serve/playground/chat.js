import { stream } from "./api.js";
import { asCurl, asOpenAI, copies } from "./copy.js";
import { chooser, field, h, note, prose, show } from "./dom.js";

export function chat({ writers, stores, example }) {
  const models = [...writers, ...stores];
  const byName = Object.fromEntries(models.map((m) => [m.id, m]));
  if (!models.length) return note("No model that generates text is served. Start with: tailor serve RUN, or --model NAME");
  const names = chooser("Model", models.map((m) => m.id), models[0].id, adapt);
  const temperature = h("input", { type: "number", min: "0", max: "2", step: "0.1", value: "0" });
  const tokens = h("input", { type: "number", min: "1", max: "1024", value: "128" });
  const seed = h("input", { type: "number", min: "0", value: "1" });
  const settings = h("div", { class: "row" }, field("Temperature", temperature), field("Longest answer", tokens), field("Seed", seed));
  const words = h("textarea", { class: "prose" });
  if (example) words.value = "Why does my loop run one time too often?";
  const send = h("button", { class: "main", type: "submit" }, "Send");
  const stop = h("button", { type: "button", disabled: true, click: () => running?.abort() }, "Stop");
  const clear = h("button", { type: "button", click: forget }, "New conversation");
  const log = h("section", { class: "card", role: "log", "aria-label": "Conversation", "aria-live": "polite" });
  const code = h("div");
  let turns = [], running = null;
  const form = h("form", { class: "card", submit: (event) => { event.preventDefault(); answer(); } },
    names.element, settings, field("Your words", words), h("div", { class: "row" }, send, stop, clear), code);
  words.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); form.requestSubmit(); }
  });
  adapt();
  forget();
  return h("div", { class: "columns answer-first" }, form, log);

  // What quotes or looks answers up takes no settings of writing.
  function adapt() { settings.hidden = byName[names.value].max_model_len === null; }

  function forget() {
    running?.abort();
    turns = [];
    show(log, h("p", { class: "soft" }, "The conversation appears here."));
    show(code);
  }

  function body() {
    const whole = { model: names.value, messages: [...turns] };
    if (settings.hidden) return whole;
    return { ...whole, temperature: Number(temperature.value), max_tokens: Number(tokens.value), seed: Number(seed.value) };
  }

  async function answer() {
    if (running || !words.value.trim()) return;
    turns.push({ role: "user", content: words.value });
    const request = body();
    if (turns.length === 1) show(log);
    const place = h("div", { class: "turn assistant" }), about = h("p", { class: "soft" });
    log.append(h("div", { class: "turn user" }, words.value), place, about);
    words.value = "";
    running = new AbortController();
    send.disabled = true;
    stop.disabled = false;
    const streaming = settings.hidden ? { stream: true } : { stream: true, stream_options: { include_usage: true } };
    const began = performance.now();
    let text = "", first = 0, count = 0, reason = "stopped", sources = [];
    try {
      for await (const chunk of stream("v1/chat/completions", { ...request, ...streaming }, running.signal)) {
        const choice = chunk.choices[0];
        if (choice?.delta.content) {
          first ||= performance.now() - began;
          text += choice.delta.content;
          show(place, prose(text));
        }
        count = chunk.usage?.completion_tokens ?? count;
        sources = choice?.delta.annotations ?? sources;
        if (choice?.finish_reason) reason = choice.finish_reason === "length" ? "cut at the longest answer or the server's time" : "";
      }
    } catch (fault) {
      if (fault.name !== "AbortError") { log.append(note(fault.message, true)); reason = "failed"; }
    }
    const seconds = (performance.now() - began) / 1000;
    about.textContent = [first && `first words after ${first.toFixed(0)} ms`, count && `${count} tokens, ${(count / seconds).toFixed(0)} in a second`, reason]
      .filter(Boolean).join(", ");
    if (sources.length) about.before(h("ul", { class: "sources" }, cited(text, sources)));
    if (text) turns.push({ role: "assistant", content: text });
    else turns.pop();
    running = null;
    send.disabled = false;
    stop.disabled = true;
    show(code, copies({
      curl: asCurl("/v1/chat/completions", request),
      openai: asOpenAI("chat.completions.create", request),
      Python: `import tailorbird\n\nwriter = tailorbird.load("RUN")  # the folder of ${request.model}\nfor piece in writer.stream(${JSON.stringify(request.messages.at(-1).content)}):\n    print(piece, end="")`,
    }));
  }
}

/** Return a line for each mark of an answer, with the document it stands for. */
function cited(text, sources) {
  const byMark = new Map(sources.map(({ url_citation: c }) => [[...text].slice(c.start_index, c.end_index).join(""), c]));
  return [...byMark].map(([mark, c]) => h("li", {}, `${mark} `, h("a", { href: c.url, target: "_blank", rel: "noopener" }, c.title)));
}
