"""The first step of every flow: reads files, splits the examples and checks the split."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tailorbird import log
from tailorbird.config import Config, dump_config
from tailorbird.config.schema import DataConfig
from tailorbird.data.bundled import tutor_folder
from tailorbird.data.check import check_split
from tailorbird.data.read import read_parts
from tailorbird.data.sources import Source
from tailorbird.data.split import Boundary, make_split
from tailorbird.errors import UserError
from tailorbird.flows.split_on_disk import stays_on_disk, stream_split
from tailorbird.records import TASKS, Split, has_head
from tailorbird.runs.folder import CONFIG, RunFolder
from tailorbird.runs.saved_split import has_split, load_split, save_split

WRITER = "builtin:tutor"
"""The default model of generation tasks."""


@dataclass(frozen=True)
class Prepared:
    """A checked split, its origin, and the settings completed from the data."""

    config: Config
    split: Split
    source: str
    columns: dict[str, str]


def prepare(
    config: Config,
    folder: RunFolder,
    settle: Callable[[Config, Split], Config] = lambda config, split: config,
) -> Prepared:
    """Read, split and check the data, log a summary, and save split and settings in the folder.

    Args:
        folder: Where both are saved; unchanged if anything is wrong.
        settle: Refuses settings that do not fit the data, and fills in those that depend on it.

    Raises:
        UserError: The files, their columns or rows, or the settings for them are wrong.
    """
    saved = has_split(folder)
    if saved:
        prepared = Prepared(config, *load_split(folder))
    elif stays_on_disk(config.data):
        split, columns = stream_split(config.data, folder)
        prepared = Prepared(config, split, str(config.data.train), columns)
        log_split(split)
    else:
        prepared = read_and_check(config)
    split = prepared.split
    _check_pairs(config, split)
    settled = with_default_model(settle(config, split), split)
    if not saved:
        save_split(folder, split, prepared.source, prepared.columns)
    log.say(f"run folder: {folder.path}")
    folder.write(CONFIG, dump_config(settled))
    return replace(prepared, config=settled)


def _check_pairs(config: Config, split: Split) -> None:
    if config.model.pairs != "auto" and not (split.train and split.train[0].pair):
        raise UserError(
            f"model.pairs={config.model.pairs} is for pairs of texts, and these are single ones",
            "leave it out, or name two columns: --text A,B",
        )


def read_and_check(config: Config) -> Prepared:
    """Read, split and check the data and log the findings; writes nothing."""
    data = config.data
    if data.train is None:
        raise UserError("no data was given", "name a CSV, TSV, JSONL or Parquet file")
    train, validation, test = read_parts(
        Source(data.train, data.max_examples, data.split_seed, data.group, data.time),
        validation=data.validation,
        test=data.test,
        text=data.text,
        label=data.label,
        drop_missing=data.drop_missing,
        task=data.task,
        system=data.system,
        separator=data.separator,
    )
    for note in train.notes:
        log.say(note)
    _propose_siblings(data)
    split = make_split(
        train,
        validation,
        test,
        validation_share=data.validation_share,
        test_share=data.test_share,
        seed=data.split_seed,
        by=Boundary(data.group, data.time),
    )
    split = check_split(split, overlap=data.overlap)
    log_split(split)
    folder = tutor_folder()
    bundled = folder is not None and data.train == str(folder / "train.csv")
    source = "the bundled example (debugging tutor)" if bundled else data.train
    return Prepared(config, split, source, train.columns)


def log_split(split: Split) -> None:
    """Log the sizes of the parts and the findings of the checks."""
    spec, count = TASKS[split.task], len(split.labels)
    classes = f", {count} {spec.label[1]}" if count > 1 or (count and spec.one_label) else ""
    log.say(
        f"{len(split.train):,} training, {len(split.validation):,} validation and "
        f"{len(split.test):,} test {spec.examples}{classes} ({split.how})"
    )
    for finding in split.findings:
        (log.warn if finding.level == "warning" else log.say)(finding.message)


def with_default_model(config: Config, split: Split) -> Config:
    """Return `config` with a model for the split's task, unless one is set."""
    if has_head(split.task) or "name" in config.model.model_fields_set:
        return config
    log.say(f"model: {WRITER}, as no --model was given and the task is to generate answers")
    return config.replace(model={"name": WRITER})


def _propose_siblings(data: DataConfig) -> None:
    """Log files that look like the other parts of the training file, if they are unused.

    They are only suggested: a file's name must not decide which rows test a model.
    """
    assert data.train is not None
    train = Path(data.train)
    if "train" not in train.stem:
        return
    for name, part in (("validation", "validation"), ("dev", "validation"), ("test", "test")):
        sibling = train.with_name(train.name.replace("train", name))
        if getattr(data, part) is None and sibling.is_file():
            log.say(f"{sibling} is beside it: set --{part} {sibling} to use it")


def bundled_example(config: Config) -> Config:
    """Return `config` with the bundled debugging-tutor data.

    Its programs are generated from templates, and its test part consists of held-out templates.
    """
    folder = tutor_folder()
    if folder is None:
        raise UserError(
            "the bundled example is not installed", "pip install --force-reinstall tailorbird"
        )
    files = {part: str(folder / f"{part}.csv") for part in ("train", "validation", "test")}
    columns = {"text": "text", "label": "label", "group": config.data.group or "template"}
    return config.replace(data=files | columns)
