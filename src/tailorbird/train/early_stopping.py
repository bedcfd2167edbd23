"""Validation during training: the best weights are saved, and without progress training ends early.

`train.patience` is the number of validations without a better one after which it ends.
"""

from typing import TYPE_CHECKING

from tailorbird import log
from tailorbird.metrics.metric_facts import is_share, metric_words
from tailorbird.records import CurvePoint

if TYPE_CHECKING:
    from torch import nn

    from tailorbird.train.journal import Journal
    from tailorbird.train.loop import Trained, TrainJob
    from tailorbird.train.resume_checkpoint import Checkpoints, State


def validate(
    model: "nn.Module",
    state: "State",
    rate: float,
    job: "TrainJob",
    journal: "Journal",
    checkpoints: "Checkpoints",
) -> bool:
    """Score the model, save it if it is the best, and return whether to stop early."""
    model.eval()
    loss, accuracy = job.validate(model)
    model.train()
    point = CurvePoint(
        step=state.step,
        epoch=round(state.examples / len(job.work.lengths), 4),
        train_loss=state.loss_sum / max(1.0, state.loss_count),
        validation_loss=loss,
        validation_accuracy=accuracy,
        learning_rate=rate,
    )
    state.curve.append(point)
    state.loss_sum, state.loss_count = 0.0, 0.0
    journal.write("validation", state.step, loss=loss, accuracy=accuracy)
    figures = (accuracy, -loss) if job.keep == "accuracy" else (-loss, accuracy)
    if figures > state.best:
        state.best, state.best_step, state.bad = figures, state.step, 0
        checkpoints.save_best(model, state.step)
    else:
        state.bad += 1
    name = job.figure
    figure = f"{100 * accuracy:.1f} %" if is_share(name) else f"{accuracy:.3f}"
    log.say(
        f"{job.title}: epoch {point.epoch:.2f}, training loss {point.train_loss:.3f}, validation "
        f"loss {loss:.3f}, {metric_words(name)} {figure}{'' if state.bad else ' (best)'}"
    )
    job.observe(len(state.curve), figures[0])
    return state.bad >= job.settings.patience


def early_stop_note(trained: "Trained") -> list[str]:
    """Return the report's note on an early stop, if there was one."""
    if not trained.stopped_early:
        return []
    return [
        f"stopped after step {trained.steps}, since validation no longer improved; "
        f"the weights of step {trained.best_step} were kept"
    ]
