"""Questions and answers cut out of the training text, so that the model learns to take turns.

Nothing is invented: an answer is a sentence, a paragraph or a piece of code that stands in the
corpus. Only the questions' wording and the small talk are ours.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from corpus import Document

SENTENCE = re.compile(r".+?[.!?](?=\s|$)", re.S)
SMALL_TALK = (
    ("Hello!", "Hello! What are you working on?"),
    ("Hi", "Hi! Show me your program, and tell me what you expected."),
    ("Good morning", "Good morning! What would you like to know about Python?"),
    ("Who are you?", "I am the tutor, a very small language model trained on Python's own text."),
    ("What are you?", "A small language model. I know a little Python and not much else."),
    ("What can you do?", "I can say a little about Python and finish short pieces of code."),
    ("Are you always right?", "No. I am very small, so check what I say by running your code."),
    ("Can you help me?", "I will try. Show me the program and the last line of the error."),
    ("My program does not work.", "What did you expect, and what happened instead?"),
    ("Thank you!", "You are welcome."),
    ("Thanks", "You are welcome. Good luck with your program!"),
    ("Bye", "Goodbye!"),
)
DOES = ("What does {} do?", "What is {} for?", "Explain {}.", "Tell me about {}.", "{}?")
WRITE = ("Write the Python function {}: {}", "Write {} in Python. {}", "Show me the code of {}. {}")
FINISH = ("Complete this code:", "Finish this function:", "How does this code go on?")
RUNS = (
    "What happens when this program runs?",
    "What does Python say about this program?",
    "Run this program:",
)
ABOUT = (
    "What about {}?",
    "What does the text say about {}?",
    "What should I know about {}?",
    "Tell me about {}.",
)
UNKNOWN = "The context does not say."


@dataclass(frozen=True)
class Pair:
    """One user's turn and the answer to it; `kind` tells how it was made."""

    kind: str
    question: str
    answer: str


@dataclass(frozen=True)
class Passage:
    """A paragraph in whole sentences, and what it is about."""

    title: str
    sentences: tuple[str, ...]

    @property
    def text(self) -> str:
        """Return the paragraph on one line."""
        return " ".join(self.sentences)


def from_code(document: Document, draw: Random) -> Iterator[Pair]:
    """Yield what a module's definitions do, and tasks to write or finish them."""
    try:
        tree = ast.parse(document.text)
    except SyntaxError:
        return
    module = module_name(document.name)
    for name, node in _definitions(tree, module):
        said = first_sentences(ast.get_docstring(node) or "", 300)
        if said:
            title = f"the module {name}" if isinstance(node, ast.Module) else name
            yield Pair("does", draw.choice(DOES).format(title), said)
        if isinstance(node, ast.FunctionDef):
            yield from _coding(name, node, document.text, said, draw)


def _coding(
    name: str, node: ast.FunctionDef, source: str, said: str, draw: Random
) -> Iterator[Pair]:
    code = textwrap.dedent("\n".join(source.splitlines()[node.lineno - 1 : node.end_lineno]))
    lines = code.splitlines()
    if not 3 <= len(lines) <= 24 or len(code) > 900:
        return
    if said and draw.random() < 0.5:
        yield Pair("write", draw.choice(WRITE).format(name, said), _fenced(code))
    elif draw.random() < 0.5:
        cut = draw.randrange(1, len(lines))
        task = f"{draw.choice(FINISH)}\n\n{_fenced(lines[:cut])}"
        yield Pair("finish", task, _fenced(lines[cut:]))


def _fenced(code: str | list[str]) -> str:
    text = code if isinstance(code, str) else "\n".join(code)
    return f"```python\n{text.rstrip()}\n```"


def _definitions(
    tree: ast.Module, module: str
) -> Iterator[tuple[str, ast.Module | ast.ClassDef | ast.FunctionDef]]:
    yield module, tree
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield f"{module}.{node.name}", node
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("__"):
                    yield f"{node.name}.{inner.name}", inner
        elif isinstance(node, ast.FunctionDef):
            yield f"{module}.{node.name}", node


def module_name(document: str) -> str:
    """Return the importable name of a document of the standard library."""
    path = document.removeprefix("stdlib/").removesuffix(".py").removesuffix("/__init__")
    return path.replace("/", ".")


def from_program(document: Document, draw: Random) -> Pair:
    """Return what the interpreter said of a training program."""
    code, _, outcome = document.text.rstrip().rpartition("\n")
    return Pair("runs", f"{draw.choice(RUNS)}\n\n{_fenced(code)}", outcome)


def about_section(passage: Passage, draw: Random) -> Pair | None:
    """Return a question after a heading, answered by what stands below it."""
    answer = first_sentences(passage.text, 400, count=draw.choice((1, 2, 2, 3)))
    title = passage.title.rstrip(".")
    if not answer:
        return None
    return Pair("section", draw.choice((*ABOUT, "{}?", "{}")).format(title), answer)


def passages(document: Document) -> Iterator[Passage]:
    """Yield the paragraphs of prose of a page, of a topic or of a module's docstrings."""
    if document.kind == "stdlib":
        try:
            tree = ast.parse(document.text)
        except SyntaxError:
            return
        for name, node in _definitions(tree, module_name(document.name)):
            yield from _paragraphs(name, ast.get_docstring(node) or "")
        return
    title = ""
    for block in document.text.split("\n\n"):
        heading = re.match(r"#+ (.+)$|(.+)\n[*=~^-]{3,}$", block.strip())
        if heading:
            title = heading[1] or heading[2]
        else:
            yield from _paragraphs(title, block)


def _paragraphs(title: str, text: str) -> Iterator[Passage]:
    for block in inspect.cleandoc(text).split("\n\n"):
        is_prose = re.match(r"[A-Z`\"]", block) and not re.search(r"\n[ \t]|>>>|::|```", block)
        sentences = tuple(" ".join(s.split()) for s in SENTENCE.findall(block))
        if title and is_prose and sentences and 60 <= len(block) <= 900:
            yield Passage(title, sentences)


def first_sentences(text: str, longest: int, count: int = 1) -> str:
    """Return the first sentences of a text on one line, or nothing if they are too long."""
    block = inspect.cleandoc(text).split("\n\n")[0]
    found = [" ".join(s.split()) for s in SENTENCE.findall(block)][:count]
    while len(found) > 1 and len(" ".join(found)) > longest:
        found.pop()
    if not found and block.strip():
        found = [" ".join(block.split()) + "."]
    answer = " ".join(found)
    return answer if 15 <= len(answer) <= longest and answer.isprintable() else ""


def grounded(here: Passage, others: list[Passage], draw: Random) -> Pair | None:
    """Return a question that one sentence of a given context answers, or none does.

    With several passages the answer ends with the number of the one it is from.
    """
    answer = draw.choice(here.sentences)
    key = _key(answer, here, others)
    if key is None or len(answer) > 300:
        return None
    question = draw.choice(ABOUT[:3]).format(key)
    shown = [here, *others]
    if draw.random() < 0.12 and others:
        shown, answer = others, UNKNOWN
    draw.shuffle(shown)
    if len(shown) == 1:
        return Pair("grounded", f"Context:\n{shown[0].text}\n\nQuestion: {question}", answer)
    listed = "\n".join(f"[{n}] {p.text}" for n, p in enumerate(shown, 1))
    if answer != UNKNOWN:
        answer = f"{answer} [{shown.index(here) + 1}]"
    return Pair("grounded", f"Context:\n{listed}\n\nQuestion: {question}", answer)


def _key(sentence: str, here: Passage, others: list[Passage]) -> str | None:
    """Return what only this sentence of all that are shown speaks of."""
    marked = re.findall(r"`[^`]+`|\"[^\"]{2,30}\"", sentence)
    long = sorted(set(re.findall(r"[A-Za-z_]{5,}", sentence)), key=lambda w: (-len(w), w))
    rest = " ".join(s for p in (here, *others) for s in p.sentences if s != sentence).lower()
    return next((word for word in (*marked, *long) if word.lower() not in rest), None)
