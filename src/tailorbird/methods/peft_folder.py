"""PEFT's file format, as our methods write and read it.

No value of a folder is trusted that would select code, act as a regular expression or set a size.
"""

from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from tailorbird.config.method import SETTINGS, WEIGHTS
from tailorbird.errors import UserError
from tailorbird.methods.base import Method
from tailorbird.models.load import Base
from tailorbird.runs.checked_files import damaged, read_as, reading

if TYPE_CHECKING:
    from torch import nn

_Size = Annotated[int, Field(ge=1)]
_Share = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True)
class _Peft:
    """The settings that both kinds of PEFT folders share."""

    base_model_name_or_path: str | None
    task_type: str | None
    inference_mode: bool
    modules_to_save: list[str] | None
    revision: str | None = None


@dataclass(frozen=True)
class _Lora(_Peft):
    peft_type: Literal["LORA"] = "LORA"
    r: _Size = 8
    # A list of names: PEFT would take a string as a regular expression.
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


class PeftMethod(Method):
    """A method of PEFT, saved in PEFT's format."""

    def save(self, model: "nn.Module", folder: Path) -> None:
        """Write a PEFT folder that includes the head, without network access."""
        # "auto" asks the hub whether the vocabulary changed; ours never changes.
        model.save_pretrained(str(folder), save_embedding_layers=False)  # type: ignore[operator]
        # Remove PEFT's blank model card; runs write a complete one.
        (folder / "README.md").unlink(missing_ok=True)


def peft_task(base: Base) -> str:
    """Return PEFT's name for the base's task."""
    if base.per_word:
        return "TOKEN_CLS"
    return "CAUSAL_LM" if base.generates else "SEQ_CLS"


def load_peft(
    base: Base, folder: Path, kind: Literal["LORA", "PROMPT_TUNING"] = "LORA"
) -> "nn.Module":
    """Return `base` with the PEFT weights of `folder`.

    Raises:
        UserError: The folder is incomplete or damaged.
    """
    from peft import PeftModel

    check_peft(folder, kind)
    try:
        model: nn.Module = PeftModel.from_pretrained(base.model, str(folder))
    except Exception as error:
        first = (str(error).splitlines() or [""])[0][:300]
        raise UserError(
            f"{folder} does not hold a usable PEFT model: {type(error).__name__}: {first}",
            "it may be incomplete or damaged; train it again",
        ) from error
    return model


def more_head(base: Base) -> list[str] | None:
    """Return the modules that PEFT must train and save beside the classifier."""
    # PEFT trains and saves `classifier` and `score` by itself. Some families (DistilBERT, RoBERTa)
    # have a new dense layer before them that must not stay random.
    more = [name for name in base.head if name.split(".")[0] not in ("classifier", "score")]
    return more or None


def check_peft(folder: Path, kind: Literal["LORA", "PROMPT_TUNING"]) -> None:
    """Refuse a PEFT folder with foreign settings, or with sizes that contradict its weights.

    PEFT imports modules, matches regular expressions and allocates memory as the settings say.

    Raises:
        UserError: A setting or a size is refused, or the folder is damaged.
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
        expected: tuple[int, ...] = (read_as(path, _Lora).r,)
    else:
        sizes = {shape for key, shape in shapes.items() if key.endswith("prompt_embeddings")}
        prompt = read_as(path, _Prompt)
        expected = (prompt.num_virtual_tokens, prompt.token_dim)
    if sizes != {expected}:
        raise damaged(
            path, f"it records {expected}, but the weights beside it have {sizes or 'none'}"
        )


def _others(kind: str) -> Iterator[tuple[str, Any]]:
    """Yield the PEFT settings that our runs leave at their defaults, with those defaults."""
    from peft import LoraConfig, PromptTuningConfig

    config, own = (LoraConfig, _Lora) if kind == "LORA" else (PromptTuningConfig, _Prompt)
    names = {field.name for field in fields(own)} | {"auto_mapping", "peft_version"}
    for field in fields(config):
        if field.name not in names:
            yield field.name, None if field.default is MISSING else field.default


def weight_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors in a safetensors file without reading the tensors.

    Raises:
        UserError: The file is missing or damaged.
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
