"""How many planted label errors are found, and how many good labels are doubted in vain.

Changes 3 % of the labels of a file at random, judges every row by five-fold cross-validation as
`tailor tune` and `tailor compare` do, and prints one JSON line: by margin, how many rows are
doubted, which share of them was planted (a lower bound of the precision: the data has errors of
its own), and which share of the planted ones is among them.
"""

from pathlib import Path

from harness import DATA, emit, parser, say

MARGINS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9)


def main() -> None:
    """Plant, judge and count."""
    import numpy as np

    from tailorbird.arms.label_errors import out_of_fold
    from tailorbird.config.schema import ModelConfig
    from tailorbird.data.read import read_examples
    from tailorbird.data.sources import Source
    from tailorbird.metrics.confident_learning import label_errors
    from tailorbird.models.device import choose
    from tailorbird.models.embed import Embedder

    asked = parser(__doc__)
    asked.add_argument("--data", type=Path, default=DATA / "sst2" / "train.csv")
    asked.add_argument("--rows", type=int, default=3000)
    asked.add_argument("--share", type=float, default=0.03)
    given = asked.parse_args()
    examples = read_examples(Source(str(given.data), given.rows, seed=1)).examples
    labels = sorted({str(e.label) for e in examples})
    truth = np.asarray([labels.index(str(e.label)) for e in examples])
    draw = np.random.default_rng(0)
    planted = draw.random(len(truth)) < given.share
    moved = draw.integers(1, len(labels), len(truth))
    noisy = np.where(planted, (truth + moved) % len(labels), truth)
    say(f"{len(truth):,} rows, {len(labels)} classes, {int(planted.sum())} labels changed")
    embedder = Embedder(ModelConfig(), choose("cpu", "auto"))
    vectors = embedder.embed([e.text for e in examples], "embedding").vectors
    probabilities = out_of_fold(vectors, noisy, len(labels))
    rows = []
    for margin in MARGINS:
        found = [doubt.example for doubt in label_errors(probabilities, noisy, margin)]
        hits = int(planted[found].sum())
        rows.append(
            {
                "margin": margin,
                "doubted": len(found),
                "planted_among_them": round(hits / max(1, len(found)), 3),
                "found_of_planted": round(hits / int(planted.sum()), 3),
            }
        )
    emit(
        "label_errors",
        {
            "data": given.data.name,
            "rows": len(truth),
            "classes": len(labels),
            "right_out_of_fold": round(float((probabilities.argmax(1) == truth).mean()), 3),
            "by_margin": rows,
        },
    )


if __name__ == "__main__":
    main()
