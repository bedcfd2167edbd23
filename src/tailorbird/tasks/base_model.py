"""The base model of an arm: loading, input length, and generation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tailorbird.config import Config
from tailorbird.data.chat_template import end_of_turn, install_template
from tailorbird.errors import UserError
from tailorbird.methods.base import Method
from tailorbird.models.device import Device
from tailorbird.models.generate import Sampling, generate, sampling_of
from tailorbird.models.load import Base, length_limit, load_generative

if TYPE_CHECKING:
    from torch import nn

DEFAULT_LENGTH, _DEFAULT_GENERATIVE_LENGTH = 512, 2048

# transformers' names of modules after the backbone.
HEADS = (
    *("classifier", "score", "pre_classifier", "classification_head", "pooler.dense"),
    *("lm_head", "embed_out", "output_projection", "predictions.decoder"),
)


def make_base(config: Config, device: Device, method: Method | None) -> Base:
    """Return the seeded base model for generation, with its chat template.

    Raises:
        UserError: The model cannot be loaded or cannot generate, or its template has no end of a
            turn.
    """
    from tailorbird.train.randomness import seed_all

    seed_all(config.train.seed)
    base = load_generative(config.model, device, generative_options(config, device, method))
    note = install_template(base.tokenizer, config.data.template)
    end, ends = end_of_turn(base.tokenizer), _end_ids(base.model)
    # The saved model stops at the end token that it was trained with.
    generation: Any = base.model.generation_config
    generation.eos_token_id = ends if end in ends else [end, *ends]
    generation.pad_token_id = base.tokenizer.pad_token_id
    base.notes.append(note)
    return base


def _end_ids(model: Any) -> list[int]:
    ids = model.generation_config.eos_token_id
    return [ids] if isinstance(ids, int) else list(ids or [])


def generative_options(config: Config, device: Device, method: Method | None) -> dict[str, Any]:
    """Return arguments for ``from_pretrained``: frozen weights take the device's number format.

    Checkpoints of language models have 16 bits; an 8B model in fp32 would take 32 GB.
    """
    options = method.load_options(config.method, HEADS, device) if method else {}
    trains_all = method is not None and method.spec.trains_all
    return options if trains_all else {"dtype": device.dtype} | options


def reading_limit(base: Base) -> int:
    """Return the base model's maximum input length in tokens."""
    return length_limit(base.tokenizer, base.model.config)


def max_length(config: Config, base: Base, method: Method) -> int:
    """Return the maximum number of tokens of a text; virtual tokens reduce it.

    Raises:
        UserError: `data.max_length` exceeds the model's limit, or leaves no room for text.
    """
    virtual = int(method.options(config.method).get("virtual_tokens") or 0)
    usual = _DEFAULT_GENERATIVE_LENGTH if base.generates else DEFAULT_LENGTH
    return text_room(config, reading_limit(base), virtual, usual)


def text_room(config: Config, limit: int, virtual: int, usual: int = DEFAULT_LENGTH) -> int:
    """Return the maximum number of tokens of a text; see `max_length`."""
    longest = config.data.max_length
    if longest is not None and longest > limit:
        raise UserError(
            f"data.max_length is {longest}, but {config.model.name} reads at most {limit} tokens",
            f"set it to {limit} or less",
        )
    # Batches are padded to multiples of 8, which must also fit beside the virtual tokens.
    room = min((longest or min(limit, usual + virtual)) - virtual, (limit - virtual) // 8 * 8)
    if room < 4:
        raise UserError(
            f"{virtual} virtual tokens leave {max(room, 0)} of {longest or limit} for the text",
            "use fewer method.virtual_tokens or a longer data.max_length",
        )
    return room


def count_parameters(model: "nn.Module") -> tuple[int, int]:
    """Return the numbers of trained and of all parameters."""
    trained = total = 0
    for parameter in model.parameters():
        # bitsandbytes packs two 4-bit weights into a byte.
        state: Any = getattr(parameter, "quant_state", None)
        count = state.shape.numel() if state is not None else parameter.numel()
        total += count
        trained += count if parameter.requires_grad else 0
    return trained, total


_CHECKED_TOKENS = 64


@dataclass(frozen=True)
class Answering:
    """A model that answers prompts.

    Attributes:
        limit: The most tokens of a sequence.
    """

    model: "nn.Module"
    tokenizer: Any
    device: Device
    limit: int
    config: Config
    notes: tuple[str, ...] = ()

    @property
    def reads(self) -> int:
        """The base model's maximum input length in tokens."""
        return length_limit(self.tokenizer, self.model.config)

    def sampling(self, max_new_tokens: int) -> Sampling:
        """Return the settings of generation."""
        return sampling_of(self.config.generate, max_new_tokens, self.ends)

    @property
    def ends(self) -> tuple[int, ...]:
        """Tokens that end an answer."""
        return tuple(dict.fromkeys([end_of_turn(self.tokenizer), *_end_ids(self.model)]))

    def check(self, prompts: Sequence[np.ndarray], longest: int) -> tuple[str, ...]:
        """Return the first tokens of greedy answers to a few prompts."""
        if not prompts:
            return ()
        sampling = Sampling(min(longest, _CHECKED_TOKENS), end_ids=self.ends)
        answers = generate(self.model, self.tokenizer, prompts, sampling, self.device)
        return tuple(answer.text for answer in answers)
