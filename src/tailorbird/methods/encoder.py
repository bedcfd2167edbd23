"""LoRA on an encoder without a head: what turns texts into vectors, or pairs into scores."""

from typing import TYPE_CHECKING, Any

from tailorbird.config.schema import MethodConfig
from tailorbird.methods.lora import lora_options

if TYPE_CHECKING:
    from torch import nn


def attach(model: "nn.Module", config: MethodConfig, head: tuple[str, ...] = ()) -> "nn.Module":
    """Return `model` wrapped by PEFT's LoRA on every linear layer.

    Args:
        model: A transformers model; its own weights are frozen.
        config: Rank, alpha and dropout.
        head: Names of modules that are trained whole.
    """
    from peft import LoraConfig, get_peft_model

    options = lora_options(config)
    given: dict[str, Any] = {"exclude_modules": list(head)} if head else {}
    lora = LoraConfig(
        r=options["rank"],
        lora_alpha=options["alpha"],
        lora_dropout=options["dropout"],
        target_modules="all-linear",
        modules_to_save=list(head) or None,
        use_rslora=options["rslora"],
        use_dora=options["dora"],
        **given,
    )
    wrapped: nn.Module = get_peft_model(model, lora)
    return wrapped


def merge(model: "nn.Module") -> "nn.Module":
    """Return the plain model with the update added to its matrices."""
    merged: nn.Module = model.merge_and_unload(safe_merge=True)  # type: ignore[operator]
    return merged
