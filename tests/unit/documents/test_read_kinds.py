"""Every kind of file is read with its title, headings, pages and metadata."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tailorbird.config.knowledge import IndexConfig
from tailorbird.documents.find_files import find_files
from tailorbird.documents.pool import read_files
from tailorbird.documents.read_result import FileResult
from tailorbird.records import Document

HERE = Path(__file__)
REAL = HERE.parents[3].parent / "shared" / "data" / "documents"
Read = Callable[[str], list[Document]]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, made: Any) -> dict[str, FileResult]:
    folder = tmp_path_factory.mktemp("kinds")
    files = made.all_kinds(folder)
    return {r.path.name: r for r in read_files(files, IndexConfig())}


@pytest.fixture
def read(results: dict[str, FileResult]) -> Read:
    def of(name: str) -> list[Document]:
        found = results[name]
        assert found.why == "" and found.documents is not None
        return list(found.documents)

    return of


def trails(document: Document) -> list[tuple[str, ...]]:
    return [mark.headings for mark in document.marks]


def test_every_kind_is_read(results: dict[str, FileResult], made: Any) -> None:
    assert {name: r.why for name, r in results.items() if r.why} == {}
    lacking = [
        name
        for name, r in results.items()
        if not any(made.WORDS in " ".join(d.text.split()) for d in r.documents or ())
    ]
    assert lacking == []


def test_marks_begin_at_zero_and_stand_in_order(results: dict[str, FileResult]) -> None:
    for result in results.values():
        for document in result.documents or ():
            starts = [mark.start for mark in document.marks]
            assert starts[0] == 0 and starts == sorted(set(starts))
            assert starts[-1] < len(document.text)
            for mark in document.marks[1:]:  # a section begins with its heading's words
                if mark.headings:
                    assert mark.headings[-1] in document.text[mark.start :].partition("\n")[0]


def test_what_every_document_says(read: Read, tmp_path: Path) -> None:
    for name, kind in (("a.md", "markdown"), ("a.py", "code"), ("a.pdf", "pdf"), ("a.csv", "csv")):
        document = read(name)[0]
        assert document.metadata["kind"] == kind
        assert str(document.metadata["path"]).endswith(name)
        assert str(document.metadata["modified"]).endswith("+00:00")
        assert len(document.digest) == 32


def test_markdown(read: Read, made: Any) -> None:
    document = read("a.md")[0]
    assert document.title == "Otters"
    assert (document.metadata["tags"], document.metadata["year"]) == ("sea, fur", 2021)
    assert trails(document) == [("Otters",), ("Otters", "Food")]
    assert "<!--" not in document.text and "# no heading" in document.text


def test_markdown_edges(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text(
        "Intro line.\n\nSetext *one*\n===\n\n### [Deep](x) `code` [[anchor]] ###\n\n~~~\n# no\n"
        "<!-- kept -->\n~~~\n\n- item\n---\n<!-- open\n# gone"
    )
    document = next(iter(read_files([tmp_path / "b.md"], IndexConfig()))).documents[0]  # type: ignore[index]
    assert trails(document) == [(), ("Setext one",), ("Setext one", "Deep code")]
    assert "<!-- kept -->" in document.text and "gone" not in document.text


def test_rst(read: Read) -> None:
    assert trails(read("a.rst")[0]) == [("Otters",), ("Otters", "Food")]


def test_html(read: Read, made: Any) -> None:
    document = read("a.html")[0]
    assert document.text == f"Otters\n\n{made.WORDS}\n\n- one\n- two\n\nPlace: Alaska; Count: 90"
    assert document.metadata["language"] == "en"


def test_docx(read: Read, made: Any) -> None:
    document = read("a.docx")[0]
    assert document.title == "Otters" and document.metadata["author"] == "Ada"
    assert trails(document)[-1] == ("Otters", "Food", "Where")
    assert "- first item\n- second item" in document.text
    assert document.text.endswith("Place: Alaska; Count: 90")


def test_pptx(read: Read) -> None:
    document = read("a.pptx")[0]
    assert [(m.page, m.headings) for m in document.marks] == [(1, ("Otters",)), (2, ("Kelp",))]
    assert document.text.endswith("Forests under water\n\nNotes: say this slowly")


def test_xlsx(read: Read, made: Any) -> None:
    document = read("a.xlsx")[0]
    assert document.text == (
        "Animals\n\nName: Otter; Weight: 27; Seen: 2024-05-01\nName: Seal; Weight: 85.5\n\n"
        f"Notes\n\n{made.WORDS}"
    )
    assert [(m.page, m.headings) for m in document.marks] == [(1, ("Animals",)), (2, ("Notes",))]


def test_pdf(read: Read, made: Any) -> None:
    document = read("a.pdf")[0]
    assert [(document.text[m.start :][:6], m.page) for m in document.marks] == [
        ("The re", 1),
        ("Second", 2),
    ]


def test_epub_in_the_order_of_its_spine(read: Read) -> None:
    document = read("a.epub")[0]
    assert (document.title, document.metadata["author"]) == ("Sea book", "Ada")
    assert trails(document) == [("Otters",), ("Kelp",)]


def test_mail(read: Read) -> None:
    document = read("a.eml")[0]
    assert document.title == "Otters"
    assert document.metadata["from"] == "Ada <ada@sea.org>"
    assert document.metadata["date"] == "2024-12-16T10:30:00+00:00"


def test_rows_are_documents(read: Read, made: Any) -> None:
    first, second = read("a.csv")
    assert first.source.endswith("a.csv#7") and second.source.endswith("a.csv#8")
    assert (first.title, first.text, first.metadata["year"]) == ("Otters", made.WORDS, 2021)
    assert [d.text for d in read("a.tsv")][0] == "name: Otter\ncount: 3"
    beir = read("a.jsonl")[0]
    assert beir.source.endswith("a.jsonl#d1")
    assert (beir.title, beir.text) == ("Otters", made.WORDS)
    assert read("a.json")[0].text.startswith("title: Sea\n\nanimals\n\n1.name: otter")


def test_office_files_with_an_old_name(tmp_path: Path, made: Any) -> None:
    """What programs save as .doc is often RTF, and what people rename to .ppt is PPTX."""
    (tmp_path / "a.doc").write_text(made.TEXTS["a.rtf"])
    made.docx(tmp_path / "b.doc")
    made.pptx(tmp_path / "c.ppt")
    (tmp_path / "d.xls").write_text(made.TEXTS["a.html"])
    made.xlsx(tmp_path / "e.xls")
    names = ("a.doc", "b.doc", "c.ppt", "d.xls", "e.xls")
    found = list(read_files([tmp_path / name for name in names], IndexConfig()))
    kinds = [r.documents[0].metadata["kind"] for r in found if r.documents]
    assert kinds == ["rtf", "docx", "pptx", "html", "xlsx"]


def test_columns_that_the_user_names(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("nr,head,words,words2\nx,T,hello,b\nx,T2,world,c\n")
    config = IndexConfig(text="words", title="head", id="nr")
    found = next(iter(read_files([file], config)))
    assert [(d.source[-6:], d.title, d.text) for d in found.documents or ()] == [
        (".csv#x", "T", "hello"),
        ("sv#x~2", "T2", "world"),
    ]
    wrong = next(iter(read_files([file], IndexConfig(text="wrods"))))
    assert "did you mean 'words'?" in wrong.why and wrong.documents is None


def test_a_changed_row_changes_its_document_alone(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text('{"id": 1, "text": "a"}\n{"id": 2, "text": "b"}\n')
    before = [d.digest for r in read_files([file], IndexConfig()) for d in r.documents or ()]
    file.write_text('{"id": 1, "text": "a"}\n{"id": 2, "text": "c"}\n')
    after = [d.digest for r in read_files([file], IndexConfig()) for d in r.documents or ()]
    assert before[0] == after[0] and before[1] != after[1]


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the sample documents")
def test_real_documents() -> None:
    found = {
        r.path.relative_to(REAL).as_posix(): r
        for r in read_files(find_files([REAL], IndexConfig()), IndexConfig())
    }
    assert {name: r.why for name, r in found.items() if r.why} == {
        "file_types/doc.doc": "the Office format of before 2007: save it as DOCX first",
        "test_files/pdf/non_text_searchable.pdf": "no text layer: its only page is a picture; "
        "run OCR first, such as ocrmypdf",
    }
    react = found["test_files/pdf/react_paper.pdf"].documents
    assert react is not None and react[0].marks[-1].page == 31
    assert any("2 ReAct: Synergizing Reasoning + Acting" in m.headings for m in react[0].marks)
    msg = found["test_files/msg/sample.msg"].documents
    assert msg is not None and msg[0].title == "This is a Subject"
    breaks = found["test_files/docx/sample_docx_2_page_breaks.docx"].documents
    # As many as Word counted: <Pages> in the file's docProps/app.xml.
    assert breaks is not None and breaks[0].marks[-1].page == 5
