"""What every group of settings is made from."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A group of settings; unknown names are errors."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=()
    )
