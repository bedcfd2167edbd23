"""How a model is made trainable: one folder a method, named in `config/method.py`."""
