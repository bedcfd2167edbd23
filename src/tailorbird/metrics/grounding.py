"""How far answers rest on what they cite: precision and recall of citations, refusals."""

from collections.abc import Collection, Sequence

from tailorbird.records import Answer


def citation_precision(answer: Answer) -> float | None:
    """Return the share of an answer's citations that stood the check; None if it cites nothing.

    As ALCE's citation precision (Gao et al. 2023, arXiv 2305.14627), with the lexical check.
    """
    good = sum(len(claim.citations) for claim in answer.claims)
    made = good + sum(len(claim.wrong) for claim in answer.claims)
    return good / made if made else None


def citation_recall(answer: Answer) -> float | None:
    """Return the share of an answer's sentences that are supported; None if it says nothing."""
    if not answer.claims:
        return None
    return sum(claim.supported for claim in answer.claims) / len(answer.claims)


def cites_right_source(answer: Answer, right: Collection[str]) -> float:
    """Return 1 if the answer cites a document that is judged right, else 0."""
    cited = {citation.source for claim in answer.claims for citation in claim.citations}
    return float(bool(cited & set(right)))


def refusal_rate(answers: Sequence[Answer]) -> float:
    """Return the share of answers that say they do not know; 0 of none."""
    return sum(answer.refused for answer in answers) / len(answers) if answers else 0.0


def mean_known(values: Sequence[float | None]) -> float | None:
    """Return the mean of the values that there are; None if there are none."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
