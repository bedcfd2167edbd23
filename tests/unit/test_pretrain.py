"""How builtin:tutor is made: what it may see, and that a killed run ends as an unbroken one."""

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch

TOOLS = Path(__file__).resolve().parents[2] / "tools" / "pretrain"
TUTOR = TOOLS.parents[1] / "examples" / "tutor"
# First, since a package named `evaluate` may be installed; gone again for the other tests.
sys.path.insert(0, str(TOOLS))
import batches  # noqa: E402
import chats  # noqa: E402
import corpus  # noqa: E402
import evaluate  # noqa: E402
import export  # noqa: E402
import model as shape  # noqa: E402
import questions  # noqa: E402
import tokenizer as vocabulary  # noqa: E402
import train  # noqa: E402
from muon import Muon, orthogonal  # noqa: E402
from settings import Settings, parse  # noqa: E402

sys.path.remove(str(TOOLS))

SMALL = Settings(
    steps=12,
    rows=4,
    length=32,
    chat_length=64,
    vocabulary=400,
    hidden=32,
    layers=1,
    heads=2,
    feed_forward=64,
    compile=0,
    device="cpu",
)


@pytest.fixture(scope="module")
def texts() -> corpus.Corpus:
    return corpus.build()


@pytest.fixture(scope="module")
def few(texts: corpus.Corpus) -> corpus.Corpus:
    """Return short texts of every kind."""
    kinds = ("stdlib", "topics", "pages", "programs")
    short = [d for d in texts.train if len(d.text) < 4000]
    some = [d for kind in kinds for d in [t for t in short if t.kind == kind][:12]]
    return corpus.Corpus(tuple(some), texts.held_out, texts.near)


def rows(split: str) -> list[dict[str, str]]:
    with (TUTOR / f"{split}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# --- the text --------------------------------------------------------------------------------


def test_the_corpus_is_the_same_every_time(texts: corpus.Corpus) -> None:
    again = corpus.build.__wrapped__()
    assert again == texts
    names = [document.name for document in (*texts.train, *texts.held_out)]
    assert len(set(names)) == len(names)


def test_held_out_files_are_chosen_by_name_and_never_trained_on(texts: corpus.Corpus) -> None:
    held_out = {document.name for document in texts.held_out}
    trained = {document.name for document in texts.train}
    assert 8 <= len(held_out) <= 60
    assert all(corpus.is_held_out(name) for name in (*held_out, *texts.near))
    assert not any(corpus.is_held_out(name) for name in trained if name.startswith("stdlib/"))
    everything = "".join(document.text for document in texts.train)
    for document in texts.held_out:
        middle = document.text[len(document.text) // 2 :][:200]
        assert middle not in everything, document.name


def test_near_copies_are_neither_trained_nor_measured_on() -> None:
    text = "\n".join(f"a line that is long enough to count: {n}" for n in range(20))
    half = "\n".join(text.splitlines()[:10])
    assert corpus.near_share(text, []) == 0
    lines = [set(half.splitlines())]
    assert corpus.near_share(text, lines) == 0.5 > corpus.NEAR_SHARE


def test_no_hint_and_no_other_split_is_in_the_text(texts: corpus.Corpus) -> None:
    everything = "\n".join(document.text for document in texts.train)
    hints = {row["hint"] for split in ("train", "validation", "test") for row in rows(split)}
    assert len(hints) > 500 and not [hint for hint in hints if hint in everything]
    later = {row["text"] for split in ("validation", "test") for row in rows(split)}
    assert not [text for text in later if text in everything]
    programs = [d.text.rstrip("\n") for d in texts.train if d.kind == "programs"]
    assert programs == [row["text"] for row in rows("train")]


def test_no_answer_to_the_bundled_questions_is_in_the_text(texts: corpus.Corpus) -> None:
    everything = "\n".join(document.text for document in texts.train)
    lines = (TUTOR / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    asked = [json.loads(line) for line in lines]
    assert not [q["question"] for q in asked if q["question"] in everything]


def test_machine_made_tables_and_tests_are_left_out(texts: corpus.Corpus) -> None:
    names = " ".join(document.name for document in texts.train)
    for part in ("/test/", "/tests/", "encodings/", "_sysconfigdata", "site-packages", "idlelib"):
        assert part not in names
    assert "stdlib/textwrap.py" in names and "topics/for" in names and "pages/scope" in names


# --- conversations ---------------------------------------------------------------------------


def test_conversations_are_made_of_the_text_alone(few: corpus.Corpus) -> None:
    pairs = chats.pairs(few, seed=0)
    assert pairs == chats.pairs(few, seed=0)
    assert {pair.kind for pair in pairs} >= {"does", "runs", "section", "grounded", "talk"}
    hints = [row["hint"] for split in ("train", "validation", "test") for row in rows(split)]
    said = "\n".join(f"{pair.question}\n{pair.answer}" for pair in pairs)
    assert not [hint for hint in hints if hint in said]


def test_grounded_answers_stand_in_their_context(few: corpus.Corpus) -> None:
    found = [pair for pair in chats.pairs(few, seed=0) if pair.kind == "grounded"]
    numbered = [pair for pair in found if pair.answer.endswith("]")]
    assert found and numbered
    for pair in found:
        sentence, _, number = pair.answer.rpartition(" [")
        if pair.answer == questions.UNKNOWN:
            continue
        if pair in numbered:
            line = next(x for x in pair.question.splitlines() if x.startswith(f"[{number} "))
            assert sentence in line
        else:
            assert pair.answer in pair.question


def test_a_context_without_the_answer_is_said_to_have_none() -> None:
    here = questions.Passage("Lists", ("A `list` keeps an order.", "It may hold doubles."))
    other = questions.Passage("Sets", ("A plain collection without any order.",))
    draws = (questions.grounded(here, [other], Random(seed)) for seed in range(200))
    found = [pair for pair in draws if pair]
    unknown = [pair for pair in found if pair.answer == questions.UNKNOWN]
    assert 0 < len(unknown) < len(found) / 3
    assert not [pair for pair in unknown if "keeps" in pair.question or "hold" in pair.question]


def test_conversations_take_turns_and_end(few: corpus.Corpus) -> None:
    talks = chats.conversations(few, seed=3)
    for talk in talks:
        roles = [message["role"] for message in talk if message["role"] != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2) and roles
    assert max(len(talk) for talk in talks) > 2
    learned = vocabulary.learn((d.text for d in few.train), 400)
    shown = chats.rendered(few, learned, seed=3)
    assert len(shown) == len(talks)
    assert all(text.endswith("<|im_end|>\n") for text in shown)


# --- rows ------------------------------------------------------------------------------------


def documents() -> list[np.ndarray]:
    return [np.arange(100 * n, 100 * n + 37, dtype=np.int32) for n in range(9)]


def test_rows_depend_on_their_number_alone() -> None:
    whole = batches.Stream(documents(), 16, seed=5).take(60)
    pieces = batches.Stream(documents(), 16, seed=5)
    assert torch.equal(whole, torch.cat([pieces.take(n) for n in (1, 7, 30, 22)]))
    later = batches.Stream(documents(), 16, seed=5, taken=38)
    assert torch.equal(whole[38:], later.take(22))
    assert not torch.equal(whole, batches.Stream(documents(), 16, seed=6).take(60))


def test_every_pass_shows_nearly_everything_once() -> None:
    stream = batches.Stream(documents(), 16, seed=5)
    once = stream.take(stream.rows_per_pass)
    assert len(set(once.flatten().tolist())) == once.numel() == 19 * 16
    assert sum(map(len, documents())) - once.numel() < 2 * 16


def test_conversations_and_longer_rows_come_late() -> None:
    talk = [np.full(50, 7, dtype=np.int32)] * 3
    mixture = batches.Mixture(
        batches.Stream(documents(), 16, 0),
        batches.Stream(documents(), 32, 1),
        batches.Stream(talk, 32, 2),
        chat_from=0.8,
        chat_share=0.5,
    )
    assert mixture.take(8, 0.79).shape == (8, 16)
    later = mixture.take(8, 0.8)
    assert later.shape == (4, 32)
    assert (later == 7).all(dim=1).sum() == 2


# --- training --------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(6, 6), (4, 12), (12, 4)])
def test_muon_makes_updates_orthogonal(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    update = orthogonal(torch.randn(shape, dtype=torch.float64))
    # Five iterations bring every singular value near one, not to it (Jordan et al., 2024).
    values = torch.linalg.svdvals(update)
    assert values.min() > 0.3 and values.max() < 1.3


def test_muon_agrees_with_torchs_own() -> None:
    torch.manual_seed(0)
    start = torch.randn(8, 24)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    mine = Muon([ours], lr=0.02, momentum=0.9)
    reference = torch.optim.Muon([theirs], lr=0.02, momentum=0.9, weight_decay=0.0)
    for _ in range(3):
        gradient = torch.randn(8, 24)
        for weight, optimizer in ((ours, mine), (theirs, reference)):
            weight.grad = gradient.clone()
            optimizer.step()
    # Torch iterates in bf16.
    moved = (theirs - start).norm()
    assert (ours - theirs).norm() < 0.05 * moved


def test_the_rate_rises_stays_and_falls_to_zero() -> None:
    settings = Settings(warmup=0.1, decay_from=0.5)
    factors = [train.rate_factor(done, settings) for done in np.linspace(0, 1, 21)]
    assert factors[0] < 0.1 and factors[2:10] == [1.0] * 8
    assert factors[15] == pytest.approx(0.5) and factors[20] == 0
    assert factors[10:] == sorted(factors[10:], reverse=True)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / train.CHECKPOINT, weights_only=True)["model"]


@pytest.fixture(scope="module")
def unbroken(few: corpus.Corpus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("unbroken")
    run = train.Run(SMALL, folder, few)
    train.train(run, say=lambda _: None)
    assert run.step == 12 and run.done == 1
    yield folder


@pytest.mark.parametrize("stop", [1, 5, 11])
def test_a_run_stopped_anywhere_ends_with_the_same_weights(
    stop: int, few: corpus.Corpus, tmp_path: Path, unbroken: Path
) -> None:
    first = train.Run(SMALL, tmp_path, few)
    train.train(first, stop_at=stop, say=lambda _: None)
    again = train.Run(SMALL, tmp_path, few)
    assert again.resume() and again.step == stop
    train.train(again, say=lambda _: None)
    expected, found = weights(unbroken), weights(tmp_path)
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensor, found[name]), name


def test_training_lowers_the_loss(unbroken: Path) -> None:
    said = [json.loads(line) for line in (unbroken / train.LOG).read_text().splitlines()]
    assert said[-1]["step"] == 12
    # Twelve steps from a uniform guess over 400 tokens.
    assert said[-1]["loss"] < np.log(400)


def test_a_kill_while_saving_leaves_the_old_checkpoint(
    few: corpus.Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train.Run(SMALL, tmp_path, few)
    train.train(run, stop_at=2, say=lambda _: None)

    def killed(state: Any, file: Any) -> None:
        file.write(b"half a checkp")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        train.train(run, stop_at=4, say=lambda _: None)
    again = train.Run(SMALL, tmp_path, few)
    assert again.resume() and again.step == 2


def test_the_clock_can_drive_the_schedule(few: corpus.Corpus, tmp_path: Path) -> None:
    from dataclasses import replace

    run = train.Run(replace(SMALL, steps=0, minutes=0.01), tmp_path, few)
    train.train(run, say=lambda _: None)
    assert run.done >= 1 and run.step > 1
    assert 0.6 <= run.seconds < 10


def test_an_exported_model_is_plain_transformers(unbroken: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    trained, _ = export.load(unbroken)
    shape.export(trained, unbroken / "tokenizer", tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    ids = tokenizer("def f(x):\n    return x", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        assert torch.allclose(loaded(ids).logits, trained(ids).logits, atol=0.02)


# --- measuring -------------------------------------------------------------------------------


def test_windows_count_every_token_once(unbroken: Path) -> None:
    model, _ = export.load(unbroken)
    tokenizer = vocabulary.load(unbroken / "tokenizer")
    for parameter in model.parameters():
        parameter.data.zero_()
    text = "value = 1\n" * 40
    found = evaluate.likelihood(model, tokenizer, [text, text[:50]], window=16)
    # A model that knows nothing needs the logarithm of the vocabulary for each token.
    assert found["tokens"] == sum(len(tokenizer(t)["input_ids"]) for t in (text, text[:50]))
    assert found["nats_per_token"] == pytest.approx(np.log(400), abs=1e-3)
    assert found["bits_per_byte"] == pytest.approx(found["chance_bits_per_byte"], abs=1e-3)


def test_xz_knows_what_it_has_seen() -> None:
    draw = Random(0)
    text = "".join(draw.choice("abcdefgh") for _ in range(4000))
    found = evaluate.xz([text], [text])
    # Eight letters at random hold three bits each.
    assert 3 <= found["xz_bits_per_byte"] < 3.6
    assert found["xz_after_training_text_bits_per_byte"] < 0.2


@pytest.mark.parametrize("script", ["train.py", "evaluate.py", "export.py", "card.py"])
def test_scripts_explain_themselves(script: str) -> None:
    ran = subprocess.run(
        [sys.executable, str(TOOLS / script), "--help"], capture_output=True, text=True, check=True
    )
    assert "usage:" in ran.stdout


def test_flags_are_the_settings() -> None:
    given, settings = parse(["--out", "x", "--minutes", "3", "--chat-from", "0.5"])
    assert (given.out, settings) == ("x", Settings(minutes=3.0, chat_from=0.5))
