"""Validation score of a method by learning rate: where the defaults come from.

Runs `tailor tune` once per rate and prints one JSON line. On SST-2 (or --data), the best validation
accuracy of each rate. With --writing, on the bundled tutor's pairs of programs and hints, the best
validation loss in nats per token of factors times the default rate. The test scores are not looked
at.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness import DATA, data_file, emit, parser, say

RATES = {
    "full": (5e-5, 1e-4, 2e-4),
    "adapter": (5e-4, 1e-3, 2e-3),
    "lora": (2e-4, 5e-4, 1e-3, 2e-3),
    "qlora": (2e-4, 5e-4, 1e-3),
    "prompt": (1e-2, 3e-2, 1e-1),
}
FACTORS = (0.3, 1.0, 3.0)
PAIRS = Path(__file__).resolve().parent.parent / "examples" / "tutor"


def main() -> None:
    """Train each method at each of its rates."""
    asked = parser(__doc__)
    asked.add_argument(
        "--data", type=Path, default=DATA / "sst2", help="train.csv, dev.csv, test.csv"
    )
    asked.add_argument("--methods", default=",".join(RATES))
    asked.add_argument("--model", default="", help="default: the builtin one of the task")
    asked.add_argument("--writing", action="store_true", help="tune rates of written answers")
    given = asked.parse_args()
    if given.writing:
        given.model = given.model or "builtin:tutor"
        losses = {method: _losses(method, given) for method in given.methods.split(",")}
        emit("writing_rates", {"model": given.model, "validation_loss": losses})
        return
    given.model = given.model or "builtin:minilm"
    found = {
        method: {f"{rate:g}": _accuracy(method, rate, given) for rate in RATES[method]}
        for method in given.methods.split(",")
    }
    emit("learning_rates", {"model": given.model, "validation_accuracy": found})


def _losses(method: str, given: Any) -> dict[str, float]:
    from tailorbird.methods.registry import get_method
    from tailorbird.train.settings import generative_rate

    files = [str(data_file(PAIRS, f"pairs_{part}.jsonl")) for part in _PARTS]
    usual = generative_rate(get_method(method), _width(given.model))
    found = {}
    for rate in (factor * usual for factor in FACTORS):
        arm = _tuned(method, rate, files, given.model)
        found[f"{rate:.2g}"] = round(min(point["validation_loss"] for point in arm["curve"]), 4)
        say(f"{method} at {rate:.2g}: {found[f'{rate:.2g}']}")
    return found


def _width(model: str) -> int:
    from transformers import AutoConfig

    from tailorbird.models.builtin import resolve

    return int(AutoConfig.from_pretrained(resolve(model)).get_text_config().hidden_size)


_PARTS = ("train", "validation", "test")


def _accuracy(method: str, rate: float, given: Any) -> float:
    files = [str(data_file(given.data, f"{part}.csv")) for part in ("train", "dev", "test")]
    arm = _tuned(method, rate, files, given.model)
    best = max(point["validation_accuracy"] for point in arm["curve"])
    say(f"{method} at {rate:g}: {best:.4f}")
    return round(best, 4)


def _tuned(method: str, rate: float, files: list[str], model: str) -> Any:
    """Return the arm's report of one `tailor tune`."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "run"
        command = [
            sys.executable, "-m", "tailorbird.cli.main", "tune", files[0], "--validation", files[1],
            "--test", files[2], "--method", method, "--model", model, "--output", str(output),
            "--set", f"train.learning_rate={rate}", "--set", "evaluate.examples=1", "--json",
        ]  # fmt: skip
        if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode:
            say(f"error: {' '.join(command)} failed")
            sys.exit(1)
        return json.loads((output / "report.json").read_text())["arms"][0]


if __name__ == "__main__":
    main()
