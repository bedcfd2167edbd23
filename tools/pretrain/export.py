"""Copy a run's model, finished or as it stands, to where the package looks for builtin:tutor."""

import argparse
import hashlib
from pathlib import Path
from typing import Any

import model as shape
import tokenizer as vocabulary
import torch
from settings import Settings

PACKAGED = Path(__file__).resolve().parents[2] / "src" / "tailorbird" / "models" / "tutor"


def load(run: Path) -> tuple[Any, dict[str, Any]]:
    """Return the model of a run's checkpoint and the checkpoint."""
    state = torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=True)
    settings = Settings(**state["settings"])
    model = shape.new(settings, vocabulary.load(run / "tokenizer"))
    model.load_state_dict(state["model"])
    return model, state


def main() -> None:
    """Export and print the digest that `models/builtin.py` compares with."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a run of train.py")
    parser.add_argument("--into", type=Path, default=PACKAGED, help="default: the package")
    given = parser.parse_args()
    model, state = load(given.run)
    given.into.mkdir(parents=True, exist_ok=True)
    shape.export(model, given.run / "tokenizer", given.into)
    digest = hashlib.sha256((given.into / "model.safetensors").read_bytes()).hexdigest()
    step, tokens, seconds = state["progress"]
    print(f"step {step}, {tokens:,} tokens, {seconds / 60:.1f} min -> {given.into}")
    print(f'TUTOR_SHA256 = "{digest}"')


if __name__ == "__main__":
    main()
