"""What reading a file costs: peak memory and seconds, of all its rows and of a sample.

Makes a JSONL file of the given size (30 words, a label and an id per row), and reads it in fresh
processes: whole, and with `data.max_examples`. A file whose rows do not fit half of the free memory
is refused with a limit to set; then `rows` is 0 and `why` says so. Prints one JSON line.
"""

import json
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

from harness import emit, fresh, parser, say


def main() -> None:
    """Make the file and read it."""
    asked = parser(__doc__)
    asked.add_argument("--megabytes", type=int, default=300)
    asked.add_argument("--most", type=int, default=100_000, help="rows of the sample")
    asked.add_argument("--folder", type=Path, help="where to make the file; default: a temporary")
    asked.add_argument("--only-sample", action="store_true", help="do not read the whole file")
    asked.add_argument("--child", nargs=2, help=argument_help())
    given = asked.parse_args()
    if given.child:
        print(json.dumps(_read(*given.child)))
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as scratch:
        path = Path(scratch) / "rows.jsonl"
        rows = _make(path, given.megabytes)
        say(f"made {rows:,} rows")
        limits = [str(given.most)] if given.only_sample else ["0", str(given.most)]
        found = [fresh(__file__, "--child", str(path), most) for most in limits]
    emit("read_memory", {"megabytes": given.megabytes, "rows": rows, "reads": found})


def argument_help() -> str:
    """Return the help of what only this script passes on to itself."""
    return "FILE ROWS: read it in this process and print what it cost"


def _make(path: Path, megabytes: int) -> int:
    draw = random.Random(1)
    words = [f"w{i}" for i in range(5000)]
    count = size = 0
    with path.open("w", encoding="utf-8") as file:
        while size < megabytes * 1_000_000:
            text = " ".join(draw.choices(words, k=30))
            row = {"text": text, "label": f"c{draw.randrange(20)}", "id": count}
            size += file.write(json.dumps(row) + "\n")
            count += 1
    return count


def _read(path: str, most: str) -> dict[str, object]:
    from tailorbird.data.read import read_examples
    from tailorbird.data.sources import Source
    from tailorbird.errors import UserError

    started, rows, why = time.perf_counter(), 0, ""
    try:
        rows = len(read_examples(Source(path, int(most) or None)).examples)
    except UserError as error:
        why = str(error)
    scale = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
    return {
        "max_examples": int(most) or None,
        "rows": rows,
        "seconds": round(time.perf_counter() - started, 1),
        "peak_mb": round(peak / 1e6),
        "why": why,
    }


if __name__ == "__main__":
    main()
