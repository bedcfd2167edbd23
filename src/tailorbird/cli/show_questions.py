"""How a comparison on questions reaches the person: a table, or one JSON object."""

from tailorbird import log, terminal
from tailorbird.records import QuestionsReport


def show_questions(report: QuestionsReport, as_json: bool) -> None:
    """Print the JSON on stdout, or the table of the arms with the verdict below."""
    if as_json:
        print(terminal.as_json(report.to_json()))
    else:
        from tailorbird.report.questions import question_table, sentences

        console = terminal.console(stderr=False)
        console.print(question_table(report, console.width))
        for sentence in sentences(report):
            console.print(f"\n{sentence}", markup=False, highlight=False)
    if (place := log.last_folder()) is not None:
        log.say(f"report: {place / 'report.html'}")
