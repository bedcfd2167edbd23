"""Tokens a second that a language model writes on this machine, against transformers' generate.

The same model, prompts, number format and threads; every answer has the same number of tokens.
One prompt after the other, and batches of 16 of several lengths. transformers' model is loaded in
the number format that tailorbird computes in; weights are loaded before the clock starts. Rounds
are interleaved, figures medians. Prints one JSON line: tokens a second, the ratios, and the share
of tokens that both wrote alike (in bf16 equally likely ones may change places).
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from harness import emit, middle, parser, say

WORDS = "The file was read line by line, and every line that held a number was added to the sum. "


def main() -> None:
    """Measure both sides in turns."""
    options = parser(__doc__)
    options.add_argument("--models", default="builtin:smollm2,builtin:tutor")
    options.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    options.add_argument("--prompt", type=int, default=96, help="tokens of the longest prompt")
    options.add_argument("--tokens", type=int, default=48, help="of every answer")
    options.add_argument("--rounds", type=int, default=3)
    choice = options.parse_args()
    found: dict[str, Any] = {}
    for name in choice.models.split(","):
        ours, theirs, words = _sides(name, choice.tokens)
        for batch in choice.batches:
            prompts = _prompts(ours.tokenizer, batch, choice.prompt)
            rates: dict[str, list[float]] = {"tailorbird": [], "transformers": []}
            for round_ in range(choice.rounds + 1):
                answers = {}
                for side, write in (("tailorbird", ours), ("transformers", theirs)):
                    began = time.perf_counter()
                    answers[side] = write(prompts)
                    if round_:
                        seconds = time.perf_counter() - began
                        rates[side].append(batch * choice.tokens / seconds)
            pairs = zip(rates["tailorbird"], rates["transformers"], strict=True)
            alike = np.mean(np.equal(*map(np.asarray, answers.values())))
            row = {side: middle(rate, 1) for side, rate in rates.items()} | {
                "times_as_fast": middle([one / other for one, other in pairs]),
                "tokens_alike": round(float(alike), 3),
            }
            say(f"{name}, {batch} at once: {row}")
            found[f"{name} x{batch}"] = row
    emit("generate_speed", {"device": words, "tokens": choice.tokens, **found})


def _prompts(tokenizer: Any, batch: int, longest: int) -> list[np.ndarray]:
    ids = np.asarray(tokenizer(WORDS * longest)["input_ids"][: longest + batch])
    return [ids[i : i + longest - 2 * i] for i in range(batch)]


class Ours:
    """Writes as `tailor predict` and `tailor ask --model` do."""

    def __init__(self, name: str, tokens: int) -> None:
        from tailorbird.config.schema import ModelConfig
        from tailorbird.models.device import choose
        from tailorbird.models.generate import Sampling
        from tailorbird.models.load import load_generative

        self.device, self.sampling = choose(), Sampling(tokens)
        base = load_generative(ModelConfig(name=name), self.device)
        self.model, self.tokenizer = base.model, base.tokenizer

    def __call__(self, prompts: list[np.ndarray]) -> list[list[int]]:
        """Return the tokens after each prompt."""
        from tailorbird.models import generate

        rows: list[Any] = []
        remember, made = generate.rows_of, rows.extend
        generate.rows_of = lambda *a: (new := remember(*a), made(new))[0]
        try:
            generate.generate(self.model, self.tokenizer, prompts, self.sampling, self.device)
        finally:
            generate.rows_of = remember
        return [row.tokens for row in rows]


def _sides(name: str, tokens: int) -> tuple[Ours, Callable[[list[np.ndarray]], Any], str]:
    import torch
    from transformers import AutoModelForCausalLM

    from tailorbird.models.builtin import resolve

    ours = Ours(name, tokens)
    model = AutoModelForCausalLM.from_pretrained(resolve(name), dtype=ours.device.dtype).eval()
    pad = ours.tokenizer.pad_token_id or 0

    def write(prompts: list[np.ndarray]) -> list[list[int]]:
        width = max(map(len, prompts))
        ids = torch.full((len(prompts), width), pad)
        mask = torch.zeros_like(ids)
        for i, prompt in enumerate(prompts):
            ids[i, width - len(prompt) :] = torch.from_numpy(prompt)
            mask[i, width - len(prompt) :] = 1
        with torch.no_grad():
            answers = model.generate(
                input_ids=ids, attention_mask=mask, max_new_tokens=tokens, min_new_tokens=tokens,
                do_sample=False, pad_token_id=pad,
            )  # fmt: skip
        return [row[width:].tolist() for row in answers]

    return ours, write, ours.device.words


if __name__ == "__main__":
    main()
