"""BERT (Devlin et al. 2019, arXiv 1810.04805) in numpy, for a few texts at a time.

Loading torch and transformers takes five seconds of processor time, one text some hundredths.
Products are in fp32. Anything but plain BERT, or a damaged model, is left to transformers, which
reports what is wrong.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from tailorbird.config.schema import ModelConfig
from tailorbird.models.builtin import resolve

Arrays = Mapping[str, np.ndarray]
"""Weights by transformers' names, without the encoder's ``bert.`` prefix."""
FEW = 16
"""The number of texts that numpy processes before torch would be loaded."""
_SCALE, _POLYNOMIAL = (
    0.3275911,
    (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592),
)
_TOKENIZERS = ("BertTokenizer", "BertTokenizerFast")
_FORMATS = ("float32", "float16")


class WordPieces:
    """The tokenizer in a BERT's folder, with the calls of transformers that encoding needs."""

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        normalizer = json.loads(self._tokenizer.to_str())["normalizer"]
        # transformers rebuilds the normaliser from these settings.
        expected = {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": settings.get("tokenize_chinese_chars", True),
            "strip_accents": settings.get("strip_accents"),
            "lowercase": settings.get("do_lower_case", True),
        }
        if settings.get("tokenizer_class") not in _TOKENIZERS or normalizer != expected:
            raise ValueError("it is none of BERT's")
        self._tokenizer.no_padding()
        self.pad_token_id: int = self._tokenizer.get_vocab()[settings["pad_token"]]
        self.model_max_length = int(settings["model_max_length"])

    @property
    def tokens(self) -> int:
        """Size of the vocabulary."""
        return int(self._tokenizer.get_vocab_size())

    def __call__(
        self, *columns: Any, truncation: bool = False, max_length: int = 0, **_: Any
    ) -> dict[str, Any]:
        """Return ``input_ids`` and ``token_type_ids`` of a text or a list of texts."""
        if truncation:
            self._tokenizer.enable_truncation(max_length)
        else:
            self._tokenizer.no_truncation()
        if isinstance(columns[0], str):
            one = self._tokenizer.encode(*columns)
            return {"input_ids": one.ids, "token_type_ids": one.type_ids}
        rows: Sequence[Any] = columns[0] if len(columns) == 1 else [*zip(*columns, strict=True)]
        encodings = self._tokenizer.encode_batch(rows)
        return {
            "input_ids": [row.ids for row in encodings],
            "token_type_ids": [row.type_ids for row in encodings],
        }

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """Return the number of special tokens around a text or a pair."""
        return int(self._tokenizer.num_special_tokens_to_add(pair))


@dataclass(frozen=True)
class Bert:
    """An encoder, with or without a head.

    Attributes:
        config: The used part of `config.json`.
        weights: By name; see `Arrays`. They may include low-rank updates (with scaled B),
            bottleneck adapters and virtual tokens.
    """

    config: SimpleNamespace
    weights: Arrays

    def __post_init__(self) -> None:
        """Check that the weights match the configuration.

        Raises:
            KeyError, ValueError: They do not.
        """
        width, inner = self.config.hidden_size, self.config.intermediate_size
        square, count = (width, width), self.config.num_hidden_layers
        shapes = {
            "attention.self.query": square,
            "attention.self.key": square,
            "attention.self.value": square,
            "attention.output.dense": square,
            "intermediate.dense": (inner, width),
            "output.dense": (width, inner),
        }
        expected = {
            f"encoder.layer.{i}.{name}.weight": shape
            for i in range(count)
            for name, shape in shapes.items()
        }
        if width % self.config.num_attention_heads or any(
            self.weights[name].shape != shape for name, shape in expected.items()
        ):
            raise ValueError("its weights have other shapes")

    def get_input_embeddings(self) -> SimpleNamespace:
        """Return an object whose ``weight`` has a row per token."""
        return SimpleNamespace(weight=self.weights["embeddings.word_embeddings.weight"])

    def hidden(
        self,
        input_ids: np.ndarray,
        attention_mask: np.ndarray,
        token_type_ids: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return the hidden states ``[batch, seq, hidden]`` of token ids ``[batch, seq]``.

        Virtual tokens, if the weights have any, come first.
        """
        w = self.weights
        hidden = w["embeddings.word_embeddings.weight"][input_ids]
        types = np.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        if "prompt_embeddings" in w:
            virtual = w["prompt_embeddings"]
            before = (len(hidden), *virtual.shape)
            hidden = np.concatenate((np.broadcast_to(virtual, before), hidden), axis=1)
            types, attention_mask = (
                np.concatenate((np.full(before[:2], one, dtype=np.int64), array), axis=1)
                for one, array in ((0, types), (1, attention_mask))
            )
        hidden = hidden + w["embeddings.position_embeddings.weight"][: hidden.shape[1]]
        hidden = hidden + w["embeddings.token_type_embeddings.weight"][types]
        hidden = self._normalised(hidden, "embeddings.LayerNorm")
        mask = np.where(attention_mask, np.float32(0), np.finfo(np.float32).min)[:, None, None]
        for i in range(self.config.num_hidden_layers):
            hidden = self._layer(hidden, mask, f"encoder.layer.{i}.")
        return hidden

    def logits(self, **inputs: np.ndarray) -> np.ndarray:
        """Return a text head's logits ``[batch, outputs]`` for the inputs of `hidden`."""
        first = self.hidden(**inputs)[:, 0]
        return self._linear(np.tanh(self._linear(first, "pooler.dense")), "classifier")

    def _layer(self, hidden: np.ndarray, mask: np.ndarray, layer: str) -> np.ndarray:
        batch, length, width = hidden.shape
        heads = self.config.num_attention_heads

        def split(name: str) -> np.ndarray:
            rows = self._linear(hidden, f"{layer}attention.self.{name}")
            return rows.reshape(batch, length, heads, width // heads).transpose(0, 2, 1, 3)

        query, key, value = map(split, ("query", "key", "value"))
        scores = query @ key.transpose(0, 1, 3, 2) / math.sqrt(width // heads) + mask
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        context = (shares @ value).transpose(0, 2, 1, 3).reshape(hidden.shape)
        attended = self._linear(context, f"{layer}attention.output.dense")
        hidden = self._normalised(hidden + attended, f"{layer}attention.output.LayerNorm")
        inner = gelu(self._linear(hidden, f"{layer}intermediate.dense"))
        return self._normalised(
            hidden + self._linear(inner, f"{layer}output.dense"), f"{layer}output.LayerNorm"
        )

    def _linear(self, x: np.ndarray, name: str) -> np.ndarray:
        w = self.weights
        # Flattened, since numpy multiplies a stack of matrices one by one.
        flat = x.reshape(-1, x.shape[-1])
        product = flat @ w[f"{name}.weight"].T
        if f"{name}.lora_A.weight" in w:
            product += flat @ w[f"{name}.lora_A.weight"].T @ w[f"{name}.lora_B.weight"].T
        y: np.ndarray = product.reshape(*x.shape[:-1], -1) + w[f"{name}.bias"]
        if f"{name}.adapter.down.weight" in w:
            y = y + self._linear(
                gelu(self._linear(y, f"{name}.adapter.down")), f"{name}.adapter.up"
            )
        return y

    def _normalised(self, x: np.ndarray, name: str) -> np.ndarray:
        x = x - x.mean(axis=-1, keepdims=True)
        x /= np.sqrt((x * x).mean(axis=-1, keepdims=True) + np.float32(self.config.layer_norm_eps))
        normalised: np.ndarray = x * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]
        return normalised


def gelu(x: np.ndarray) -> np.ndarray:
    """Return ``x * Phi(x)``, the error function to 1.5e-7 (Abramowitz and Stegun 7.1.26)."""
    z = np.abs(x) * np.float32(math.sqrt(0.5))
    t = 1 / (1 + np.float32(_SCALE) * z)
    tail = np.zeros_like(t)
    for factor in _POLYNOMIAL:
        tail = (tail + np.float32(factor)) * t
    tail *= np.exp(-z * z)
    y: np.ndarray = x * np.where(x > 0, 1 - tail / 2, tail / 2)
    return y


def open_bert(
    config: ModelConfig, merged: Callable[[Arrays], Arrays] = lambda base: base
) -> tuple[Bert, WordPieces] | None:
    """Load a BERT from a local folder, with its tokenizer.

    Args:
        merged: Maps the base's weights to those to use.

    Returns:
        None if transformers must load it: an unsupported or faulty model.
    """
    if config.device not in ("auto", "cpu") or config.precision not in ("auto", "fp32"):
        return None
    folder = Path(resolve(config.name)).expanduser()
    try:
        shape = _shape(json.loads((folder / "config.json").read_text(encoding="utf-8")))
        tokenizer = WordPieces(folder)
        bert = Bert(shape, merged(read_weights(folder / "model.safetensors")))
        rows = len(bert.get_input_embeddings().weight)
    except Exception:
        return None
    return None if tokenizer.tokens > rows else (bert, tokenizer)


def _shape(plain: Mapping[str, Any]) -> SimpleNamespace:
    usual = {
        "model_type": "bert",
        "hidden_act": "gelu",
        "position_embedding_type": "absolute",
        "is_decoder": False,
    }
    shape = SimpleNamespace(**usual | {"layer_norm_eps": 1e-12} | dict(plain))
    own_code_or_bits = {"auto_map", "quantization_config"} & set(plain)
    if own_code_or_bits or any(getattr(shape, name) != value for name, value in usual.items()):
        raise ValueError("it is not a plain BERT")
    return shape


def read_weights(path: Path, wrapper: str = "") -> dict[str, np.ndarray]:
    """Return the weights of a safetensors file in fp32, without the ``bert.`` prefix.

    Args:
        wrapper: A further prefix of every name.

    Raises:
        ValueError: Their number format is unknown to numpy.
        SafetensorError, OSError: The file is damaged or missing.
    """
    from safetensors.numpy import load_file

    arrays = load_file(path)
    if any(
        array.dtype.kind == "f" and array.dtype.name not in _FORMATS for array in arrays.values()
    ):
        raise ValueError("a number format")
    return {
        name.removeprefix(wrapper).removeprefix("bert."): array.astype(np.float32, copy=False)
        for name, array in arrays.items()
        if array.dtype.kind == "f"
    }
