"""What every test stands on: no network, and models small enough to train in a second."""

import os

# Before anything imports the hub's client, which reads it once.
os.environ["HF_HUB_OFFLINE"] = "1"
# And before anything imports torch: its threads wait by spinning otherwise. Beside other workers
# one thread each is the fastest.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
# Whichever folder is collected, tests share `bad_inputs` and `tiny`.
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))


# A shell that starts us in the background has Ctrl-C ignored, by us and by all that we start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


class NetworkUsed(AssertionError):
    """A test tried to leave this machine."""


@pytest.fixture(autouse=True, scope="session")
def no_network() -> Iterator[None]:
    """Refuse every connection but those to this machine itself."""
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def refuse(address: Any) -> None:
        host = address[0] if isinstance(address, tuple) else ""
        if host and host not in ("localhost", "::1") and not str(host).startswith("127."):
            raise NetworkUsed(f"a test tried to connect to {host}")

    def checked(self: socket.socket, address: Any) -> None:
        refuse(address)
        connect(self, address)

    def checked_ex(self: socket.socket, address: Any) -> int:
        refuse(address)
        return connect_ex(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", checked)
        patch.setattr(socket.socket, "connect_ex", checked_ex)
        yield


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a function from a shape's name (`tiny.SHAPES`) to its saved folder."""
    from tiny import saved_model

    place = tmp_path_factory.mktemp("models")
    return lambda shape: saved_model(shape, place)


@pytest.fixture(scope="session")
def tiny_encoder(models: Any) -> Path:
    """Return the folder of a two-layer BERT, 32 wide, with a real vocabulary."""
    return models("bert")


@pytest.fixture(scope="session")
def tiny_decoder(models: Any) -> Path:
    """Return the folder of a two-layer Llama, 32 wide, with a real vocabulary."""
    return models("llama")


@pytest.fixture(params=["fast", "slow"])
def processor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test as on a CPU that multiplies bf16 in hardware, and as on one that does not.

    On the first kind bitsandbytes repacks 4-bit weights when they are evaluated.
    """
    import bitsandbytes

    from tailorbird.models.device import PROCESSOR_SWITCH

    kind = str(request.param)
    monkeypatch.setenv(PROCESSOR_SWITCH, kind)
    repacks = kind == "fast"
    monkeypatch.setattr(bitsandbytes.nn.modules, "has_avx512bf16", lambda: repacks)
    return kind


@pytest.fixture
def tiny_csv(tmp_path: Path) -> Path:
    """Return a file of 60 rows whose three classes are told apart by their words."""
    from tiny import write_csv

    return write_csv(tmp_path / "tiny.csv")
