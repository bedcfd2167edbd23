"""Scales a comparison on questions so that all arms finish within `compare.budget_minutes`."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tailorbird.arms.question_arms.registry import QuestionArm
from tailorbird.config import Config
from tailorbird.methods.registry import get_method

# Numbers of test and training questions and tokens of passages: unset ones are lowered in this
# order until they fit; the last step is the least that is informative.
_STEPS = ((300, 300, 512), (200, 200, 384), (150, 150, 256), (100, 100, 256), (80, 64, 192),
          (50, 50, 128))  # fmt: skip
# Tokens of the prompt besides passages, and of a solved question; relative costs of a LoRA step
# (with validations) and of a generated token.
_FRAME, _SHOT, _LEARNING, _WRITING = 90, 70, 2.8, 1.5
_SHARE, _PROBE_TOKENS, _ARM_SECONDS = 0.8, (4, 256), 6.0


@dataclass(frozen=True, slots=True)
class Amounts:
    """The amounts: questions of each part, tokens of passages and of an answer."""

    test: int
    train: int
    passages: int
    answer: int
    changed: int


def within_budget(
    config: Config, arms: Sequence[QuestionArm], count: int
) -> tuple[Config, tuple[str, ...]]:
    """Return the settings with the amounts that the budget allows, and notes.

    User settings stay. Without a budget, or with a server that answers, nothing changes.

    Args:
        config: `compare.budget_minutes`, and `questions`.
        arms: The arms to run.
        count: The number of questions.
    """
    minutes = config.compare.budget_minutes
    if minutes is None or config.ask.endpoint or not any(a.generates for a in arms):
        return config, ()
    rate = reading_rate(config)
    seconds, sized = 0.0, config
    for step in _STEPS:
        sized = _sized(config, step)
        amounts = _amounts(sized, count, step)
        seconds = sum(_arm_seconds(amounts, arm, rate, sized) for arm in arms)
        if seconds <= _SHARE * 60 * minutes:
            break
    words = (
        f"this machine processes {rate:,.0f} tokens a second now: these amounts are expected to "
        f"take about {max(1, round(seconds / 60)):,} of the {minutes:g} minutes "
        "(compare.budget_minutes)"
    )
    return sized, (words,)


def reading_rate(config: Config) -> float:
    """Return the base model's prompt throughput on this machine, in tokens per second in batches.

    Raises:
        UserError: The model cannot be loaded, or cannot generate.
    """
    import torch

    from tailorbird.arms.generative_predictor import open_untouched

    answering = open_untouched(config)
    model: Any = answering.model
    rows = torch.arange(100, 100 + _PROBE_TOKENS[1], device=answering.device.name)
    ids = rows.remainder(model.config.vocab_size).repeat(_PROBE_TOKENS[0], 1)
    with torch.no_grad(), answering.device.autocast():
        model(input_ids=ids[:1], logits_to_keep=1)
        started = time.perf_counter()
        model(input_ids=ids, logits_to_keep=1).logits.sum().item()
    return ids.numel() / (time.perf_counter() - started)


def _arm_seconds(amounts: Amounts, arm: QuestionArm, rate: float, config: Config) -> float:
    """Return the expected seconds of an arm, at `rate` prompt tokens per second."""
    if not arm.generates:
        return _ARM_SECONDS
    context = {
        "nothing": 0,
        "shots": _SHOT * config.questions.shots,
        "passages": amounts.passages,
        # One passage instead of the usual four.
        "gold": amounts.passages / 4,
    }[arm.context]
    questions = amounts.test + (2 * amounts.changed if context and arm.context != "shots" else 0)
    tokens = questions * (_FRAME + context + _WRITING * amounts.answer)
    if arm.trains and arm.method is not None:
        epochs = config.train.epochs or get_method(arm.method).defaults.generative_epochs
        row = _FRAME + amounts.answer + (amounts.passages if arm.tuned == "raft" else 0)
        tokens += _LEARNING * epochs * amounts.train * row
    return _ARM_SECONDS + tokens / rate


def _sized(config: Config, step: tuple[int, int, int]) -> Config:
    """Return the settings with the amounts of a step, unless set by the user."""
    settings = config.questions
    names = ("test", "train", "prompt_tokens")
    explicit = settings.model_fields_set
    change = {name: n for name, n in zip(names, step, strict=True) if name not in explicit}
    return config.replace(questions=change)


def _amounts(config: Config, count: int, step: tuple[int, int, int]) -> Amounts:
    settings = config.questions
    test = min(settings.test, round(0.4 * count))
    return Amounts(
        test=test,
        train=min(settings.train or step[1], count - test),
        passages=settings.prompt_tokens or step[2],
        answer=settings.answer_tokens,
        changed=min(settings.substitutions, test // 5),
    )
