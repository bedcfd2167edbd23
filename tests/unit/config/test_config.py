"""Flags over --set over file over defaults, and every fault told at once."""

from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings, strategies as st

from tailorbird.arms.question_arms.registry import select_arms
from tailorbird.arms.registry import arm_names
from tailorbird.config import METHODS, Config, check_method, dump_config, for_arm, load_config
from tailorbird.config.method import MethodConfig, method_spec
from tailorbird.errors import UserError, did_you_mean
from tailorbird.flows.compare import _with_arms


def test_flags_win_over_set_over_file_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("train: {epochs: 5, seed: 5, batch_size: 5}\n")
    config = load_config(file, ["train.seed=6", "train.batch_size=6"], {"train.batch_size": 7})
    assert (config.train.epochs, config.train.seed, config.train.batch_size) == (5, 6, 7)
    assert config.train.warmup == Config().train.warmup


def test_a_flag_that_was_not_given_changes_nothing() -> None:
    config = load_config(None, ["train.seed=6"], {"train.seed": None})
    assert config.train.seed == 6


def test_zero_is_a_value_that_was_given() -> None:
    from tailorbird.cli.flags_to_config import make_config

    config = make_config(None, None, {"train.seed": 0, "data.drop_missing": False})
    assert config.train.seed == 0
    with pytest.raises(UserError, match="compare.seeds is 0"):
        make_config(None, None, {"compare.seeds": 0})


def test_values_of_set_are_read_as_people_mean_them() -> None:
    given = [
        "train.learning_rate=1e-4",
        "train.tensorboard=no",
        "data.text= body ",
        "method.targets=[query, value]",
        "model.revision=null",
        "data.label=a=b",
    ]
    config = load_config(None, given)
    assert config.train.learning_rate == 1e-4
    assert config.train.tensorboard is False
    assert (config.data.text, config.data.label) == ("body", "a=b")
    assert config.method.targets == ["query", "value"]
    assert config.model.revision is None


def test_a_number_names_a_column_of_a_file_without_header(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("data:\n  text: 6,7\n  label: 5\n")
    for config in (
        load_config(file),
        load_config(None, ["data.text=6,7", "data.label=5"]),
        load_config(None, ['data.text="6,7"', 'data.label="5"']),
    ):
        assert (config.data.text, config.data.label) == ("6,7", "5")


def test_words_that_look_like_numbers_stay_words() -> None:
    config = load_config(None, ["data.label=nan", "data.text=infinity", 'data.group="1e5"'])
    assert (config.data.label, config.data.text, config.data.group) == ("nan", "infinity", "1e5")
    assert load_config(None, ["train.learning_rate=2E-5"]).train.learning_rate == 2e-5
    with pytest.raises(UserError, match="learning_rate"):
        load_config(None, ["train.learning_rate=nan"])


def test_every_fault_is_told_at_once() -> None:
    given = ["train.lerning_rate=1", "train.epochs=-1", "method.name=lorra", "nonsense=1"]
    with pytest.raises(UserError) as caught:
        load_config(None, given)
    words = str(caught.value)
    assert words.startswith("4 problems:")
    for part in ("'train.learning_rate'", "train.epochs is -1", "'lora'", "'nonsense'"):
        assert part in words
    assert words.count("fix:") == 4


def test_every_setting_without_equals_is_told() -> None:
    with pytest.raises(UserError, match="2 problems"):
        load_config(None, ["train.epochs", "train.seed"])


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("trian.epochs", "train"),
        ("train.epoch", "train.epochs"),
        ("epochs", "train.epochs"),
        ("rank", "method.rank"),
        ("method.virtual_token", "method.virtual_tokens"),
    ],
)
def test_the_nearest_name_is_offered(name: str, near: str) -> None:
    with pytest.raises(UserError) as caught:
        load_config(None, [f"{name}=3"])
    assert f"did you mean '{near}'?" in str(caught.value)


def test_a_name_far_from_all_others_offers_none() -> None:
    assert did_you_mean("zzz", ["train", "data"]) == ""
    assert did_you_mean("Train", ["training", "train"]) == " (did you mean 'train'?)"


@pytest.mark.parametrize("method", METHODS)
def test_options_of_other_methods_are_refused(method: str) -> None:
    values = {"targets": "query", "init_text": "x", "placement": "pfeiffer", "bits": 8}
    own = method_spec(method).options.model_fields
    for option in sorted(set(MethodConfig.model_fields) - {"name"}):
        value = values.get(option, 0.5 if option == "dropout" else 1)
        given = {"method": {"name": method, option: value}}
        if option in own:
            check_method(Config.model_validate(given))
        else:
            with pytest.raises(UserError, match=f"{method}.* has no option {option}"):
                check_method(Config.model_validate(given))


def test_a_comparison_takes_an_option_of_any_arm() -> None:
    """Though `method.name`, which it does not heed, is lora."""
    config = load_config(None, ["method.virtual_tokens=4"])
    arms = _with_arms(config, "generation")
    assert for_arm(arms, "prompt").method.virtual_tokens == 4
    assert for_arm(arms, "lora").method == MethodConfig(name="lora")
    # What a resumed comparison reads.
    assert Config.model_validate(arms.model_dump()).method == arms.method


def test_every_option_belongs_to_a_method() -> None:
    offered = {o for name in METHODS for o in method_spec(name).options.model_fields}
    assert offered == set(MethodConfig.model_fields) - {"name"}


def test_an_arm_takes_its_own_options_along() -> None:
    config = Config.model_validate({"method": {"name": "lora", "rank": 3, "dropout": 0.1}})
    assert for_arm(config, "qlora").method.rank == 3
    adapter = for_arm(config, "adapter").method
    assert (adapter.name, adapter.rank, adapter.dropout) == ("adapter", None, 0.1)
    assert for_arm(config, "full").method == MethodConfig(name="full")


def test_arms_run_once_in_a_fixed_order() -> None:
    config = load_config(None, [], {"compare.methods": ["rag", "lora", "rag"]})
    assert config.compare.methods == ("rag", "lora")
    assert Config().compare.methods is None
    for task in ("classification", "regression", "generation", "text"):
        assert set(METHODS) < set(arm_names(task))
        unknown = load_config(None, [], {"compare.methods": ["lorra"]})
        with pytest.raises(UserError, match="no arm 'lorra'.*did you mean 'lora'"):
            _with_arms(unknown, task)
    with pytest.raises(UserError, match="no arm 'rga'.*did you mean 'rag'"):
        select_arms(["rga"])
    with pytest.raises(UserError, match="at least one arm"):
        load_config(None, [], {"compare.methods": []})


@settings(max_examples=40, deadline=None)
@example(1.0, 0, "\x85", "full")
@given(st.floats(1e-6, 1), st.integers(0, 10**6), st.text(min_size=1), st.sampled_from(METHODS))
def test_a_written_config_reads_back(rate: float, seed: int, column: str, method: str) -> None:
    config = Config.model_validate(
        {
            "train": {"learning_rate": rate, "seed": seed},
            "data": {"text": column},
            "method": {"name": method},
        }
    )
    assert Config.model_validate(yaml.safe_load(dump_config(config))) == config
    short = yaml.safe_load(dump_config(config, only_given=True)) or {}
    assert Config.model_validate(short) == config
    assert "rag" not in short


def test_every_setting_has_its_help() -> None:
    for name, section in Config.model_fields.items():
        assert section.description, name
        inner = getattr(section.annotation, "model_fields", {})
        for key, field in inner.items():
            assert field.description, f"{name}.{key}"
            assert field.description.rstrip().endswith("."), f"{name}.{key}"


@pytest.mark.parametrize(("word", "seeds"), [("3", 3), ("auto", "auto"), (None, None)])
def test_seeds_are_a_number_or_auto(word: str | None, seeds: int | str | None) -> None:
    flags = {} if word is None else {"compare.seeds": word}
    assert load_config(None, [], flags).compare.seeds == seeds


@pytest.mark.parametrize("word", ["0", "21", "many", "1.5"])
def test_other_seeds_are_refused(word: str) -> None:
    with pytest.raises(UserError, match="from 1 to 20, or auto"):
        load_config(None, [], {"compare.seeds": word})
