"""The verdict on ways to answer questions: the rule and its sentences."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tailorbird.metrics.cost import PREDICTIONS
from tailorbird.metrics.display import duration, percent
from tailorbird.metrics.intervals import Floats, Groups
from tailorbird.metrics.significance import compare, training_luck
from tailorbird.metrics.verdict import MARGIN, not_inferior
from tailorbird.metrics.verdict_sentences import ALPHA
from tailorbird.records import BreakEven, Comparison, QuestionArmReport, QuestionsReport, Verdict


def usable(arms: Sequence[QuestionArmReport]) -> list[QuestionArmReport]:
    """Return the arms that can be recommended: neither bounds nor floors."""
    return [arm for arm in arms if arm.status == "ok" and not arm.bound and not arm.floor]


def best_arm(arms: Sequence[QuestionArmReport], headline: str) -> QuestionArmReport | None:
    """Return the usable arm with the best score; on ties one without training."""
    return min(
        usable(arms),
        key=lambda a: (-round(a.scores[headline].value, 9), a.method is not None, a.name),
        default=None,
    )


def compare_with_best(
    best: str, values: Mapping[str, Floats], clusters: Groups, trained: Sequence[str] = ()
) -> tuple[Comparison, ...]:
    """Test one arm against each other arm on the same questions; documents are the sampling unit.

    Args:
        best: The arm to compare with, a key of `values`.
        values: ``[n]`` for each arm.
        clusters: The document of each question ``[n]``.
        trained: The trained arms: trained only once, so their scores vary by chance.
    """
    trainings = [name for name in values if name in trained]
    luck = training_luck(values, trainings, clusters)
    pairs = [(best, name) for name in values if name != best]
    tests = compare(values, pairs=pairs, groups=clusters, trained=trainings, luck=luck)
    return tuple(replace(test, test=f"{test.test} of documents") for test in tests)


def decide(
    arms: Sequence[QuestionArmReport],
    comparisons: Sequence[Comparison],
    headline: str,
    unanswerable: float = 0.0,
) -> Verdict:
    """Return the verdict: the cheapest of the arms not inferior to the best.

    Tied with the best are usable arms that are, with 80 % confidence, at most 2 points behind
    (`verdict.not_inferior`). Cheapest is the arm with the fewest seconds to train and to answer
    10,000 questions. Always abstaining would have the share of unanswerable questions correct: if
    the best score does not exceed that, the verdict says so first.
    """
    best = best_arm(arms, headline)
    if best is None:
        failed = next((arm for arm in arms if arm.status != "ok"), None)
        why = f" ({failed.name}: {failed.why})" if failed else ""
        return Verdict(None, None, (), f"No arm could be run{why}.")
    against = {c.b: c for c in comparisons if c.a == best.name}
    tied = [
        arm
        for arm in usable(arms)
        if arm.name in against and not_inferior(against[arm.name], MARGIN)
    ]
    choice = min([best, *tied], key=total_seconds)
    sentences = _sentences(choice, best, arms, against, headline)
    if unanswerable and headline == "answer_match":
        sentences = _beside_silence(sentences, best.scores[headline].low, unanswerable)
    reason = " ".join(sentences)
    return Verdict(best.name, choice.name, tuple(arm.name for arm in tied), reason)


def total_seconds(arm: QuestionArmReport) -> float:
    """Return the seconds of training and of answering the verdict's number of questions."""
    return arm.cost.total_seconds(PREDICTIONS) if arm.cost else float("inf")


def verdict_heading(verdict: Verdict) -> str:
    """Return the verdict in a few words, with which its reason begins."""
    if verdict.recommended is None:
        return "No arm could be run"
    return verdict.reason.partition(":")[0]


def advice(arm: QuestionArmReport) -> str:
    """Return the recommendation in a few words."""
    if arm.retrieves and arm.method is None:
        return "Retrieve, do not train" if arm.name != "quote" else "Quote the documents"
    if arm.retrieves:
        return "Retrieve and fine-tune"
    if arm.method is not None:
        return "Fine-tune, do not retrieve"
    return "Neither retrieve nor train"


def _sentences(
    choice: QuestionArmReport,
    best: QuestionArmReport,
    arms: Sequence[QuestionArmReport],
    against: dict[str, Comparison],
    headline: str,
) -> list[str]:
    score = choice.scores[headline]
    sentences = [
        f"{advice(choice)}: {choice.name} answers {percent(score.value)} correctly "
        f"({percent(score.low)} to {percent(score.high)})"
        + (
            "."
            if choice is best
            else f", within {100 * MARGIN:.0f} points of the best ({best.name}, "
            f"{percent(best.scores[headline].value)}), and costs less."
        )
    ]
    rivals = [a for a in usable(arms) if a is not choice and advice(a) != advice(choice)]
    rival = best_arm(rivals, headline)
    if rival is not None:
        sentences.append(_against(rival, against.get(rival.name), best, headline))
    if choice.change is not None:
        sentences.append(_after_change(choice, arms))
    bound = next((arm for arm in arms if arm.bound and arm.status == "ok"), None)
    if bound is not None and choice.retrieves:
        gap = bound.scores[headline].value
        sentences.append(
            f"If the right passage were always found, the untouched model would answer "
            f"{percent(gap)} (oracle)."
        )
    return sentences


def _after_change(choice: QuestionArmReport, arms: Sequence[QuestionArmReport]) -> str:
    """Return how the chosen arm answers after the change, and which arm adapts better."""
    change = choice.change
    assert change is not None
    new = change.current
    words = (
        "Of the questions whose answers changed with the documents, it answered "
        f"{percent(change.before.value)} correctly before; without retraining it gives the new "
        f"answer to {percent(new.value)} ({percent(new.low)} to {percent(new.high)}) and the old "
        f"one to {percent(change.stale.value)}"
    )
    follower = max(
        (arm for arm in usable(arms) if arm.change is not None),
        key=lambda arm: arm.change.current.value if arm.change else 0.0,
    )
    assert follower.change is not None
    if follower.change.current.value > new.value:
        words += f"; {follower.name} gives the new one to {percent(follower.change.current.value)}"
    return f"{words}."


def _beside_silence(sentences: list[str], low: float, share: float) -> list[str]:
    """Return the sentences with the score of always abstaining."""
    silence = f'"I don\'t know" to every question would be correct for {percent(share)} of them'
    if low <= share:
        return [
            f"No arm is shown to be better than abstaining: {silence}, which have no answer.",
            *sentences,
        ]
    return [*sentences, f"{silence}, which have no answer."]


def _against(
    rival: QuestionArmReport, test: Comparison | None, best: QuestionArmReport, headline: str
) -> str:
    words = f"The best arm of another kind, {rival.name}, answers "
    words += percent(rival.scores[headline].value)
    if test is None or rival is best:
        return f"{words}."
    gap = test.difference
    span = f"{100 * gap.low:.1f} to {100 * gap.high:.1f}"
    fewer = f"{words}: {100 * gap.value:.1f} points fewer than {best.name} ({span})"
    if test.p_holm < ALPHA:
        return f"{fewer}."
    if gap.low > 0:
        # Flipping the signs of 7 documents cannot give a p below 2 / 2 ** 7.
        return f"{fewer}; with so few documents the corrected test does not confirm it."
    return f"{words}; the difference from {best.name} is not significant ({span} points)."


def break_evens(arms: Sequence[QuestionArmReport]) -> tuple[BreakEven, ...]:
    """Return how many questions make each trained arm as cheap as each untrained one.

    Only arms with the same base model are compared.
    """
    ready = [arm for arm in usable(arms) if arm.cost is not None and arm.name != "quote"]
    pairs = []
    for trained in (arm for arm in ready if arm.method is not None):
        for other in (arm for arm in ready if arm.method is None):
            assert trained.cost is not None and other.cost is not None
            saved = other.cost.answer_seconds - trained.cost.answer_seconds
            first = trained.cost.train_seconds or 0.0
            count = 1000 * first / saved if saved > 0 else None
            pairs.append(BreakEven(trained.name, other.name, count))
    return tuple(pairs)


def becoming_current(report: QuestionsReport) -> str:
    """Return the cost of updating to changed documents: indexing, or training again."""
    seconds_again = report.sections.reindex_seconds
    if seconds_again is None:
        return ""
    trained = [
        (arm.name, arm.cost.train_seconds)
        for arm in report.arms
        if arm.cost is not None and arm.cost.train_seconds and arm.status == "ok"
    ]
    words = f"Updating the index took {duration(seconds_again)}"
    if trained:
        name, seconds = max(trained, key=lambda pair: pair[1])
        words += f"; training {name} again would take {duration(seconds)}"
        words += _price(report, seconds)
    return f"{words}."


def _price(report: QuestionsReport, seconds: float) -> str:
    rate, index_again = report.sections.price_per_hour, report.sections.reindex_seconds
    if rate is None or index_again is None:
        return ""
    index, train = (rate * s / 3600 for s in (index_again, seconds))
    return f" (at {rate:g} an hour: {index:.4f} against {train:.4f})"
