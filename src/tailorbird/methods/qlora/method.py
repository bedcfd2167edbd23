"""QLoRA (Dettmers et al. 2023, arXiv 2305.14314): LoRA over a base frozen in 4 or 8 bits."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tailorbird.config.method import MethodConfig
from tailorbird.config.schema import Config
from tailorbird.methods.base import no_merge
from tailorbird.methods.lora.method import attach_lora
from tailorbird.methods.low_rank import speed_up
from tailorbird.methods.peft_folder import PeftMethod, load_peft
from tailorbird.models.bf16_linear import shrink_frozen
from tailorbird.models.device import Device
from tailorbird.models.load import Base

if TYPE_CHECKING:
    from torch import nn


class Qlora(PeftMethod):
    """LoRA on frozen matrices in NF4 with double quantisation, or in 8 bits."""

    def load_options(
        self, config: MethodConfig, head: tuple[str, ...], device: Device
    ) -> dict[str, Any]:
        """Return the quantisation settings; the head is never quantised.

        A classifier's head is trained, and a decoder's logits choose among many thousand tokens.
        """
        from transformers import BitsAndBytesConfig

        if self.options(config)["bits"] == 8:
            bits = BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=list(head))
        else:
            bits = BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_use_double_quant=True,
                # The format with fast products: most CPUs emulate bf16.
                bnb_4bit_compute_dtype=device.dtype,
                llm_int8_skip_modules=list(head),
            )
        return {"quantization_config": bits}

    def attach(self, base: Base, config: Config) -> "nn.Module":
        """Wrap the target layers; see `Method.attach`."""
        base.model.requires_grad_(False)
        _drop_checkpoint(base)
        model = attach_lora(base, self.options(config.method))
        shrink_frozen(model, base.device)
        speed_up(model, base.device)
        return model

    def load(self, base: Base, folder: Path) -> "nn.Module":
        """Load a PEFT folder onto a base with the same quantisation."""
        _drop_checkpoint(base)
        model = load_peft(base, folder)
        shrink_frozen(model, base.device)
        return model.eval()

    def merge(self, model: "nn.Module") -> "nn.Module":
        """Dequantise the base, then add the update in fp32.

        The quantisation error of the base stays in, since the update was trained against it. PEFT's
        own merge rounds the sum back to 4 bits, which changes predictions (peft #2321).
        """
        from peft.tuners.lora.bnb import Linear4bit, Linear8bitLt

        inner: nn.Module = model.base_model.model  # type: ignore[union-attr, assignment]
        layers = [
            (n, m) for n, m in inner.named_modules() if isinstance(m, Linear4bit | Linear8bitLt)
        ]
        for name, layer in layers:
            owner, _, attribute = name.rpartition(".")
            setattr(inner.get_submodule(owner), attribute, _merged_linear(layer))
        # A layer that is not quantised (a pooler) may have an update too.
        merged: nn.Module = model.float().merge_and_unload(safe_merge=True)  # type: ignore[operator]
        for name in ("quantization_config", "_pre_quantization_dtype"):
            if hasattr(merged.config, name):
                delattr(merged.config, name)
        merged.is_loaded_in_4bit = merged.is_loaded_in_8bit = False  # type: ignore[assignment]
        merged.is_quantized, merged.hf_quantizer = False, None  # type: ignore[assignment]
        return merged.float()


METHOD = Qlora("qlora")


def _merged_linear(layer: Any) -> "nn.Module":
    import torch
    from bitsandbytes.functional import dequantize_4bit, int8_vectorwise_dequant
    from torch import nn

    frozen, weight = layer.base_layer, layer.base_layer.weight
    (adapter,) = layer.active_adapters
    if hasattr(weight, "quant_state") and weight.quant_state is not None:
        plain = dequantize_4bit(weight.data, weight.quant_state).float()
    else:
        scales = weight.SCB if weight.SCB is not None else frozen.state.SCB
        plain = int8_vectorwise_dequant(weight.data, scales).float()
    if adapter in layer.lora_variant:
        raise no_merge("QLoRA with DoRA", "its magnitudes belong to the quantised weights")
    delta = layer.get_delta_weight(adapter).float()
    linear = nn.Linear(frozen.in_features, frozen.out_features, frozen.bias is not None)
    linear.to(plain.device)
    with torch.no_grad():
        linear.weight.copy_(plain.reshape(linear.weight.shape) + delta)
        if frozen.bias is not None:
            linear.bias.copy_(frozen.bias)
    return linear


def _drop_checkpoint(base: Base) -> None:
    """Copy the tensors that still view the mapped checkpoint, and return freed memory (on a CPU).

    One such view keeps all pages of the file resident, including those of the packed matrices;
    memory that packing freed stays in the heap until it is trimmed.
    """
    import ctypes

    if base.device.kind != "cpu":
        return
    copies: dict[int, Any] = {}
    for parameter in base.model.parameters():
        if parameter.is_floating_point():
            place = parameter.data_ptr()
            if place not in copies:
                copies[place] = parameter.data.clone()
            parameter.data = copies[place]
    copies.clear()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # only glibc has it
    if trim is not None:
        trim(0)
