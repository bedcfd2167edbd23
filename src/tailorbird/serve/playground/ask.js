import { events, post, stream } from "./api.js";
import { asCurl, asOpenAI, copies } from "./copy.js";
import { chooser, difference, field, h, note, show } from "./dom.js";

export function ask({ stores, example }) {
  if (!stores.length) return note("No knowledge base is served. Start with: tailor serve --store KB");
  const names = chooser("Knowledge base", stores.map((m) => m.id), stores[0].id);
  const question = h("textarea", { class: "prose", rows: 2 });
  if (example) question.value = "How do I look at variables in the middle of a program?";
  const button = h("button", { class: "main", type: "submit" }, "Ask");
  const result = h("section", { class: "card", "aria-live": "polite", "aria-label": "Answer" },
    h("p", { class: "soft" }, "The answer appears here, each sentence with the place that holds it."));
  const files = h("input", { type: "file", change: () => { put(files.files[0]); files.value = ""; } });
  const stages = h("div", { "aria-live": "polite" });
  const drop = h("div", { class: "drop" }, field("Drop a document here, or choose one: answers come from it too", files), stages);
  for (const [kind, over] of [["dragover", true], ["dragleave", false], ["drop", false]])
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", over);
      if (kind === "drop") put(event.dataTransfer.files[0]);
    });
  const form = h("form", { class: "card", submit: (event) => { event.preventDefault(); run(); } },
    names.element, field("Question", question), h("div", { class: "row" }, button), drop);
  question.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); form.requestSubmit(); }
  });
  let last = null;
  return h("div", { class: "columns" }, form, result);

  async function run() {
    if (!question.value.trim()) return;
    button.disabled = true;
    const body = { model: names.value, question: question.value };
    const written = h("p", { class: "soft" }, "Searching …");
    show(result, written);
    try {
      let text = "";
      for await (const event of stream("v1/ask", { ...body, stream: true })) {
        if (event.type === "piece") { text += event.text; written.textContent = text; }
        if (event.type === "answer") { last = { body, answer: event }; show(result, shown(event, body)); }
      }
    } catch (fault) {
      show(result, note(fault.message, true));
    } finally {
      button.disabled = false;
    }
  }

  async function put(file) {
    if (!file) return;
    const path = `v1/vector_stores/${encodeURIComponent(names.value)}/documents/${encodeURIComponent(file.name)}`;
    show(stages, note(`Sending ${file.name} …`));
    try {
      const options = { method: "PUT", body: file, headers: { accept: "text/event-stream" } };
      for await (const event of events(path, options)) {
        if (event.type === "reading") show(stages, note(`Reading ${file.name} …`));
        if (event.type === "published") show(stages, note(`${file.name} is there: ${event.chunks} ${event.chunks === 1 ? "passage" : "passages"} in ${event.seconds.toFixed(1)} s.`));
      }
    } catch (fault) {
      show(stages, note(fault.message, true));
      return;
    }
    if (!last) return;
    const before = last.answer, now = await post("v1/ask", last.body);
    last.answer = now;
    show(result, shown(now, last.body), h("h3", {}, "What the document changed"),
      before.text === now.text ? h("p", { class: "soft" }, "Nothing: the answer is the same.") : difference(before.text, now.text));
  }
}

function shown(answer, body) {
  const cited = answer.claims.flatMap((claim) => claim.citations);
  const parts = answer.refused
    ? [h("h2", {}, answer.text), note(`Why there is no answer: ${answer.why}.`)]
    : [h("h2", {}, "Answer"), h("div", {}, answer.claims.map(claimed))];
  const heading = answer.refused ? "Nearest passages" : "Passages";
  return [...parts, h("p", { class: "soft" }, `${answer.generator === "extractive" ? "Quoted word for word" : `Written by ${answer.generator}`}, in ${answer.seconds.toFixed(2)} s`),
    h("h3", {}, heading), answer.passages.map((passage) => passed(passage, cited)),
    copies({
      curl: asCurl("/v1/ask", body),
      openai: asOpenAI("chat.completions.create", { model: body.model, messages: [{ role: "user", content: body.question }] }),
      Python: `import tailorbird\n\nwith tailorbird.KnowledgeBase("KB") as kb:  # the folder of ${body.model}\n    print(kb.ask(${JSON.stringify(body.question)}).text)`,
    })];
}

function claimed(claim, index) {
  if (!claim.supported)
    return h("p", { class: "claim" }, h("s", {}, claim.text), " ", h("em", {}, "no passage says this"));
  const code = claim.text.startsWith("```") || claim.text.includes("\n");
  const marks = claim.citations.map((citation) => {
    const link = h("a", { href: `#passage-${citation.number}`, click: (event) => lit(event, citation.number) }, `[${citation.number}]`);
    link.setAttribute("aria-label", `passage ${citation.number}: ${citation.title}`);
    return [" ", link];
  });
  return h("p", { class: code ? "claim text" : "claim", id: `claim-${index}` }, claim.text, marks.flat());
}

function lit(event, number) {
  event.preventDefault();
  const place = document.getElementById(`passage-${number}`);
  place.open = true;
  for (const other of document.querySelectorAll(".lit")) other.classList.remove("lit");
  place.classList.add("lit");
  place.querySelector("summary").focus({ preventScroll: true });
  (place.querySelector("mark") ?? place).scrollIntoView({ block: "nearest" });
}

/** Return a passage with the words marked that claims cite. */
function passed(passage, cited) {
  const spans = cited.filter((c) => c.number === passage.number)
    .map((c) => [c.start - passage.start, c.end - passage.start]).sort((a, b) => a[0] - b[0]);
  const parts = [];
  // Offsets count characters; JavaScript's strings count halves of some.
  const characters = [...passage.text];
  let at = 0;
  for (const [start, end] of spans) {
    if (start < at || end > characters.length) continue;
    parts.push(characters.slice(at, start).join(""), h("mark", {}, characters.slice(start, end).join("")));
    at = end;
  }
  parts.push(characters.slice(at).join(""));
  const trail = [passage.title, ...passage.headings.filter((x) => x !== passage.title)].join(" › ");
  const about = [passage.page && `page ${passage.page}`, passage.dense !== null && `similarity ${passage.dense.toFixed(2)}`].filter(Boolean);
  return h("details", { class: "passage", id: `passage-${passage.number}`, open: spans.length > 0 },
    h("summary", {}, `[${passage.number}] ${trail}`), h("p", { class: "words", tabindex: "0" }, parts),
    h("p", { class: "soft" }, h("a", { href: passage.url, target: "_blank", rel: "noopener", title: passage.source }, passage.source.split("/").pop()), about.length ? `, ${about.join(", ")}` : ""));
}
