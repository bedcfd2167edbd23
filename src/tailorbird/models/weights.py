"""Loads the weights of models; everything goes through this module.

A model's code runs only if the caller allows it, nothing prompts on stdin, quantised weights stay
as they are, and errors name the model and the fix.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tailorbird.config.schema import ModelConfig
from tailorbird.errors import UserError
from tailorbird.models.builtin import resolve
from tailorbird.runs.checked_files import read_as


def pretrained(kind: Any, source: Path | str, model: ModelConfig, **options: Any) -> Any:
    """Return the model in `source`, and transformers' report on how its weights fit.

    Raises:
        UserError: It cannot be loaded.
    """
    with explained(model.name):
        _check_size(kind, Path(source), model, options.get("config"))
        arguments = {"output_loading_info": True} | options | hub_options(model)
        loaded, info = kind.from_pretrained(source, **arguments)
    keep_exact(loaded)
    return loaded, info


# More layers or experts than any real model: building one would take time and memory before its
# weights are checked.
_MOST_PARTS, _MOST_LABELS = 1000, 10**6
_PARTS = re.compile(r"(layers?|blocks?|depth|experts)$")


def check_numbers(folder: Path) -> None:
    """Refuse a model whose `config.json` has implausible sizes.

    Raises:
        UserError: It has, or is no JSON object.
    """
    path = folder / "config.json"
    if not path.exists():
        return
    try:
        pending = list(read_as(path, dict[str, Any]).items())
    except UserError as error:
        raise _misshapen(folder, error.problem) from error
    while pending:
        key, value = pending.pop()
        if isinstance(value, dict | list):
            inner = value.items() if isinstance(value, dict) else [(key, one) for one in value]
            pending.extend((str(name), one) for name, one in inner)
        most = _MOST_PARTS if _PARTS.search(key) else _MOST_LABELS if "label" in key else None
        if isinstance(value, int) and most is not None and value > most:
            raise _misshapen(folder, f"{path} has {key} {value:,}; the most allowed is {most:,}")


def _check_size(kind: Any, folder: Path, model: ModelConfig, shape: Any) -> None:
    """Refuse a local model that is much larger than its weights, the rest of which would be random.

    It is first built without memory, which takes some hundredths of a second.
    """
    import torch
    from transformers import AutoConfig

    files = [file for ending in ("safetensors", "bin") for file in folder.glob(f"*.{ending}")]
    if not folder.is_dir() or not files:
        return
    chooses = hasattr(kind, "from_config")  # an Auto class, chosen by the folder
    if shape is None:
        reader = AutoConfig if chooses else kind.config_class
        shape = reader.from_pretrained(folder, **hub_options(model))
    with torch.device("meta"):
        built = kind.from_config(shape, **_trust(model)) if chooses else kind(shape)
    numbers = sum(tensor.numel() for tensor in (*built.parameters(), *built.buffers()))
    # Weights are saved in at least four bits; heads may be new.
    saved = 2 * sum(file.stat().st_size for file in files)
    if numbers > 2 * saved + _NEW:
        why = (
            f"config.json describes {numbers:,} parameters, but the weights hold at most {saved:,}"
        )
        raise _misshapen(folder, why)


_NEW = 10**7


def _misshapen(folder: Path, why: str) -> UserError:
    return UserError(f"model {folder} is damaged or incomplete: {why}", "download or save it again")


def _trust(model: ModelConfig) -> dict[str, Any]:
    return {"trust_remote_code": model.trust_remote_code}


def keep_exact(model: Any) -> None:
    """Stop bitsandbytes from repacking 4-bit weights for CPU inference.

    On processors with bf16 products it would round the scales for good at the first evaluation:
    training would continue on another base, and layers whose width is no multiple of 32 would fail.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def hub_options(config: ModelConfig) -> dict[str, Any]:
    """Return the arguments of every ``from_pretrained`` of a named model."""
    arguments = _trust(config)
    if config.revision:
        arguments["revision"] = config.revision
    return arguments


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn the many loading errors into one that names the model and the fix."""
    import transformers

    # It must not prompt on stdin for an unset trust_remote_code.
    transformers.dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0
    # We log the new modules in one line; the library's table of them is noise.
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield
    except BaseException as error:
        # Rust libraries panic on unexpected files.
        panic = type(error).__name__ == "PanicException"
        if isinstance(error, UserError) or not (isinstance(error, Exception) or panic):
            raise
        raise explain_loading(name, error) from error


def explain_loading(name: str, error: BaseException) -> UserError:
    """Return a `UserError` with the reason why model `name` could not be loaded, and the fix."""
    words = str(error).strip()
    local = Path(resolve(name)).exists()
    if "trust_remote_code" in words:
        return UserError(
            f"model {name} comes with its own Python code",
            "if you trust its author: --set model.trust_remote_code=true for a base model, "
            "--trust-remote-code for a run; not possible for embedders and rerankers",
        )
    no_name = type(error).__name__ == "HFValidationError"
    if not local and (isinstance(error, OSError) or no_name):
        offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
        offline = offline and not no_name
        why = "HF_HUB_OFFLINE is set" if offline else words.splitlines()[0][:200]
        return UserError(
            f"model {name!r} is not on this machine and could not be fetched ({why})",
            "check the name and the network (private models: `hf auth login`), give a local "
            "folder (a relative path, also a run's, counts from the working folder), or use "
            "builtin:minilm, which needs no network",
        )
    first = words.splitlines()[0] if words else type(error).__name__
    kind = "damaged or incomplete" if local else "unusable"
    return UserError(
        f"model {name} is {kind}: {type(error).__name__}: {first[:300]}",
        "download or save it again; it needs config.json, tokenizer files and safetensors "
        "weights of a family that transformers can classify with",
    )
