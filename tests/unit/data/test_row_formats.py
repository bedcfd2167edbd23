"""Formats: which one a file is in, what its rows become, and what is wrong with the others."""

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from tailorbird.data.read import Loaded, read_examples, read_parts
from tailorbird.errors import UserError
from tailorbird.records import Example, Message
from tiny import STORIES

SHARED = STORIES.parents[1] / "data"


def write(folder: Path, *rows: dict[str, Any], name: str = "train.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read(folder: Path, *rows: dict[str, Any], **asked: Any) -> Loaded:
    return read_examples(write(folder, *rows), **({"task": "auto"} | asked))


def turns(example: Example) -> list[tuple[str, str]]:
    return [(m.role, m.content) for m in example.messages]


ASK, TELL = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}
PAIR = [("user", "Hi"), ("assistant", "Ho")]


@pytest.mark.parametrize(
    ("row", "form"),
    [
        ({"messages": [ASK, TELL]}, "messages (OpenAI)"),
        ({"id": 3, "conversations": [ASK, TELL]}, "messages (OpenAI)"),
        ({"Messages": [ASK, TELL], "label": "x"}, "messages (OpenAI)"),
        (
            {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]},
            "conversations (ShareGPT)",
        ),
        (
            {"instruction": "Hi", "input": "", "output": "Ho"},
            "instruction, input, output (Alpaca)",
        ),
        ({"instruction": "Hi", "output": "Ho"}, "instruction, input, output (Alpaca)"),
        (
            {"instruction": "Hi", "context": None, "response": "Ho", "category": "x"},
            "instruction, input, output (Alpaca)",
        ),
        ({"prompt": "Hi", "completion": "Ho"}, "prompt and completion"),
        ({"question": "Hi", "answer": "Ho", "id": 1}, "prompt and completion"),
        ({"query": "Hi", "response": "Ho"}, "prompt and completion"),
        ({"input": "Hi", "output": "Ho"}, "prompt and completion"),
        ({"problem": "Hi", "solution": "Ho"}, "prompt and completion"),
        ({"prompt": "Hi", "chosen": "Ho", "rejected": "Hu"}, "prompt and completion"),
        ({"prompt": [ASK], "completion": [TELL]}, "prompt and completion"),
        ({"prompt": [ASK], "chosen": TELL, "rejected": ASK}, "prompt and completion"),
        ({"prompt": "Hi", "chosen": [ASK, TELL]}, "prompt and completion"),
        (
            {"conversations": [ASK], "chosen": TELL, "rejected": ASK},
            "messages (OpenAI)",
        ),
        ({"messages": json.dumps([ASK, TELL])}, "messages (OpenAI)"),
    ],
)
def test_formats_are_told_by_their_columns(row: dict[str, Any], form: str, tmp_path: Path) -> None:
    loaded = read(tmp_path, row)
    assert (loaded.form, loaded.task) == (form, "generation")
    assert [turns(example) for example in loaded.examples] == [PAIR]
    example = loaded.examples[0]
    assert (example.text, example.label, example.row) == ("Hi", "Ho", 1)
    assert loaded.notes[-1].endswith(f"read as {form}: 1 conversations, 1 answers to train on")


@pytest.mark.parametrize(
    "row",
    [
        {"text": "Hi", "label": "x"},
        {"review": "Hi", "sentiment": "x"},
        {"question": "Hi", "category": "x"},
        {"prompt": "Hi", "label": "x"},
        {"text": "Hi", "label": "x", "hint": "a", "difficulty": 0.3},
        {"text": "Hi", "label": "x", "response": "a"},
        {"question": "Hi", "answer": "a", "label": "x"},
    ],
)
def test_texts_with_labels_stay_what_they_were(row: dict[str, Any], tmp_path: Path) -> None:
    loaded = read(tmp_path, row)
    assert (loaded.task, loaded.form) == ("classification", "")
    assert loaded == read(tmp_path, row, task="classification")
    assert loaded.examples[0].messages == ()


def test_a_label_and_an_answer_are_the_users_to_choose(tmp_path: Path) -> None:
    row = {"prompt": "Hi", "completion": "Ho", "category": "x"}
    with pytest.raises(UserError) as caught:
        read(tmp_path, row)
    assert "should 'category' (a label) or 'completion' (a written answer) be learned?" in str(
        caught.value
    )
    assert "data.task=generation" in caught.value.fix
    assert turns(read(tmp_path, row, task="generation").examples[0]) == PAIR
    assert read(tmp_path, row, task="classification").examples[0].label == "x"
    assert read(tmp_path, row, text="prompt", label="category").task == "classification"
    assert read(tmp_path, row, text="prompt", label="completion").task == "generation"


def test_labels_are_answers_if_asked(tmp_path: Path) -> None:
    loaded = read(tmp_path, {"text": "Hi", "label": "Ho"}, task="generation")
    assert turns(loaded.examples[0]) == PAIR
    loaded = read(tmp_path, {"a": "Hi", "b": "Ho"}, task="generation", text="a", label="b")
    assert turns(loaded.examples[0]) == PAIR
    assert not any("guessed" in note for note in loaded.notes)
    loaded = read(tmp_path, {"text": "Hi", "label": 4}, task="generation")
    assert loaded.examples[0].label == "4"


def test_one_column_is_plain_text(tmp_path: Path) -> None:
    loaded = read(tmp_path, {"text": "Once upon"}, {"text": "a time"})
    assert (loaded.task, loaded.form) == ("text", "plain text (continued pre-training)")
    assert [(e.text, e.label, e.messages) for e in loaded.examples] == [
        ("Once upon", None, ()),
        ("a time", None, ()),
    ]
    loaded = read(tmp_path, {"url": "x", "text": "Once"}, task="text")
    assert loaded.examples[0].text == "Once"
    assert any("column guessed: text='text'" in note for note in loaded.notes)
    loaded = read(tmp_path, {"url": "x", "text": "Once", "label": "z"}, task="text", text="url")
    assert loaded.examples[0].text == "x"


def test_an_undecided_file_says_how_to_ask_for_written_answers(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read(tmp_path, {"a": "x y", "b": "p q", "c": "z"}, {"a": "x", "b": "q", "c": "z"})
    assert "data.task=generation" in caught.value.fix
    with pytest.raises(UserError, match="which column is the prompt") as caught:
        read(tmp_path, {"a": "x", "b": "p", "c": "z"}, task="generation")
    assert "--text NAME for the prompts and --label NAME for the answers" in caught.value.fix


def test_named_columns_must_exist_for_every_task(tmp_path: Path) -> None:
    for task in ("auto", "generation", "text", "classification"):
        with pytest.raises(UserError, match="there is no column 'promt'.*did you mean 'prompt'"):
            read(tmp_path, {"prompt": "Hi", "completion": "Ho"}, text="promt", task=task)


# --- what rows become -------------------------------------------------------------------------


def test_alpaca_puts_the_input_after_the_instruction_and_the_history_before(tmp_path: Path) -> None:
    row = {
        "instruction": "Add.",
        "input": "1 and 2",
        "output": "3",
        "system": "Be exact.",
        "history": [["Hi", "Ho"]],
    }
    (example,) = read(tmp_path, row).examples
    assert turns(example) == [
        ("system", "Be exact."),
        *PAIR,
        ("user", "Add.\n\n1 and 2"),
        ("assistant", "3"),
    ]
    assert example.text == "user: Hi\nassistant: Ho\nuser: Add.\n\n1 and 2"


def test_parts_weights_and_names_of_openais_messages(tmp_path: Path) -> None:
    messages = [
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "name": "ann", "content": [{"type": "text", "text": "Hi"}]},
        {"role": "assistant", "content": "no", "weight": 0},
        {"role": "user", "content": [{"type": "text", "value": "a"}, {"text": "b"}]},
        {"role": "assistant", "content": "yes", "loss_weight": 1.0},
    ]
    (example,) = read(tmp_path, {"messages": messages}).examples
    assert example.messages == (
        Message("system", "Be kind."),
        Message("user", "Hi", extra={"name": "ann"}),
        Message("assistant", "no", trained=False),
        Message("user", "ab"),
        Message("assistant", "yes"),
    )


def test_calls_of_tools_pass_through(tmp_path: Path) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    messages = [
        ASK,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "7"},
        TELL,
    ]
    tool = {"type": "function", "function": {"name": "f"}}
    for tools in ([tool], json.dumps([tool])):
        (example,) = read(tmp_path, {"messages": messages, "tools": tools}).examples
        assert example.tools == (tool,)
        made = example.messages[1].extra["tool_calls"]
        assert made == [
            {"type": "function", "function": {"name": "f", "arguments": {"x": 1}}, "id": "c1"}
        ]
        assert example.messages[2] == Message("tool", "7", extra={"tool_call_id": "c1"})
    assert example.label == "Ho"


@pytest.mark.parametrize(
    "mark",
    [
        *({"weight": no} for no in (0, 0.0, "0", "0.0", False)),
        *({name: False} for name in ("train", "training", "trainable", "loss", "compute_loss")),
        *({name: 0} for name in ("loss_mask", "loss_weight", "loss_scale", "train_mask")),
        *({"train": no} for no in ("false", "No")),
        *({name: yes} for name in ("masked", "no_loss") for yes in (True, 1, "true")),
        {"weight": 1, "train": False},
        {"Train": False},
    ],
    ids=str,
)
def test_turns_that_other_tools_leave_untrained(mark: dict[str, Any], tmp_path: Path) -> None:
    turn = {"role": "assistant", "content": "no"} | mark
    for row in ({"messages": [ASK, turn, ASK, TELL]}, {"prompt": [ASK, turn, ASK], "answer": "Ho"}):
        (example,) = read(tmp_path, row).examples
        assert [m.trained for m in example.messages if m.role == "assistant"] == [False, True]
        assert not example.messages[-1].extra


@pytest.mark.parametrize(
    "mark",
    [{"weight": 1}, {"weight": "1.0"}, {"weight": None}, {"train": True}, {"masked": False}]
    + [{"train": ""}, {"masked": "no"}, {"loss_weight": 0.5}],
    ids=str,
)
def test_turns_that_are_trained_all_the_same(mark: dict[str, Any], tmp_path: Path) -> None:
    (example,) = read(tmp_path, {"messages": [ASK, TELL | mark]}).examples
    assert example.messages[1] == Message("assistant", "Ho")


@pytest.mark.parametrize(
    "column",
    [
        {"loss_mask": [0, 0, 0, 1]},
        {"loss_mask": "[0, 0, 0, 1]"},
        {"train": [False, True]},
        {"masked": [True, True, True, False]},
        {"weight": [None, "0", None, None]},
        {"assistant_masks": [0, 0, 0, 1]},
    ],
    ids=str,
)
def test_a_column_that_masks_turns(column: dict[str, Any], tmp_path: Path) -> None:
    turns = [ASK, {"role": "assistant", "content": "no"}, ASK, TELL]
    row = {"messages": turns, "system": "Be kind."} | column
    (example,) = read(tmp_path, row).examples
    assert [m.trained for m in example.messages if m.role == "assistant"] == [False, True]


def test_weights_of_whole_rows_are_told(tmp_path: Path) -> None:
    loaded = read(tmp_path, {"messages": [ASK, TELL], "weight": 0.5})
    assert any("column 'weight' is ignored" in note for note in loaded.notes)


def test_the_older_call_of_a_function(tmp_path: Path) -> None:
    messages = [
        ASK,
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "7"},
        TELL | {"function_call": None},
    ]
    functions = [{"name": "f", "parameters": {}}]
    (example,) = read(tmp_path, {"messages": messages, "functions": functions}).examples
    call = {"type": "function", "function": {"name": "f", "arguments": {}}}
    assert example.messages[1] == Message("assistant", "", extra={"tool_calls": [call]})
    assert example.messages[2] == Message("tool", "7", extra={"name": "f"})
    assert example.messages[3] == Message("assistant", "Ho")
    assert example.tools == ({"type": "function", "function": functions[0]},)


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "thinking"])
def test_thoughts_of_an_assistant(name: str, tmp_path: Path) -> None:
    (example,) = read(tmp_path, {"messages": [ASK, TELL | {name: "A greeting."}]}).examples
    thoughts = {"reasoning_content": "A greeting.", "thinking": "A greeting."}
    assert example.messages[1] == Message("assistant", "Ho", extra=thoughts)


def test_what_is_not_read_of_turns_is_told(tmp_path: Path) -> None:
    more = {"refusal": "Never.", "annotations": [], "audio": None}
    loaded = read(tmp_path, {"messages": [ASK, TELL | more]}, {"messages": [ASK, TELL]})
    notes = [note for note in loaded.notes if "ignored" in note]
    assert notes == [
        f"{tmp_path / 'train.jsonl'}: fields of turns that are ignored: 'refusal' (1 row)"
    ]


def test_parquet_holds_the_same_conversations_as_jsonl(tmp_path: Path) -> None:
    """Parquet gives each struct its sisters' members, null where JSONL has none."""
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = []
    for name, arguments in (("clock", {"zone": "UTC"}), ("map", {"at": [{"x": 1}, {"y": 2}]})):
        properties = {argument: {"type": argument} for argument in arguments}
        function = {"name": name, "parameters": {"properties": properties}}
        call = {"function": {"name": name, "arguments": arguments}}
        turns = [ASK, {"role": "assistant", "content": None, "tool_calls": [call]}, TELL]
        rows.append({"messages": turns, "tools": [{"type": "function", "function": function}]})
    file = tmp_path / "train.parquet"
    parquet.write_table(arrow.Table.from_pylist(rows), file)
    padded = parquet.read_table(file).to_pylist()[0]["messages"][1]["tool_calls"][0]["function"]
    assert padded["arguments"] == {"zone": "UTC", "at": None}
    both = [read(tmp_path, *rows), read_examples(file, task="auto")]
    assert both[0].examples == both[1].examples


def test_a_map_of_arrow_is_an_object(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    arguments = arrow.map_(arrow.string(), arrow.string())
    function = arrow.struct([("name", arrow.string()), ("arguments", arguments)])
    turn = arrow.struct(
        [
            ("role", arrow.string()),
            ("content", arrow.string()),
            ("tool_calls", arrow.list_(arrow.struct([("function", function)]))),
        ]
    )
    rows = []
    for made in ([("zone", "UTC"), ("day", None)], []):
        call = {"function": {"name": "clock", "arguments": made}}
        rows.append([ASK, {"role": "assistant", "tool_calls": [call]}, TELL])
    table = arrow.table({"messages": arrow.array(rows, arrow.list_(turn))})
    parquet.write_table(table, tmp_path / "train.parquet")
    examples = read_examples(tmp_path / "train.parquet", task="auto").examples
    calls = [example.messages[1].extra["tool_calls"][0]["function"] for example in examples]
    assert [call["arguments"] for call in calls] == [{"zone": "UTC", "day": None}, {}]


def test_sharegpt_calls_become_an_assistants(tmp_path: Path) -> None:
    row = {
        "system": "Be kind.",
        "tools": "",
        "conversations": [
            {"from": "human", "value": "Hi"},
            {"from": "function_call", "value": '{"name": "f", "arguments": {"x": 1}}'},
            {"from": "observation", "value": "7"},
            {"from": "gpt", "value": "Ho"},
        ],
    }
    (example,) = read(tmp_path, row).examples
    assert [m.role for m in example.messages] == [
        "system",
        "user",
        "assistant",
        "tool",
        "assistant",
    ]
    assert example.messages[2].extra["tool_calls"] == [
        {"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}
    ]
    assert example.text.splitlines()[1] == 'assistant: {"name": "f", "arguments": {"x": 1}}'


def test_a_system_message_goes_before_those_without(tmp_path: Path) -> None:
    own = {"messages": [{"role": "system", "content": "Mine."}, ASK, TELL]}
    loaded = read(tmp_path, {"messages": [ASK, TELL]}, own, system="Yours.")
    assert [turns(example)[0] for example in loaded.examples] == [
        ("system", "Yours."),
        ("system", "Mine."),
    ]
    assert [example.text for example in loaded.examples] == ["Hi", "Hi"], "without the system"


def test_turns_after_the_last_answer_are_left_out_and_told(tmp_path: Path) -> None:
    loaded = read(tmp_path, {"messages": [ASK, TELL]}, {"messages": [ASK, TELL, ASK]})
    assert [turns(example) for example in loaded.examples] == [PAIR, PAIR]
    (finding,) = loaded.findings
    assert (finding.code, finding.level, finding.count) == ("trailing_turns", "warning", 1)
    assert "line 2" in finding.message


def test_parquet_and_csv_hold_conversations_too(tmp_path: Path) -> None:
    rows = [{"messages": [ASK, TELL]}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert turns(read_examples(tmp_path / "a.parquet", task="auto").examples[0]) == PAIR
    cell = json.dumps([ASK, TELL]).replace('"', '""')
    (tmp_path / "a.csv").write_text(f'id,messages\n1,"{cell}"\n')
    assert turns(read_examples(tmp_path / "a.csv", task="auto").examples[0]) == PAIR


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"prompt": "Hi"}, [("user", "Hi")]),
        ({"prompt": "Hi", "completion": "Ho"}, PAIR),
        ({"anything": "Hi"}, [("user", "Hi")]),
        ({"messages": [ASK]}, [("user", "Hi")]),
        ({"messages": [ASK, TELL, ASK]}, [*PAIR, ("user", "Hi")]),
        ({"messages": [ASK, {"role": "assistant", "content": ""}]}, [("user", "Hi")]),
        ({"instruction": "Hi", "input": ""}, [("user", "Hi")]),
    ],
)
def test_prompts_to_be_answered(
    row: dict[str, Any], expected: list[tuple[str, str]], tmp_path: Path
) -> None:
    (example,) = read(tmp_path, row, task="generation", need_label=False).examples
    assert turns(example) == expected
    assert example.label == ("Ho" if expected == PAIR else None)


def test_other_files_are_read_for_the_same_task_by_the_same_columns(tmp_path: Path) -> None:
    train = write(tmp_path, {"text": "Hi", "label": "Ho"})
    test = write(tmp_path, {"text": "Hi", "label": "Ho", "completion": "x"}, name="test.jsonl")
    loaded, _, tested = read_parts(train, test=test, task="generation")
    assert tested is not None
    assert (loaded.task, tested.task) == ("generation", "generation")
    assert turns(tested.examples[0]) == PAIR
    other = write(tmp_path, {"messages": [ASK, TELL]}, name="other.jsonl")
    _, _, tested = read_parts(
        write(tmp_path, {"prompt": "a", "completion": "b"}), test=other, task="auto"
    )
    assert tested is not None
    assert turns(tested.examples[0]) == PAIR
    labels = write(tmp_path, {"a": "x", "b": "y", "c": "z"}, name="labels.jsonl")
    with pytest.raises(UserError, match="labels.jsonl: which column is the prompt"):
        read_parts(write(tmp_path, {"messages": [ASK, TELL]}), test=labels, task="auto")


# --- faults -----------------------------------------------------------------------------------

BAD: list[tuple[dict[str, Any], str, str]] = [
    (
        {"messages": [ASK, {"role": "asistant", "content": "x"}]},
        "'asistant' (did you mean 'assis",
        "roles are",
    ),
    ({"messages": [ASK, {"content": "x"}]}, "a message without role", "write a list"),
    ({"messages": [ASK, "x"]}, "a text instead of a message", "write a list"),
    ({"messages": {"role": "user"}}, "an object instead of a list of messages", "write a list"),
    ({"messages": "[{broken"}, "a conversation in broken JSON", "write a list"),
    ({"messages": []}, "no message", "write a list"),
    ({"messages": None}, "no message", "write a list"),
    (
        {"messages": [ASK, {"role": "assistant", "content": 5}]},
        "a number as the content",
        "as a text",
    ),
    (
        {
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": "x"}]},
                TELL,
            ]
        },
        "a part of type 'image_url'",
        "as a text",
    ),
    (
        {"messages": [ASK, TELL, {"role": "system", "content": "x"}, TELL]},
        "system message that is not",
        "beginning",
    ),
    ({"messages": [ASK]}, "no answer", "--drop-missing"),
    ({"messages": [TELL]}, "no prompt", "--drop-missing"),
    (
        {"messages": [ASK, {"role": "assistant", "content": " "}]},
        "an answer without words",
        "--drop-missing",
    ),
    (
        {"messages": [ASK, TELL | {"weight": 0}]},
        "no assistant turn with a weight above 0",
        "weight",
    ),
    ({"messages": [ASK, TELL], "tools": "[{"}, "tools in broken JSON", "JSON"),
    ({"messages": [ASK, TELL], "tools": "5"}, "tools that are not a list", "JSON"),
    (
        {"messages": [ASK, TELL | {"tool_calls": [{"function": {}}]}]},
        "without the tool's name",
        "JSON",
    ),
    (
        {"messages": [ASK, TELL | {"tool_calls": [{"name": "f", "arguments": "{"}]}]},
        "the arguments of a call in broken JSON",
        "JSON",
    ),
    (
        {"messages": [ASK, {"role": "assistant", "content": "\ud83d"}]},
        "half a surrogate",
        "as a text",
    ),
    ({"messages": [ASK, TELL], "tools": [{"name": "\ud83d"}]}, "half a surrogate", "as a text"),
    ({"messages": [ASK | {"name": "\ud83d"}, TELL]}, "half a surrogate", "as a text"),
    ({"messages": [ASK, TELL | {"weight": -1}]}, "'weight' of -1", "weight"),
    ({"messages": [ASK, TELL | {"train": "maybe"}]}, "'train' of 'maybe'", "weight"),
    (
        {"messages": [ASK, TELL | {"mask": 1}]},
        "'mask', which tools interpret in different",
        "weight",
    ),
    ({"messages": [ASK, TELL | {"thinking": [1]}]}, "a list as 'thinking'", "as a text"),
    ({"messages": [ASK, TELL | {"function_call": 7}]}, "a number as a call", "JSON"),
    (
        {
            "messages": [
                ASK,
                {"role": "assistant", "content": [{"type": "text", "text": "Ho", "weight": 0}]},
            ]
        },
        "a part of a message left out of training",
        "weight",
    ),
]


@pytest.mark.parametrize(("bad", "words", "fix"), BAD, ids=[words for _, words, _ in BAD])
def test_rows_that_are_no_conversations(
    bad: dict[str, Any], words: str, fix: str, tmp_path: Path
) -> None:
    good = {"messages": [ASK, TELL], "tools": None}
    with pytest.raises(UserError) as caught:
        read(tmp_path, good, bad, good, bad)
    assert words in caught.value.problem
    assert "train.jsonl" in caught.value.problem
    assert "2 of 4 rows: lines 2, 4" in caught.value.problem
    assert fix in caught.value.fix
    loaded = read(tmp_path, good, bad, good, bad, drop_missing=True)
    assert [example.row for example in loaded.examples] == [1, 3]
    (finding,) = loaded.findings
    assert finding.code in ("unusable", "missing_text", "missing_label")
    assert (finding.count, finding.samples) == (2, ("line 2", "line 4"))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"prompt": "a", "completion": ""}], "column 'completion': no answer"),
        ([{"prompt": " ", "completion": "b"}], "column 'prompt': no prompt"),
        ([{"prompt": "a", "completion": None}], "column 'completion': no answer"),
        ([{"instruction": "", "input": "", "output": "x"}], "column 'instruction': no prompt"),
        ([{"instruction": "a", "input": "", "output": ""}], "column 'output': no answer"),
        ([{"prompt": "a", "completion": {"x": 1}}], "a message without role"),
        ([{"text": " "}, {"text": "x"}], "column 'text': no text"),
    ],
)
def test_cells_that_are_missing(rows: list[dict[str, Any]], words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read(tmp_path, *rows)
    assert words in caught.value.problem


def test_every_kind_of_fault_is_told_once_however_many_rows_have_it(tmp_path: Path) -> None:
    rows = [{"messages": [ASK]}] * 40 + [{"messages": [ASK, {"role": "x", "content": ""}]}] * 30
    with pytest.raises(UserError) as caught:
        read(tmp_path, *rows, {"messages": [ASK, TELL]})
    message = str(caught.value)
    assert message.startswith("2 problems:")
    assert "40 of 71 rows: lines 1, 2, 3, 4, 5 and 35 more" in message
    assert "30 of 71 rows: lines 41, 42, 43, 44, 45 and 25 more" in message
    assert len(message) < 1000


def test_nothing_left_and_two_columns_of_conversations(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no row is left"):
        read(tmp_path, {"messages": [ASK]}, drop_missing=True)
    row = {"messages": [ASK, TELL], "conversations": [ASK, TELL]}
    with pytest.raises(UserError, match="several columns hold conversations") as caught:
        read(tmp_path, row)
    assert "--text" in caught.value.fix
    assert turns(read(tmp_path, row, text="conversations").examples[0]) == PAIR


# --- real files -------------------------------------------------------------------------------


def real(name: str) -> Path:
    path = SHARED / name
    if not path.is_file():
        pytest.skip(f"needs ../shared/data/{name}")
    return path


@pytest.mark.parametrize(
    ("name", "form", "conversations", "answers"),
    [
        # Counted by other means: rows, and rows' turns by gpt and function_call.
        ("sft/alpaca_en_demo.json", "instruction, input, output (Alpaca)", 999, 999),
        ("sft/v1_sft_demo.jsonl", "messages (OpenAI)", 500, 500),
        ("sft/glaive_toolcall_en_demo.json", "conversations (ShareGPT)", 300, 746 + 211),
        ("gsm8k/test.jsonl", "prompt and completion", 1319, 1319),
    ],
)
def test_real_files(name: str, form: str, conversations: int, answers: int) -> None:
    loaded = read_examples(real(name), task="auto")
    assert (loaded.form, loaded.task, loaded.findings) == (form, "generation", ())
    assert len(loaded.examples) == conversations
    assert f"{conversations:,} conversations, {answers:,} answers" in loaded.notes[-1]


def test_a_real_tool_conversation() -> None:
    example = read_examples(real("sft/glaive_toolcall_en_demo.json"), task="auto").examples[0]
    call = example.messages[3].extra["tool_calls"][0]["function"]
    assert call["name"] == "search_recipes"
    assert call["arguments"] == {"ingredients": ["chicken", "bell peppers", "rice"]}
    assert example.tools[0]["name"] == "search_recipes"
