"""The bundled example."""

from pathlib import Path


def tutor_folder() -> Path | None:
    """Return the folder of the bundled example, the debugging tutor."""
    package = Path(__file__).parent.parent
    # It is inside an installed package, and beside the package in a checkout.
    for folder in (package / "bundled" / "tutor", package.parent.parent / "examples" / "tutor"):
        if folder.is_dir():
            return folder
    return None
