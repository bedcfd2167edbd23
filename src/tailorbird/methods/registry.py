"""The table of methods by name."""

from functools import cache
from typing import TYPE_CHECKING

from tailorbird.config.method import METHODS, method_spec
from tailorbird.errors import UserError, did_you_mean
from tailorbird.lazy_import import leaf

if TYPE_CHECKING:
    from tailorbird.methods.base import Method


@cache
def get_method(name: str) -> "Method":
    """Return the method called `name`.

    Raises:
        UserError: No method has this name.
    """
    if name not in METHODS:
        raise UserError(
            f"there is no method {name!r}{did_you_mean(name, METHODS)}", f"use {', '.join(METHODS)}"
        )
    method: Method = leaf("tailorbird.methods", f"{name}.method", "METHOD")
    return method


def by_cost() -> tuple[str, ...]:
    """Return the names of the methods, cheapest first."""
    specs = {name: method_spec(name) for name in METHODS}
    # Among equal costs, methods with an unquantised base come first.
    return tuple(sorted(METHODS, key=lambda m: (specs[m].defaults.cost, specs[m].quantises)))
