"""What a user can get wrong ends in one message with its fix, exit code 2, and no traceback."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bad_inputs import BAD_FILES, GOOD, BadFile


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


Tailor = Callable[..., Ended]


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tailor:
    """Return the command line's own entry, run in this process to spare its start-up."""
    from tailorbird.cli.main import run

    def entry(*arguments: Any, stdin: str = "") -> Ended:
        import io

        monkeypatch.setattr(sys, "argv", ["tailor", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        code: Any = 0
        try:
            run()
        except SystemExit as stop:
            code = stop.code
        seen = capsys.readouterr()
        return Ended(code, seen.out, seen.err)

    return entry


def refused(ended: Ended, *expected: str) -> None:
    """Check that a command ended as a user's fault must."""
    assert ended.code == 2, ended.err
    assert "Traceback" not in ended.err
    assert ended.err.count("error:") == 1, ended.err
    assert "fix:" in ended.err
    assert ended.out == ""
    for words in expected:
        assert words in ended.err, f"{words!r} is not in:\n{ended.err}"


@pytest.mark.parametrize(
    "arguments",
    [
        ["tune", "a\x1b]0;x\x07.csv"],
        ["predict", "no run\x9b31m"],
        ["evaluate", "a", "b", "c\x1b(0"],
        ["doctor", "--\x1b7"],
        ["ask", "\u202e?", "--store", "\x07"],
        ["ask", "?", "--store", "a", "--debug", "--endpoint", "http://a\u2028"],
    ],
)
def test_a_name_that_would_steer_the_terminal_is_shown(arguments: list[str], tell: Tailor) -> None:
    ended = tell(*arguments)
    assert ended.code == 2 and "error: " in ended.err
    assert not any(c in ended.err for c in "\x1b\x07\x9b\u202e\u2028")


# --- data ------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", BAD_FILES, ids=lambda case: case.name)
def test_bad_data(
    case: BadFile, tell: Tailor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = tell("tune", *case.make(tmp_path), "--output", "run")
    refused(ended, *case.expect)
    left = [str(p) for p in Path("run").rglob("*")]
    assert left == [], "the same command must work once the data is mended"


# A few of each kind: the code below is the same.
@pytest.mark.parametrize("case", BAD_FILES[::9], ids=lambda case: case.name)
def test_bad_data_of_a_comparison(
    case: BadFile, tell: Tailor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(tell("compare", *case.make(tmp_path), "--output", "run"), *case.expect)


# --- settings --------------------------------------------------------------------------------

SETTINGS: dict[str, tuple[list[str], list[str]]] = {
    "method typo": (["--method", "lorra"], ["method.name is 'lorra'", "did you mean 'lora'?"]),
    "method nonsense": (["--method", "xyz"], ["'xyz'", "full", "adapter", "qlora", "prompt"]),
    "setting typo": (
        ["--set", "train.lerning_rate=1"],
        ["unknown setting 'train.lerning_rate'", "did you mean 'train.learning_rate'?"],
    ),
    "section typo": (
        ["--set", "trian.epochs=1"],
        ["unknown setting 'trian'", "did you mean 'train'?"],
    ),
    "setting without its section": (
        ["--set", "learning_rate=1"],
        ["unknown setting 'learning_rate'", "did you mean 'train.learning_rate'?"],
    ),
    "negative epochs": (["--epochs", "-1"], ["train.epochs is -1.0", "greater than 0"]),
    "warm-up of everything": (["--set", "train.warmup=1.5"], ["train.warmup is 1.5"]),
    "batch of none": (["--set", "train.batch_size=0"], ["train.batch_size is 0"]),
    "batch in words": (["--set", "train.batch_size=many"], ["train.batch_size is 'many'"]),
    "half a batch": (["--set", "train.batch_size=2.5"], ["train.batch_size is 2.5"]),
    "no learning rate": (["--set", "train.learning_rate=0"], ["train.learning_rate is 0"]),
    "optimizer typo": (
        ["--set", "train.optimizer=adamW"],
        ["train.optimizer is 'adamW'", "did you mean 'adamw'?"],
    ),
    "schedule": (["--set", "train.schedule=cosin"], ["did you mean 'cosine'?"]),
    "capital in a method": (["--method", "LoRA"], ["did you mean 'lora'?"]),
    "negative seed": (["--seed", "-1"], ["train.seed is -1"]),
    "overlap typo": (["--overlap", "dropp"], ["data.overlap is 'dropp'", "did you mean 'drop'?"]),
    "test share": (["--set", "data.test_share=1"], ["data.test_share is 1"]),
    "max length": (["--set", "data.max_length=2"], ["data.max_length is 2"]),
    "option of another method": (
        ["--method", "full", "--set", "method.rank=4"],
        ["method 'full' has no option rank"],
    ),
    "option of another method than the default": (
        ["--set", "method.virtual_tokens=4"],
        ["method 'lora' has no option virtual_tokens"],
    ),
    "options of two other methods": (
        ["--method", "prompt", "--set", "method.rank=4", "--set", "method.bottleneck=8"],
        ["'prompt' has no option bottleneck, rank", "virtual_tokens, init_text"],
    ),
    "rank of zero": (["--set", "method.rank=0"], ["method.rank is 0"]),
    "bits": (["--method", "qlora", "--set", "method.bits=3"], ["method.bits is 3", "4 or 8"]),
    "set without equals": (["--set", "train.epochs"], ["'train.epochs' has no '='"]),
    "set a section": (["--set", "train=3"], ["train is 3"]),
    "set below a setting": (
        ["--set", "train.epochs=1", "--set", "train.epochs.most=3"],
        ["'train.epochs.most'", "not a section"],
    ),
    "three faults at once": (
        ["--method", "lorra", "--set", "train.lerning_rate=1", "--set", "train.warmup=2"],
        ["3 problems", "'lorra'", "'train.lerning_rate'", "train.warmup is 2"],
    ),
    "unknown builtin": (["--model", "builtin:minlm"], ["did you mean 'builtin:minilm'?"]),
    "hub name without network": (
        ["--model", "nobody/has-this-model"],
        ["'nobody/has-this-model'", "not on this machine", "HF_HUB_OFFLINE", "builtin:minilm"],
    ),
    "unknown device": (["--set", "model.device=gpu"], ["'gpu'", "cuda"]),
    "fp16 on a cpu": (
        ["--set", "model.device=cpu", "--set", "model.precision=fp16"],
        ["fp16", "bf16 or fp32"],
    ),
    "precision typo": (["--set", "model.precision=bf32"], ["model.precision is 'bf32'"]),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_bad_settings(
    name: str, tell: Tailor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.csv").write_text(GOOD)
    given, expected = SETTINGS[name]
    refused(tell("tune", "train.csv", "--output", "run", *given), *expected)


def test_a_device_that_is_not_there(tell: Tailor, tmp_path: Path, data: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has it")
    asked = ["--set", "model.device=cuda", "--output", tmp_path / "run"]
    refused(tell("tune", data, *asked), "'cuda'", "no usable cuda device", "tailor doctor")


COMPARISONS: dict[str, tuple[list[str], list[str]]] = {
    "arm typo": (["--methods", "lora,rga"], ["'rga'", "did you mean 'rag'?"]),
    "no seeds": (["--seeds", "0"], ["compare.seeds is 0"]),
    "negative budget": (["--budget", "-1"], ["compare.budget_minutes is -1"]),
    "option no arm has": (
        ["--methods", "majority,rag", "--set", "method.rank=4"],
        ["no arm has the option method.rank"],
    ),
    "option of an arm left out": (
        ["--methods", "rag,lora", "--set", "method.virtual_tokens=4"],
        ["no arm has the option method.virtual_tokens"],
    ),
    "weight above one": (["--set", "rag.weight=1.5"], ["rag.weight is 1.5"]),
}


@pytest.mark.parametrize("name", COMPARISONS)
def test_bad_comparisons(name: str, tell: Tailor, data: Path, tmp_path: Path) -> None:
    given, expected = COMPARISONS[name]
    refused(tell("compare", data, "--output", tmp_path / "run", *given), *expected)


USAGE = {
    "unknown verb": (["tun", "x.csv"], "tun"),
    "unknown flag": (["tune", "x.csv", "--lerning-rate", "1"], "--lerning-rate"),
    "flag without value": (["tune", "x.csv", "--method"], "--method"),
    "not a number": (["compare", "x.csv", "--budget", "soon"], "--budget"),
    "no run": (["predict"], "'run'"),
}


@pytest.mark.parametrize("name", USAGE)
def test_bad_usage(name: str, tell: Tailor) -> None:
    given, expected = USAGE[name]
    ended = tell(*given)
    assert (ended.code, ended.out) == (2, "")
    assert expected in ended.err
    assert "Traceback" not in ended.err


def _config(content: str | bytes) -> Callable[[], None]:
    data = content.encode() if isinstance(content, str) else content
    return lambda: Path("run.yaml").write_bytes(data) and None


CONFIGS: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "missing": (lambda: None, ["run.yaml", "does not exist"]),
    "a folder": (lambda: Path("run.yaml").mkdir(), ["run.yaml", "cannot be read"]),
    "not yaml": (_config("train: [1, 2\n"), ["run.yaml", "is not YAML", "line 2"]),
    "tabs": (_config("train:\n\tepochs: 1\n"), ["is not YAML", "line 2"]),
    "a list": (_config("- train\n- data\n"), ["holds a list", "train:"]),
    "a word": (_config("lora\n"), ["holds a str"]),
    "latin-1": (_config("data: {text: caf\xe9}\n".encode("latin1")), ["cannot be read"]),
    "typo": (_config("train: {epoch: 1}\n"), ["'train.epoch'", "did you mean 'train.epochs'?"]),
    "section typo": (_config("trane: {epochs: 1}\n"), ["'trane'", "did you mean 'train'?"]),
    "empty section": (_config("train:\n"), ["train is None"]),
    "two faults": (
        _config("train: {epochs: -1}\nmethod: {name: lorra}\n"),
        ["2 problems", "train.epochs is -1", "did you mean 'lora'?"],
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_bad_config_files(
    name: str, tell: Tailor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.csv").write_text(GOOD)
    prepare, expected = CONFIGS[name]
    prepare()
    refused(tell("tune", "train.csv", "-c", "run.yaml", "--output", "run"), *expected)


def test_no_data(tell: Tailor, tmp_path: Path) -> None:
    refused(tell("tune", "--output", tmp_path / "run"), "no data was given", "CSV")


# --- models ----------------------------------------------------------------------------------


def _without(name: str) -> Callable[[Path], None]:
    return lambda model: (model / name).unlink()


def _cut(model: Path) -> None:
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


def _overwrite(name: str, text: str) -> Callable[[Path], None]:
    return lambda model: (model / name).write_text(text) and None


MODELS: dict[str, tuple[Callable[[Path], Any], list[str]]] = {
    "gone": (shutil.rmtree, ["does not exist", "did you mean 'modal'?"]),
    "no config": (_without("config.json"), ["model", "has no config.json"]),
    "no weights": (_without("model.safetensors"), ["model", "damaged or incomplete"]),
    "cut weights": (_cut, ["model", "damaged or incomplete", "safetensors"]),
    "text as weights": (
        _overwrite("model.safetensors", "version https://git-lfs.github.com/spec/v1\n"),
        ["damaged or incomplete"],
    ),
    "broken config": (_overwrite("config.json", "{"), ["model", "damaged or incomplete"]),
    "unknown family": (
        _overwrite("config.json", '{"model_type": "nonesuch"}'),
        ["model", "nonesuch"],
    ),
    "no tokenizer": (
        lambda m: (_without("tokenizer.json")(m), _without("tokenizer_config.json")(m)),
        ["model", "tokenizer"],
    ),
}


def test_a_search_among_losses_that_do_not_fit(
    tell: Tailor, data: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    space = tmp_path / "space.yaml"
    space.write_text("search: {trials: 3, space: {train.loss: [cross_entropy, mse]}}")
    done = tell("tune", data, "--model", tiny_encoder, "-c", space, "--output", tmp_path / "run")
    refused(done, "train.loss=mse does not fit classification")
    assert "trial 1" not in done.err


def test_a_search_ends_at_the_first_trial_where_all_would_fail_alike(
    tell: Tailor, data: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_encoder, "model")
    Path("model/model.safetensors").unlink()
    done = tell("tune", data, "--model", "./model", "--search", "5", "--output", "run")
    refused(done, "model")
    assert "trial 1 of 5" in done.err
    assert "trial 2" not in done.err


@pytest.mark.parametrize("name", MODELS)
def test_bad_models(
    name: str,
    tell: Tailor,
    data: Path,
    tiny_encoder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_encoder, "model")
    Path("modal").mkdir()
    damage, expected = MODELS[name]
    damage(Path("model"))
    refused(tell("tune", data, "--model", "./model", "--output", "run"), *expected)
    assert not Path("run").exists(), "the same command must work once the model is mended"


def test_settings_that_do_not_fit_the_data_leave_no_folder(
    tell: Tailor, data: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    ended = tell("tune", data, "--set", "train.loss=bce", "--output", run)
    refused(ended, "train.loss=bce does not fit classification")
    assert "run folder" not in ended.err
    assert not run.exists()
    refused(tell("compare", data, "--methods", "mean", "--output", run), "no arm mean for labels")
    assert not run.exists()


def test_a_folder_where_something_was_learnt_keeps_it(tmp_path: Path) -> None:
    from tailorbird.errors import UserError
    from tailorbird.runs.folder import JOURNAL, RunFolder

    folder = RunFolder(tmp_path / "run")
    folder.write("arms/lora/" + JOURNAL, "{}")
    with pytest.raises(UserError), folder.emptied_when_refused():
        raise UserError("no", "yes")
    assert folder.file("arms/lora/" + JOURNAL).is_file()


def test_a_model_folder_that_is_a_file(tell: Tailor, data: Path, tmp_path: Path) -> None:
    (tmp_path / "model").write_text("not a folder")
    ended = tell("tune", data, "--model", tmp_path / "model", "--output", tmp_path / "run")
    refused(ended, "model")


FITS: dict[str, tuple[list[str], list[str]]] = {
    "too long": (["--set", "data.max_length=4000"], ["data.max_length is 4000", "128 tokens"]),
    "no room for text": (
        ["--method", "prompt", "--set", "method.virtual_tokens=126"],
        ["126 virtual tokens leave", "fewer method.virtual_tokens"],
    ),
    "target typo": (
        ["--method", "lora", "--set", "method.targets=[querry]"],
        ["'querry'", "did you mean 'query'?", "all-linear"],
    ),
    "empty start": (
        ["--method", "prompt", "--set", "method.init_text=' '"],
        ["method.init_text is empty"],
    ),
}


@pytest.mark.parametrize("name", FITS)
def test_settings_that_do_not_fit_the_model(
    name: str, tell: Tailor, data: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    given, expected = FITS[name]
    ended = tell("tune", data, "--model", tiny_encoder, "--output", tmp_path / "run", *given)
    refused(ended, *expected)


def test_a_loss_that_explodes(tell: Tailor, data: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    asked = ["--method", "full", "--epochs", "3", "--set", "train.learning_rate=1e38"]
    asked += ["--set", "train.optimizer=sgd", "--set", "train.warmup=0"]
    ended = tell("tune", data, "--model", tiny_encoder, "--output", tmp_path / "run", *asked)
    refused(ended, "the loss became", "lower train.learning_rate")


# --- where the run goes ----------------------------------------------------------------------


def test_the_output_folder_holds_other_files(tell: Tailor, data: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    refused(tell("tune", data, "--output", tmp_path), "is in use", "thesis.tex", "--output")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize("verb", ["tune", "compare"])
def test_the_output_folder_holds_a_run(
    verb: str, tell: Tailor, data: Path, tuned: tuple[Path, Any]
) -> None:
    run, _ = tuned
    before = (run / "report.json").read_bytes()
    refused(tell(verb, data, "--output", run), "is in use", "a run", "--resume")
    assert (run / "report.json").read_bytes() == before


def test_the_output_is_a_file(tell: Tailor, data: Path) -> None:
    refused(tell("tune", data, "--output", data), str(data), "is a file")


def test_the_output_lies_below_a_file(tell: Tailor, data: Path) -> None:
    refused(tell("tune", data, "--output", data / "run"), "cannot be written", "--output")


def test_resume_without_output(tell: Tailor, data: Path) -> None:
    refused(tell("tune", data, "--resume"), "--resume", "--output FOLDER")


def test_resume_of_what_is_no_run(tell: Tailor, data: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    refused(tell("tune", data, "--resume", "--output", tmp_path), "holds no run to resume")


def test_a_file_that_may_not_grow_is_a_full_disk(
    data: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    """Limit what a process may write: what a quota or a full disk does, without being root."""
    import resource

    from terminal import PATIENCE, command, environment

    asked = ["--model", tiny_encoder, "--method", "full", "--epochs", "1"]
    done = subprocess.run(
        command("tune", data, *asked, "--output", tmp_path / "run"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=200 * PATIENCE,
        check=False,
    )
    refused(Ended(done.returncode, done.stdout, done.stderr), "no space left")


def test_a_full_disk(tell: Tailor, data: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    try:
        ended = tell("tune", data, "--model", tiny_encoder, "--output", disk / "run")
        refused(ended, "no space left", str(disk))
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


# --- runs ------------------------------------------------------------------------------------


def test_predict_on_a_run_that_is_not_there(tell: Tailor, tmp_path: Path) -> None:
    refused(tell("predict", tmp_path / "run", "a text"), "there is no run", "tailor tune")


def test_predict_on_a_folder_that_is_no_run(tell: Tailor, tmp_path: Path) -> None:
    refused(tell("predict", tmp_path, "a text"), "holds no run")


def test_predict_on_an_unfinished_run(tell: Tailor, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("method: {name: lora}\n")
    refused(tell("predict", tmp_path, "a text"), "is not finished", "--resume")


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_predict_an_empty_text(text: str, tell: Tailor, tuned: tuple[Path, Any]) -> None:
    refused(tell("predict", tuned[0], text), "empty")


def test_predict_an_empty_line_of_stdin(tell: Tailor, tuned: tuple[Path, Any]) -> None:
    refused(tell("predict", tuned[0], stdin="a text\n\nanother\n"), "text 2", "empty")


@pytest.mark.parametrize("line", [os.fsdecode(b"caf\xe9"), "half a pair: \ud83d"])
def test_predict_a_line_that_is_no_utf8(line: str, tell: Tailor, tuned: tuple[Path, Any]) -> None:
    refused(tell("predict", tuned[0], stdin=f"good\n{line}\n"), "text 2 is", "not UTF-8")


def test_predict_nothing_on_stdin(tell: Tailor, tuned: tuple[Path, Any]) -> None:
    refused(tell("predict", tuned[0], "-", stdin=""), "empty")


def test_predict_a_file_that_is_not_there(tell: Tailor, tuned: tuple[Path, Any]) -> None:
    refused(tell("predict", tuned[0], "new.csv"), "new.csv", "does not exist")


def test_predict_a_file_without_the_column(
    tell: Tailor, tuned: tuple[Path, Any], tmp_path: Path
) -> None:
    (tmp_path / "new.csv").write_text("id,number\n1,2\n3,4\n")
    ended = tell("predict", tuned[0], tmp_path / "new.csv", "--text", "txt")
    refused(ended, "'txt'", "'id', 'number'")


def test_evaluate_on_a_run_that_is_not_there(tell: Tailor, data: Path, tmp_path: Path) -> None:
    refused(tell("evaluate", tmp_path / "run"), "there is no run")
    refused(tell("evaluate", tmp_path / "run", data), "there is no run")


def test_evaluate_data_that_is_not_there(tell: Tailor, tuned: tuple[Path, Any]) -> None:
    refused(tell("evaluate", tuned[0], "new.csv"), "new.csv", "no such file")


def test_evaluate_an_unknown_label(tell: Tailor, tuned: tuple[Path, Any], tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("text,label\na soup,food\na ball,sprot\nx,zzz\n")
    ended = tell("evaluate", tuned[0], tmp_path / "new.csv")
    refused(ended, "'sprot'", "did you mean 'sport'?", "1 more", "food, space, sport")


def test_evaluate_data_without_labels(
    tell: Tailor, tuned: tuple[Path, Any], tmp_path: Path
) -> None:
    (tmp_path / "new.csv").write_text("text\na soup\n")
    refused(tell("evaluate", tuned[0], tmp_path / "new.csv"), "new.csv", "label")


def test_evaluate_says_what_it_would_ignore(
    tell: Tailor, tuned: tuple[Path, Any], data: Path
) -> None:
    refused(tell("evaluate", tuned[0], "--metric", "rouge_l"), "none is given", "give DATA")
    refused(tell("evaluate", tuned[0], data, "--metric", "rouge_l"), "'rouge_l'", "leave it out")
    refused(tell("evaluate", tuned[0], data, "--store", "KB"), "RUN, DATA are not for a knowledge")
    refused(tell("evaluate", tuned[0], "--qrels", data), "--qrels is not for a run", "add --store")


def test_tune_says_what_it_would_ignore(tell: Tailor, data: Path) -> None:
    refused(tell("tune", data, "--store", "KB"), "--store is not for", "add --retriever")
    given = ("--retriever", "--store", "KB", "--folds", "3", "--drop-missing")
    refused(tell("tune", data, *given), "DATA, --folds, --drop-missing are not for a retriever")
    refused(tell("tune", "--reranker", "--store", "KB", "--search", "5"), "--search is not for")


def test_evaluate_into_a_folder_in_use(
    tell: Tailor, tuned: tuple[Path, Any], data: Path, tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    refused(tell("evaluate", tuned[0], data, "--output", tmp_path), "is in use")


@pytest.fixture
def copy(tuned: tuple[Path, Any], tmp_path: Path) -> Path:
    """Return a copy of the finished run, to be damaged."""
    return Path(shutil.copytree(tuned[0], tmp_path / "copy"))


DAMAGES: dict[str, tuple[Callable[[Path], Any], list[str]]] = {
    "weights cut": (
        lambda run: os.truncate(run / "model" / "adapter_model.safetensors", 500),
        ["adapter_model.safetensors is damaged"],
    ),
    "weights gone": (
        lambda run: (run / "model" / "adapter_model.safetensors").unlink(),
        ["adapter_model.safetensors is damaged"],
    ),
    "labels cut": (
        lambda run: (run / "target.json").write_text('{"labels": ["food", "sp'),
        ["target.json", "damaged"],
    ),
    "labels odd": (
        lambda run: (run / "target.json").write_text('{"labels": 3}'),
        ["target.json", "damaged"],
    ),
    "labels gone": (
        lambda run: [path.unlink() for path in (run / "target.json", run / "labels.json")],
        ["labels.json"],
    ),
    "config gone": (lambda run: (run / "config.yaml").unlink(), ["config.yaml"]),
    "config cut": (lambda run: (run / "config.yaml").write_text("model: {"), ["config.yaml"]),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_predict_with_a_damaged_run(name: str, tell: Tailor, copy: Path) -> None:
    damage, expected = DAMAGES[name]
    damage(copy)
    refused(tell("predict", copy, "a text"), *expected)


def test_evaluate_with_a_damaged_report(tell: Tailor, copy: Path) -> None:
    (copy / "report.json").write_text('{"schema_version": 1, "kind"')
    refused(tell("evaluate", copy), "report.json", "damaged")
    (copy / "report.json").write_text(json.dumps({"schema_version": 1, "kind": "tune"}))
    refused(tell("evaluate", copy), "report.json")
