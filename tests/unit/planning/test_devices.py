"""Devices by name, and limits of memory wherever they stand."""

import resource
from pathlib import Path

import pytest

from tailorbird.errors import UserError
from tailorbird.planning.devices import place_of
from tailorbird.runs import memory_limit as limits

GIB = 2**30


@pytest.mark.parametrize(
    ("word", "gb", "precision"),
    [("24GB", 24, "bf16"), ("24", 24, "bf16"), ("H100", 80, "bf16"), ("rtx 4090", 24, "bf16"),
     ("T4", 16, "fp16"), ("7.5gib", 7.5, "bf16")],
)  # fmt: skip
def test_devices(word: str, gb: float, precision: str) -> None:
    place = place_of(word)
    assert place.device.precision == precision and not place.here
    assert 0.9 * gb * GIB < place.capacity_bytes < gb * GIB


@pytest.mark.parametrize("word", ["h10", "", "-3GB", "0GB", "many", "1e99GB"])
def test_words_that_are_no_device(word: str) -> None:
    with pytest.raises(UserError, match="is no device"):
        place_of(word)


def test_this_machine() -> None:
    place = place_of("cpu")
    assert place.here and place.device.kind == "cpu"
    assert place.capacity_bytes == limits.memory_limit().bytes


def group(root: Path, name: str, limit: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(f"{limit}\n")


def test_limit_of_a_container_in_version_2(tmp_path: Path) -> None:
    member = tmp_path / "cgroup"
    member.write_text("0::/pod/job\n")
    root = tmp_path / "sys"
    group(root, "pod/job/memory.max", "max")
    assert limits.cgroup_limit(root, member) is None
    group(root, "pod/memory.max", str(3 * GIB))
    assert limits.cgroup_limit(root, member) == 3 * GIB, "a group above limits those below"
    group(root, "memory.max", str(GIB))
    assert limits.cgroup_limit(root, member) == GIB, "inside a container its group is the root"


def test_limit_of_a_container_in_version_1(tmp_path: Path) -> None:
    member = tmp_path / "cgroup"
    member.write_text("5:cpu:/x\n4:memory:/docker/abc\n0::/\n")
    root = tmp_path / "sys"
    group(root, "memory/docker/abc/memory.limit_in_bytes", str(2**63 - 4096))
    assert limits.cgroup_limit(root, member) is None, "that is how version 1 says no limit"
    group(root, "memory/docker/abc/memory.limit_in_bytes", str(2 * GIB))
    assert limits.cgroup_limit(root, member) == 2 * GIB
    group(root, "cpu/x/memory.limit_in_bytes", str(GIB))
    assert limits.cgroup_limit(root, member) == 2 * GIB


def test_no_groups(tmp_path: Path) -> None:
    assert limits.cgroup_limit(tmp_path / "nothing", tmp_path / "none") is None


def test_own_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def getrlimit(which: int) -> tuple[int, int]:
        soft = 5 * GIB if which == resource.RLIMIT_DATA else resource.RLIM_INFINITY
        return soft, resource.RLIM_INFINITY

    monkeypatch.setattr(resource, "getrlimit", getrlimit)
    monkeypatch.setattr(limits, "cgroup_limit", lambda root, membership: None)
    limit = limits.memory_limit()
    assert (limit.bytes, limit.shared) == (5 * GIB, False) or limit.bytes < 5 * GIB
