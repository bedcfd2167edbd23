"""Questions with and without an answer in the knowledge base: which are refused.

Sets: `tutor` (the bundled pages, their questions, and those of unanswerable.jsonl: `near` are on
programming that the pages do not treat, `off` on anything else); `xquad` (SQuAD's paragraphs, two
of five left out with their questions: the rest of each article is there); `figures` (the same
paragraphs, each without the one sentence that gives a figure which is asked for: the rest of the
paragraph is there); `timeqa` (its questions that its articles do not answer). Every second question
is of the half `tune`, on which `rag/checked_answer.py` was set; the others are `held`.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TUTOR = HERE.parent / "examples" / "tutor"
SETS = ("tutor", "xquad", "figures", "timeqa")
_ARTICLES = 40


def score(names: Iterable[str], data: Path, work: Path, most: int, settings: list[str]) -> Any:
    """Return by set and half how many questions were refused, rightly and wrongly."""
    told = {}
    for name in names:
        questions, paths, sets = _SETS[name](data, work)
        store = work / name
        if not store.exists():
            _index(store, paths, sets)
        kept = [q for right in (True, False) for q in _spread(questions, right, most)]
        told[name] = _asked(store, kept, settings)
    return told


def _asked(store: Path, questions: list[dict[str, Any]], settings: list[str]) -> Any:
    from tailorbird.config import load_config
    from tailorbird.flows.ask import open_answerer

    answerer = open_answerer(store, load_config(None, settings, {}))
    refused = [answerer.answer(q["question"]).refused for q in questions]
    halves = {}
    for number, name in enumerate(("tune", "held")):
        rows = list(zip(questions, refused, strict=True))[number::2]
        halves[name] = _counts(rows)
    return halves


def _counts(rows: list[tuple[dict[str, Any], bool]]) -> dict[str, Any]:
    right = sum(refused for q, refused in rows if not q["answerable"])
    wrong = sum(refused for q, refused in rows if q["answerable"])
    without = sum(not q["answerable"] for q, _ in rows)
    told = {
        "answerable": len(rows) - without,
        "unanswerable": without,
        "refusal_precision": round(right / max(1, right + wrong), 3),
        "refusal_recall": round(right / max(1, without), 3),
        "wrongly_refused": round(wrong / max(1, len(rows) - without), 3),
    }
    for kind in sorted({q["kind"] for q, _ in rows if q.get("kind")}):
        of_kind = [refused for q, refused in rows if q.get("kind") == kind]
        told[f"recall_{kind}"] = round(sum(of_kind) / len(of_kind), 3)
    return told


def _spread(questions: list[dict[str, Any]], answerable: bool, most: int) -> list[dict[str, Any]]:
    """Return at most `most` questions, taken evenly; an even number, so that halves are alike."""
    rows = [q for q in questions if q["answerable"] == answerable]
    step = max(1, len(rows) / most)
    kept = [rows[int(place * step)] for place in range(min(most, len(rows)))]
    return kept[: len(kept) // 2 * 2]


def _index(store: Path, paths: list[Path], settings: list[str]) -> None:
    from harness import tailor

    sets = [word for setting in settings for word in ("--set", setting)]
    tailor("index", *map(str, paths), "--store", str(store), *sets)


Made = tuple[list[dict[str, Any]], list[Path], list[str]]
_ROWS = ["index.id=id", "index.title=title", "index.text=text"]


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.open(encoding="utf-8")]


def _written(path: Path, rows: list[dict[str, Any]]) -> list[Path]:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return [path]


def _tutor(data: Path, work: Path) -> Made:
    known = [
        {"question": r["question"], "answerable": True} for r in _rows(TUTOR / "questions.jsonl")
    ]
    other = [r | {"answerable": False} for r in _rows(HERE / "unanswerable.jsonl")]
    return known + other, [TUTOR / "pages"], []


def _paragraphs(data: Path) -> list[tuple[str, int, dict[str, Any]]]:
    read = json.loads((data / "xquad" / "xquad.en.json").read_text(encoding="utf-8"))["data"]
    return [(a["title"], n, p) for a in read for n, p in enumerate(a["paragraphs"])]


def _xquad(data: Path, work: Path) -> Made:
    questions, rows = [], []
    for title, number, paragraph in _paragraphs(data):
        inside = number % 5 < 3
        if inside:
            rows.append({"id": f"{title} {number}", "title": title, "text": paragraph["context"]})
        questions += [{"question": q["question"], "answerable": inside} for q in paragraph["qas"]]
    return questions, _written(work / "xquad.jsonl", rows), _ROWS


def _figures(data: Path, work: Path) -> Made:
    from tailorbird.rag.content_words import asks_for_figure
    from tailorbird.rag.sentences import split_sentences

    questions, rows = [], []
    for title, number, paragraph in _paragraphs(data):
        text, left = paragraph["context"], ""
        asking = [q for q in paragraph["qas"] if asks_for_figure(q["question"])]
        if asking:
            place = asking[0]["answers"][0]["answer_start"]
            left = next(s.text for s in split_sentences(text) if s.start <= place < s.end)
        for q in asking:
            answer = q["answers"][0]
            begun = text.index(left)
            gone = begun <= answer["answer_start"] < begun + len(left)
            if gone and answer["text"] in text.replace(left, "", 1):
                continue
            questions.append({"question": q["question"], "answerable": not gone})
        text = text.replace(left, "", 1)
        rows.append({"id": f"{title} {number}", "title": title, "text": text})
    return questions, _written(work / "figures.jsonl", rows), _ROWS


def _timeqa(data: Path, work: Path) -> Made:
    pages = _rows(data / "timeqa" / "documents.jsonl")[:_ARTICLES]
    names = {page["id"] for page in pages}
    questions = [q for q in _rows(data / "timeqa" / "questions.jsonl") if q["source"] in names]
    return questions, _written(work / "timeqa.jsonl", pages), _ROWS


_SETS: dict[str, Callable[[Path, Path], Made]] = {
    "tutor": _tutor, "xquad": _xquad, "figures": _figures, "timeqa": _timeqa
}  # fmt: skip
