"""The head multiplies in autocast's format, whatever format the last norm hands on."""

import pytest
import torch
from torch import nn

from tailorbird.models.chunked_cross_entropy import Head, target_loss, target_scores

Parts = tuple[torch.Tensor, nn.Linear, torch.Tensor]
VOCABULARY, HIDDEN, TARGETS = 300, 32, 40


@pytest.fixture
def parts() -> Parts:
    torch.manual_seed(2)
    states = torch.randn(TARGETS, HIDDEN, requires_grad=True)
    return states, nn.Linear(HIDDEN, VOCABULARY, bias=False), torch.randint(VOCABULARY, (TARGETS,))


def test_loss_and_gradient_are_those_of_a_linear_head_under_autocast(parts: Parts) -> None:
    states, linear, targets = parts
    linear.requires_grad_(False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = target_loss(states, Head(linear.weight, None), targets)
        (grad,) = torch.autograd.grad(ours, states)
        logits = linear(states)
        assert logits.dtype == torch.bfloat16
        plain = nn.functional.cross_entropy(logits.float(), targets, reduction="sum")
        (wanted,) = torch.autograd.grad(plain, states)
    # The same bf16 logits, so only the order of the sums differs.
    torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-3)
    assert grad.dtype == torch.float32
    torch.testing.assert_close(grad, wanted, rtol=0.02, atol=0.01)


def test_scores_are_those_of_bf16_logits_under_autocast(parts: Parts) -> None:
    states, linear, targets = parts
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses, hits = target_scores(states, Head(linear.weight, None), targets)
        logits = linear(states).float()
    wanted = nn.functional.cross_entropy(logits, targets, reduction="none")
    torch.testing.assert_close(losses, wanted.detach(), rtol=1e-5, atol=1e-4)
    assert torch.equal(hits, logits.argmax(dim=1) == targets)


def test_without_autocast_fp32_states_stay_fp32(parts: Parts) -> None:
    states, linear, targets = parts
    ours = target_loss(states, Head(linear.weight, None), targets)
    plain = nn.functional.cross_entropy(linear(states), targets, reduction="sum")
    torch.testing.assert_close(ours, plain, rtol=1e-6, atol=1e-4)
