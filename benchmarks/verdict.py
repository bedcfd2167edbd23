"""How often the verdict is right: false claims, the rule's choice, and intervals.

Three parts, each a JSON line; every finished cell is kept in --work, so that a run that was ended
goes on where it stopped.

- claims: arms that are equal, whose trainings differ by 0, 1 or 2 points, on 50, 200 or 1,000 rows,
  alone or in groups of five: in what share of comparisons is any arm called better (at most 5 %)?
- rule: test sets and trainings drawn from saved outputs of real trainings (--collect makes them
  from SST-2: `tailor compare` with five seeds on 240 rows, tested on 2,000): how often is the
  recommended arm within 2 points of the best by the methods' truth, what is lost on average, and
  how often do two independent runs agree?
- coverage: how often do 95 % intervals of labels' scores hold the truth, classes balanced or
  95 to 5, good model or bad?

`python benchmarks/verdict.py --collect 4` first, for the second part.
"""

import csv
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from harness import DATA, data_file, emit, parser, read_rows, say

ARMS = ("adapter", "lora", "full")
COST = {"probe": 0.1, "rag": 0.1, "adapter": 1.0, "lora": 1.0, "full": 1.8}
SEEDS = 5
TESTS = 600
MARGIN = 0.02


def main() -> None:
    """Run what was asked for and print a line for each part."""
    asked = parser(__doc__)
    asked.add_argument("--data", type=Path, default=DATA, help="holds sst2 and banking77")
    asked.add_argument("--work", type=Path, default=Path("runs/verdict"), help="what is kept")
    asked.add_argument("--collect", type=int, default=0, help="train on so many re-splits first")
    asked.add_argument("--runs", type=int, default=400, help="simulated comparisons per cell")
    asked.add_argument("--parts", default="claims,rule,coverage")
    given = asked.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    for split in range(given.collect):
        for name in SETS:
            collect(given.data, given.work, name, split)
    parts: dict[str, Callable[[Path, int], dict[str, Any]]] = {
        "claims": claims, "rule": rule, "coverage": coverage,
    }  # fmt: skip
    for name in given.parts.split(","):
        emit(f"verdict_{name}", {"runs": given.runs, "result": parts[name](given.work, given.runs)})


def cell(work: Path, name: str, make: Callable[[], Any]) -> Any:
    """Return a cell's figures, from the file if it was finished before."""
    path = work / f"{name}.json"
    if path.is_file():
        return json.loads(path.read_text())
    found = make()
    path.write_text(json.dumps(found))
    say(f"{name}: {found}")
    return found


def equal_arms(
    rng: np.random.Generator, n: int, luck: float, trainings: int, size: int, arms: str = "abc"
) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Return right and wrong answers of arms of equal truth, about 80 % right."""
    hard = np.repeat(rng.normal(0, 0.7, n // size), size) + rng.normal(0, 0.7, n)
    values = {}
    for name in arms:
        level = 1.18 + rng.normal(0, luck / 0.28, (trainings, 1)) * 1.4
        own = np.repeat(rng.normal(0, 0.5, (1, n // size)), size, axis=1)
        values[name] = (level + hard + own + rng.normal(0, 0.5, (trainings, n)) > 0).astype(float)
    return values, np.repeat(np.arange(n // size), size) if size > 1 else None


def claims(work: Path, runs: int) -> dict[str, Any]:
    """Return the share of comparisons of equal arms with any claim, per cell."""
    from tailorbird.metrics.significance import compare, training_luck

    def share(n: int, luck: float, trainings: int, size: int) -> float:
        rng = np.random.default_rng([n, int(1000 * luck), trainings, size])
        wrong = 0
        for _ in range(runs):
            values, groups = equal_arms(rng, n, luck, trainings, size)
            known = training_luck(values, "abc", groups)
            tests = compare(values, trained="abc", luck=known, groups=groups)
            wrong += any(test.p_holm < 0.05 for test in tests)
        return wrong / runs

    return {
        name: cell(work, f"claims-{runs}-{name}", lambda c=(n, tau, s, g): share(*c))
        for n in (50, 200, 1000) for tau in (0.0, 0.01, 0.02) for s in (1, 2, 3, 5) for g in (1, 5)
        for name in [f"n{n}-luck{100 * tau:.0f}-seeds{s}-group{g}"]
    }  # fmt: skip


def rule(work: Path, runs: int) -> dict[str, Any]:
    """Return how good the recommendation is, by rows, trainings and rule."""
    splits = [dict(np.load(path)) for path in sorted(work.glob("outputs-*.npz"))]
    if not splits:
        return {"missing": "run with --collect first"}
    return {
        f"n{n}-seeds{s}-{which}": cell(
            work, f"rule-{len(splits)}-{runs}-{n}-{s}-{which}",
            lambda c=(n, s, which): _rule(splits, runs, *c),
        )
        for n in (200, 1000) for s in (1, 3, 5) for which in ("old", "new")
    }  # fmt: skip


def _rule(
    splits: list[dict[str, np.ndarray]], runs: int, n: int, seeds: int, which: str
) -> dict[str, float]:
    rng = np.random.default_rng([n, seeds])
    near = regret = agree = 0.0
    for number in range(runs):
        outputs = splits[number % len(splits)]
        truth = {name: float(runs_of.mean()) for name, runs_of in outputs.items()}
        chosen = [_recommended(outputs, rng, n, seeds, which) for _ in range(2)]
        lost = max(truth.values()) - truth[chosen[0]]
        near += lost <= MARGIN
        regret += 100 * lost
        agree += chosen[0] == chosen[1]
    return {
        "within_margin": round(near / runs, 3),
        "regret_points": round(regret / runs, 2),
        "agree": round(agree / runs, 3),
    }


def _recommended(
    outputs: dict[str, np.ndarray], rng: np.random.Generator, n: int, seeds: int, which: str
) -> str:
    """Return what a run would recommend: trainings and rows are drawn anew."""
    from tailorbird.metrics.significance import compare, difference, training_luck
    from tailorbird.metrics.verdict import SURE

    rows = rng.integers(0, next(iter(outputs.values())).shape[1], n)
    values = {
        name: each[rng.integers(0, len(each), seeds if len(each) > 1 else 1)][:, rows]
        for name, each in outputs.items()
    }
    best = max(values, key=lambda name: values[name].mean())
    others = [name for name in values if name != best]
    if which == "old":
        # Until November 2026: p >= 0.05 and at most two points behind is a tie.
        tests = compare(values, pairs=[(best, name) for name in others])
        tied = [t.b for t in tests if t.p_holm >= 0.05 and t.difference.value <= MARGIN]
    else:
        trained = [name for name in values if name in ARMS]
        luck = training_luck(values, trained)
        pairs = [difference((best, values[best]), (o, values[o]), trained, luck) for o in others]
        tied = [d.b for d in pairs if d.difference.value + SURE * d.error <= MARGIN]
    within = [best, *tied]
    least = min(COST[name] for name in within)
    cheap = [name for name in within if COST[name] <= 1.5 * least]
    return min(cheap, key=list(COST).index)


def coverage(work: Path, runs: int) -> dict[str, Any]:
    """Return the share of intervals that hold the truth, per population and score."""
    return {
        f"{name}-n{n}": cell(
            work, f"coverage-{runs}-{name}-{n}", lambda c=(s, p, n): _held(*c, runs)
        )
        for name, (s, p) in {
            "balanced-good": (1.7, 0.5), "balanced-bad": (0.4, 0.5),
            "rare-good": (2.2, 0.05), "rare-bad": (1.0, 0.05),
        }.items()
        for n in (50, 100, 200)
    }  # fmt: skip


def population(
    rng: np.random.Generator, n: int, shift: float, share: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return calibrated probabilities of two classes, one with a share of the rows."""
    target = (rng.random(n) < share).astype(np.int64)
    odds = np.exp(2 * shift * (rng.normal(size=n) + shift * (2 * target - 1)))
    odds *= share / (1 - share)
    return np.stack([1 / (1 + odds), odds / (1 + odds)], axis=1), target


def _held(shift: float, share: float, n: int, runs: int) -> dict[str, float]:
    from tailorbird.metrics.stats import score_all

    rng = np.random.default_rng([n, int(100 * shift), int(100 * share)])
    truth = score_all(*population(rng, 200_000, shift, share), ("a", "b"))
    held = dict.fromkeys(truth, 0)
    for _ in range(runs):
        for name, score in score_all(*population(rng, n, shift, share), ("a", "b")).items():
            held[name] += score.low <= truth[name].value <= score.high
    if n < 100:
        held.pop("ece")  # has none
    return {name: round(count / runs, 3) for name, count in held.items()}


def collect(data: Path, work: Path, name: str, split: int) -> None:
    """Compare on 240 rows with five seeds, and keep which of 600 test rows were right."""
    path = work / f"outputs-{name}-{split}.npz"
    if path.is_file():
        return
    rows = SETS[name](data / name)
    rows = list({text.strip().lower(): (text, label) for text, label in rows}.values())
    order = np.random.default_rng(0).permutation(len(rows))
    pool, rest = ([rows[i] for i in part] for part in (order[:TESTS], order[TESTS:]))
    pick = np.random.default_rng(100 + split).choice(len(rest), 320, replace=False)
    parts = {"train": pick[:240], "validation": pick[240:]}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _write(folder / "test.csv", pool)
        for part, places in parts.items():
            _write(folder / f"{part}.csv", [rest[i] for i in places])
        command = [
            sys.executable, "-m", "tailorbird.cli.main", "compare", str(folder / "train.csv"),
            "--validation", str(folder / "validation.csv"), "--test", str(folder / "test.csv"),
            "--methods", ",".join(("probe", "rag", *ARMS)), "--seeds", str(SEEDS),
            "--set", "train.epochs=4",
            "--output", str(folder / "run"), "--json",
        ]  # fmt: skip
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        _keep(folder / "run", path, [label for _, label in pool])


def _keep(run: Path, path: Path, target: list[str]) -> None:
    """Write of each arm ``[trainings, rows]``: which are right, on test and on validation."""
    labels = json.loads((run / "report.json").read_text())["data"]["labels"]
    right = {}
    for arm in ("probe", "rag", *ARMS):
        place = run / "arms" / arm
        files = [place / "probabilities.npz", *sorted(place.glob("seeds/*/probabilities.npz"))]
        tests = [np.load(file)["test"].argmax(axis=1) for file in files]
        right[arm] = np.stack([[labels[i] for i in each] for each in tests]) == np.array(target)
    arrays = {arm: each.astype(np.float64) for arm, each in right.items()}
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


def _sentiment(folder: Path) -> list[tuple[str, str]]:
    return [row for name in ("train", "dev", "test") for row in read_rows(folder / f"{name}.csv")]


def _intents(folder: Path) -> list[tuple[str, str]]:
    """Return the rows of every seventh intent: 11 of 77."""
    rows = []
    for name in ("train", "test"):
        with data_file(folder, f"{name}.csv").open(encoding="utf-8", newline="") as file:
            rows += [(row["text"], row["category"]) for row in csv.DictReader(file)]
    chosen = sorted({label for _, label in rows})[::7]
    return [(text, label) for text, label in rows if label in chosen]


SETS = {"sst2": _sentiment, "banking77": _intents}


def _write(path: Path, rows: list[tuple[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([("text", "label"), *rows])


if __name__ == "__main__":
    main()
