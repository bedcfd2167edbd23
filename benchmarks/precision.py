"""How far trainings in bf16 and in fp32 differ: what another machine may give.

The same rows, arms and seeds are trained in either precision (`tailor compare` on 240 rows of
SST-2), and tested on 600. Of each arm: the accuracy in either, and the share of test rows that are
given another label by the other precision, beside the share that another seed changes.
"""

import tempfile
from itertools import combinations
from pathlib import Path

import numpy as np
from harness import DATA, emit, parser
from verdict import SETS, predictions, train, write_split

PRECISIONS = ("bf16", "fp32")


def main() -> None:
    """Train in either precision and print one line."""
    options = parser(__doc__)
    options.add_argument("--data", type=Path, default=DATA)
    options.add_argument("--set", default="sst2", choices=sorted(SETS))
    options.add_argument("--arms", default="adapter,lora")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--epochs", type=int, default=3)
    choice = options.parse_args()
    arms = tuple(choice.arms.split(","))
    labels: dict[str, dict[str, np.ndarray]] = {}
    for precision in PRECISIONS:
        with tempfile.TemporaryDirectory() as scratch:
            target = np.array(write_split(Path(scratch), choice.data, choice.set, 0))
            settings = (f"train.epochs={choice.epochs}", f"model.precision={precision}")
            more = [word for setting in settings for word in ("--set", setting)]
            train(Path(scratch), arms, choice.seeds, *more)
            labels[precision] = {arm: predictions(Path(scratch) / "run", arm) for arm in arms}
    emit("precision", {"set": choice.set, "rows": len(target), "arms": {
        arm: _figures([labels[precision][arm] for precision in PRECISIONS], target)
        for arm in arms
    }})  # fmt: skip


def _figures(runs: list[np.ndarray], target: np.ndarray) -> dict[str, object]:
    pairs = [(each[i], each[j]) for each in runs for i, j in combinations(range(len(each)), 2)]
    accuracy = [(each == target).mean(axis=1) for each in runs]
    return {
        **{name: [round(float(a), 4) for a in each]
           for name, each in zip(PRECISIONS, accuracy, strict=True)},
        "mean_difference_points": round(100 * float((accuracy[0] - accuracy[1]).mean()), 2),
        "changed_by_precision": round(float((runs[0] != runs[1]).mean()), 4),
        "changed_by_seed": round(float(np.mean([(a != b).mean() for a, b in pairs])), 4),
    }  # fmt: skip


if __name__ == "__main__":
    main()
