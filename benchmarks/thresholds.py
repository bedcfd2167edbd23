"""What thresholds of several labels' own are worth, and how cautiously to choose them.

A logistic regression per label (`tailor`'s probe) on embeddings of GoEmotions: 8,000 training rows
to fit it, the validation rows to choose thresholds on, and 8,000 more training rows to judge them
on; the test rows stay out of it, so that what is decided by these figures may be tested there.
Thresholds are chosen on all validation rows and on several draws of fewer: one for all labels; each
label's best; halfway between the two in log odds, nearer to the common one the fewer rows have the
label (n / (n + 30)); and as `metrics/multilabel.py` does, its caution and others (0 is each
label's best once more, with ties broken otherwise). Prints one JSON line: for each model (by the C
of its penalty; a small one leaves the probabilities of rare labels low, as a short training does)
and each number of validation rows the mean macro-F1 on the judging rows.
"""

from pathlib import Path
from typing import Any

from harness import DATA, data_file, emit, parser, say

CS = (1.0, 10.0, 100.0)
SIZES = (250, 1000)
CAUTIONS = (0.125, 0.25, 0.5, 1.0, 2.0)


def main() -> None:
    """Embed, fit, choose and score."""
    import numpy as np
    from scipy.special import expit

    from tailorbird.models.linear_fit import fit_labels

    asked = parser(__doc__)
    asked.add_argument("--data", type=Path, default=DATA / "goemotions")
    asked.add_argument("--rows", type=int, default=8000, help="to fit, and as many to judge on")
    asked.add_argument("--draws", type=int, default=20, help="of validation rows")
    given = asked.parse_args()
    train, validation, judging = _embedded(given.data, given.rows)
    rows = []
    for c in CS:
        say(f"C = {c:g}")
        weights, bias = fit_labels(*train, c)
        held, judged = (
            expit(part[0] @ weights.T + bias).astype(np.float32) for part in (validation, judging)
        )
        draw = np.random.default_rng(0)
        for size in (*SIZES, len(held)):
            drawn = [
                draw.permutation(len(held))[:size]
                for _ in range(given.draws if size < len(held) else 1)
            ]
            each = [_scores(held[k], validation[1][k], judged, judging[1]) for k in drawn]
            mean = {way: float(np.mean([scores[way] for scores in each])) for way in each[0]}
            told = {way: round(value, 4) for way, value in mean.items()}
            rows.append({"C": c, "validation_rows": size, **told})
    emit("thresholds", {"data": given.data.name, "training_rows": len(train[0]), "macro_f1": rows})


def _embedded(folder: Path, rows: int) -> list[tuple[Any, Any]]:
    """Return the vectors and the labels, as 0 and 1: to fit on, to choose on, to judge on."""
    from tailorbird.config.schema import ModelConfig
    from tailorbird.data.read import read_parts
    from tailorbird.data.sources import Source
    from tailorbird.data.split import make_split
    from tailorbird.models.device import choose
    from tailorbird.models.embed import Embedder
    from tailorbird.tasks.registry import head_task

    files = [str(data_file(folder, f"{name}.tsv")) for name in ("train", "dev", "test")]
    parts = read_parts(
        Source(files[0]), validation=files[1], test=files[2], text="1", label="2", task="multilabel"
    )
    split = make_split(*parts, validation_share=0.1, test_share=0.1, seed=13)
    embedder = Embedder(ModelConfig(), choose("cpu", "auto"))
    task = head_task(split.task)
    target = task.target(split)
    return [
        (embedder.embed([e.text for e in part], "embedding").vectors, task.truths(part, target))
        for part in (split.train[:rows], split.validation, split.train[rows : 2 * rows])
    ]


def _scores(held: Any, truth: Any, judged: Any, right: Any) -> dict[str, float]:
    """Return the macro-F1 on judging rows by each way of choosing on validation rows."""
    import numpy as np
    from scipy.special import expit, logit

    from tailorbird.metrics import multilabel as sets

    f1 = sets.f1_by_threshold(held, truth)
    one = sets.THRESHOLDS[sets.middle_best(f1.mean(axis=1))]
    own = sets.THRESHOLDS[[sets.middle_best(column) for column in f1.T]]
    count = truth.sum(axis=0)
    share = count / (count + 30)
    ways = {
        "one": np.full(len(own), one),
        "own": own,
        "between": expit(share * logit(own) + (1 - share) * logit(one)),
    } | {f"caution {c:g}": np.asarray(sets.best_thresholds(held, truth, c)) for c in CAUTIONS}
    return {
        way: float(sets.macro_f1(sets.counts(judged, right, t).sum(axis=0)[:, None])[0])
        for way, t in ways.items()
    }


if __name__ == "__main__":
    main()
