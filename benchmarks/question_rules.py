"""Whether the rules that read a question help on questions that they were not made on.

    python benchmarks/question_rules.py --most 150

Short answers (`rag/answer_span`, `rag/question_type`): TimeQA's human questions, none of which was
looked at when the rules were written, and XQuAD's English paragraphs (a tenth of them was). Each
question is asked of the five passages of its own document that are nearest to it. Counted are token
F1 and right answers (`metrics/answer_match`) of the few words that the rules choose, of the same
without the kind that is asked for, and of the best sentence whole. Prints one JSON line.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from harness import DATA, data_file, emit, parser, say

Asked = tuple[str, tuple[str, ...], list[str]]
"""A question, its answers, and the passages of its document."""


def main() -> None:
    """Ask both sets in three ways."""
    arguments = parser(__doc__)
    arguments.add_argument("--most", type=int, default=150, help="questions of each set")
    given = arguments.parse_args()
    from tailorbird.config.schema import ModelConfig
    from tailorbird.models.device import choose
    from tailorbird.models.embed import Embedder, Remembered

    embedder = Embedder(ModelConfig(name="builtin:minilm"), choose())
    embed = Remembered(lambda texts: embedder.embed_documents(texts).vectors, most=1 << 30)
    sets = {"timeqa": timeqa(DATA / "timeqa"), "xquad": xquad(DATA / "xquad")}
    emit(
        "question_rules",
        {name: scores(sample(rows, given.most), embed, name) for name, rows in sets.items()},
    )


def timeqa(folder: Path) -> list[Asked]:
    """Return the answerable questions with their document's paragraphs."""
    with data_file(folder, "documents.jsonl").open(encoding="utf-8") as file:
        texts = {row["id"]: row["text"] for row in map(json.loads, file)}
    with data_file(folder, "questions.jsonl").open(encoding="utf-8") as file:
        rows = [row for row in map(json.loads, file) if row["answerable"]]
    return [(r["question"], tuple(r["answers"]), paragraphs(texts[r["source"]])) for r in rows]


def xquad(folder: Path) -> list[Asked]:
    """Return the questions with their paragraph."""
    from tailorbird.data.question_files import read_paragraphs, read_questions

    path = data_file(folder, "xquad.en.json")
    texts = {paragraph.id: paragraph.text for paragraph in read_paragraphs(path)}
    rows = [q for q in read_questions(path, None) if q.answers]
    return [(q.text, q.answers, [texts[next(iter(q.judged))]]) for q in rows]


def paragraphs(text: str) -> list[str]:
    """Return the paragraphs of a text that say something."""
    return [part for part in text.split("\n\n") if len(part.split()) > 8]


def sample(rows: list[Asked], most: int) -> list[Asked]:
    """Return some of the rows, the same in every run."""
    order = np.random.default_rng(5).permutation(len(rows))[:most]
    return [rows[place] for place in order]


def scores(rows: list[Asked], embed: Callable[[Sequence[str]], np.ndarray], name: str) -> Any:
    """Return token F1 and the share of right answers of each way, in percent."""
    from tailorbird.metrics.answer_match import answer_match
    from tailorbird.metrics.text import token_f1
    from tailorbird.rag import answer_span
    from tailorbird.rag.answer import laid_out
    from tailorbird.rag.extract import rank_sentences
    from tailorbird.records import Passage

    kind_of = answer_span.fact_kind
    figures: dict[str, list[tuple[float, float, int]]] = {}
    for number, (question, answers, texts) in enumerate(rows):
        if number % 25 == 0:
            say(f"{name}: {number} of {len(rows)}")
        near = embed(texts) @ embed([question])[0]
        best = np.argsort(-near)[:5]
        passages = [
            Passage(n, "d", "", texts[place], 0, len(texts[place]), float(near[place]))
            for n, place in enumerate(best, 1)
        ]
        ranked = rank_sentences(question, passages, embed, code=False)
        ways = {"rules": answer_span.best_span(question, ranked)}
        answer_span.fact_kind = lambda _: "phrase"  # type: ignore[assignment]
        ways["without the kind"] = answer_span.best_span(question, ranked)
        answer_span.fact_kind = kind_of
        ways["sentence"] = laid_out(ranked[0].text) if ranked else ""
        for way, text in ways.items():
            f1 = max(token_f1(text, answer) for answer in answers)
            right = answer_match(text, answers, question)
            figures.setdefault(way, []).append((f1, float(bool(right)), len(text.split())))
    return {
        way: dict(zip(("token_f1", "right", "words"), np.mean(each, axis=0).round(3), strict=True))
        for way, each in figures.items()
    } | {"questions": len(rows)}


if __name__ == "__main__":
    main()
