"""`tailor serve` beside other servers of the same model, in turns on one machine.

    python benchmarks/serve_peers.py [--infinity PYTHON] [--litserve PYTHON] [--transformers]
        [--run RUN] [--writer builtin:tutor] [--rounds 5] [--seconds 6] [--texts 400]
        [--clients 32] [--results FILE]

PYTHON is the interpreter of an environment that has infinity-emb (torch, transformers below 5) or
litserve; what is not given is left out. All serve the same weights in fp32 with two threads over
loopback; while one is measured the others are stopped (SIGSTOP). Without --run a model of labels is
made: builtin:minilm, all weights tuned for one epoch on the bundled example.

classification: texts/s of 32 clients with one text a request and with 16, texts of 8 to 256 tokens,
beside `predict` on the same texts at once; p50 of one client beside `predict` of one text; p99 and
p50 at 70 % of the load. LitServe gets the best of four windows of time for its batches, by the
first round. chat (--transformers): tokens/s of eight streams of 64 tokens each and the time to the
first one, beside `transformers serve` as it comes and with --continuous-batching.

Every measurement is printed as it is made. With --results they are kept in a file, and the same
command goes on where it ended. The last line holds the medians of all rounds.
"""

import asyncio
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import harness
import psutil
from serve_load import Client, make_texts

_THREADS = "2"
_SINGLES = 60
_WINDOWS = (0.0, 0.005, 0.02, 0.1)
_LITSERVE = """
import sys
import litserve, torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
folder, port, window = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
torch.set_num_threads({threads})

class Labels(litserve.LitAPI):
    def setup(self, device):
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForSequenceClassification.from_pretrained(folder, dtype="float32")
        self.model = model.eval()
    def decode_request(self, request):
        return request["input"]
    def batch(self, inputs):
        return inputs
    def predict(self, inputs):
        texts = inputs if isinstance(inputs, list) else [inputs]
        flat = [text for given in texts for text in (given if isinstance(given, list) else [given])]
        with torch.inference_mode():
            rows = self.tokenizer(flat, padding=True, truncation=True, return_tensors="pt")
            shares = torch.softmax(self.model(**rows).logits, dim=1).tolist()
        answers, start = [], 0
        for given in texts:
            size = len(given) if isinstance(given, list) else 1
            answers.append(shares[start : start + size])
            start += size
        return answers
    def unbatch(self, output):
        return list(output)
    def encode_response(self, output):
        return {{"probabilities": output}}

if __name__ == "__main__":
    api = Labels(max_batch_size=32, batch_timeout=window)
    litserve.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=120).run(
        host="127.0.0.1", port=port, generate_client_file=False, log_level="error")
"""


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as link:
        link.bind(("127.0.0.1", 0))
        return int(link.getsockname()[1])


@dataclass
class Side:
    """A server in processes of its own.

    Attributes:
        name: What the result calls it.
        command: That starts it.
        port: Where it listens.
        path: Of the route that is measured.
        model: What requests name.
        ready: A route that answers 200 when it is ready.
    """

    name: str
    command: list[str]
    port: int
    path: str
    model: str | None
    ready: str
    log: Path
    process: Any = field(init=False)

    def __post_init__(self) -> None:
        environment = os.environ | {
            "OMP_NUM_THREADS": _THREADS, "MKL_NUM_THREADS": _THREADS, "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false", "DO_NOT_TRACK": "1",
            "INFINITY_ANONYMOUS_USAGE_STATS": "0",
        }  # fmt: skip
        with self.log.open("w") as file:
            self.process = subprocess.Popen(
                self.command, env=environment, stdout=file, stderr=file, cwd=self.log.parent
            )
        end = time.monotonic() + 240
        while not asyncio.run(self._answers()):
            if self.process.poll() is not None or time.monotonic() > end:
                words = self.log.read_text(errors="replace")[-1500:]
                self.end()
                harness.stop(f"{self.name} did not start", f"it said:\n{words}")
            time.sleep(0.5)
        harness.say(f"{self.name} is ready")

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(f"GET {self.ready} HTTP/1.0\r\nhost: localhost\r\n\r\n".encode())
            line = await asyncio.wait_for(reader.readline(), 30)
            writer.close()
        except (OSError, TimeoutError):
            return False
        return b" 200 " in line

    def _all(self) -> list[Any]:
        whole = psutil.Process(self.process.pid)
        return [whole, *whole.children(recursive=True)]

    def stop(self) -> None:
        """Let it compute nothing."""
        for one in self._all():
            one.suspend()

    def go_on(self) -> None:
        """Let it compute again."""
        for one in self._all():
            one.resume()

    def end(self) -> None:
        """Stop it for good."""
        everyone = self._all()
        for one in everyone:
            try:
                one.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(everyone, 20)

    def body(self, texts: list[str]) -> dict[str, Any]:
        """Return a request for the labels of texts."""
        return {"input": texts} | ({"model": self.model} if self.model else {})


class Results:
    """Measurements as they are made, in a file if one is named.

    Args:
        path: A line of JSON for each; those that are there are not made again.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        text = path.read_text() if path is not None and path.exists() else ""
        self.rows: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]

    def missing(self, part: str, names: Sequence[str], turn: int) -> list[str]:
        """Return the sides that were not measured in a round."""
        done = {r["side"] for r in self.rows if (r["part"], r["round"]) == (part, turn)}
        return [name for name in names if name not in done]

    def add(self, part: str, side: str, turn: int, figures: dict[str, float]) -> None:
        """Keep what was measured of a side in a round."""
        figures = {name: round(value, 2) for name, value in figures.items()}
        self.rows.append({"part": part, "side": side, "round": turn, "figures": figures})
        line = json.dumps(self.rows[-1])
        harness.say(line)
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(f"{line}\n")

    def best_windows(self, names: Sequence[str]) -> list[str]:
        """Return the sides, of LitServe's windows only the one that was fastest in round 0."""
        rates = {
            row["side"]: row["figures"]["texts_s_1"]
            for row in self.rows
            if row["round"] == 0 and row["side"].startswith("litserve")
        }
        best = max(rates, key=lambda name: rates[name], default="")
        return [name for name in names if name == best or name not in rates]

    def medians(self, part: str) -> dict[str, dict[str, float]]:
        """Return each side's medians over all rounds."""
        values: dict[str, dict[str, list[float]]] = {}
        for row in self.rows:
            if row["part"] == part:
                for name, value in row["figures"].items():
                    values.setdefault(row["side"], {}).setdefault(name, []).append(value)
        return {
            side: {name: round(median(v), 2) for name, v in own.items()}
            for side, own in values.items()
        }


async def labels(
    side: Side, texts: Sequence[str], seconds: float, clients: int, each: int = 1,
    pace: float = 0.0,
) -> tuple[float, list[float]]:  # fmt: skip
    """Return texts/s and the seconds that answers took.

    Args:
        side: Who is asked.
        texts: What, in turn.
        seconds: For how long.
        clients: Connections that ask one request after another.
        each: Texts of a request.
        pace: Seconds from a client's request to its next one, on average; 0: as they come.
    """
    began, answered, took = time.perf_counter(), 0, []
    draw = random.Random(7)

    async def ask(number: int) -> None:
        nonlocal answered
        client, at, due = Client(side.port), number * 97, began
        while time.perf_counter() < began + seconds:
            if pace:
                due += draw.expovariate(1 / pace)
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
            batch = [texts[(at + i) % len(texts)] for i in range(each)]
            at += each
            start = time.perf_counter()
            status, _, content = await client.post(side.path, side.body(batch))
            if status != 200:
                harness.stop(f"{side.name} answered {status}", content[:300].decode())
            took.append(time.perf_counter() - start)
            answered += each
        client.close()

    await asyncio.gather(*(ask(n) for n in range(clients)))
    return answered / (time.perf_counter() - began), took


async def singles(side: Side, texts: Sequence[str]) -> float:
    """Return the median milliseconds of one client that asks for each text once."""
    client, took = Client(side.port), []
    for text in texts:
        start = time.perf_counter()
        await client.post(side.path, side.body([text]))
        took.append(time.perf_counter() - start)
    client.close()
    return 1000 * median(took)


def served(side: Side, texts: Sequence[str], seconds: float, clients: int) -> dict[str, float]:
    """Return what one server of labels does in one round."""
    rate, took = asyncio.run(labels(side, texts, seconds, clients))
    many, _ = asyncio.run(labels(side, texts, seconds, clients, 16))
    one = asyncio.run(singles(side, texts[:_SINGLES]))
    pace = clients / (0.7 * rate)
    _, calm = asyncio.run(labels(side, texts, 2 * seconds, clients, pace=pace))
    slowest = quantiles(calm, n=100)[98]
    return {
        "texts_s_1": rate, "p99_ms_1": 1000 * quantiles(took, n=100)[98], "texts_s_16": many,
        "p50_ms_one_client": one, "p50_ms_at_70": 1000 * median(calm),
        "p99_ms_at_70": 1000 * slowest, "p99_over_p50_at_70": slowest / median(calm),
    }  # fmt: skip


def direct(predict: Any, texts: Sequence[str], seconds: float) -> dict[str, float]:
    """Return what `predict` does in this process in one round."""
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        predict(texts)
        done += len(texts)
    rate, took = done / (time.perf_counter() - began), []
    for text in texts[:_SINGLES]:
        start = time.perf_counter()
        predict([text])
        took.append(time.perf_counter() - start)
    return {"texts_s": rate, "p50_ms_one_client": 1000 * median(took)}


def label_sides(run: Path, options: Any, place: Path, windows: Sequence[str]) -> list[Side]:
    """Start every server of labels, LitServe with the windows of these names."""
    folder = place / "plain"
    shutil.copytree(run / "model", folder)
    sides = []
    port = free_port()
    ours = [sys.executable, "-m", "tailorbird.cli.main", "serve", "--name", f"run={run}"]
    ours += ["--port", str(port), "--set", "model.precision=fp32"]
    sides.append(Side("tailor", ours, port, "/classify", "run", "/readyz", place / "tailor.log"))
    if options.infinity:
        port = free_port()
        command = [str(options.infinity.parent / "infinity_emb"), "v2", "--model-id", str(folder)]
        command += [
            "--engine", "torch", "--device", "cpu", "--dtype", "float32", "--no-bettertransformer",
            "--port", str(port), "--host", "127.0.0.1", "--served-model-name", "run",
        ]  # fmt: skip
        log = place / "infinity.log"
        sides.append(Side("infinity", command, port, "/classify", "run", "/health", log))
    if options.litserve:
        script = place / "lit.py"
        script.write_text(_LITSERVE.format(threads=_THREADS))
        for name in windows:
            port = free_port()
            window = name.partition("_")[2]
            command = [str(options.litserve), str(script), str(folder), str(port), window]
            sides.append(
                Side(name, command, port, "/predict", None, "/health", place / f"{name}.log")
            )
    return sides


def classification(options: Any, place: Path, results: Results) -> None:
    """Measure every server of labels, and `predict`."""
    from transformers import AutoTokenizer

    import tailorbird

    run = options.run or harness.tuned_example(
        place / "run", "full", "--set", "model.precision=fp32"
    )
    words = Path(__file__).read_text(encoding="utf-8").split()
    texts = make_texts(options.texts, AutoTokenizer.from_pretrained(run / "model"), words)
    predictor = tailorbird.load(run)
    predictor.predict(texts[:64])
    windows = results.best_windows([f"litserve_{window:g}" for window in _WINDOWS])
    sides = {side.name: side for side in label_sides(run, options, place, windows)}
    try:
        for side in sides.values():
            asyncio.run(labels(side, texts, 2, 8))  # warm
            side.stop()
        for turn in range(options.rounds):
            names = ["direct", *(sides if turn == 0 else results.best_windows(list(sides)))]
            for name in results.missing("classification", names, turn):
                if name == "direct":
                    figures = direct(predictor.predict, texts, options.seconds)
                else:
                    sides[name].go_on()
                    figures = served(sides[name], texts, options.seconds, options.clients)
                    sides[name].stop()
                results.add("classification", name, turn, figures)
    finally:
        for side in sides.values():
            side.end()


def chat_sides(options: Any, place: Path) -> list[Side]:
    """Start every server that writes."""
    from tailorbird.models.builtin import resolve

    folder, port = resolve(options.writer), free_port()
    ours = [sys.executable, "-m", "tailorbird.cli.main", "serve", "--model", folder]
    ours += ["--port", str(port), "--set", "model.precision=fp32"]
    path = "/v1/chat/completions"
    name = Path(folder).name
    sides = [Side("tailor", ours, port, path, name, "/readyz", place / "tailor_chat.log")]
    # By itself its cache takes six tenths of the memory; these blocks hold all that is asked here.
    batching = ["--continuous-batching", "--cb-num-blocks", "512"]
    for name, more in (("transformers", []), ("transformers_batching", batching)):
        port = free_port()
        command = [sys.executable, "-m", "transformers.cli.transformers", "serve", folder, *more]
        command += ["--port", str(port), "--host", "127.0.0.1"]
        command += ["--device", "cpu", "--dtype", "float32"]
        sides.append(Side(name, command, port, path, folder, "/health", place / f"{name}.log"))
    return sides


async def write(side: Side, streams: int) -> tuple[float, list[float]]:
    """Return tokens/s of several streams, and the seconds until each began.

    Tokens as the server counts them in its last chunk.
    """
    written, firsts = 0, []

    async def one(number: int) -> None:
        nonlocal written
        words = f"Why does my loop number {number} run one time too often, and how do I mend it?"
        body = {
            "model": side.model, "stream": True, "max_tokens": 64, "temperature": 0.0,
            "messages": [{"role": "user", "content": words}],
        }  # fmt: skip
        if side.name == "tailor":  # the other one counts unasked, and knows no such field
            body["stream_options"] = {"include_usage": True}
        content = json.dumps(body).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", side.port)
        head = f"POST {side.path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
        head += f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
        began = time.perf_counter()
        writer.write(head.encode() + content)
        first = 0.0
        while line := await reader.readline():
            if line.startswith(b"data: {"):
                chunk = json.loads(line[6:])
                choice = (chunk.get("choices") or [{}])[0]
                if (choice.get("delta") or {}).get("content"):
                    first = first or time.perf_counter() - began
                written += (chunk.get("usage") or {}).get("completion_tokens", 0)
        firsts.append(first)
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(one(n) for n in range(streams)))
    return written / (time.perf_counter() - began), firsts


def chat(options: Any, place: Path, results: Results) -> None:
    """Measure every server that writes."""
    sides = {side.name: side for side in chat_sides(options, place)}
    try:
        for side in sides.values():
            asyncio.run(write(side, 2))
            side.stop()
        for turn in range(options.rounds):
            for name in results.missing("chat", list(sides), turn):
                sides[name].go_on()
                rate, firsts = asyncio.run(write(sides[name], 8))
                sides[name].stop()
                figures = {"tokens_s_8": rate, "first_p50_ms": 1000 * median(firsts)}
                figures["first_p95_ms"] = 1000 * quantiles(firsts, n=20, method="inclusive")[18]
                results.add("chat", name, turn, figures)
    finally:
        for side in sides.values():
            side.end()


def main() -> None:
    """Print each measurement, and one JSON line of medians."""
    parser = harness.parser(__doc__)
    parser.add_argument("--infinity", type=Path)
    parser.add_argument("--litserve", type=Path)
    parser.add_argument("--transformers", action="store_true")
    parser.add_argument("--run", type=Path)
    parser.add_argument("--writer", default="builtin:tutor")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--texts", type=int, default=400)
    parser.add_argument("--results", type=Path)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # servers are ended, not left behind
    results = Results(options.results)
    part = "chat" if options.transformers else "classification"
    with tempfile.TemporaryDirectory() as place:
        {"chat": chat, "classification": classification}[part](options, Path(place), results)
    harness.emit("serve_peers", {part: results.medians(part)})


if __name__ == "__main__":
    main()
