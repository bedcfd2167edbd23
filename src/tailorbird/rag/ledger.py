"""`knowledge.ledger` under its first import path, which programs of others use."""

from pathlib import Path

from tailorbird.knowledge import ledger
from tailorbird.knowledge.sqlite_ledger import connect


def open_ledger(path: Path, create: bool = False) -> ledger.Ledger:
    """Return the ledger in a file, created if `create` is set.

    Raises:
        UserError: It is missing, or the file is another program's.
    """
    return ledger.Ledger(connect(path, create=create))


Ledger = open_ledger
