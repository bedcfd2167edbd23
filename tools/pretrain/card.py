"""Write builtin:tutor's model card from its run and from what evaluate.py printed of it."""

import argparse
import json
import sys
import textwrap
from pathlib import Path
from typing import Any

import corpus
import torch
from export import PACKAGED
from settings import Settings

HEAD = """\
---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
tags: [python, tutor, tiny]
---

# builtin:tutor

A Llama of {parameters} parameters that comes with tailorbird, so that fine-tuning, prompt tuning,
answers from retrieved passages and chat can be tried with no network and on any machine. It was
trained from scratch on Python's own text. It is a starting point to adapt, and no oracle.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer
from tailorbird.models.builtin import resolve

folder = resolve("builtin:tutor")
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)
```
"""

SHAPE = """\
## Shape

Llama: {layers} layers of width {hidden}, {heads} attention heads ({shared} for keys and values),
{feed_forward} wide inside the feed-forward layers, one matrix for embedding and output, and
{positions} positions. Byte-level BPE of {vocabulary} tokens learned from the training text; digits
stand alone, a line break and the indentation after it are one token. ChatML turns
(`<|im_start|>role`, `<|im_end|>`); `<|im_end|>` and `<|endoftext|>` end what it writes. Weights are
fp16 safetensors ({size} MB) and load as fp32.
"""

DATA = """\
## Data and licence

| training text | files | bytes |
|---|---|---|
| standard library of CPython {python}, without tests and generated tables | {stdlib} |
| `pydoc` topics (`help("for")`) | {topics} |
| the bundled tutor's pages | {pages} |
| the programs of the bundled tutor's training rows | {programs} |

No hint of the bundled tutor, of any split, and no validation or test program was in the text: hints
are what SFT teaches. The last part of training mixed in conversations cut from the same text by
rules (what a docstring says, code to finish, a sentence that answers from given passages); only the
questions' wording and {talk} lines of small talk were written for it.

{held_out}

The weights are ours, Apache-2.0. The standard library and the topics are copyright of the Python
Software Foundation and their contributors, under the PSF licence version 2 with the notices in the
files; pages and programs are part of tailorbird, Apache-2.0. Like every language model, it can
repeat pieces of its text word by word.
"""

RESULTS = """\
## Results

On the {files} held-out files ({bytes:,} bytes, {tokens:,} tokens), in windows of {window:,} tokens
that overlap by half, so that only a file's first tokens are predicted from less than half of one:

| | |
|---|---|
| loss in nats per token | {nats_per_token:.3f} |
| **bits per byte** | **{bits_per_byte:.3f}** |
| `xz -9` of the held-out files, bits per byte | {xz_bits_per_byte:.3f} |
| `xz -9`, growth of the training text's archive by them, bits per byte | {after:.3f} |
| every token equally likely, bits per byte | {chance_bits_per_byte:.3f} |
| answers that end by themselves, to {probes} questions about held-out docstrings | {ends:.0%} |
| those that are word for word the sentence asked for | {copies:.0%} |

Bits per byte are those of an ideal coder that has the model; neither the model nor xz and the
training text are counted. From `python tools/pretrain/evaluate.py`.
"""

LIMITS = """\
## What it can and cannot do

It writes what looks like the standard library's Python, keeps indentation and idioms, takes turns
and ends most of them. It knows next to nothing: untuned, its answers are the right kind of words in
no useful order, it does not find the sentence of a given context that answers, and its code does
not do what was asked. It cannot calculate, plan or follow instructions, reads English and Python
only, and {positions} tokens at most. It is there to be adapted and to try everything out with; for
answers that matter, take a larger model.
"""

HISTORY = """\
{steps:,} steps, {tokens:,} tokens (about {passes:.1f} passes over the files and {chats:,} rows of
conversations), {minutes:.0f} minutes on {machine}, fp32. Muon for the matrices inside the layers
(learning rate {matrix_rate:g}), AdamW for the rest ({other_rate:g}), {rows} rows of {length} tokens
a step, linear decay to zero over the last {decay:.0%}, longer rows and conversations from
{chat_from:.0%} on. {note}"""

MADE = """\
## How it was made

{history}

```console
$ python tools/pretrain/train.py --out run --minutes {asked:g}
$ python tools/pretrain/export.py run
$ python tools/pretrain/evaluate.py > evaluation.json
$ python tools/pretrain/card.py run evaluation.json --machine "..."
```

The first command goes on where it was if it is killed. Given `--minutes`, schedule and mixture
follow the clock, so a faster machine sees more text and the weights differ from run to run; given
`--steps` instead, a run can be repeated. Other Python versions have other texts. A new model needs
its SHA-256, which the second command prints, in `src/tailorbird/models/builtin.py`.
"""


def card(run: Path, found: dict[str, Any], machine: str, note: str) -> str:
    """Return the card's Markdown."""
    state = torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=True)
    settings = Settings(**state["settings"])
    shape = json.loads((PACKAGED / "config.json").read_text(encoding="utf-8"))
    parts = [
        HEAD.format(parameters=f"{sum(w.numel() for w in _weights(state)) / 1e6:.1f} million"),
        RESULTS.format(
            **found,
            after=found["xz_after_training_text_bits_per_byte"],
            ends=found["ends_its_turn"],
            copies=found["copies_the_sentence"],
        ),
        LIMITS.format(positions=f"{shape['max_position_embeddings']:,}"),
        _samples(found),
        _data(found["python"]),
        SHAPE.format(
            layers=settings.layers,
            hidden=settings.hidden,
            heads=settings.heads,
            shared=shape["num_key_value_heads"],
            feed_forward=settings.feed_forward,
            positions=f"{shape['max_position_embeddings']:,}",
            vocabulary=f"{settings.vocabulary:,}",
            size=f"{(PACKAGED / 'model.safetensors').stat().st_size / 1e6:.1f}",
        ),
        _made(state, settings, machine, note),
    ]
    return "\n".join(parts)


def _weights(state: dict[str, Any]) -> list[torch.Tensor]:
    # Embedding and output are one matrix under two names.
    return [w for name, w in state["model"].items() if name != "lm_head.weight"]


def _data(python: str) -> str:
    texts = corpus.build()
    rows = {
        kind: f"{sum(d.kind == kind for d in texts.train)} | {texts.size_bytes(kind):,}"
        for kind in ("stdlib", "topics", "pages", "programs")
    }
    names = ", ".join(f"`{d.name.removeprefix('stdlib/')}`" for d in texts.held_out)
    from questions import SMALL_TALK

    held_out = (
        f"These are held out, by a hash of their paths, near copies left out of both: {names}."
    )
    return DATA.format(python=python, held_out=_wrapped(held_out), talk=len(SMALL_TALK), **rows)


def _made(state: dict[str, Any], settings: Settings, machine: str, note: str) -> str:
    steps, tokens, seconds = state["progress"]
    taken = state["mixture"]
    read = taken["files"] * settings.length
    read += taken.get("long_files", 0) * settings.chat_length
    history = HISTORY.format(
        steps=steps,
        tokens=tokens,
        passes=read / _corpus_tokens(),
        chats=taken["chats"],
        minutes=seconds / 60,
        machine=machine,
        matrix_rate=settings.matrix_rate,
        other_rate=settings.other_rate,
        rows=settings.rows,
        length=settings.length,
        decay=1 - settings.decay_from,
        chat_from=settings.chat_from,
        note=note,
    )
    return MADE.format(history=_wrapped(history), asked=settings.minutes)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def _corpus_tokens() -> int:
    from batches import encode
    from tokenizer import load

    texts = [document.text for document in corpus.build().train]
    return sum(map(len, encode(texts, load(PACKAGED), end=0)))


def _samples(found: dict[str, Any]) -> str:
    """Return what it wrote, unchanged: code of held-out files, then talk."""
    lines = [
        "## Samples\n",
        "Greedy, as they came. The line `# ---` is where the model took over.\n",
    ]
    for sample in found["samples"]:
        made = sample["made"].rstrip()
        lines.append(f"`{sample['file'].removeprefix('stdlib/')}`\n")
        lines.append(f"```python\n{sample['prefix']}\n# ---{_on_a_new_line(made)}\n```\n")
    for pair in found["talk"]:
        lines.append(f"````text\nuser: {pair['asked']}\ntutor: {pair['answered']}\n````\n")
    return "\n".join(lines)


def _on_a_new_line(text: str) -> str:
    return text if text.startswith("\n") else f"\n{text}"


def main() -> int:
    """Write the card beside the packaged weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a run of train.py")
    parser.add_argument("evaluation", type=Path, help="the JSON line that evaluate.py printed")
    parser.add_argument("--machine", required=True, help="what it was trained on, in words")
    parser.add_argument("--note", default="", help="what else to say on how it was made")
    given = parser.parse_args()
    found = json.loads(given.evaluation.read_text(encoding="utf-8"))
    text = card(given.run, found, given.machine, given.note)
    (PACKAGED / "README.md").write_text(text, encoding="utf-8")
    print(f"wrote {PACKAGED / 'README.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
