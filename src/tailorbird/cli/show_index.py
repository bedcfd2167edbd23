"""How what `tailor index` did looks on a terminal."""

from typing import Any

from tailorbird.terminal import one_line


def show_index(result: dict[str, Any]) -> None:
    """Print the documents, then a line for each thing that was done."""
    for document in result.pop("documents", []):
        print(f"{document['chunks']:>6}  {one_line(document['source'])}")
    for name, value in result.items():
        if not isinstance(value, dict):
            print(f"{name}: {value}")
            continue
        for problem in value.get("problems", ()):
            print(f"problem: {one_line(problem)}")
        words = [f"{k.replace('_', ' ')} {_plain(v)}" for k, v in value.items() if _plain(v)]
        print(f"{name}: {', '.join(words)}")
        if left_out := len(value.get("skipped", ())):
            print(f"left out: {left_out:,} files, each named above with its reason")


def _plain(value: Any) -> str:
    """Return a value that is no list in words, one that is as nothing."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.1f}"
    return f"{value:,}" if isinstance(value, int) else value if isinstance(value, str) else ""
