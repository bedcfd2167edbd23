"""Train builtin:tutor from scratch: on a CPU in an hour or two, on a GPU in minutes.

The run's folder holds `tokenizer/`, `checkpoint.pt`, `log.jsonl` and at the end `model/`. The same
command again goes on with a run that was killed.
"""

import contextlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import batches
import chats
import corpus
import model as shape
import tokenizer as vocabulary
import torch
from muon import Muon
from settings import Settings, parse

CHECKPOINT, LOG, MODEL, TOKENIZER = "checkpoint.pt", "log.jsonl", "model", "tokenizer"


class Run:
    """A model being trained: all that a checkpoint holds and the next step needs."""

    def __init__(self, settings: Settings, folder: Path, texts: corpus.Corpus) -> None:
        self.settings, self.folder = settings, folder
        self.device = settings.device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.tokenizer = _tokenizer(settings, folder, texts)
        self.mixture = _mixture(settings, self.tokenizer, texts)
        self.model = shape.new(settings, self.tokenizer).to(self.device)
        self.optimizers = _optimizers(self.model, settings)
        self.step, self.tokens, self.seconds = 0, 0, 0.0
        self.loss: Callable[[torch.Tensor], torch.Tensor] = self._mean_loss
        if settings.compile:
            self.loss = torch.compile(self._mean_loss, dynamic=False)

    @property
    def done(self) -> float:
        """Return the share of training that is over, by steps or by the clock."""
        if self.settings.steps:
            return self.step / self.settings.steps
        return self.seconds / (60 * self.settings.minutes)

    def _mean_loss(self, rows: torch.Tensor) -> torch.Tensor:
        return shape.token_losses(self.model, rows).mean()

    def advance(self) -> torch.Tensor:
        """Take one step and return its loss."""
        started = time.monotonic()
        factor = rate_factor(self.done, self.settings)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * factor
        rows = self.mixture.take(self.settings.rows, self.done).to(self.device)
        with _autocast(self.device):
            loss = self.loss(rows)
        loss.backward()  # type: ignore[no-untyped-call]
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.tokens += rows.numel()
        value = loss.detach().cpu()
        self.seconds += time.monotonic() - started
        return value

    def save(self) -> None:
        """Write everything that `resume` needs."""
        state = {
            "settings": asdict(self.settings),
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "mixture": self.mixture.state(),
            "progress": (self.step, self.tokens, self.seconds),
            "random": torch.get_rng_state(),
        }
        shape.write_atomically(self.folder / CHECKPOINT, state)

    def resume(self) -> bool:
        """Go on from the folder's checkpoint, if it has one."""
        path = self.folder / CHECKPOINT
        if not path.exists():
            return False
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.mixture.restore(state["mixture"])
        self.step, self.tokens, self.seconds = state["progress"]
        torch.set_rng_state(state["random"].cpu())
        return True


def rate_factor(done: float, settings: Settings) -> float:
    """Return the share of the peak learning rate: up, level, down to zero."""
    up = min(1.0, (done + 1e-3) / max(settings.warmup, 1e-3))
    down = min(1.0, (1 - done) / (1 - settings.decay_from))
    return max(0.0, min(up, down))


def train(run: Run, stop_at: int | None = None, say: Callable[[str], None] = print) -> None:
    """Step until the time or the steps are over, saving now and then."""
    saved, shown, since = time.monotonic(), time.monotonic(), run.tokens
    losses: list[torch.Tensor] = []
    while run.done < 1 and (stop_at is None or run.step < stop_at):
        losses.append(run.advance())
        now = time.monotonic()
        if now - shown >= 10 or run.done >= 1:
            rate = (run.tokens - since) / (now - shown)
            loss = torch.stack(losses).mean().item()
            _report(run, loss, rate, say)
            losses, shown, since = [], now, run.tokens
        if now - saved >= 60 * run.settings.checkpoint_minutes:
            run.save()
            saved = now
    run.save()


def _report(run: Run, loss: float, rate: float, say: Callable[[str], None]) -> None:
    left = run.seconds / max(run.done, 1e-9) * max(0.0, 1 - run.done)
    say(
        f"step {run.step}  {run.done:6.1%}  loss {loss:.3f}  {rate:,.0f} tokens/s  "
        f"{run.tokens:,} tokens  {left / 60:.1f} min left"
    )
    line = {"step": run.step, "tokens": run.tokens, "seconds": round(run.seconds, 1), "loss": loss}
    with (run.folder / LOG).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _tokenizer(settings: Settings, folder: Path, texts: corpus.Corpus) -> Any:
    if not (folder / TOKENIZER).exists():
        learned = vocabulary.learn((d.text for d in texts.train), settings.vocabulary)
        draft = folder / f"{TOKENIZER}.draft"
        learned.save_pretrained(draft)
        draft.rename(folder / TOKENIZER)
    return vocabulary.load(folder / TOKENIZER)


def _mixture(settings: Settings, tokenizer: Any, texts: corpus.Corpus) -> batches.Mixture:
    end = tokenizer.convert_tokens_to_ids(vocabulary.END_OF_TEXT)
    files = batches.encode([d.text for d in texts.train], tokenizer, end)
    talk = batches.encode(chats.rendered(texts, tokenizer, settings.seed), tokenizer, end)
    return batches.Mixture(
        batches.Stream(files, settings.length, settings.seed),
        batches.Stream(files, settings.chat_length, settings.seed + 2),
        batches.Stream(talk, settings.chat_length, settings.seed + 1),
        settings.chat_from,
        settings.chat_share,
    )


def _optimizers(model: Any, settings: Settings) -> list[torch.optim.Optimizer]:
    named = list(model.named_parameters())
    matrices = [p for name, p in named if ".layers." in name and p.ndim == 2]
    others = [p for name, p in named if not (".layers." in name and p.ndim == 2)]
    found: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(others, settings.other_rate, betas=(0.9, 0.95), weight_decay=0.0)
    ]
    rate, decay = settings.matrix_rate, settings.weight_decay
    if settings.optimizer == "muon":
        found.append(Muon(matrices, rate, weight_decay=decay))
    else:
        found.append(torch.optim.AdamW(matrices, rate, betas=(0.9, 0.95), weight_decay=decay))
    for optimizer in found:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return found


def _autocast(device: str) -> Any:
    if device == "cuda" and torch.cuda.is_bf16_supported():
        return torch.autocast("cuda", torch.bfloat16)
    return contextlib.nullcontext()


def main() -> int:
    """Train, resume or do nothing if all is done; then write the model."""
    given, settings = parse()
    folder = Path(given.out)
    folder.mkdir(parents=True, exist_ok=True)
    run = Run(settings, folder, corpus.build())
    if run.resume():
        print(f"resumed at step {run.step}", flush=True)
    train(run, given.stop_at, lambda words: print(words, flush=True))
    if run.done >= 1:
        shape.export(run.model, run.tokenizer.name_or_path, folder / MODEL)
        print(f"wrote {folder / MODEL}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
