"""Fused against plain attention in bf16 with gradients: the claim of train/attention.py.

Forward and backward of transformers' own two functions for BERT (`sdpa` and `eager`) under
autocast, in the shape of MiniLM (12 heads of 32), with a padding mask, for several text lengths.
Times are medians of interleaved repeats. Prints one JSON line: milliseconds of both by length,
plain's advantage (fused / plain), and the first length at which fused is faster.
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
    given = asked.parse_args()
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


if __name__ == "__main__":
    main()
