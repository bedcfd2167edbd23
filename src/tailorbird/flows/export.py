"""`tailor export`: writes a run for other programs, and measures the difference."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tailorbird import log
from tailorbird.arms.registry import get_arm
from tailorbird.arms.saved_arm import saved_kind
from tailorbird.arms.trained import TunedSource
from tailorbird.config.schema import ModelConfig
from tailorbird.data.encode import Encoded, as_read
from tailorbird.errors import UserError
from tailorbird.methods.registry import get_method
from tailorbird.models.classifier import classifier_class
from tailorbird.models.device import choose
from tailorbird.models.weights import pretrained
from tailorbird.records import TASKS, Example, Score, Target
from tailorbird.runs.atomic import part_file, replace_file, writing
from tailorbird.runs.finished_run import arm_folder, run_config
from tailorbird.runs.folder import ARMS, MODEL, RunFolder
from tailorbird.runs.saved_split import load_split
from tailorbird.tasks.arm_job import is_generative
from tailorbird.tasks.head_scoring import load_target, save_target
from tailorbird.tasks.registry import generative_task, head_task

Form = Literal["merge", "onnx", "int8"]
EXPORT, MERGED, ONNX, INT8 = "export", "merged", "model.onnx", "model.int8.onnx"
DRIFTS = "export.json"
_MOST_COMPARED, _GREEDY = 1000, 16


@dataclass(frozen=True)
class _ExportFile:
    """The contents of `export.json`."""

    forms: list[dict[str, Any]]


@dataclass(frozen=True)
class Drift:
    """The difference between an exported form and the run, on the run's own test examples.

    Attributes:
        compared: The number of compared test examples.
        most: Largest difference of a probability; for generated answers, of an answer's mean loss
            in nats per token.
        changed: The number of different predicted labels, or greedy answers.
        before: The run's headline metric on them; None for generated answers.
        figure: The name of that metric.
    """

    form: Form
    file: str
    bytes: int
    compared: int
    most: float
    changed: int
    before: Score | None = None
    after: Score | None = None
    figure: str = "accuracy"


def export(
    run: str | Path, output: str | Path | None, forms: Sequence[Form], *, trust: bool = False
) -> list[Drift]:
    """Write a run in other forms, reload each, and compare it with the run.

    Args:
        run: A run folder; for a comparison, the recommended arm is exported.
        output: A new folder; None: ``export`` in the run, where earlier forms are replaced if they
            are written again.
        forms: ``merge`` (plain transformers weights), ``onnx``, ``int8`` (quantised ONNX).
        trust: Whether code that came with the run's model may run.

    Raises:
        UserError: The run has no such form, or the folder is in use.
    """
    folder = arm_folder(Path(run))
    place = RunFolder(folder.file(EXPORT) if output is None else output)
    if output is not None and place.path.exists() and not _is_empty(place.path):
        raise UserError(f"{output} is in use", "give a new folder: --output FOLDER")
    if not _is_trained(folder):
        raise UserError(
            f"{folder.path} was not trained: it has no weights to export",
            f"export {' or '.join(_trained_beside(folder)) or 'a run of full, lora or adapter'}",
        )
    with writing(place.path):
        place.path.mkdir(parents=True, exist_ok=True)
    try:
        if is_generative(folder):
            drifts = [_merge_writer(folder, place, forms, trust)]
        else:
            drifts = _export_labels(folder, place, forms, trust)
    finally:
        if _is_empty(place.path):
            place.path.rmdir()
    earlier = place.read_as(DRIFTS, _ExportFile).forms if place.file(DRIFTS).is_file() else []
    others = [entry for entry in earlier if entry.get("form") not in forms]
    entries = [asdict(drift) | {"file": Path(drift.file).name} for drift in drifts]
    place.write_json(DRIFTS, {"run": Path(run).resolve().name, "forms": others + entries})
    return drifts


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _trained_beside(folder: RunFolder) -> list[str]:
    """Return the trained arms of the same comparison."""
    arms = sorted(folder.path.parent.iterdir()) if folder.path.parent.name == ARMS else []
    return [str(arm) for arm in arms if _is_trained(RunFolder(arm))]


def _is_trained(folder: RunFolder) -> bool:
    return folder.file(MODEL).is_dir() and get_arm(saved_kind(folder).arm).trains


def _export_labels(
    folder: RunFolder, place: RunFolder, forms: Sequence[Form], trust: bool
) -> list[Drift]:
    translated = "onnx" in forms or "int8" in forms
    target = load_target(folder)
    if translated:
        # Checked before the model is loaded, so that a missing package shows at once.
        from tailorbird.models.onnx import check_installed

        check_installed()
    config = run_config(folder, trust=trust)
    tuned = TunedSource(folder, config, target)
    test = load_split(folder.run)[0].test[:_MOST_COMPARED]
    texts = tuned.encode([as_read(e) for e in test])
    pad = tuned.tokenizer.pad_token_id
    task = head_task(target.task)
    before = task.predict(tuned.model, texts, pad, tuned.device, target).logits
    compared = _Compared(target, task.truths(test, target), before)
    drifts = []
    if translated:
        drifts += _onnx(tuned, texts, compared, place, forms)
    if "merge" in forms:
        drifts.append(_merge(tuned, texts, compared, place, config.model))
    return drifts


@dataclass(frozen=True)
class _Compared:
    """The run's logits on test examples, and the true targets."""

    target: Target
    truth: np.ndarray
    before: np.ndarray

    def drift(self, form: Form, path: Path, after: np.ndarray) -> Drift:
        task = head_task(self.target.task)
        old, new = (task.outputs(logits, self.target) for logits in (self.before, after))
        size = path.stat().st_size if path.is_file() else RunFolder(path).size_bytes(".")
        return Drift(
            form, str(path), size, len(old),
            float(np.abs(old - new).max()), task.changed(old, new, self.target),
            self._quality(old), self._quality(new), TASKS[self.target.task].headline,
        )  # fmt: skip

    def _quality(self, outputs: np.ndarray) -> Score:
        task = head_task(self.target.task)
        return task.scores([outputs], self.truth, [self.target])[task.spec.headline]


def _merge(
    tuned: TunedSource, texts: Encoded, compared: _Compared, place: RunFolder, model: ModelConfig
) -> Drift:
    merged: Any = tuned.method.merge(tuned.model)
    with place.new_folder(MERGED) as folder:
        merged.save_pretrained(folder)
        tuned.tokenizer.save_pretrained(folder)
    path = place.file(MERGED)
    kind = type(merged) if tuned.target.bi_encoder else classifier_class(tuned.target.task)
    again = _loaded(kind, path, model).to(tuned.device.name).eval()
    pad = tuned.tokenizer.pad_token_id
    after = (
        head_task(tuned.target.task).predict(again, texts, pad, tuned.device, tuned.target).logits
    )
    return compared.drift("merge", path, after)


def _onnx(
    tuned: TunedSource, texts: Encoded, compared: _Compared, place: RunFolder, forms: Sequence[Form]
) -> list[Drift]:
    from tailorbird.models.onnx import INPUTS, SEGMENTS, OnnxClassifier, quantise, write_onnx

    target, pad, device = tuned.target, tuned.tokenizer.pad_token_id, choose("cpu", "fp32")

    def save(form: Form, part: Path, name: str) -> Drift:
        """Evaluate the written form, then rename it to its final name."""
        again = head_task(target.task).predict(OnnxClassifier(part), texts, pad, device, target)
        return compared.drift(form, replace_file(part, place.file(name)), again.logits)

    drifts = []
    with writing(place.path):
        plain, small = part_file(place.file(ONNX)), part_file(place.file(INT8))
    log.say("translating the model to ONNX ...")
    try:
        with writing(place.path):
            # Single texts have segments of 0 only, which are a model's default.
            segments = any(kinds.any() for kinds in texts.segments or ())
            names = (*INPUTS, SEGMENTS) if segments else INPUTS
            rows = 2 if target.bi_encoder else 1
            write_onnx(tuned.model.float().cpu().eval(), names, plain, rows)
            tokenizer = deepcopy(tuned.tokenizer)
            tokenizer.model_input_names = list(names)  # inputs, here and when reloaded
            tokenizer.init_kwargs["model_input_names"] = tokenizer.model_input_names
            tokenizer.save_pretrained(place.path)
            save_target(place, target)
            if "int8" in forms:
                quantise(plain, small)
                drifts.append(save("int8", small, INT8))
            if "onnx" in forms:
                drifts.insert(0, save("onnx", plain, ONNX))
    finally:
        plain.unlink(missing_ok=True)
        small.unlink(missing_ok=True)
    return drifts


def _merge_writer(folder: RunFolder, place: RunFolder, forms: Sequence[Form], trust: bool) -> Drift:
    from transformers import AutoModelForCausalLM

    from tailorbird.arms.generative_predictor import open_tuned
    from tailorbird.tasks.generative_scoring import token_losses

    if set(forms) != {"merge"}:
        raise UserError(
            "ONNX export supports only models of labels and numbers",
            "export the merged weights (--merge): vLLM, llama.cpp and transformers load them",
        )
    split = load_split(folder.run)[0]
    answering = open_tuned(folder, trust=trust)
    tokenizer, limit, config = answering.tokenizer, answering.limit, answering.config
    tokens = generative_task(split.task).encode(split.test, tokenizer, limit, config.data.too_long)
    tokens = tokens.take(np.arange(min(_MOST_COMPARED, len(tokens))))
    prompts = _prompts(split.test, tokenizer)
    old, before = token_losses(answering, tokens), answering.check(prompts, limit)
    merged: Any = get_method(config.method.name).merge(answering.model)
    with place.new_folder(MERGED) as into:
        merged.save_pretrained(into)
        tokenizer.save_pretrained(into)
    path = place.file(MERGED)
    again = _loaded(AutoModelForCausalLM, path, config.model)
    plain = replace(answering, model=again.to(answering.device.name).eval())
    new, says = token_losses(plain, tokens), plain.check(prompts, limit)
    apart = np.abs(old.loss_sums - new.loss_sums) / np.maximum(1, old.counts)
    changed = sum(a != b for a, b in zip(before, says, strict=True))
    return Drift(
        "merge", str(path), place.size_bytes(MERGED), len(tokens), float(apart.max()), changed
    )


def _loaded(kind: Any, path: Path, model: ModelConfig) -> Any:
    """Load a merged model as other programs do."""
    source = ModelConfig(name=str(path), trust_remote_code=model.trust_remote_code)
    return pretrained(kind, path, source, dtype="float32")[0]


def _prompts(test: Sequence[Example], tokenizer: Any) -> list[np.ndarray]:
    from tailorbird.data.encode_chat import encode_prompts

    chats = [e for e in test if e.messages][:_GREEDY]
    return encode_prompts(chats, tokenizer) if chats else []
