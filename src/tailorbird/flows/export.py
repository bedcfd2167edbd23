"""`tailor export`: a run -> a folder that other programs load, and by how much it differs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tailorbird import log
from tailorbird.config import load_config
from tailorbird.data.encode import Encoded, as_read
from tailorbird.data.truths import truths
from tailorbird.errors import UserError
from tailorbird.flows.arm import max_length
from tailorbird.flows.load import Tuned, arm_folder
from tailorbird.flows.reading import asked
from tailorbird.flows.scoring import load_target, save_target
from tailorbird.flows.tasks import TOOLS
from tailorbird.methods import get_method
from tailorbird.models.device import choose
from tailorbird.records import KINDS, Example, Score, Target
from tailorbird.runs.folder import CONFIG, MODEL, TASK, RunFolder, writing
from tailorbird.runs.split import load_split

Form = Literal["merge", "onnx", "int8"]
ONNX, INT8, TOLD = "model.onnx", "model.int8.onnx", "export.json"
_MOST_COMPARED, _GREEDY = 1000, 16


@dataclass(frozen=True)
class Drift:
    """How what was written answers differently from the run, on the run's own test examples.

    Attributes:
        form: ``merge``, ``onnx`` or ``int8``.
        file: What was written.
        bytes: Its size.
        compared: Test examples that both answered.
        most: Largest difference of a probability; of written answers, of an answer's mean loss in
            nats per token.
        changed: How many predicted labels, or greedy answers, differ.
        before: The run's headline metric on them; None of written answers.
        after: The same of what was written.
        figure: Which metric that is.
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


def export(run: str | Path, output: str | Path, forms: Sequence[Form]) -> list[Drift]:
    """Write a run in other forms and compare each, loaded again, with the run.

    Args:
        run: A run folder, or of a comparison the recommended arm is taken.
        output: A new folder.
        forms: ``merge`` (plain transformers weights), ``onnx``, ``int8`` (quantised ONNX).

    Raises:
        UserError: The run has no such form, or the folder is in use.
    """
    folder, output = arm_folder(Path(run)), Path(output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"{output} is in use", "give a new folder: --output FOLDER")
    if not (folder.file(MODEL).is_dir() and _is_trained(folder)):
        raise UserError(
            f"{folder.path} was not trained: it has no weights to export",
            "export a run of full, lora, qlora, adapter or prompt",
        )
    with writing(output):
        output.mkdir(parents=True, exist_ok=True)
    if folder.file(TASK).is_file():
        found = [_merge_writer(folder, output, forms)]
    else:
        found = _export_labels(folder, output, forms)
    RunFolder(output).write_json(TOLD, {"run": str(run), "forms": [asdict(d) for d in found]})
    return found


def _is_trained(folder: RunFolder) -> bool:
    made = ("majority.json", "probe.json", "rag.json", "mix.json", "prompted.json")
    return not any((folder.file(MODEL) / name).is_file() for name in made)


def _export_labels(folder: RunFolder, output: Path, forms: Sequence[Form]) -> list[Drift]:
    translated = "onnx" in forms or "int8" in forms
    target = load_target(folder)
    if translated:
        # Before the model is loaded and asked: what is missing is missing at once.
        from tailorbird.models.onnx import check_installed

        check_installed()
    tuned = Tuned(folder, load_config(folder.file(CONFIG)), target)
    test = load_split(folder.run)[0].test[:_MOST_COMPARED]
    texts = tuned.encode([as_read(e) for e in test])
    pad = tuned.tokenizer.pad_token_id
    before = asked(target, tuned.model, texts, pad, tuned.device).logits
    compared = _Compared(target, truths(test, target), before)
    found = []
    if translated:
        found += _onnx(tuned, texts, compared, output, forms)
    if "merge" in forms:
        found.append(_merge(tuned, texts, compared, output))
    return found


@dataclass(frozen=True)
class _Compared:
    """The run's logits on test examples, and what is right there."""

    target: Target
    truth: np.ndarray
    before: np.ndarray

    def drift(self, form: Form, path: Path, after: np.ndarray) -> Drift:
        tools = TOOLS[self.target.task]
        old, new = (tools.outputs(logits, self.target) for logits in (self.before, after))
        size = path.stat().st_size if path.is_file() else RunFolder(path).size_bytes(".")
        return Drift(
            form, str(path), size, len(old),
            float(np.abs(old - new).max()), tools.changed(old, new, self.target),
            self._quality(old), self._quality(new), KINDS[self.target.task].headline,
        )  # fmt: skip

    def _quality(self, outputs: np.ndarray) -> Score:
        kind = KINDS[self.target.task]
        return TOOLS[self.target.task].scores([outputs], self.truth, [self.target])[kind.headline]


def _merge(tuned: Tuned, texts: Encoded, compared: _Compared, output: Path) -> Drift:
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

    kind: Any = AutoModelForSequenceClassification
    if KINDS[tuned.target.task].per_word:
        kind = AutoModelForTokenClassification
    place = output / "merged"
    merged: Any = tuned.method.merge(tuned.model)
    with writing(place):
        merged.save_pretrained(place)
        tuned.tokenizer.save_pretrained(place)
    again = kind.from_pretrained(place).to(tuned.device.name).eval()
    pad = tuned.tokenizer.pad_token_id
    after = asked(tuned.target, again, texts, pad, tuned.device).logits
    return compared.drift("merge", place, after)


def _onnx(
    tuned: Tuned, texts: Encoded, compared: _Compared, output: Path, forms: Sequence[Form]
) -> list[Drift]:
    from tailorbird.models.onnx import INPUTS, SEGMENTS, OnnxClassifier, quantise, write_onnx

    target, pad, device = tuned.target, tuned.tokenizer.pad_token_id, choose("cpu", "fp32")
    found = []
    tuned.tokenizer.save_pretrained(output)
    save_target(RunFolder(output), target)

    def answers(path: Path) -> np.ndarray:
        return asked(target, OnnxClassifier(path), texts, pad, device).logits

    path = output / ONNX
    log.say("translating the model to ONNX ...")
    with writing(path):
        names = INPUTS if texts.segments is None else (*INPUTS, SEGMENTS)
        write_onnx(tuned.model.float().cpu().eval(), names, path)
    if "onnx" in forms:
        found.append(compared.drift("onnx", path, answers(path)))
    if "int8" in forms:
        small = output / INT8
        with writing(small):
            quantise(path, small)
        found.append(compared.drift("int8", small, answers(small)))
        if "onnx" not in forms:
            path.unlink()
    return found


def _merge_writer(folder: RunFolder, output: Path, forms: Sequence[Form]) -> Drift:
    from transformers import AutoModelForCausalLM

    from tailorbird.flows.answering import Answering
    from tailorbird.flows.load_writing import open_tuned
    from tailorbird.flows.paper import encode_test

    if set(forms) != {"merge"}:
        raise UserError(
            "ONNX is offered for models that answer with labels",
            "export the merged weights (--merge): vLLM, llama.cpp and transformers load them",
        )
    split = load_split(folder.run)[0]
    base, model, config = open_tuned(folder)
    method = get_method(config.method.name)
    limit = max_length(config, base, method)
    answering = Answering(model.eval(), base.tokenizer, base.device, limit, config)
    tokens = encode_test(split, base.tokenizer, limit, config)
    tokens = tokens.take(np.arange(min(_MOST_COMPARED, len(tokens))))
    prompts = _prompts(split.test, base.tokenizer)
    old, said = answering.losses(tokens), answering.check(prompts, limit)
    place = output / "merged"
    merged: Any = method.merge(model)
    with writing(place):
        merged.save_pretrained(place)
        base.tokenizer.save_pretrained(place)
    again = AutoModelForCausalLM.from_pretrained(place, dtype="float32")
    plain = Answering(again.to(base.device.name).eval(), base.tokenizer, base.device, limit, config)
    new, says = plain.losses(tokens), plain.check(prompts, limit)
    apart = np.abs(old.loss_sums - new.loss_sums) / np.maximum(1, old.counts)
    changed = sum(a != b for a, b in zip(said, says, strict=True))
    size = RunFolder(place).size_bytes(".")
    return Drift("merge", str(place), size, len(tokens), float(apart.max()), changed)


def _prompts(test: Sequence[Example], tokenizer: Any) -> list[np.ndarray]:
    from tailorbird.data.supervise import encode_prompts

    asked = [e for e in test if e.messages][:_GREEDY]
    return encode_prompts(asked, tokenizer) if asked else []
