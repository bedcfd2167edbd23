"""Answers exchanged in documents: everywhere, for one of the kind, and never twice over."""

from tailorbird.metrics.answer_match import answer_type
from tailorbird.rag.substitute import Substitution, choose_substitutions, substituted
from tailorbird.records import Question

TEXT = "Oslo lies by the sea. The mayor of Oslo was Ada Holm from 1901.\nAda  Holm left in 1905."
QUESTIONS = [
    Question("mayor", "Who was the mayor?", {"a": 1}, ("Ada Holm",)),
    Question("since", "Since which year was she mayor?", {"a": 1}, ("1901",)),
    Question("where", "Where is Oslo?", {"a": 1}, ("Oslo",)),  # says its answer itself
    Question("how", "How did she leave?", {"a": 1}, ("in haste",)),  # neither name nor number
    Question("none", "What is her age?", {"a": 1}, (), answerable=False),
    Question("away", "Who was the king?", {"b": 1}, ("Olav Moe",)),  # in no document
]
POOL = [
    *QUESTIONS,
    Question("p", "Who was the mayor of Lima?", {}, ("Rosa Vidal",)),
    Question("q", "In which year did the war begin?", {}, ("1788",)),
]


def chosen(most: int = 9) -> list[Substitution]:
    sources = {q.id: next(iter(q.judged)) for q in QUESTIONS}
    return choose_substitutions(QUESTIONS, sources, {"a": TEXT, "b": ""}, POOL, most)


def test_only_what_can_be_exchanged_is_and_for_one_of_its_kind() -> None:
    changes = {change.id: change for change in chosen()}
    assert set(changes) == {"mayor", "since"}
    assert changes["since"].new == "1788" and changes["mayor"].places == 2
    assert {answer_type(c.new) for c in changes.values()} == {"name", "date"}
    assert changes["mayor"].new in ("Rosa Vidal", "Olav Moe")
    assert len(chosen(most=1)) == 1 and chosen() == chosen()


def test_the_old_answer_stands_nowhere_any_more_however_it_was_spaced() -> None:
    text = substituted(TEXT, chosen())
    assert "Holm" not in text and "1901" not in text and "1788" in text
    assert text.count("Oslo") == 2 and "1905" in text


def test_whole_words_the_longest_way_of_writing_first_and_letters_of_patterns_as_they_are() -> None:
    change = Substitution("1", "a", ("A.B", "A.B Smith"), r"C\1", 2)
    assert substituted("AxB, A.B Smith, A.Bs; A.B!", [change]) == r"AxB, C\1, A.Bs; C\1!"
