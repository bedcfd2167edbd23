"""How much the angle between a pair's embeddings should count in what `rag` and `probe` read.

STS-B's training pairs, scored on its validation pairs; the test pairs are not looked at. For each
weight of the angle, Spearman's correlation of the mean of 16 neighbours and of ridge regression
(the best of three strengths) with the true similarity. `InferSent` is what both read without an
angle, every part divided by its own length. Prints one JSON line.
"""

from pathlib import Path
from typing import Any

import numpy as np
from harness import DATA, data_file, emit, parser, say

WEIGHTS = (0.0, 0.5, 1.0, 2.0, 4.0)
NEIGHBOURS = 16


def main() -> None:
    """Embed once, and score every weight."""
    asked = parser(__doc__)
    asked.add_argument("--data", type=Path, default=DATA / "stsb")
    asked.add_argument("--model", default="builtin:minilm")
    given = asked.parse_args()
    from tailorbird.arms.split_embeddings import relation
    from tailorbird.config.schema import ModelConfig
    from tailorbird.data.read import read_examples
    from tailorbird.models.device import choose
    from tailorbird.models.embed import Embedder

    model = Embedder(ModelConfig(name=given.model), choose())
    parts = {}
    for name in ("train", "dev"):
        path = data_file(given.data, f"sts-{name}.tsv")
        examples = read_examples(path, text="6,7", label="5").examples
        texts = [example.pair for example in examples]
        say(f"{name}: {len(texts):,} pairs")
        u, v = (model.embed([text[side] for text in texts]).vectors for side in (0, 1))
        parts[name] = u, v, np.asarray([float(str(e.label)) for e in examples])
    found = {"InferSent": scores(*(_by_length(u, v) for u, v, _ in parts.values()), parts)}
    for weight in WEIGHTS:
        train, dev = (relation(u, v, weight) for u, v, _ in parts.values())
        found[f"{weight:g}"] = scores(train, dev, parts)
        say(f"{weight:g}: {found[f'{weight:g}']}")
    emit("pair_vectors", {"neighbours": NEIGHBOURS, "spearman_by_weight": found})


def scores(train: np.ndarray, dev: np.ndarray, parts: Any) -> dict[str, float]:
    """Return both correlations."""
    from scipy.stats import spearmanr
    from sklearn.linear_model import Ridge

    (*_, learnt), (*_, true) = parts.values()
    nearest = np.argsort(-(dev @ train.T), axis=1, kind="stable")[:, :NEIGHBOURS]
    fits = [Ridge(alpha=alpha).fit(train, learnt).predict(dev) for alpha in (0.1, 1.0, 10.0)]
    return {
        "neighbours": round(float(spearmanr(learnt[nearest].mean(axis=1), true)[0]), 4),
        "ridge": round(max(float(spearmanr(fit, true)[0]) for fit in fits), 4),
    }


def _by_length(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    parts = (u, v, np.abs(u - v), u * v)
    unit = [part / np.linalg.norm(part, axis=1, keepdims=True).clip(1e-12) for part in parts]
    return np.concatenate(unit, axis=1) / 2


if __name__ == "__main__":
    main()
