"""Imports the entries of tables that name a module, on demand."""

from importlib import import_module
from typing import Any


def leaf(package: str, module: str, name: str) -> Any:
    """Import a module of a package and return its attribute `name`.

    Example:
        >>> leaf("tailorbird", "errors", "UserError").__name__
        'UserError'
    """
    return getattr(import_module(f"{package}.{module}"), name)
