"""Answers are what the model by itself would write, whatever they are written beside."""

import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tailorbird.config.schema import GenerateConfig
from tailorbird.errors import UserError
from tailorbird.models import generate as room
from tailorbird.models.device import choose
from tailorbird.models.generate import Sampling, check_prompts, generate, sampling_of, stream
from tailorbird.models.generation_inputs import context_length, left_padded, virtual_tokens

Writer = Callable[..., Any]
CPU = choose("cpu", "fp32")
LENGTHS = (3, 11, 7, 1, 7, 24, 5)


def prompts(vocabulary: int, lengths: tuple[int, ...] = LENGTHS) -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    return [rng.integers(5, vocabulary, n).astype(np.int32) for n in lengths]


def small_batches(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(room, "MOST_ROWS", {"cpu": rows})


@pytest.mark.parametrize("shape", ["llama", "gpt2", "qwen2", "stories260k"])
def test_greedy_is_transformers_own(shape: str, writer: Writer) -> None:
    base, model = writer(shape)
    asked = prompts(500)
    found = generate(model, base.tokenizer, asked, Sampling(12), CPU)
    for prompt, answer in zip(asked, found, strict=True):
        ids = torch.from_numpy(prompt.astype(np.int64))[None]
        with torch.no_grad():
            theirs = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=12,
                do_sample=False,
                eos_token_id=None,
                pad_token_id=0,
            )[0, len(prompt) :]
        text = base.tokenizer.decode(
            theirs, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        assert answer.text == text.rstrip("\ufffd")
        assert (answer.tokens, answer.ended) == (12, False)


@pytest.mark.parametrize("method", ["full", "adapter", "lora", "qlora", "prompt"])
@pytest.mark.parametrize("shape", ["llama", "gpt2"])
def test_every_method_writes_as_its_forward_says(
    shape: str, method: str, writer: Writer, slowly: Writer
) -> None:
    if (shape, method) == ("gpt2", "qlora"):
        pytest.skip("bitsandbytes does not take GPT-2's transposed layers")
    base, model = writer(shape, method)
    assert (virtual_tokens(model) is not None) == (method == "prompt")
    asked = prompts(500, (3, 11, 1))
    found = generate(model, base.tokenizer, asked, Sampling(6), CPU)
    for prompt, answer in zip(asked, found, strict=True):
        expected = slowly(model, prompt, 6)
        assert answer.text == base.tokenizer.decode(
            expected, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )


@pytest.mark.parametrize("method", ["", "prompt"])
@pytest.mark.parametrize("shape", ["llama", "gpt2"])
def test_padding_changes_rounding_only(shape: str, method: str, writer: Writer) -> None:
    """The bound that `generate` states: logits are the same to 1e-5 of their size in fp32."""
    base, model = writer(shape, method)
    asked = prompts(500)
    together = left_padded(model, asked, 0, CPU)
    mask = together["attention_mask"]
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    with torch.no_grad():
        padded = base.model(**together, position_ids=positions).logits[:, -1]
        alone = torch.stack(
            [
                model(input_ids=torch.from_numpy(p.astype(np.int64))[None]).logits[0, -1]
                for p in asked
            ]
        )
    assert float((padded - alone).abs().max() / alone.abs().max()) < 1e-5


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_batches_do_not_matter(
    temperature: float, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does what ends when: unfinished answers move on to other batches."""
    base, model = writer("stories260k")
    asked = [np.r_[1, p] for p in prompts(400, LENGTHS * 2)]
    sampling = Sampling(40, temperature, top_p=0.95, stop=(".", "he"), seed=3, end_ids=(2,))
    found = generate(model, base.tokenizer, asked, sampling, CPU)
    assert len({answer.tokens for answer in found}) > 4, "all end at the same time"
    for rows in (1, 6):
        small_batches(monkeypatch, rows)
        assert generate(model, base.tokenizer, asked, sampling, CPU) == found
    monkeypatch.setattr(room, "MOST_TOKENS", {"cpu": 150})
    assert generate(model, base.tokenizer, asked, sampling, CPU) == found


def test_the_end_token_ends(writer: Writer, slowly: Writer) -> None:
    base, model = writer("llama")
    asked = prompts(500)
    free = [slowly(model, prompt, 12) for prompt in asked]
    end = free[0][4]
    found = generate(model, base.tokenizer, asked, Sampling(12, end_ids=(end,)), CPU)
    for ids, answer in zip(free, found, strict=True):
        size = ids.index(end) + 1 if end in ids else 12
        assert (answer.tokens, answer.ended) == (size, end in ids)
        kept = ids[:size][:-1] if end in ids else ids
        assert answer.text == base.tokenizer.decode(kept, skip_special_tokens=True)
    assert found[0].ended


def test_special_tokens_are_not_text(writer: Writer) -> None:
    base, model = writer("llama")
    sampling = Sampling(200, temperature=3.0)
    (answer,) = generate(model, base.tokenizer, prompts(500, (3,)), Sampling(40), CPU)
    assert answer.text
    special = set(base.tokenizer.all_special_ids)
    text = room.Ending(base.tokenizer, frozenset(), ()).text([*special, 7592, *special])
    assert text == base.tokenizer.decode([7592])
    assert sampling.temperature == 3.0


def test_stop_strings_are_cut(writer: Writer) -> None:
    base, model = writer("stories260k")
    prompt = np.asarray(
        [1, *base.tokenizer("Once upon a time", add_special_tokens=False).input_ids]
    )
    (free,) = generate(model, base.tokenizer, [prompt], Sampling(60), CPU)
    for stop in ("little", "girl named", " Lily", "Sh"):
        assert stop in free.text
        sampling = Sampling(60, stop=("never said", stop))
        (cut,) = generate(model, base.tokenizer, [prompt], sampling, CPU)
        assert cut.text == free.text[: free.text.index(stop)]
        assert cut.ended
        assert cut.tokens < free.tokens


def test_draws_leave_the_worlds_dice_alone(writer: Writer) -> None:
    base, model = writer("llama")
    before = torch.random.get_rng_state(), np.random.get_state()[1], random.getstate()
    one = generate(model, base.tokenizer, prompts(500), Sampling(8, 1.0, seed=1), CPU)
    torch.manual_seed(99)
    again = generate(model, base.tokenizer, prompts(500), Sampling(8, 1.0, seed=1), CPU)
    other = generate(model, base.tokenizer, prompts(500), Sampling(8, 1.0, seed=2), CPU)
    assert one == again != other
    torch.random.set_rng_state(before[0])
    generate(model, base.tokenizer, prompts(500), Sampling(8, 1.0), CPU)
    after = torch.random.get_rng_state(), np.random.get_state()[1], random.getstate()
    assert torch.equal(before[0], after[0])
    assert np.array_equal(before[1], after[1])
    assert before[2] == after[2]


def test_equal_prompts_are_drawn_for_separately(writer: Writer) -> None:
    base, model = writer("llama")
    same = prompts(500, (4,)) * 6
    found = generate(model, base.tokenizer, same, Sampling(8, 1.0), CPU)
    assert len({answer.text for answer in found}) == 6


def test_the_model_is_left_as_it_was(writer: Writer) -> None:
    base, model = writer("llama", "lora")
    model.train()
    inner = model.get_base_model()
    inner.model.layers[0].eval()
    inner.generation_config.repetition_penalty = 9.0
    inner.generation_config.do_sample = True
    kept = inner.generation_config
    flags = [module.training for module in model.modules()]
    assert inner.config.use_cache is False
    odd = generate(model, base.tokenizer, prompts(500), Sampling(8), CPU)
    assert inner.generation_config is kept
    assert inner.config.use_cache is False
    assert [module.training for module in model.modules()] == flags
    assert not any(p.grad_fn for p in model.parameters())
    other_base, other = writer("llama", "lora")
    assert generate(other, other_base.tokenizer, prompts(500), Sampling(8), CPU) == odd


def test_keys_and_values_are_kept(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the configuration says not to: after the prompt, one token is read at a time."""
    base, model = writer("llama")
    widths: list[int] = []
    embed = model.get_input_embeddings()
    hook = embed.register_forward_pre_hook(lambda _, args: widths.append(args[0].shape[1]))
    generate(model, base.tokenizer, prompts(500, (6, 4)), Sampling(5), CPU)
    hook.remove()
    assert widths == [6, 1, 1, 1, 1]


@pytest.mark.parametrize("shape", ["llama", "gpt2"])
@pytest.mark.parametrize("method", ["", "prompt"])
def test_no_answer_passes_the_last_position(
    shape: str, method: str, writer: Writer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also beside others with room left, whose batch goes on."""
    base, model = writer(shape, method)
    context = context_length(model)
    assert context == (123 if method else 128)
    asked = prompts(500, (context - 1, 30, context - 6, 31))
    found = generate(model, base.tokenizer, asked, Sampling(40), CPU)
    assert [answer.tokens for answer in found] == [1, 40, 6, 40]
    assert "2 of 4 prompts leave less room" in capsys.readouterr().err
    alone = [generate(model, base.tokenizer, [p], Sampling(40), CPU)[0] for p in asked]
    assert [a.text for a in alone] == [a.text for a in found]


def test_prompts_without_room_or_words_are_refused(writer: Writer) -> None:
    base, model = writer("gpt2")
    with pytest.raises(
        UserError, match=r"prompt 2 of 3 has 128 tokens and the model reads at most 128"
    ):
        generate(model, base.tokenizer, prompts(500, (5, 128, 130)), Sampling(4), CPU)
    with pytest.raises(UserError, match=r"prompt 2 of 2 is empty"):
        check_prompts(model, [*prompts(500, (5,)), np.empty(0, dtype=np.int32)], Sampling(4))
    assert generate(model, base.tokenizer, [], Sampling(4), CPU) == []
    _, tuned = writer("gpt2", "prompt")
    with pytest.raises(UserError, match=r"has 123 tokens and the model reads at most 123"):
        list(stream(tuned, base.tokenizer, prompts(500, (123,))[0], Sampling(4), CPU))


def test_too_little_memory_halves_the_batch(writer: Writer) -> None:
    base, model = writer("llama")
    expected = generate(model, base.tokenizer, prompts(500), Sampling(6), CPU)
    sizes: list[int] = []
    real = model.generate

    def small(*args: Any, **kwargs: Any) -> Any:
        sizes.append(len(kwargs["input_ids"]))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError("no memory")
        return real(*args, **kwargs)

    model.generate = small
    assert generate(model, base.tokenizer, prompts(500), Sampling(6), CPU) == expected
    assert sizes[0] == 7
    model.generate = lambda **_: (_ for _ in ()).throw(torch.OutOfMemoryError("none at all"))
    with pytest.raises(torch.OutOfMemoryError, match="none at all"):
        generate(model, base.tokenizer, prompts(500), Sampling(6), CPU)


@pytest.mark.parametrize(("shape", "method"), [("stories260k", ""), ("llama", "prompt")])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_stream_is_the_answer_in_pieces(
    shape: str, method: str, temperature: float, writer: Writer
) -> None:
    base, model = writer(shape, method)
    for prompt in prompts(400, (2, 9)):
        for stop in ((), ("e", "lo", "wa")):
            sampling = Sampling(30, temperature, stop=stop, end_ids=(2,))
            (whole,) = generate(model, base.tokenizer, [prompt], sampling, CPU)
            pieces = list(stream(model, base.tokenizer, prompt, sampling, CPU))
            assert "".join(pieces) == whole.text
            assert all(pieces)
            if whole.tokens > 10:
                assert len(pieces) > 5


def test_closing_a_stream_ends_the_writing(writer: Writer) -> None:
    base, model = writer("stories260k")
    model.train()
    pieces = stream(model, base.tokenizer, np.asarray([1, 403]), Sampling(400), CPU)
    next(pieces)
    taken: list[int] = []
    hook = model.register_forward_pre_hook(lambda *_: taken.append(1))
    pieces.close()
    hook.remove()
    assert len(taken) < 50
    assert model.training
    model.eval()


def test_a_fault_while_streaming_is_raised(writer: Writer) -> None:
    base, model = writer("llama")
    model.generate = lambda **_: (_ for _ in ()).throw(RuntimeError("broken"))
    with pytest.raises(RuntimeError, match="broken"):
        list(stream(model, base.tokenizer, prompts(500, (4,))[0], Sampling(4), CPU))


def test_bf16_writes_too(writer: Writer, slowly: Writer) -> None:
    base, model = writer("llama", "lora", "bf16")
    found = generate(model, base.tokenizer, prompts(500), Sampling(6), choose("cpu", "bf16"))
    assert [answer.tokens for answer in found] == [6] * len(LENGTHS)


def test_settings_become_sampling(capsys: pytest.CaptureFixture[str]) -> None:
    config = GenerateConfig(temperature=0.5, top_k=3, stop=("x", ""), seed=4)
    sampling = sampling_of(config, 40, end_ids=[2])
    assert sampling == Sampling(40, 0.5, top_k=3, stop=("x",), seed=4, end_ids=(2,))
    assert sampling_of(GenerateConfig(max_new_tokens=7), 40).max_new_tokens == 7
    assert capsys.readouterr().err == ""
    sampling_of(GenerateConfig(top_p=0.5), 40)
    assert "generate.temperature is 0" in " ".join(capsys.readouterr().err.split())


def test_context_is_the_text_models() -> None:
    shape = SimpleNamespace(get_text_config=lambda: SimpleNamespace())
    assert context_length(SimpleNamespace(config=shape)) is None  # type: ignore[arg-type]
