"""Adapt a language model to your own task, every way, and see which way is best."""

from tailorbird.version import __version__

__all__ = ["__version__"]
