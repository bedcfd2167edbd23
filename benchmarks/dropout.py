"""torch's dropout against ours, one random byte per element: the claim of train/dropout.py.

Forward and backward on the shapes of an encoder's hidden states, and a whole full fine-tuning
step of builtin:minilm with torch's, with ours and with none, interleaved; medians. Also the share
of elements kept and the mean afterwards, which must be 1 - rate (rounded to 1/256) and unchanged.
Prints one JSON line.
"""

import time
from collections.abc import Callable
from typing import Any

from harness import emit, middle, parser, say

SHAPES = ((32, 24, 384), (32, 128, 384), (32, 512, 384))


def main() -> None:
    """Time the layer, then the step."""
    asked = parser(__doc__)
    asked.add_argument("--rate", type=float, default=0.1)
    asked.add_argument("--repeats", type=int, default=20)
    asked.add_argument("--tokens", type=int, default=24, help="of each text in the whole step")
    given = asked.parse_args()
    layers = [_layer(shape, given) for shape in SHAPES]
    emit("dropout", {"rate": given.rate, "layer": layers, "step": _step(given)} | _check(given))


def _ours(rate: float) -> Any:
    """Return a dropout layer as `set_dropout` leaves it."""
    from torch import nn

    from tailorbird.train.dropout import set_dropout

    model = nn.Sequential(nn.Dropout(rate))
    set_dropout(model, None)
    return model.train()


def _interleaved(runs: dict[str, Callable[[], None]], repeats: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats + 2):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            if repeat >= 2:
                times[name].append(1000 * (time.perf_counter() - started))
    return {name: middle(values, 3) for name, values in times.items()}


def _layer(shape: tuple[int, ...], given: Any) -> dict[str, Any]:
    import torch
    from torch import nn

    x = torch.randn(shape, requires_grad=True)
    ones = torch.ones(shape)

    def of(layer: Any) -> Callable[[], None]:
        return lambda: layer(x).backward(ones)

    layers = {"torch": nn.Dropout(given.rate).train(), "ours": _ours(given.rate)}
    found = _interleaved({name: of(layer) for name, layer in layers.items()}, given.repeats)
    say(f"{shape}: torch {found['torch']} ms, ours {found['ours']} ms")
    return {
        "shape": shape,
        "torch_ms": found["torch"],
        "ours_ms": found["ours"],
        "times": round(found["torch"] / found["ours"], 2),
    }


def _step(given: Any) -> dict[str, float]:
    """Time forward and backward of the whole model in the format this machine is fastest in."""
    import torch
    from torch import nn
    from transformers import AutoModelForSequenceClassification, logging

    from tailorbird.models.builtin import resolve
    from tailorbird.models.device import choose
    from tailorbird.train.dropout import set_dropout

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    device = choose("cpu")
    ids = torch.randint(1000, 20000, (32, given.tokens))
    models: dict[str, Any] = {}
    for name in ("torch", "ours", "none"):
        model = AutoModelForSequenceClassification.from_pretrained(
            resolve("builtin:minilm"), num_labels=2, dtype="float32"
        )
        # Attention's own dropout off in all three: the three differ in one thing.
        set_dropout(model, 0.0 if name == "none" else given.rate)
        if name == "torch":
            for module in model.modules():
                if isinstance(module, nn.Dropout):
                    module.__dict__.pop("forward", None)
        models[name] = model.train()

    def of(model: Any) -> Callable[[], None]:
        def run() -> None:
            with device.autocast():
                loss = model(input_ids=ids).logits.float().sum()
            loss.backward()
            model.zero_grad(set_to_none=True)

        return run

    found = _interleaved({name: of(model) for name, model in models.items()}, given.repeats)
    say(f"whole step: {found}")
    cost = {name: found[name] - found["none"] for name in ("torch", "ours")}
    return {f"{name}_ms": value for name, value in found.items()} | {
        "torch_share_of_step": round(cost["torch"] / found["torch"], 3),
        "ours_share_of_step": round(cost["ours"] / found["ours"], 3),
    }


def _check(given: Any) -> dict[str, float]:
    import torch

    x = torch.ones(4_000_000)
    y = _ours(given.rate)(x)
    return {
        "kept_share": round(float((y != 0).float().mean()), 4),
        "mean": round(float(y.mean()), 4),
    }


if __name__ == "__main__":
    main()
