"""A process that replaces documents and says of each when it was acknowledged.

Usage: python store_writer.py FOLDER WRITER COUNT
"""

import sys

import stores  # noqa: F401 - makes the toy known
from tailorbird.flows.index import add_documents
from tailorbird.knowledge.base import KnowledgeFolder
from tests_knowledge import document, load

DOCUMENTS = 3


def main(folder: str, writer: str, count: int) -> None:
    """Replace a few documents over and over."""
    with KnowledgeFolder(folder, None, load) as kb:
        for number in range(1, count + 1):
            add_documents(kb, [document(f"doc{writer}-{number % DOCUMENTS}", number)])
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
