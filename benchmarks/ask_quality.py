"""Answers without a language model: is the right page cited first, is the key phrase quoted?

    python benchmarks/ask_quality.py --show
    python benchmarks/ask_quality.py --refusals tutor,xquad,figures,timeqa --only-refusals

Indexes the bundled tutor's pages and PEFT's documentation into one knowledge base (--store; one
that is there is used as it is) and asks the questions of ask_questions.jsonl, each with the pages
that answer it and the phrases one of which an answer has to hold. The settings of the extractive
answer were chosen on the questions of the part "tune"; those of "held" were looked at meanwhile,
and some rules came of what failed there, so they are no blind test. Words per answer stand beside,
since quoting everything would hold every phrase. Prints one JSON line; --show writes every answer
to stderr. --refusals also asks what the documents do not answer, see refusals.py.
"""

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import refusals
from harness import DATA, emit, parser, say, stop

HERE = Path(__file__).resolve().parent
PAGES = HERE.parent / "examples" / "tutor" / "pages"
QUESTIONS = HERE / "ask_questions.jsonl"


def main() -> None:
    """Index, ask, count."""
    asked = parser(__doc__)
    asked.add_argument("--data", type=Path, default=DATA / "documents" / "peft_docs")
    asked.add_argument("--store", type=Path, help="default: a temporary one")
    asked.add_argument("--show", action="store_true", help="write the answers to stderr")
    asked.add_argument("--set", action="append", default=[], dest="settings", help="as for tailor")
    asked.add_argument("--refusals", default="tutor", help="sets of refusals.py, with commas")
    asked.add_argument("--only-refusals", action="store_true", help="ask nothing else")
    asked.add_argument("--most", type=int, default=200, help="questions of each kind in a set")
    given = asked.parse_args()
    names = [name for name in given.refusals.split(",") if name]
    if unknown := set(names) - set(refusals.SETS):
        stop(f"there is no set {min(unknown)}", f"name some of {', '.join(refusals.SETS)}")
    with tempfile.TemporaryDirectory() as place:
        told = {} if given.only_refusals else answers(given, Path(place))
        told["refusals"] = refusals.score(names, DATA, Path(place), given.most, given.settings)
    emit("ask_quality", told)


def answers(given: Any, place: Path) -> dict[str, Any]:
    """Return the counts of each part."""
    if not given.data.is_dir():
        stop(f"there is no folder {given.data}", "give PEFT's documentation with --data FOLDER")
    questions = [json.loads(line) for line in QUESTIONS.open(encoding="utf-8")]
    store = given.store or place / "kb"
    if not store.exists():
        make_store(store, given.data)
    rows = ask_all(store, questions, given.settings, show=given.show)
    parts = {name: summary([r for r in rows if r["part"] == name]) for name in ("tune", "held")}
    return parts | {"all": summary(rows)}


def make_store(store: Path, data: Path) -> None:
    """Index both sets of pages."""
    from tailorbird.config.knowledge import IndexConfig
    from tailorbird.flows.index import index
    from tailorbird.knowledge.base import KnowledgeFolder

    config = IndexConfig()
    with KnowledgeFolder(store, config) as kb:
        index(kb, [PAGES, data], config)


def ask_all(
    store: Path, questions: list[dict[str, Any]], settings: list[str], *, show: bool
) -> list[dict[str, Any]]:
    """Ask every question by itself; return a row of each."""
    from tailorbird.config import load_config
    from tailorbird.flows.ask import open_answerer

    answerer = open_answerer(store, load_config(None, settings, {}))
    rows = []
    for asked in questions:
        began = time.perf_counter()
        found = answerer.answer(asked["question"])
        cited = [c.source for claim in found.claims for c in claim.citations]
        told = bare(found.text)
        row = {
            "part": asked["part"],
            "refused": found.refused,
            "page": bool(cited) and Path(cited[0]).name in asked["pages"],
            "phrase": any(bare(phrase) in told for phrase in asked["phrases"]),
            "words": len(found.text.split()),
            "seconds": time.perf_counter() - began,
        }
        rows.append(row)
        if show:
            marks = "".join("+" if row[name] else "-" for name in ("page", "phrase"))
            say(f"{marks} [{asked['part']}] {asked['question']}\n{found.text}\n   {cited}\n")
    return rows


def bare(text: str) -> str:
    """Return a text without case, white space and code marks."""
    return "".join(text.lower().replace("`", "").split())


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return counts and means."""
    seconds = sorted(row["seconds"] for row in rows)
    return {
        "questions": len(rows),
        "right_page_first": sum(row["page"] for row in rows),
        "holds_phrase": sum(row["phrase"] for row in rows),
        "both": sum(row["page"] and row["phrase"] for row in rows),
        "refused": sum(row["refused"] for row in rows),
        "words_per_answer": round(sum(row["words"] for row in rows) / len(rows), 1),
        "seconds_median": round(seconds[len(seconds) // 2], 3),
    }


if __name__ == "__main__":
    main()
