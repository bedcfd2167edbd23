"""What more labels buy: `tailor plan --curve`'s forecast against labels that were held back.

Eight sets, each split anew so many times. Half of the training rows are hidden; a linear model on
the embeddings of builtin:minilm is trained on 1/8, 1/4, 1/2 and all of the other half (three draws
each), the curve is continued to twice as many rows, and then the hidden half is trained on as
well. Its peer is the last slope: as much again as the last doubling brought.

What is usual and the misfit of `metrics/learning_curve.py` were chosen on SST-2 and three sets of
GoEmotions, exponents and the share of trainings on the splits before --judge-from; the splits after
it are judged, and apart the sets that the former were not chosen on.

Splits that are done are kept in --results, so that a run that was stopped goes on. Prints one JSON
line.
"""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
from harness import DATA, emit, parser, say, stop

ROWS, TESTED, MORE_TESTED, SEEDS = 1600, 500, 1500, 3
# Which sets the constants of `metrics/learning_curve.py` were chosen on; the others share no text
# with them.
CHOSEN_ON = ("sst2", "emotions", "moods", "neutral")
Sets = dict[str, tuple[list[Any], list[str]]]
MOODS = {"joy": "good", "gratitude": "good", "admiration": "good", "love": "good",
         "anger": "bad", "annoyance": "bad", "sadness": "bad", "disapproval": "bad"}  # fmt: skip


def main() -> None:
    """Train what is not done yet, and judge all of it."""
    options = parser(__doc__)
    options.add_argument("--results", type=Path, default=Path("learning_curve.npz"))
    options.add_argument("--splits", type=int, default=37)
    options.add_argument("--judge-from", type=int, default=12)
    arguments = options.parse_args()
    if not DATA.is_dir():
        stop("the public sets are not there", f"put them in {DATA}")
    results = dict(np.load(arguments.results)) if arguments.results.is_file() else {}
    for name, (texts, labels) in _sets().items():
        numbers = [n for n in range(arguments.splits) if f"{name}/{n}" not in results]
        if not numbers:
            continue
        vectors, y = _vectors(texts), np.unique(labels, return_inverse=True)[1]
        for number in numbers:
            sizes, right = _split(vectors, y, number)
            results |= {f"{name}/{number}": right, f"{name}/{number}/sizes": np.asarray(sizes)}
        np.savez_compressed(arguments.results, **results)
        say(f"{name}: {len(texts):,} rows, {len(set(labels))} classes, up to {sizes[-1]:,} trained")
    own = [key for key in results if int(key.split("/")[1]) < arguments.judge_from]
    emit("learning_curve", judge({k: v for k, v in results.items() if k not in own}))


def judge(results: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return how often the 90 % interval held, and how far off the forecasts were."""
    from tailorbird.metrics.learning_curve import gains

    rows: list[dict[str, Any]] = []
    for key in (key for key in results if not key.endswith("/sizes")):
        sizes = results[f"{key}/sizes"].tolist()
        # All rows can be drawn but once.
        runs = [r[:1] if n > len(sizes) - 3 else r for n, r in enumerate(results[key] * 1.0)]
        shown = [r[:, :TESTED] for r in runs[:-1]]
        before, last = (float(r.mean()) for r in shown[-2:])
        now, later = (float(r.mean()) for r in runs[-2:])
        gain = gains(sizes[:-1], shown, sizes[-1:])[0]
        doubt = (runs[-1][0] - runs[-2][0]).std() / np.sqrt(runs[-1].shape[1])
        rows.append(
            {
                "set": key.split("/")[0],
                "off": abs(gain.gain - (later - now)),
                "slope_off": abs((last - before) - (later - now)),
                "holds": gain.low <= later - now <= gain.high,
                "told": not gain.why_not,
                "width": gain.high - gain.low,
                "truth": doubt,
            }
        )
    new = [r for r in rows if r["set"] not in CHOSEN_ON]
    by_set = {name: _errors([r for r in rows if r["set"] == name]) for name in _names(rows)}
    return {"all": _errors(rows), "not_chosen_on": _errors(new), "by_set": by_set}


def _names(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["set"] for row in rows))


def _errors(rows: list[dict[str, Any]]) -> dict[str, Any]:
    from scipy.stats import wilcoxon

    columns = {name: np.asarray([row[name] for row in rows]) for name in rows[0] if name != "set"}
    off, slope = columns["off"], columns["slope_off"]
    return {
        "splits": len(rows),
        "interval_holds": round(float(columns["holds"].mean()), 3),
        "told": round(float(columns["told"].mean()), 3),
        "median_error_points": round(100 * float(np.median(off)), 2),
        "median_error_of_last_slope": round(100 * float(np.median(slope)), 2),
        "median_width_points": round(100 * float(np.median(columns["width"])), 2),
        "standard_error_of_the_truth": round(100 * float(np.mean(columns["truth"])), 2),
        "p_better_than_slope": float(wilcoxon(off, slope, alternative="less").pvalue),
    }


def _split(vectors: np.ndarray, y: np.ndarray, number: int) -> tuple[list[int], np.ndarray]:
    """Return sizes, and whether each test row was right ``[sizes, SEEDS, n]``."""
    from tailorbird.data.stratify import stratified_order

    random = np.random.default_rng(number)
    order = random.permutation(len(y))
    test, pool = order[:-ROWS], order[-ROWS:]
    if len(y) < ROWS + TESTED:
        test, pool = np.split(order, [len(y) * 2 // 5])
    half = pool[stratified_order([str(c) for c in y[pool]], number)][: len(pool) // 2]
    sizes = [len(half) // 8, len(half) // 4, len(half) // 2, len(half), len(pool)]
    right = np.zeros((len(sizes), SEEDS, len(test)), dtype=bool)
    for n, size in enumerate(sizes):
        for seed in range(SEEDS if size < len(half) else 1):
            rows = pool
            if size <= len(half):
                rows = half[stratified_order([str(c) for c in y[half]], seed)][:size]
            right[n, seed] = _answers(vectors, y, rows, test) == y[test]
    return sizes, right


def _answers(vectors: np.ndarray, y: np.ndarray, rows: np.ndarray, test: np.ndarray) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression

    fit = LogisticRegression(C=10.0, max_iter=100, tol=1e-3).fit(vectors[rows], y[rows])
    answers: np.ndarray = fit.predict(vectors[test])
    return answers


def _vectors(texts: list[Any]) -> np.ndarray:
    from tailorbird.arms.split_embeddings import embed
    from tailorbird.config import Config
    from tailorbird.models.device import choose
    from tailorbird.models.embed import Embedder

    embedder = Embedder(Config().model, choose("cpu", "auto"))
    return np.asarray(embed(embedder, texts).vectors, dtype=np.float64)


def _sets() -> Sets:
    """Return texts and labels of each set, a few thousand rows of each."""
    banking = [(r["text"], r["category"]) for r in _csv("banking77/train.csv")]
    kinds = sorted({label for _, label in banking})[::4]
    names = (DATA / "goemotions" / "labels.txt").read_text().split()
    felt = [
        (row[0], names[int(row[1])]) for row in _tsv("goemotions/train.tsv") if "," not in row[1]
    ]
    pairs = _tsv("stsb/sts-train.tsv")
    abstracts = json.loads((DATA / "pubmedqa" / "ori_pqal.json").read_text())
    sst = [(r["text"], r["label"]) for r in _csv("sst2/train.csv")]
    rows: dict[str, list[tuple[Any, str]]] = {
        "sst2": sst,
        "banking77": banking,
        "banking 20": [(text, label) for text, label in banking if label in kinds],
        "emotions": [r for r in felt if r[1] != "neutral"],
        "moods": [(text, MOODS[label]) for text, label in felt if label in MOODS],
        "neutral": [(text, str(label == "neutral")) for text, label in felt],
        "same meaning": [((r[5], r[6]), str(float(r[4]) >= 3)) for r in pairs],
        "pubmedqa": [(a["QUESTION"], a["final_decision"]) for a in abstracts.values()],
    }
    most = ROWS + TESTED + MORE_TESTED
    picked = {}
    for name, every in rows.items():
        order = np.random.default_rng(5).permutation(len(every))[:most]
        picked[name] = ([every[i][0] for i in order], [every[i][1] for i in order])
    return picked


def _csv(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _tsv(name: str) -> list[list[str]]:
    lines = (DATA / name).read_text("utf-8").splitlines()
    return [line.split("\t") for line in lines]


if __name__ == "__main__":
    main()
