"""Ways of answering: one leaf file per arm, and a line for each in `table.py`."""
