"""Products by reordered weights, against autocast's own."""

import pytest
import torch
from torch import nn

from tailorbird.models.bf16_linear import reordered
from tailorbird.models.device import Device, choose

BF16 = Device("cpu", "bf16", "")


def model() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(48, 96), nn.GELU(), nn.Linear(96, 40, bias=False)).eval()


@pytest.mark.parametrize("rows", [1, 7, 130])
def test_products_are_those_of_autocast(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAILORBIRD_CPU_BF16", "fast")
    net, x = model(), torch.randn(2, rows, 48)
    with torch.no_grad(), BF16.autocast():
        expected = net(x)
        with reordered(net, BF16):
            found, again = net(x), net(x.bfloat16())
    assert found.dtype == expected.dtype == torch.bfloat16
    # As close as a sum in another order: mostly the same to the last bit.
    for product in (found, again):
        torch.testing.assert_close(product, expected, rtol=2**-7, atol=2**-9)


def test_the_model_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAILORBIRD_CPU_BF16", "fast")
    net, x = model(), torch.randn(3, 48)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    expected = net(x)
    with pytest.raises(KeyError), reordered(net, BF16):
        raise KeyError
    assert all("forward" not in vars(layer) for layer in net.modules())
    assert torch.equal(net(x), expected) and net(x).dtype == torch.float32
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_other_formats_and_processors_multiply_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    net = model()
    with reordered(net, choose("cpu", "fp32")):
        assert all("forward" not in vars(layer) for layer in net.modules())
    monkeypatch.setenv("TAILORBIRD_CPU_BF16", "slow")
    with reordered(net, BF16):
        assert all("forward" not in vars(layer) for layer in net.modules())
    own = nn.Linear(4, 4)
    vars(own)["forward"] = torch.tanh  # somebody else's way of multiplying stays
    monkeypatch.setenv("TAILORBIRD_CPU_BF16", "fast")
    with reordered(own, BF16):
        assert vars(own)["forward"] is torch.tanh
    assert vars(own)["forward"] is torch.tanh
