"""A comparison under a real limit of memory: what fits runs, what does not costs nothing."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tiny import write_csv

LIMIT = 1300 * 2**20


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """Return a BERT of some 60 M parameters: full fine-tuning takes 16 bytes of each."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    from tailorbird.models.builtin import resolve

    tokenizer = AutoTokenizer.from_pretrained(resolve("builtin:minilm"))
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=640, intermediate_size=2560, num_hidden_layers=8,
        num_attention_heads=10, max_position_embeddings=128, pad_token_id=0,
    )  # fmt: skip
    folder = tmp_path / "encoder"
    BertModel._from_config(config, dtype=torch.float32).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tailorbird.cli.main", *words],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT)),  # noqa: PLW1509
        check=False,
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of data are Linux's")
def test_what_would_not_fit_is_refused_and_would_have_failed(encoder: Path, tmp_path: Path) -> None:
    data = str(write_csv(tmp_path / "train.csv"))
    settings = ("train.epochs=0.2", "train.batch_size=4", "model.precision=fp32")
    usual = (data, "--model", str(encoder), *(w for each in settings for w in ("--set", each)))
    flags = ("--methods", "full,prompt", "--output", str(tmp_path / "RUN"), "--json")
    compared = run("compare", *usual, *flags)
    assert compared.returncode == 0, compared.stderr
    arms = {arm["name"]: arm for arm in json.loads(compared.stdout)["arms"]}
    assert arms["prompt"]["status"] == "ok", compared.stderr
    assert arms["full"]["status"] == "skipped"
    assert "needs about" in arms["full"]["why"] and "ulimit" in arms["full"]["why"]
    left = sorted(path.name for path in (tmp_path / "RUN" / "arms" / "full").iterdir())
    assert left == ["job.json", "outcome.json"], "it was not begun"

    forced = run("tune", *usual, "--method", "full", "--set", "train.check_memory=false",
                 "--output", str(tmp_path / "FORCED"))  # fmt: skip
    assert forced.returncode != 0, "the refusal was right"
    assert "memory" in forced.stderr
