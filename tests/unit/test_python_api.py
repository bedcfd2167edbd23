"""The verbs stay functions, whichever rooms of the same names were loaded."""

from importlib import import_module

import pytest

import tailorbird


@pytest.mark.parametrize("room", ["tasks", "flows.evaluate", "flows.compare"])
def test_a_room_does_not_take_the_place_of_a_verb(room: str) -> None:
    import_module(f"tailorbird.{room}")
    for verb in ("tune", "compare", "evaluate", "load", "KnowledgeBase"):
        assert callable(getattr(tailorbird, verb)), verb
        assert verb in tailorbird.__all__
