"""The tasks: one module each, named as in the table (`records/tasks.py`)."""
