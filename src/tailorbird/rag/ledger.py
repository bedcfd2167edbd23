"""The ledger under the name that it had first; new code takes it from `tailorbird.knowledge`."""

from tailorbird.knowledge.ledger import Ledger

__all__ = ["Ledger"]
