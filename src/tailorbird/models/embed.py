"""Embeds texts as unit vectors."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from tailorbird import log
from tailorbird.config.schema import ModelConfig
from tailorbird.data.encode import Encoded, collate, encode, token_batches
from tailorbird.models.bf16_linear import shrink_frozen
from tailorbird.models.builtin import resolve
from tailorbird.models.device import Device, choose, on_each_core
from tailorbird.models.generation_inputs import check_ids
from tailorbird.models.load import length_limit, load_tokenizer
from tailorbird.models.numpy_bert import Bert, WordPieces, open_bert
from tailorbird.models.sentence_modules import load_dense, pool, read_modules
from tailorbird.models.weights import explain_loading, pretrained

# Activations of this many tokens fit a core's caches: 81 GFLOP/s against 64 for 8,192.
_TOKENS_PER_BATCH = {"cpu": 1024}
_TOKENS_PER_BATCH_GPU = 32_768
_LONGEST = 8192
DEFAULT_EMBEDDER = "builtin:minilm"


def choose_embedder(name: str | None, model: ModelConfig) -> ModelConfig:
    """Return the embedder: `name`, the base model if it is an embedder, or the builtin."""
    if name:
        return ModelConfig(name=name, device=model.device, precision=model.precision)
    folder = Path(resolve(model.name)).expanduser()
    if (folder / "modules.json").is_file():
        return model
    return ModelConfig(name=DEFAULT_EMBEDDER, device=model.device, precision=model.precision)


@dataclass(frozen=True)
class Embedded:
    """Unit vectors ``[n, dimension]`` float32, and their cost."""

    vectors: np.ndarray
    seconds: float


class Embedder:
    """A sentence-transformers model, run with transformers or numpy.

    Args:
        bert: The same model and its tokenizer in numpy; see `open_embedder`.

    Attributes:
        max_length: Maximum input length in tokens; longer texts are truncated.
    """

    def __init__(
        self, config: ModelConfig, device: Device, bert: tuple[Bert, WordPieces] | None = None
    ) -> None:
        self.name, self.device = config.name, device
        self._by_numpy = bert is not None
        self.model: Any
        self.tokenizer: Any
        self.model, self.tokenizer = bert or (None, load_tokenizer(config))
        # Truncation changes the tokenizer's state.
        self._encoding = Lock()
        folder = _folder(config)
        self.modules = read_modules(folder, config.name)
        self.fingerprint = fingerprint(folder)
        if not self._by_numpy:
            self._load(folder, config)
        self._dense: list[Any] = [load_dense(path, config.name) for path in self.modules.dense]
        for layer in self._dense:
            layer.to(device.name)
        limit = min(length_limit(self.tokenizer, self.model.config), _LONGEST)
        self.max_length = min(self.modules.max_length or 512, limit)
        self.dimension = self._dimension()

    def _load(self, folder: Path, config: ModelConfig) -> None:
        from transformers import AutoModel

        self.model = pretrained(AutoModel, folder, config, dtype="float32")[0]
        self.model.to(self.device.name).eval().requires_grad_(False)
        shrink_frozen(self.model, self.device)

    def embed(self, texts: Sequence[str], title: str = "", prompt: str | None = None) -> Embedded:
        """Return one unit vector per text, in order.

        Args:
            texts: The texts; longer ones than the model reads are truncated.
            title: Title of the progress bar; empty: no bar.
            prompt: Prefix of each text; None: the model's default prompt.
        """
        started = time.perf_counter()
        before = self.modules.plain if prompt is None else prompt
        with self._encoding:
            encoded = self._encode(texts, before)
            skip = 0 if self.modules.include_prompt or not before else self._prompt_tokens(before)
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        most = _TOKENS_PER_BATCH.get(self.device.kind, _TOKENS_PER_BATCH_GPU)
        batches = token_batches(encoded.lengths, most)
        total = int(encoded.lengths.sum())
        # Counted in tokens, since long texts come first.
        with log.quiet_progress(title, total, "tokens") as bar:
            for indices, rows in self._all(encoded, batches, skip):
                vectors[indices] = rows
                bar.advance(int(encoded.lengths[indices].sum()))
        return Embedded(vectors, time.perf_counter() - started)

    def embed_queries(self, questions: Sequence[str], title: str = "") -> Embedded:
        """Return the vectors of questions, with the model's query prompt."""
        return self.embed(questions, title, self.modules.query or None)

    def embed_documents(self, texts: Sequence[str], title: str = "") -> Embedded:
        """Return the vectors of documents, with the model's document prompt."""
        return self.embed(texts, title, self.modules.document or None)

    def _encode(self, texts: Sequence[str], prompt: str) -> Encoded:
        inputs = [prompt + text for text in texts] if prompt else texts
        if self.modules.lower:
            inputs = [text.lower() for text in inputs]
        encoded = encode(inputs, self.tokenizer, self.max_length)
        check_ids(self.model, encoded.ids)
        return encoded

    def _prompt_tokens(self, prompt: str) -> int:
        ids = self.tokenizer(prompt)["input_ids"]
        ends = {self.tokenizer.sep_token_id, self.tokenizer.eos_token_id}
        return len(ids) - bool(ids and ids[-1] in ends)

    def _all(
        self, encoded: Encoded, batches: list[np.ndarray], skip: int
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield each batch's indices and vectors."""
        if self._by_numpy:
            return ((indices, self._numpy_vectors(encoded, indices)) for indices in batches)
        rows = on_each_core(
            self.device, lambda indices: self._vectors(encoded, indices, skip), batches
        )
        return zip(batches, rows, strict=True)

    def _vectors(self, encoded: Encoded, indices: np.ndarray, skip: int) -> np.ndarray:
        """Return the unit vectors ``[batch, dimension]`` of some texts."""
        import torch

        arrays = collate(encoded, indices, self.tokenizer.pad_token_id)
        inputs = {k: torch.from_numpy(v).to(self.device.name) for k, v in arrays.items()}
        with torch.inference_mode():
            with self.device.autocast():
                hidden = self.model(**inputs).last_hidden_state.float()
            vectors = pool(hidden, inputs["attention_mask"], self.modules.poolings, skip)
            for layer in self._dense:
                vectors = layer(vectors)
            vectors = torch.nn.functional.normalize(vectors, dim=1)
            array: np.ndarray = vectors.cpu().numpy()
        return array

    def _numpy_vectors(self, encoded: Encoded, indices: np.ndarray) -> np.ndarray:
        """Return the same as `_vectors`, for mean or first-token pooling."""
        arrays = collate(encoded, indices, self.tokenizer.pad_token_id)
        hidden = self.model.hidden(**arrays)
        rows = hidden[:, 0]
        if self.modules.poolings == ("mean",):
            weights = arrays["attention_mask"][..., None].astype(np.float32)
            rows = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
        vectors: np.ndarray = rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-12)
        return vectors

    def _dimension(self) -> int:
        if self._dense:
            return int(self._dense[-1][0].out_features)
        shape = self.model.config
        shape = shape if self._by_numpy else shape.get_text_config()
        return int(shape.hidden_size) * len(self.modules.poolings)


def open_embedder(config: ModelConfig, few: bool = False) -> Embedder:
    """Return an embedder.

    Args:
        config: The model, its device and number format.
        few: Only few texts at a time will be embedded: torch is not loaded if numpy suffices.
    """
    if few and (bert := open_bert(config)) is not None:
        modules = read_modules(_folder(config), config.name)
        if modules.poolings in _NUMPY_POOLINGS and not modules.dense and modules.include_prompt:
            return Embedder(config, Device("cpu", "fp32", "cpu in fp32 (few texts)"), bert)
    return Embedder(config, choose(config.device, config.precision))


_NUMPY_POOLINGS = (("mean",), ("cls",))


class VectorCache:
    """A cache of vectors: each text is embedded once.

    Args:
        embed: Maps texts to unit vectors ``[n, dimension]``.
    """

    def __init__(self, embed: Callable[[Sequence[str]], np.ndarray], most: int = 20_000) -> None:
        self._embed, self._most = embed, most
        self._vectors: dict[str, np.ndarray] = {}

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Return one vector per text, in order."""
        if len(self._vectors) + len(texts) > self._most:
            self._vectors = {}
        vectors = self._vectors  # another thread may reset the cache
        new = [text for text in dict.fromkeys(texts) if text not in vectors]
        if new:
            vectors.update(zip(new, self._embed(new), strict=True))
        return np.stack([vectors[text] for text in texts])


def fingerprint(folder: Path) -> str:
    """Return 32 hex digits that identify a model's weights, settings and tokenizer.

    README and location do not count, since a copy embeds alike.
    """
    kinds = {".safetensors", ".bin", ".json", ".txt", ".model"}
    files = (path for path in folder.rglob("*") if path.suffix in kinds and path.is_file())
    whole = hashlib.sha256()
    for path in sorted(files):
        with path.open("rb") as file:
            read = hashlib.file_digest(file, "sha256").hexdigest()
        whole.update(f"{path.relative_to(folder).as_posix()} {read}\n".encode())
    return whole.hexdigest()[:32]


def _folder(config: ModelConfig) -> Path:
    """Return the folder of a model, downloaded from the hub if it is not local."""
    local = Path(resolve(config.name)).expanduser()
    if local.is_dir():
        return local
    from huggingface_hub import snapshot_download

    # Weights of other frameworks are not downloaded.
    patterns = ["*.json", "*.txt", "*.model", "*.safetensors", "*.py"]
    try:
        return Path(
            snapshot_download(config.name, revision=config.revision, allow_patterns=patterns)
        )
    except Exception as error:
        raise explain_loading(config.name, error) from error
