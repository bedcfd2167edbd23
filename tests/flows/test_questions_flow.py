"""`tailor compare QUESTIONS --documents`: every arm asked the same, of an untrained model."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from terminal import Tailor

TOWNS = ("Arvik", "Borum", "Calder", "Dorste", "Elvan", "Fernow", "Garlo", "Hemsby", "Ilkem",
         "Jarnow", "Kestle", "Lunde", "Morvan", "Nesby")  # fmt: skip
MAYORS = ("Ada Holm", "Bo Lind", "Cleo Marsh", "Dag Nord", "Eva Orte", "Finn Palm", "Gro Quist",
          "Hal Rook", "Ina Sand", "Jon Toft", "Kaja Ulm", "Leo Vinter", "Mia Wold", "Nils York",
          )  # fmt: skip
RIVERS = ("Aller", "Bever", "Cuna", "Drava", "Esker", "Fulda", "Glen", "Havel", "Ilm", "Jagst",
          "Kocher", "Lahn", "Mur", "Neckar")  # fmt: skip


def facts(n: int) -> list[tuple[str, str, str]]:
    """Return question, sentence and answer of each fact of a town."""
    town = TOWNS[n]
    return [
        (f"Who is the mayor of {town}?", f"The mayor of {town} is {MAYORS[n]}.", MAYORS[n]),
        (f"When was {town} founded?", f"{town} was founded in {1610 + 7 * n}.", str(1610 + 7 * n)),
        (f"Which river flows through {town}?", f"The {RIVERS[n]} flows through it.", RIVERS[n]),
        (f"How many bridges has {town}?", f"It has {20 + n} bridges.", f"{20 + n} bridges"),
    ]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with questions, their documents, and a model of 1,024 positions."""
    import torch
    import transformers

    from tailorbird.models.builtin import resolve

    place = tmp_path_factory.mktemp("questions")
    with (place / "documents.jsonl").open("w") as documents, (place / "q.jsonl").open("w") as asked:
        for n, town in enumerate(TOWNS):
            text = " ".join(sentence for _, sentence, _ in facts(n))
            documents.write(json.dumps({"id": town, "title": town, "text": text}) + "\n")
            for question, _, answer in facts(n):
                row = {"question": question, "answers": [answer], "source": town}
                asked.write(json.dumps(row) + "\n")
            empty = {"question": f"Who sleeps in {town}?", "answers": [], "answerable": False}
            asked.write(json.dumps(empty | {"source": town}) + "\n")
    tokenizer = transformers.AutoTokenizer.from_pretrained(resolve("builtin:minilm"))
    tokenizer.model_max_length, tokenizer.eos_token = 1024, "[SEP]"
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=1024, initializer_range=0.2,
        pad_token_id=0, bos_token_id=101, eos_token_id=102,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(7)
        transformers.LlamaForCausalLM(config).save_pretrained(place / "model")
    tokenizer.save_pretrained(place / "model")
    return place


def options(files: Path, *more: Any) -> list[Any]:
    small = ("questions.answer_tokens=8", "train.epochs=1", "train.tensorboard=false",
             "questions.test=20", "questions.train=24", "index.chunk_tokens=48",
             "index.overlap_tokens=0", "questions.substitutions=3",
             "model.precision=fp32")  # fmt: skip
    sets = [word for setting in small for word in ("--set", setting)]
    return [files / "q.jsonl", "--model", files / "model", *sets, *more]


@pytest.fixture(scope="module")
def run(inside: Tailor, files: Path) -> tuple[Path, dict[str, Any]]:
    """Return the run's folder and the JSON it printed."""
    place = files / "run"
    documents = ["--documents", files / "documents.jsonl"]
    done = inside("compare", *options(files, *documents), "--output", place, "--json")
    assert done.returncode == 0, done.stderr
    return place, json.loads(done.stdout)


def test_every_arm_answers_the_same_test_questions(run: tuple[Path, dict[str, Any]]) -> None:
    place, report = run
    arms = {arm["name"]: arm for arm in report["arms"]}
    assert list(arms) == ["nearest", "quote", "base", "few_shot", "rag", "oracle", "lora",
                          "rag+lora", "raft+lora"]  # fmt: skip
    assert {name: arm["why"] for name, arm in arms.items() if arm["status"] != "ok"} == {}
    assert report["kind"] == "questions" and report["counts"]["test"] == 20
    rows = [json.loads(line) for line in (place / "predictions.jsonl").read_text().splitlines()]
    assert len(rows) == 20 and all(set(row["arms"]) == set(arms) for row in rows)
    # What is found holds the answers, so words quoted from it are right oftener than a model's
    # that was never taught anything.
    assert report["hits"]["document hit@4"]["value"] > 0.9
    right = {name: arm["scores"]["answer_match"]["value"] for name, arm in arms.items()}
    assert right["quote"] > 0.3 > right["base"]
    assert report["verdict"]["recommended"] == "quote"
    # 20 questions of five a town.
    assert report["notes"][0].startswith("the test questions come from 4 documents")


def test_no_town_is_in_two_parts(run: tuple[Path, dict[str, Any]]) -> None:
    questions = json.loads((run[0] / "data" / "questions.json").read_text())
    towns = [
        {town for item in questions[part] for town in TOWNS if town in item["question"]}
        for part in ("train", "validation", "test")
    ]
    assert not towns[0] & towns[1] and not towns[0] & towns[2] and not towns[1] & towns[2]


def test_after_the_change_the_quotation_is_the_new_answer(
    run: tuple[Path, dict[str, Any]],
) -> None:
    arms = {arm["name"]: arm for arm in run[1]["arms"]}
    change = arms["quote"]["change"]
    assert change["current"]["value"] > 0.3 and change["stale"]["value"] == 0.0
    parts = [change[part]["value"] for part in ("current", "stale", "other")]
    assert sum(parts) == pytest.approx(1.0)
    # What reads nothing answers as before, to the letter.
    assert arms["base"]["change"]["control"]["value"] == 0.0
    assert run[1]["reindex_seconds"] > 0


def test_costs_are_told(run: tuple[Path, dict[str, Any]]) -> None:
    costs = {arm["name"]: arm["cost"] for arm in run[1]["arms"]}
    assert costs["rag"]["prompt_tokens"] > 2 * costs["base"]["prompt_tokens"] > 0
    assert costs["rag"]["train_seconds"] is None and costs["lora"]["train_seconds"] > 0
    assert costs["rag+lora"]["train_seconds"] == costs["lora"]["train_seconds"]
    assert {(b["trained"], b["untrained"]) for b in run[1]["break_even"]} >= {("lora", "rag")}


def test_the_page_says_it_all_and_loads_nothing(run: tuple[Path, dict[str, Any]]) -> None:
    page = (run[0] / "report.html").read_text()
    assert "Quote the documents" in page and "After the documents changed" in page
    assert "src=" not in page and "@import" not in page
    assert str(run[0].parent) not in page


def test_a_tuned_arm_can_be_asked_by_itself(inside: Tailor, run: tuple[Path, Any]) -> None:
    done = inside("predict", run[0] / "arms" / "lora", "Question: Who?", "--json")
    assert done.returncode == 0, done.stderr


def test_going_on_asks_only_what_is_missing_and_ends_the_same(
    inside: Tailor, run: tuple[Path, dict[str, Any]]
) -> None:
    place, report = run
    (place / "report.json").unlink()
    (place / "arms" / "rag" / "answers.json").unlink()
    kept = (place / "arms" / "lora" / "answers.json").stat().st_mtime_ns
    done = inside("compare", "--resume", "--output", place, "--json")
    assert done.returncode == 0, done.stderr
    again = json.loads(done.stdout)
    assert (place / "arms" / "lora" / "answers.json").stat().st_mtime_ns == kept
    for before, after in zip(report["arms"], again["arms"], strict=True):
        assert after["scores"] == before["scores"] and after["change"] == before["change"]


def test_a_knowledge_base_and_named_arms_from_python(
    files: Path, run: tuple[Path, Any], inside: Tailor
) -> None:
    import tailorbird

    found = tailorbird.compare(
        files / "q.jsonl", store=run[0] / "knowledge", methods=["base", "quote"],
        model=str(files / "model"), questions__test=20, questions__answer_tokens=8,
        questions__substitutions=0, output=str(files / "named"),
    )  # fmt: skip
    assert [arm.name for arm in found.arms] == ["quote", "base"]  # type: ignore[union-attr]
    assert all(arm.change is None for arm in found.arms)  # type: ignore[union-attr]


def test_a_real_edit_takes_the_place_of_the_documents_it_changes(
    inside: Tailor, files: Path, run: tuple[Path, Any], tmp_path: Path
) -> None:
    edited = tmp_path / "edited" / "documents.jsonl"
    edited.parent.mkdir()
    rows = [json.loads(line) for line in (files / "documents.jsonl").read_text().splitlines()]
    asked = [json.loads(line) for line in (files / "q.jsonl").read_text().splitlines()]
    for n, row in enumerate(rows):
        row["text"] = row["text"].replace(MAYORS[n], "Zoe Quill")
    for row in asked:
        if row["question"].startswith("Who is the mayor"):
            row["changed_answers"] = ["Zoe Quill"]
    edited.write_text("".join(json.dumps(row) + "\n" for row in rows))
    questions = tmp_path / "asked.jsonl"
    questions.write_text("".join(json.dumps(row) + "\n" for row in asked))
    done = inside(
        "compare", questions, "--store", run[0] / "knowledge", "--changed", edited,
        "--methods", "quote", "--set", "questions.test=20", "--output", tmp_path / "out", "--json",
        "--model", files / "model",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert "14 documents were edited" in report["change_words"], report["change_words"]
    assert "dropped" not in report["change_words"]
    change = report["arms"][0]["change"]
    assert change["stale"]["value"] == 0.0 and change["current"]["value"] >= 0.5, change


def test_answers_are_graded_blind_and_never_twice(
    inside: Tailor, run: tuple[Path, dict[str, Any]]
) -> None:
    done = inside("evaluate", run[0], "--grade", "12", stdin="y\nn\nx\ns\n" + "y\n" * 9)
    assert done.returncode == 0, done.stderr
    assert "agrees with you on" in done.stdout and "rag" not in done.stderr.split("marks are")[1]
    graded = [json.loads(line) for line in (run[0] / "grades.jsonl").read_text().splitlines()]
    assert [row["person"] for row in graded] == [True, False] + [True] * 9
    again = inside("evaluate", run[0], "--grade", "500", "--json", stdin="n\n" * 500)
    assert again.returncode == 0, again.stderr
    rows = [json.loads(line) for line in (run[0] / "grades.jsonl").read_text().splitlines()]
    assert len(rows) == len({(row["id"], row["arm"]) for row in rows}) == 180 == 9 * 20
    told = json.loads(again.stdout)
    assert told["agreement"]["count"] == 180
    # Everything was looked at: the estimate is the person's own share.
    own = [row["person"] for row in rows if row["arm"] == "quote"]
    assert told["arms"]["quote"]["person"]["value"] == pytest.approx(sum(own) / len(own))


def test_the_run_itself_is_no_model(inside: Tailor, run: tuple[Path, Any]) -> None:
    done = inside("predict", run[0], "Who?")
    assert done.returncode == 2 and "name a tuned arm" in done.stderr


def refused(inside: Tailor, *arguments: Any) -> str:
    done = inside("compare", *arguments)
    assert done.returncode == 2, done.stderr
    return str(done.stderr)


def test_what_does_not_fit_is_told(
    inside: Tailor, files: Path, run: tuple[Path, Any], tmp_path: Path
) -> None:
    store = ["--store", run[0] / "knowledge", "--output", tmp_path / "out"]
    few = tmp_path / "few.csv"
    few.write_text("question,answer,source\n" + "Who?,Ada,Arvik\n" * 9)
    assert "9 questions, but at least 50 are needed" in refused(inside, few, *store)
    lost = tmp_path / "lost.csv"
    lost.write_text("question,answer,source\n" + "".join(f"Q{i}?,A,x{i}\n" for i in range(60)))
    said = refused(inside, lost, *store)
    assert "none of the 60 sources" in said and "'x0'" in said
    other = options(files, *store, "--set", f"index.embedder={files / 'model'}")
    assert "is embedded with builtin:minilm" in refused(inside, *other)
    assert "there is no such file" in refused(inside, tmp_path / "no.csv", *store)


def test_what_is_odd_is_counted_and_a_short_model_drops_passages(
    inside: Tailor, files: Path, run: tuple[Path, Any], models: Any, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in (files / "q.jsonl").read_text().splitlines()]
    for row in rows:
        row.pop("source")
    rows[0]["answers"] = ["nobody at all"]
    asked = tmp_path / "bare.jsonl"
    asked.write_text("".join(json.dumps(row) + "\n" for row in rows))
    small = options(files)[1:]
    small[1] = models("llama")  # 128 positions
    done = inside(
        "compare", asked, *small, "--store", run[0] / "knowledge", "--methods", "rag",
        "--set", "questions.substitutions=0", "--output", tmp_path / "out", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert "by question" in report["how"]
    assert any("name no source" in note for note in report["notes"])
    assert any("nobody at all" in note for note in report["notes"])
    (rag,) = report["arms"]
    assert any("questions were asked with fewer" in note for note in rag["notes"]), rag


class _Parrot(BaseHTTPRequestHandler):
    """An OpenAI-compatible server that answers with the last town it reads of."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        words = body["messages"][-1]["content"]
        town = next((t for t in TOWNS if t in words.rpartition("Question:")[2]), "")
        chunk = {"choices": [{"delta": {"content": f"It is {town}"}, "finish_reason": None}]}
        end = {"choices": [{"delta": {}, "finish_reason": "stop"}]}
        lines = [f"data: {json.dumps(part)}\n\n" for part in (chunk, end)] + ["data: [DONE]\n\n"]
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write("".join(lines).encode())

    def log_message(self, *_: Any) -> None:
        """Stay silent."""


def test_an_endpoint_answers_and_what_needs_training_is_skipped(
    inside: Tailor, files: Path, run: tuple[Path, Any], tmp_path: Path
) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Parrot)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        done = inside(
            "compare", files / "q.jsonl", "--store", run[0] / "knowledge", "--methods",
            "base,rag,raft+lora", "--set", f"ask.endpoint={url}", "--set", "ask.endpoint_model=m",
            "--set", "questions.test=10", "--set", "questions.substitutions=0",
            "--output", tmp_path / "out", "--json",
        )  # fmt: skip
    finally:
        server.shutdown()
    assert done.returncode == 0, done.stderr
    arms = {arm["name"]: arm for arm in json.loads(done.stdout)["arms"]}
    assert arms["raft+lora"]["status"] == "skipped" and "endpoint" in arms["raft+lora"]["why"]
    assert arms["base"]["status"] == arms["rag"]["status"] == "ok", arms
    rows = (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()
    assert all(json.loads(row)["arms"]["rag"]["answer"].startswith("It is ") for row in rows)
