"""The base of every group of settings."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A group of settings; unknown names are errors, and a number is also accepted as a text."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        coerce_numbers_to_str=True,
        use_attribute_docstrings=True,
        protected_namespaces=(),
    )

    def replace(self, **values: Any) -> Self:
        """Return a copy with other values, which are not checked.

        Example:
            >>> from tailorbird.config import Config
            >>> Config().replace(train={"seed": 2}, output="run").train.seed
            2
        """
        for name, value in values.items():
            inner = getattr(self, name)
            if isinstance(inner, Section) and isinstance(value, dict):
                values[name] = inner.replace(**value)
        return self.model_copy(update=values)

    def override(self, base: Self) -> Self:
        """Return `base` with the values that were set here, not the defaults.

        Example:
            >>> from tailorbird.config import Config
            >>> Config(output="a").override(Config(output="b", train={"seed": 2})).output
            'a'
        """
        return base.replace(**{name: getattr(self, name) for name in self.model_fields_set})
