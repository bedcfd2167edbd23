"""How often the verdict is right: false claims, the rule's choice, and intervals.

Four parts, each a JSON line; every finished cell is kept in --work, so that a run that was ended
goes on where it stopped.

- claims: arms that are equal, whose trainings differ by 0, 1 or 2 points, on 50, 200 or 1,000 rows,
  alone or in groups of five: in what share of comparisons is any arm called better (at most 5 %)?
- rule: test sets and trainings drawn from saved outputs of real trainings (--collect makes them
  from SST-2 and BANKING77: `tailor compare` with five seeds on 240 rows): how often is the
  recommended arm within 2 points of the best by the methods' truth, what is lost on average, how
  often do two independent runs agree, and how many trainings does it take?
- coverage: how often do 95 % intervals hold the truth, of every kind of score, on few rows?
- methods: the same of the intervals of methods, with the luck of training in them.

`python benchmarks/verdict.py --collect 4` first, for the second part. Seeds may be `auto`.
"""

import csv
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from harness import DATA, data_file, emit, parser, read_rows, say

ARMS = ("adapter", "lora", "full")
COSTS = {
    "probe": (6.2, 3.9, 19_028),
    "rag": (4.0, 3.9, 1_768_310),
    "adapter": (50.7, 4.1, 3_117_512),
    "lora": (58.0, 5.2, 3_445_444),
    "full": (69.2, 3.8, 91_596_808),
}
"""Seconds of training, milliseconds of a prediction and bytes of files, as in `make demo`."""
SEEDS = 5
TESTS = 600
MARGIN = 0.02
Trainings = int | str


def main() -> None:
    """Run what was asked for and print a line for each part."""
    options = parser(__doc__)
    options.add_argument("--data", type=Path, default=DATA, help="holds sst2 and banking77")
    options.add_argument("--work", type=Path, default=Path("runs/verdict"), help="what is kept")
    options.add_argument("--collect", type=int, default=0, help="train on so many re-splits first")
    options.add_argument("--runs", type=int, default=400, help="simulated comparisons per cell")
    options.add_argument("--parts", default="claims,rule,coverage,methods")
    choice = options.parse_args()
    choice.work.mkdir(parents=True, exist_ok=True)
    for split in range(choice.collect):
        for name in SETS:
            collect(choice.data, choice.work, name, split)
    parts: dict[str, Callable[[Path, int], dict[str, Any]]] = {
        "claims": claims, "rule": rule, "coverage": coverage, "methods": methods,
    }  # fmt: skip
    for name in filter(None, choice.parts.split(",")):
        result = parts[name](choice.work, choice.runs)
        emit(f"verdict_{name}", {"runs": choice.runs, "result": result})


def cell(work: Path, name: str, make: Callable[[], Any]) -> Any:
    """Return a cell's figures, from the file if it was finished before."""
    path = work / f"{name}.json"
    if path.is_file():
        return json.loads(path.read_text())
    figures = make()
    path.write_text(json.dumps(figures))
    say(f"{name}: {figures}")
    return figures


def used(values: Mapping[str, np.ndarray], seeds: Trainings) -> dict[str, np.ndarray]:
    """Return the trainings that a comparison with so many seeds, or with auto, would make.

    Args:
        values: Per arm ``[trainings, n]``, as many as might be made.
        seeds: How many, or ``auto``: one, then more of the arms in question.
    """
    from tailorbird.flows.tuning_report import undecided_arms
    from tailorbird.metrics.significance import Outcomes

    if seeds != "auto":
        return {name: each[: int(seeds)] for name, each in values.items()}
    made = dict.fromkeys(values, 1)
    while True:
        now = {name: each[: made[name]] for name, each in values.items()}
        names = undecided_arms(_reports(now), Outcomes(now, None), "accuracy", MARGIN)
        more = [name for name in names if made[name] < len(values[name])]
        if not more:
            return now
        for name in more:
            made[name] += 1


def _reports(values: Mapping[str, np.ndarray]) -> list[Any]:
    """Return what the rule reads of an arm: its score and its cost."""
    from tailorbird.records import ArmReport, Cost, Score

    reports = []
    for name, each in values.items():
        mean = float(each.mean())
        seconds, milliseconds, size = COSTS[name]
        cost = Cost(train_seconds=seconds, predict_ms_per_example=milliseconds, artifact_bytes=size)
        test = {"accuracy": Score(mean, mean, mean)}
        reports.append(ArmReport(name, "ok", test=test, cost=cost))
    return reports


def equal_arms(
    rng: np.random.Generator,
    n: int,
    luck: float,
    trainings: int,
    size: int,
    arms: tuple[str, ...] = ARMS,
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
    from tailorbird.metrics.significance import Outcomes, compare

    def share(n: int, luck: float, seeds: Trainings, size: int) -> float:
        rng = np.random.default_rng([n, int(1000 * luck), 9 if seeds == "auto" else seeds, size])
        wrong = 0
        for _ in range(runs):
            values, groups = equal_arms(rng, n, luck, SEEDS, size)
            outcomes = Outcomes(used(values, seeds), groups)
            known = outcomes.luck(1.0)
            looks = max(map(len, outcomes.values.values())) if seeds == "auto" else 1
            tests = compare(outcomes.values, trained=ARMS, luck=known, groups=groups, looks=looks)
            wrong += any(test.p_holm < 0.05 for test in tests)
        return wrong / runs

    return {
        name: cell(work, f"claims-{runs}-{name}", lambda c=(n, tau, s, g): share(*c))
        for n in (50, 200, 1000) for tau in (0.0, 0.01, 0.02) for s in (1, 2, 3, 5, "auto")
        for g in (1, 5) for name in [f"n{n}-luck{100 * tau:.0f}-seeds{s}-group{g}"]
    }  # fmt: skip


def rule(work: Path, runs: int) -> dict[str, Any]:
    """Return how good the recommendation is, by rows, trainings and rule."""
    splits = [dict(np.load(path)) for path in sorted(work.glob("outputs-*.npz"))]
    if not splits:
        return {"missing": "run with --collect first"}
    cells = [(n, s, "new") for n in (200, 1000) for s in (1, 3, 5, "auto")]
    cells += [(n, s, "old") for n in (200, 1000) for s in (1, 3, 5)]
    return {"splits": len(splits)} | {
        f"n{n}-seeds{s}-{which}": cell(
            work, f"rule-{len(splits)}-{runs}-{n}-{s}-{which}",
            lambda c=(n, s, which): _rule(splits, runs, *c),
        )
        for n, s, which in cells
    }  # fmt: skip


def _rule(
    splits: list[dict[str, np.ndarray]], runs: int, n: int, seeds: Trainings, which: str
) -> dict[str, float]:
    rng = np.random.default_rng([n, 9 if seeds == "auto" else int(seeds)])
    near = lost = agree = trainings = 0.0
    for number in range(runs):
        outputs = splits[number % len(splits)]
        truth = {name: float(each.mean()) for name, each in outputs.items()}
        names = []
        for _ in range(2):
            name, count = _recommended(outputs, rng, n, seeds, which)
            gap = max(truth.values()) - truth[name]
            near += (gap <= MARGIN) / 2
            lost += 100 * gap / 2
            trainings += count / 2
            names.append(name)
        agree += names[0] == names[1]
    return {
        "within_margin": round(near / runs, 3),
        "regret_points": round(lost / runs, 2),
        "agree": round(agree / runs, 3),
        "trainings": round(trainings / runs, 1),
    }


def _recommended(
    outputs: dict[str, np.ndarray], rng: np.random.Generator, n: int, seeds: Trainings, which: str
) -> tuple[str, int]:
    """Return what a run would recommend, after how many trainings; both are drawn anew."""
    from tailorbird.metrics.significance import Outcomes, compare, difference
    from tailorbird.metrics.verdict import Evidence, verdict

    rows = rng.integers(0, next(iter(outputs.values())).shape[1], n)
    drawn = {
        name: each[rng.integers(0, len(each), SEEDS if len(each) > 1 else 1)][:, rows]
        for name, each in outputs.items()
    }
    values = used(drawn, seeds)
    count = sum(len(each) for name, each in values.items() if name in ARMS)
    best = max(values, key=lambda name: values[name].mean())
    others = [name for name in values if name != best]
    if which == "new":
        outcomes = Outcomes(values, None)
        luck, trained = outcomes.luck(1.0), outcomes.trained
        pairs = [difference((best, values[best]), (o, values[o]), trained, luck) for o in others]
        chosen = verdict(_reports(values), pairs, "accuracy", Evidence(n, luck=luck)).recommended
        return chosen or best, count
    # Until November 2026: p >= 0.05 and at most two points behind is a tie.
    tests = compare(values, pairs=[(best, name) for name in others])
    within = [t.b for t in tests if t.p_holm >= 0.05 and t.difference.value <= MARGIN] + [best]
    least = min(COSTS[name][0] for name in within)
    cheap = [name for name in within if COSTS[name][0] <= 1.5 * least]
    return min(cheap, key=list(COSTS).index), count


def methods(work: Path, runs: int) -> dict[str, Any]:
    """Return the share of methods' intervals that hold the methods' truth, per cell."""
    from tailorbird.metrics.classification_intervals import accuracy_score
    from tailorbird.metrics.significance import Outcomes, method_score

    def share(n: int, luck: float, seeds: int, size: int) -> float:
        rng = np.random.default_rng([7, n, int(1000 * luck), seeds, size])
        truth = float(np.mean([equal_arms(rng, 5000, luck, 40, 1, ("full",))[0]["full"].mean()
                               for _ in range(20)]))  # fmt: skip
        held = 0
        for _ in range(runs):
            values, groups = equal_arms(rng, n, luck, seeds, size)
            known = Outcomes(values, groups).luck(1.0)
            assert known is not None
            for each in values.values():
                score = accuracy_score(each.mean(axis=0), seeds, groups)
                score = method_score(score, known, seeds, "accuracy")
                held += score.low <= truth <= score.high
        return round(held / (runs * len(ARMS)), 3)

    return {
        name: cell(work, f"methods-{runs}-{name}", lambda c=(n, tau, s, g): share(*c))
        for n in (50, 200, 1000) for tau in (0.0, 0.01, 0.02) for s in (1, 3, 5) for g in (1, 5)
        for name in [f"n{n}-luck{100 * tau:.0f}-seeds{s}-group{g}"]
    }  # fmt: skip


def coverage(work: Path, runs: int) -> dict[str, Any]:
    """Return the share of intervals that hold the truth, per population and score."""
    return {
        f"{name}-n{n}": cell(
            work, f"coverage-{runs}-{name}-n{n}", lambda c=(draw, n): _held(*c, runs)
        )
        for name, draw in POPULATIONS.items() for n in (50, 100, 200)
    }  # fmt: skip


Draw = Callable[[np.random.Generator, int], "dict[str, Any]"]


def _held(draw: Draw, n: int, runs: int) -> dict[str, float]:
    rng = np.random.default_rng(n)
    large = [draw(rng, 8000) for _ in range(12)]
    truth = {name: float(np.mean([each[name].value for each in large])) for name in large[0]}
    held = dict.fromkeys(truth, 0)
    for _ in range(runs):
        for name, score in draw(rng, n).items():
            held[name] += score.low <= truth[name] <= score.high
    if n < 100:
        held.pop("ece", None)  # has none
    return {name: round(count / runs, 3) for name, count in held.items()}


def labels(shift: float, share: float) -> Draw:
    """Return scores of two classes by calibrated probabilities, one with a share of the rows."""

    def draw(rng: np.random.Generator, n: int) -> dict[str, Any]:
        from tailorbird.metrics.classification_intervals import score_all

        target = (rng.random(n) < share).astype(np.int64)
        odds = np.exp(2 * shift * (rng.normal(size=n) + shift * (2 * target - 1)))
        odds *= share / (1 - share)
        return score_all(np.stack([1 / (1 + odds), odds / (1 + odds)], axis=1), target, ("a", "b"))

    return draw


def several_labels(shift: float) -> Draw:
    """Return scores of four labels, given to 40, 30, 10 and 5 % of the rows."""
    shares = np.array([0.4, 0.3, 0.1, 0.05])

    def draw(rng: np.random.Generator, n: int) -> dict[str, Any]:
        from tailorbird.metrics.multilabel import score_all

        target = (rng.random((n, 4)) < shares).astype(np.float64)
        odds = np.exp(2 * shift * (rng.normal(size=(n, 4)) + shift * (2 * target - 1)))
        odds *= shares / (1 - shares)
        return score_all([odds / (1 + odds)], target, [0.4])

    return draw


def numbers(noise: float) -> Draw:
    """Return scores of predictions whose errors have the heavy tails of Student's t."""

    def draw(rng: np.random.Generator, n: int) -> dict[str, Any]:
        from tailorbird.metrics.regression import score_all

        truth = rng.normal(size=(n, 1))
        return score_all([truth + noise * rng.standard_t(6, size=(n, 1))], truth)

    return draw


def ranking(right: float) -> Draw:
    """Return nDCG and reciprocal rank of queries with one right document."""

    def draw(rng: np.random.Generator, n: int) -> dict[str, Any]:
        from tailorbird.metrics.ranking import mean_scores

        rank = rng.geometric(right, n).astype(np.float64)
        shown = rank <= 10
        each = {"ndcg@10": shown / np.log2(rank + 1), "mrr": shown / rank, "recall@10": shown * 1.0}
        return mean_scores(each)

    return draw


def answers(right: float) -> Draw:
    """Return token F1, exact match, loss and perplexity of written answers."""

    def draw(rng: np.random.Generator, n: int) -> dict[str, Any]:
        from tailorbird.metrics.answer_scores import score_answers

        exact = (rng.random(n) < right) * 1.0
        partial = np.where(rng.random(n) < 0.5, rng.beta(1.5, 3, n), 0.0)
        tokens = rng.integers(3, 40, n)
        sums = tokens * rng.gamma(1.5, 0.6, n)
        values = {"exact_match": exact, "token_f1": np.maximum(exact, partial)}
        return score_answers(values, sums, tokens)

    return draw


def words(right: float) -> Draw:
    """Return scores of sentences with up to three entities of two types, one rare."""

    def draw(rng: np.random.Generator, n: int) -> dict[str, Any]:
        from tailorbird.metrics.entities import score_all

        there = np.stack([rng.binomial(2, 0.4, n), rng.binomial(1, 0.1, n)])
        both = rng.binomial(there, right)
        more = rng.binomial(1, np.array([[0.1], [0.03]]), (2, n))
        length = rng.integers(8, 30, n)
        wrong = (there - both).sum(axis=0) + more.sum(axis=0)
        return score_all([np.stack([*there, *(both + more), *both, length, length - wrong], axis=1)
                          .astype(np.float64)])  # fmt: skip

    return draw


POPULATIONS: dict[str, Draw] = {
    "balanced-good": labels(1.7, 0.5), "balanced-bad": labels(0.4, 0.5),
    "rare-good": labels(2.2, 0.05), "rare-bad": labels(1.0, 0.05),
    "several-good": several_labels(1.5), "several-bad": several_labels(0.7),
    "numbers-good": numbers(0.3), "numbers-bad": numbers(1.5),
    "ranking-good": ranking(0.7), "ranking-bad": ranking(0.15),
    "answers-good": answers(0.7), "answers-bad": answers(0.05),
    "words-good": words(0.9), "words-bad": words(0.5),
}  # fmt: skip


def collect(data: Path, work: Path, name: str, split: int) -> None:
    """Compare on 240 rows with five seeds, and keep which of 600 test rows were right."""
    path = work / f"outputs-{name}-{split}.npz"
    if path.is_file():
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        target = write_split(folder, data, name, split)
        train(folder, ("probe", "rag", *ARMS), SEEDS, "--set", "train.epochs=4")
        _keep(folder / "run", path, target)


def write_split(folder: Path, data: Path, name: str, split: int, tests: int = TESTS) -> list[str]:
    """Write 240 training, 80 validation and so many test rows; return the test's labels."""
    rows = SETS[name](data / name)
    rows = list({text.strip().lower(): (text, label) for text, label in rows}.values())
    order = np.random.default_rng(0).permutation(len(rows))
    pool, rest = ([rows[i] for i in part] for part in (order[:tests], order[tests:]))
    pick = np.random.default_rng(100 + split).choice(len(rest), 320, replace=False)
    _write(folder / "test.csv", pool)
    _write(folder / "train.csv", [rest[i] for i in pick[:240]])
    _write(folder / "validation.csv", [rest[i] for i in pick[240:]])
    return [label for _, label in pool]


def train(folder: Path, arms: tuple[str, ...], seeds: Trainings, *more: str) -> None:
    """Run `tailor compare` on what `write_split` wrote, into the folder ``run``."""
    command = [
        sys.executable, "-m", "tailorbird.cli.main", "compare", str(folder / "train.csv"),
        "--validation", str(folder / "validation.csv"), "--test", str(folder / "test.csv"),
        "--methods", ",".join(arms), "--seeds", str(seeds), *more,
        "--output", str(folder / "run"), "--json",
    ]  # fmt: skip
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def predictions(run: Path, arm: str) -> np.ndarray:
    """Return the labels ``[trainings, rows]`` that an arm gives to the test, in order of seeds."""
    labels = json.loads((run / "report.json").read_text())["data"]["labels"]
    files = (run / "arms" / arm).rglob("arm.json")
    seeds = {json.loads(f.read_text())["seeds"][0]["seed"]: f.parent for f in files}
    tests = [np.load(seeds[s] / "probabilities.npz")["test"].argmax(axis=1) for s in sorted(seeds)]
    return np.array([[labels[i] for i in each] for each in tests])


def _keep(run: Path, path: Path, target: list[str]) -> None:
    """Write of each arm ``[trainings, rows]`` which are right."""
    right = {
        arm: (predictions(run, arm) == np.array(target)).astype(np.float64)
        for arm in ("probe", "rag", *ARMS)
    }
    np.savez_compressed(path, **right)  # type: ignore[arg-type]


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
