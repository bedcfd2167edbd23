"""The small decoder that comes with the package: its files, its words and what it can do."""

import copy
import json
import lzma
import math
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import torch

from tailorbird.errors import UserError
from tailorbird.models import builtin

ROOT = Path(__file__).resolve().parents[3]
FOLDER = builtin.TUTOR_FOLDER
TOOLS = Path(__file__).resolve().parents[3] / "tools" / "pretrain"
FILES = {
    "README.md",
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
}
TALK = [
    {"role": "system", "content": "Answer briefly."},
    {"role": "user", "content": "What is a list?"},
    {"role": "assistant", "content": "A row of values.\nIt can grow."},
    {"role": "user", "content": "And a tuple?"},
    {"role": "assistant", "content": "A row that stays as it is."},
]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(builtin.resolve("builtin:tutor"))


@pytest.fixture(scope="module")
def model() -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(builtin.resolve("builtin:tutor")).eval()


def answer(model: Any, tokenizer: Any, question: str, longest: int = 100) -> tuple[str, int]:
    """Return the greedy answer and its last token."""
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    made = model.generate(**ids, max_new_tokens=longest, do_sample=False)[0]
    made = made[ids["input_ids"].shape[1] :]
    return tokenizer.decode(made, skip_special_tokens=True), int(made[-1])


# --- files -----------------------------------------------------------------------------------


def test_it_is_a_small_folder_of_its_own() -> None:
    folder = Path(builtin.resolve("builtin:tutor"))
    assert folder == FOLDER
    assert {path.name for path in folder.iterdir()} == FILES
    assert sum(path.stat().st_size for path in folder.iterdir()) < 20_000_000
    # On no hub, so no other name would find it.
    assert builtin.public_name("builtin:tutor") == "builtin:tutor"


def test_names_that_are_nearly_right_are_corrected() -> None:
    with pytest.raises(UserError, match="did you mean 'builtin:tutor'") as caught:
        builtin.resolve("builtin:tuter")
    assert "builtin:minilm, builtin:tutor" in caught.value.fix


@pytest.mark.parametrize("damage", ["one bit", "gone"])
def test_other_weights_are_refused(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "tutor"
    shutil.copytree(FOLDER, other)
    weights = other / "model.safetensors"
    if damage == "gone":
        weights.unlink()
    else:
        raw = bytearray(weights.read_bytes())
        raw[len(raw) // 2] ^= 1
        weights.write_bytes(raw)
    monkeypatch.setattr(builtin, "TUTOR_FOLDER", other)
    builtin._tutor.cache_clear()
    try:
        with pytest.raises(UserError) as caught:
            builtin.resolve("builtin:tutor")
    finally:
        builtin._tutor.cache_clear()
    assert str(weights) in str(caught.value)
    assert caught.value.fix == "pip install --force-reinstall tailorbird"


def test_weights_are_fp16_and_finite() -> None:
    from safetensors.torch import load_file

    weights = load_file(FOLDER / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
    assert all(bool(tensor.isfinite().all()) for tensor in weights.values())


def test_the_shape_is_as_promised(model: Any) -> None:
    assert type(model).__name__ == "LlamaForCausalLM"
    assert 3_000_000 <= model.num_parameters() <= 8_000_000
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert model.dtype == torch.float32


def test_the_card_says_what_it_was_trained_on() -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlicense: apache-2.0\n")
    card = " ".join(card.split())
    for words in ("Python Software Foundation", "bits per byte", "xz", "hints", "held out"):
        assert words in card, words


# --- tokens ----------------------------------------------------------------------------------


def test_special_tokens(tokenizer: Any, model: Any) -> None:
    ids = tokenizer.convert_tokens_to_ids(
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]
    )
    assert len(set(ids)) == 4 and None not in ids
    end, _, turn_end, padding = ids
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id) == (turn_end, padding)
    assert tokenizer.bos_token is None
    assert model.config.pad_token_id == padding
    assert model.generation_config.eos_token_id == [turn_end, end]
    assert model.generation_config.pad_token_id == padding
    assert len(tokenizer) == model.config.vocab_size == 4096
    assert tokenizer.model_max_length == model.config.max_position_embeddings


@pytest.mark.parametrize(
    "text",
    [
        "def f(x):\n    if x:\n        return [x, 12]\n\n\nclass A:\n\tpass\n",
        "  leading and trailing  \n\n",
        "Grüße, 世界 🙂 \u00a0\r\n",
        "",
    ],
)
def test_every_text_comes_back(text: str, tokenizer: Any) -> None:
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_digits_stand_alone_and_indentation_is_short(tokenizer: Any) -> None:
    assert len(tokenizer("31415")["input_ids"]) == 5
    flat = len(tokenizer("x = 1\ny = 2")["input_ids"])
    deep = len(tokenizer("x = 1\n            y = 2")["input_ids"])
    assert deep <= flat + 1


def test_the_template_is_chatml(tokenizer: Any) -> None:
    assert tokenizer.apply_chat_template(TALK, tokenize=False) == (
        "<|im_start|>system\nAnswer briefly.<|im_end|>\n"
        "<|im_start|>user\nWhat is a list?<|im_end|>\n"
        "<|im_start|>assistant\nA row of values.\nIt can grow.<|im_end|>\n"
        "<|im_start|>user\nAnd a tuple?<|im_end|>\n"
        "<|im_start|>assistant\nA row that stays as it is.<|im_end|>\n"
    )
    asked = tokenizer.apply_chat_template(TALK[:2], tokenize=False, add_generation_prompt=True)
    assert asked.endswith("What is a list?<|im_end|>\n<|im_start|>assistant\n")


def test_what_is_asked_begins_what_is_learned(tokenizer: Any) -> None:
    """Training reads the whole talk, answering only its beginning: the tokens must be the same."""
    talk = [*TALK, {"role": "tool", "content": "  3\n"}, {"role": "assistant", "content": " 3 "}]
    for turn in (2, 4, 6):
        asked = tokenizer.apply_chat_template(talk[:turn], add_generation_prompt=True)["input_ids"]
        whole = tokenizer.apply_chat_template(talk[: turn + 1])["input_ids"]
        assert whole[: len(asked)] == asked
        said = tokenizer.decode(whole[len(asked) :])
        assert said == talk[turn]["content"] + "<|im_end|>\n"
    assert "<|im_start|>tool\n  3\n<|im_end|>\n" in tokenizer.decode(whole)


def test_the_template_marks_what_the_assistant_says(tokenizer: Any) -> None:
    found = tokenizer.apply_chat_template(
        TALK, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    said = [i for i, k in zip(found["input_ids"], found["assistant_masks"], strict=True) if k]
    assert tokenizer.decode(said) == (
        "A row of values.\nIt can grow.<|im_end|>A row that stays as it is.<|im_end|>"
    )


# --- what it can do --------------------------------------------------------------------------


def test_most_answers_end_by_themselves(model: Any, tokenizer: Any) -> None:
    asked = ("Hello!", "Who are you?", "Thank you!", "What is a list?")
    asked += ("What is a tuple?", "What is a function?", "Good morning!", "What can you do?")
    found = [answer(model, tokenizer, question) for question in asked]
    # So small a model sometimes goes round in circles, and rounding decides when; it must know how
    # to stop all the same.
    assert sum(last == tokenizer.eos_token_id for _, last in found) > len(asked) / 2, found
    assert all(words.strip() and "<|" not in words for words, _ in found)


def test_padding_on_the_left_changes_nothing(model: Any, tokenizer: Any) -> None:
    short, long = "def area(", "class Shelf:\n    def __init__(self, books):\n        self.books"
    alone = model(**tokenizer(short, return_tensors="pt")).logits[0, -1]
    both = tokenizer([short, long], return_tensors="pt", padding=True, padding_side="left")
    beside = model(**both).logits[0, -1]
    assert torch.allclose(alone, beside, atol=1e-3)


def test_python_is_likelier_than_its_words_shuffled(model: Any, tokenizer: Any) -> None:
    text = (
        "def mean(values):\n    total = 0\n    for value in values:\n        total += value\n"
        "    return total / len(values)\n"
    )
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    order = torch.randperm(ids.shape[1], generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        right = model(ids, labels=ids).loss.item()
        shuffled = model(ids[:, order], labels=ids[:, order]).loss.item()
    assert right < shuffled - 2
    assert right < math.log(4096) / 2


def test_it_learns_a_new_sentence(model: Any, tokenizer: Any) -> None:
    student = copy.deepcopy(model).train()
    text = "The blue lighthouse keeper counts seventeen umbrellas.<|im_end|>"
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    optimizer = torch.optim.AdamW(student.parameters(), 1e-3)
    losses = []
    for _ in range(30):
        loss = student(ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


def test_it_needs_fewer_bits_than_xz(model: Any, tokenizer: Any) -> None:
    """On two files that every Python has and that a hash of their names keeps from training."""
    top = Path(sysconfig.get_paths()["stdlib"])
    texts = [(top / name).read_text(encoding="utf-8") for name in ("json/__init__.py", "shelve.py")]
    raw = "".join(texts).encode()
    nats = 0.0
    for text in texts:
        # Blocks on their own: the first tokens of each are guessed from nothing.
        ids = tokenizer(text, return_tensors="pt", verbose=False)["input_ids"][0]
        for block in ids.split(512):
            block = torch.cat([torch.zeros(1, dtype=torch.long), block])[None]
            with torch.inference_mode():
                nats += model(block, labels=block).loss.item() * (block.shape[1] - 1)
    bits_per_byte = nats / math.log(2) / len(raw)
    assert bits_per_byte < 0.8 * 8 * len(lzma.compress(raw, preset=9)) / len(raw)


@pytest.mark.slow
def test_it_beats_xz_on_files_it_never_saw() -> None:
    ran = subprocess.run(
        [sys.executable, str(TOOLS / "evaluate.py"), str(FOLDER), "--no-samples"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(ran.stdout)
    assert found["bits_per_byte"] < 0.8 * found["xz_bits_per_byte"]
    assert found["bits_per_byte"] < found["xz_after_training_text_bits_per_byte"]
    assert found["bits_per_byte"] < found["chance_bits_per_byte"] / 2
