"""Made-up documents whose words, headings, tables and lists are known, and writers of text kinds.

Every word of a document is made of syllables and stands in it once, so that each word that a reader
loses, invents, glues or puts elsewhere is seen. `made_office.py` writes the same documents as
office files and PDFs.
"""

import random
import zipfile
from dataclasses import dataclass, field
from email.message import EmailMessage
from html import escape
from pathlib import Path

_SYLLABLES = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]


class Words:
    """Gives words that differ from all those before."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.used: set[str] = set()

    def word(self) -> str:
        """Return a new word of three or four syllables."""
        while True:
            word = "".join(self.draw.choices(_SYLLABLES, k=self.draw.choice((3, 3, 4))))
            if word not in self.used:
                self.used.add(word)
                return word

    def words(self, count: int) -> str:
        """Return new words with a capital at the beginning."""
        return " ".join(self.word() for _ in range(count)).capitalize()

    def sentences(self, count: int) -> str:
        """Return new sentences of eight words."""
        return " ".join(f"{self.words(8)}." for _ in range(count))

    def number(self) -> str:
        """Return a new number that is no year."""
        while True:
            number = str(self.draw.randrange(2100, 9999))
            if number not in self.used:
                self.used.add(number)
                return number


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table; `head` is `column`, `row` or nothing."""

    text: str
    rows: int = 1
    columns: int = 1
    head: str = ""


@dataclass(slots=True)
class Table:
    """Rows of cells, how many of them are heads, and each value with the headers it has."""

    rows: list[list[Cell]]
    heads: int
    pairs: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        grid = self.grid()
        for r, row in enumerate(grid):
            for c, cell in enumerate(row):
                if cell.head:
                    continue
                names = {line[c].text for line in grid[: self.heads]}
                names |= {other.text for other in row if other.head == "row"}
                first = grid.index(row) == r and (c == 0 or row[c - 1] is not cell)
                self.pairs += [(name, cell.text) for name in sorted(names) if name and first]

    def grid(self) -> list[list[Cell]]:
        """Return the cell that covers each position."""
        places: dict[tuple[int, int], Cell] = {}
        for r, row in enumerate(self.rows):
            c = 0
            for cell in row:
                while (r, c) in places:
                    c += 1
                for below in range(cell.rows):
                    for beside in range(cell.columns):
                        places[r + below, c + beside] = cell
                c += cell.columns
        width = 1 + max(c for _, c in places)
        return [[places[r, c] for c in range(width)] for r in range(len(self.rows))]

    def places(self) -> list[tuple[int, int, Cell]]:
        """Return each cell with the row and column where it begins."""
        grid, seen = self.grid(), set[int]()
        places = []
        for r, row in enumerate(grid):
            for c, cell in enumerate(row):
                if id(cell) not in seen:
                    seen.add(id(cell))
                    places.append((r, c, cell))
        return places


@dataclass(slots=True)
class Section:
    """A part of a document."""

    level: int
    heading: str
    paragraphs: list[str]
    items: list[str]
    table: Table
    note: str


@dataclass(slots=True)
class Story:
    """A document."""

    title: str
    sections: list[Section]
    extra: Words

    def sequences(self, parts: str) -> list[str]:
        """Return what is to be read in one piece, word after word.

        Args:
            parts: Which of title, headings, text, items, tables and notes a kind of file holds.
        """
        pieces = [self.title] if "title" in parts else []
        for section in self.sections:
            pieces += [section.heading] if "headings" in parts else []
            pieces += section.paragraphs if "text" in parts else []
            pieces += section.items if "items" in parts else []
            pieces += [section.note] if "notes" in parts else []
            if "tables" in parts:
                pieces += [cell.text for row in section.table.rows for cell in row]
        return pieces


def story(seed: int, *, spans: bool, sections: int = 4) -> Story:
    """Return a document; its tables have spans or one plain row of headers."""
    words = Words(seed)
    parts = [
        Section(
            1 + number % 2,
            words.words(3),
            [words.sentences(3) for _ in range(2)],
            [words.words(4) for _ in range(3)],
            _spanned(words) if spans else _plain(words),
            f"{words.words(5)}.",
        )
        for number in range(sections)
    ]
    return Story(words.words(4), parts, words)


def _plain(words: Words) -> Table:
    head = [Cell(words.word().capitalize(), head="column") for _ in range(4)]
    rows = [
        [Cell(words.word()), Cell(words.number()), Cell(words.number()), Cell(words.words(2))]
        for _ in range(4)
    ]
    return Table([head, *rows], 1)


def _spanned(words: Words) -> Table:
    """Return a table with two rows of headers, a value that goes over two rows, and row headers."""

    def name(rows: int = 1, columns: int = 1, head: str = "column") -> Cell:
        return Cell(words.word().capitalize(), rows, columns, head)

    heads = [[name(rows=2), name(columns=2), name(rows=2)], [name(), name()]]
    shared = Cell(words.number(), rows=2)
    rows = [
        [name(head="row"), Cell(words.number()), Cell(words.number()), shared],
        [name(head="row"), Cell(words.number()), Cell(words.number())],
        [name(head="row"), Cell(words.number(), columns=2), Cell(words.number())],
    ]
    return Table([*heads, *rows], 2)


def write_html(path: Path, made: Story) -> None:
    """Write a web page with what surrounds its main part."""
    around = made.extra
    path.write_text(
        f"<!doctype html><html><head><title>{made.title}</title><style>.{around.word()}{{}}</style>"
        f"<script>let {around.word()} = 1</script></head><body>"
        f"<nav><ul><li><a href='/a'>{around.words(2)}</a><li><a href='/b'>{around.words(2)}</a>"
        f"</ul></nav><main><h1>{made.title}</h1>{html_body(made)}</main>"
        f"<footer><a href='/c'>{around.words(3)}</a></footer></body></html>",
        encoding="utf-8",
    )


def html_body(made: Story, *, tables: bool = True) -> str:
    """Return the sections as HTML; words are parted by line breaks and elements too."""
    parts = []
    for section in made.sections:
        level = section.level + 1
        first, *others = section.paragraphs
        half = first.split(". ", 1)
        parts.append(f"<h{level}>{section.heading}</h{level}><p>{half[0]}.<br>{half[1]}</p>")
        parts += [f"<p>{escape(text)}</p>" for text in others]
        parts.append("<ol>" + "".join(f"<li>{item}</li>" for item in section.items) + "</ol>")
        if not tables:
            continue
        parts.append(f"<table>{''.join(map(_html_row, section.table.rows))}</table>")
        parts.append(f"<section class='footnotes'><p>{section.note}</p></section>")
    return "".join(parts)


def _html_row(row: list[Cell]) -> str:
    cells = []
    for cell in row:
        tag = "th" if cell.head else "td"
        spans = f" rowspan={cell.rows}" * (cell.rows > 1) + f" colspan={cell.columns}" * (
            cell.columns > 1
        )
        cells.append(f"<{tag}{spans}>{cell.text}</{tag}>")
    return f"<tr>{''.join(cells)}</tr>"


def write_markdown(path: Path, made: Story) -> None:
    """Write Markdown with pipe tables and footnotes."""
    lines = [f"# {made.title}"]
    for number, section in enumerate(made.sections, 1):
        lines += [f"{'#' * (section.level + 1)} {section.heading}", *section.paragraphs]
        lines.append("\n".join(f"{i}. {item}" for i, item in enumerate(section.items, 1)))
        rows = [f"| {' | '.join(cell.text for cell in row)} |" for row in section.table.rows]
        rows.insert(1, "|---" * len(section.table.rows[0]) + "|")
        lines += ["\n".join(rows), f"[^{number}]: {section.note}"]
    path.write_text("\n\n".join(lines) + "\n", encoding="utf-8")


def write_epub(path: Path, made: Story) -> None:
    """Write a book of one chapter per section; the manifest is not in their order."""
    chapters = {
        f"c{i}.xhtml": f"<html xmlns='http://www.w3.org/1999/xhtml'><head><title>c</title></head>"
        f"<body>{html_body(Story('', [section], made.extra))}</body></html>"
        for i, section in enumerate(made.sections)
    }
    names = list(chapters)
    manifest = "".join(
        f'<item id="{name[:2]}" href="{name}" media-type="application/xhtml+xml"/>'
        for name in reversed(names)
    )
    spine = "".join(f'<itemref idref="{name[:2]}"/>' for name in names)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("mimetype", "application/epub+zip", zipfile.ZIP_STORED)
        book.writestr(
            "META-INF/container.xml",
            '<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">'
            '<rootfiles><rootfile full-path="book.opf" '
            'media-type="application/oebps-package+xml"/></rootfiles></container>',
        )
        book.writestr(
            "book.opf",
            '<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="i">'
            '<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:identifier id="i">made'
            f"</dc:identifier><dc:title>{made.title}</dc:title><dc:language>en</dc:language>"
            f"</metadata><manifest>{manifest}</manifest><spine>{spine}</spine></package>",
        )
        for name, text in chapters.items():
            book.writestr(name, text)


def write_rtf(path: Path, made: Story) -> None:
    """Write RTF with styles for headings, tables and footnotes."""
    parts = [r"{\rtf1\ansi\ansicpg1252{\stylesheet{\s0 Normal;}{\s1 heading 1;}{\s2 heading 2;}}"]
    parts.append(rf"\pard\s1\outlinelevel0 {made.title}\par")
    for section in made.sections:
        parts.append(rf"\pard\s2\outlinelevel1 {section.heading}\par")
        first, *others = section.paragraphs
        parts.append(rf"\pard\s0 {first}{{\super\chftn}}{{\footnote\pard {section.note}\par}}\par")
        parts += [rf"\pard\s0 {text}\par" for text in others]
        parts += [rf"\pard {i}.\tab {item}\par" for i, item in enumerate(section.items, 1)]
        for row in section.table.rows:
            places = "".join(rf"\cellx{2000 * (i + 1)}" for i in range(len(row)))
            cells = "".join(rf"\pard\intbl {cell.text}\cell" for cell in row)
            parts.append(rf"\trowd{places}{cells}\row")
    path.write_text("\n".join([*parts, "}"]), encoding="cp1252")


def write_mail(path: Path, made: Story) -> list[str]:
    """Write a message in plain words and in HTML, with an attachment; return its head."""
    message = EmailMessage()
    message["From"], message["To"] = "ada@example.org", "bo@example.org"
    message["Subject"] = made.title
    message["Date"] = "Mon, 16 Dec 2024 10:30:00 +0000"
    plain = [
        text for part in made.sections for text in (part.heading, *part.paragraphs, *part.items)
    ]
    message.set_content("\n\n".join(plain))
    body = html_body(made, tables=False)
    message.add_alternative(f"<html><body>{body}</body></html>", subtype="html")
    message.add_attachment(b"1", maintype="image", subtype="png", filename="picture.png")
    path.write_bytes(message.as_bytes())
    return ["ada@example.org", "bo@example.org"]


def write_csv(path: Path, made: Story) -> None:
    """Write the first section's table with semicolons, as spreadsheets of many countries do."""
    rows = (";".join(cell.text for cell in row) for row in made.sections[0].table.rows)
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


# Sentences in the code pages that files of their language were written in.
ENCODED = {
    "cp1251": "Утром рыбаки вышли в море, но сильный ветер заставил их вернуться в гавань. "
    "Вечером они чинили сети и рассказывали детям о далёких островах.",
    "koi8-r": "Библиотека открыта каждый день, кроме воскресенья. Книги можно взять домой на две "
    "недели, а словари читают только в зале.",
    "cp1253": "Το πλοίο φεύγει από το λιμάνι το πρωί και φτάνει στο νησί το μεσημέρι. Οι επιβάτες "
    "μπορούν να πιουν καφέ στο κατάστρωμα.",
    "cp1250": "Każdego ranka piekarz otwiera sklep o szóstej, a dzieci kupują świeże bułki. "
    "Później wszyscy idą do szkoły przez mały żółty most.",
    "iso8859-2": "Žluťoučký vlak jede přes řeku a zastaví v každé vesnici. Cestující si čtou "
    "noviny a dívají se na pole a lesy.",
    "cp1254": "Balıkçılar sabah erkenden denize açılır ve öğleye doğru döner. Çocuklar iskelede "
    "oturup gemileri sayar, güneş batınca eve giderler.",
    "cp1255": "הספינה יוצאת מהנמל בבוקר ומגיעה אל האי בצהריים. הנוסעים יושבים על הסיפון ושותים תה.",
    "cp1256": "تغادر السفينة الميناء في الصباح وتصل إلى الجزيرة عند الظهر. يجلس المسافرون على "
    "السطح ويشربون الشاي.",
    "cp1257": "Kiekvieną rytą žvejai išplaukia į jūrą ir grįžta vakare. Jų vaikai laukia ant "
    "kranto ir skaičiuoja žuvėdras.",
    "cp1252": "Jeden Morgen öffnet der Bäcker früh seine Tür, und die Straße riecht nach Brötchen. "
    "Später gehen alle über die grüne Brücke zur Schule.",
    "cp850": "Le bateau quitte le port à l'aube et arrive à l'île vers midi. Les passagers boivent "
    "du thé et regardent la côte s'éloigner.",
    "cp874": "เรือออกจากท่าในตอนเช้าและถึงเกาะตอนเที่ยง ผู้โดยสารนั่งดื่มชาบนดาดฟ้าและมองดูทะเล",
    "shift_jis": "船は朝に港を出て、昼ごろ島に着きます。乗客は甲板でお茶を飲みながら海を眺めます。",
    "euc-jp": "図書館は日曜日を除いて毎日開いています。本は二週間借りることができます。",
    "gbk": "渔船每天清晨离开港口，中午到达小岛。乘客坐在甲板上喝茶，看着大海。",
    "big5": "圖書館除了星期日以外每天開放。書可以借兩個星期，字典只能在館內閱讀。",
    "euc-kr": "배는 아침에 항구를 떠나 점심때 섬에 도착합니다. 승객들은 갑판에서 차를 마시며 "
    "바다를 봅니다.",
    "utf-16-le": "The ferry leaves the harbour at dawn and reaches the island at noon, whatever "
    "the weather; café and crêpes on board.",
}


def write_encoded(path: Path, encoding: str) -> None:
    """Write a language's sentences in one of its code pages, without a mark."""
    path.write_bytes(ENCODED[encoding].encode(encoding))
