"""The shape of builtin:tutor, its loss, and the folder it is shipped as."""

import copy
import json
import os
from pathlib import Path
from typing import Any

import torch
from settings import Settings
from tokenizer import END_OF_TEXT, PADDING, POSITIONS, TURN_END, ship
from torch.nn import functional as F  # noqa: N812 - its usual name


def new(settings: Settings, tokenizer: Any) -> Any:
    """Return an untrained model."""
    from transformers import LlamaConfig, LlamaForCausalLM

    end, turn_end, padding = tokenizer.convert_tokens_to_ids([END_OF_TEXT, TURN_END, PADDING])
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden,
        intermediate_size=settings.feed_forward,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=max(1, settings.heads // 2),
        head_dim=settings.hidden // settings.heads,
        max_position_embeddings=POSITIONS,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=turn_end,
        pad_token_id=padding,
    )
    torch.manual_seed(settings.seed)
    model = LlamaForCausalLM(config)
    model.generation_config.eos_token_id = [turn_end, end]
    model.generation_config.pad_token_id = padding
    model.config.use_cache = False
    for layer in model.model.layers:
        # Each layer starts as the identity, which lets the first steps be large.
        torch.nn.init.zeros_(layer.self_attn.o_proj.weight)
        torch.nn.init.zeros_(layer.mlp.down_proj.weight)
    return model


def token_losses(model: Any, rows: torch.Tensor) -> torch.Tensor:
    """Return every token's loss in nats but the first's. `[batch, seq] -> [batch * (seq - 1)]`."""
    logits = model(input_ids=rows, use_cache=False).logits[:, :-1].float()
    return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), reduction="none")


def export(model: Any, tokenizer: str | Path, folder: Path) -> None:
    """Write the model in fp16 as transformers loads it, beside a copy of the tokenizer's files."""
    small = copy.deepcopy(model).half()
    small.config.use_cache = True
    small.save_pretrained(folder)
    # Loading decides: training and CPUs want fp32, and nothing is lost by it.
    _rewrite(folder / "config.json", {"dtype": "float32"})
    end = model.generation_config.eos_token_id
    generation = {"eos_token_id": end, "pad_token_id": model.generation_config.pad_token_id}
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")
    ship(Path(tokenizer), folder)
    # safetensors writes for the owner alone, and installers keep that.
    for file in folder.iterdir():
        file.chmod(0o644)


def _rewrite(path: Path, changes: dict[str, Any]) -> None:
    written = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps(written, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def write_atomically(path: Path, state: Any) -> None:
    """Save so that a kill at any moment leaves the old file or the new one."""
    draft = path.with_suffix(".draft")
    with draft.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
