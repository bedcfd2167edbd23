"""Measure a model on the held-out files: one JSON line, beside what `xz -9` needs for them.

Bits per byte count what an ideal coder would need for the text given the model; the model's own
size is left out, as is that of xz and of the training text xz is given.
"""

import argparse
import json
import lzma
import math
import sys
from collections.abc import Sequence
from random import Random
from typing import Any

import corpus
import questions
import torch
from export import PACKAGED
from tokenizer import END_OF_TEXT
from torch.nn import functional as F  # noqa: N812 - its usual name

WINDOW = 1024
PREFIX_LINES, SHOWN_LINES, SAMPLES, NEW_TOKENS = 40, 4, 4, 48
PROBES = 60
ASKED = (
    "Hello!",
    "Who are you?",
    "What is a list?",
    "What does json.dumps do?",
    "Write a Python function that adds two numbers.",
    "What is the capital of France?",
    "Context:\nThe library in Elm Street opens at nine. On Mondays it stays closed.\n\n"
    "Question: What should I know about Mondays?",
)


def main() -> int:
    """Print the figures as one JSON line on stdout."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default=str(PACKAGED), help="folder or id")
    parser.add_argument("--window", type=int, default=WINDOW, help="tokens the model looks at")
    parser.add_argument("--no-samples", action="store_true", help="figures only")
    given = parser.parse_args()
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(given.model)
    model = AutoModelForCausalLM.from_pretrained(given.model, dtype=torch.float32).eval()
    texts = corpus.build()
    held_out = [document.text for document in texts.held_out]
    found = {"python": sys.version.split()[0], "files": len(held_out), "window": given.window}
    found |= likelihood(model, tokenizer, held_out, given.window)
    found |= xz(held_out, [document.text for document in texts.train])
    if not given.no_samples:
        found |= turns(model, tokenizer, texts)
        found["samples"] = samples(model, tokenizer, texts.held_out)
        found["talk"] = [
            {"asked": words, "answered": _answer(model, tokenizer, words, 80)[0]} for words in ASKED
        ]
    print(json.dumps(found))
    return 0


@torch.inference_mode()
def likelihood(model: Any, tokenizer: Any, texts: Sequence[str], window: int) -> dict[str, Any]:
    """Return the loss per token and the bits per byte of whole texts.

    Every token but a text's first half window is predicted from at least half a window.
    """
    start = tokenizer.convert_tokens_to_ids(END_OF_TEXT)
    nats, tokens = 0.0, 0
    for text in texts:
        ids = torch.tensor([start, *tokenizer(text, verbose=False)["input_ids"]])
        scored = 1
        for first in range(0, len(ids), window // 2):
            part = ids[first : first + window]
            last = first + len(part)
            if last > scored:
                logits = model(input_ids=part[None], use_cache=False).logits[0, :-1].float()
                losses = F.cross_entropy(logits, part[1:], reduction="none")
                nats += losses[scored - first - 1 :].double().sum().item()
                scored = last
        tokens += len(ids) - 1
    size = sum(len(text.encode()) for text in texts)
    return {
        "bytes": size,
        "tokens": tokens,
        "nats_per_token": round(nats / tokens, 4),
        "bits_per_byte": round(nats / math.log(2) / size, 4),
        "chance_bits_per_byte": round(tokens * math.log2(len(tokenizer)) / size, 4),
    }


def xz(texts: Sequence[str], known: Sequence[str]) -> dict[str, float]:
    """Return the bits per byte that `xz -9` needs for all texts together.

    Once alone, and once after the training text: how much longer the archive of that grows.
    """
    new, old = "".join(texts).encode(), "".join(known).encode()
    alone = len(lzma.compress(new, preset=9))
    after = len(lzma.compress(old + new, preset=9)) - len(lzma.compress(old, preset=9))
    return {
        "xz_bits_per_byte": round(8 * alone / len(new), 4),
        "xz_after_training_text_bits_per_byte": round(8 * after / len(new), 4),
    }


def turns(model: Any, tokenizer: Any, texts: corpus.Corpus) -> dict[str, float]:
    """Return how often an answer ends by itself, and copies the right sentence of a context.

    The questions are made from the held-out files' docstrings, as those of training are from
    training's.
    """
    draw = Random(0)
    prose = [p for document in texts.held_out for p in questions.passages(document)]
    asked = []
    for passage in prose:
        other = draw.choice(prose)
        found = questions.grounded(passage, [other] if other != passage else [], draw)
        if found and found.answer != questions.UNKNOWN and len(passage.sentences) > 1:
            asked.append(found)
    asked = asked[:PROBES]
    answers = [_answer(model, tokenizer, pair.question, 120) for pair in asked]
    ended = sum(done for _, done in answers)
    exact = sum(words == pair.answer for (words, _), pair in zip(answers, asked, strict=True))
    return {
        "probes": len(asked),
        "ends_its_turn": round(ended / len(asked), 3),
        "copies_the_sentence": round(exact / len(asked), 3),
    }


def _answer(model: Any, tokenizer: Any, question: str, longest: int) -> tuple[str, bool]:
    talk = [{"role": "user", "content": question}]
    ids = tokenizer.apply_chat_template(
        talk, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    made = model.generate(**ids, max_new_tokens=longest, do_sample=False)
    made = made[0, ids["input_ids"].shape[1] :]
    ended = made[-1].item() in model.generation_config.eos_token_id
    return tokenizer.decode(made, skip_special_tokens=True), ended


def samples(
    model: Any, tokenizer: Any, documents: Sequence[corpus.Document]
) -> list[dict[str, str]]:
    """Return greedy completions of the middles of the longest held-out files."""
    found = []
    for document in sorted(documents, key=lambda d: len(d.text))[-SAMPLES:]:
        lines = document.text.splitlines(keepends=True)
        middle = next(
            (n for n in range(len(lines) // 2, len(lines)) if lines[n].strip().startswith("def ")),
            len(lines) // 2,
        )
        prefix = "".join(lines[max(0, middle - PREFIX_LINES) : middle + 1]).rstrip("\n")
        ids = tokenizer(prefix, return_tensors="pt", return_token_type_ids=False)
        made = model.generate(**ids, max_new_tokens=NEW_TOKENS, do_sample=False)
        words = tokenizer.decode(made[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)
        rest = "".join(lines[middle + 1 :])
        found.append(
            {
                "file": document.name,
                "prefix": "\n".join(prefix.split("\n")[-SHOWN_LINES:]),
                "made": words,
                "original": "\n" + rest[: len(words)],
            }
        )
    return found


if __name__ == "__main__":
    sys.exit(main())
