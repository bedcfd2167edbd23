"""Rows that join and leave while others are written get the answers they get alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tailorbird.errors import UserError
from tailorbird.models.continuous_batching import RunningBatch, make_row
from tailorbird.models.device import choose
from tailorbird.models.generate import Sampling, generate

ENDS = (102,)
PROMPTS = (
    ("the moon is", Sampling(40, end_ids=ENDS)),
    ("a long story about bread that nobody ever wrote down",
     Sampling(30, temperature=1.0, seed=5, end_ids=ENDS)),
    ("soup", Sampling(5, end_ids=ENDS)),
    ("the race with their coach", Sampling(50, temperature=0.7, top_p=0.9, seed=2, end_ids=ENDS)),
)  # fmt: skip


@pytest.fixture(params=["llama", "qwen2", "gpt2", "prompt"])
def writer(request: pytest.FixtureRequest, models: Any) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder: Path = models("llama" if request.param == "prompt" else request.param)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()
    if request.param == "prompt":
        from peft import PromptTuningConfig, TaskType, get_peft_model

        config = PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=3)
        model = get_peft_model(model, config).eval()
    return model, AutoTokenizer.from_pretrained(folder)


def ids_of(tokenizer: Any, text: str) -> np.ndarray:
    return np.asarray(tokenizer(text, add_special_tokens=False)["input_ids"])


def test_answers_are_those_of_each_row_alone(writer: tuple[Any, Any]) -> None:
    model, tokenizer = writer
    device = choose("cpu", "fp32")
    prompts = [ids_of(tokenizer, text) for text, _ in PROMPTS]
    alone = [
        generate(model, tokenizer, [prompt], sampling, device)[0]
        for prompt, (_, sampling) in zip(prompts, PROMPTS, strict=True)
    ]
    together = RunningBatch(model, device)
    rows = []
    for prompt, (_, sampling) in zip(prompts, PROMPTS, strict=True):
        row = make_row(model, tokenizer, prompt, sampling)
        together.join((row, sampling))
        rows.append(row)
        for _ in range(7):  # others go on before the next one joins
            together.step()
    most = max(len(together.rows), 2)
    while together.rows:
        together.step()
    assert most >= 2
    assert [(r.text, len(r.tokens), r.ended) for r in rows] == [
        (w.text, w.tokens, w.ended) for w in alone
    ]
    assert len({r.text for r in rows}) == len(rows)
    # Prompts of several lengths that are read together, while another is at work.
    rows = [make_row(model, tokenizer, p, s) for p, (_, s) in zip(prompts, PROMPTS, strict=True)]
    pairs = list(zip(rows, [sampling for _, sampling in PROMPTS], strict=True))
    together.join(pairs[0])
    together.step()
    together.join(*pairs[1:])
    while together.rows:
        together.step()
    assert [(r.text, len(r.tokens)) for r in rows] == [(w.text, w.tokens) for w in alone]


def test_a_row_that_is_abandoned_leaves_before_the_next_token(models: Any) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = models("llama")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()
    tokenizer, device = AutoTokenizer.from_pretrained(folder), choose("cpu", "fp32")
    together = RunningBatch(model, device)
    sampling = Sampling(20)
    rows = [make_row(model, tokenizer, ids_of(tokenizer, t), sampling) for t in ("soup", "a race")]
    together.join(*((row, sampling) for row in rows))
    together.step()
    written = len(rows[0].tokens)
    rows[0].abandoned = True
    while together.rows:
        together.step()
    assert len(rows[0].tokens) == written
    alone = generate(model, tokenizer, [rows[1].prompt], sampling, device)[0]
    assert rows[1].text == alone.text


def test_no_room_is_a_fault(models: Any) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = models("llama")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with pytest.raises(UserError, match="no room"):
        make_row(model, tokenizer, np.ones(128, dtype=np.int64), Sampling(3))
    with pytest.raises(UserError, match="the prompt is empty"):
        make_row(model, tokenizer, np.ones(0, dtype=np.int64), Sampling(3))


def test_a_model_that_keeps_a_state_is_not_written_together() -> None:
    from transformers import MambaConfig, MambaForCausalLM

    config = MambaConfig(vocab_size=50, hidden_size=16, state_size=4, num_hidden_layers=1)
    device = choose("cpu", "fp32")
    assert not RunningBatch(MambaForCausalLM(config), device).possible
