"""`python -m tailorbird`: the command `tailor`."""

from tailorbird.cli.main import run

run()
