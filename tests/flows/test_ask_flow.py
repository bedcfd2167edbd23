"""`tailor index`, `ask` and `evaluate --store` on bundled pages, by the builtin embedder."""

import json
import select
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest
from terminal import PATIENCE, Tailor, command, environment

from tailorbird.config import METHODS

TUTOR = Path(__file__).resolve().parents[2] / "examples" / "tutor"
# All of them would take a quarter of a minute to embed.
PAGES = ("pdb.md", "conversions.md", "keyerror.md", "copying.md", "division.md", "slicing.md")


@pytest.fixture(scope="module")
def knowledge(inside: Tailor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a knowledge base of the tutor's pages, made by the command."""
    store = tmp_path_factory.mktemp("ask") / "KB"
    files = [TUTOR / "pages" / name for name in PAGES]
    done = inside("index", *files, "--store", store, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["indexed"]
    assert (told["added"], told["skipped"]) == (len(PAGES), {})
    return store


def asked(inside: Tailor, knowledge: Path, *arguments: Any, stdin: str = "") -> Any:
    done = inside("ask", *arguments, "--store", knowledge, "--json", stdin=stdin)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("question", "page", "phrase"),
    [
        ("How do I stop my program in the middle to look at variables?", "pdb.md", "breakpoint()"),
        ("Is it possible to make int read a binary number?", "conversions.md", 'int("101", 2)'),
        ("What is a KeyError?", "keyerror.md", "quotes the key it looked for"),
    ],
)
def test_a_question_is_answered_from_the_right_page(
    inside: Tailor, knowledge: Path, question: str, page: str, phrase: str
) -> None:
    found = asked(inside, knowledge, question)[0]
    cited = [citation for claim in found["claims"] for citation in claim["citations"]]
    assert Path(cited[0]["source"]).name == page
    assert phrase in found["text"] and "[1]" in found["text"]
    for citation in cited:
        text = (TUTOR / "pages" / Path(citation["source"]).name).read_text(encoding="utf-8")
        assert text[citation["start"] : citation["end"]] == citation["quote"]


def test_quoting_loads_nothing_of_training(knowledge: Path) -> None:
    code = (
        "import sys; from tailorbird.cli.main import run\n"
        "try: run()\nfinally: print('LOADED', *sorted(sys.modules))"
    )
    words = ("ask", "What is a KeyError?", "--store", str(knowledge), "--json")
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env=environment(), capture_output=True, text=True, timeout=240 * PATIENCE, check=False,
    )  # fmt: skip
    answer, _, loaded = done.stdout.partition("LOADED ")
    assert json.loads(answer)["claims"], done.stderr
    # The tables say which arms and methods there are; what they do is elsewhere.
    tables = {
        "tailorbird.arms",
        "tailorbird.arms.registry",
        "tailorbird.methods",
        "tailorbird.methods.registry",
        *(f"tailorbird.methods.{m}" for m in METHODS),
    }
    names = {name for name in loaded.split() if "tailorbird" in name} - tables
    rooms = {".".join(name.split(".")[:2]) for name in names}
    assert "tailorbird.rag" in rooms
    assert rooms.isdisjoint(f"tailorbird.{room}" for room in ("arms", "methods", "tasks", "train"))


def test_other_subjects_are_refused_and_words_are_shown(inside: Tailor, knowledge: Path) -> None:
    done = inside("ask", "Who won the world cup in 1990?", "--store", knowledge)
    assert done.stdout.startswith("I don't know.") and "Nearest:" in done.stdout
    shown = inside("ask", "What does discard do?", "--store", knowledge).stdout
    assert "Sources:\n[1] " in shown and "keyerror.md" in shown


def test_a_question_that_is_no_utf8_is_named(inside: Tailor, knowledge: Path) -> None:
    done = inside("ask", "--store", knowledge, stdin="caf\udce9 refunds\n")
    assert done.returncode == 2
    assert "the question is 'caf\\udce9 refunds'" in done.stderr


def test_code_is_shown_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    from tailorbird.cli.show_answer import show_answer
    from tailorbird.records import Answer, Citation, Claim

    long = 'merged = model.merge_and_unload(safe_merge=True, adapter_names=["first", "second"])'
    code = f"```python\nif ready:\n    {long}\n{long}\n```"
    quote = f"Load both, then merge.\n\n{code}"
    cited = Citation(1, "merge.md", "Merging", None, (), 0, len(quote), quote, 1.0)
    plain = replace(cited, number=2, quote="Two lines\nof prose.")
    claims = (Claim(quote, (cited, plain), supported=True),)
    show_answer(Answer("How?", "How?", f"{quote}\n[1]", claims))
    shown = capsys.readouterr().out
    text, sources = shown.split("Sources:")
    assert f"{code}\n[1]" in text
    indented = "\n".join(f"    {line}" for line in code.splitlines())
    assert f'    "Load both, then merge.\n\n{indented}"\n' in sources
    assert '    "Two lines of prose."' in sources


def test_a_conversation_goes_on(inside: Tailor, knowledge: Path) -> None:
    told = "What does the command s do in pdb?\nAnd which one quits it?\n"
    first, second = asked(inside, knowledge, stdin=told)
    assert "pdb" in second["searched"] and "pdb" not in second["question"]
    cited = [c["source"] for claim in second["claims"] for c in claim["citations"]]
    assert first["searched"] == first["question"] and cited[0].endswith("pdb.md")


def test_a_program_may_wait_for_each_answer(knowledge: Path) -> None:
    asking = subprocess.Popen(
        command("ask", "--store", knowledge, "--json", "--retrieve-only"),
        env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert asking.stdin and asking.stdout and asking.stderr
    with asking:
        for question in ("What is a KeyError?", "What does discard do?"):
            asking.stdin.write(f"{question}\n")
            asking.stdin.flush()
            assert select.select([asking.stdout], [], [], 60 * PATIENCE)[0], "no answer came"
            assert json.loads(asking.stdout.readline())["question"] == question
        asking.send_signal(signal.SIGINT)
        assert (asking.wait(60 * PATIENCE), asking.stderr.read()) == (130, "stopped\n")


def test_indexing_that_is_stopped_says_how_it_goes_on(tmp_path: Path) -> None:
    store = tmp_path / "KB"
    indexing = subprocess.Popen(
        command("index", TUTOR / "pages", "--store", store),
        env=environment(), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert indexing.stderr
    with indexing:
        while not (store / "ledger.sqlite").exists():
            assert indexing.poll() is None
            time.sleep(0.02)
        indexing.send_signal(signal.SIGINT)
        told = indexing.stderr.read()
        assert (indexing.wait(60 * PATIENCE), "same command continues" in told) == (130, True), told


def test_one_model_writes_for_many_threads(knowledge: Path) -> None:
    from tailorbird.config import load_config
    from tailorbird.flows.ask import open_answerer

    sets = ["ask.model=builtin:tutor", "ask.answer_tokens=6", "retrieve.k=2"]
    answerer = open_answerer(knowledge, load_config(None, sets, {}))
    questions = ["What is a KeyError?", "What does discard do?", "How do I copy a list?"]
    alone = [answerer.answer(question).text for question in questions]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda q: answerer.answer(q).text, 2 * questions)) == 2 * alone
    left = answerer.stream(questions[0])
    assert isinstance(next(left), str)
    left.close()  # type: ignore[attr-defined]
    assert answerer.answer(questions[0]).text == alone[0]


def test_an_empty_question_finds_nothing(inside: Tailor, knowledge: Path) -> None:
    for shown in ((), ("--retrieve-only",)):
        done = inside("ask", " ", "--store", knowledge, *shown)
        assert (done.returncode, "the question is empty" in done.stderr) == (2, True)


def test_known_answers_are_scored(inside: Tailor, knowledge: Path, tmp_path: Path) -> None:
    lines = (TUTOR / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if json.loads(line)["source"] in PAGES]
    queries = tmp_path / "questions.jsonl"
    queries.write_text("\n".join(rows), encoding="utf-8")
    where = ("--store", knowledge, "--queries", queries, "--output", tmp_path / "report")
    done = inside("evaluate", *where)
    assert done.returncode == 0, done.stderr
    for words in ("@5", "Token F1", "Citation precision", "Citation recall", "Refused"):
        assert words in done.stdout
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    scores = report["answers"]
    assert all(one["low"] <= one["value"] <= one["high"] for one in scores.values())
    rows_of = [json.loads(x) for x in (tmp_path / "report" / "predictions.jsonl").open()]
    refused = [row["answer"]["refused"] for row in rows_of]
    assert scores["refused"]["value"] == pytest.approx(sum(refused) / len(rows))
    assert scores["citation_recall"]["value"] == 1.0, "quotes are their own support"
    assert scores["citation_precision"]["value"] > 0.6


def test_a_model_of_this_machine_writes_within_its_room(inside: Tailor, knowledge: Path) -> None:
    sets = ("--set", "ask.answer_tokens=24", "--set", "retrieve.k=8")
    question = "Why does a KeyError show a number without quotes?"
    (found,) = asked(inside, knowledge, question, "--model", "builtin:tutor", *sets)
    assert found["generator"] == "builtin:tutor"
    assert 500 < found["prompt_tokens"] <= 1024 - 24, "as much as fits, and no more"
    assert found["dropped"] and all("did not fit" in why for _, why in found["dropped"])
    # A model of four million parameters makes no sense; what it says is marked as what it is.
    unsupported = sum(not claim["supported"] for claim in found["claims"])
    assert found["refused"] or found["text"].count("[?]") == unsupported


class _Answering(BaseHTTPRequestHandler):
    """Says of whatever it is asked what the best passage says, and something else."""

    asked: ClassVar[list[dict[str, Any]]] = []

    def do_GET(self) -> None:
        self._send({"data": [{"id": "small", "max_model_len": 900}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body)
        said = "`discard` stays silent when the item is not in the set [1]. Sets are blue [1]."
        self._send({"choices": [{"message": {"content": said}}]})

    def _send(self, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_an_endpoint_writes_and_is_checked(inside: Tailor, knowledge: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answering) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        question = "A KeyError from a set: what does discard do?"
        (found,) = asked(inside, knowledge, question, "--endpoint", url)
        server.shutdown()
    sent = _Answering.asked[0]
    assert sent["model"] == "small" and question in sent["messages"][0]["content"]
    # Of 900 tokens 256 are the answer's; a token is taken for three bytes.
    assert len(sent["messages"][0]["content"].encode()) <= 3 * (900 - 256)
    assert [claim["supported"] for claim in found["claims"]] == [True, False]
    assert "[?]" in found["text"] and found["claims"][1]["wrong"] == [1]
