"""Every row that has an aim: runs its script in a short setting, and prints one table at the end.

The figures come from the scripts' own JSON lines, which are kept in a file as they come; `--table`
draws the table of such a file again, without running anything. A script whose data or peer is not
there is told in its rows. Each script by itself, with its usual sizes, measures more closely.
"""

import json
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import DATA, parser, say

HERE = Path(__file__).resolve().parent
COMMANDS = {
    "start_up": "start_up.py --rounds 2",
    "store_speed": "store_speed.py --sizes 100000",
    "store_million": "store_speed.py --sizes 1000000",
    "freshness": "freshness.py --rounds 20",
    "kill_index": "kill_index.py --kills 15",
    "embed_speed": "embed_speed.py --data {data}/scifact --documents 256 --rounds 2",
    "generate_speed": "generate_speed.py --rounds 2",
    "questions speed": "questions.py --part speed --data {data} --questions 16",
    "train_speed": "train_speed.py --data {data}/sst2 --rounds 1 --steps 20 --warm-up 5",
    "methods_speed": "train_speed.py --data {data}/sst2 --methods lora,qlora,prompt "
    "--ways tailorbird --rounds 2 --steps 20 --warm-up 5",
    "sft_speed": "sft_speed.py --shape smollm2 --ways tailorbird,trl-packed --rounds 1 --steps 2",
}
"""The commands by the names in their JSON lines, the quickest for a person to feel first."""
_LONG = ("store_million",)  # run where it is named with --only


@dataclass(frozen=True)
class Row:
    """A figure and its aim.

    Attributes:
        words: What it is.
        benchmark: Whose JSON line has it.
        place: Keys on the way to it, a dot between; a number counts in a list. Of a list that is
            reached, its length.
        aim: What it should be.
        least: Whether more is better.
        unit: After the figure.
    """

    words: str
    benchmark: str
    place: str
    aim: float
    least: bool = False
    unit: str = ""

    def figure(self, lines: dict[str, Any]) -> float | None:
        """Return the figure; None where the line, or this part of it, is not there."""
        value: Any = lines.get(self.benchmark)
        for key in self.place.split("."):
            if isinstance(value, list):
                value = value[int(key)] if len(value) > int(key) else None
            else:
                value = (value or {}).get(key)
        if isinstance(value, list):
            return float(len(value))
        return None if value is None else float(value)

    def reached(self, figure: float) -> bool:
        """Say whether the figure is as good as the aim."""
        return figure >= self.aim if self.least else figure <= self.aim


ROWS = (
    Row("predict one text, trained arm: processor", "start_up", "trained", 2.5, unit=" s"),
    Row("predict one text, other arms: processor", "start_up", "without_transformer", 1.5,
        unit=" s"),
    Row("import tailorbird: processor", "start_up", "processor_seconds.import tailorbird", 0.1,
        unit=" s"),
    Row("question at 100,000 chunks, median", "store_speed", "sizes.0.query_p50_ms", 10,
        unit=" ms"),
    Row("question at 100,000 chunks, 95 % within", "store_speed", "sizes.0.query_p95_ms", 20,
        unit=" ms"),
    Row("recall@10 at 100,000 chunks", "store_speed", "sizes.0.recall_at_10", 0.98, True),
    Row("opening 100,000 chunks and first question", "store_speed", "sizes.0.first_query_ms", 1000,
        unit=" ms"),
    Row("intake without embedding, chunks a second", "store_speed",
        "sizes.0.ingest_chunks_per_second", 10_000, True),
    Row("memory at 100,000 chunks", "store_speed", "sizes.0.peak_memory_mb", 1500, unit=" MB"),
    Row("question at 1,000,000 chunks, median", "store_million", "sizes.0.query_p50_ms", 40,
        unit=" ms"),
    Row("recall@10 at 1,000,000 chunks", "store_million", "sizes.0.recall_at_10", 0.98, True),
    Row("memory at 1,000,000 chunks", "store_million", "sizes.0.peak_memory_mb", 2500, unit=" MB"),
    Row("a document is found after, 95 % within", "freshness", "added.p95_ms", 300, unit=" ms"),
    Row("lost in kills", "kill_index", "problems", 0),
    Row("embedding, times sentence-transformers", "embed_speed", "times_as_fast", 4, True, "x"),
    Row("embedding, least cosine to its vectors", "embed_speed", "least_cosine", 0.999, True),
    Row("writing, SmolLM2, 1 at once, times transformers", "generate_speed",
        "builtin:smollm2 x1.times_as_fast", 1.5, True, "x"),
    Row("writing, SmolLM2, 16 at once", "generate_speed",
        "builtin:smollm2 x16.times_as_fast", 2, True, "x"),
    Row("writing, tutor, 1 at once", "generate_speed", "builtin:tutor x1.times_as_fast", 1.5, True,
        "x"),
    Row("writing, tutor, 16 at once", "generate_speed", "builtin:tutor x16.times_as_fast", 2, True,
        "x"),
    Row("answers with passages, batched to one by one", "questions speed", "ratio", 3, True, "x"),
    Row("LoRA, times the best-tuned Trainer", "train_speed",
        "lora.tailorbird_times.trainer-bf16-sorted", 2, True, "x"),
    Row("full, times the best-tuned Trainer", "train_speed",
        "full.tailorbird_times.trainer-bf16-sorted", 1.5, True, "x"),
    Row("LoRA, share of the product rate", "train_speed", "lora.share_of_product_rate.tailorbird",
        0.6, True),
    Row("full, share of the product rate", "train_speed", "full.share_of_product_rate.tailorbird",
        0.6, True),
    Row("QLoRA's step, times LoRA's in bf16", "methods_speed", "step_times_lora.qlora", 1.3,
        unit="x"),
    Row("prompt tuning's step, times LoRA's", "methods_speed", "step_times_lora.prompt", 1.2,
        unit="x"),
    Row("LoRA on a decoder, times TRL packed", "sft_speed",
        "tailorbird_times_tokens_per_second.trl-packed", 3, True, "x"),
    Row("its memory, of TRL packed's", "sft_speed", "tailorbird_times_memory.trl-packed", 0.6,
        unit="x"),
)  # fmt: skip


def main() -> None:
    """Run what was chosen, then draw the table."""
    options = parser(__doc__)
    options.add_argument("--data", type=Path, default=DATA)
    options.add_argument("--only", help=f"some of {', '.join(COMMANDS)}; a comma between")
    options.add_argument("--lines", type=Path, default=Path("bench.jsonl"), help="kept here")
    options.add_argument("--table", action="store_true", help="draw it from --lines, run nothing")
    choice = options.parse_args()
    names = choice.only.split(",") if choice.only else [n for n in COMMANDS if n not in _LONG]
    lines = read_lines(choice.lines)
    if not choice.table:
        for name in names:
            lines.pop(name, None)
            lines |= run(name, choice.data)
            rows = "".join(json.dumps(line) + "\n" for line in lines.values())
            choice.lines.write_text(rows, encoding="utf-8")
    print(table(lines))


def read_lines(path: Path) -> dict[str, Any]:
    """Return the JSON lines of a file by their names; nothing where there is no file."""
    if not path.is_file():
        return {}
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return {row["benchmark"]: row for row in rows}


def run(name: str, data: Path) -> dict[str, Any]:
    """Run a script and return its last JSON line by its name; nothing where it printed none."""
    command = COMMANDS[name].format(data=data)
    say(f"== {command}")
    began = time.perf_counter()
    ran = subprocess.run(
        [sys.executable, *shlex.split(command)], cwd=HERE, stdout=subprocess.PIPE, text=True,
        check=False,
    )  # fmt: skip
    say(f"== {time.perf_counter() - began:.0f} s, exit code {ran.returncode}")
    found = [line for line in ran.stdout.splitlines() if line.startswith("{")]
    return {name: json.loads(found[-1]) | {"benchmark": name}} if found else {}


def table(lines: dict[str, Any]) -> str:
    """Return the table in Markdown: row, figure, aim, whether it is reached, command."""
    drawn = ["| row | figure | aim | | command |", "|---|---|---|---|---|"]
    for row in ROWS:
        figure, sign = row.figure(lines), ">=" if row.least else "<="
        words = "not run here" if figure is None else f"{figure:,.6g}{row.unit}"
        verdict = "" if figure is None else "reached" if row.reached(figure) else "missed"
        command = COMMANDS[row.benchmark].replace("{data}", "DATA")
        drawn.append(f"| {row.words} | {words} | {sign} {row.aim:,g}{row.unit} | {verdict} "
                     f"| `{command}` |")  # fmt: skip
    machines = {
        f"{line['machine']['processor']}, {line['machine']['cores']} cores, "
        f"torch {line['machine']['packages'].get('torch')}, load {line['machine']['load_at_end']}"
        for line in lines.values()
        if "machine" in line
    }
    return "\n".join([*drawn, "", *(f"Machine: {words}" for words in sorted(machines))])


if __name__ == "__main__":
    main()
