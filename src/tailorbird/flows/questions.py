"""`tailor compare QUESTIONS --store KB`: compares retrieval, fine-tuning and their combination."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tailorbird import log
from tailorbird.arms.fork_server import QUESTION_ARM, ForkServer
from tailorbird.arms.question_arms.records import (
    QUESTION_SET,
    ArmAnswers,
    Item,
    QuestionSet,
    read_outputs,
    read_question_set,
)
from tailorbird.arms.question_arms.registry import QuestionArm, chosen_arms
from tailorbird.config import Config, dump_config, load_config
from tailorbird.data.question_files import read_answers
from tailorbird.data.question_split import PartSizes, QuestionSplit, SplitBy, split_questions
from tailorbird.errors import Interrupted, UserError
from tailorbird.flows.open_run import opened, reproduce, run_folder
from tailorbird.flows.question_budget import within_budget
from tailorbird.flows.question_change import Change, make_change
from tailorbird.flows.question_report import Facts, QuestionRun, write_report
from tailorbird.flows.question_set import (
    Finder,
    open_store,
    passages_that_fit,
    piece_of,
    with_shots,
)
from tailorbird.models.device import choose
from tailorbird.rag.retrieval_analysis import Names
from tailorbird.records import Chunk, Question, QuestionsReport
from tailorbird.runs.folder import CONFIG, RunFolder
from tailorbird.tasks.arm_job import OUTCOME, write_job

FACTS = "data/facts.json"
_CPU_ROWS = 300
_PROBED = 20
_MOSTLY, _FEWEST_DOCUMENTS = 0.9, 10


def asks_questions(config: Config, resume: bool) -> bool:
    """Return whether a comparison is one on questions about documents."""
    if resume and config.output is not None:
        file = RunFolder(config.output).file(CONFIG)
        config = load_config(file) if file.is_file() else config
    return bool(config.questions.store or config.questions.documents)


def compare_questions(
    config: Config, folder: RunFolder | None = None, *, resume: bool = False, command: str = ""
) -> QuestionsReport:
    """Run every arm on the same questions and write the report to the run folder.

    Args:
        config: `data.train` names the questions, `questions` the documents and the amounts of both.
        folder: The run folder; None: the name that `run_folder` chooses.
        resume: Resume the comparison in it; finished arms are not run again.
        command: The command line, for the report.

    Raises:
        UserError: Questions, documents or settings are wrong. An error inside one arm does not end
            the comparison.
        Interrupted: Ctrl-C; the comparison can be resumed.
    """
    started = time.time()
    if config.compare.jobs > 1 or config.compare.ray:
        raise UserError(
            "--jobs and --ray are for labelled data and written answers: arms that answer "
            "questions run one after the other",
            "leave them out",
        )
    if config.compare.curve:
        raise UserError("--curve is for labelled data and written answers", "leave it out")
    folder = folder or run_folder(config, "compare", resume=resume)
    with opened(config, folder, resume=resume) as config:
        log.say(f"run folder: {folder.path}")
        if not folder.file(QUESTION_SET).is_file():
            _prepare(config, folder)
        facts = folder.read_as(FACTS, Facts)
        arms = chosen_arms(config.compare.methods)
        with ForkServer() as runner:
            outcomes = _QuestionBench(config, folder, runner).run(arms)
        outcome = QuestionRun(
            config=config,
            question_set=read_question_set(folder),
            questions={q.id: q for q in facts.questions},
            groups=facts.groups,
            answers=outcomes,
            arms=arms,
            facts=facts,
            command=command or reproduce("compare", folder),
            started=started,
        )
        return write_report(outcome, folder)


def _prepare(config: Config, folder: RunFolder) -> None:
    """Read and split the questions, retrieve passages, and save question set and settings."""
    if config.data.train is None:
        raise UserError("no questions are given", "tailor compare QUESTIONS --store KB")
    path = Path(config.data.train)
    questions = read_answers(path)
    kb, config = open_store(config, folder, path)
    finder = Finder(kb, config, Names(name for q in questions for name in q.judged))
    notes = _check_sources(questions, finder)
    gold = finder.gold(questions)
    notes += _nowhere(questions, gold)
    config, cut = within_budget(config, chosen_arms(config.compare.methods), len(questions))
    split, config, budget = _split(config, questions, gold)
    probe = finder.search(split.test[:_PROBED], 4)
    cpu = choose(config.model.device, config.model.precision).kind == "cpu"
    k = passages_that_fit(config, probe, cpu)
    budget = (*cut, *budget, f"{k} passages before each question (questions.passages)")
    for line in (split.how, *split.notes, *budget):
        log.say(line)
    parts = [_items(finder, part, gold, 2 * k) for part in (split.train, split.validation)]
    test = _items(finder, split.test, gold, 2 * k)
    retrieve_seconds = finder.seconds
    test = with_shots(kb, split.train, test, config.questions.shots)
    change = _changed(config, folder, finder, split, gold, questions, 2 * k)
    question_set = QuestionSet(parts[0], parts[1], test, k, str(kb.folder))
    if change is not None:
        question_set = replace(
            question_set,
            changed=change.changed,
            unchanged=change.unchanged,
            changed_store=change.store,
        )
    every = (*split.train, *split.validation, *split.test)
    facts = Facts(
        questions=every,
        groups={q.id: split.groups[q.id] for q in every},
        how=split.how,
        budget=budget,
        notes=(*notes, *split.notes),
        shared_answers=split.shared_answers,
        retrieve_seconds=retrieve_seconds,
        document_hits=_document_hits(finder.names, split.test, test, k),
        change_words=change.words if change else "",
        reindex_seconds=change.seconds if change else None,
    )
    kb.close()
    folder.write(CONFIG, dump_config(config))
    folder.write_json(FACTS, asdict(facts))
    folder.write_json(QUESTION_SET, asdict(question_set))


def _check_sources(questions: Sequence[Question], finder: Finder) -> tuple[str, ...]:
    """Return notes on the questions' sources.

    Raises:
        UserError: Sources are named, but the knowledge base has none of them.
    """
    named = {source for question in questions for source in question.judged}
    if not named:
        return ("the questions name no source: an answer counts as found in any document",)
    sources = finder.sources()
    unplaced = sorted(named - sources)
    if len(unplaced) == len(named):
        raise UserError(
            f"none of the {len(named):,} sources that the questions name is in the knowledge "
            f"base: they name {unplaced[0]!r}, it has {min(sources, default='nothing')!r}",
            "name documents by their path, file name, row id or title as "
            f"`tailor index --store {finder.kb.folder} --list` shows them",
        )
    if unplaced:
        note = f"{len(unplaced):,} of {len(named):,} sources are not in the knowledge base"
        return (f"{note}, e.g. {unplaced[0]!r}",)
    return ()


def _nowhere(questions: Sequence[Question], gold: dict[str, Chunk]) -> tuple[str, ...]:
    answerable = [question for question in questions if question.answerable]
    unplaced = [question for question in answerable if question.id not in gold]
    if not unplaced:
        return ()
    note = (
        f"the answers to {len(unplaced):,} of {len(answerable):,} questions do not occur "
        f"verbatim in their documents, e.g. {unplaced[0].answers[0]!r} to "
        f"{unplaced[0].text[:60]!r}"
    )
    log.warn(note)
    return (note,)


def _split(
    config: Config, questions: Sequence[Question], gold: dict[str, Chunk]
) -> tuple[QuestionSplit, Config, tuple[str, ...]]:
    settings = config.questions
    documents = {q.document or min(q.judged, default="") for q in questions}
    sourced = sum(bool(q.judged) for q in questions) >= _MOSTLY * len(questions)
    by: SplitBy = settings.split or (
        "document" if sourced and len(documents) >= _FEWEST_DOCUMENTS else "question"
    )
    cpu = choose(config.model.device, config.model.precision).kind == "cpu"
    rows = settings.train or (_CPU_ROWS if cpu else None)
    sizes = PartSizes(settings.test, rows, settings.validation)

    def paragraph(question: Question) -> str:
        return gold[question.id].id if question.id in gold else ""

    split = split_questions(questions, by, sizes, settings.seed, paragraph)
    counts = ", ".join(
        f"{len(getattr(split, part)):,} {part}" for part in ("train", "validation", "test")
    )
    config = config.model_copy(update={"questions": settings.model_copy(update={"split": by})})
    return split, config, (f"{counts} questions (questions.train, questions.test)",)


def _items(
    finder: Finder, questions: Sequence[Question], gold: dict[str, Chunk], k: int
) -> tuple[Item, ...]:
    passages = finder.search(questions, k)
    return tuple(
        Item(
            q.id, q.text, q.answers, q.answerable, pieces,
            piece_of(gold[q.id], q.answers) if q.id in gold else None,
        )
        for q, pieces in zip(questions, passages, strict=True)
    )  # fmt: skip


def _changed(
    config: Config,
    folder: RunFolder,
    finder: Finder,
    split: QuestionSplit,
    gold: dict[str, Chunk],
    questions: Sequence[Question],
    k: int,
) -> Change | None:
    if config.questions.changed is None and not config.questions.substitutions:
        return None
    return make_change(config, folder, finder, split.test, gold, questions, k)


def _document_hits(
    names: Names, test: Sequence[Question], items: Sequence[Item], k: int
) -> dict[str, tuple[bool, ...]]:
    """Return by id whether each passage before a question is from a relevant document."""
    return {
        q.id: tuple(names(piece.source) in q.judged for piece in item.found[:k])
        for q, item in zip(test, items, strict=True)
        if q.judged
    }


@dataclass
class _QuestionBench:
    """Runs the arms one after the other, each in a process of its own."""

    config: Config
    folder: RunFolder
    runner: ForkServer

    def run(self, arms: Sequence[QuestionArm]) -> dict[str, ArmAnswers | tuple[str, str]]:
        """Return each arm's answers, or its status and the reason."""
        budget = self.config.compare.budget_minutes
        self.deadline = None if budget is None else time.monotonic() + 60 * budget
        outcomes: dict[str, ArmAnswers | tuple[str, str]] = {}
        for arm in arms:
            outcomes[arm.name] = self._arm(arm, outcomes)
            outcome = outcomes[arm.name]
            if isinstance(outcome, tuple):
                log.warn(f"{arm.name} {outcome[0]}: {outcome[1]}")
        return outcomes

    def _arm(
        self, arm: QuestionArm, before: dict[str, ArmAnswers | tuple[str, str]]
    ) -> ArmAnswers | tuple[str, str]:
        place = self.folder.arm(arm.name)
        if (outputs := read_outputs(place)) is not None:
            log.say(f"{arm.name}: already done")
            return outputs
        if arm.weights is not None and isinstance(before[arm.weights], tuple):
            return "skipped", f"it needs the weights of {arm.weights}, which has none"
        if arm.method is not None and self.config.ask.endpoint:
            return "skipped", "the model of an endpoint cannot be trained here: name a model"
        if self.deadline is not None and time.monotonic() >= self.deadline:
            return "skipped", "the budget was used up by the arms before it"
        began = time.monotonic()
        place.path.mkdir(parents=True, exist_ok=True)
        write_job(place, arm.name, self.config, self.deadline)
        code = self.runner.run(QUESTION_ARM, str(self.folder.path), str(place.path))
        if (outputs := read_outputs(place)) is not None:
            log.say(f"{arm.name}: {len(outputs.test):,} answers, {time.monotonic() - began:.0f} s")
            return outputs
        if code == Interrupted.exit_code:
            raise Interrupted("the comparison was stopped")
        if place.file(OUTCOME).is_file():
            plain = place.read_json(OUTCOME)
            return str(plain["status"]), str(plain["why"])
        memory = "; the system ended it, most likely for lack of memory" if code == -9 else ""
        return "failed", f"its process ended with exit code {code}{memory}"
