"""LoRA (Hu et al. 2021, arXiv 2106.09685) by PEFT, with a faster forward pass in training."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tailorbird.config.method import MethodConfig
from tailorbird.config.schema import Config
from tailorbird.errors import UserError, did_you_mean
from tailorbird.methods.low_rank import speed_up
from tailorbird.methods.peft_folder import PeftMethod, load_peft, more_head, peft_task
from tailorbird.models.bf16_linear import shrink_frozen
from tailorbird.models.load import Base, hub_name

if TYPE_CHECKING:
    from torch import nn


class Lora(PeftMethod):
    """Adds the trained product of two low-rank matrices to frozen ones."""

    def attach(self, base: Base, config: Config) -> "nn.Module":
        """Wrap the target layers; see `Method.attach`."""
        model = attach_lora(base, self.options(config.method))
        _shrink(model, base)
        speed_up(model, base.device)
        return model

    def load(self, base: Base, folder: Path) -> "nn.Module":
        """Load a PEFT folder."""
        model = load_peft(base, folder)
        _shrink(model, base)
        return model.eval()

    def merge(self, model: "nn.Module") -> "nn.Module":
        """Add the update to the base's matrices, in fp32."""
        merged: nn.Module = model.float().merge_and_unload(safe_merge=True)  # type: ignore[operator]
        return merged


def _shrink(model: "nn.Module", base: Base) -> None:
    # DoRA divides by the norms of the frozen matrices, so rounded matrices would give other
    # predictions than plain PEFT.
    if not model.peft_config["default"].use_dora:  # type: ignore[index, union-attr]
        shrink_frozen(model, base.device)


METHOD = Lora("lora")


def attach_lora(base: Base, options: Mapping[str, Any]) -> "nn.Module":
    """Return the base wrapped by PEFT's LoRA with the method's options."""
    from peft import LoraConfig, get_peft_model

    targets = options["targets"]
    if targets != "all-linear":
        _check_targets(base.model, [targets] if isinstance(targets, str) else targets)
    more = {"init_lora_weights": "pissa"} if options.get("pissa") else {}
    plain = isinstance(targets, str) and targets != "all-linear"
    lora = LoraConfig(
        task_type=peft_task(base),
        r=options["rank"],
        lora_alpha=options["alpha"],
        lora_dropout=options["dropout"],
        target_modules=[targets] if plain else targets,
        use_rslora=options["rslora"],
        use_dora=options["dora"],
        modules_to_save=more_head(base),
        **more,
    )
    # PEFT by itself excludes the head only in a sequence classifier.
    if targets == "all-linear" and (len(base.head) > 1 or base.per_word):
        lora.exclude_modules = list(base.head)
    model: nn.Module = get_peft_model(base.model, lora)
    lora.base_model_name_or_path = hub_name(base.name)
    return model


def _check_targets(model: "nn.Module", targets: list[str]) -> None:
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    names = [n for n, m in model.named_modules() if isinstance(m, nn.Linear | Conv1D)]
    short = sorted({name.rpartition(".")[2] for name in names})
    for target in targets:
        if not any(name == target or name.endswith(f".{target}") for name in names):
            raise UserError(
                f"method.targets names {target!r}, which is not a linear layer of this "
                f"model{did_you_mean(target, short)}",
                f"it has: {', '.join(short)}; or use all-linear",
            )


def attach_to_encoder(model: "nn.Module", head: tuple[str, ...] = ()) -> "nn.Module":
    """Return an encoder without a head, wrapped by PEFT's LoRA on every linear layer.

    Such a model embeds texts, or scores pairs of texts.

    Args:
        model: A transformers model; its own weights are frozen.
        head: Names of modules that are trained in full.
    """
    from peft import LoraConfig, get_peft_model

    options = METHOD.options(MethodConfig())
    excluded: dict[str, Any] = {"exclude_modules": list(head)} if head else {}
    lora = LoraConfig(
        r=options["rank"],
        lora_alpha=options["alpha"],
        lora_dropout=options["dropout"],
        target_modules="all-linear",
        modules_to_save=list(head) or None,
        **excluded,
    )
    wrapped: nn.Module = get_peft_model(model, lora)
    return wrapped


def merge_encoder(model: "nn.Module") -> "nn.Module":
    """Return the plain model with the update added to its matrices."""
    merged: nn.Module = model.merge_and_unload(safe_merge=True)  # type: ignore[operator]
    return merged
