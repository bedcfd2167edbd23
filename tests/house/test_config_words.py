"""Every setting explains itself: its description is its help, its docs entry and its error."""

from collections.abc import Iterator

from tailorbird.config.schema import Section


def sections(parent: type[Section] = Section) -> Iterator[type[Section]]:
    """Yield every group of settings."""
    for child in parent.__subclasses__():
        yield child
        yield from sections(child)


def test_there_are_settings() -> None:
    assert {"TrainConfig", "DataConfig"} <= {section.__name__ for section in sections()}


def test_every_setting_has_a_description() -> None:
    missing = [
        f"{section.__name__}.{name}"
        for section in sections()
        for name, field in section.model_fields.items()
        if not (field.description or "").strip()
    ]
    assert missing == []


def test_every_group_of_settings_has_a_docstring() -> None:
    assert [s.__name__ for s in sections() if not (s.__doc__ or "").strip()] == []
