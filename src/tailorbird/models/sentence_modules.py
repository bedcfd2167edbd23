"""The modules after the transformer in a sentence-transformers folder: pooling, layers, prompts."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tailorbird.errors import UserError

if TYPE_CHECKING:
    import torch

_OLD_NAMES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_POOLINGS = tuple(_OLD_NAMES.values())
_FIX = "use a model of Transformer, Pooling, Dense and Normalize modules"
# Prompts in model cards but not in the folders, by name: (query, document).
_KNOWN_PROMPTS = (
    (r"e5-(?:mistral|.*instruct)", ("", "")),
    (r"(?:^|[^a-z0-9])e5-", ("query: ", "passage: ")),
    (r"bge-.*zh", ("为这个句子生成表示以用于检索相关文章：", "")),
    (r"bge-(?!m3)", ("Represent this sentence for searching relevant passages: ", "")),
    (r"nomic-embed", ("search_query: ", "search_document: ")),
    (r"mxbai-embed", ("Represent this sentence for searching relevant passages: ", "")),
)


@dataclass(frozen=True)
class Modules:
    """How a text's hidden states become one vector.

    Attributes:
        poolings: sentence-transformers' pooling modes, concatenated in its order.
        dense: Folders of the linear layers after pooling.
        include_prompt: Whether the prompt's tokens are pooled too.
        max_length: The intended maximum length in tokens; None: unspecified.
        lower: Whether texts are lower-cased first.
        query: Prompt of questions.
        document: Prompt of documents.
        plain: Prompt of other texts.
    """

    poolings: tuple[str, ...] = ("mean",)
    dense: tuple[Path, ...] = ()
    include_prompt: bool = True
    max_length: int | None = None
    lower: bool = False
    query: str = ""
    document: str = ""
    plain: str = ""


def read_modules(folder: Path, name: str) -> Modules:
    """Return the modules of a model's folder; a plain transformer is mean-pooled.

    Args:
        name: The user's name of the model; some families' prompts are known by it.

    Raises:
        UserError: The model has an unknown module.
    """
    poolings: tuple[str, ...] = ("mean",)
    include_prompt, dense = True, []
    for module in _read(folder / "modules.json", name) or []:
        part, kind = folder / module["path"], str(module["type"]).rpartition(".")[2]
        if kind == "Pooling":
            settings = _read(part / "config.json", name) or {}
            poolings = _poolings(settings, name)
            include_prompt = bool(settings.get("include_prompt", True))
        elif kind == "Dense":
            dense.append(part)
        elif kind not in ("Transformer", "Normalize"):
            raise UserError(f"embedder {name} has a module {kind}, which is not supported", _FIX)
    sizes = _read(folder / "sentence_bert_config.json", name) or {}
    own = _read(folder / "config_sentence_transformers.json", name) or {}
    prompts = dict(own.get("prompts") or {})
    # A folder may record the model's original name.
    origin = (_read(folder / "config.json", name) or {}).get("_name_or_path", "")
    query, document = _prompts(prompts, f"{name} {origin}")
    return Modules(
        poolings=poolings,
        dense=tuple(dense),
        include_prompt=include_prompt,
        max_length=sizes.get("max_seq_length"),
        lower=bool(sizes.get("do_lower_case")),
        query=query,
        document=document,
        plain=str(prompts.get(own.get("default_prompt_name") or "", "")),
    )


def plain_pooling(folder: Path, name: str) -> tuple[str, ...] | None:
    """Return the poolings of a sentence-transformers model if they alone make its vectors.

    None for a cross-encoder, for other modules than pooling, and for models with prompts.
    """
    listed = _read(folder / "modules.json", name) or []
    kinds = {str(module["type"]).rpartition(".")[2] for module in listed}
    own = _read(folder / "config_sentence_transformers.json", name) or {}
    alike = own.get("model_type", "SentenceTransformer") == "SentenceTransformer"
    if "Pooling" not in kinds or kinds - {"Transformer", "Pooling", "Normalize"} or not alike:
        return None
    modules = read_modules(folder, name)
    return None if modules.lower or modules.plain else modules.poolings


def write_modules(folder: Path, poolings: Sequence[str], width: int) -> None:
    """Write an encoder's module files: pooling, then normalisation."""
    pooling = {"word_embedding_dimension": width} | {
        key: mode in poolings for key, mode in _OLD_NAMES.items()
    }
    parts = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
    listed = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(parts)
    ]
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling, indent=2) + "\n")
    (folder / "modules.json").write_text(json.dumps(listed, indent=2) + "\n")


def _poolings(settings: dict[str, Any], name: str) -> tuple[str, ...]:
    mode = settings.get("pooling_mode")
    if mode is None:
        modes = tuple(mode for key, mode in _OLD_NAMES.items() if settings.get(key)) or ("mean",)
    else:
        modes = (mode,) if isinstance(mode, str) else tuple(mode)
    strange = [mode for mode in modes if mode not in _POOLINGS]
    if strange:
        raise UserError(f"embedder {name} pools by {strange[0]!r}, which is not supported", _FIX)
    return modes


def _prompts(prompts: dict[str, str], names: str) -> tuple[str, str]:
    """Return the prompts of queries and documents: the model's own, else its family's."""
    query = prompts.get("query") or prompts.get("s2p_query") or ""
    document = next((prompts[n] for n in ("document", "passage", "corpus") if prompts.get(n)), "")
    if query or document:
        return query, document
    for pattern, prefixes in _KNOWN_PROMPTS:
        if re.search(pattern, names.lower()):
            return prefixes
    return "", ""


def _read(path: Path, name: str) -> Any:
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(
            f"embedder {name}: {path.name} is damaged: {error}", "download it again"
        ) from None


def load_dense(folder: Path, name: str) -> "Callable[[torch.Tensor], torch.Tensor]":
    """Return a linear layer and its activation, ``[batch, in]`` to ``[batch, out]``.

    Raises:
        UserError: It has no safetensors weights, or an activation outside torch.
    """
    import torch
    from safetensors.torch import load_file

    settings = _read(folder / "config.json", name) or {}
    path = str(settings.get("activation_function", "torch.nn.modules.activation.Tanh"))
    activation = getattr(torch.nn, path.rpartition(".")[2], None)
    weights = folder / "model.safetensors"
    if activation is None or not path.startswith("torch.nn.") or settings.get("use_residual"):
        raise UserError(
            f"embedder {name}: {folder.name} ends in {path}, which is not supported", _FIX
        )
    if not weights.is_file():
        raise UserError(
            f"embedder {name}: {weights} is missing", "save the model again with safetensors"
        )
    linear = torch.nn.Linear(
        settings["in_features"], settings["out_features"], bias=settings.get("bias", True)
    )
    linear.load_state_dict(
        {key.removeprefix("linear."): value for key, value in load_file(weights).items()}
    )
    return torch.nn.Sequential(linear.float(), activation()).eval().requires_grad_(False)


def pool(
    hidden: "torch.Tensor", mask: "torch.Tensor", poolings: tuple[str, ...], skip: int = 0
) -> "torch.Tensor":
    """Return ``[batch, poolings * hidden]`` from ``hidden [batch, seq, hidden]``, padded right.

    Args:
        mask: ``[batch, seq]``, 1 for tokens.
        skip: Tokens at the beginning to leave out: the prompt's.
    """
    import torch

    counted = mask.clone()
    counted[:, :skip] = 0
    weights = counted.unsqueeze(-1).to(hidden.dtype)
    places = torch.arange(1, hidden.shape[1] + 1, device=hidden.device, dtype=hidden.dtype)
    rows = torch.arange(len(hidden), device=hidden.device)
    parts = []
    for mode in poolings:
        if mode == "cls":
            parts.append(hidden[:, min(skip, hidden.shape[1] - 1)])
        elif mode == "lasttoken":
            parts.append(hidden[rows, mask.sum(1) - 1])
        elif mode == "max":
            parts.append(hidden.masked_fill(weights == 0, float("-inf")).amax(1))
        elif mode == "weightedmean":
            heavy = weights * places[None, :, None]
            parts.append((hidden * heavy).sum(1) / heavy.sum(1).clamp(min=1e-9))
        else:
            count = weights.sum(1).clamp(min=1e-9)
            mean = mode == "mean"
            parts.append((hidden * weights).sum(1) / (count if mean else count.sqrt()))
    return torch.cat(parts, dim=1)
