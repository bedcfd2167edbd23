"""Cross-entropy in chunks: torch's own numbers, with a chunk of the logits at a time."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tailorbird.models import chunked_cross_entropy as room
from tailorbird.models.chunked_cross_entropy import Head, plain_head, target_loss, target_scores

HIDDEN, VOCABULARY, TARGETS = 16, 120, 75


def parts(dtype: torch.dtype = torch.float64) -> dict[str, torch.Tensor]:
    """Return hidden states, a head and targets, all wanting gradients that can."""
    torch.manual_seed(5)
    found = {
        "hidden": torch.randn(TARGETS, HIDDEN, dtype=dtype),
        "weight": torch.randn(VOCABULARY, HIDDEN, dtype=dtype),
        "bias": torch.randn(VOCABULARY, dtype=dtype),
    }
    return {name: tensor.requires_grad_() for name, tensor in found.items()}


WANTED = torch.randint(0, VOCABULARY, (TARGETS,), generator=torch.Generator().manual_seed(6))


def by_autograd(
    given: dict[str, torch.Tensor], scale: float, cap: float | None, *, bias: bool
) -> torch.Tensor:
    """Return the losses ``[targets]`` as one would write them down."""
    logits = given["hidden"] @ given["weight"].T
    if bias:
        logits = logits + given["bias"]
    logits = logits * scale
    if cap is not None:
        logits = cap * torch.tanh(logits / cap)
    return nn.functional.cross_entropy(logits, WANTED, reduction="none")


def chunked(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """Let a chunk have `rows` rows."""
    monkeypatch.setattr(room, "_CHUNK_BYTES", {"cpu": 4 * VOCABULARY * rows})
    monkeypatch.setattr(room, "_FEWEST_ROWS", 1)


@pytest.mark.parametrize("rows", [1, 16, 25, 75, 1000])
@pytest.mark.parametrize(("scale", "cap"), [(1.0, None), (0.25, None), (1.0, 3.0), (1.7, 2.0)])
@pytest.mark.parametrize("bias", [True, False])
def test_loss_and_gradients_are_autograds(
    rows: int, scale: float, cap: float | None, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunked(monkeypatch, rows)
    exact, ours = parts(), {n: t.detach().float().requires_grad_() for n, t in parts().items()}
    expected = by_autograd(exact, scale, cap, bias=bias).sum()
    head = Head(ours["weight"], ours["bias"] if bias else None, scale, cap)
    found = target_loss(ours["hidden"], head, WANTED)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    # The loop divides the sum by the trained tokens of the batch: the factor must reach them all.
    (expected / 7).backward()
    (found / 7).backward()
    for name in ("hidden", "weight", *(("bias",) if bias else ())):
        grad = exact[name].grad
        assert grad is not None
        torch.testing.assert_close(ours[name].grad, grad.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cap", [None, 2.0])
def test_scores_are_the_losses_one_by_one(
    cap: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunked(monkeypatch, 11)
    exact = parts()
    logits = exact["hidden"] @ exact["weight"].T + exact["bias"]
    head = Head(exact["weight"].float(), exact["bias"].float(), 0.5, cap)
    losses, hits = target_scores(exact["hidden"].float(), head, WANTED)
    expected = by_autograd(exact, 0.5, cap, bias=True)
    torch.testing.assert_close(losses, expected.float(), rtol=1e-5, atol=1e-5)
    assert torch.equal(hits, logits.argmax(1) == WANTED)
    assert 0 < int(hits.sum()) < TARGETS


@pytest.mark.parametrize("frozen", ["hidden", "weight"])
def test_what_is_frozen_gets_no_gradient(frozen: str) -> None:
    given = {n: t.detach().float().requires_grad_(n != frozen) for n, t in parts().items()}
    target_loss(given["hidden"], Head(given["weight"], given["bias"]), WANTED).backward()
    assert given[frozen].grad is None
    assert all(t.grad is not None for n, t in given.items() if n != frozen)


def test_states_in_bf16_lose_no_more_than_their_own_rounding() -> None:
    """Logits of bf16 states round to 8 bits; sums over them are made in fp32."""
    exact = parts()
    ours = {n: t.detach().float().requires_grad_() for n, t in exact.items()}
    hidden = exact["hidden"].detach().bfloat16().requires_grad_()
    found = target_loss(hidden, Head(ours["weight"], ours["bias"]), WANTED)
    expected = by_autograd(exact, 1.0, None, bias=True).sum()
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(expected.item(), rel=0.01)
    found.backward()
    expected.backward()
    for mine, theirs in (
        (hidden.grad, exact["hidden"].grad),
        (ours["weight"].grad, exact["weight"].grad),
        (ours["bias"].grad, exact["bias"].grad),
    ):
        assert mine is not None
        assert theirs is not None
        apart = (mine.double() - theirs).norm() / theirs.norm()
        assert apart < 0.02
    assert ours["weight"].grad is not None
    assert ours["weight"].grad.dtype == torch.float32


class Largest(TorchDispatchMode):
    """Notes the most rows of anything that has a column for every word of the vocabulary."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            # The weight's transpose has a column for every word too, and HIDDEN rows: too few.
            if isinstance(tensor, torch.Tensor) and tensor.shape[1:] == (VOCABULARY,):
                self.rows = max(self.rows, len(tensor))
        return made


@pytest.mark.parametrize("rows", [HIDDEN + 1, 25])
def test_no_more_logits_than_a_chunks_are_ever_made(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunked(monkeypatch, rows)
    given = {n: t.detach().float().requires_grad_() for n, t in parts().items()}
    head = Head(given["weight"], given["bias"], 1.0, 5.0)
    with Largest() as largest:
        target_loss(given["hidden"], head, WANTED).backward()
    assert largest.rows == rows
    with Largest() as largest:
        target_scores(given["hidden"], head, WANTED)
    assert largest.rows == rows
    with Largest() as largest:
        by_autograd(parts(), 1.0, 5.0, bias=True)
    assert largest.rows == TARGETS, "the measure sees what it should"


# --- which heads we know ---------------------------------------------------------------------


def _model(linear: nn.Module | None, **config: Any) -> Any:
    settings = SimpleNamespace(**config)
    settings.get_text_config = lambda: settings
    return SimpleNamespace(get_output_embeddings=lambda: linear, config=settings)


def test_the_heads_of_transformers_families() -> None:
    linear = nn.Linear(HIDDEN, VOCABULARY)
    plain = plain_head(_model(linear))
    assert plain is not None
    assert (plain.scale, plain.cap) == (1.0, None)
    assert plain.weight is linear.weight
    assert plain.bias is linear.bias
    granite = plain_head(_model(linear, logits_scaling=8.0))
    cohere = plain_head(_model(linear, logit_scale=0.0625))
    gemma2 = plain_head(_model(linear, final_logit_softcapping=30.0))
    assert granite is not None
    assert granite.scale == 1 / 8
    assert cohere is not None
    assert cohere.scale == 0.0625
    assert gemma2 is not None
    assert gemma2.cap == 30.0


def test_a_head_that_is_no_plain_linear_layer_is_not_guessed() -> None:
    class Scaled(nn.Linear):
        """Does more than a linear layer."""

    assert plain_head(_model(Scaled(HIDDEN, VOCABULARY))) is None
    assert plain_head(_model(nn.Identity())) is None
    assert plain_head(_model(None)) is None
