"""A knowledge base judged: weight, threshold, failures, report."""

import json
from pathlib import Path
from typing import Any

import pytest

from small_knowledge import SmallKnowledge
from tailorbird.config import load_config
from tailorbird.errors import UserError
from tailorbird.flows.evaluate_retrieval import Files, judge, judge_open, score_one
from tailorbird.metrics.ranking import ndcg
from tailorbird.rag.retrieval_analysis import Names, failures
from tailorbird.records import Answer, Citation, Claim, Question
from tailorbird.report.retrieval_page import failure_lines, verdict, weight_words

THINGS = ("moon", "soup", "race", "comet", "bread", "goal", "pear", "rocket", "cheese", "coach")
COLOURS = ("red", "green", "blue")


def knowledge() -> SmallKnowledge:
    return SmallKnowledge(
        {
            f"pages/{c}-{t}.md": f"Here we tell of the {c} {t} of the town."
            for t in THINGS
            for c in COLOURS
        }
    )


def questions(first: int = 0, past: int = 10) -> list[Question]:
    return [
        Question(f"{c}-{t}", f"where is the {c} {t}", {f"{c}-{t}.md": 1})
        for t in THINGS[first:past]
        for c in COLOURS
    ]


def judged(kb: SmallKnowledge, *, train: Any = None, test: Any = None, **flags: Any) -> Any:
    return judge_open(kb, "KB", (test or questions(), train), load_config(flags=flags))


def test_sides_weight_and_threshold(tmp_path: Path) -> None:
    kb = knowledge()
    report = judged(kb, output=str(tmp_path / "report"))
    assert {side.name for side in report.arms} == {"words", "dense", "hybrid"}
    assert all(side.scores["recall@100"].value == 1 for side in report.arms)
    assert "folds" in report.sections.how
    assert kb.kept["weight"] == report.sections.weight
    assert kb.kept["threshold"] == report.sections.threshold.value
    assert report.sections.threshold.refused <= 0.05
    assert report.sections.threshold.caught > 0.9, "without its page, a question finds less like it"
    rows = [json.loads(x) for x in (tmp_path / "report" / "predictions.jsonl").open()]
    assert len(rows) == 30
    for row in rows[:5]:
        expected = ndcg(row["hybrid"]["documents"], row["judged"], 10)
        assert row["hybrid"]["ndcg@10"] == pytest.approx(expected, abs=1e-6)
    saved = json.loads((tmp_path / "report" / "report.json").read_text())
    assert (saved["kind"], saved["questions"]) == ("rag", 30)
    page = (tmp_path / "report" / "report.html").read_text()
    assert "Recall by depth" in page and "nDCG@10" in page and "://" not in page


def test_the_weight_is_chosen_on_the_training_questions() -> None:
    report = judged(knowledge(), train=questions(0, 4), test=questions(4))
    assert "12 training questions" in report.sections.how
    assert report.sections.questions == 18


def test_a_given_weight_is_kept_out_of_the_settings() -> None:
    kb = knowledge()
    report = judged(kb, **{"retrieve.weight": 0.2})
    assert (report.sections.weight, report.sections.how, report.sections.by_weight) == (
        0.2,
        "as given",
        {},
    )
    assert "weight" not in kb.kept


def test_few_questions_choose_nothing() -> None:
    kb = knowledge()
    report = judged(kb, test=questions(0, 1))
    assert "too few" in report.sections.how
    assert report.sections.threshold is None
    assert "is as good" in verdict(report)  # every question finds its page, whoever ranks
    assert kb.kept == {}
    kb.kept["weight"] = 0.8
    report = judged(kb, train=questions(0, 1), test=questions(1))
    assert weight_words(report) == (
        "Weight of the vectors 0.8: 3 questions are too few to tune it."
    )
    assert kb.kept["weight"] == 0.8


def test_what_is_not_found_is_explained() -> None:
    lost = Question("lost", "where is the red moon", {"nowhere.md": 1})
    report = judged(knowledge(), test=[*questions(), lost])
    assert [(f.id, set(f.ranks.values())) for f in report.sections.failures] == [("lost", {None})]
    assert "not in the knowledge base" in report.sections.failures[0].why
    assert "1 of 31 relevant documents are not in the knowledge base" in report.sections.notes[0]
    assert "lost" not in (told := failure_lines(report))[0] and "nowhere.md; it is" in told[1]
    (missed,) = failures([lost], {"words": [[]], "dense": [["x"]], "hybrid": [["x"]]}, "hybrid")
    assert "neither side" in missed.why


def test_other_names_are_noticed() -> None:
    strange = [Question("1", "where is the red moon", {"elsewhere": 1})]
    assert "do the names match" in judged(knowledge(), test=strange).sections.notes[0]


def test_questions_may_not_choose_and_be_scored(tmp_path: Path) -> None:
    queries = tmp_path / "q.jsonl"
    queries.write_text('{"_id": "1", "text": "one"}\n')
    qrels = tmp_path / "q.tsv"
    qrels.write_text("query-id\tcorpus-id\tscore\n1\td\t1\n")
    with pytest.raises(UserError, match="in --qrels and in --qrels-train"):
        judge("KB", Files(queries, qrels, qrels), load_config())


@pytest.mark.parametrize(
    ("source", "judged_as"),
    [
        ("data/corpus.jsonl#4983", "4983"),
        ("docs/pages/keyerror.md", "keyerror.md"),
        ("docs/pages/files.md", "files"),
        ("docs/pages/sub/x.md", "sub/x.md"),
        ("docs/other.md", "docs/other.md"),
        ("docs/faq.csv#7", "faq.csv"),
        ("docs/other.csv#7", "docs/other.csv#7"),
    ],
)
def test_sources_are_known_by_their_judged_names(source: str, judged_as: str) -> None:
    assert Names(["4983", "keyerror.md", "files", "sub/x.md", "faq.csv"])(source) == judged_as


def test_answers_are_scored_by_hand() -> None:
    def cited(source: str) -> Citation:
        return Citation(1, source, "", None, (), 0, 1, "x", 1.0)

    claims = (
        Claim("The moon is far", (cited("p/a.md"), cited("p/b.md")), True),
        Claim("It is red"),
    )
    question = Question("1", "?", {"a.md": 1}, ("red moon", "the moon is far it is red"))
    found = score_one(
        Answer("?", "?", "The moon is far [1]. It is red", claims), question, Names(["a.md"])
    )
    assert (found["exact_match"], found["token_f1"], found["refused"]) == (1.0, 1.0, 0.0)
    assert (found["citation_precision"], found["citation_recall"]) == (0.5, 0.5)
    assert found["holds_answer"] == 1.0
    quote = Answer("?", "?", "The moon is far [1].", claims[:1])
    found = score_one(quote, question, Names([]))
    assert (found["exact_match"], found["holds_answer"]) == (0.0, 0.0)
    refused = score_one(Answer("?", "?", "I don't know.", refused=True), question, Names([]))
    assert (refused["token_f1"], refused["refused"], refused["citation_recall"]) == (0, 1, None)
