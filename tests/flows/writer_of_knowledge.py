"""A process that writes a knowledge base until it is killed; it says what was acknowledged."""

import sys
from pathlib import Path

from tests_knowledge import document, load

from tailorbird.flows.index import add_documents, remove
from tailorbird.rag.knowledge import KnowledgeBase


def main() -> None:
    folder, name, begin = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    with KnowledgeBase(folder, None, load) as kb:
        for number in range(begin, begin + 10_000):
            source = f"{name}-{number % 12}"
            if number % 7 == 6:
                if source in kb.ledger.live_digests():
                    remove(kb, [source])
                print(f"gone {source} 0", flush=True)  # noqa: T201 - the test reads it
                continue
            add_documents(kb, [document(source, number)])
            print(f"have {source} {number}", flush=True)  # noqa: T201 - the test reads it


if __name__ == "__main__":
    main()
