"""Prompt tuning (Lester et al. 2021, arXiv 2104.08691) by PEFT: trained tokens before the text."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tailorbird.config.schema import Config
from tailorbird.errors import UserError
from tailorbird.methods.base import no_merge
from tailorbird.methods.peft_folder import PeftMethod, load_peft, more_head, peft_task
from tailorbird.models.bf16_linear import shrink_frozen
from tailorbird.models.builtin import resolve
from tailorbird.models.load import Base, hub_name

if TYPE_CHECKING:
    import torch
    from torch import nn


class PromptTuning(PeftMethod):
    """Trains the embeddings of virtual tokens, and the head."""

    def attach(self, base: Base, config: Config) -> "nn.Module":
        """Put the virtual tokens before the text; see `Method.attach`."""
        from peft import PromptTuningConfig, get_peft_model

        options = self.options(config.method)
        start: dict[str, Any] = {"prompt_tuning_init": "SAMPLE_VOCAB"}
        text = options["init_text"]
        if text is not None:
            if not text.strip():
                raise UserError("method.init_text is empty", "give words, or leave it out")
            start = {
                "prompt_tuning_init": "TEXT",
                "prompt_tuning_init_text": text,
                "tokenizer_name_or_path": resolve(config.model.name),
                "tokenizer_kwargs": {"trust_remote_code": config.model.trust_remote_code},
            }
        # Set here, since PEFT does not know every family's layout (DistilBERT's, for one).
        shape: Any = base.model.config.get_text_config()  # type: ignore[union-attr, operator]
        embeddings: Any = base.model.get_input_embeddings()  # type: ignore[operator]
        prompt = PromptTuningConfig(
            task_type=peft_task(base),
            num_virtual_tokens=options["virtual_tokens"],
            token_dim=embeddings.embedding_dim,
            num_layers=shape.num_hidden_layers,
            num_attention_heads=shape.num_attention_heads,
            modules_to_save=more_head(base),
            **start,
        )
        model: nn.Module = get_peft_model(base.model, prompt)
        prompt.base_model_name_or_path = hub_name(base.name)
        prompt.tokenizer_name_or_path = hub_name(base.name)
        prompt.tokenizer_kwargs = None  # decided again on loading
        return _ready(model, base)

    def load(self, base: Base, folder: Path) -> "nn.Module":
        """Load a PEFT folder."""
        return _ready(load_peft(base, folder, "PROMPT_TUNING"), base).eval()

    def merge(self, model: "nn.Module") -> "nn.Module":
        """Raise: virtual tokens are input, not weights."""
        raise no_merge("prompt tuning", "its virtual tokens are part of the input")


METHOD = PromptTuning("prompt")


def _ready(model: "nn.Module", base: Base) -> "nn.Module":
    shrink_frozen(model, base.device)
    _read_last_real_token(model, base)
    if hasattr(base.model, "virtual"):  # a bi-encoder pools the texts
        base.model.virtual = model.active_peft_config.num_virtual_tokens  # type: ignore[union-attr]
    return model


def _read_last_real_token(model: "nn.Module", base: Base) -> None:
    """Make a decoder classify at the last real token instead of the last position.

    transformers finds padding in ``input_ids``, but PEFT passes embeddings. The classifier would
    then read the last position of every row, which is padding in all but the longest, so
    predictions would depend on the rest of the batch.
    """
    if not base.is_decoder or base.generates or base.per_word:
        return
    ends: list[torch.Tensor] = []

    def note_ends(_: "nn.Module", args: Any, kwargs: dict[str, Any]) -> None:
        ends[:] = [kwargs["attention_mask"].sum(dim=1).long() - 1]

    def move_to_end(_: "nn.Module", args: Any, logits: "torch.Tensor") -> "torch.Tensor":
        import torch

        rows = torch.arange(len(logits), device=logits.device)
        return torch.cat((logits, logits[rows, ends[0]].unsqueeze(1)), dim=1)

    base.model.register_forward_pre_hook(note_ends, with_kwargs=True)
    head: nn.Module = base.model.get_submodule("score")
    head.register_forward_hook(move_to_end)
