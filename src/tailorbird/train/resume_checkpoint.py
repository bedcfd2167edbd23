"""Checkpoints, from which a run resumes with exactly the same result.

A checkpoint is a folder that gets its name once it is complete, with the SHA-256 of every file in
it and of the best weights it refers to. The last two are kept: if one is damaged, the run resumes
from the one before.
"""

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tailorbird import log
from tailorbird.errors import NoSpace, UserError
from tailorbird.methods.base import trained_parameters
from tailorbird.records import CurvePoint
from tailorbird.runs.atomic import new_file
from tailorbird.runs.folder import CHECKPOINTS, RunFolder
from tailorbird.train.randomness import restore_random, seed_rank

_WEIGHTS, _STATE, _SUMS = "weights.safetensors", "state.pt", "sha256.json"
_MOST_CHECKPOINTS = 2


@dataclass
class State:
    """The state of the loop.

    Attributes:
        seconds: Wall time of training, over all processes.
        step_seconds: The same without validations and checkpoints.
        best: The best validation result, the deciding metric first; higher is better.
        bad: Validations since the best one.
        loss_sum, loss_count: Training loss since the last validation, and its weight.
        halvings: How often the micro-batches were halved for lack of memory.
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
    halvings: int = 0
    curve: list[CurvePoint] = field(default_factory=list)


@dataclass(frozen=True)
class Saved:
    """The contents of a checkpoint besides the weights.

    Attributes:
        random: The random state of each rank.
        scaler: State of the fp16 gradient scaler.
    """

    state: State
    optimizer: dict[str, Any]
    random: list[dict[str, Any]]
    scaler: dict[str, Any] | None = None
    source: str = ""

    def restore(
        self, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler, index: int, seed: int
    ) -> None:
        """Restore everything that belongs to rank `index`.

        Raises:
            UserError: It belongs to another model.
        """
        try:
            optimizer.load_state_dict(self.optimizer)
            if index < len(self.random):
                restore_random(self.random[index])
            else:
                seed_rank(seed + self.state.step, index)
            if self.scaler:
                scaler.load_state_dict(self.scaler)
        except Exception as error:
            raise _of_another(Path(self.source), error) from error


class Checkpoints:
    """The checkpoints of one run, and its best weights so far."""

    def __init__(self, folder: RunFolder, title: str = "training") -> None:
        self._folder, self._title = folder, title
        self._best: tuple[str, str] | None = None  # file name and digest
        # Best weights that did not fit on the disk yet.
        self._unsaved: tuple[str, dict[str, torch.Tensor]] | None = None

    def save_best(self, model: nn.Module, step: int) -> None:
        """Save the trained weights as the best so far; in memory if the disk is full."""
        # A unique name, so that an older checkpoint still finds its own best weights.
        name, weights = f"best-{step:08d}.safetensors", _weights(model)
        try:
            self._best, self._unsaved = self._write_best(name, weights), None
        except NoSpace as error:
            copies = {key: value.clone() for key, value in weights.items()}
            self._best, self._unsaved = None, (name, copies)
            log.warn(f"{self._title}: {error.problem}; the best weights are kept in memory")

    def restore_best(self, model: nn.Module) -> None:
        """Load the best weights into the model.

        Raises:
            UserError: They were damaged on the disk.
        """
        if self._unsaved is not None:
            _put_weights(model, self._unsaved[1])
            return
        assert self._best is not None, "there was a validation"
        path = self._file(self._best[0])
        if not path.is_file() or _digest(path) != self._best[1]:
            raise UserError(f"the best weights, {path}, are damaged", "continue with --resume")
        _load_weights(model, path)

    def save(self, model: nn.Module, saved: "Saved") -> bool:
        """Write a checkpoint atomically; return whether the disk had room."""
        state = saved.state
        plain = asdict(state) | {"curve": [asdict(point) for point in state.curve]}
        rest: dict[str, Any] = {
            "state": plain,
            "optimizer": saved.optimizer,
            "random": saved.random,
            "scaler": saved.scaler,
            "around": _around(model) | {"processes": len(saved.random)},
        }
        try:
            if self._unsaved is not None:
                self._best, self._unsaved = self._write_best(*self._unsaved), None
            name = f"{CHECKPOINTS}/step-{state.step:08d}"
            with self._folder.new_folder(name) as part:
                _save_weights(_weights(model), part / _WEIGHTS)
                torch.save(rest, part / _STATE)
                sums = {file: _digest(part / file) for file in (_WEIGHTS, _STATE)}
                manifest = {"files": sums, "best": self._best}
                (part / _SUMS).write_text(json.dumps(manifest, indent=2) + "\n")
        except NoSpace as error:
            shutil.rmtree(self._file(f".step-{state.step:08d}.part"), ignore_errors=True)
            last = f"the one of step {_step(self._all()[0])} is" if self._all() else "none is"
            log.warn(
                f"{self._title}: no checkpoint of step {state.step}: {error.problem}; {last} "
                "kept, and training continues"
            )
            return False
        self._drop_old()
        return True

    def find(self) -> Path | None:
        """Return the newest valid checkpoint; damaged ones are reported and removed."""
        damaged = False
        for path in self._all():
            fault = self._fault(path)
            if not fault:
                return path
            damaged = True
            shutil.rmtree(path, ignore_errors=True)
            log.warn(f"{self._title}: the checkpoint of step {_step(path)} is damaged ({fault})")
        if damaged:
            log.warn(f"{self._title}: no other checkpoint: starting from the beginning")
        return None

    def load(self, model: nn.Module, processes: int = 1) -> "Saved | None":
        """Return the newest valid checkpoint after loading its weights into `model`, or None.

        Raises:
            UserError: The checkpoint belongs to another model.
        """
        path = self.find()
        if path is None:
            return None
        _load_weights(model, path / _WEIGHTS)
        try:
            rest = torch.load(path / _STATE, weights_only=True)
            plain = rest["state"]
            points = [CurvePoint(**point) for point in plain.pop("curve")]
            state = State(**plain | {"curve": points, "best": tuple(plain["best"])})
            random = rest["random"] if isinstance(rest["random"], list) else [rest["random"]]
            saved = Saved(state, rest["optimizer"], random, rest["scaler"], str(path / _STATE))
        except Exception as error:
            raise _of_another(path / _STATE, error) from error
        best = json.loads((path / _SUMS).read_text())["best"]
        self._best = None if best is None else (best[0], best[1])
        here = _around(model) | {"processes": processes}
        for difference in _differences({"processes": 1} | rest["around"], here):
            log.warn(f"{self._title}: {difference}; results may differ in the last bits")
        return saved

    def _all(self) -> list[Path]:
        """Return the checkpoints, newest first."""
        return sorted(self._file("").glob("step-*"), reverse=True)

    def _file(self, name: str) -> Path:
        return self._folder.file(CHECKPOINTS) / name

    def _write_best(self, name: str, weights: dict[str, torch.Tensor]) -> tuple[str, str]:
        path = self._file(name)
        with new_file(path) as part:
            _save_weights(weights, part)
            digest = _digest(part)
        return name, digest

    def _fault(self, path: Path) -> str:
        """Return what is wrong with a checkpoint; empty if it is valid."""
        try:
            plain = json.loads((path / _SUMS).read_text())
            assert set(plain["files"]) == {_WEIGHTS, _STATE}
            sums: dict[Path, str] = {path / n: digest for n, digest in plain["files"].items()}
            if plain["best"] is not None:
                assert Path(plain["best"][0]).name == plain["best"][0]
                sums[self._file(plain["best"][0])] = plain["best"][1]
        except Exception:
            return f"{_SUMS} cannot be read"
        for file, digest in sums.items():
            if not file.is_file():
                return f"{file.name} is missing"
            if _digest(file) != digest:
                return f"{file.name} was changed after it was written"
        return ""

    def _drop_old(self) -> None:
        """Delete all but the last two checkpoints, and best weights that neither refers to."""
        for path in self._all()[_MOST_CHECKPOINTS:]:
            shutil.rmtree(path, ignore_errors=True)
        needed = {self._best[0]} if self._best else set()
        for path in self._all():
            best = json.loads((path / _SUMS).read_text())["best"]
            needed |= {best[0]} if best else set()
        for file in self._file("").glob("best-*"):
            if file.name not in needed:
                file.unlink(missing_ok=True)


def has_last(folder: RunFolder) -> bool:
    """Return whether there is a valid checkpoint."""
    return Checkpoints(folder).find() is not None


def _step(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def frozen_digest(model: nn.Module) -> str:
    """Return a digest that identifies the model and its version."""
    frozen = hashlib.sha256()
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            # A few numbers of each suffice. They are copied: numpy pins the storage it reads, and
            # sharded weights free theirs.
            first = parameter.detach().reshape(-1)[:64].to("cpu", copy=True).view(torch.uint8)
            frozen.update(f"{name} {tuple(parameter.shape)}".encode())
            frozen.update(first.numpy().tobytes())
    return frozen.hexdigest()


def _around(model: nn.Module) -> dict[str, Any]:
    """Return what else results depend on: the frozen weights and the machine's arithmetic."""
    return {
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
        "frozen": frozen_digest(model),
    }


def _differences(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return the differences between a run's first and present conditions, in words."""
    words = []
    if then["torch"] != now["torch"]:
        words.append(f"started with torch {then['torch']}, continuing with {now['torch']}")
    for name in ("processes", "threads"):
        if then[name] != now[name]:
            words.append(f"started with {then[name]} {name}, continuing with {now[name]}")
    if then["frozen"] != now["frozen"]:
        words.append("the base model's weights differ from those at the start of the run")
    return words


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach().cpu().contiguous() for name, p in trained_parameters(model)}


def _save_weights(weights: dict[str, torch.Tensor], path: Path) -> None:
    from safetensors.torch import save_file

    save_file(weights, path)


def _load_weights(model: nn.Module, path: Path) -> None:
    from safetensors.torch import load_file

    try:
        _put_weights(model, load_file(path))
    except Exception as error:
        raise _of_another(path, error) from error


def _put_weights(model: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    left = dict(weights)
    with torch.no_grad():
        for name, parameter in trained_parameters(model):
            parameter.copy_(left.pop(name))
    if left:
        raise KeyError(f"{len(left)} weights too many")


def _of_another(path: Path, error: Exception) -> UserError:
    first = (str(error).splitlines() or [""])[0][:200]
    return UserError(
        f"checkpoint {path} is of another model: {type(error).__name__}: {first}",
        "delete the checkpoints folder and start again without --resume",
    )
