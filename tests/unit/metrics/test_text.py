"""Metrics of two strings: by hand, against SQuAD's script, and by their laws."""

import re
import string
from collections import Counter
from decimal import Decimal

import pytest
from hypothesis import given, strategies as st

from tailorbird.metrics.text import (
    METRICS,
    common_subsequence,
    exact_match,
    normalise,
    number_in,
    numeric_match,
    rouge_l,
    token_f1,
)

ASCII = st.text(st.characters(codec="ascii", min_codepoint=32), max_size=40)
WORDS = st.lists(st.sampled_from("abcd"), max_size=14)
ANY = st.text(max_size=40)


def squad_normalise(s: str) -> str:
    """SQuAD's evaluate-v1.1.py, normalize_answer."""
    s = "".join(ch for ch in s.lower() if ch not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", s).split())


def squad_f1(prediction: str, truth: str) -> float:
    """SQuAD's evaluate-v1.1.py, f1_score."""
    prediction_tokens = squad_normalise(prediction).split()
    truth_tokens = squad_normalise(truth).split()
    same = sum((Counter(prediction_tokens) & Counter(truth_tokens)).values())
    if same == 0:
        return 0
    precision, recall = same / len(prediction_tokens), same / len(truth_tokens)
    return (2 * precision * recall) / (precision + recall)


def test_normalise() -> None:
    assert normalise("  The cat, a DOG; an owl!  ") == "cat dog owl"
    assert normalise("Theatre") == "theatre"


@given(ASCII, ASCII)
def test_ascii_words_are_squads(output: str, reference: str) -> None:
    # Without numbers, and with a word at the end that is no article: there we differ, see below.
    output, reference = (re.sub(r"\d", "", text) + " end" for text in (output, reference))
    assert normalise(output) == squad_normalise(output)
    assert token_f1(output, reference) == pytest.approx(squad_f1(output, reference))


@pytest.mark.parametrize("blank", ["", " ", ".", "?!", "The", "the.", "an", "-"])
def test_nothing_is_not_the_letter_a(blank: str) -> None:
    for metric in (exact_match, token_f1, rouge_l, numeric_match):
        assert metric(blank, "A") == metric("A", blank) == 0
    assert exact_match(blank, blank) == exact_match("(A).", "A") == 1
    assert exact_match("+", "-") == exact_match("<", ">") == rouge_l("<", ">") == 0


def test_a_last_a_is_a_name() -> None:
    assert exact_match("Hepatitis A", "hepatitis") == exact_match("Hepatitis A", "hepatitis B") == 0
    assert token_f1("The answer is A.", "A") == pytest.approx(1 / 2)  # 1 of 3 words, 1 of 1
    assert exact_match("a train", "The Train") == 1


# Different numbers, times, dates and ranges that are the same letters without their signs.
APART = [
    ("3,5", "35"), ("3.5", "35"), ("-3", "3"), ("\u22123", "3"), ("-$5", "$5"), (".5", "5"),
    ("10:30", "1030"), ("1/2", "12"), ("3-4", "34"), ("3\u20134", "34"), ("2^10", "210"),
    ("1e-5", "1e5"), ("2024-01-11", "2024-11-01"), ("1.2.3", "12.3"), ("10\u00b2", "102"),
    ("\u0663\u066b\u0665", "35"),
]  # fmt: skip
SAME = [
    ("1,200", "1200"), ("$1,234,567.50", "1234567.50"), ("\u22123", "-3"), ("3\u20134", "3-4"),
    ("\uff13\uff15", "35"), ("\u0663\u0665", "35"), ("about 5, or", "about 5 or"), ("5.", "5"),
    ("(35)", "35"), ("50%", "50"), ("$-5", "-5"),
]  # fmt: skip


def test_numbers_keep_their_signs() -> None:
    for one, other in APART:
        assert exact_match(one, other) == token_f1(one, other) == 0, (one, other)
    for one, other in SAME:
        assert exact_match(one, other) == token_f1(one, other) == 1, (one, other)


def test_token_f1_by_hand() -> None:
    # 2 of 3 words written are among the 4 expected: precision 2/3, recall 1/2.
    assert token_f1("missing colon here", "a missing colon after if") == pytest.approx(4 / 7)
    assert token_f1("yes yes yes", "yes") == pytest.approx(0.5)
    assert token_f1("", "yes") == token_f1("yes", "") == token_f1("yes", "no") == 0
    assert token_f1("", " ") == 1


def test_other_scripts() -> None:
    assert exact_match("„Größe“ – ist gut.", "größe ist gut") == 1
    assert token_f1("我喜欢猫", "我喜欢狗。") == pytest.approx(0.75)  # three of four characters
    assert rouge_l("我喜欢猫", "我喜欢狗。") == pytest.approx(0.75)
    assert token_f1("मैं घर जा रहा हूँ", "मैं घर जा रहा हूँ।") == 1
    assert rouge_l("Größe und Maß", "Größe und Gewicht") == pytest.approx(2 / 3)


def test_rouge_l_by_hand() -> None:
    # Lin (2004), section 3.1: S1 and S3 against "police killed the gunman".
    assert rouge_l("police kill the gunman", "police killed the gunman") == pytest.approx(0.75)
    assert rouge_l("the gunman kill police", "police killed the gunman") == pytest.approx(0.5)
    # google-research's own test, rouge_scorer_test.py: 2/3 * 2 / (2/3 + 2/2) of 3 and 2 words.
    assert rouge_l("testing one two", "testing") == pytest.approx(0.5)
    assert rouge_l("", "testing") == rouge_l("testing", "") == 0
    assert rouge_l("x_y-z's", "x y z s") == 1  # every sign but letters and digits parts words


def slow_subsequence(a: list[str], b: list[str]) -> int:
    """The textbook's table."""
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            longest = max(table[i][j + 1], table[i + 1][j])
            table[i + 1][j + 1] = table[i][j] + 1 if x == y else longest
    return table[-1][-1]


@given(WORDS, WORDS)
def test_common_subsequence_is_the_tables(a: list[str], b: list[str]) -> None:
    assert common_subsequence(a, b) == slow_subsequence(a, b)


def test_long_texts_take_no_time() -> None:
    from time import process_time

    words = [str(i % 97) for i in range(2000)]
    started = process_time()
    assert common_subsequence(words, words[::2]) == 1000
    assert process_time() - started < 0.2  # the table would take 4 million steps in Python


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("She has 3 + 4 = 7.\n#### 7", "7"),
        ("#### 1 or rather #### $1,234.50 in all, of 9", "1234.50"),
        ("the answer is 72.", "72"),
        ("72.0", "72"),
        ("it costs -$5", "-5"),
        ("it costs $-5", "-5"),
        ("10-5", "5"),
        ("from 10 to \u22123 degrees", "-3"),
        ("12 - 5", "5"),
        ("a half is .5", "0.5"),
        ("50%", "50"),
        ("1,000,000 people", "1000000"),
        ("see x2", "2"),
        ("3,5", "3.5"),
        ("it is 1.234,50 then", "1234.50"),
        ("0,500", "0.5"),
        ("1'200 francs", "1200"),
        ("the primes are 2,3,5,7", "7"),
        ("1.5e-3", "0.0015"),
        ("\u0663\u066b\u0665", "3.5"),
        ("\uff11\uff12", "12"),
        ("so 5, of course", "5"),
        ("#### none, but 8", "8"),
        ("none", None),
        ("####", None),
        ("", None),
    ],
)
def test_numbers(text: str, number: str | None) -> None:
    assert number_in(text) == (None if number is None else Decimal(number))


def test_numeric_match() -> None:
    assert numeric_match("... is 18 dollars.", "9 * 2 = 18\n#### 18") == 1
    assert numeric_match("... is 18 dollars.", "#### 18.5") == 0
    assert numeric_match("who knows", "also none") == 0
    assert numeric_match("0.1", "#### .10") == 1


@given(ANY, ANY)
def test_laws(a: str, b: str) -> None:
    for name, metric in METRICS.items():
        assert 0 <= metric(a, b) <= 1, name
        assert metric(a, b) == pytest.approx(metric(b, a)), name
        if name != "numeric_match" or number_in(a) is not None:
            assert metric(a, a) == 1, name
    if exact_match(a, b):
        assert token_f1(a, b) == 1
