"""The tokenizer of builtin:tutor: byte-level BPE learned from the training text alone."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

VOCABULARY = 4096
POSITIONS = 1024
END_OF_TEXT, TURN_START, TURN_END, PADDING = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|pad|>",
)
SPECIAL = [END_OF_TEXT, TURN_START, TURN_END, PADDING]
# As GPT-4's, but digits stand alone and a line break joins the indentation after it: one token
# says "new line, eight blanks in", where code would otherwise spend two on most lines. The last
# blank goes to the word, as everywhere in a line.
PIECES = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# The `generation` marks let transformers tell an answer's tokens from a question's.
CHAT_TEMPLATE = """\
{%- for message in messages -%}
{%- if message['role'] == 'assistant' -%}
{{- '<|im_start|>assistant\\n' -}}
{%- generation -%}{{- message['content'] + '<|im_end|>' -}}{%- endgeneration -%}
{{- '\\n' -}}
{%- else -%}
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""

# In the words that transformers 4 and vLLM know too.
SHIPPED = {
    "additional_special_tokens": [END_OF_TEXT, TURN_START],
    "clean_up_tokenization_spaces": False,
    "eos_token": TURN_END,
    "model_max_length": POSITIONS,
    "pad_token": PADDING,
    "tokenizer_class": "PreTrainedTokenizerFast",
}


def learn(texts: Iterable[str], size: int = VOCABULARY) -> Any:
    """Return a transformers tokenizer whose vocabulary is learned from `texts`."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    plain.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=32,
        show_progress=False,
    )
    plain.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=plain,
        eos_token=TURN_END,
        pad_token=PADDING,
        additional_special_tokens=[END_OF_TEXT, TURN_START],
        model_max_length=POSITIONS,
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )


def ship(saved: Path, folder: Path) -> None:
    """Copy a saved tokenizer to a model's folder."""
    for name in ("tokenizer.json", "chat_template.jinja"):
        shutil.copyfile(saved / name, folder / name)
    written = json.dumps(SHIPPED, indent=2) + "\n"
    (folder / "tokenizer_config.json").write_text(written, encoding="utf-8")


def load(folder: Path) -> Any:
    """Return the tokenizer saved in a folder."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)
