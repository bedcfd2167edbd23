// What was just done, as a command or a program that does it again.
import { h } from "./dom.js";

const quoted = (value) => `'${value.replaceAll("'", `'\\''`)}'`;

function python(value, depth = 1) {
  const pad = "    ".repeat(depth), end = "    ".repeat(depth - 1);
  if (value === null || value === undefined) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (Array.isArray(value))
    return value.length ? `[\n${value.map((v) => `${pad}${python(v, depth + 1)},\n`).join("")}${end}]` : "[]";
  if (typeof value === "object")
    return `{${Object.entries(value).map(([k, v]) => `${JSON.stringify(k)}: ${python(v, depth)}`).join(", ")}}`;
  return JSON.stringify(value);
}

export function asCurl(path, body) {
  return `curl ${location.origin}${path} \\\n  -H 'content-type: application/json' \\\n  -d ${quoted(JSON.stringify(body))}`;
}

export function asOpenAI(call, body) {
  const words = Object.entries(body).map(([key, value]) => `    ${key}=${python(value, 2)},\n`).join("");
  return `from openai import OpenAI\n\nclient = OpenAI(base_url="${location.origin}/v1", api_key="KEY")\n` +
    `answer = client.${call}(\n${words})\nprint(answer)`;
}

/** Return the requests in several languages, each with a button that copies it. */
export function copies(forms) {
  return h("details", {}, h("summary", {}, "Copy as code"), Object.entries(forms).map(([name, words]) => {
    const button = h("button", {
      class: "small", type: "button",
      click: async () => {
        await navigator.clipboard.writeText(words);
        button.textContent = "Copied";
        setTimeout(() => { button.textContent = `Copy ${name}`; }, 1500);
      },
    }, `Copy ${name}`);
    return h("div", {}, h("h3", {}, name), h("pre", { tabindex: "0", "aria-label": name }, words), button);
  }));
}
