"""`tailor compare`."""

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from tailorbird.arms.registry import names_in_words
from tailorbird.cli import shared_options as options
from tailorbird.cli.flags_to_config import command_line, joined, settings_of
from tailorbird.cli.show_results import show_report


@dataclass(frozen=True)
class ArmOptions:
    """Which arms run, how often and where: settings of `compare`, by their names."""

    methods: Annotated[
        str | None,
        typer.Option(
            help=f"Arms, comma-separated: {names_in_words()}. Default: all. On questions: methods "
            "instead of lora, all of them with all, or arms such as rag,raft+lora."
        ),
    ] = None
    seeds: Annotated[
        str | None,
        typer.Option(
            help="Trainings per trained arm; auto: one, then more of the close arms. "
            "Default: auto if that adds little time."
        ),
    ] = None
    budget_minutes: Annotated[
        float | None,
        typer.Option("--budget", help="Minutes for all arms; arms that do not fit are skipped."),
    ] = None
    jobs: Annotated[int | None, typer.Option(help="Arms to run in parallel.")] = None
    curve: Annotated[
        bool, typer.Option("--curve", help="Also forecast the gain from more labels.")
    ] = False
    ray: Annotated[
        str | None, typer.Option(help="Run arms and trials on the Ray cluster at HOST:PORT.")
    ] = None

    def settings(self) -> dict[str, Any]:
        """Return the typed options as settings."""
        methods, seeds = self.methods, self.seeds
        typed = {
            "methods": [m.strip() for m in methods.split(",")] if methods else None,
            "seeds": int(seeds) if seeds and seeds.isdecimal() else seeds,
            "curve": "auto" if self.curve else None,
        }
        return settings_of("compare", vars(self) | typed)


@dataclass(frozen=True)
class QuestionOptions:
    """What questions are answered from: settings of `questions`, by their names."""

    store: Annotated[
        str | None,
        typer.Option(help="Knowledge base; DATA are questions, answered with and without it."),
    ] = None
    documents: Annotated[
        str | None,
        typer.Option(help="Documents to index first, instead of --store: files, folders, globs."),
    ] = None
    split: Annotated[
        str | None, typer.Option(help="Split questions by document, paragraph or question.")
    ] = None
    changed: Annotated[
        str | None,
        typer.Option(help="Edited documents; default: answers are exchanged automatically."),
    ] = None


def compare(
    *,
    data: options.Data = None,
    model: options.Model = None,
    rows: options.RowOptions,
    arms: ArmOptions,
    questions: QuestionOptions,
    search: options.Search = None,
    run: options.RunOptions,
) -> None:
    """Compare fine-tuning methods and retrieval on your data, and recommend one.

    For example:

    - `tailor compare train.csv --test test.csv --output RUN`
    - `tailor compare pairs.jsonl --model MODEL`
    - `tailor compare questions.jsonl --store KB --model builtin:smollm2`
    """
    flags = {"data.train": joined(data), "model.name": model, "search.trials": search}
    flags |= settings_of("data", vars(rows)) | settings_of("questions", vars(questions))
    settled = run.make_config(flags | arms.settings())
    from tailorbird.flows.questions.compare import asks_questions
    from tailorbird.flows.start_or_resume import run_folder

    folder, command = run_folder(settled, "compare", resume=run.resume), command_line()
    if asks_questions(settled, run.resume):
        from tailorbird.flows.questions.compare import compare_questions
        from tailorbird.report.questions_page import print_questions

        answers = compare_questions(settled, folder, resume=run.resume, command=command)
        show_report(answers, run.json, folder.path, print_questions)
        return
    from tailorbird.flows.compare import compare as flow
    from tailorbird.report.comparison_table import print_report

    report = flow(settled, folder, resume=run.resume, command=command)
    show_report(report, run.json, folder.path, print_report)
