"""The one door to a model's weights.

Whatever is loaded through it runs no code of its author unless the caller said so, nobody is asked
on stdin, quantised weights stay as they are, and faults are told with the model's name and the fix.
"""

import os
from pathlib import Path
from typing import Any

from tailorbird.config.schema import ModelConfig
from tailorbird.errors import UserError
from tailorbird.models.builtin import resolve


def pretrained(kind: Any, source: Path | str, model: ModelConfig, **options: Any) -> Any:
    """Return the model in `source`, and transformers' account of how its weights fitted.

    Args:
        kind: A class of transformers.
        source: A folder, or an id on the hub.
        model: What the person calls it, and whether its code may run.
        options: More arguments for ``from_pretrained``.

    Raises:
        UserError: It cannot be loaded.
    """
    with explained(model.name):
        given = {"output_loading_info": True} | options | hub_options(model)
        loaded, info = kind.from_pretrained(source, **given)
    keep_exact(loaded)
    return loaded, info


def keep_exact(model: Any) -> None:
    """Stop bitsandbytes from repacking 4-bit weights for CPU inference.

    Where the processor multiplies bf16, it would round the scales at the first evaluation for good:
    training after a validation would go on with another base than before it, and layers whose width
    is no multiple of 32 would fail.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def hub_options(config: ModelConfig) -> dict[str, Any]:
    """Return what every ``from_pretrained`` of a named model is told."""
    given: dict[str, Any] = {"trust_remote_code": config.trust_remote_code}
    if config.revision:
        given["revision"] = config.revision
    return given


class explained:  # noqa: N801 - reads as a word in `with`
    """Turns the many errors of loading into one that names the model and the fix."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        import transformers

        # What a library does not tell it (trust_remote_code) it must not ask on stdin.
        transformers.dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0
        # One line of ours says what is new in the model; the library's table of it is noise.
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()

    def __exit__(self, kind: type | None, error: BaseException | None, _: object) -> None:
        if error is None or not isinstance(error, Exception) or isinstance(error, UserError):
            return
        raise explain_loading(self.name, error) from error


def explain_loading(name: str, error: Exception) -> UserError:
    """Return a `UserError` that says why model `name` could not be loaded and what to do."""
    words = str(error).strip()
    local = Path(resolve(name)).exists()
    if "trust_remote_code" in words:
        return UserError(
            f"model {name} comes with its own Python code",
            "if you trust its author: --set model.trust_remote_code=true for a base model, "
            "--trust-remote-code for a run; embedders and rerankers must do without",
        )
    if isinstance(error, OSError) and not local:
        offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
        why = "HF_HUB_OFFLINE is set" if offline else words.splitlines()[0][:200]
        return UserError(
            f"model {name!r} is not on this machine and could not be fetched ({why})",
            "check the name and the network (private models: `hf auth login`), give a local "
            "folder, or use builtin:minilm, which needs no network",
        )
    first = words.splitlines()[0] if words else type(error).__name__
    kind = "damaged or incomplete" if local else "unusable"
    return UserError(
        f"model {name} is {kind}: {type(error).__name__}: {first[:300]}",
        "download or save it again; it needs config.json, tokenizer files and safetensors "
        "weights of a family that transformers can classify with",
    )
