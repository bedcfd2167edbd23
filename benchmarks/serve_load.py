"""`tailor serve` under load, beside the same run asked directly in Python.

    python benchmarks/serve_load.py [--run RUN] [--writer MODEL] [--rounds 3] [--seconds 8]

Without --run the `probe` arm of the bundled example is made (builtin:minilm under a linear head).
Texts of 8 to 256 tokens. Rounds alternate between the sides; medians are printed. Server and
clients share the machine's cores, as on loopback they must.

classification: texts/s of 32 clients with 1 text a request and with 16, as shares of `predict` on
the same texts; one client's p50 beside that of a direct call; p99 / p50 at 70 % of the load.
overload: three times the clients that the queue has room for. chat: tokens/s of eight streams
beside one. adapters: memory of a server of one run of LoRA and of one of four, on the same base;
the four differ in every weight of their adapters. --only NAME measures one of these alone.
"""

import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import harness

_CLIENTS = 32


class Client:
    """One connection that asks one request after another."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.link: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of an answer."""
        self.link = self.link or await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self.link
        content = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
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
    """A server in a process of its own."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "tailorbird.cli.main", "serve", "--port", "0", *arguments]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        for line in self.process.stderr:
            harness.say(line.rstrip())
            if line.startswith("listening on"):
                self.port = int(line.rsplit(":", 1)[1])
                return
        harness.stop("the server did not start", "see its words above")

    def memory_mb(self) -> float:
        """Return the memory it holds."""
        import psutil

        return float(psutil.Process(self.process.pid).memory_info().rss) / 2**20

    def end(self) -> None:
        """Stop it."""
        self.process.terminate()
        self.process.wait(60)


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


async def load(
    port: int, texts: Sequence[str], seconds: float, clients: int, each: int = 1,
    pace: float = 0.0,
) -> tuple[float, list[float], list[tuple[int, float, bool]]]:  # fmt: skip
    """Return texts/s, the seconds of each answer, and what refusals said.

    Args:
        port: The server's.
        texts: What is asked, in turn.
        seconds: How long.
        clients: Connections that ask one request after another.
        each: Texts of a request.
        pace: Seconds between a client's requests, on average; 0: none.
    """
    end, answered = time.perf_counter() + seconds, 0
    took: list[float] = []
    refused: list[tuple[int, float, bool]] = []
    draw = random.Random(7)

    async def ask(number: int) -> None:
        nonlocal answered
        client, at = Client(port), number * 97
        while time.perf_counter() < end:
            if pace:
                await asyncio.sleep(draw.expovariate(1 / pace))
            batch = [texts[(at + i) % len(texts)] for i in range(each)]
            at += each
            began = time.perf_counter()
            body = {"model": "run", "input": batch}
            status, headers, _ = await client.post("/classify", body)
            spent = time.perf_counter() - began
            if status == 200:
                answered += each
                took.append(spent)
            else:
                refused.append((status, spent, "retry-after" in headers))
                await asyncio.sleep(0.2)
        client.close()

    began = time.perf_counter()
    await asyncio.gather(*(ask(n) for n in range(clients)))
    return answered / (time.perf_counter() - began), took, refused


def direct_rate(predict: Any, texts: Sequence[str], seconds: float) -> float:
    """Return texts/s of `predict` on all texts at once, again and again."""
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        predict(texts)
        done += len(texts)
    return done / (time.perf_counter() - began)


def classification(run: Path, rounds: int, seconds: float) -> dict[str, Any]:
    """Return how the server does beside `predict`."""
    import tailorbird
    from tailorbird.models.builtin import resolve

    from transformers import AutoTokenizer  # isort: skip

    predictor = tailorbird.load(run)
    tokenizer = AutoTokenizer.from_pretrained(resolve("builtin:minilm"))
    words = Path(__file__).read_text(encoding="utf-8").split()
    texts = make_texts(400, tokenizer, words)
    server = Served("--name", f"run={run}")
    rows: dict[str, list[float]] = {
        name: [] for name in ("direct", "served_1", "served_16", "direct_p50_ms", "served_p50_ms")
    }
    try:
        asyncio.run(load(server.port, texts, 2, 4))  # warm
        predictor.predict(texts[:32])
        for number in range(rounds):
            harness.say(f"round {number + 1} of {rounds}")
            rows["direct"].append(direct_rate(predictor.predict, texts, seconds))
            for each in (1, 16):
                rate, _, _ = asyncio.run(load(server.port, texts, seconds, _CLIENTS, each))
                rows[f"served_{each}"].append(rate)
            singles = []
            for text in texts[:60]:
                began = time.perf_counter()
                predictor.predict([text])
                singles.append(time.perf_counter() - began)
            rows["direct_p50_ms"].append(1000 * median(singles))
            _, took, _ = asyncio.run(load(server.port, texts[:60], seconds / 2, 1))
            rows["served_p50_ms"].append(1000 * median(took))
        result: dict[str, Any] = {name: round(median(values), 2) for name, values in rows.items()}
        result["share_1"] = round(result["served_1"] / result["direct"], 3)
        result["share_16"] = round(result["served_16"] / result["direct"], 3)
        pace = 16 / (0.7 * result["served_1"])
        _, took, _ = asyncio.run(load(server.port, texts, 2 * seconds, 16, pace=pace))
        result["p99_over_p50_at_70"] = round(quantiles(took, n=100)[98] / median(took), 2)
        return result
    finally:
        server.end()


def overload(run: Path, seconds: float) -> dict[str, Any]:
    """Return what three times too many clients meet where 32 texts may wait."""
    texts = ["for i in range(3): print(i) " * 6] * 50
    server = Served("--name", f"run={run}", "--set", "serve.queue_inputs=32")
    try:
        peak, _, _ = asyncio.run(load(server.port, texts, seconds, 24))
        before = server.memory_mb()
        rate, took, refused = asyncio.run(load(server.port, texts, 3 * seconds, 96))
        after = server.memory_mb()
        later, calm, _ = asyncio.run(load(server.port, texts, seconds, 1))
        return {
            "goodput_share": round(rate / peak, 3),
            "accepted_p99_s": round(quantiles(took, n=100)[98], 3),
            "refused": len(refused),
            "refused_p50_ms": round(1000 * median(t for _, t, _ in refused), 1) if refused else 0,
            "refused_with_retry_after": all(told for _, _, told in refused),
            "statuses": sorted({status for status, _, _ in refused}),
            "memory_growth": round(after / before - 1, 3),
            "calm_p50_ms_after": round(1000 * median(calm), 1),
        }
    finally:
        server.end()


def chat(writer: str, rounds: int) -> dict[str, Any]:
    """Return tokens/s of eight answers at once beside one."""
    server = Served("--model", writer)
    name = writer

    async def write(streams: int) -> tuple[float, float]:
        body = {"model": name, "max_tokens": 64, "stream": True, "stream_options":
                {"include_usage": True}, "temperature": 1.0}  # fmt: skip
        tokens, firsts = 0, []

        async def one(number: int) -> None:
            nonlocal tokens
            words = (
                f"Why does my loop number {number} run one time too often, and how do I mend it?"
            )
            client, began = Client(server.port), time.perf_counter()
            ask = body | {"messages": [{"role": "user", "content": words}], "seed": number}
            _, _, content = await client.post("/v1/chat/completions", ask)
            firsts.append(time.perf_counter() - began)
            usage = json.loads(content.decode().split("\n\n")[-3][6:])["usage"]
            tokens += usage["completion_tokens"]
            client.close()

        began = time.perf_counter()
        await asyncio.gather(*(one(n) for n in range(streams)))
        return tokens / (time.perf_counter() - began), median(firsts)

    try:
        asyncio.run(write(2))
        rates: dict[int, list[float]] = {1: [], 8: []}
        for _ in range(rounds):
            for streams, values in rates.items():
                values.append(asyncio.run(write(streams))[0])
        one, eight = median(rates[1]), median(rates[8])
        return {
            "writer": writer, "tokens_s_1": round(one, 1), "tokens_s_8": round(eight, 1),
            "times": round(eight / one, 2),
        }  # fmt: skip
    finally:
        server.end()


def adapters(place: Path) -> dict[str, Any]:
    """Return what three more adapters on one base cost in memory."""
    import shutil

    import torch
    from safetensors.torch import load_file, save_file

    first = harness.tuned_example(place / "lora0", "lora")
    runs = [first]
    for number in range(1, 4):
        runs.append(place / f"lora{number}")
        shutil.copytree(first, runs[-1])
        path = runs[-1] / "model" / "adapter_model.safetensors"
        torch.manual_seed(number)
        weights = {k: v + 0.01 * torch.randn_like(v) for k, v in load_file(path).items()}
        save_file(weights, path, metadata={"format": "pt"})
    size = (first / "model" / "adapter_model.safetensors").stat().st_size / 2**20
    held = []
    for many in (1, 4):
        server = Served(*(str(run) for run in runs[:many]))
        try:
            held.append(server.memory_mb())
        finally:
            server.end()
    return {
        "adapter_mb": round(size, 1), "server_of_1_mb": round(held[0], 1),
        "server_of_4_mb": round(held[1], 1),
        "each_more_mb": round((held[1] - held[0]) / 3, 1),
    }  # fmt: skip


def main() -> None:
    """Print one JSON line."""
    parser = harness.parser(__doc__)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--writer", default="builtin:tutor")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--only", choices=("classification", "overload", "chat", "adapters"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        run = options.run
        if run is None and options.only not in ("chat", "adapters"):
            made = Path(place) / "run"
            harness.tailor("compare", "--methods", "probe", "--output", str(made))
            run = made / "arms" / "probe"
        parts = {
            "classification": lambda: classification(run, options.rounds, options.seconds),
            "overload": lambda: overload(run, options.seconds),
            "chat": lambda: chat(options.writer, options.rounds),
            "adapters": lambda: adapters(Path(place)),
        }
        names = [options.only] if options.only else list(parts)
        result = {name: parts[name]() for name in names}
    harness.emit("serve_load", result)


if __name__ == "__main__":
    main()
