"""`tailor serve` under too much load, with clients that leave, and while what it serves changes.

    python benchmarks/serve_load.py [--only NAME] [--run RUN] [--place FOLDER] [--seconds 60]
        [--minutes 30]

Without --run the `probe` arm of the bundled example is made (builtin:minilm under a linear head).
What is made is kept in --place, and used again from there. Texts of 8 to 256 tokens.

ready: seconds until a server listens, and from the last model that it loaded. overload: three times
the requests that it can answer, for --seconds, and what a client meets two seconds later. leavers:
200 clients that send a text and leave, then 200 that leave a chat at its first word. sigterm: what
becomes of the requests of 32 clients. adapters: memory of one run of LoRA and of four on the same
base, 1,000 requests to the four in turn, and one run put in another's place while it is asked.
document: 500 questions while a document is replaced again and again. soak (only when it is named):
the slope of the memory at a load of a fifth for --minutes.
"""

import asyncio
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import harness
import numpy as np
import psutil


class Client:
    """One connection that asks one request after another."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.link: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(
        self, path: str, body: Any, verb: str = "POST", kind: str = "application/json"
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of an answer; bytes are sent as they are."""
        if self.link is not None and self.link[0].at_eof():  # the server closed it meanwhile
            self.close()
            self.link = None
        self.link = self.link or await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self.link
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = f"{verb} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\n"
        writer.write(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        if "content-length" in headers:
            return (
                int(lines[0].split()[1]), headers,
                await reader.readexactly(int(headers["content-length"])),
            )  # fmt: skip
        parts = []
        while size := int((await reader.readline()).strip(), 16):
            parts.append((await reader.readexactly(size + 2))[:-2])
        await reader.readline()
        return int(lines[0].split()[1]), headers, b"".join(parts)

    def close(self) -> None:
        """Leave."""
        if self.link is not None:
            self.link[1].close()


class Served:
    """A server in a process of its own.

    Attributes:
        port: Where it listens.
        ready_seconds: From the start of the process until it listens.
        loaded_seconds: From the last model that it loaded until then.
    """

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "tailorbird.cli.main", "serve", "--port", "0", *arguments]
        began = loaded = time.perf_counter()
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        for line in self.process.stderr:
            harness.say(line.rstrip())
            if " is loaded (" in line:
                loaded = time.perf_counter()
            if line.startswith("listening on"):
                self.port = int(line.rsplit(":", 1)[1])
                self.ready_seconds = time.perf_counter() - began
                self.loaded_seconds = time.perf_counter() - loaded
                return
        harness.stop("the server did not start", "see its words above")

    def __enter__(self) -> "Served":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(60)

    def memory_mb(self) -> float:
        """Return the memory it holds."""
        return float(psutil.Process(self.process.pid).memory_info().rss) / 2**20

    def busy_seconds(self) -> float:
        """Return the processor time it has taken."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    def counter(self, name: str) -> float:
        """Return the sum of a counter of `/metrics` over all its labels."""
        _, _, page = asyncio.run(Client(self.port).post("/metrics", b"", "GET"))
        rows = [line.split() for line in page.decode().splitlines() if line.startswith(name)]
        return sum(float(row[-1]) for row in rows)

    def seconds_until_idle(self) -> float:
        """Return the seconds until it computes nothing any more."""
        began = time.perf_counter()
        while time.perf_counter() - began < 60:
            before, start = self.busy_seconds(), time.perf_counter()
            time.sleep(0.1)
            if self.busy_seconds() - before < 0.02:
                return start - began
        return float("inf")


def make_texts(count: int, tokenizer: Any, words: Sequence[str]) -> list[str]:
    """Return texts whose lengths are spread evenly from 8 to 256 tokens."""
    draw = random.Random(5)
    texts = []
    for _ in range(count):
        length = draw.randint(8, 256)
        ids = tokenizer(" ".join(draw.choices(words, k=length)), truncation=True,
                        max_length=length)["input_ids"]  # fmt: skip
        texts.append(tokenizer.decode(ids, skip_special_tokens=True))
    return texts


def classify(texts: Sequence[str], number: int) -> tuple[str, Any]:
    """Return the path and body of one request."""
    return "/classify", {"model": "run", "input": texts[number % len(texts)]}


async def closed(
    port: int, request: Callable[[int], tuple[str, Any]], seconds: float, clients: int
) -> tuple[float, list[float]]:
    """Return answers/s of clients that ask one request after another, and each one's seconds."""
    end, took = time.perf_counter() + seconds, list[float]()
    numbers = iter(range(10**9))

    async def ask() -> None:
        client = Client(port)
        while time.perf_counter() < end:
            began = time.perf_counter()
            status, _, content = await client.post(*request(next(numbers)))
            if status != 200:
                harness.stop(f"the server answered {status}", content[:300].decode())
            took.append(time.perf_counter() - began)
        client.close()

    began = time.perf_counter()
    await asyncio.gather(*(ask() for _ in range(clients)))
    return len(took) / (time.perf_counter() - began), took


async def offered(
    port: int, request: Callable[[int], tuple[str, Any]], rate: float, seconds: float
) -> tuple[float, list[tuple[int, float, bool]]]:
    """Send requests at a rate, whatever becomes of those before; return what became of each.

    Returns:
        Requests that were sent in a second, and of each its status, its seconds, and whether the
        answer says when to come again.
    """
    free: list[Client] = []
    answers: list[tuple[int, float, bool]] = []
    draw, due, began = random.Random(3), 0.0, time.perf_counter()

    async def ask(number: int) -> None:
        client = free.pop() if free else Client(port)
        start = time.perf_counter()
        status, headers, _ = await client.post(*request(number))
        answers.append((status, time.perf_counter() - start, "retry-after" in headers))
        free.append(client)

    async with asyncio.TaskGroup() as tasks:
        number = 0
        while due < seconds:
            due += draw.expovariate(rate)
            await asyncio.sleep(max(0.0, began + due - time.perf_counter()))
            tasks.create_task(ask(number))
            number += 1
        sent = number / (time.perf_counter() - began)
    for client in free:
        client.close()
    return sent, answers


def overload(run: Path, texts: Sequence[str], seconds: float) -> dict[str, Any]:
    """Return what three times too much load does."""

    def request(number: int) -> tuple[str, Any]:
        return classify(texts, number)

    with Served("--name", f"run={run}") as server:
        port = server.port
        asyncio.run(closed(port, request, 5, 32))
        _, calm = asyncio.run(closed(port, request, 4, 1))
        peak, _ = asyncio.run(closed(port, request, 10, 32))
        harness.say(f"peak: {peak:.0f} requests/s")
        before, start = server.memory_mb(), time.perf_counter()
        sent, answers = asyncio.run(offered(port, request, 3 * peak, seconds))
        spent, after = time.perf_counter() - start, server.memory_mb()
        time.sleep(2)
        _, later = asyncio.run(closed(port, request, 4, 1))
    accepted = [took for status, took, _ in answers if status == 200]
    refused = [(took, told) for status, took, told in answers if status == 429]
    # A slow machine may not fill the queue in the time: then nobody is refused.
    waits = quantiles([1000 * took for took, _ in refused] or [0.0, 0.0], n=100)
    return {
        "sent_s": round(sent, 1), "peak_s": round(peak, 1), "all_answered_after_s": round(spent, 1),
        "goodput_share": round(len(accepted) / spent / peak, 3),
        "statuses": dict(Counter(status for status, _, _ in answers)),
        "accepted_p99_s": round(quantiles(accepted, n=100)[98], 2),
        "refused_p50_ms": round(waits[49], 1), "refused_p99_ms": round(waits[98], 1),
        "refused_with_retry_after": all(told for _, told in refused),
        "memory_growth": round(after / before - 1, 3),
        "p50_ms_before": round(1000 * median(calm), 1),
        "p50_ms_2_s_later": round(1000 * median(later), 1),
    }  # fmt: skip


def leavers(run: Path, texts: Sequence[str]) -> dict[str, Any]:
    """Return what 200 clients leave behind that go before their answer comes."""

    async def leave(port: int, path: str, body: Any, first: bytes) -> None:
        async def one() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            content = json.dumps(body).encode()
            head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            writer.write(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
            if first:
                await reader.readuntil(first)
            else:
                await writer.drain()
                await asyncio.sleep(0.2)
            writer.close()

        await asyncio.gather(*(one() for _ in range(200)))

    result: dict[str, Any] = {}
    with Served("--name", f"run={run}", "--model", "builtin:tutor") as server:
        asyncio.run(closed(server.port, lambda n: classify(texts, n), 2, 8))
        before = server.counter("tailor_batch_size_sum")
        path, body = classify([max(texts, key=len)], 0)
        asyncio.run(leave(server.port, path, body, b""))
        result["texts_computed_of_200"] = server.counter("tailor_batch_size_sum") - before
        result["texts_idle_after_s"] = round(server.seconds_until_idle(), 2)
        chat = {
            "model": "builtin:tutor", "stream": True, "max_tokens": 512, "temperature": 1.0,
            "messages": [{"role": "user", "content": "Why does my loop end too soon?"}],
        }  # fmt: skip
        asyncio.run(leave(server.port, "/v1/chat/completions", chat, b"content"))
        result["chats_idle_after_s"] = round(server.seconds_until_idle(), 2)
        result["waiting_afterwards"] = server.counter("tailor_queue_requests")
        asyncio.run(closed(server.port, lambda n: classify(texts, n), 1, 1))
    return result


def sigterm(run: Path, texts: Sequence[str]) -> dict[str, Any]:
    """Return what becomes of the requests of 32 clients when the server is told to end."""
    outcomes: Counter[str] = Counter()

    async def ask(port: int, number: int) -> None:
        client = Client(port)
        while True:
            number += 97
            try:
                client.link = client.link or await asyncio.open_connection("127.0.0.1", port)
            except OSError:  # it listens no more: nothing was sent
                return
            try:
                status, _, _ = await client.post(*classify(texts, number))
            except (OSError, asyncio.IncompleteReadError) as error:
                # A connection that it closed before the request came says nothing of it.
                gone = isinstance(error, asyncio.IncompleteReadError) and not error.partial
                outcomes["not taken" if gone else "lost"] += 1
                return
            outcomes[str(status)] += 1
            if status == 503:
                return

    async def under_load(server: Served) -> None:
        clients = [asyncio.create_task(ask(server.port, n)) for n in range(32)]
        await asyncio.sleep(3)
        server.process.send_signal(signal.SIGTERM)
        await asyncio.gather(*clients)

    with Served("--name", f"run={run}") as server:
        asyncio.run(under_load(server))
        server.process.wait(60)
        return {**outcomes, "exit_code": server.process.returncode}


def make_adapters(place: Path) -> list[Path]:
    """Return four runs of LoRA on one base that differ in every weight of their adapters."""
    import torch
    from safetensors.torch import load_file, save_file

    runs = [place / f"lora{number}" for number in range(4)]
    if not runs[0].exists():
        harness.tuned_example(runs[0], "lora", "--set", "model.precision=fp32")
    for number, run in enumerate(runs[1:], 1):
        if run.exists():
            continue
        shutil.copytree(runs[0], run)
        path = run / "model" / "adapter_model.safetensors"
        torch.manual_seed(number)
        weights = {k: v + 0.05 * torch.randn_like(v) for k, v in load_file(path).items()}
        save_file(weights, path, metadata={"format": "pt"})
    return runs


def adapters(place: Path, texts: Sequence[str]) -> dict[str, Any]:
    """Return what four adapters on one base do together."""
    runs = make_adapters(place)
    with Served(str(runs[0])) as server:
        alone_mb = server.memory_mb()
    allowed = ("--set", f"serve.adapters={place}")
    with Served(*map(str, runs), *allowed) as server:
        together_mb = server.memory_mb()

        async def ask(client: Client, name: str, text: str) -> list[float]:
            body = {"model": name, "input": text}
            status, _, content = await client.post("/classify", body)
            if status != 200:
                return []
            probabilities: list[float] = json.loads(content)["data"][0]["probs"]
            return probabilities

        async def all_of(pairs: Sequence[tuple[str, str]], clients: int) -> list[list[float]]:
            answers: list[list[float]] = [[] for _ in pairs]

            async def one(start: int) -> None:
                client = Client(server.port)
                for i in range(start, len(pairs), clients):
                    answers[i] = await ask(client, *pairs[i])
                client.close()

            await asyncio.gather(*(one(n) for n in range(clients)))
            return answers

        short = sorted(texts, key=len)[:50]
        known = [(run.name, text) for run in runs for text in short]
        alone = dict(zip(known, asyncio.run(all_of(known, 1)), strict=True))
        draw = random.Random(11)
        pairs = [draw.choice(known) for _ in range(1000)]
        answers = asyncio.run(all_of(pairs, 32))
        apart = [
            float(np.abs(np.subtract(alone[pair], answer)).max()) if answer else 1.0
            for pair, answer in zip(pairs, answers, strict=True)
        ]
        others = [np.abs(np.subtract(alone[runs[0].name, t], alone[runs[1].name, t])).max()
                  for t in short]  # fmt: skip

        async def swap() -> tuple[list[list[float]], list[int]]:
            asked = asyncio.create_task(
                all_of([(runs[0].name, short[i % 50]) for i in range(600)], 8)
            )
            client, statuses = Client(server.port), []
            for number in (1, 2, 3, 0):
                body = {
                    "lora_name": runs[0].name,
                    "lora_path": runs[number].name,
                    "load_inplace": True,
                }
                statuses.append((await client.post("/v1/load_lora_adapter", body))[0])
            return await asked, statuses

        swapped, statuses = asyncio.run(swap())
        valid = {text: [np.asarray(alone[run.name, text]) for run in runs] for text in short}
        strange = sum(
            not answer or min(np.abs(v - answer).max() for v in valid[short[i % 50]]) > 1e-5
            for i, answer in enumerate(swapped)
        )
    return {
        "server_of_1_mb": round(alone_mb, 1), "server_of_4_mb": round(together_mb, 1),
        "interleaved": len(pairs), "largest_difference_from_alone": max(apart),
        "median_difference_of_two_adapters": round(float(np.median(others)), 4),
        "asked_while_swapped": len(swapped), "swaps": statuses, "errors_or_mixtures": int(strange),
    }  # fmt: skip


def document(place: Path) -> dict[str, Any]:
    """Return what 500 questions meet while a document is replaced again and again."""
    pages = place / "pages"
    pages.mkdir(exist_ok=True)
    versions = {
        word: f"# Opening hours\n\nThe hall opens at {word} in the morning. It is shut on "
        f"holidays, when the keys lie at desk {word}.\n".encode()
        for word in ("seven", "eight")
    }
    (pages / "other.md").write_text("# Bread\n\nBread is baked at night and sold at dawn.\n")
    store = place / "kb"
    harness.tailor("index", str(pages), "--store", str(store))
    path, question = "/v1/vector_stores/kb/documents/hours.md", "When does the hall open?"
    kinds: Counter[str] = Counter()
    replaced = 0

    async def asks(port: int) -> None:
        client = Client(port)
        for _ in range(63):
            status, _, content = await client.post("/v1/ask", {"question": question})
            words = [word for word in versions if word in content.decode()]
            kinds[words[0] if status == 200 and len(words) == 1 else f"{status} {words}"] += 1
        client.close()

    async def put(client: Client, word: str) -> None:
        status, _, content = await client.post(path, versions[word], "PUT", "text/markdown")
        if status >= 300:
            harness.stop(f"the document was refused: {status}", content[:300].decode())

    async def both(port: int) -> None:
        nonlocal replaced
        client = Client(port)
        await put(client, "seven")
        asked = asyncio.gather(*(asks(port) for _ in range(8)))
        while not asked.done():
            await put(client, ("eight", "seven")[replaced % 2])
            replaced += 1
        await asked

    with Served("--store", str(store)) as server:
        asyncio.run(both(server.port))
    return {"asked": sum(kinds.values()), "replaced": replaced, "answers": dict(kinds)}


def soak(run: Path, texts: Sequence[str], minutes: float) -> dict[str, Any]:
    """Return how the memory grows at a fifth of the load."""

    def request(number: int) -> tuple[str, Any]:
        return classify(texts, number)

    with Served("--name", f"run={run}") as server:
        peak, _ = asyncio.run(closed(server.port, request, 15, 16))
        points = []
        statuses: Counter[int] = Counter()
        end = time.perf_counter() + 60 * minutes
        while (now := time.perf_counter()) < end:
            points.append((now / 60, server.memory_mb()))
            _, answers = asyncio.run(offered(server.port, request, peak / 5, 10))
            statuses.update(status for status, _, _ in answers)
        half = points[len(points) // 2 :]
    return {
        "minutes": minutes, "requests_s": round(peak / 5, 1), "statuses": dict(statuses),
        "mb": [round(points[0][1], 1), round(points[-1][1], 1)],
        "mb_per_minute": round(float(np.polyfit(*np.transpose(points), 1)[0]), 3),
        "mb_per_minute_second_half": round(float(np.polyfit(*np.transpose(half), 1)[0]), 3),
    }  # fmt: skip


def ready(run: Path) -> dict[str, Any]:
    """Return how soon a server listens and how long its first answer takes."""
    with Served("--name", f"run={run}") as server:
        _, (first, *_) = asyncio.run(closed(server.port, lambda n: classify(["a text"], n), 0.1, 1))
        return {
            "ready_s": round(server.ready_seconds, 1),
            "after_loading_s": round(server.loaded_seconds, 2),
            "first_answer_ms": round(1000 * first, 1),
        }


def main() -> None:
    """Print each part as it is measured, and one JSON line."""
    parser = harness.parser(__doc__)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--place", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--minutes", type=float, default=30.0)
    names = ("ready", "overload", "leavers", "sigterm", "adapters", "document", "soak")
    parser.add_argument("--only", choices=names)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = options.place or Path(temporary)
        made = place / "run"
        run = options.run or made / "arms" / "probe"
        if not run.is_dir():
            harness.tailor("compare", "--methods", "probe", "--output", str(made))
        from transformers import AutoTokenizer

        from tailorbird.models.builtin import resolve

        words = Path(__file__).read_text(encoding="utf-8").split()
        texts = make_texts(400, AutoTokenizer.from_pretrained(resolve("builtin:minilm")), words)
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "ready": lambda: ready(run),
            "overload": lambda: overload(run, texts, options.seconds),
            "leavers": lambda: leavers(run, texts),
            "sigterm": lambda: sigterm(run, texts),
            "adapters": lambda: adapters(place, texts),
            "document": lambda: document(place),
            "soak": lambda: soak(run, texts, options.minutes),
        }
        result = {}
        for name in [options.only] if options.only else names[:-1]:
            result[name] = parts[name]()
            harness.say(f"{name}: {json.dumps(result[name])}")
    harness.emit("serve_load", result)


if __name__ == "__main__":
    main()
