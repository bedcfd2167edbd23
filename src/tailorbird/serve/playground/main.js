import { get } from "./api.js";
import { classify } from "./classify.js";
import { chat } from "./chat.js";
import { ask } from "./ask.js";
import { compare } from "./compare.js";
import { note, show } from "./dom.js";

const HEADS = ["classification", "multilabel", "regression", "tokens"];
const views = { classify, chat, ask, compare };
const view = document.getElementById("view"), title = document.getElementById("title");

async function open() {
  let models;
  try {
    models = (await get("v1/models")).data;
  } catch (fault) {
    show(view, note(`The server does not answer: ${fault.message}`, true));
    return;
  }
  const served = {
    heads: models.filter((m) => HEADS.includes(m.task)),
    writers: models.filter((m) => m.task === "generation"),
    stores: models.filter((m) => m.task === "answering"),
    // The bundled example brings something to ask.
    example: models.some((m) => m.labels?.includes("off_by_one")),
  };
  const made = {};
  const first = served.heads.length ? "classify" : served.writers.length ? "chat" : "ask";

  function turn(moved) {
    const name = location.hash.slice(1) in views ? location.hash.slice(1) : first;
    if (moved && !(location.hash.slice(1) in views)) return;
    for (const link of document.querySelectorAll("nav a")) {
      if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    made[name] ??= views[name](served);
    title.textContent = { classify: "Classify", chat: "Chat", ask: "Ask documents", compare: "Compare two" }[name];
    document.title = `${title.textContent} · tailorbird playground`;
    show(view, made[name]);
  }
  addEventListener("hashchange", () => turn(true));
  turn(false);
}

open();
