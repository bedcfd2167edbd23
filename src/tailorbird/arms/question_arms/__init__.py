"""Arms for questions about documents: one module per kind, and a line each in `registry.py`."""
