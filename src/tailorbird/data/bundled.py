"""The example that comes with the installation."""

from pathlib import Path


def tutor_folder() -> Path | None:
    """Return the folder of the bundled example, the debugging tutor."""
    package = Path(__file__).parent.parent
    # Installed: inside the package. In a checkout: beside it, where people look for examples.
    for folder in (package / "bundled" / "tutor", package.parent.parent / "examples" / "tutor"):
        if folder.is_dir():
            return folder
    return None
