"""Hyperparameter search with Optuna, robust against kills.

The study is one SQLite file that any number of processes on one machine can share. A trial belongs
to the process that locks its folder; a running trial without a lock was killed, and the next
process resumes it from its checkpoint. Draws depend only on the seed and the trial's number, so a
killed search draws what it would have drawn.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from tailorbird.config.hyperparameter_search import (
    Range,
    SearchConfig,
    Space,
    choices,
    combinations,
)
from tailorbird.errors import Hopeless, UserError
from tailorbird.metrics.metric_facts import sign
from tailorbird.records import Trial
from tailorbird.runs.checked_files import damaged
from tailorbird.runs.folder import CHECKPOINTS, RunFolder

_STUDY, _TRIALS = "study.db", "trials"
_CONFIGURED, _SECONDS, _WHY = "asked", "seconds", "why"
# With fewer, a trial has nothing to be compared with.
_TRIALS_BEFORE_PRUNING, _VALIDATIONS_BEFORE_PRUNING = 4, 2


@dataclass
class Draw:
    """One trial of this process.

    Attributes:
        default: Whether it has the user's own settings.
    """

    number: int
    values: dict[str, Any]
    default: bool
    folder: RunFolder
    trial: Any

    def observe(self, number: int, score: float) -> None:
        """Record the score of validation `number` (higher is better).

        Raises:
            Hopeless: The trial is clearly behind.
        """
        self.trial.report(score, number)
        if not self.default and self.trial.should_prune():
            raise Hopeless(f"stopped after validation {number}: clearly behind")


class Study:
    """All trials of one search.

    Args:
        options: How to search; `options.trials` is set.
        whole: Names of integer settings.
        metric: The metric of trials, which decides the direction in `trials`.
    """

    def __init__(
        self, folder: RunFolder, options: SearchConfig, space: Space, whole: set[str], metric: str
    ) -> None:
        self.folder, self.options, self.space = folder, options, space
        self._whole, self.metric = whole, metric
        self.count = options.trials or 1
        if options.sampler == "grid":
            self.count = min(self.count, 1 + combinations(space))

    def begin(self, defaults: Mapping[str, Any]) -> None:
        """Create the study unless it exists; its first trial has the settings `defaults`."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.folder.path.mkdir(parents=True, exist_ok=True)
        with self.folder.locked(wait=True):
            study = self._study()
            if not study.trials:
                fits = all(_holds(values, defaults.get(k)) for k, values in self.space.items())
                first = {name: defaults[name] for name in self.space} if fits else {}
                study.enqueue_trial(
                    first, user_attrs={_CONFIGURED: "inside" if fits else "outside"}
                )

    @contextmanager
    def claim(self) -> Iterator[Draw | None]:
        """Yield a trial for this process alone: a killed one, else a new one, else None."""
        with ExitStack() as locks:
            with self.folder.locked(wait=True):
                draw = self._abandoned(locks) or self._new(locks)
            if draw is not None and draw.trial.user_attrs.get(_CONFIGURED) != "outside":
                # After releasing the lock, which a slow sampler would hold for long.
                draw.values = {name: self._suggest(draw.trial, name) for name in self.space}
            yield draw

    def unfinished(self) -> bool:
        """Return whether any trial is unfinished, in any process."""
        states = [trial.state for trial in self._study().trials]
        return len(states) < self.count or not all(state.is_finished() for state in states)

    def tell(
        self,
        draw: Draw,
        score: float | None,
        seconds: float,
        why: str = "",
        *,
        pruned: bool = False,
    ) -> None:
        """Record a trial's result (a higher score is better) and delete files no longer needed."""
        from optuna.trial import TrialState

        draw.trial.set_user_attr(_SECONDS, seconds)
        if why:
            draw.trial.set_user_attr(_WHY, why)
        with self.folder.locked(wait=True):
            study = self._study()
            if pruned:
                study.tell(draw.trial.number, state=TrialState.PRUNED)
            elif score is None or score != score:
                study.tell(draw.trial.number, state=TrialState.FAIL)
            else:
                study.tell(draw.trial.number, score)
            best = self.best()
            for trial in study.trials:
                if trial.state.is_finished() and (best is None or trial.number != best.number):
                    place = self.place(trial.number).file(CHECKPOINTS)
                    shutil.rmtree(place, ignore_errors=True)

    def trials(self) -> list[Trial]:
        """Return all finished trials, in the order of their start."""
        states = {"COMPLETE": "ok", "PRUNED": "pruned", "FAIL": "failed"}
        better = sign(self.metric)
        trials = []
        for trial in self._study().trials:
            state = states.get(trial.state.name)
            if state is None:
                continue
            scores = sorted(trial.intermediate_values.items())
            value = trial.value if state == "ok" else max((v for _, v in scores), default=None)
            trials.append(
                Trial(
                    number=trial.number,
                    state=state,  # type: ignore[arg-type]
                    values=dict(trial.params),
                    score=None if value is None else better * value,
                    seconds=float(trial.user_attrs.get(_SECONDS, 0.0)),
                    seen=tuple((number, better * value) for number, value in scores),
                    asked=_CONFIGURED in trial.user_attrs,
                    why=str(trial.user_attrs.get(_WHY, "")),
                )
            )
        return trials

    def best(self) -> Trial | None:
        """Return the best trial; on ties the first, which may have the user's settings."""
        complete = [trial for trial in self.trials() if trial.state == "ok"]
        better = sign(self.metric)
        return max(complete, key=lambda t: (better * (t.score or 0.0), -t.number), default=None)

    def importance(self) -> dict[str, float]:
        """Return the share of the variance in score that each setting explains."""
        from optuna.importance import FanovaImportanceEvaluator, get_param_importances

        complete = [
            t for t in self.trials() if t.state == "ok" and set(t.values) == set(self.space)
        ]
        if len(complete) < 4 or len({trial.score for trial in complete}) < 2:
            return {}
        try:
            evaluator = FanovaImportanceEvaluator(seed=0)
            shares = get_param_importances(self._study(), evaluator=evaluator)
        except (ValueError, RuntimeError):  # settings that never varied
            return {}
        return {name: float(share) for name, share in shares.items()}

    def place(self, number: int) -> RunFolder:
        """Return the folder of a trial."""
        return RunFolder(self.folder.path / _TRIALS / f"{number:04d}")

    def _study(self, number: int | None = None) -> Any:
        """Open the study, to draw trial `number`, or else to read and record."""
        import optuna

        # After the last trial, the grid sampler stops Optuna's own loop, which is not used.
        sampler = optuna.samplers.RandomSampler()
        if number is not None:
            sampler = self._sampler(self.options.seed * 100_003 + number)

        path = self.folder.file(_STUDY)
        try:
            return optuna.create_study(
                storage=f"sqlite:///{path.resolve()}",
                study_name="search",
                direction="maximize",
                load_if_exists=True,
                sampler=sampler,
                pruner=self._pruner(),
            )
        except Exception as error:  # the database's errors, and optuna's
            raise damaged(path, f"{type(error).__name__}: {error}") from error

    def _sampler(self, seed: int) -> Any:
        from optuna import samplers

        if self.options.sampler == "random":
            return samplers.RandomSampler(seed=seed)
        if self.options.sampler == "grid":
            values = {name: choices(entry) or [] for name, entry in self.space.items()}
            return samplers.GridSampler(values, seed=self.options.seed)
        # Running trials count as bad, so that parallel draws differ.
        startup = max(3, min(10, self.count // 3))
        return samplers.TPESampler(seed=seed, n_startup_trials=startup, constant_liar=True)

    def _pruner(self) -> Any:
        from optuna import pruners

        if self.options.pruner == "none":
            return pruners.NopPruner()
        if self.options.pruner == "hyperband":
            return pruners.HyperbandPruner(min_resource=_VALIDATIONS_BEFORE_PRUNING)
        return pruners.MedianPruner(_TRIALS_BEFORE_PRUNING, _VALIDATIONS_BEFORE_PRUNING)

    def _abandoned(self, locks: ExitStack) -> Draw | None:
        """Take over a trial of a killed process."""
        for trial in self._study().trials:
            if trial.state.name != "RUNNING":
                continue
            try:
                locks.enter_context(self.place(trial.number).locked())
            except UserError:
                continue  # its process is alive
            return self._draw(_reopened(self._study(trial.number), trial))
        return None

    def _new(self, locks: ExitStack) -> Draw | None:
        trials = self._study().trials
        started = [trial for trial in trials if trial.state.name != "WAITING"]
        if len(started) >= self.count:
            return None
        trial = self._study(len(started)).ask()
        place = self.place(trial.number)
        place.path.mkdir(parents=True, exist_ok=True)
        locks.enter_context(place.locked())
        return self._draw(trial)

    def _draw(self, trial: Any) -> Draw:
        default = _CONFIGURED in trial.user_attrs
        return Draw(trial.number, {}, default, self.place(trial.number), trial)

    def _suggest(self, trial: Any, name: str) -> Any:
        entry = self.space[name]
        if not isinstance(entry, Range):
            return trial.suggest_categorical(name, list(entry))
        if name in self._whole:
            low, high, step = int(entry.low), int(entry.high), int(entry.step or 1)
            return trial.suggest_int(name, low, high, step=step, log=entry.log)
        return trial.suggest_float(name, entry.low, entry.high, step=entry.step, log=entry.log)


def _reopened(study: Any, trial: Any) -> Any:
    from optuna.trial import Trial as Live

    return Live(study, trial._trial_id)


def _holds(entry: Any, value: Any) -> bool:
    return entry.holds(value) if isinstance(entry, Range) else value in entry
