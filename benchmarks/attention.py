"""Fused against plain attention in bf16 with gradients: the claim of train/short_attention.py.

Forward and backward of transformers' own two functions for BERT (`sdpa` and `eager`) under
autocast, in the shape of MiniLM (12 heads of 32), with a padding mask, for several text lengths.
Times are medians of interleaved repeats. Prints one JSON line: milliseconds of both by length,
plain's advantage (fused / plain), and the first length at which fused is faster.

`--writing`: the claim of models/fast_decoding.py instead. One layer's attention in the shape of
SmolLM2 (9 heads of 64, 3 of keys), 16 rows padded on the left: all of a prompt, and one new token.
"""

import time
from types import SimpleNamespace
from typing import Any

from harness import emit, middle, parser, say

HEADS, WIDTH = 12, 32


def main() -> None:
    """Time both at every length."""
    asked = parser(__doc__)
    asked.add_argument("--batch", type=int, default=32)
    asked.add_argument("--lengths", default="8,16,24,32,48,64,96,128,192,256,384,512")
    asked.add_argument("--repeats", type=int, default=15)
    asked.add_argument("--precision", choices=["bf16", "fp32"], default="bf16")
    asked.add_argument("--writing", action="store_true", help="attention of a model that writes")
    given = asked.parse_args()
    if given.writing:
        emit("attention writing", {"precision": given.precision} | _writing(given))
        return
    lengths = [int(word) for word in given.lengths.split(",")]
    rows = [_compare(length, given) for length in lengths]
    faster = [row["tokens"] for row in rows if row["fused_ms"] < row["plain_ms"]]
    emit(
        "attention",
        {
            "precision": given.precision,
            "batch": given.batch,
            "by_length": rows,
            "largest_advantage_of_plain": max(row["fused_over_plain"] for row in rows),
            "fused_faster_from": min(faster, default=None),
        },
    )


def _compare(length: int, given: Any) -> dict[str, float]:
    import torch

    shape = (given.batch, HEADS, length, WIDTH)
    tensors = [torch.randn(shape, requires_grad=True) for _ in range(3)]
    # Half of the rows end in padding, as they do in a batch of texts.
    kept = torch.ones(given.batch, 1, 1, length, dtype=torch.bool)
    kept[::2, ..., -max(1, length // 8) :] = False
    kept = kept.expand(-1, -1, length, -1).contiguous()
    bias = torch.zeros(kept.shape).masked_fill(~kept, torch.finfo(torch.float32).min)
    times: dict[str, list[float]] = {"fused": [], "plain": []}
    for repeat in range(given.repeats + 2):
        for name, mask in (("fused", kept), ("plain", bias)):
            seconds = _time(name, tensors, mask, given.precision)
            if repeat >= 2:
                times[name].append(1000 * seconds)
    fused, plain = middle(times["fused"], 3), middle(times["plain"], 3)
    say(f"{length} tokens: fused {fused} ms, plain {plain} ms")
    return {
        "tokens": length,
        "fused_ms": fused,
        "plain_ms": plain,
        "fused_over_plain": round(fused / plain, 2),
    }


def _time(name: str, tensors: list[Any], mask: Any, precision: str) -> float:
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.models.bert.modeling_bert import eager_attention_forward

    attend: Any = sdpa_attention_forward if name == "fused" else eager_attention_forward
    layer = SimpleNamespace(training=True, is_causal=False)
    query, key, value = (tensor.detach().requires_grad_() for tensor in tensors)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
        if precision == "bf16":  # as the projections before it hand them over
            query, key, value = (tensor.bfloat16() for tensor in (query, key, value))
        started = time.perf_counter()
        out, _ = attend(layer, query, key, value, mask, scaling=WIDTH**-0.5, dropout=0.0)
        out.backward(torch.ones_like(out))
    return time.perf_counter() - started


def _writing(given: Any) -> dict[str, Any]:
    """Time transformers' function and ours on a prompt and on one new token, interleaved."""
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    from tailorbird.models.fast_decoding import attention

    rows, heads, groups, size, length = 16, 9, 3, 64, 640
    kind = torch.bfloat16 if given.precision == "bf16" else torch.float32
    layer = SimpleNamespace(training=False, is_causal=True, num_key_value_groups=heads // groups)
    key, value = (torch.randn(rows, groups, length, size).to(kind) for _ in range(2))
    mask = torch.ones(length, length, dtype=torch.bool).tril().repeat(rows, 1, 1, 1)
    for row in range(rows):
        mask[row, ..., : 2 * row] = False
    times: dict[str, dict[str, float]] = {}
    for part, places in (("prompt", length), ("one token", 1)):
        query, visible = torch.randn(rows, heads, places, size).to(kind), mask[:, :, -places:]
        seconds: dict[str, list[float]] = {"transformers": [], "ours": []}
        for repeat in range(given.repeats + 1):
            for name, attend in (("transformers", sdpa_attention_forward), ("ours", attention)):
                started = time.perf_counter()
                with torch.no_grad():
                    attend(layer, query, key, value, visible)
                if repeat:
                    seconds[name].append(1000 * (time.perf_counter() - started))
        of = {name: middle(each, 3) for name, each in seconds.items()}
        times[part] = of | {"ratio": round(of["transformers"] / of["ours"], 2)}
        say(f"{part}: {times[part]}")
    return {"milliseconds": times, "rows": rows, "tokens": length}


if __name__ == "__main__":
    main()
