"""Chat templates: which is taken, what the named ones write, and how an answer ends."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from chat_templates import CHATML, CHATS, PHI3, Chat, tokenizer_of
from tailorbird.data.chat_template import TEMPLATES, end_of_turn, install_template, render
from tailorbird.errors import UserError
from tailorbird.records import Message

PLAIN_TOKENS = Chat("", "</s>", "<s>")
IM = Chat("", "<|im_end|>", None, "<|endoftext|>", ("<|im_start|>", "<|im_end|>"))
TALK = (
    Message("system", "Be kind."),
    Message("user", "Hi"),
    Message("assistant", "Ho"),
    Message("user", "And?"),
    Message("assistant", "No."),
)
TOOL = {"type": "function", "function": {"name": "weather"}}
CALL = Message(
    "assistant",
    "",
    extra={"tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Köln"}}}]},
)


def with_template(name: str, chat: Chat = PLAIN_TOKENS) -> Any:
    tokenizer = tokenizer_of(chat)
    install_template(tokenizer, name)
    return tokenizer


WRITTEN = {
    "plain": "<s>### System:\nBe kind.\n\n### User:\nHi\n\n### Assistant:\nHo</s>\n\n"
    "### User:\nAnd?\n\n### Assistant:\nNo.</s>",
    "alpaca": "<s>Be kind.\n\n### Instruction:\nHi\n\n### Response:\nHo</s>\n\n"
    "### Instruction:\nAnd?\n\n### Response:\nNo.</s>",
    "raw": "<s>Be kind.HiHo</s>And?No.</s>",
    "chatml": "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
    "<|im_start|>assistant\nHo<|im_end|>\n<|im_start|>user\nAnd?<|im_end|>\n"
    "<|im_start|>assistant\nNo.<|im_end|>\n",
}


def tokens_for(name: str) -> Chat:
    return IM if name == "chatml" else PLAIN_TOKENS


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_named_templates_by_hand(name: str) -> None:
    tokenizer = with_template(name, tokens_for(name))
    assert render(tokenizer, TALK) == WRITTEN[name]


def test_alpaca_begins_with_stanfords_sentence_and_plain_without_any() -> None:
    question = (Message("user", "Hi"),)
    assert render(with_template("alpaca"), question, generation_prompt=True) == (
        "<s>Below is an instruction that describes a task. Write a response that appropriately "
        "completes the request.\n\n### Instruction:\nHi\n\n### Response:\n"
    )
    assert render(with_template("plain"), question, generation_prompt=True) == (
        "<s>### User:\nHi\n\n### Assistant:\n"
    )


def test_chatml_is_what_its_users_publish() -> None:
    ours, theirs = with_template("chatml", IM), tokenizer_of(CHATS["chatml"])
    for generation_prompt in (True, False):
        assert render(ours, TALK[:4], generation_prompt=generation_prompt) == render(
            theirs, TALK[:4], generation_prompt=generation_prompt
        )


@pytest.mark.parametrize("chat", [Chat("", "</s>", None), Chat("", "</s>", "<s>")])
def test_the_beginning_token_is_written_if_there_is_one(chat: Chat) -> None:
    written = render(with_template("plain", chat), TALK)
    assert written.startswith(f"{chat.bos or ''}### System")


turn = st.text(min_size=1, max_size=30).filter(str.strip)


@settings(max_examples=80, deadline=None)
@given(
    name=st.sampled_from(list(TEMPLATES)),
    said=st.lists(st.tuples(turn, turn), min_size=1, max_size=3),
    system=st.none() | turn,
)
def test_a_prompt_is_how_the_whole_begins(
    name: str, said: list[tuple[str, str]], system: str | None
) -> None:
    tokenizer = with_template(name, tokens_for(name))
    messages = [Message("system", system)] if system else []
    for question, answer in said:
        messages += [Message("user", question), Message("assistant", answer)]
    whole = render(tokenizer, messages)
    for k, message in enumerate(messages):
        if message.role == "assistant":
            assert whole.startswith(render(tokenizer, messages[:k], generation_prompt=True))
            upto = render(tokenizer, messages[: k + 1])
            assert whole.startswith(upto)
            assert upto.rstrip("\n").endswith(message.content + tokens_for(name).end)


@pytest.mark.parametrize("name", ["plain", "chatml"])
def test_tools_are_written_as_hermes_writes_them(name: str) -> None:
    tokenizer = with_template(name, tokens_for(name))
    asked = Message("user", "Warm in Köln?")
    written = render(tokenizer, (asked, CALL, Message("tool", "31")), (TOOL,))
    assert '{"type": "function", "function": {"name": "weather"}}' in written
    assert (
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Köln"}}\n</tool_call>' in written
    )
    prompt = render(tokenizer, (asked,), (TOOL,), generation_prompt=True)
    assert written.startswith(prompt)


def test_plain_with_tools_by_hand() -> None:
    written = render(
        with_template("plain"), (Message("user", "Hi"), CALL, Message("tool", "31")), (TOOL,)
    )
    assert written == (
        '<s>### Tools:\n{"type": "function", "function": {"name": "weather"}}\n\n'
        "### User:\nHi\n\n### Assistant:\n"
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Köln"}}\n</tool_call></s>\n\n'
        "### Tool result:\n31"
    )


@pytest.mark.parametrize("name", ["alpaca", "raw"])
def test_templates_without_place_for_tools_say_so(name: str) -> None:
    with pytest.raises(UserError, match="no place for tools") as caught:
        render(with_template(name), TALK, (TOOL,))
    assert "data.template=plain" in caught.value.fix


def test_the_models_own_template_is_used() -> None:
    tokenizer = tokenizer_of(CHATS["gemma"])
    assert install_template(tokenizer, "auto") == "chat template: the model's own"
    assert tokenizer.chat_template == CHATS["gemma"].template


def test_plain_is_used_where_there_is_none_and_saved(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = tokenizer_of(PLAIN_TOKENS)
    words = install_template(tokenizer, "auto")
    assert "plain" in words
    assert "none of its own" in words
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert render(loaded, TALK) == WRITTEN["plain"]
    assert install_template(loaded, "auto") == "chat template: the model's own"


def test_a_named_template_in_place_of_the_models_own_is_told() -> None:
    tokenizer = tokenizer_of(CHATS["zephyr"])
    assert "it replaces the model's own template" in install_template(tokenizer, "alpaca")
    assert "### Response" in render(tokenizer, TALK)


def test_a_file_is_a_template(tmp_path: Path) -> None:
    file = tmp_path / "mine.jinja"
    file.write_text("{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}")
    tokenizer = tokenizer_of(PLAIN_TOKENS)
    assert str(file) in install_template(tokenizer, str(file))
    assert render(tokenizer, TALK[1:3]) == "Hi</s>Ho</s>"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("plian", "did you mean 'plain'?"),
        ("missing.jinja", "neither a template nor a file"),
        ("chatml", "needs the tokens <|im_start|> and <|im_end|>"),
    ],
)
def test_templates_that_cannot_be_had(asked: str, words: str) -> None:
    tokenizer = tokenizer_of(PLAIN_TOKENS)
    with pytest.raises(UserError) as caught:
        install_template(tokenizer, asked)
    assert words in caught.value.problem
    assert caught.value.fix
    assert tokenizer.chat_template is None


def test_a_broken_template_is_the_users_fault(tmp_path: Path) -> None:
    file = tmp_path / "broken.jinja"
    file.write_text("{% for m in messages %}")
    with pytest.raises(UserError, match="endfor"):
        install_template(tokenizer_of(PLAIN_TOKENS), str(file))


def test_plain_needs_an_end_token() -> None:
    tokenizer = tokenizer_of(PLAIN_TOKENS)
    tokenizer.eos_token = None
    with pytest.raises(UserError, match="end-of-text token"):
        install_template(tokenizer, "plain")


@pytest.mark.parametrize("name", CHATS)
def test_the_token_that_ends_an_answer(name: str) -> None:
    tokenizer = tokenizer_of(CHATS[name])
    assert tokenizer.convert_ids_to_tokens(end_of_turn(tokenizer)) == CHATS[name].end


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_token_that_ends_an_answer_of_a_named_template(name: str) -> None:
    tokenizer = with_template(name, tokens_for(name))
    assert tokenizer.convert_ids_to_tokens(end_of_turn(tokenizer)) == tokens_for(name).end


def test_the_first_of_two_end_tokens_ends_the_turn() -> None:
    chat = Chat(PHI3, "<|end|>", None, "<|endoftext|>", ("<|user|>", "<|assistant|>", "<|end|>"))
    tokenizer = tokenizer_of(chat)
    assert tokenizer.convert_ids_to_tokens(end_of_turn(tokenizer)) == "<|end|>"


def test_no_end_token_is_refused() -> None:
    tokenizer = tokenizer_of(Chat(CHATML, "", None, "</s>"))
    with pytest.raises(UserError, match="'<|im_end|>', no special token".replace("|", r"\|")):
        install_template(tokenizer, "auto")
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    with pytest.raises(UserError, match="with nothing: a model trained on it would never stop"):
        end_of_turn(tokenizer)


@pytest.mark.parametrize("name", ["gemma", "mistral"])
def test_what_a_template_raises_is_a_users_fault(name: str) -> None:
    with pytest.raises(UserError, match="the chat template refuses it: Conversation roles"):
        render(tokenizer_of(CHATS[name]), (TALK[1], TALK[1]))


def test_pythons_own_errors_in_a_template_are_too() -> None:
    tokenizer = tokenizer_of(Chat("{{ messages[0].content + 1 }}", ""))
    with pytest.raises(UserError, match="refuses it: can only concatenate"):
        render(tokenizer, TALK)
