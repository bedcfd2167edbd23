"""The loop's settings with every default filled in."""

import math
from dataclasses import dataclass, fields, replace

from tailorbird import log
from tailorbird.config.schema import Config
from tailorbird.methods.base import Method


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings that `train` reads: `TrainConfig` with the method's defaults for None."""

    epochs: float
    batch_size: int
    micro_batch_size: int
    learning_rate: float
    optimizer: str
    weight_decay: float
    schedule: str
    warmup: float
    max_grad_norm: float
    head_start: bool
    dropout: float | None
    evaluate_every: int | None
    patience: int
    seed: int
    gradient_checkpointing: bool
    tensorboard: bool
    micro_batch_tokens: int | None = None
    packing: bool = True
    checkpoint_every: int | None = None
    layer_decay: float | None = None
    b_rate_factor: float | None = None

    def steps_between_validations(self, per_epoch: int) -> int:
        """Return the steps between validations: as set, or half an epoch."""
        return self.evaluate_every or max(1, math.ceil(per_epoch / 2))


# A head for two classes learns within a few steps; one for 77 takes most of the training.
_MANY_CLASSES = 10
_STEPS_PER_CLASS = 12
# Reading a sequence takes about a third of the time of training on it.
READING, _MOST_VALIDATING = 1 / 3, 0.1
_FEW_EXAMPLES, _FEWEST_STEPS, _MOST_EPOCHS = 2000, 300, 10


def resolve(
    config: Config, method: Method, examples: int, classes: int = 2, *, bi_encoder: bool = False
) -> Settings:
    """Fill in unset settings with the method's tuned defaults.

    Small data gets more epochs, up to about 300 steps or 12 per class; early stopping ends them
    once they no longer help.

    Args:
        bi_encoder: The texts of pairs are encoded separately.
    """
    options, tuned = config.train, method.defaults
    batch_size = options.batch_size or (16 if examples < _FEW_EXAMPLES else 32)
    fewest = max(_FEWEST_STEPS, _STEPS_PER_CLASS * classes)
    enough = math.ceil(fewest / math.ceil(examples / batch_size))
    epochs = options.epochs or max(tuned.epochs, min(_MOST_EPOCHS, enough))
    dropout = options.dropout
    rate = tuned.bi_encoder_rate if bi_encoder else None
    # Vector similarity is useful before training: fitting the head finds that at once, steps would
    # not.
    fitted = classes >= _MANY_CLASSES or bi_encoder
    if dropout is None and (not method.spec.trains_all or bi_encoder):
        # A frozen base cannot overfit, so its dropout would only add time and noise. With a
        # bi-encoder, each text would have its own noise, while the angle between texts is learnt.
        dropout = 0.0
    shared = {each.name: getattr(options, each.name, None) for each in fields(Settings)}
    return Settings(
        **shared
        | {
            "epochs": epochs,
            "batch_size": batch_size,
            "micro_batch_size": min(options.micro_batch_size or batch_size, batch_size),
            "learning_rate": options.learning_rate or rate or tuned.learning_rate,
            "weight_decay": (
                tuned.weight_decay if options.weight_decay is None else options.weight_decay
            ),
            "head_start": fitted if options.head_start is None else options.head_start,
            "dropout": dropout,
            "layer_decay": _layer_decay(options.layer_decay, method),
            "b_rate_factor": method.options(config.method).get("loraplus"),
        }
    )


def _layer_decay(decay: float | None, method: Method) -> float | None:
    if decay is None or method.spec.trains_all:
        return decay
    log.warn(f"train.layer_decay is ignored by {method.name}: it is for full fine-tuning")
    return None


def resolve_generative(
    config: Config, method: Method, examples: int, hidden: int, validation: int = 0
) -> Settings:
    """Fill in the defaults for generation.

    Args:
        hidden: Width of the model; wider models need lower rates.
        validation: The number of validation sequences. If validating twice an epoch would take more
            than a tenth of the training time, it happens once.
    """
    tuned = resolve(config, method, examples)
    rate = config.train.learning_rate or generative_rate(method, hidden)
    every = config.train.evaluate_every
    if every is None and validation * READING > _MOST_VALIDATING * examples / 2:
        every = math.ceil(examples / tuned.batch_size)
    return replace(
        tuned,
        evaluate_every=every,
        epochs=config.train.epochs or method.defaults.generative_epochs,
        learning_rate=rate,
        head_start=False,
    )


def generative_rate(method: Method, hidden: int) -> float:
    """Return the peak learning rate for a decoder of this width.

    Full fine-tuning takes ``5e-5 * (2000 / hidden)^0.78``, the power fitted to Llama models of 1B
    to 70B ("LoRA Without Regret", Schulman et al. 2025, appendix); the other methods take a
    multiple of it (LoRA ten times, as there). Prompt tuning's rate depends on its few virtual
    tokens, not on the width (Lester et al. 2021, section 3.3, took 0.3).
    """
    if method.defaults.generative_rate is not None:
        return method.defaults.generative_rate
    return float(5e-5 * method.defaults.generative_factor * (2000 / hidden) ** 0.78)
