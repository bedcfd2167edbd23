"""The fine-tuning methods: one folder each, named in `config/method.py`."""
