"""A base model with a new head for labels or numbers."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tailorbird.config.schema import ModelConfig
from tailorbird.models.device import Device
from tailorbird.models.load import Base, load_tokenizer, model_source
from tailorbird.models.weights import explain_loading, explained, hub_options, pretrained
from tailorbird.records import TASKS, Target, TaskName

if TYPE_CHECKING:
    from torch import nn


def load_classifier(
    config: ModelConfig, target: Target, device: Device, options: Mapping[str, Any] | None = None
) -> Base:
    """Return the base model with a new head, one output per label of the target.

    Raises:
        UserError: The model cannot be found, read, or used for classification.
    """
    from transformers import AutoConfig

    tokenizer = load_tokenizer(config)
    source = model_source(config)
    names = dict(enumerate(target.labels))
    with explained(config.name):
        shape = AutoConfig.from_pretrained(
            source,
            num_labels=len(names),
            id2label=names,
            label2id={label: index for index, label in names.items()},
            **hub_options(config),
        )
        shape.problem_type = TASKS[target.task].problem
        if getattr(shape, "pad_token_id", None) is None:
            shape.pad_token_id = tokenizer.pad_token_id
        kind = headed_class(shape, target)
    # fp32 unless a method overrides it: trained weights must be; frozen ones are cast later.
    usual = {"dtype": "float32", "ignore_mismatched_sizes": target.bi_encoder}
    model, info = pretrained(kind, source, config, config=shape, **usual | dict(options or {}))
    head = _new_head(info, target, config.name)
    if "quantization_config" not in (options or {}):
        model.to(device.name)
    model.config.use_cache = False
    per_word = TASKS[target.task].per_word
    return Base(model, tokenizer, config.name, head, is_decoder(model), device, per_word=per_word)


def classifier_class(task: TaskName) -> Any:
    """Return transformers' class for a task's head."""
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

    per_word = TASKS[task].per_word
    return AutoModelForTokenClassification if per_word else AutoModelForSequenceClassification


def headed_class(shape: Any, target: Target) -> Any:
    """Return the class with the right head; a bi-encoder's settings go into `shape`."""
    if not target.bi_encoder:
        return classifier_class(target.task)
    from tailorbird.models.bi_encoder import bi_encoder_class

    shape.pair_pooling = list(target.pooling)
    return bi_encoder_class(shape)


def _new_head(info: Mapping[str, Any], target: Target, name: str) -> tuple[str, ...]:
    """Return the names of the modules without weights in the checkpoint."""
    # A checkpoint may have a head of another shape, for pairs read together.
    fresh = {*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])}
    strange = sorted(key for key in fresh if not key.startswith("classifier."))
    if target.bi_encoder and strange:
        raise explain_loading(name, ValueError(f"its weights do not fit, e.g. {strange[0]}"))
    return tuple(sorted({key.rpartition(".")[0] for key in fresh}))


def is_decoder(model: "nn.Module") -> bool:
    """Return whether the model attends left to right and classifies at the last token."""
    # transformers gives every such classifier a head named `score` without pooling.
    return hasattr(model, "score")
