"""A report that looks like a real one, from a seeded simulation; for tests and for looking at."""

import random
from dataclasses import replace

from tailorbird.metrics.verdict import verdict
from tailorbird.records import (
    ArmReport,
    CalibrationBin,
    ClassScore,
    Comparison,
    Cost,
    CurvePoint,
    DataSummary,
    Finding,
    Neighbour,
    ReloadCheck,
    Report,
    Score,
    SeedScore,
    TuningSections,
    WrongExample,
)

BUGS = (
    "bad_index", "infinite_loop", "lost_update", "missing_return", "mutable_default", "name_typo",
    "off_by_one", "shadowed_name", "type_mix", "wrong_import", "wrong_indent", "wrong_operator",
)  # fmt: skip
TEXTS = (
    "for i in range(len(xs)): total += xs[i + 1]  # IndexError: list index out of range",
    "def mean(xs): sum(xs) / len(xs)\nprint(mean([1, 2, 3]))  # prints None",
    "def add(item, basket=[]): basket.append(item); return basket",
    "while n > 0: print(n)  # never stops",
    "age = input('age? ')\nif age > 18: print('adult')  # TypeError: '>' not supported",
    "import maths\nprint(maths.sqrt(2))  # ModuleNotFoundError: No module named 'maths'",
)
# name, accuracy, search s, train s, peak memory, trained, per text ms
ARMS = (
    ("majority", 0.083, None, 0.0, 180e6, None, 0.002),
    ("rag", 0.742, 8.1, 3.4, 410e6, None, 4.1),
    ("probe", 0.781, 5.2, 4.9, 395e6, 4_620, 3.2),
    ("prompt", 0.702, 212.0, 141.0, 612e6, 12_300, 6.9),
    ("lora", 0.881, 198.0, 80.0, 702e6, 1_182_732, 5.1),
    ("qlora", 0.874, 311.0, 131.0, 412e6, 1_182_732, 9.8),
    ("adapter", 0.872, 204.0, 96.0, 731e6, 894_000, 5.4),
    ("full", 0.889, 266.0, 172.0, 1_312e6, 22_713_216, 3.4),
    ("rag+best", 0.884, 209.0, 80.0, 731e6, None, 29.3),
)


def sample_report(
    *, classes: int = 12, failed: bool = False, seeds: int = 1, kind: str = "compare", seed: int = 7
) -> Report:
    """Build a report of nine arms (one when ``kind`` is ``tune``)."""
    rng = random.Random(seed)
    labels = list(BUGS) if classes == len(BUGS) else [f"intent_{i:02d}" for i in range(classes)]
    tests = 300 if classes <= 12 else 1540
    arms = [_arm(rng, row, labels, tests, seeds) for row in ARMS]
    if kind == "tune":
        arms = [arm for arm in arms if arm.name == "lora"]
    if failed:
        arms = [_broken(arm) for arm in arms]
    best = max(arms, key=lambda arm: arm.test["accuracy"].value if arm.test else -1)
    comparisons = tuple(_compare(best, arm) for arm in arms if arm.test and arm is not best)
    return Report(
        kind=kind,  # type: ignore[arg-type]
        sections=TuningSections(_data(rng, labels, tests)),
        arms=tuple(arms),
        verdict=verdict(arms, comparisons),
        comparisons=comparisons,
        model="builtin:minilm",
        command="tailor compare examples/tutor/bugs.csv --methods all --seeds 3",
        created="2026-10-02T14:31:07+00:00",
        seconds=2143.0,
        environment={
            "tailorbird": "0.1.0",
            "python": "3.11.2",
            "torch": "2.13.0",
            "transformers": "5.1.0",
            "machine": {"cpu": "AMD EPYC 9B45", "cores": 2, "memory": "16 GB", "gpu": None},
        },
        settings={
            "data": {"text": "program", "label": "bug", "max_length": 256},
            "train": {"epochs": 8, "batch_size": 32, "seed": 13, "patience": 3},
        },
    )


def _interval(value: float, n: int) -> Score:
    half = 1.96 * (value * (1 - value) / n) ** 0.5
    return Score(value, max(0.0, value - half), min(1.0, value + half))


def _arm(
    rng: random.Random, row: tuple[object, ...], labels: list[str], tests: int, seeds: int
) -> ArmReport:
    name, accuracy, search, train, memory, trained, predict = row
    confusion = _confusion(rng, len(labels), tests, float(accuracy))  # type: ignore[arg-type]
    right = sum(confusion[i][i] for i in range(len(labels))) / tests
    tuned = trained is not None and name != "probe"
    return ArmReport(
        name=str(name),
        status="ok",
        validation={"accuracy": _interval(min(1, right + 0.01), tests // 2)},
        test={
            "accuracy": _interval(right, tests),
            "macro_f1": _interval(max(0.01, right - 0.012), tests),
            "ece": Score(0.041, 0.03, 0.06),
            "log_loss": Score(0.44, 0.40, 0.49),
        },
        cost=Cost(
            train_seconds=train,  # type: ignore[arg-type]
            search_seconds=search,  # type: ignore[arg-type]
            examples_per_second=118.0 if tuned else None,
            tokens_per_second=14_200.0 if tuned else None,
            peak_memory_bytes=int(memory),  # type: ignore[call-overload]
            trainable_parameters=trained,  # type: ignore[arg-type]
            total_parameters=22_713_216,
            artifact_bytes=int(trained) * 4 if trained else 310_000,  # type: ignore[call-overload]
            predict_ms_per_example=predict,  # type: ignore[arg-type]
        ),
        run=f"runs/compare/{name}",
        settings={
            "method": {"name": str(name), "rank": 16, "alpha": 32},
            "train": {"learning_rate": 3e-4, "schedule": "cosine"},
        },
        notes=("The learning rate was chosen among 6 on the validation part.",) if tuned else (),
        seeds=_seeds(rng, right, seeds) if tuned else (),
        curve=_curve(rng, right) if tuned else (),
        per_class=_per_class(labels, confusion),
        confusion=tuple(tuple(line) for line in confusion),
        calibration=_calibration(rng, tests),
        errors=_errors(rng, labels, confusion),
        reload=ReloadCheck(identical=True, examples=200, max_difference=0.0) if tuned else None,
    )


def _confusion(rng: random.Random, size: int, tests: int, accuracy: float) -> list[list[int]]:
    table = [[0] * size for _ in range(size)]
    shared = random.Random(size)
    hardness = [shared.uniform(-0.15, 0.15) for _ in range(size)]
    bias = accuracy - sum(hardness) / size * 4 * accuracy * (1 - accuracy)
    for number in range(tests):
        true = number % size
        skill = bias + hardness[true] * 4 * accuracy * (1 - accuracy)
        rank = (number // size + 0.5) / (tests / size)
        near = (true + rng.choice((1, 1, 1, 2, size - 1, rng.randrange(1, size)))) % size
        table[true][true if rank < skill else near] += 1
    return table


def _per_class(labels: list[str], confusion: list[list[int]]) -> tuple[ClassScore, ...]:
    scores = []
    for index, label in enumerate(labels):
        hit, support = confusion[index][index], sum(confusion[index])
        said = sum(line[index] for line in confusion)
        precision = hit / said if said else 0.0
        recall = hit / support if support else 0.0
        both = precision + recall
        f1 = 2 * precision * recall / both if both else 0.0
        scores.append(ClassScore(label, precision, recall, _interval(f1, max(support, 1)), support))
    return tuple(scores)


def _curve(rng: random.Random, final: float) -> tuple[CurvePoint, ...]:
    points = []
    for number in range(1, 13):
        share = number / 12
        points.append(
            CurvePoint(
                step=20 * number,
                epoch=round(8 * share, 2),
                train_loss=2.5 * 2.718 ** (-3.4 * share) + rng.uniform(0, 0.03),
                validation_loss=2.1 * 2.718 ** (-3.6 * share) + 0.32 + 0.25 * max(0, share - 0.7),
                validation_accuracy=final * (1 - 2.718 ** (-4.5 * share)) + rng.uniform(0, 0.02),
                learning_rate=3e-4 * (1 - share),
            )
        )
    return tuple(points)


def _calibration(rng: random.Random, tests: int) -> tuple[CalibrationBin, ...]:
    shares = [0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.09, 0.14, 0.2, 0.36]
    return tuple(
        CalibrationBin(0.05 + 0.1 * i, max(0.0, 0.1 * i + rng.uniform(-0.05, 0.06)), int(tests * s))
        for i, s in enumerate(shares)
    )


def _errors(
    rng: random.Random, labels: list[str], confusion: list[list[int]]
) -> tuple[WrongExample, ...]:
    wrong = []
    for i, line in enumerate(confusion):
        for j, times in enumerate(line):
            wrong += [(i, j)] * (times if i != j else 0)
    return tuple(
        WrongExample(
            row=number + 2,
            text=rng.choice(TEXTS),
            label=labels[i],
            predicted=labels[j],
            confidence=rng.uniform(0.3, 0.99),
            nearest=tuple(
                Neighbour(rng.choice(TEXTS), labels[rng.choice((i, j, j))], 0.93 - 0.05 * k, 40 + k)
                for k in range(3)
            ),
        )
        for number, (i, j) in enumerate(wrong)
    )


def _seeds(rng: random.Random, right: float, seeds: int) -> tuple[SeedScore, ...]:
    if seeds < 2:
        return ()
    spread = [rng.uniform(-0.012, 0.012) for _ in range(seeds)]
    return tuple(
        SeedScore(
            13 + number,
            validation={"accuracy": right + gap / 2},
            test={"accuracy": right + gap, "macro_f1": right + gap - 0.01},
        )
        for number, gap in enumerate(spread)
    )


def _broken(arm: ArmReport) -> ArmReport:
    bare = replace(
        arm, validation={}, test={}, cost=Cost(), seeds=(), curve=(), per_class=(), notes=(),
        confusion=(), calibration=(), errors=(), reload=None, run=None,
    )  # fmt: skip
    if arm.name == "qlora":
        why = "out of memory at step 3: the machine has 16 GB and 17.2 GB were asked for"
        return replace(bare, status="failed", why=why)
    if arm.name == "rag+best":
        return replace(bare, status="skipped", why="the 20 minutes of the budget were over")
    return arm


def _compare(best: ArmReport, arm: ArmReport) -> Comparison:
    gap = best.test["accuracy"].value - arm.test["accuracy"].value
    half = 0.022 + 0.02 * gap
    p = min(1.0, 2.718 ** (-((gap / 0.014) ** 2) / 2))
    score = Score(gap, gap - half, gap + half)
    return Comparison(best.name, arm.name, score, p, min(1.0, 3 * p), "sign-flip", 0.009)


def _data(rng: random.Random, labels: list[str], tests: int) -> DataSummary:
    each = tests // len(labels)
    return DataSummary(
        source="examples/tutor/bugs.csv",
        columns={"text": "program", "label": "bug"},
        labels=tuple(labels),
        counts={"train": 3 * tests, "validation": tests // 2, "test": tests},
        class_counts={
            label: {"train": 3 * each + rng.randrange(-9, 9), "validation": each // 2, "test": each}
            for label in labels
        },
        how="stratified, seed 13",
        findings=(
            Finding(
                "overlap", "warning",
                "4 test examples also stood in the training part; they were removed from it.",
                4, (TEXTS[0], TEXTS[3]),
            ),
            Finding(
                "near_duplicates", "warning",
                "17 training examples nearly repeat a test example (similarity above 0.9).",
                17, (TEXTS[1],),
            ),
            Finding("truncated", "info", "2 % of the texts are longer than 256 tokens.", 24),
        ),
    )  # fmt: skip
