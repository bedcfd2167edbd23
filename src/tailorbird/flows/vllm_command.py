"""Returns the command that serves a trained run with vLLM, and completes the run's folder for it.

vLLM's requirements are taken from its sources (`vllm/lora/peft_helper.py`, `vllm/config/lora.py`,
`vllm/model_executor/models/registry.py`); nothing here runs it.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tailorbird.arms.registry import get_arm
from tailorbird.arms.saved_arm import saved_kind
from tailorbird.config.method import method_spec
from tailorbird.errors import Faults, UserError
from tailorbird.flows.export import EXPORT, MERGED
from tailorbird.models.builtin import resolve
from tailorbird.records import TASKS
from tailorbird.runs.checked_files import read_as
from tailorbird.runs.finished_run import arm_folder, run_config
from tailorbird.runs.folder import MODEL, RunFolder
from tailorbird.tasks.arm_job import is_generative
from tailorbird.tasks.head_scoring import load_target

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Allowed values of `--max-lora-rank`."""
_LOW_RANK = ("lora", "qlora")
_HEADS = ("Bert", "Roberta", "XLMRoberta", "ModernBert", "GteNew")
"""Encoders with classifiers in vLLM; those of decoders are converted."""


@dataclass(frozen=True)
class VllmCommand:
    """The command that serves a run with vLLM.

    Attributes:
        notes: Differences of its answers, and steps to take.
    """

    words: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _AdapterFile:
    """The part of `adapter_config.json` that vLLM reads."""

    r: int
    bias: str = "none"
    use_dora: bool = False
    modules_to_save: list[str] | None = None
    rank_pattern: dict[str, int] | None = None


def vllm_command(run: str | Path, *, trust: bool = False) -> VllmCommand:
    """Return the command that serves a run with vLLM.

    Args:
        run: A run folder; for a comparison, the recommended arm.
        trust: Whether code that came with the run's model may run.

    Raises:
        UserError: It is untrained, vLLM does not support it, or files are missing.
    """
    folder = arm_folder(Path(run))
    if not get_arm(saved_kind(folder).arm).trains:
        raise UserError(
            f"{folder.path} was not trained: vLLM has nothing to load",
            "serve it by `tailor serve`, or give a run of full, lora or qlora",
        )
    config = run_config(folder, trust=trust)
    method, merged = config.method.name, RunFolder(folder.file(EXPORT)).file(MERGED)
    place = merged if merged.is_dir() else folder.file(MODEL)
    if method in _LOW_RANK and place != merged and is_generative(folder):
        return _adapter(folder, config.model.name, method, trust)
    if not method_spec(method).trains_all and place != merged:
        raise UserError(
            f"{folder.path} was tuned by {method}, which vLLM does not load",
            f"write whole weights first: tailor export {folder.path} --merge"
            if method in _LOW_RANK
            else "tune by lora, qlora or full, or serve it by `tailor serve`",
        )
    return _whole(folder, place, trust)


def _adapter(folder: RunFolder, base: str, method: str, trust: bool) -> VllmCommand:
    """Return the command for a base with a LoRA adapter beside it."""
    place, faults = folder.file(MODEL), Faults()
    adapter = read_as(place / "adapter_config.json", _AdapterFile)
    merge = f"write whole weights first: tailor export {folder.path} --merge"
    if adapter.use_dora:
        faults.add("vLLM does not load DoRA adapters", merge)
    if adapter.modules_to_save:
        names = ", ".join(adapter.modules_to_save)
        faults.add(f"the adapter holds whole layers ({names}), which vLLM refuses", merge)
    if adapter.bias != "none":
        faults.add("the adapter trained biases, which vLLM does not load", merge)
    rank = max([adapter.r, *(adapter.rank_pattern or {}).values()])
    fitting = [size for size in RANKS if size >= rank]
    if not fitting:
        faults.add(f"rank {rank} is more than vLLM's maximum of {RANKS[-1]}", merge)
    if not (place / "adapter_model.safetensors").is_file():
        faults.add(f"{place} has no adapter_model.safetensors", "train the run again")
    faults.raise_if_any()
    words = ["vllm", "serve", resolve(base), "--enable-lora", "--max-lora-rank", str(fitting[0])]
    words += ["--lora-modules", f"{_name(folder)}={place}"]
    notes = [
        f"clients ask for the model {_name(folder)}; the base's own name gives the untuned base"
    ]
    if (place / "tokenizer_config.json").is_file():
        words += ["--tokenizer", str(place)]
    if method_spec(method).quantises:
        notes.append(
            "it was trained on a 4-bit base: --quantization bitsandbytes loads the base likewise"
        )
    return VllmCommand((*words, *_trust(trust)), (*notes, *_chat_note(place)))


def _whole(folder: RunFolder, place: Path, trust: bool) -> VllmCommand:
    """Return the command for a folder with all weights."""
    faults = Faults()
    fix = f"write them again: tailor export {folder.path} --merge"
    if not (place / "config.json").is_file():
        faults.add(f"{place} has no config.json", fix)
    if not any(place.glob("*.safetensors")):
        faults.add(f"{place} has no weights (*.safetensors)", fix)
    if not any((place / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json")):
        faults.add(f"{place} has no tokenizer", fix)
    faults.raise_if_any()
    words = ["vllm", "serve", str(place), "--served-model-name", _name(folder)]
    if is_generative(folder):
        return VllmCommand((*words, *_trust(trust)), _chat_note(place))
    target = load_target(folder)
    if target.bi_encoder:
        raise UserError(
            f"{folder.path} encodes the texts of a pair separately, which vLLM does not support",
            "serve it by `tailor serve`",
        )
    kind: Any = read_as(place / "config.json", dict[str, Any]).get("architectures") or [""]
    notes = []
    family = re.match(r"(.*)For(Sequence|Token)Classification", str(kind[0]))
    if family is None or family[1] not in _HEADS:
        notes.append(
            f"vLLM reports when it starts whether it supports {kind[0]}: older versions do not"
        )
    if TASKS[target.task].problem == "multi_label_classification":
        notes.append("its /classify gives one label and does not apply this run's label thresholds")
    if target.mean:
        notes.append("numbers come standardised: value = mean + deviation x output (target.json)")
    return VllmCommand((*words, "--runner", "pooling", *_trust(trust)), tuple(notes))


def _name(folder: RunFolder) -> str:
    return folder.path.resolve().name


def _trust(trust: bool) -> tuple[str, ...]:
    return ("--trust-remote-code",) if trust else ()


def _chat_note(place: Path) -> tuple[str, ...]:
    """Return a note if chats are unavailable: vLLM needs a chat template and has no default."""
    settings = place / "tokenizer_config.json"
    inside = settings.is_file() and "chat_template" in read_as(settings, dict[str, Any])
    if inside or (place / "chat_template.jinja").is_file():
        return ()
    return (
        "its tokenizer has no chat template: /v1/completions works, chats need --chat-template",
    )
