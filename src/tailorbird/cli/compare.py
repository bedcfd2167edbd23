"""`tailor compare`."""

from typing import Annotated

import typer

from tailorbird.arms import names_in_words
from tailorbird.cli import options
from tailorbird.cli.show import show_report


def compare(
    data: options.Data = None,
    model: options.Model = None,
    test: options.Test = None,
    validation: options.Validation = None,
    text: options.Text = None,
    label: options.Label = None,
    task: options.Task = None,
    group: options.Group = None,
    time: options.Time = None,
    methods: Annotated[
        str | None,
        typer.Option(
            help=f"Arms, comma-separated: {names_in_words()}. Default: all. On questions: methods "
            "in the place of lora, all for all of them, or arms such as rag,raft+lora."
        ),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            help="Trainings of each trained arm; auto: one, then more of the arms in question. "
            "Default: auto, where that takes little."
        ),
    ] = None,
    budget: Annotated[
        float | None, typer.Option(help="Minutes for all arms; what does not fit is skipped.")
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(help="Knowledge base: DATA are questions, answered from it and without it."),
    ] = None,
    documents: Annotated[
        str | None,
        typer.Option(help="The same with documents that are indexed first: files, folders, globs."),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Of questions, what is in one part only: document, paragraph, question."),
    ] = None,
    changed: Annotated[
        str | None,
        typer.Option(help="The documents after an edit; default: answers are exchanged in them."),
    ] = None,
    jobs: Annotated[int | None, typer.Option(help="Arms that run at once here.")] = None,
    search: options.Search = None,
    overlap: options.Overlap = None,
    drop_missing: options.DropMissing = False,
    output: options.Output = None,
    resume: options.Resume = False,
    config: options.ConfigFile = None,
    settings: options.Settings = None,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Run every method and retrieval on your data, on the same split, and say which to use.

    For example:

    - `tailor compare train.csv --test test.csv --output RUN`
    - `tailor compare pairs.jsonl --model MODEL`
    - `tailor compare questions.jsonl --store KB --model builtin:smollm2`
    """
    flags = {
        "data.train": options.joined(data),
        "data.test": test,
        "data.validation": validation,
        "data.text": text,
        "data.label": label,
        "data.task": task,
        "data.group": group,
        "data.time": time,
        "data.overlap": overlap,
        "data.drop_missing": drop_missing,
        "model.name": model,
        "compare.methods": [m.strip() for m in methods.split(",")] if methods else None,
        "compare.seeds": int(seeds) if seeds and seeds.isdecimal() else seeds,
        "compare.budget_minutes": budget,
        "questions.store": store,
        "questions.documents": documents,
        "questions.split": split,
        "questions.changed": changed,
        "compare.jobs": jobs,
        "search.trials": search,
        "output": output,
    }
    settled = options.make_config(config, settings, flags)
    from tailorbird.flows.questions import asks_questions
    from tailorbird.flows.run_folder import run_folder

    folder, command = run_folder(settled, "compare", resume=resume), options.command_line()
    if asks_questions(settled, resume):
        from tailorbird.flows.questions import compare_questions
        from tailorbird.report.questions import print_questions

        answers = compare_questions(settled, folder, resume=resume, command=command)
        show_report(answers, json, folder.path, print_questions)
        return
    from tailorbird.flows.compare import compare as flow
    from tailorbird.report.table import print_report

    report = flow(settled, folder, resume=resume, command=command)
    show_report(report, json, folder.path, print_report)
