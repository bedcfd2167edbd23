"""Bottleneck adapters: do ours compute what AdapterHub's `adapters` library computes?

The library pins an older transformers, so it needs an environment of its own:

    python -m venv adapters-env && adapters-env/bin/pip install torch==2.13.0 adapters
    python benchmarks/adapters_check.py --there adapters-env/bin/python

Small models of three families get random weights and adapters with random weights, by tailorbird;
the library loads the same base weights and the same adapter weights under its own names. Both read
the same tokens. Prints one JSON line: the largest difference between the logits, by family and
placement; it exits with 1 where one is above 1e-5.

Placement `houlsby` is the library's ``DoubleSeqBnConfig`` with GELU, `pfeiffer` its ``SeqBnConfig``
with GELU and ``original_ln_before=False``: our adapter hangs on the output of the feed-forward
projection, before the residual sum, theirs by default after its norm.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

WIDTH, HIDDEN, TEXTS, TOKENS, CLOSE = 16, 64, 4, 11, 1e-5
FAMILIES = ("Bert", "Roberta", "DistilBert", "Llama")
PLACEMENTS = ("houlsby", "pfeiffer")


def main() -> None:
    """Write models and logits here, have the library answer there, compare."""
    if sys.argv[1:2] == ["--answer"]:
        _answer(Path(sys.argv[2]))
        return
    from harness import emit, parser, stop

    asked = parser(__doc__)
    asked.add_argument("--there", required=True, help="a python that has the `adapters` library")
    there = asked.parse_args().there
    with tempfile.TemporaryDirectory() as scratch:
        for family in FAMILIES:
            for placement in PLACEMENTS:
                _write(Path(scratch) / f"{family}-{placement}", family, placement)
        done = subprocess.run(
            [there, __file__, "--answer", scratch], stdout=subprocess.PIPE, text=True, check=False
        )
        if done.returncode:
            stop(f"{there} could not answer (exit code {done.returncode})", "see the docstring")
        told = json.loads(done.stdout.splitlines()[-1])
    emit("adapters_check", told | {"close": CLOSE})
    sys.exit(max(told["largest_difference"].values()) > CLOSE)


def _write(folder: Path, family: str, placement: str) -> None:
    """Leave the base, our adapters' weights, the tokens and our logits in `folder`."""
    import torch
    import transformers
    from safetensors.torch import save_file

    from tailorbird.methods.adapter import method as adapter
    from tailorbird.models.device import choose
    from tailorbird.models.load import Base

    torch.manual_seed(7)
    sizes: dict[str, Any] = {
        "vocab_size": 99, "hidden_size": HIDDEN, "num_hidden_layers": 3, "num_attention_heads": 4,
        "intermediate_size": 128, "num_labels": 3, "pad_token_id": 0, "initializer_range": 0.2,
    }  # fmt: skip
    if family == "DistilBert":
        sizes |= {"dim": HIDDEN, "hidden_dim": 128, "n_layers": 3, "n_heads": 4}
    config = getattr(transformers, f"{family}Config")(**sizes)
    model = getattr(transformers, f"{family}ForSequenceClassification")(config).eval()
    model.save_pretrained(folder)
    base = Base(
        model=model,
        tokenizer=None,
        name=family,
        device=choose("cpu", "fp32"),
        head=(),
        is_decoder=False,
    )
    adapter._attach_bottlenecks(base, placement, WIDTH, 0.0)
    weights = {n: p for n, p in model.named_parameters() if ".adapter." in n}
    for weight in weights.values():
        torch.nn.init.normal_(weight, std=0.2)
    ids = torch.randint(5, 99, (TEXTS, TOKENS))
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    kept = {n: p.detach().clone() for n, p in weights.items()}
    save_file(kept | {"ids": ids, "logits": logits}, folder / "ours.safetensors")


def _answer(scratch: Path) -> None:
    """Answer with the library: print the largest difference for every folder."""
    import adapters
    import transformers

    differences = {}
    for folder in sorted(path for path in scratch.iterdir() if path.is_dir()):
        differences[folder.name] = _difference(folder)
    told = {"adapters": adapters.__version__, "transformers_there": transformers.__version__}
    print(json.dumps({"largest_difference": differences} | told))


def _difference(folder: Path) -> float:
    import adapters
    import torch
    import transformers
    from safetensors.torch import load_file

    family, placement = folder.name.split("-")
    given = load_file(folder / "ours.safetensors")
    kind = getattr(transformers, f"{family}ForSequenceClassification")
    model = kind.from_pretrained(folder)
    adapters.init(model)
    both = placement == "houlsby"
    shape = adapters.BnConfig(
        mh_adapter=both, output_adapter=True, reduction_factor=HIDDEN / WIDTH,
        non_linearity="gelu", original_ln_before=False, original_ln_after=True,
        residual_before_ln=True, adapter_residual_before_ln=False,
    )  # fmt: skip
    model.add_adapter("ours", config=shape)
    model.set_active_adapters("ours")
    theirs = {
        _role(name): parameter
        for name, parameter in model.named_parameters()
        if ".adapters.ours." in name
    }
    ours = {_role(name): value for name, value in given.items() if ".adapter." in name}
    assert set(ours) == set(theirs), (sorted(ours)[:3], sorted(theirs)[:3])
    ids = given["ids"]
    with torch.no_grad():
        before = model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        for role, value in ours.items():
            theirs[role].copy_(value)
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    # Two models that both ignored their adapters would agree as well.
    assert (logits - before).abs().max() > 0.01, "the adapters changed nothing"
    return float((logits - given["logits"]).abs().max())


def _role(name: str) -> tuple[int, str, str, str]:
    """Return layer, block, projection and kind of a weight, whoever named it."""
    found = re.search(r"layers?\.(\d+)\.", name)
    assert found, name
    block = "attention" if re.search(r"att(entio)?n", name) else "feed-forward"
    projection = "down" if re.search(r"\bdown\b|adapter_down", name) else "up"
    return int(found[1]), block, projection, name.rsplit(".", 1)[1]


if __name__ == "__main__":
    main()
