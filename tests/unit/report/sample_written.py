"""A second sample report: arms that write answers, with answers worth reading."""

import random
from collections import Counter
from dataclasses import replace
from typing import NamedTuple

from tailorbird.metrics.verdict import Evidence, best_arm, verdict
from tailorbird.records import (
    ArmReport,
    Comparison,
    Cost,
    CurvePoint,
    DataSummary,
    Finding,
    Forgetting,
    Neighbour,
    Piece,
    ReloadCheck,
    Report,
    Score,
    SeedScore,
    TuningSections,
    WrittenAnswer,
)

TESTS = 300


class Asked(NamedTuple):
    """A test prompt, its reference, and what kinds of arm wrote."""

    prompt: str
    reference: str
    base: str
    nearest: str
    rag: str
    tuned: str
    other: str


ASKED = (
    Asked(
        "Explain the bug and fix it.\n\ndef mean(xs):\n    sum(xs) / len(xs)\n\n"
        "print(mean([1, 2, 3]))  # prints None",
        "The function computes the mean but never returns it, so calling it gives None. "
        "Add return:\n\ndef mean(xs):\n    return sum(xs) / len(xs)",
        "The code defines a function called mean. The function takes a list of numbers and prints "
        "the mean of the list. The mean of a list is the sum of the numbers divided by how many "
        "numbers there are. In Python, lists are written with square brackets. The code is correct "
        "and will print the mean of the list, which is 2.0. The code is correct and will print",
        "The function changes total inside the loop but returns before the loop ends. Move the "
        "return out of the loop.",
        "The function has no return statement, so it gives None. Add return in front of sum(xs) / "
        "len(xs).",
        "The function computes the mean but never returns it, so it gives None. Add return:\n\n"
        "def mean(xs):\n    return sum(xs) / len(xs)",
        "The function computes the sum but does not return a value, so print shows None. Use "
        "return sum(xs) / len(xs).",
    ),
    Asked(
        "Why does this fail?\n\nage = input('age? ')\nif age > 18:\n    print('adult')\n\n"
        "TypeError: '>' not supported between instances of 'str' and 'int'",
        "input always returns a string, and a string cannot be compared with a number. Convert it "
        "first: age = int(input('age? ')).",
        "The error is a TypeError. A TypeError happens when an operation is applied to an object "
        "of the wrong type. To fix it you should check the type of the object. You can use the "
        "type function. You can also use the isinstance function. For example, isinstance(age, "
        "int) returns True if age is an integer and False if it is not.",
        "A string and a number cannot be added. Convert the number first: 'n = ' + str(n).",
        "input returns a string. Convert the number first: age = str(input('age? ')).",
        "input returns a string, and a string cannot be compared with a number. Convert it first: "
        "age = int(input('age? ')).",
        "The value from input is a string, so > fails. Convert it with int(age).",
    ),
    Asked(
        "The second call prints ['pear', 'fig']. Why?\n\ndef add(item, basket=[]):\n"
        "    basket.append(item)\n    return basket\n\nadd('pear')\nprint(add('fig'))",
        "The default list is made once, when the function is defined, and shared by all calls. Use "
        "None as the default and make a new list inside:\n\ndef add(item, basket=None):\n"
        "    basket = [] if basket is None else basket",
        "The second call prints ['pear', 'fig'] because the function adds the item to the basket. "
        "The first call adds pear to the basket and the second call adds fig to the basket. So the "
        "basket has two items.",
        "The default dictionary is made once and shared by all calls. Use None as the default and "
        "make a new one inside.",
        "The default list is made once and shared by all calls. Use None as the default and make "
        "a new list inside.",
        "The default list is made once, when the function is defined, and shared by all calls. Use "
        "None as the default and make a new list inside the function.",
        "The list is created once and is shared. Set basket=None and create the list in the body.",
    ),
    Asked(
        "This loop never ends. What is wrong?\n\nn = 10\nwhile n > 0:\n    print(n)",
        "n never changes, so n > 0 stays true. Lower it in the loop: n -= 1 after the print.",
        "The loop will print the numbers from 10 to 1 and then stop. The while loop checks the "
        "condition before each iteration.",
        "i is never raised inside the loop, so the condition stays true. Add i += 1 at its end.",
        "n is never lowered inside the loop, so the condition stays true. Add n -= 1 at its end.",
        "n never changes in the loop, so n > 0 stays true. Add n -= 1 after the print.",
        "The condition stays true because n does not change. Put n = n - 1 in the loop.",
    ),
    Asked(
        "What does this raise, and how do I avoid it?\n\nstock = {'fig': 3}\nfor name in "
        "('fig', 'pear'):\n    print(f\"{name:>20} has a stock of {stock[name]} pieces left in "
        'warehouse number {len(name)}, as counted on the last working day of the month")',
        "It raises KeyError: 'pear', because pear is not in the dictionary. Use "
        "stock.get(name, 0).",
        "",
        "It raises IndexError, because the list has three elements. Use range(len(xs) - 1).",
        "It raises KeyError: 'pear'. Use stock.get(name, 0).",
        "It raises KeyError: 'pear', because pear is not in stock. Use stock.get(name, 0).",
        "A KeyError, because 'pear' is missing from the dictionary; use get with a default of 0.",
    ),
    Asked(
        "Nothing is sorted here. Why?\n\nwords = ['b', 'a']\nsorted(words)\nprint(words)",
        "sorted returns a new list and leaves words as it is. Either assign it, words = "
        "sorted(words), or sort in place with words.sort().",
        "The list is sorted in alphabetical order. The output of the program is ['a', 'b'].",
        "reversed returns an iterator and leaves the list as it is. Use xs.reverse() in place.",
        "sorted returns a new list and leaves words as it is. Use words.sort() to sort in place.",
        "sorted returns a new list and does not change words. Use words = sorted(words).",
        "Because sorted gives back a new list. Call words.sort() instead.",
    ),
)
# name, kind of answer, token F1, ROUGE-L, loss, search s, train s, memory, trained, ms per answer
ARMS = (
    ("nearest", "nearest", 0.334, 0.291, None, None, 4.2, 402e6, None, 3.9),
    ("base", "base", 0.218, 0.171, 2.41, None, None, 911e6, None, 1840.0),
    ("rag", "rag", 0.447, 0.402, 1.52, 61.0, 4.2, 1_204e6, None, 2210.0),
    ("prompt", "other", 0.391, 0.348, 1.71, None, 402.0, 1_022e6, 11_520, 1310.0),
    ("lora", "tuned", 0.561, 0.523, 1.12, None, 318.0, 1_391e6, 2_442_240, 1190.0),
    ("qlora", "tuned", 0.549, 0.512, 1.15, None, 611.0, 874e6, 2_442_240, 2980.0),
    ("adapter", "other", 0.538, 0.497, 1.18, None, 352.0, 1_422e6, 1_911_000, 1260.0),
    ("full", "tuned", 0.574, 0.534, 1.09, None, 655.0, 2_814e6, 134_515_008, 1020.0),
    ("rag+lora", "tuned", 0.566, 0.529, 1.10, 61.0, 322.0, 1_610e6, 2_442_240, 1830.0),
)
FORGOTTEN = {"prompt": 2.313, "lora": 2.371, "qlora": 2.352, "adapter": 2.412, "full": 2.804}


def written_report(
    *, headline: str = "token_f1", seeds: int = 1, failed: bool = False, only: str = ""
) -> Report:
    """Build a report of nine writing arms (one when ``only`` is its name)."""
    rng = random.Random(11)
    arms = [_arm(rng, row, headline, seeds) for row in ARMS if only in ("", row[0])]
    if failed:
        arms = [_broken(arm) for arm in arms]
    best = best_arm(arms, headline)
    assert best is not None
    others = [arm for arm in arms if headline in arm.test and arm is not best]
    comparisons = tuple(_compare(best, arm, headline) for arm in others)
    return Report(
        kind="tune" if only else "compare",
        sections=TuningSections(_data()),
        arms=tuple(arms),
        verdict=verdict(arms, comparisons, headline, Evidence(TESTS)),
        comparisons=comparisons,
        model="HuggingFaceTB/SmolLM2-135M-Instruct",
        command="tailor compare explain.jsonl --model HuggingFaceTB/SmolLM2-135M-Instruct",
        created="2026-10-02T14:31:07+00:00",
        seconds=4_113.0,
        environment={"tailorbird": "0.2.0", "python": "3.11.2", "torch": "2.13.0"},
        settings={"data": {"max_length": 512}, "generate": {"max_new_tokens": 128}},
        headline=headline,
    )


def token_f1(output: str, reference: str) -> float:
    """Return the F1 of the words that two texts share."""
    said, meant = Counter(output.lower().split()), Counter(reference.lower().split())
    shared = sum((said & meant).values())
    return 2 * shared / (said.total() + meant.total()) if shared else 0.0


def _interval(value: float, half: float) -> Score:
    return Score(value, value - half, value + half)


def _arm(rng: random.Random, row: tuple[object, ...], headline: str, seeds: int) -> ArmReport:
    name, kind, f1, rouge, loss, search, train, memory, trained, each = row
    tuned = trained is not None
    test = {
        "token_f1": _interval(f1, 0.024),  # type: ignore[arg-type]
        "rouge_l": _interval(rouge, 0.025),  # type: ignore[arg-type]
        "exact_match": _interval(max(0.02, f1 - 0.35), 0.018),  # type: ignore[operator]
    }
    validation = {}
    if loss is not None:
        test["loss"] = _interval(loss, 0.05)  # type: ignore[arg-type]
        test["perplexity"] = Score(2.718**loss, 2.718 ** (loss - 0.05), 2.718 ** (loss + 0.05))  # type: ignore[operator]
        validation = {"loss": test["loss"], "perplexity": test["perplexity"]}
    if tuned:
        validation["accuracy"] = _interval(0.71, 0.012)
    answers = tuple(_answer(n, a, str(kind), headline) for n, a in enumerate(ASKED))
    return ArmReport(
        name=str(name),
        status="ok",
        validation=validation,
        test=test,
        cost=Cost(
            train_seconds=train,  # type: ignore[arg-type]
            search_seconds=search,  # type: ignore[arg-type]
            tokens_per_second=4_120.0 if tuned else None,
            peak_memory_bytes=int(memory),  # type: ignore[call-overload]
            trainable_parameters=trained,  # type: ignore[arg-type]
            total_parameters=134_515_008,
            artifact_bytes=int(trained) * 4 if trained else None,  # type: ignore[call-overload]
            predict_ms_per_example=each,  # type: ignore[arg-type]
        ),
        run=f"runs/compare/arms/{name}",
        settings={"method": {"name": str(name)}, "train": {"learning_rate": 2e-4}},
        notes=("Answers were cut at 128 new tokens; 4 of 300 reached that.",) if tuned else (),
        seeds=_seeds(rng, test, seeds) if tuned else (),
        curve=_curve(loss) if tuned else (),
        answers=answers,
        worst=tuple(sorted(answers, key=lambda answer: answer.score)),
        forgetting=_forgetting(str(name)),
        reload=ReloadCheck(identical=True, examples=20, max_difference=0.0) if tuned else None,
    )


def _answer(number: int, asked: Asked, kind: str, headline: str) -> WrittenAnswer:
    output = getattr(asked, kind)
    exact = float(output == asked.reference)
    f1 = token_f1(output, asked.reference)
    near = tuple(
        Neighbour(a.prompt, a.reference, 0.91 - 0.06 * k, 40 + k)
        for k, a in enumerate(ASKED)
        if k != number
    )
    return WrittenAnswer(
        row=number + 3,
        prompt=asked.prompt,
        reference=asked.reference,
        output=output,
        score={"token_f1": f1, "exact_match": exact, "perplexity": 4.2}.get(headline, f1),
        loss=1.4,
        nearest=near[:2],
    )


def _forgetting(name: str) -> Forgetting | None:
    if name not in FORGOTTEN:
        return None
    return Forgetting(2.31, FORGOTTEN[name], 18_422, "pages on Python's errors")


def _curve(loss: object) -> tuple[CurvePoint, ...]:
    points = []
    for number in range(1, 11):
        share = number / 10
        points.append(
            CurvePoint(
                step=25 * number,
                epoch=round(3 * share, 2),
                train_loss=2.3 * 2.718 ** (-1.6 * share) + 0.35,
                validation_loss=float(loss) + 1.3 * 2.718 ** (-4 * share),  # type: ignore[arg-type]
                validation_accuracy=0.71 - 0.25 * 2.718 ** (-4 * share),
                learning_rate=2e-4 * (1 - share),
            )
        )
    return tuple(points)


def _seeds(rng: random.Random, test: dict[str, Score], seeds: int) -> tuple[SeedScore, ...]:
    if seeds < 2:
        return ()
    gaps = [rng.uniform(-0.012, 0.012) for _ in range(seeds)]
    return tuple(
        SeedScore(
            1 + number,
            validation={"loss": 1.12 - gap},
            test={name: score.value + gap for name, score in test.items()},
        )
        for number, gap in enumerate(gaps)
    )


def _broken(arm: ArmReport) -> ArmReport:
    bare = replace(
        arm, validation={}, test={}, cost=Cost(), seeds=(), curve=(), notes=(), answers=(),
        worst=(), forgetting=None, reload=None, run=None,
    )  # fmt: skip
    if arm.name == "full":
        return replace(bare, status="failed", why="out of memory at step 1: 17.2 GB were asked for")
    if arm.name == "rag+lora":
        return replace(bare, status="skipped", why="the 20 minutes of the budget were over")
    return arm


def _compare(best: ArmReport, arm: ArmReport, headline: str) -> Comparison:
    gap = best.test[headline].value - arm.test[headline].value
    half = 0.021 + 0.02 * abs(gap)
    p = min(1.0, 2.718 ** (-((gap / 0.012) ** 2) / 2))
    score = Score(gap, gap - half, gap + half)
    return Comparison(best.name, arm.name, score, p, min(1.0, 3 * p), "sign-flip test")


def _data() -> DataSummary:
    return DataSummary(
        source="explain.jsonl",
        columns={"prompt": "instruction", "answer": "output"},
        labels=(),
        counts={"train": 1_200, "validation": 150, "test": 412, "answered": TESTS},
        class_counts={},
        how="by prompt, seed 13",
        findings=(
            Finding(
                "overlap", "warning",
                "3 training prompts also stood in the test part; they were removed from it.",
                3, (ASKED[0].prompt,),
            ),
            Finding("truncated", "info", "1 % of the pairs are longer than 512 tokens.", 12),
        ),
        task="generation",
        form="instruction, input, output (Alpaca)",
        shown=tuple(_shown(asked) for asked in ASKED[2:4]),
    )  # fmt: skip


def _shown(asked: Asked) -> tuple[Piece, ...]:
    system = "You are a patient teacher of Python."
    return (
        Piece(f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n", False),
        Piece(f"{asked.prompt}<|im_end|>\n<|im_start|>assistant\n", False),
        Piece(asked.reference, True),
        Piece("<|im_end|>", True),
        Piece("\n", False),
    )
