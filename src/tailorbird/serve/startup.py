"""Opens the runs, models and knowledge bases that `tailor serve` names, or the bundled example."""

import os
import subprocess
import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from tailorbird import log
from tailorbird.errors import Faults, UserError
from tailorbird.processes import python
from tailorbird.runs.folder import ARMS, REPORT, RunFolder
from tailorbird.serve.model_registry import ModelRegistry
from tailorbird.serve.supervised_queue import in_own_thread
from tailorbird.version import __version__

NamedPlace = tuple[str, str]
"""The clients' name, and the folder or model."""


def name_places(places: Iterable[str], names: Sequence[str] = ()) -> list[NamedPlace]:
    """Return the served places with names: a folder's last part, ``RUN/ARM`` for an arm.

    Args:
        places: Folders, or models' ids.
        names: ``NAME=FOLDER``; these folders are served too.

    Raises:
        UserError: A name without a place.
    """
    pairs: list[NamedPlace] = []
    for words in names:
        name, mark, place = words.partition("=")
        if not (name.strip() and mark and place.strip()):
            raise UserError(f"--name {words} names nothing", "write --name NAME=RUN")
        pairs.append((name.strip(), place.strip()))
    rest = [place for place in places if place not in {place for _, place in pairs}]
    return [*pairs, *((_name(place), place) for place in rest)]


def _name(place: str) -> str:
    path = Path(place).expanduser()
    if not path.is_dir():
        return place
    path = path.resolve()
    return f"{path.parent.parent.name}/{path.name}" if path.parent.name == ARMS else path.name


def open_places(registry: ModelRegistry, runs: Iterable[NamedPlace], stores: Iterable[NamedPlace],
         models: Iterable[NamedPlace]) -> None:  # fmt: skip
    """Open all served places, and report all faults at once.

    Raises:
        UserError: Something cannot be opened, or two have one name.
    """
    faults = Faults()
    kinds = ((runs, registry.add_run), (stores, registry.add_store), (models, registry.add_model))
    for add, name, place in ((add, *pair) for pairs, add in kinds for pair in pairs):
        began, before = time.perf_counter(), registry.weights.saved_bytes
        try:
            in_own_thread(partial(add, name, place)).result()
        except UserError as error:
            faults.catch(error)
        else:
            shared = (registry.weights.saved_bytes - before) / 1e6
            also = f", {shared:,.0f} MB shared with models loaded before" if shared else ""
            log.say(f"{name} is loaded ({time.perf_counter() - began:.1f} s{also})")
    faults.raise_if_any()


def open_example(registry: ModelRegistry) -> None:
    """Open the bundled example: two classifiers, a generative model, and a knowledge base.

    Its training takes seconds, and is kept for the next start.

    Raises:
        UserError: The example is not part of the installation, or the disk is full.
    """
    from tailorbird.data.bundled import tutor_folder
    from tailorbird.flows.index import index
    from tailorbird.knowledge.base import KnowledgeFolder
    from tailorbird.models.builtin import SMOLLM2
    from tailorbird.models.smollm2 import package_file

    pages = tutor_folder()
    if pages is None:
        raise UserError("there is nothing to serve", "name a run: tailor serve RUN")
    place = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    place = place / "tailorbird" / f"example-{__version__}"
    run, store = place / "run", place / "pages"
    log.say(f"no run is named: serving the bundled example, from {place}")
    if not (run / REPORT).is_file():
        _compare(run)
    with KnowledgeFolder(store, registry.config.index) as kb:
        index(kb, [pages / "pages"], registry.config.index)
    runs = [(name, str(run / ARMS / name)) for name in ("probe", "rag")]
    # The larger one writes meaningful sentences, if its package is installed.
    writer = ("smollm2", SMOLLM2) if package_file() else ("tutor", "builtin:tutor")
    open_places(registry, runs, [("pages", str(store))], [writer])


def _compare(run: Path) -> None:
    """Compare two arms on the bundled example with `tailor compare`, since serving does not train.

    Raises:
        UserError: It failed; the reason is on the terminal.
    """
    words = ["compare", "--methods", "probe,rag", "--output", str(run)]
    words += ["--resume"] if RunFolder(run).exists else []
    # Its stdout is not needed; its messages and faults are on stderr.
    outcome = subprocess.run(python("tailorbird", *words), stdout=subprocess.DEVNULL)
    if outcome.returncode:
        raise UserError("the bundled example was not made", "see the messages above")
