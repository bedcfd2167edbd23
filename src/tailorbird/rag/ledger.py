"""A ledger in a file, under the name that it had first; new code takes `tailorbird.knowledge`."""

from pathlib import Path

from tailorbird.knowledge import ledger
from tailorbird.knowledge.sqlite import connect


def open_ledger(path: Path, create: bool = False) -> ledger.Ledger:
    """Return the ledger in a file, made where `create` says so.

    Raises:
        UserError: There is none, or it is of another program.
    """
    return ledger.Ledger(connect(path, create=create))


Ledger = open_ledger
