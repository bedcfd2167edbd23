"""Everything a run needs to go on as if it had never stopped."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tailorbird.errors import UserError
from tailorbird.methods.base import trained_parameters
from tailorbird.records import CurvePoint
from tailorbird.runs.folder import CHECKPOINTS, RunFolder, writing

_LAST, _BEST = f"{CHECKPOINTS}/last", f"{CHECKPOINTS}/best.safetensors"
_WEIGHTS, _STATE = "weights.safetensors", "state.pt"


@dataclass
class State:
    """Where the loop stands.

    Attributes:
        step: Optimizer steps done.
        seconds: Wall time spent training, over all processes.
        step_seconds: The same without validations and checkpoints.
        best: What the best validation found, the deciding figure first; higher is better.
        bad: Validations since the best one.
        loss_sum, loss_count: Training loss since the last validation, and its weight.
    """

    step: int = 0
    seconds: float = 0.0
    step_seconds: float = 0.0
    examples: int = 0
    tokens: int = 0
    best: tuple[float, float] = (float("-inf"), float("-inf"))
    best_step: int = 0
    bad: int = 0
    loss_sum: float = 0.0
    loss_count: float = 0.0
    curve: list[CurvePoint] = field(default_factory=list)


def save_best(model: nn.Module, folder: RunFolder) -> None:
    """Keep the trained weights as the best so far."""
    _save_weights(model, folder.file(_BEST))


def restore_best(model: nn.Module, folder: RunFolder) -> None:
    """Put the best weights back into the model."""
    _load_weights(model, folder.file(_BEST))


def save_last(
    model: nn.Module, optimizer: torch.optim.Optimizer, state: State, folder: RunFolder
) -> None:
    """Write weights, optimizer, position and random state, whole or not at all."""
    plain = asdict(state) | {"curve": [asdict(point) for point in state.curve]}
    rest: dict[str, Any] = {
        "state": plain,
        "optimizer": optimizer.state_dict(),
        "random": torch.get_rng_state(),
        "cuda_random": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    with folder.new_folder(_LAST) as part:
        _save_weights(model, part / _WEIGHTS)
        torch.save(rest, part / _STATE)


def has_last(folder: RunFolder) -> bool:
    """Say whether there is something to resume from."""
    return (folder.file(_LAST) / _STATE).is_file()


def load_last(model: nn.Module, optimizer: torch.optim.Optimizer, folder: RunFolder) -> State:
    """Put everything back as `save_last` found it.

    Raises:
        UserError: The checkpoint is damaged or belongs to another model.
    """
    path = folder.file(_LAST)
    _load_weights(model, path / _WEIGHTS)
    try:
        rest = torch.load(path / _STATE, weights_only=True)
        optimizer.load_state_dict(rest["optimizer"])
        torch.set_rng_state(rest["random"])
        if rest["cuda_random"]:
            torch.cuda.set_rng_state_all(rest["cuda_random"])
        plain = rest["state"]
        points = [CurvePoint(**point) for point in plain.pop("curve")]
        return State(**plain | {"curve": points, "best": tuple(plain["best"])})
    except Exception as error:
        raise _damaged(path / _STATE, error) from error


def _save_weights(model: nn.Module, path: Path) -> None:
    from safetensors.torch import save_file

    weights = {name: p.detach().cpu().contiguous() for name, p in trained_parameters(model)}
    part = path.with_name(f".{path.name}.part")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(weights, part)
        part.replace(path)


def _load_weights(model: nn.Module, path: Path) -> None:
    from safetensors.torch import load_file

    try:
        weights = load_file(path)
        with torch.no_grad():
            for name, parameter in trained_parameters(model):
                parameter.copy_(weights.pop(name))
        if weights:
            raise KeyError(f"{len(weights)} weights too many")
    except Exception as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> UserError:
    first = (str(error).splitlines() or [""])[0][:200]
    return UserError(
        f"checkpoint {path} is damaged or of another model: {type(error).__name__}: {first}",
        "delete the checkpoints folder and start again without --resume",
    )
