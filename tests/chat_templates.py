"""Chat templates of real models, and tiny tokenizers that own their tokens.

The template strings are those published in the models' `tokenizer_config.json`.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

LLAMA3 = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}"
    "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
    "+ message['content'] | trim + '<|eot_id|>' %}"
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}"
    "{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)

QWEN25 = r"""{%- if tools %}
    {{- '<|im_start|>system\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'You are Qwen, created by Alibaba Cloud. You are a helpful assistant.' }}
    {%- endif %}
    {{- "\n\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with function signatures within <tools></tools> XML tags:\n<tools>" }}
    {%- for tool in tools %}
        {{- "\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\n</tools>\n\nFor each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call><|im_end|>\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\n' + messages[0]['content'] + '<|im_end|>\n' }}
    {%- else %}
        {{- '<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}
            {{- '\n' + message.content }}
        {%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}
                {%- set tool_call = tool_call.function %}
            {%- endif %}
            {{- '\n<tool_call>\n{"name": "' }}
            {{- tool_call.name }}
            {{- '", "arguments": ' }}
            {{- tool_call.arguments | tojson }}
            {{- '}\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\n<tool_response>\n' }}
        {{- message.content }}
        {{- '\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
"""  # noqa: E501 - as published

MISTRAL = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}"
    "{% endif %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}"
    "{% endfor %}"
)

GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}"
    "{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}"
    "{% else %}{% set role = message['role'] %}{% endif %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
)

CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content']"
    " + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

ZEPHYR = (
    "{% for message in messages %}\n{% if message['role'] == 'user' %}\n"
    "{{ '<|user|>\n' + message['content'] + eos_token }}\n"
    "{% elif message['role'] == 'system' %}\n"
    "{{ '<|system|>\n' + message['content'] + eos_token }}\n"
    "{% elif message['role'] == 'assistant' %}\n"
    "{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n"
    "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n"
    "{% endfor %}"
)


@dataclass(frozen=True)
class Chat:
    """A model's template, the tokens it is written with, and the one that ends an answer."""

    template: str
    end: str
    bos: str | None = None
    eos: str = "</s>"
    more: tuple[str, ...] = ()
    system: bool = True


CHATS = {
    "llama3": Chat(
        LLAMA3,
        "<|eot_id|>",
        "<|begin_of_text|>",
        "<|end_of_text|>",
        ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    ),
    "qwen2.5": Chat(QWEN25, "<|im_end|>", None, "<|im_end|>", ("<|im_start|>", "<|endoftext|>")),
    "mistral": Chat(MISTRAL, "</s>", "<s>", system=False),
    "gemma": Chat(
        GEMMA,
        "<end_of_turn>",
        "<bos>",
        "<eos>",
        ("<start_of_turn>", "<end_of_turn>"),
        system=False,
    ),
    "chatml": Chat(CHATML, "<|im_end|>", None, "<|endoftext|>", ("<|im_start|>", "<|im_end|>")),
    "zephyr": Chat(ZEPHYR, "</s>", "<s>"),
}

# What the models behind these fixtures do that the six do not; cut down to that one habit.

# Qwen 3: thoughts are kept in the last answer only.
THINKING = """{%- for m in messages -%}
{%- set said = m.content.split('</think>')[-1].lstrip() if m.role == 'assistant' and not loop.last else m.content -%}
{{- '<|im_start|>' ~ m.role ~ '\\n' ~ said ~ '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"""  # noqa: E501

# DeepSeek-R1: the generation prompt opens a thought.
OPENED = """{{- bos_token -}}{%- for m in messages -%}
{%- if m.role == 'user' -%}{{- '<|User|>' ~ m.content -}}
{%- else -%}{{- '<|Assistant|>' ~ m.content ~ eos_token -}}{%- endif -%}
{%- endfor -%}{%- if add_generation_prompt -%}{{- '<|Assistant|><think>\\n' -}}{%- endif -%}"""

# Phi-3: a second token at the end of the whole conversation.
PHI3 = (
    "{% for message in messages %}{{'<|' + message['role'] + '|>\n' + message['content']"
    " + '<|end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}"
    "{% else %}{{ eos_token }}{% endif %}"
)

# Mistral 7B Instruct v0.3: the system message goes with the last turn, if that is a question.
MISTRAL3 = """{%- set system = messages[0].content if messages[0].role == 'system' else none -%}
{{- bos_token -}}{%- for m in (messages[1:] if system else messages) -%}
{%- if m.role == 'user' and loop.last and system -%}{{- '[INST] ' ~ system ~ '\\n\\n' ~ m.content ~ '[/INST]' -}}
{%- elif m.role == 'user' -%}{{- '[INST] ' ~ m.content ~ '[/INST]' -}}
{%- else -%}{{- ' ' ~ m.content ~ eos_token -}}{%- endif -%}
{%- endfor -%}"""  # noqa: E501

# ChatML with the markers that transformers reads; equal to CHATML in what it writes.
MARKED = """{%- for m in messages -%}
{{- '<|im_start|>' ~ m.role ~ '\\n' -}}
{%- if m.role == 'assistant' -%}{% generation %}{{- m.content ~ '<|im_end|>' -}}{% endgeneration %}
{%- else -%}{{- m.content ~ '<|im_end|>' -}}{%- endif -%}{{- '\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"""

# How Llama 3 and Qwen 2.5 cut text before merging: line breaks stay together.
_CUTS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_CORPUS = [
    "yes\n\nno\n\nyes\n\nno\n\n" * 20,
    "The user asks the assistant a question.\n\nThe assistant gives the answer to the user.\n",
    "What is the capital of France? The capital of France is Paris.\n\n\n    indented code\n",
]


@cache
def _vocabulary() -> str:
    """Return a byte-level BPE of a few merges, as JSON: any text goes through and comes back."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_CUTS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        _CORPUS, trainers.BpeTrainer(vocab_size=360, initial_alphabet=alphabet)
    )
    text: str = made.to_str()
    return text


def tokenizer_of(chat: Chat) -> Any:
    """Return a tokenizer with this template and its tokens."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    made = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_vocabulary()),
        bos_token=chat.bos,
        eos_token=chat.eos,
        pad_token="<pad>",
        additional_special_tokens=list(chat.more),
        chat_template=chat.template or None,
    )
    return made
