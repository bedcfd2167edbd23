// Requests to this server, and nowhere else.

export class Fault extends Error {}

async function checked(response) {
  if (response.ok) return response;
  let words = `${response.status} ${response.statusText}`;
  try {
    const { error } = await response.json();
    words = error.message ?? error;
  } catch { /* no body that says more */ }
  const wait = response.headers.get("retry-after");
  throw new Fault(wait ? `${words} (try again in ${wait} s)` : words);
}

export async function get(path) {
  return (await checked(await fetch(path))).json();
}

export async function post(path, body, signal) {
  const response = await fetch(path, {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), signal,
  });
  return (await checked(response)).json();
}

export async function remove(path) {
  return (await checked(await fetch(path, { method: "DELETE" }))).json();
}

/** Yield the events of a stream as they come. */
export async function* events(path, options) {
  const response = await checked(await fetch(path, options));
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    const lines = rest.split("\n\n");
    rest = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data: ")) continue;
      const data = line.slice(6);
      if (data === "[DONE]") return;
      const parsed = JSON.parse(data);
      if (parsed.error) throw new Fault(parsed.error.message ?? parsed.error);
      yield parsed;
    }
  }
}

export function stream(path, body, signal) {
  return events(path, {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), signal,
  });
}
