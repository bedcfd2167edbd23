"""SECURITY.md says the limits that hold."""

from pathlib import Path

from tailorbird import yaml_text
from tailorbird.config.knowledge import IndexConfig
from tailorbird.config.schema import ServeConfig
from tailorbird.data import raw_rows, template_sandbox as sandbox, textfile
from tailorbird.documents import archive, ignore_rules, readers, zip_xml
from tailorbird.rag import endpoint, http_connection


def test_the_limits_that_are_promised_are_those_of_the_code(root: Path) -> None:
    promises = {line.split(" | ")[0].strip("| "): line
                for line in (root / "SECURITY.md").read_text(encoding="utf-8").splitlines()
                if line.startswith("| ")}  # fmt: skip
    index, serve = IndexConfig(), ServeConfig()
    limits: dict[str, list[str]] = {
        "YAML": [
            f"{yaml_text.MOST_CHARACTERS:,} characters, {yaml_text.MOST_DEPTH} levels",
            f"{yaml_text.MOST_VALUES:,} values",
            f"stand for {2 * yaml_text.MOST_CHARACTERS:,} characters",
            f"numbers of {yaml_text.LONGEST_NUMBER}",
        ],
        "a chat template": [
            f"{sandbox.SECONDS:g} s, {sandbox.MEMORY_BYTES >> 20:,} MB",
            f"{sandbox.LONGEST_TEMPLATE:,} characters of its own",
            f"{sandbox._MOST_TIMES} times what it was given and {sandbox._SPARE:,}",
        ],
        "an endpoint: its whole answer": [
            f"{http_connection.MOST_BYTES >> 20} MB; "
            f"lines of {http_connection.LONGEST_LINE >> 20} MB",
            f"{endpoint._LONGEST_TOKEN} characters per token",
        ],
        "a document: reading it": [
            f"({index.seconds_per_file:g} s)",
            f"({index.worker_memory_mb:,.0f} MB)",
            f"({index.max_file_mb:g} MB)",
        ],
        "a document: what it grows to": [
            f"archive {zip_xml.MOST_BYTES >> 20:,} MB",
            f"beyond {zip_xml._BOMB_BYTES >> 20} MB {zip_xml._BOMB_RATIO} times",
            f"a text {readers._MOST_GROWTH} times",
        ],
        "an archive of documents": [
            f"{archive.MOST_MEMBERS:,} files",
            f"{archive.DEEPEST} deep, {zip_xml.MOST_BYTES >> 20:,} MB",
        ],
        "training data": [
            f"lines of {textfile.MAX_LINE_CHARACTERS:,} characters",
            f"cells of {raw_rows.MAX_CELL_CHARACTERS:,}",
            f"beyond {textfile._BOMB_BYTES >> 20} MB, {textfile._BOMB_RATIO} times",
        ],
        "a request to": [
            f"({serve.request_mb:g} MB), `serve.request_inputs` ({serve.request_inputs})",
            f"({serve.answer_tokens:,}), `serve.deadline_seconds` ({serve.deadline_seconds:g} s)",
        ],
        "what waits": [f"({serve.queue_inputs:,}), `serve.queue_tokens` ({serve.queue_tokens:,})"],
        "ignore files": [f"{ignore_rules._LARGEST_BYTES:,} bytes"],
    }
    assert endpoint._SECONDS_PER_TOKEN == 0.5  # "half a second"
    missing = [
        f"{name}: {limit}"
        for name, words in limits.items()
        for limit in words
        if not any(limit in line for key, line in promises.items() if key.startswith(name))
    ]
    assert missing == []
