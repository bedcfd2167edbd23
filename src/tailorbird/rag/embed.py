"""Texts into unit vectors."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tailorbird import log
from tailorbird.config.schema import ModelConfig
from tailorbird.data.batch import collate, token_batches
from tailorbird.data.encode import encode
from tailorbird.models.builtin import resolve
from tailorbird.models.device import Device
from tailorbird.models.load import explain_loading, length_limit, load_tokenizer

_TOKENS_PER_BATCH = 4096
DEFAULT_EMBEDDER = "builtin:minilm"


def choose_embedder(asked: str | None, model: ModelConfig) -> ModelConfig:
    """Return the model to embed with: `asked`, the base model if made for it, or the builtin."""
    if asked:
        return ModelConfig(name=asked, device=model.device, precision=model.precision)
    folder = Path(resolve(model.name)).expanduser()
    if (folder / "modules.json").is_file():
        return model
    return ModelConfig(name=DEFAULT_EMBEDDER, device=model.device, precision=model.precision)


@dataclass(frozen=True)
class Embedded:
    """Unit vectors ``[n, dimension]`` float32, and what they took."""

    vectors: np.ndarray
    seconds: float


class Embedder:
    """A sentence-transformers model, read with transformers: mean or first-token pooling."""

    def __init__(self, config: ModelConfig, device: Device) -> None:
        from transformers import AutoModel

        self.name, self.device = config.name, device
        self.tokenizer = load_tokenizer(config)
        folder = resolve(config.name)
        try:
            self.model: Any = AutoModel.from_pretrained(folder, dtype="float32")
        except Exception as error:
            raise explain_loading(config.name, error) from error
        self.model.to(device.name).eval()
        self.first_token = _pools_first_token(Path(folder))
        self.max_length = min(length_limit(self.tokenizer, self.model.config), 512)

    def embed(self, texts: Sequence[str], title: str = "") -> Embedded:
        """Return one unit vector per text, in order.

        Args:
            texts: What to embed; longer ones than the model reads are cut.
            title: Shown with a progress bar when not empty.
        """
        import torch

        started = time.perf_counter()
        encoded = encode(texts, self.tokenizer, self.max_length)
        vectors = np.zeros((len(texts), self.model.config.hidden_size), dtype=np.float32)
        pad = self.tokenizer.pad_token_id
        with log.quiet_progress(title, len(texts), "texts") as bar:
            for indices in token_batches(encoded.lengths, _TOKENS_PER_BATCH):
                arrays = collate(encoded, indices, pad)
                inputs = {k: torch.from_numpy(v).to(self.device.name) for k, v in arrays.items()}
                with torch.inference_mode(), self.device.autocast():
                    hidden = self.model(**inputs).last_hidden_state.float()
                vectors[indices] = self._pool(hidden, inputs["attention_mask"]).cpu().numpy()
                bar.advance(len(indices))
        return Embedded(vectors, time.perf_counter() - started)

    def _pool(self, hidden: Any, mask: Any) -> Any:
        """Return ``[batch, dimension]`` unit vectors from ``hidden [batch, seq, dimension]``."""
        import torch

        if self.first_token:
            pooled = hidden[:, 0]
        else:
            weights = mask.unsqueeze(-1).float()
            pooled = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)
        return torch.nn.functional.normalize(pooled, dim=1)


def _pools_first_token(folder: Path) -> bool:
    settings = folder / "1_Pooling" / "config.json"
    if not settings.is_file():
        return False
    return bool(json.loads(settings.read_text()).get("pooling_mode_cls_token"))
