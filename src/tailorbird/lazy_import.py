"""The leaf of an axis: its table names it, and its module is imported when it is asked for."""

from importlib import import_module
from typing import Any


def leaf(package: str, module: str, name: str) -> Any:
    """Return what is called `name` in a module of a package.

    Example:
        >>> leaf("tailorbird", "errors", "UserError").__name__
        'UserError'
    """
    return getattr(import_module(f"{package}.{module}"), name)
