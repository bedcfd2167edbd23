"""`tailor serve` beside other servers of the same model, in turns on one machine.

    python benchmarks/serve_peers.py --infinity PYTHON --litserve PYTHON [--transformers]
        [--run RUN] [--writer builtin:tutor] [--rounds 3] [--seconds 6]

PYTHON is the interpreter of an environment that has infinity-emb (torch, transformers below 5) or
litserve; what is not given is left out. All serve the same weights in fp32 with two threads over
loopback; while one is measured the others are stopped (SIGSTOP). Without --run a model of labels is
made: builtin:minilm, all weights tuned for one epoch on the bundled example.

classification: texts/s of 32 clients with one text a request and of 8 with 16, texts of 8 to 256
tokens; p50 of one client. LitServe gets the best of three windows of time for its batches. chat:
tokens/s of eight streams of 64 tokens each and the time to the first one, beside `transformers
serve` as it comes and with --continuous-batching. Medians of all rounds are printed.
"""

import asyncio
import json
import os
import shutil
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
_WINDOWS = (0.0, 0.01, 0.05)
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


async def labels(side: Side, texts: Sequence[str], seconds: float, clients: int, each: int) -> Any:
    """Return texts/s and the seconds that answers took."""
    end, answered, took = time.perf_counter() + seconds, 0, []

    async def ask(number: int) -> None:
        nonlocal answered
        client, at = Client(side.port), number * 97
        while time.perf_counter() < end:
            batch = [texts[(at + i) % len(texts)] for i in range(each)]
            at += each
            began = time.perf_counter()
            status, _, content = await client.post(side.path, side.body(batch))
            if status != 200:
                harness.stop(f"{side.name} answered {status}", content[:300].decode())
            took.append(time.perf_counter() - began)
            answered += each
        client.close()

    began = time.perf_counter()
    await asyncio.gather(*(ask(n) for n in range(clients)))
    return answered / (time.perf_counter() - began), took


def label_sides(run: Path, options: Any, place: Path) -> list[Side]:
    """Start every server of labels."""
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
            "--engine",
            "torch",
            "--device",
            "cpu",
            "--dtype",
            "float32",
            "--no-bettertransformer",
        ]
        command += ["--port", str(port), "--host", "127.0.0.1", "--served-model-name", "run"]
        log = place / "infinity.log"
        sides.append(Side("infinity", command, port, "/classify", "run", "/health", log))
    if options.litserve:
        script = place / "lit.py"
        script.write_text(_LITSERVE.format(threads=_THREADS))
        for window in _WINDOWS:
            port = free_port()
            command = [str(options.litserve), str(script), str(folder), str(port), str(window)]
            name = f"litserve_{window:g}"
            sides.append(
                Side(name, command, port, "/predict", None, "/health", place / f"{name}.log")
            )
    return sides


def classification(options: Any, place: Path) -> dict[str, Any]:
    """Return what every server of labels does."""
    from transformers import AutoTokenizer

    import tailorbird

    run = options.run or harness.tuned_example(
        place / "run", "full", "--set", "model.precision=fp32"
    )
    words = Path(__file__).read_text(encoding="utf-8").split()
    texts = make_texts(400, AutoTokenizer.from_pretrained(run / "model"), words)
    predictor = tailorbird.load(run)
    predictor.predict(texts[:64])
    sides = label_sides(run, options, place)
    rows: dict[str, dict[str, list[float]]] = {}

    def note(name: str, figure: str, value: float) -> None:
        rows.setdefault(name, {}).setdefault(figure, []).append(value)

    try:
        for side in sides:
            asyncio.run(labels(side, texts, 2, 8, 1))  # warm
            side.stop()
        for number in range(options.rounds):
            harness.say(f"labels: round {number + 1} of {options.rounds}")
            began, done = time.perf_counter(), 0
            while time.perf_counter() - began < options.seconds:
                predictor.predict(texts)
                done += len(texts)
            note("direct", "texts_s", done / (time.perf_counter() - began))
            singles = []
            for text in texts[:60]:
                began = time.perf_counter()
                predictor.predict([text])
                singles.append(1000 * (time.perf_counter() - began))
            note("direct", "p50_ms_1", median(singles))
            for side in sides:
                side.go_on()
                rate, took = asyncio.run(labels(side, texts, options.seconds, 32, 1))
                note(side.name, "texts_s_1", rate)
                note(side.name, "p99_ms_1", 1000 * quantiles(took, n=100)[98])
                rate, _ = asyncio.run(labels(side, texts, options.seconds, 8, 16))
                note(side.name, "texts_s_16", rate)
                _, took = asyncio.run(labels(side, texts[:60], options.seconds / 2, 1, 1))
                note(side.name, "p50_ms_1", 1000 * median(took))
                side.stop()
    finally:
        for side in sides:
            side.end()
    return {name: {f: round(median(v), 2) for f, v in own.items()} for name, own in rows.items()}


def chat_sides(options: Any, place: Path) -> list[Side]:
    """Start every server that writes."""
    from tailorbird.models.builtin import resolve

    folder, port = resolve(options.writer), free_port()
    ours = [sys.executable, "-m", "tailorbird.cli.main", "serve", "--model", folder]
    ours += ["--port", str(port), "--set", "model.precision=fp32"]
    path = "/v1/chat/completions"
    name = Path(folder).name
    sides = [Side("tailor", ours, port, path, name, "/readyz", place / "tailor_chat.log")]
    for name, more in (("transformers", []), ("transformers_batching", ["--continuous-batching"])):
        port = free_port()
        command = [sys.executable, "-m", "transformers.cli.transformers", "serve", folder, *more]
        command += [
            "--port",
            str(port),
            "--host",
            "127.0.0.1",
            "--device",
            "cpu",
            "--dtype",
            "float32",
        ]
        sides.append(Side(name, command, port, path, folder, "/health", place / f"{name}.log"))
    return sides


async def write(side: Side, streams: int) -> tuple[float, list[float]]:
    """Return tokens/s of several streams, and the seconds until each began."""
    written, firsts = 0, []

    async def one(number: int) -> None:
        nonlocal written
        words = f"Why does my loop number {number} run one time too often, and how do I mend it?"
        body = {
            "model": side.model, "stream": True, "max_tokens": 64, "temperature": 0.0,
            "messages": [{"role": "user", "content": words}],
        }  # fmt: skip
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
                    written += 1
        firsts.append(first)
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(one(n) for n in range(streams)))
    return written / (time.perf_counter() - began), firsts


def chat(options: Any, place: Path) -> dict[str, Any]:
    """Return what every server that writes does; pieces of text are counted as tokens."""
    sides = chat_sides(options, place)
    rates: dict[str, list[float]] = {}
    firsts: dict[str, list[float]] = {}
    try:
        for side in sides:
            asyncio.run(write(side, 2))
            side.stop()
        for number in range(options.rounds):
            harness.say(f"chat: round {number + 1} of {options.rounds}")
            for side in sides:
                side.go_on()
                rate, began = asyncio.run(write(side, 8))
                rates.setdefault(side.name, []).append(rate)
                firsts.setdefault(side.name, []).extend(began)
                side.stop()
    finally:
        for side in sides:
            side.end()
    return {
        name: {
            "tokens_s_8": round(median(values), 1),
            "first_p95_ms": round(1000 * quantiles(firsts[name], n=20)[18], 1),
        }
        for name, values in rates.items()
    }


def main() -> None:
    """Print one JSON line."""
    parser = harness.parser(__doc__)
    parser.add_argument("--infinity", type=Path)
    parser.add_argument("--litserve", type=Path)
    parser.add_argument("--transformers", action="store_true")
    parser.add_argument("--run", type=Path)
    parser.add_argument("--writer", default="builtin:tutor")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0)
    options = parser.parse_args()
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        if options.infinity or options.litserve or not options.transformers:
            result["classification"] = classification(options, Path(place))
        if options.transformers:
            result["chat"] = {"writer": options.writer} | chat(options, Path(place))
    harness.emit("serve_peers", result)


if __name__ == "__main__":
    main()
