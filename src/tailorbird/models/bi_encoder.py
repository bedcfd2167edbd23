"""A bi-encoder for pairs: encodes two texts separately; a head reads the relation of their vectors.

This is SBERT's architecture (Reimers and Gurevych 2019, arXiv 1908.10084, section 3). A sentence
embedding model encodes similarity in the angle of its vectors; a cross-encoder, which reads both
texts together, has to learn it anew (`benchmarks/quality.py --sets stsb`, with ``--set
model.pairs=cross-encoder`` and without).
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import AutoConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.models.auto.modeling_auto import MODEL_MAPPING

from tailorbird.config.schema import ModelConfig
from tailorbird.errors import UserError
from tailorbird.models.load import config_folder
from tailorbird.models.sentence_modules import plain_pooling, pool, read_modules, write_modules
from tailorbird.records.tasks import NUMBERS

if TYPE_CHECKING:
    from collections.abc import Callable

# The angle's weight; every other feature group adds up to a quarter.
_ANGLE = 2.0


def encoder_of(shape: Any) -> Any:
    """Return transformers' encoder class for a configuration, or None."""
    kind = MODEL_MAPPING.get(type(shape), None)
    if kind is None or shape.is_encoder_decoder:
        return None
    return kind[0] if isinstance(kind, tuple) else kind


def pooling_of(config: ModelConfig) -> tuple[str, ...]:
    """Return a model's pooling modes; ``mean`` if its folder does not specify any."""
    return read_modules(config_folder(config), config.name).poolings


def vector_pooling(config: ModelConfig) -> tuple[str, ...] | None:
    """Return the pooling of a sentence embedding model; None for other models.

    Also None if a bi-encoder could not reproduce its vectors: see `plain_pooling`.

    Raises:
        UserError: The model cannot be found.
    """
    folder = config_folder(config)
    pooling = plain_pooling(folder, config.name)
    if pooling is None:
        return None
    trusted = config.trust_remote_code
    shape = AutoConfig.from_pretrained(folder, trust_remote_code=trusted)
    return None if encoder_of(shape) is None else pooling


def bi_encoder_class(shape: Any) -> Any:
    """Return a class with a head for pairs on the encoder of a configuration.

    Its folders hold the encoder under transformers' own names, with the pooling, so `AutoModel` and
    sentence-transformers load them as the encoder alone.

    Args:
        shape: The model's configuration; ``pair_pooling`` names the pooling modes.

    Raises:
        UserError: transformers has no such encoder.
    """
    encoder = encoder_of(shape)
    if encoder is None:
        raise UserError(
            f"a model of type {shape.model_type} cannot encode the texts of a pair separately",
            "encode them together: --set model.pairs=cross-encoder",
        )
    family: type[PreTrainedModel] = next(
        c for c in encoder.__mro__ if PreTrainedModel in c.__bases__
    )

    class BiEncoder(family):  # type: ignore[misc]
        """Rows 2i and 2i + 1 of the inputs are the texts of pair i.

        Attributes:
            virtual: Trained embeddings before each text (prompt tuning); they are not pooled.
        """

        # Families of several kinds (Gemma 3) have a configuration class for the whole.
        config_class = type(shape)
        virtual = 0

        def __init__(self, config: Any) -> None:
            super().__init__(config)
            setattr(self, self.base_model_prefix, _without_pooler(encoder, config))
            width = config.get_text_config().hidden_size * len(config.pair_pooling)
            # Similarity does not depend on the order of the texts; entailment does. SBERT's
            # objectives differ in the same way.
            self.ordered = config.problem_type != NUMBERS
            features = (4 if self.ordered else 2) * width + 1
            self.classifier = nn.Linear(features, config.num_labels)
            self.post_init()

        def forward(
            self,
            attention_mask: torch.Tensor,
            input_ids: torch.Tensor | None = None,
            inputs_embeds: torch.Tensor | None = None,
            **_: Any,
        ) -> SequenceClassifierOutput:
            """Return logits ``[pairs, outputs]`` of inputs ``[2 * pairs, seq]``."""
            hidden = self.base_model(
                input_ids=input_ids, attention_mask=attention_mask, inputs_embeds=inputs_embeds
            ).last_hidden_state.float()
            vectors = pool(hidden, attention_mask, self.config.pair_pooling, self.virtual)
            unit = nn.functional.normalize(vectors, dim=1).reshape(-1, 2, vectors.shape[1])
            related = relation(unit[:, 0], unit[:, 1], ordered=self.ordered)
            return SequenceClassifierOutput(logits=self.classifier(related))

        def save_pretrained(self, save_directory: str | Path, **more: Any) -> None:
            super().save_pretrained(save_directory, **more)
            width = self.config.get_text_config().hidden_size
            write_modules(Path(save_directory), self.config.pair_pooling, width)

    BiEncoder.__name__ = BiEncoder.__qualname__ = (
        f"{encoder.__name__.removesuffix('Model')}BiEncoder"
    )
    return BiEncoder


def relation(u: torch.Tensor, v: torch.Tensor, *, ordered: bool) -> torch.Tensor:
    """Return features of pairs of unit vectors ``[n, d]``: ``[n, 2 d + 1]``, or 4 d + 1.

    They are the vectors' difference and product (InferSent, Conneau et al. 2017, arXiv 1705.02364,
    section 3.1), their cosine, and if `ordered` both vectors.
    """
    cosine = (u * v).sum(dim=1, keepdim=True)
    both = [u / 2, v / 2] if ordered else []
    parts = [(u - v).abs() / 2, u * v * (math.sqrt(u.shape[1]) / 2)]
    return torch.cat([*both, *parts, _ANGLE * cosine], dim=1)


def _without_pooler(encoder: "Callable[..., Any]", config: Any) -> Any:
    # An unused pooler would still be trained by full fine-tuning.
    try:
        return encoder(config, add_pooling_layer=False)
    except TypeError:
        return encoder(config)
