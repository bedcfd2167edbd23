"""What threads that wait by spinning cost, alone and beside other programs.

A fresh process trains LoRA on builtin:minilm (batches of 32 short texts), embeds, and predicts text
by text, while none, one or two other processes keep a core busy each. Its threads wait as they do
by default (spinning, OMP_WAIT_POLICY=ACTIVE here, since libraries differ in how long they spin),
passively after a tenth of a millisecond (BRIEF, GOMP_SPINCOUNT=10000), and passively, which is what
importing tailorbird sets; it has one thread, two, or as many as tailorbird
chooses by what the others leave. The ways take turns in every round, since what else the machine
does changes; figures are medians of examples per second. Prints one JSON line.

Run it on an idle machine: `load_at_start` in the JSON tells what was running besides.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from statistics import median

from harness import emit, parser, say

JOBS = ("training", "embedding", "predicting")
CHOSEN = "chosen"
_WAITS = {
    "ACTIVE": {"OMP_WAIT_POLICY": "ACTIVE"},
    "PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"},
    "BRIEF": {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "10000"},
}
_NOUNS = ("plot", "cast", "music", "end")
_WORDS = ("gorgeous", "dull", "witty beyond words", "far too long for its idea", "fine")
_WORDS += ("new to me", "what one remembers", "not worth a ticket")
_TEXTS = [f"the {noun} of this film is {word}" for noun in _NOUNS for word in _WORDS]


def main() -> None:
    """Measure every way, in turns."""
    asked = parser(__doc__)
    asked.add_argument("--threads", nargs="+", default=["1", "2", CHOSEN])
    asked.add_argument("--others", type=int, nargs="+", default=[0, 1, 2])
    asked.add_argument("--waits", nargs="+", default=list(_WAITS), choices=_WAITS)
    asked.add_argument("--seconds", type=float, default=4.0, help="of each job in each process")
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--smoke", action="store_true", help="one short round of few ways")
    asked.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = asked.parse_args()
    if given.one:
        print(json.dumps(_measure(given.seconds)))
        return
    if given.smoke:
        given.threads, given.others, given.seconds, given.rounds = [CHOSEN], [0, 1], 0.2, 1
    load = round(os.getloadavg()[0], 2)
    rates: dict[tuple[int, str, str], list[dict[str, float]]] = {}
    for round_ in range(given.rounds):
        for others, policy, threads in product(given.others, given.waits, given.threads):
            with _busy(others):
                found = _fresh(policy, threads, given.seconds)
            rates.setdefault((others, policy, threads), []).append(found)
            say(f"round {round_ + 1}: beside {others}, {policy}, {threads} threads: {found}")
    rows = [
        {"others": others, "policy": policy, "threads": threads}
        | {key: round(median(one[key] for one in found), 1) for key in (*JOBS, "threads_used")}
        for (others, policy, threads), found in rates.items()
    ]
    emit("busy", {"examples_per_second": rows, "rounds": given.rounds, "load_at_start": load})


@contextmanager
def _busy(count: int) -> Iterator[None]:
    """Keep `count` cores busy with other processes."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def _fresh(policy: str, threads: str, seconds: float) -> dict[str, float]:
    """Measure in a process of its own: threads and how they wait are read once."""
    environment = os.environ | _WAITS[policy] | {"OMP_NUM_THREADS": threads}
    if threads == CHOSEN:
        del environment["OMP_NUM_THREADS"]
    done = subprocess.run(
        [sys.executable, __file__, "--one", "--seconds", str(seconds)],
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _measure(seconds: float) -> dict[str, float]:
    """Return examples per second of each job, and the threads they had."""
    from tailorbird import log

    log.quiet_libraries()
    import torch

    from tailorbird.config import load_config
    from tailorbird.data.encode import encode
    from tailorbird.methods.registry import get_method
    from tailorbird.models.device import choose
    from tailorbird.models.embed import Embedder
    from tailorbird.records import Target
    from tailorbird.tasks.fit_head import make_model

    config, device = load_config(), choose("cpu")
    model, base = make_model(config, Target(labels=("no", "yes")), device, get_method("lora"))
    embedder = Embedder(config.model, device)
    encoded = encode(_TEXTS, base.tokenizer, 64)
    rows = {"input_ids": [list(map(int, ids)) for ids in encoded.ids]}
    batch = dict(base.tokenizer.pad(rows, return_tensors="pt"))
    one = {key: value[:1] for key, value in batch.items()}
    labels = torch.arange(len(_TEXTS)) % 2
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5)

    def train() -> int:
        model.train()
        with device.autocast():
            logits = model(**batch).logits
        torch.nn.functional.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
        return len(_TEXTS)

    def predict() -> int:
        model.eval()
        with torch.inference_mode(), device.autocast():
            model(**one)
        return 1

    def embed() -> int:
        embedder.embed(_TEXTS * 4)
        return len(_TEXTS) * 4

    jobs = zip(JOBS, (train, embed, predict), strict=True)
    rates = {name: _rate(job, seconds) for name, job in jobs}
    return rates | {"threads_used": float(torch.get_num_threads())}


def _rate(job: Callable[[], int], seconds: float) -> float:
    job()
    began, count = time.perf_counter(), 0
    while (took := time.perf_counter() - began) < seconds:
        count += job()
    return round(count / took, 1)


if __name__ == "__main__":
    main()
