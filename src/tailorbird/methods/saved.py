"""What a saved method's folder may say: nothing that code is looked up, searched or sized by."""

from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from tailorbird.runs.files import damaged, read_as, reading

SETTINGS, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

_Size = Annotated[int, Field(ge=1)]
_Share = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True)
class _Peft:
    """What both kinds of PEFT's settings have."""

    base_model_name_or_path: str | None
    task_type: str | None
    inference_mode: bool
    modules_to_save: list[str] | None
    revision: str | None = None


@dataclass(frozen=True)
class _Lora(_Peft):
    peft_type: Literal["LORA"] = "LORA"
    r: _Size = 8
    # Names: a single word would be searched for as a regular expression.
    target_modules: list[str] = Field(default_factory=list)
    exclude_modules: list[str] | None = None
    lora_alpha: Annotated[float, Field(gt=0)] = 8
    lora_dropout: _Share = 0.0
    fan_in_fan_out: bool = False
    use_rslora: bool = False
    use_dora: bool = False
    init_lora_weights: bool | Literal["pissa"] = True


@dataclass(frozen=True)
class _Prompt(_Peft):
    peft_type: Literal["PROMPT_TUNING"] = "PROMPT_TUNING"
    num_virtual_tokens: _Size = 20
    token_dim: _Size = 1
    num_layers: _Size = 1
    num_attention_heads: _Size = 1
    num_transformer_submodules: Literal[1] | None = None
    prompt_tuning_init: Literal["TEXT", "RANDOM", "SAMPLE_VOCAB"] = "RANDOM"
    prompt_tuning_init_text: str | None = None
    tokenizer_name_or_path: str | None = None


def check_peft(folder: Path, kind: Literal["LORA", "PROMPT_TUNING"]) -> None:
    """Refuse a PEFT folder with settings that ours never have, or sizes that its weights have not.

    PEFT imports modules, searches with regular expressions and takes memory as the settings say.

    Raises:
        UserError: The folder is one, or is damaged.
    """
    path = folder / SETTINGS
    with reading(path):
        plain = read_as(path, dict[str, Any])
    for name, usual in _others(kind):
        if plain.get(name) not in (usual, None, False, [], {}):
            raise damaged(path, f"{name} is {plain[name]!r}, which no run of tailorbird sets")
    shapes = weight_shapes(folder / WEIGHTS)
    if kind == "LORA":
        sizes = {shape[:1] for key, shape in shapes.items() if key.endswith("lora_A.weight")}
        wanted: tuple[int, ...] = (read_as(path, _Lora).r,)
    else:
        sizes = {shape for key, shape in shapes.items() if key.endswith("prompt_embeddings")}
        prompt = read_as(path, _Prompt)
        wanted = (prompt.num_virtual_tokens, prompt.token_dim)
    if sizes != {wanted}:
        raise damaged(path, f"it says {wanted}, and the weights beside it have {sizes or 'none'}")


def _others(kind: str) -> Iterator[tuple[str, Any]]:
    """Yield PEFT's settings that our runs leave as they are, and how that is."""
    from peft import LoraConfig, PromptTuningConfig

    config, own = (LoraConfig, _Lora) if kind == "LORA" else (PromptTuningConfig, _Prompt)
    names = {field.name for field in fields(own)} | {"auto_mapping", "peft_version"}
    for field in fields(config):
        if field.name not in names:
            yield field.name, None if field.default is MISSING else field.default


def weight_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors in a safetensors file, none of which is read.

    Raises:
        UserError: It is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    with reading(path):
        if not path.is_file():
            raise damaged(path, "it is missing")
        try:
            with safe_open(path, framework="numpy") as file:
                return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise damaged(path, error) from error
