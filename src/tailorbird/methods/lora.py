"""LoRA (Hu et al. 2021, arXiv 2106.09685) by PEFT, with a faster forward while training."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tailorbird.config.schema import Config, MethodConfig
from tailorbird.errors import UserError, did_you_mean
from tailorbird.methods.base import Defaults, peft_task, shrink_frozen
from tailorbird.methods.low_rank import speed_up
from tailorbird.methods.saved import check_peft
from tailorbird.models.device import Device
from tailorbird.models.load import Base, hub_name

if TYPE_CHECKING:
    from torch import nn

RANK = 16


class Lora:
    """Adds a trained product of two thin matrices to frozen ones."""

    name = "lora"
    defaults = Defaults(learning_rate=5e-4, epochs=3, writing_factor=10)

    def options(self, config: MethodConfig) -> dict[str, Any]:
        """Fill in the defaults."""
        return lora_options(config) | {"pissa": bool(config.pissa)}

    def load_options(
        self, config: MethodConfig, head: tuple[str, ...], device: Device
    ) -> dict[str, Any]:
        """Need nothing special."""
        return {}

    def attach(self, base: Base, config: Config) -> "nn.Module":
        """Wrap the target layers; see `Method.attach`."""
        model = attach_lora(base, config)
        _shrink(model, base)
        speed_up(model, base.device)
        return model

    def save(self, model: "nn.Module", folder: Path) -> None:
        """Write a PEFT folder, the head in it."""
        save_peft(model, folder)

    def load(self, base: Base, folder: Path) -> "nn.Module":
        """Read a PEFT folder."""
        model = load_peft(base, folder)
        _shrink(model, base)
        return model.eval()

    def merge(self, model: "nn.Module") -> "nn.Module":
        """Add the update to the base's matrices, in fp32."""
        merged: nn.Module = model.float().merge_and_unload(safe_merge=True)  # type: ignore[operator]
        return merged


def _shrink(model: "nn.Module", base: Base) -> None:
    # DoRA divides by the norms of the frozen matrices: rounded ones would give other answers than
    # plain PEFT gives.
    if not model.peft_config["default"].use_dora:  # type: ignore[index, union-attr]
        shrink_frozen(model, base.device)


def lora_options(config: MethodConfig) -> dict[str, Any]:
    """Return the options LoRA and QLoRA share, defaults filled in."""
    rank = config.rank or RANK
    return {
        "rank": rank,
        "alpha": config.alpha or 2 * rank,
        "dropout": config.dropout or 0.0,
        "targets": config.targets or "all-linear",
        "rslora": bool(config.rslora),
        "dora": bool(config.dora),
        "loraplus": config.loraplus,
    }


def attach_lora(base: Base, config: Config, **more: Any) -> "nn.Module":
    """Return the base wrapped by PEFT's LoRA with the options of `config.method`."""
    from peft import LoraConfig, get_peft_model

    options = lora_options(config.method)
    targets = options["targets"]
    if targets != "all-linear":
        _check_targets(base.model, [targets] if isinstance(targets, str) else targets)
    if config.method.pissa:
        more["init_lora_weights"] = "pissa"
    lora = LoraConfig(
        task_type=peft_task(base),
        r=options["rank"],
        lora_alpha=options["alpha"],
        lora_dropout=options["dropout"],
        target_modules=[targets]
        if isinstance(targets, str) and targets != "all-linear"
        else targets,
        use_rslora=options["rslora"],
        use_dora=options["dora"],
        modules_to_save=more_head(base),
        **more,
    )
    # PEFT itself leaves out the head of a classifier of texts only.
    if targets == "all-linear" and (len(base.head) > 1 or base.per_word):
        lora.exclude_modules = list(base.head)
    model: nn.Module = get_peft_model(base.model, lora)
    lora.base_model_name_or_path = hub_name(base.name)
    return model


def save_peft(model: "nn.Module", folder: Path) -> None:
    """Write the PEFT folder of `model`; nothing is looked up on the network for it."""
    # "auto" would ask the hub whether the vocabulary changed; ours never does.
    model.save_pretrained(str(folder), save_embedding_layers=False)  # type: ignore[operator]
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's blank card; runs write a filled one


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
    """Return what PEFT must train and save beside the classifier."""
    # PEFT trains and saves `classifier` and `score` by itself; some families have a new dense
    # layer before them (DistilBERT, RoBERTa) that must not stay random.
    more = [name for name in base.head if name.split(".")[0] not in ("classifier", "score")]
    return more or None


def _check_targets(model: "nn.Module", targets: list[str]) -> None:
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    names = [n for n, m in model.named_modules() if isinstance(m, nn.Linear | Conv1D)]
    short = sorted({name.rpartition(".")[2] for name in names})
    for target in targets:
        if not any(name == target or name.endswith(f".{target}") for name in names):
            raise UserError(
                f"method.targets names {target!r}, which is no linear layer of this model"
                f"{did_you_mean(target, short)}",
                f"it has: {', '.join(short)}; or use all-linear",
            )
