"""Answers in words from end to end: `tailor tune`, `compare`, `evaluate` and `predict`.

Within this process, but for the slow ones and the second look at saved models.
"""

import csv
import io
import json
import shlex
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from terminal import FAST, PATIENCE, Tailor
from test_tune_flow import lines_of, start, wait_for

import tailorbird
import tiny
from tailorbird.records import report_from_json
from tailorbird.runs.folder import RunFolder
from tailorbird.runs.saved_split import load_split
from tailorbird.tasks.generative_scoring import load_values, save_values
from tailorbird.tasks.registry import get_task

LABELLED = {"food": "eat it", "space": "look up", "sport": "play it"}
ARMS = ("nearest", "base", "rag", "lora", "prompt", "rag+best")
QUICK = [
    *FAST,
    *("--set", "evaluate.examples=6", "--set", "generate.max_new_tokens=8"),
    *("--set", "train.epochs=1", "--set", "method.rank=2"),
]
ANSWER_METRICS = {"exact_match", "rouge_l", "token_f1"}


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write JSON Lines and return the path."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def free_rows() -> list[dict[str, Any]]:
    """Return 60 prompts whose answers all differ."""
    return [
        {"prompt": text, "completion": f"this is about {label} : {text}"}
        for text, label in tiny.rows()
    ]


def label_rows() -> list[dict[str, Any]]:
    """Return 60 prompts with one of three answers."""
    return [{"prompt": text, "completion": LABELLED[label]} for text, label in tiny.rows()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the data, apart from the runs."""
    folder = tmp_path_factory.mktemp("writing")
    rows = free_rows()
    # Chosen by hand: every fourth row, so that classes and lengths are mixed.
    write_rows(folder / "learn.jsonl", [row for i, row in enumerate(rows) if i % 4])
    write_rows(folder / "judge.jsonl", rows[::8])
    write_rows(folder / "exam.jsonl", rows[4::8])
    write_rows(folder / "labels.jsonl", label_rows())
    (folder / "other.txt").write_text("A text outside the task, to be read before and after. " * 9)
    return folder


@pytest.fixture(scope="module")
def given(place: Path) -> list[Any]:
    """Return the arguments that name the data."""
    files = [place / "learn.jsonl", "--test", place / "exam.jsonl"]
    files += ["--validation", place / "judge.jsonl"]
    return [*files, "--set", f"evaluate.reference={place / 'other.txt'}"]


@pytest.fixture(scope="module")
def compared(
    inside: Tailor, given: list[Any], tiny_decoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """Return a finished comparison and the JSON it printed."""
    run = tmp_path_factory.mktemp("compared") / "run"
    asked = [*given, "--model", tiny_decoder, "--methods", ",".join(ARMS), *QUICK]
    done = inside("compare", *asked, "--output", run, "--json")
    assert done.returncode == 0, done.stderr
    return run, json.loads(done.stdout)


def by_name(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {arm["name"]: arm for arm in report["arms"]}


def rows_of(run: Path, arm: dict[str, Any]) -> list[dict[str, Any]]:
    lines = (run / arm["run"] / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def check_losses_are_read_alone(run: Path) -> None:
    """Check that the reload check compares the same batches, and names a reason."""
    folder = RunFolder(run)
    values, split = load_values(folder), load_split(folder)[0]
    alone = values["check/loss_sums"]
    assert alone == pytest.approx(values["test/loss_sums"][: len(alone)], rel=1e-2)
    save_values(folder, values | {"check/loss_sums": alone + 1})
    with tailorbird.load(run) as predictor:
        check = get_task(split.task).reload_check(predictor, folder, split)
    save_values(folder, values)
    assert (check.identical, bool(check.why)) == (False, True)


def check_report(report: dict[str, Any], kind: str, headline: str, at_floor: bool = False) -> None:
    """Check what other programs rely on in report.json; at the floor no arm is recommended."""
    assert json.loads(json.dumps(report_from_json(report).to_json())) == report
    assert (report["kind"], report["headline"]) == (kind, headline)
    old = {"best", "recommended", "tied_with", "reason"}
    assert set(report["verdict"]) == old | {"open", "margin", "luck", "effective"}
    assert (report["verdict"]["recommended"] not in by_name(report)) is at_floor
    shown = report["data"]["shown"]
    assert shown
    assert {piece["trained"] for text in shown for piece in text} == {True, False}
    for arm in report["arms"]:
        assert arm["status"] == "ok", (arm["name"], arm["why"])
        assert arm["reload"]["identical"], (arm["name"], arm["reload"])
        assert headline in arm["test"]
        for score in arm["test"].values():
            assert score["low"] <= score["value"] <= score["high"]


# --- a comparison ----------------------------------------------------------------------------


def test_compare_reports_every_arm(compared: tuple[Path, dict[str, Any]]) -> None:
    run, report = compared
    check_report(report, "compare", "token_f1")
    assert report == json.loads((run / "report.json").read_text())
    names = list(by_name(report))
    assert names[:-1] == list(ARMS[:-1])
    assert names[-1] in ("rag+lora", "rag+prompt")
    assert report["data"]["task"] == "generation"
    assert report["data"]["counts"] == {"train": 45, "validation": 8, "test": 7, "answered": 6}
    for arm in report["arms"]:
        assert (run / arm["run"] / "model").is_dir()
    for name in ("config.yaml", "report.html", "environment.json"):
        assert (run / name).is_file()


def test_every_arm_was_asked_the_same(compared: tuple[Path, dict[str, Any]]) -> None:
    run, report = compared
    asked = [
        [(row["row"], row["prompt"], row["reference"]) for row in rows_of(run, arm)]
        for arm in report["arms"]
    ]
    assert len(asked[0]) == 6
    assert all(other == asked[0] for other in asked)
    exam = free_rows()[4::8]
    assert all((p, r) == tuple(exam[n - 1].values()) for n, p, r in asked[0])


def test_scores_are_the_means_of_the_predictions(compared: tuple[Path, dict[str, Any]]) -> None:
    run, report = compared
    for arm in report["arms"]:
        rows = rows_of(run, arm)
        for name in ANSWER_METRICS:
            mean = np.mean([row[name] for row in rows])
            assert arm["test"][name]["value"] == pytest.approx(mean, abs=1e-6)
        same = [row["output"].strip() == row["reference"] for row in rows]
        assert arm["test"]["exact_match"]["value"] == pytest.approx(np.mean(same))


def test_the_nearest_copies_an_answer_from_the_training_data(
    compared: tuple[Path, dict[str, Any]],
) -> None:
    run, report = compared
    known = {row["completion"] for i, row in enumerate(free_rows()) if i % 4}
    outputs = {row["output"] for row in rows_of(run, by_name(report)["nearest"])}
    assert outputs <= known
    assert "loss" not in by_name(report)["nearest"]["test"]


def test_the_bases_loss_is_transformers_own(
    compared: tuple[Path, dict[str, Any]], tiny_decoder: Path
) -> None:
    """Mean nats per token of all the test answers, each with the token that ends it."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run, report = compared
    saved = run / "arms" / "base" / "model"
    model = AutoModelForCausalLM.from_pretrained(tiny_decoder).eval()
    tokenizer = AutoTokenizer.from_pretrained(saved)
    total, count = 0.0, 0
    for row in free_rows()[4::8]:
        turns = [{"role": "user", "content": row["prompt"]}]
        prompt = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
        answer = tokenizer(row["completion"], add_special_tokens=False)["input_ids"]
        ids = torch.tensor([[*prompt, *answer, tokenizer.eos_token_id]])
        with torch.no_grad():
            logits = model(input_ids=ids).logits[0, len(prompt) - 1 : -1]
        losses = torch.nn.functional.cross_entropy(logits, ids[0, len(prompt) :], reduction="none")
        total, count = total + float(losses.sum()), count + len(losses)
    base = by_name(report)["base"]
    # The machine may compute in bf16.
    assert base["test"]["loss"]["value"] == pytest.approx(total / count, rel=0.01)


def test_what_training_forgot_is_measured_of_trained_arms(
    compared: tuple[Path, dict[str, Any]],
) -> None:
    arms = by_name(compared[1])
    for name in ("lora", "prompt"):
        found = arms[name]["forgetting"]
        assert found["source"] == "other.txt"
        assert found["before"] != found["after"]
        assert found["tokens"] > 50
    # The same windows for both, though virtual tokens leave less room.
    assert len({arms[name]["forgetting"]["before"] for name in ("lora", "prompt")}) == 1
    assert arms["base"]["forgetting"] is None


def test_pairs_stand_before_the_prompts_of_rag(compared: tuple[Path, dict[str, Any]]) -> None:
    run, report = compared
    arms = by_name(report)
    mixed = next(name for name in arms if name.startswith("rag+"))
    for name in ("rag", mixed):
        assert arms[name]["settings"]["k"] in (1, 2, 4, 8)
        assert any("similar training pairs" in note for note in arms[name]["notes"])
    told = json.loads((run / "arms" / mixed / "model" / "prompted.json").read_text())
    assert told["tuned"] == mixed.removeprefix("rag+")


def test_what_was_trained_cost_something(compared: tuple[Path, dict[str, Any]]) -> None:
    arms = by_name(compared[1])
    assert arms["prompt"]["cost"]["trainable_parameters"] == 20 * tiny.HIDDEN
    assert arms["lora"]["cost"]["trainable_parameters"] > 0
    assert arms["base"]["cost"]["trainable_parameters"] == 0
    for name in ("lora", "prompt"):
        assert arms[name]["cost"]["tokens_per_second"] > 0
        assert arms[name]["curve"]
    totals = {arms[name]["cost"]["total_parameters"] for name in ("base", "rag")}
    assert len(totals) == 1


@pytest.mark.slow
def test_a_finished_comparison_is_not_run_again(
    compared: tuple[Path, dict[str, Any]], inside: Tailor, given: list[Any]
) -> None:
    run, report = compared
    done = inside("compare", given[0], "--resume", "--output", run, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("already done") == 6
    arms = by_name(json.loads(done.stdout))
    assert {n: a["test"] for n, a in arms.items()} == {
        n: a["test"] for n, a in by_name(report).items()
    }


@pytest.mark.parametrize(
    ("rows", "methods", "says"),
    [
        ("labels.jsonl", "majority,lora", "there is no arm majority for written answers"),
        ("labels.jsonl", "probe", "there is no arm probe for written answers"),
        ("texts.jsonl", "rag,base", "there is no arm rag for plain text"),
        ("classes.csv", "nearest,base", "there is no arm nearest, base for labels"),
    ],
)
def test_arms_of_another_task_are_refused_with_those_there_are(
    inside: Tailor, place: Path, tmp_path: Path, rows: str, methods: str, says: str
) -> None:
    write_rows(place / "texts.jsonl", [{"text": row["prompt"]} for row in free_rows()])
    tiny.write_csv(place / "classes.csv")
    done = inside("compare", place / rows, "--methods", methods, "--output", tmp_path / "run")
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert "choose among: " in done.stderr
    assert "Traceback" not in done.stderr


# --- what was made, used ---------------------------------------------------------------------


def test_an_arm_scores_its_own_test_file_as_it_was_scored(
    compared: tuple[Path, dict[str, Any]], inside: Tailor, place: Path, tmp_path: Path
) -> None:
    run, report = compared
    for name in ("lora", "nearest"):
        out = tmp_path / name
        exam = place / "exam.jsonl"
        done = inside("evaluate", run / "arms" / name, exam, "--output", out, "--json")
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found["headline"] == "token_f1"
        (arm,) = found["arms"]
        before = {row["row"]: row for row in rows_of(run, by_name(report)[name])}
        again = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
        assert len(again) == 7
        assert [row for row in again if row["row"] in before] == list(before.values())
        if name == "lora":
            # The loss is of all seven answers there and here.
            assert arm["test"]["loss"]["value"] == pytest.approx(
                by_name(report)[name]["test"]["loss"]["value"], rel=1e-4
            )
        assert (out / "report.html").is_file()


def test_an_arm_can_be_evaluated_alone(
    compared: tuple[Path, dict[str, Any]], inside: Tailor
) -> None:
    run, report = compared
    done = inside("evaluate", run / "arms" / "prompt", "--json")
    assert done.returncode == 0, done.stderr
    (arm,) = json.loads(done.stdout)["arms"]
    assert arm["test"] == by_name(report)["prompt"]["test"]


def test_predictions_of_a_text_a_file_and_stdin_are_one_and_the_same(
    compared: tuple[Path, dict[str, Any]], inside: Tailor, tmp_path: Path
) -> None:
    run = compared[0] / "arms" / "lora"
    text = "the moon again"
    one = inside("predict", run, text, "--json")
    assert one.returncode == 0, one.stderr
    (answer,) = json.loads(one.stdout)["predictions"]
    assert set(answer) == {"prompt", "text", "tokens", "ended", "neighbours"}
    assert answer["prompt"] == text
    assert 0 < answer["tokens"] <= 8
    streamed = inside("predict", run, text)
    assert streamed.stdout == answer["text"] + "\n"
    lines = inside("predict", run, stdin=f"{text}\na comet again\n")
    assert lines.returncode == 0, lines.stderr
    found = list(csv.DictReader(io.StringIO(lines.stdout)))
    assert [row["prompt"] for row in found] == [text, "a comet again"]
    assert found[0]["answer"] == answer["text"]
    path = tmp_path / "new.csv"
    path.write_text("id,prompt\n7,the moon again\n8,a comet again\n")
    done = inside("predict", run, path, "--output", tmp_path / "out.csv")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        kept = list(csv.DictReader(file))
    assert [list(row) for row in kept] == [["id", "prompt", "answer"]] * 2
    assert [row["id"] for row in kept] == ["7", "8"]
    assert [row["answer"] for row in kept] == [row["answer"] for row in found]


def test_retrieval_shows_what_it_stood_on(
    compared: tuple[Path, dict[str, Any]],
) -> None:
    import tailorbird

    run, report = compared
    text = free_rows()[1]["prompt"]  # a training prompt: its own answer is the nearest
    nearest = tailorbird.load(run / "arms" / "nearest").predict([text])[0]
    assert nearest.text == free_rows()[1]["completion"]
    assert nearest.neighbours[0].text == text
    rag = tailorbird.load(run / "arms" / "rag").predict([text])[0]
    assert len(rag.neighbours) == by_name(report)["rag"]["settings"]["k"]
    assert rag.neighbours[0].label == free_rows()[1]["completion"]


def test_a_comparisons_folder_answers_with_what_it_recommends(
    compared: tuple[Path, dict[str, Any]],
) -> None:
    import tailorbird

    run, report = compared
    whole = tailorbird.load(run).predict(["the moon again"])
    arm = run / "arms" / report["verdict"]["recommended"]
    assert whole == tailorbird.load(arm).predict(["the moon again"])


# --- other data, other marks -----------------------------------------------------------------


def quick_tune(data: Path, model: Path, place: Path, run: Path, **more: Any) -> Any:
    """Train for an epoch by the Python API."""
    import tailorbird

    return tailorbird.tune(
        data,
        model=model,
        output=run,
        epochs=1,
        train__tensorboard=False,
        evaluate__examples=6,
        evaluate__reference=str(place / "other.txt"),
        generate__max_new_tokens=8,
        **more,
    )


def test_answers_that_are_labels_are_chosen_among_them(
    place: Path, tiny_decoder: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    report = quick_tune(
        place / "labels.jsonl", tiny_decoder, place, run, method="lora", method__rank=2
    )
    check_report(json.loads(json.dumps(report.to_json())), "tune", "choice_accuracy")
    rows = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    assert {row["output"] for row in rows} <= set(LABELLED.values())
    right = np.mean([row["output"] == row["reference"] for row in rows])
    assert report.arms[0].test["choice_accuracy"].value == pytest.approx(right)
    # Other answers, all different: by themselves they would be scored as free text.
    import tailorbird

    exam = write_rows(tmp_path / "exam.jsonl", free_rows()[:6])
    again = tailorbird.evaluate(run, exam)
    assert again.headline == "choice_accuracy"
    assert {answer.output for answer in again.arms[0].answers} <= set(LABELLED.values())
    assert again.arms[0].test["choice_accuracy"].value == 0
    assert tailorbird.evaluate(run, exam, metric="token_f1").headline == "token_f1"


@pytest.mark.slow
def test_a_metric_of_ones_own_decides(place: Path, tiny_decoder: Path, tmp_path: Path) -> None:
    own = tmp_path / "marks.py"
    own.write_text(
        "def share_of_vowels(output, reference, prompt):\n"
        "    return sum(c in 'aeiou' for c in output) / max(1, len(output)) + len(prompt)\n"
    )
    run = tmp_path / "run"
    report = quick_tune(
        place / "learn.jsonl",
        tiny_decoder,
        place,
        run,
        method="prompt",
        method__virtual_tokens=4,
        evaluate__metric=f"{own}:share_of_vowels",
    )
    assert report.headline == "share_of_vowels"
    rows = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    expected = [
        sum(c in "aeiou" for c in row["output"]) / max(1, len(row["output"])) + len(row["prompt"])
        for row in rows
    ]
    score = report.arms[0].test["share_of_vowels"].value
    assert score == pytest.approx(np.mean(expected), abs=1e-5)


def test_plain_text_is_read_on(tiny_decoder: Path, place: Path, tmp_path: Path) -> None:
    data = tmp_path / "book.txt"
    paragraphs = [" ".join(text for text, _ in tiny.rows()[i : i + 3]) for i in range(0, 50)]
    data.write_text("\n\n".join(paragraphs))
    run = tmp_path / "run"
    report = quick_tune(data, tiny_decoder, place, run, method="lora", method__rank=2)
    plain = json.loads(json.dumps(report.to_json()))
    assert report_from_json(plain) == report
    assert (report.headline, report.data.task) == ("loss", "text")
    (arm,) = report.arms
    assert set(arm.test) == {"loss", "perplexity"}
    assert arm.test["perplexity"].value == pytest.approx(np.exp(arm.test["loss"].value))
    assert arm.reload is not None
    assert arm.reload.identical and arm.reload.examples, arm.reload
    check_losses_are_read_alone(run)
    assert (run / "predictions.jsonl").read_text() == ""
    # Every token of a text but its first is trained: nothing is for reading only.
    trained = [piece.trained for text in report.data.shown for piece in text]
    assert trained.count(False) <= len(report.data.shown)


def test_an_encoder_is_no_writer(place: Path, tiny_encoder: Path, inside: Tailor) -> None:
    run = place / "none"
    done = inside("tune", place / "labels.jsonl", "--model", tiny_encoder, "--output", run)
    assert done.returncode == 2, done.stderr
    assert "cannot generate text" in done.stderr
    assert "builtin:tutor" in done.stderr


# --- stopping, going on, several seeds, a model that learnt something ------------------------


@pytest.mark.slow
def test_ctrl_c_leaves_a_run_to_go_on_with(
    place: Path, tiny_decoder: Path, tailor: Tailor, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    asked = ["tune", place / "labels.jsonl", "--model", tiny_decoder, "--method", "lora", *QUICK]
    asked += ["--set", "train.epochs=60", "--set", "train.patience=999"]
    asked += ["--set", f"evaluate.reference={place / 'other.txt'}", "--output", run]
    process = start(*asked)
    wait_for(lambda: lines_of(run / "journal.jsonl") > 8, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=100 * PATIENCE)
    assert (process.returncode, out) == (130, ""), err
    assert "--resume" in err
    done = tailor(*asked, "--resume", "--json")
    assert done.returncode == 0, done.stderr
    assert "continuing after step" in done.stderr
    check_report(json.loads(done.stdout), "tune", "choice_accuracy")
    rows = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    steps = [row["step"] for row in rows if row["event"] == "step"]
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) % 60 == 0


@pytest.mark.slow
def test_seeds_are_reported_one_by_one(
    tailor: Tailor, given: list[Any], tiny_decoder: Path, tmp_path: Path
) -> None:
    asked = [*given, "--model", tiny_decoder, "--methods", "base,lora", "--seeds", "2", *QUICK]
    done = tailor("compare", *asked, "--output", tmp_path / "run", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    check_report(report, "compare", "token_f1", at_floor=True)
    arm = by_name(report)["lora"]
    assert [seed["seed"] for seed in arm["seeds"]] == [1, 2]
    for name in ("token_f1", "loss"):
        mean = np.mean([seed["test"][name] for seed in arm["seeds"]])
        assert arm["test"][name]["value"] == pytest.approx(mean)
    mean = np.mean([seed["validation"]["loss"] for seed in arm["seeds"]])
    assert arm["validation"]["loss"]["value"] == pytest.approx(mean)
    assert arm["seeds"][0]["test"]["loss"] != arm["seeds"][1]["test"]["loss"]


@pytest.mark.slow
def test_every_arm_on_a_model_that_can_write(
    tailor: Tailor, place: Path, models: Any, tmp_path: Path
) -> None:
    """A trained Llama of 260 thousand weights: training for some epochs beats not training."""
    asked = [place / "labels.jsonl", "--model", models("stories260k"), *FAST]
    asked += ["--set", "generate.max_new_tokens=8", "--set", "train.epochs=6"]
    asked += ["--set", f"evaluate.reference={place / 'other.txt'}"]
    done = tailor("compare", *asked, "--output", tmp_path / "run", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    check_report(report, "compare", "choice_accuracy")
    arms = by_name(report)
    assert {"nearest", "base", "rag", "adapter", "lora", "prompt", "qlora", "full"} < set(arms)
    assert len(arms) == 9
    for name in ("adapter", "lora", "qlora", "full"):
        assert arms[name]["test"]["loss"]["value"] < arms["base"]["test"]["loss"]["value"]
    assert arms["nearest"]["test"]["choice_accuracy"]["value"] > 0.6


def test_the_command_that_serves_a_run_by_vllm(
    inside: Tailor, compared: tuple[Path, dict[str, Any]], tiny_decoder: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(compared[0], run)
    lora = run / "arms" / "lora"
    printed = inside("export", lora, "--vllm")
    assert printed.returncode == 0, printed.stderr
    model = lora / "model"
    assert shlex.split(printed.stdout)[:8] == [
        "vllm", "serve", str(tiny_decoder), "--enable-lora", "--max-lora-rank", "8",
        "--lora-modules", f"lora={model}",
    ]  # fmt: skip
    settings = json.loads((model / "adapter_config.json").read_text())
    # What its loader refuses, and a rank between the sizes that it takes.
    for change, code, text in (
        ({"rank_pattern": {"q_proj": 24}}, 0, "--max-lora-rank 32"),
        ({"use_dora": True}, 2, "DoRA"), ({"modules_to_save": ["lm_head"]}, 2, "lm_head"),
        ({"bias": "all", "r": 1000}, 2, "2 problems"),
    ):  # fmt: skip
        (model / "adapter_config.json").write_text(json.dumps(settings | change))
        answer = inside("export", lora, "--vllm")
        assert answer.returncode == code and text in answer.stdout + answer.stderr
        assert code == 0 or "--merge" in answer.stderr
    for name in ("nearest", "base", "rag", "prompt"):
        refused = inside("export", run / "arms" / name, "--vllm")
        assert refused.returncode == 2 and "vLLM" in refused.stderr, name
    assert inside("export", lora, "--vllm", "--merge").returncode == 2
