"""The loop's settings with every default filled in."""

from dataclasses import asdict, dataclass
from typing import Any

from tailorbird.config.schema import Config
from tailorbird.methods.base import Method


@dataclass(frozen=True, slots=True)
class Settings:
    """What `train` reads; `TrainConfig` with the method's defaults in the place of None."""

    epochs: float
    batch_size: int
    micro_batch_size: int
    learning_rate: float
    optimizer: str
    weight_decay: float
    schedule: str
    warmup: float
    max_grad_norm: float
    dropout: float | None
    evaluate_every: int | None
    patience: int
    seed: int
    gradient_checkpointing: bool
    tensorboard: bool

    def to_json(self) -> dict[str, Any]:
        """Return plain values for the report."""
        return asdict(self)


def resolve(config: Config, method: Method) -> Settings:
    """Fill in what the person left open with the method's tuned defaults."""
    asked, tuned = config.train, method.defaults
    dropout = asked.dropout
    if dropout is None and method.name != "full":
        # A frozen base cannot overfit; its dropout would only cost time and add noise.
        dropout = 0.0
    return Settings(
        epochs=asked.epochs or tuned.epochs,
        batch_size=asked.batch_size,
        micro_batch_size=min(asked.micro_batch_size or asked.batch_size, asked.batch_size),
        learning_rate=asked.learning_rate or tuned.learning_rate,
        optimizer=asked.optimizer,
        weight_decay=tuned.weight_decay if asked.weight_decay is None else asked.weight_decay,
        schedule=asked.schedule,
        warmup=asked.warmup,
        max_grad_norm=asked.max_grad_norm,
        dropout=dropout,
        evaluate_every=asked.evaluate_every,
        patience=asked.patience,
        seed=asked.seed,
        gradient_checkpointing=asked.gradient_checkpointing,
        tensorboard=asked.tensorboard,
    )
