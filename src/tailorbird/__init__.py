"""Adapt a language model to your own task in several ways, and find out which is best.

The functions here are the verbs of the command line::

    import tailorbird

    report = tailorbird.compare("train.csv", test="test.csv", output="RUN")
    predictor = tailorbird.load("RUN")
    predictor.predict(["a gorgeous, witty film"])

    with tailorbird.KnowledgeBase("KB") as kb:
        kb.add("docs/")
        kb.ask("How do I merge an adapter?").text
"""

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tailorbird.errors import UserError, check_utf8
from tailorbird.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tailorbird.arms.predictor import Predictor
    from tailorbird.flows.knowledge_api import KnowledgeBase
    from tailorbird.records import QuestionsReport, Report

    Data = str | Path | Sequence[str | Path]

# Otherwise torch's threads spin while waiting, and beside any other program take each other's
# cores. Read when torch is loaded, so it must be set before; a user's value stays.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__all__ = ["KnowledgeBase", "UserError", "__version__", "compare", "evaluate", "load", "tune"]

# Short forms of settings, as on the command line.
_SHORT = {
    "model": "model.name",
    "method": "method.name",
    "test": "data.test",
    "validation": "data.validation",
    "text": "data.text",
    "label": "data.label",
    "task": "data.task",
    "group": "data.group",
    "time": "data.time",
    "folds": "data.folds",
    "metric": "evaluate.metric",
    "overlap": "data.overlap",
    "methods": "compare.methods",
    "seeds": "compare.seeds",
    "budget": "compare.budget_minutes",
    "search": "search.trials",
    "epochs": "train.epochs",
    "seed": "train.seed",
    "output": "output",
    "store": "questions.store",
    "documents": "questions.documents",
    "split": "questions.split",
    "changed": "questions.changed",
}


def tune(data: "Data", *, resume: bool = False, **settings: Any) -> "Report":
    """Train one model with one method; see ``tailor tune --help``.

    Args:
        data: A file, several, a pattern, a folder or a hub data set, as on the command line.
        resume: Resume the run in ``output``.
        **settings: ``method="lora"``, ``output="RUN"``, or any setting with its dot as two
            underscores: ``train__learning_rate=1e-4``.

    Raises:
        UserError: Anything wrong with the data or the settings.
    """
    from tailorbird.flows.tune import tune as flow

    return flow(_config(data, settings), resume=resume)


def compare(
    data: "Data | None" = None, *, resume: bool = False, **settings: Any
) -> "Report | QuestionsReport":
    """Run every method on the same split; see ``tailor compare --help`` and `tune`.

    With ``store=`` or ``documents=`` the data are questions, answered from the documents
    and without them.
    """
    from tailorbird.flows.compare import compare as flow
    from tailorbird.flows.questions.compare import asks_questions, compare_questions

    config = _config(data, settings)
    if asks_questions(config, resume):
        return compare_questions(config, resume=resume)
    return flow(config, resume=resume)


def evaluate(
    run: str | Path,
    data: str | Path | None = None,
    *,
    trust_remote_code: bool = False,
    **columns: Any,
) -> "Report":
    """Score a run, on its own test or on labelled `data`; see ``tailor evaluate --help``."""
    check_utf8([str(run), str(data), *columns.values()], "an argument")
    from tailorbird.flows.evaluate import Columns, evaluate as flow

    return flow(run, data, Columns(**columns), trust=trust_remote_code)


def load(run: str | Path, *, trust_remote_code: bool = False) -> "Predictor":
    """Load a run; the result's `predict` takes a list of texts, or of prompts.

    A generative run also has `stream(prompt)`, which yields an answer as it is generated.

    Args:
        run: Its folder.
        trust_remote_code: Run Python code that came with its model; only if you trust the author.

    Raises:
        UserError: There is no finished run, or it is damaged.
    """
    check_utf8(str(run), "the run")
    from tailorbird.arms.saved_arm import load as flow

    return flow(run, trust=trust_remote_code)


def __getattr__(name: str) -> Any:
    # A class is imported on access: unlike the functions above, it cannot import on call.
    if name == "KnowledgeBase":
        return import_module("tailorbird.flows.knowledge_api").KnowledgeBase
    raise AttributeError(f"module 'tailorbird' has no attribute {name!r}")


def _config(data: "Data | None", settings: dict[str, Any]) -> Any:
    from tailorbird.config import load_config

    flags = {_SHORT.get(name, name.replace("__", ".")): v for name, v in settings.items()}
    plain = {name: str(v) if isinstance(v, Path) else v for name, v in flags.items()}
    if data is not None:
        files = [data] if isinstance(data, str | Path) else data
        plain["data.train"] = ",".join(map(str, files))
    return load_config(flags=plain)
