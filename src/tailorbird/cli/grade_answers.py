"""`tailor evaluate RUN --grade N`: grading on the terminal."""

import sys
from pathlib import Path

from tailorbird import log, terminal
from tailorbird.metrics.display import metric_range, percent
from tailorbird.terminal import one_line


def grade_answers(run: Path, count: int, as_json: bool) -> None:
    """Show answers one by one, read a grade for each, and compare with the metric.

    The arm and the metric's grade are not shown.
    """
    from tailorbird.flows.manual_grading import draw, grades, grades_json, keep
    from tailorbird.runs.folder import RunFolder

    folder = RunFolder(run)
    pairs = draw(folder, count)
    log.say("right? y: yes, n: no, s: skip, q: stop; marks are kept in grades.jsonl")
    for number, pair in enumerate(pairs, start=1):
        right = "; ".join(map(one_line, pair.answers)) or "(the documents hold no answer)"
        log.say(f"\n{number} of {len(pairs)}  {one_line(pair.question)}")
        log.say(f"  known:  {right}")
        log.say(f"  answer: {one_line(pair.answer) or '(nothing)'}")
        mark = _mark()
        if mark == "q":
            break
        if mark != "s":
            keep(folder, pair, mark == "y")
    result = grades(folder)
    if result is None:
        log.say("nothing was graded")
    elif as_json:
        print(terminal.as_json(grades_json(result)))
    else:
        agreement = result.agreement
        span = metric_range("accuracy", agreement.same)
        share = percent(agreement.same.value)
        print(f"\nThe metric agrees with you on {share} of {agreement.count} ({span}).")
        print(f"Only it calls {agreement.only_metric} right, only you {agreement.only_person}.")
        for name, (by_metric, score) in result.arms.items():
            yours = f"{percent(score.value)} ({metric_range('accuracy', score)}) by you"
            print(f"  {name}: {percent(by_metric)} by the metric, {yours}")


def _mark() -> str:
    """Return a grade; the end of input stops."""
    while True:
        # input() would write its prompt to stdout, which is for results only.
        print("  right? [y/n/s/q] ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            return "q"
        if (word := line.strip().lower()[:1]) in ("y", "n", "s", "q"):
            return word
