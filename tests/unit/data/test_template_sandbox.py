"""A chat template is a stranger's program: it ends, in time and memory, whatever it says."""

import datetime
import os
import time
from typing import Any

import pytest

from chat_templates import CHATS, tokenizer_of
from tailorbird.data import template_sandbox as sandbox
from tailorbird.data.chat_template import as_dicts, install_template, render
from tailorbird.data.encode_chat import encode_conversations
from tailorbird.errors import UserError
from tailorbird.records import Example, Message

TALK = (Message("user", "Is it wet?"), Message("assistant", "It is."))
GREETING = [{"role": "user", "content": "hi"}]

LIMITS = {
    "a letter very often": ("{{ 'z' * 30000000000 }}", "more than 1,024 MB"),
    "a list very often": ("{{ ([0] * 9000000000) | length }}", "more than 1,024 MB"),
    "a word that doubles": (
        "{% set n = namespace(w='zzzz') %}{% for i in range(50) %}{% set n.w = n.w ~ n.w %}"
        "{% endfor %}",
        "more than 1,024 MB",
    ),
    "a wide line": ("{{ 'z' | center(30000000000) }}", "more than 1,024 MB"),
    "a wide number": ("{{ '%20000000000d' % 7 }}", "more than 1,024 MB"),
    "a macro in itself": ("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "calls itself"),
    "brackets": ("{{ " + "(" * 9000 + "1" + ")" * 9000 + " }}", "calls itself"),
    "a long text": ("{{ 'z' * 9000000 }}", "it writes 9,000,000 characters"),
    "a long template": ("z" * (1 << 20) + "z", "1,048,577 characters"),
}
FAULTS = {
    "nothing divided": ("{{ 7 // 0 }}", "modulo by zero"),
    "a long range": ("{% for i in range(2000000) %}{% endfor %}", "Range too big"),
    "a class": ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "unsafe"),
    "no jinja": ("{% for %}", "Expected an expression"),
    "a name that is none": ("{{ nothing.at.all }}", "'nothing' is undefined"),
    "its own words": ("{{ raise_exception('turns must alternate') }}", "turns must alternate"),
    "a file": ("{% include '/etc/hostname' %}", "no loader"),
}


def run(template: str) -> str:
    return sandbox.run_template(template, GREETING, (), {})[0]


@pytest.mark.parametrize("name", LIMITS)
def test_a_template_without_measure_is_ended(name: str) -> None:
    template, problem = LIMITS[name]
    started = time.monotonic()
    with pytest.raises(sandbox.Overrun, match=f"the chat template refuses it: .*{problem}"):
        run(template)
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("name", FAULTS)
def test_a_template_that_fails_says_why(name: str) -> None:
    template, problem = FAULTS[name]
    with pytest.raises(UserError, match=problem) as fault:
        run(template)
    assert not isinstance(fault.value, sandbox.Overrun)


def test_a_loop_without_end_is_ended_and_the_next_template_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run("{{ messages[0].content }}") == "hi"
    monkeypatch.setattr(sandbox, "SECONDS", 0.3)
    loop = "{% for i in range(99000) %}{% for j in range(99000) %}{% endfor %}{% endfor %}"
    with pytest.raises(sandbox.Overrun, match=r"not ended within 0\.3 s"):
        run(loop)
    monkeypatch.undo()
    assert run("{{ messages[0].role }}") == "user"


def test_a_crash_of_the_process_is_the_templates(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("x") == "x"
    assert sandbox._worker is not None
    sandbox._worker.process.kill()
    sandbox._worker.process.wait()
    with pytest.raises(sandbox.Overrun, match="crashed"):
        run("x")
    assert run("y") == "y"


def test_a_loop_without_end_is_not_tried_for_each_conversation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tokenizer = tokenizer_of(CHATS["chatml"])
    tokenizer.chat_template = (
        "{% if 'bad' in messages[0].content %}{{ 'z' * 30000000000 }}{% endif %}"
        + tokenizer.chat_template
    )
    questions: list[Any] = []
    run_template = sandbox.run_template

    def counted(template: str, messages: Any, *more: Any, **options: Any) -> Any:
        questions.append("bad" in messages[0]["content"])
        return run_template(template, messages, *more, **options)

    monkeypatch.setattr("tailorbird.data.chat_template.run_template", counted)
    bad = Example("", messages=(Message("user", "bad"), *TALK[1:]))
    with pytest.raises(sandbox.Overrun):
        encode_conversations([bad] * 50, tokenizer, 99)
    assert sum(questions) == 1


@pytest.mark.parametrize("name", CHATS)
def test_it_writes_what_transformers_writes(name: str) -> None:
    tokenizer = tokenizer_of(CHATS[name])
    for prompt in (False, True):
        expected = tokenizer.apply_chat_template(
            as_dicts(TALK), tokenize=False, add_generation_prompt=prompt
        )
        assert render(tokenizer, TALK, generation_prompt=prompt) == expected


def test_values_that_no_json_holds_are_named_by_their_type() -> None:
    turn = {"role": "user", "content": "x\ud83d", "date": datetime.date(2020, 1, 1), "n": None}
    written, _ = sandbox.run_template("{{ messages[0].date }}{{ messages[0].content }}",
                                      [turn], (), {})  # fmt: skip
    assert written == "<date>x\ud83d"


def test_several_templates_without_a_default_are_the_users_fault() -> None:
    tokenizer = tokenizer_of(CHATS["chatml"])
    tokenizer.chat_template = {"one": "a", "two": "b"}
    with pytest.raises(UserError, match="multiple chat templates"):
        install_template(tokenizer, "auto")


def test_a_fork_asks_a_process_of_its_own() -> None:
    assert run("x") == "x"
    child = os.fork()
    if not child:
        code = 1
        try:
            code = int(run("{{ 1 + 2 }}") != "3" or sandbox._owner != os.getpid())
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert run("y") == "y"
