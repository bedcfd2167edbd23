"""The arms of a comparison: one module per arm, and a line for each in `registry.py`."""
