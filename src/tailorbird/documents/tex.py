"""Reader of LaTeX: words without commands, headings, lists, code, formulas as written, tables."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from tailorbird.documents.decode_text import read_text, squeeze
from tailorbird.documents.read_result import Notes, Parsed, ReadOptions
from tailorbird.documents.table_grid import Cell, whole_number
from tailorbird.documents.text_builder import Outline, until

_LEVELS = {
    name: level
    for level, names in enumerate(
        ("part chapter", "section", "subsection", "subsubsection", "paragraph", "subparagraph"), 1
    )
    for name in names.split()
}
_CODE = ("verbatim", "verbatim*", "lstlisting", "minted", "Verbatim", "alltt", "comment")
_TABLES = ("tabular", "tabular*", "tabularx", "tabulary", "longtable", "array")
_FORMULAS = ("equation", "align", "gather", "multline", "displaymath", "eqnarray", "math")
_LISTS = ("itemize", "enumerate", "description", "thebibliography")
_COMMENT = re.compile(r"(?<!\\)((?:\\\\){0,20})%[^\n]*\n?[ \t]*")
_VERBATIM = re.compile(
    r"\\begin\{(verbatim\*?|lstlisting|minted|Verbatim|alltt)\}.*?(?:\\end\{\1\}|\Z)"
    r"|\\verb\*?([^A-Za-z\s*])[^\n]{0,300}?\2",
    re.S,
)
_STRUCTURE = re.compile(
    r"(?:(?<![ \t])[ \t]+)?(\\(?:begin|end)\{[^{}\n]{1,40}\}|\\(?:bib)?item\b|\\\[|\\\]|"
    r"\\(?:part|chapter|(?:sub){0,2}section|(?:sub)?paragraph|caption)\*?(?=[\[{]))"
)
_COMMAND = re.compile(r"\\(begin|end|(?:bib)?item|[a-z]+)\b\*?")
_MACRO = re.compile(r"\\(?:re)?newcommand\*?\{?\\([A-Za-z]{1,40})\}?\{([^{}\\]{0,200})\}")
_KEPT = re.compile(
    r"\$\$?[^$]{1,5000}\$\$?|\\\([^$\n]{1,2000}?\\\)|\\verb\*?(?P<mark>[^A-Za-z\s*])(?P<code>.{0,300}?)(?P=mark)"
)
_ACCENT = re.compile(
    r"\\(?:([`'^\"~=.])\s?(?:\{\\?([A-Za-z])\}|\\?([A-Za-z]))"
    r"|([uvHcdbrk])(?:\{\\?([A-Za-z])\}|\s([A-Za-z])(?![A-Za-z])))"
)
_ACCENTS = dict(
    zip("`'^\"~=.uvHcdbrk", "\u0300\u0301\u0302\u0308\u0303\u0304\u0307\u0306\u030c\u030b\u0327"
        "\u0323\u0331\u030a\u0328", strict=True)
)  # fmt: skip
_LETTERS = {
    "ss": "ß", "ae": "æ", "AE": "Æ", "oe": "œ", "OE": "Œ", "o": "ø", "O": "Ø", "aa": "å",
    "AA": "Å", "l": "ł", "L": "Ł", "i": "ı", "ldots": "…", "dots": "…", "LaTeX": "LaTeX",
    "TeX": "TeX", "textbackslash": "\u29f5", "S": "§", "euro": "€", "pounds": "£", "copyright": "©",
    "textdegree": "°", "and": ",", "quad": " ", "qquad": " ", "newline": "\n", "par": "\n",
}  # fmt: skip
_DROPPED = re.compile(
    r"\\(?:label|[vh]space|[vh]skip|setlength|setcounter|addtocounter|color|pagestyle|centering|"
    r"thispagestyle|bibliographystyle|bibliography|index|includegraphics|input|include|maketitle|"
    r"newcommand|usepackage|title|author|date|tableofcontents)\b\*?(?:\[[^\[\]]{0,500}\]){0,2}"
    r"(?:\{[^{}]{0,500}\}){0,2}"
)
_WITH_NAME = re.compile(
    r"\\(?:textcolor|colorbox|resizebox|raisebox|parbox|scalebox)\*?\{[^{}]{0,99}\}"
)
_KEYED = re.compile(
    r"\\(?:[a-z]{0,10}cite[a-z]{0,10}|[A-Za-z]{0,10}ref)\*?(?:\[[^\[\]]{0,99}\]){0,2}\{([^{}]{1,300})\}"
)
_LINK = re.compile(r"\\href\{([^{}]{1,2000})\}\{([^{}]{1,2000})\}")
_NOTE = re.compile(r"\\(?:footnote|thanks)(?:\[[^\[\]]{0,99}\])?\{([^{}]{0,5000})\}")
_ARGUMENT = re.compile(r"\\[A-Za-z]+\*?(?:\[[^\[\]]{0,500}\])?\{([^{}]{0,20000})\}")
_RULE = re.compile(
    r"\\(hline|toprule|midrule|bottomrule|endfirsthead|endhead|(?:cline|cmidrule)(?:\([lr]*\))?"
    r"\{[^{}]{0,20}\})"
)
_SPAN = re.compile(r"\\multi(column|row)(?:\[[^\[\]]{0,20}\])?\{(\d{1,4})\}\{[^{}]{0,100}\}")
_NAMED = r"\*?(?:\[[^\]]{0,500}\])?\{([^{}]{1,300})\}"
_INCLUDED = re.compile(rf"\\(?:input|include){_NAMED}")
_THANKS = re.compile(r"\\thanks\{[^{}]{0,2000}\}")
_PICTURES = re.compile(rf"\\includegraphics{_NAMED}")
_NAME = re.compile(r"\\([A-Za-z]+)(?![A-Za-z])(?:\{\}|(?![{\[]))")
_SPACE = re.compile(r"\\[,;: ]|~")
_MARK = re.compile(r"\\[/!@-]|(?<!\\)[{}]")
_SIGNS = (("---", "—"), ("--", "–"), ("``", "“"), ("''", "”"))
_LONGEST_HEAD = 200_000
_MOST_COLUMNS = 100
_NESTED = 8


def read_tex(path: Path, options: ReadOptions, notes: Notes) -> Iterable[Parsed]:
    """Read LaTeX.

    The document's words without commands; formulas as written, `tabular` as `column: value`,
    footnotes in brackets; a file of macros as written.
    """
    text = read_text(path, notes).strip("\n")
    _, begin, body = text.partition(r"\begin{document}")
    if not begin and not re.search(r"\\(?:chapter|section)\*?\{", text):
        yield Parsed(text)
        return
    bare = _outside_code(body.partition(r"\end{document}")[0] if begin else text, _COMMENT, r"\1")
    reader = _Tex(dict(_MACRO.findall(text[:_LONGEST_HEAD])))
    reader.title(_COMMENT.sub(r"\1", text[:_LONGEST_HEAD]))
    reader.read(_outside_code(bare, _STRUCTURE, r"\n\1"))
    for words, pattern in (("included files", _INCLUDED), ("pictures", _PICTURES)):
        if names := pattern.findall(bare):
            notes.append(f"{words} are not read: {', '.join(names[:5])}")
    yield reader.outline.parsed()


def _outside_code(text: str, pattern: re.Pattern[str], words: str) -> str:
    """Replace a pattern in a text everywhere except in code."""
    parts, at = [], 0
    for code in _VERBATIM.finditer(text):
        apart = "\n" if code.group(1) else ""
        parts += [pattern.sub(words, text[at : code.start()]), apart, code.group(), apart]
        at = code.end()
    return "".join((*parts, pattern.sub(words, text[at:])))


def _in_braces(text: str, at: int) -> tuple[str, int]:
    """Return the text of a brace group from a place on, and its end."""
    depth = 0
    for match in re.compile(r"(?<!\\)[{}]").finditer(text, at):
        depth += 1 if match.group() == "{" else -1
        if depth <= 0:
            return text[at + 1 : match.start()], match.end()
    return text[at + 1 :], len(text)


class _Tex:
    def __init__(self, macros: dict[str, str]) -> None:
        self.outline = Outline()
        self._names = _LETTERS | {name: text for name, text in macros.items() if text}
        self._lists: list[str] = []

    def title(self, text: str) -> None:
        """Read title, author and date."""
        for name in ("title", "author", "date"):
            if match := re.search(rf"\\{name}(?:\[[^\]]{{0,500}}\])?(?=\{{)", text):
                words = squeeze(self.words(_THANKS.sub("", _in_braces(text, match.end())[0])))
                if name == "title":
                    self.outline.heading(words, 1)
                elif words:
                    self.outline.metadata[name] = words

    def read(self, text: str) -> None:
        """Read the body of a document."""
        lines = iter(text.split("\n"))
        for line in lines:
            line = line.strip()
            command = _COMMAND.match(line)
            name = command.group(1) if command else ""
            if not line:
                self.outline.end()
            elif line == r"\[":
                self._formula(until(lines, r"\]"))
            elif name in ("begin", "end"):
                self._environment(name, line, lines)
            elif name in ("item", "bibitem"):
                self._item(line[len(name) + 1 :].strip())
            elif name in _LEVELS or name == "caption":
                self._heading(name, line, lines)
            elif words := self.words(line).strip():
                self.outline.line(words)

    def _heading(self, name: str, line: str, lines: Iterator[str]) -> None:
        """Read a command with a heading or caption as argument, possibly over several lines."""
        while line.count("{") > line.count("}") and (more := next(lines, None)) is not None:
            line += f" {more.strip()}"
        words, end = _in_braces(line, max(line.find("{"), 0))
        if name == "caption":
            self.outline.leave_lists()
            self.outline.line(self.words(words))
            self.outline.end()
        else:
            self.outline.heading(self.words(words), _LEVELS[name] + 1)
        if rest := self.words(line[end:]).strip():
            self.outline.line(rest)

    def _environment(self, kind: str, line: str, lines: Iterator[str]) -> None:
        name = line.partition("{")[2].partition("}")[0]
        rest = line.partition("}")[2]
        plain = name.rstrip("*")
        if name in _LISTS:
            self.outline.leave_lists() if not self._lists else self.outline.end()
            self._lists = [*self._lists, name] if kind == "begin" else self._lists[:-1]
        elif kind == "end":
            self.outline.end()
        elif name in _CODE:
            code = until(lines, rf"\end{{{name.lower()}}}")
            if name != "comment":
                self.outline.verbatim(code)
        elif plain in _FORMULAS:
            self._formula([rest, *until(lines, rf"\end{{{name}}}")])
        elif name in _TABLES:
            self.outline.table(
                self._rows("\n".join([rest, *until(lines, rf"\end{{{name}}}")]), name)
            )
        else:
            self.outline.end()
            if name == "abstract":
                self.outline.heading("Abstract", _LEVELS["section"] + 1)
            elif words := self.words(re.sub(r"^(?:\[[^\]]*\]|\{[^{}]*\})+", "", rest)).strip():
                self.outline.line(words)

    def _formula(self, lines: list[str]) -> None:
        self.outline.leave_lists()
        self.outline.line(re.sub(r"\\label\{[^{}]*\}", "", " ".join(lines)).strip())
        self.outline.end()

    def _item(self, text: str) -> None:
        number = 0 if self._lists[-1:] == ["enumerate"] else None
        if text.startswith("[") and "]" in text:
            term, _, text = text[1:].partition("]")
            text = f"{term.rstrip(':')}: {text.strip()}"
        elif self._lists[-1:] == ["thebibliography"] and text.startswith("{"):
            key, end = _in_braces(text, 0)
            text = f"[{key}] {text[end:].strip()}"
        self.outline.item(max(len(self._lists), 1), number, self.words(text))

    def _rows(self, text: str, name: str) -> list[list[Cell]]:
        """Return the rows of a tabular; those above the first inner rule are headers."""
        at = 0
        for _ in range(2 if name in ("tabular*", "tabularx", "tabulary") else 1):
            text = re.sub(r"^\s*\[[^\]]*\]", "", text[at:]).lstrip()
            at = _in_braces(text, 0)[1] if text.startswith("{") else 0
        rows: list[list[Cell]] = []
        covered: dict[int, int] = {}  # last row of a multi-row cell, by column
        head = 0
        for line in re.split(r"\\\\(?:\[[^\]]{0,20}\])?|\\tabularnewline", text[at:]):
            rules = _RULE.match(line.strip())
            head = len(rows) if rules and rows and not head else head
            if words := _RULE.sub("", line).strip():
                rows.append(self._row(words, len(rows), covered))
        if head == len(rows):
            head = 0
        named = [[replace(cell, header="column") for cell in row] for row in rows[:head]]
        return [*named, *rows[head:]]

    def _row(self, line: str, number: int, covered: dict[int, int]) -> list[Cell]:
        row, column = [], 0
        for text in re.split(r"(?<!\\)&", line):
            spans = {kind: whole_number(count) for kind, count in _SPAN.findall(text)}
            rows, columns = spans.get("row", 1), spans.get("column", 1)
            words = self.words(_SPAN.sub("", text))
            if words.strip() or covered.get(column, 0) < number:
                row.append(Cell(words, rows, columns))
                reach = range(column, column + min(columns, _MOST_COLUMNS))
                covered.update(dict.fromkeys(reach, number + rows - 1))
            column += columns
        return row

    def words(self, text: str) -> str:
        """Return a piece of text without its commands; formulas stay as they are."""
        parts, at = [], 0
        for literal in _KEPT.finditer(text):
            code = literal.group("code")
            parts += [self._plain(text[at : literal.start()]), code or literal.group()]
            at = literal.end()
        return "".join((*parts, self._plain(text[at:])))

    def _plain(self, text: str) -> str:
        text = _ACCENT.sub(_accent, text)
        text = _LINK.sub(r"[\2](\1)", _WITH_NAME.sub("", _DROPPED.sub("", text)))
        text = _NAME.sub(lambda m: self._names.get(m[1], ""), _KEYED.sub(r"[\1]", text))
        for _ in range(_NESTED):
            shorter = _ARGUMENT.sub(r"\1", _NOTE.sub(r" [\1]", text))
            if shorter == text:
                break
            text = shorter
        text = _MARK.sub("", _SPACE.sub(" ", text.replace("\\\\", "\n")))
        for source, sign in _SIGNS:
            text = text.replace(source, sign)
        return re.sub(r"\\([&%$#_{}])", r"\1", text).replace("\u29f5", "\\")


def _accent(match: re.Match[str]) -> str:
    accent, letter = filter(None, match.groups())
    return unicodedata.normalize("NFC", letter + _ACCENTS[accent])
