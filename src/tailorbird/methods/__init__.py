"""The fine-tuning methods: one folder each, named in `config/method.py`."""

# The settings import every method's options: a method that is imported first would miss its own.
import tailorbird.config  # noqa: F401
