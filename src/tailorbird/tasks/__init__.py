"""The tasks: one leaf file each, named as in the table (`records/tasks.py`)."""
