"""Muon (Jordan et al., 2024, https://kellerjordan.github.io/posts/muon/) in the weights' own dtype.

`torch.optim.Muon` multiplies in bf16, which CPUs without bf16 units do several times slower than
in fp32; on so small a batch that would cost as much as the model itself.
"""

from collections.abc import Iterable

import torch

# The quintic iteration's coefficients from the reference above.
A, B, C = 3.4445, -4.7750, 2.0315
ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal, for matrices inside the network."""

    def __init__(
        self,
        params: Iterable[torch.nn.Parameter],
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Apply one update."""
        assert closure is None
        for group in self.param_groups:
            for weight in group["params"]:
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                state["momentum"].lerp_(weight.grad, 1 - group["momentum"])
                nesterov = weight.grad.lerp(state["momentum"], group["momentum"])
                rows, columns = weight.shape
                # A tall matrix's columns are unit vectors longer than its rows: even that out.
                size = group["lr"] * max(1.0, rows / columns) ** 0.5
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(orthogonal(nesterov), alpha=-size)


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """Return about the nearest matrix with orthonormal rows or columns. `[rows, columns]`."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.mT if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(ITERATIONS):
        square = x @ x.mT
        x = torch.addmm(x, B * square + C * square @ square, x, beta=A)
    return x.mT if tall else x
