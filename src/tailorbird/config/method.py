"""The table of methods, and the section of settings with the options of all of them."""

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Optional

from pydantic import Field, create_model

from tailorbird.config.hyperparameter_search import Space
from tailorbird.config.section import Section
from tailorbird.lazy_import import leaf

if TYPE_CHECKING:
    import numpy as np

# Folders of `methods/`: each holds what can be set (its own file) and how it is done (`method.py`).
METHODS: tuple[str, ...] = ("full", "adapter", "lora", "qlora", "prompt")
"""The table of methods."""


class Options(Section):
    """The options of a method, with the defaults that it has when nothing is set."""

    def filled(self) -> dict[str, Any]:
        """Return every option, with defaults that follow from other options filled in."""
        return self.model_dump()


@dataclass(frozen=True, slots=True)
class Defaults:
    """A method's tuned defaults; docs/methods.md says where each number comes from.

    Attributes:
        learning_rate, epochs: For labels.
        bi_encoder_rate: For pairs whose texts are read one by one, where it is another.
        generative_factor: For answers in words, times full fine-tuning's rate.
        generative_rate: The rate itself, where it does not follow from the model's width.
        generative_epochs: For answers in words.
        cost: What training takes, times the quickest method's (README's table, rounded).
    """

    learning_rate: float
    epochs: float
    weight_decay: float = 0.0
    generative_factor: float = 1.0
    generative_rate: float | None = None
    generative_epochs: float = 2
    bi_encoder_rate: float | None = None
    cost: float = 1.0


@dataclass(frozen=True)
class MethodSpec:
    """What everybody else may know of a method.

    Attributes:
        words: How settings and pages call it.
        space: What a search draws from beside the rate, the batch and the epochs.
        rate_around: A search draws learning rates between the default divided by this and times it.
        library: What loads a saved model: ``transformers``, ``peft`` or ``tailorbird``.
        trains_all: Whether every weight of the base is trained.
        smaller: The method that does alike with less memory; empty: there is none.
        reads_weights: Options whose start reads the base's weights.
        parameters: About how many weights it adds to a transformer, by its options, the hidden and
            the inner width, and the number of layers.
        arrays: The folder of a saved BERT and its base's weights -> the weights that it reads with,
            for numpy; None: only the method itself can load it.
    """

    words: str
    options: type[Options]
    defaults: Defaults
    space: Space = field(default_factory=dict)
    rate_around: float = 5.0
    library: str = "tailorbird"
    trains_all: bool = False
    quantises: bool = False
    smaller: str = ""
    reads_weights: tuple[str, ...] = ()
    parameters: Callable[[Mapping[str, Any], int, int, int], float] = lambda *_: 0.0
    arrays: Callable[[Path, Mapping[str, "np.ndarray"]], Mapping[str, "np.ndarray"]] | None = None


@cache
def method_spec(name: str) -> MethodSpec:
    """Return what can be set and known of a method of the table."""
    spec: MethodSpec = leaf("tailorbird.methods", name, "SPEC")
    return spec


SETTINGS, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
"""Files in the folder of a model that has more than its base's weights, as PEFT names them."""
PLAIN, PEFT = "transformers", "peft"
"""Libraries that load a saved model; tailorbird is the third."""


def method_library(method: str) -> str:
    """Return what loads a model that was made so; of no method: tailorbird."""
    return method_spec(method).library if method in METHODS else "tailorbird"


class _MethodConfig(Section):
    """The fine-tuning method and its options; an option that it does not have is an error."""

    name: str = "lora"
    """The method."""

    @property
    def own_options(self) -> dict[str, Any]:
        """The options that are set."""
        return self.model_dump(exclude={"name"}, exclude_none=True)

    if TYPE_CHECKING:

        def __getattr__(self, option: str) -> Any: ...


def _composed() -> Any:
    """Return the section with every method's options, none of them set."""
    listed = ", ".join(METHODS[:-1])
    fields: dict[str, Any] = {
        "name": (Literal[METHODS], Field("lora", description=f"{listed} or {METHODS[-1]}."))
    }
    for option in dict.fromkeys(o for m in METHODS for o in method_spec(m).options.model_fields):
        owners = [m for m in METHODS if option in method_spec(m).options.model_fields]
        help_of = {m: method_spec(m).options.model_fields[option].description or "" for m in owners}
        words = " ".join(
            f"{', '.join(method_spec(m).words for m in owners if help_of[m] == text)}: {text}"
            for text in dict.fromkeys(help_of.values())
        )
        own = copy(method_spec(owners[0]).options.model_fields[option])
        own.default, own.description = None, words
        fields[option] = (Optional[own.annotation], own)  # noqa: UP045  (known at run time only)
    return create_model(
        "MethodConfig", __base__=_MethodConfig, __doc__=_MethodConfig.__doc__, **fields
    )


if TYPE_CHECKING:
    MethodConfig = _MethodConfig
else:
    MethodConfig = _composed()
