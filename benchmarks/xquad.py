"""XQuAD English (SQuAD's 240 paragraphs, 1,190 questions): passages found, answers quoted.

Writes the paragraphs as a JSONL of documents, indexes them (--store; one that is there is used as
it is), asks every question and prints one JSON line: recall@5 of each way of ranking; of the
answers whether the quoted sentences hold a known answer, how far their citations name the right
paragraph, and how often it was "I don't know". The weight of the vectors is chosen in folds, never
on the question it ranks; the threshold of "I don't know" is calibrated on all questions.
"""

import json
import tempfile
from pathlib import Path

from harness import DATA, data_file, emit, parser, tailor

MEASURES = ("recall@1", "recall@5", "ndcg@10")


def main() -> None:
    """Index once, evaluate once."""
    options = parser(__doc__)
    options.add_argument("--data", type=Path, default=DATA / "xquad")
    options.add_argument("--store", type=Path, help="default: a temporary one")
    options.add_argument(
        "--set", action="append", default=[], dest="settings", help="as for tailor"
    )
    arguments = options.parse_args()
    questions = data_file(arguments.data, "xquad.en.json")
    with tempfile.TemporaryDirectory() as place:
        store = arguments.store or Path(place) / "kb"
        if not store.exists():
            documents = write_documents(questions, Path(place) / "paragraphs.jsonl")
            names = ("index.id=id", "index.title=title", "index.text=text")
            sets = [word for name in names for word in ("--set", name)]
            tailor("index", str(documents), "--store", str(store), *sets)
        sets = [word for setting in arguments.settings for word in ("--set", setting)]
        what = ("--store", str(store), "--queries", str(questions))
        output = tailor("evaluate", *what, "--json", *sets)
    report = json.loads(output)
    emit(
        "xquad",
        {
            "questions": report["questions"],
            "rankings": {
                side["name"]: {name: with_interval(side["scores"][name]) for name in MEASURES}
                for side in report["sides"]
            },
            "answers": {name: with_interval(score) for name, score in report["answers"].items()},
            "threshold": report["threshold"],
            "weight": report["weight"],
            "seconds": report["seconds"],
        },
    )


def write_documents(questions: Path, place: Path) -> Path:
    """Write a row per paragraph, by the name that its questions are judged with."""
    from tailorbird.data.questions import read_paragraphs

    with place.open("w", encoding="utf-8") as file:
        for paragraph in read_paragraphs(questions):
            row = {"id": paragraph.id, "title": paragraph.title, "text": paragraph.text}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return place


def with_interval(score: dict[str, float]) -> list[float]:
    """Return value, low and high."""
    return [round(score[part], 4) for part in ("value", "low", "high")]


if __name__ == "__main__":
    main()
