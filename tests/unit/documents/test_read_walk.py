"""Paths to files: folders, globs, ignore rules, links."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from tailorbird.config.knowledge import IndexConfig
from tailorbird.documents.find_files import find_files, source_of
from tailorbird.documents.pool import read_files
from tailorbird.errors import UserError


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (
        "a.md",
        "b.txt",
        ".hidden.md",
        ".git/config",
        "drafts/x.md",
        "deep/c.md",
        "deep/d.log",
        "deep/keep.log",
        "deep/er/e.md",
        "node_modules/m.js",
        "deep/~$open.docx",
    ):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "in"


def names(*paths: str, **settings: object) -> list[str]:
    return [source_of(p) for p in find_files(paths, IndexConfig.model_validate(settings))]


def test_a_folder_in_order_without_hidden_files(tree: Path) -> None:
    assert names("in") == [
        *("in/a.md", "in/b.txt", "in/deep/c.md", "in/deep/d.log", "in/deep/keep.log"),
        *("in/deep/er/e.md", "in/drafts/x.md"),
    ]


def test_include_and_exclude(tree: Path) -> None:
    assert names("in", include=("*.md",), exclude=("drafts/", "deep/er")) == [
        "in/a.md",
        "in/deep/c.md",
    ]
    assert names("in", include=("deep/**",)) == [
        *("in/deep/c.md", "in/deep/d.log", "in/deep/keep.log", "in/deep/er/e.md")
    ]


def test_ignore_files_the_deepest_has_the_word(tree: Path) -> None:
    (tree / ".gitignore").write_text("*.log\n/drafts\n")
    (tree / "deep" / ".tailorignore").write_text("!keep.log\ner/\n")
    assert names("in") == ["in/a.md", "in/b.txt", "in/deep/c.md", "in/deep/keep.log"]
    # Rules of the repository hold when a folder within it is named.
    assert names("in/deep") == ["in/deep/c.md", "in/deep/keep.log"]


def test_what_is_named_is_taken(tree: Path) -> None:
    (tree / ".gitignore").write_text("*.log\n")
    assert names("in/deep/d.log", "in/.hidden.md") == ["in/deep/d.log", "in/.hidden.md"]


@pytest.mark.parametrize("rule", ["deep/", "/deep", "deep/*", "deep/**", "*", "deep/\n!deep/er"])
def test_a_named_folder_is_read_although_a_rule_above_leaves_it_out(
    tree: Path, rule: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / ".gitignore").write_text(f"*.log\n{rule}\n")
    (tree / "deep" / ".gitignore").write_text("!keep.log\n")
    assert names("in/deep") == ["in/deep/c.md", "in/deep/keep.log", "in/deep/er/e.md"]
    told = capsys.readouterr().err
    assert "in/.gitignore leaves out in/deep, which is read since it was named" in told
    assert names("in/deep/er") == ["in/deep/er/e.md"]
    capsys.readouterr()
    assert "in/deep/c.md" not in names("in")
    assert "was named" not in capsys.readouterr().err


def test_globs(tree: Path) -> None:
    assert names("in/**/*.md") == ["in/a.md", "in/deep/c.md", "in/deep/er/e.md", "in/drafts/x.md"]


def test_each_file_once_by_a_stable_name(tree: Path) -> None:
    assert names("in/a.md", "./in/../in/a.md", str(tree / "a.md"), "in/*.md") == ["in/a.md"]
    assert source_of(Path("/elsewhere/x.md")) == "/elsewhere/x.md"
    assert source_of(Path("../x.md")) == "../x.md"


def test_links_in_a_circle(tree: Path) -> None:
    (tree / "deep" / "up").symlink_to(tree, target_is_directory=True)
    (tree / "drafts" / "also").symlink_to(tree / "deep", target_is_directory=True)
    (tree / "drafts" / "nowhere.md").symlink_to(tree / "gone.md")
    found = names("in")
    assert len(found) == len(set(found)) == 8
    # What cannot be read is left out by name, like a damaged file.
    (lost,) = (r for r in read_files([Path(name) for name in found], IndexConfig()) if r.why)
    assert (lost.source, lost.why[:16]) == ("in/drafts/nowhere.md", "cannot be opened")


def test_a_link_to_itself_is_named_and_the_others_are_taken(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / "deep" / "self").symlink_to("self")
    assert len(names("in")) == 7
    assert "in/deep/self is left out: cannot be opened" in capsys.readouterr().err


def test_paths_that_do_not_exist_are_all_named(tree: Path) -> None:
    with pytest.raises(UserError, match=r"(?s)nope\.md.*no\*such"):
        find_files(["nope.md", "in/a.md", "no*such"], IndexConfig())
    with pytest.raises(UserError, match="no such file"):  # longer than a name may be
        find_files(["x" * 300], IndexConfig())


def test_names_that_are_no_utf8(tree: Path) -> None:
    try:
        (tree / os.fsdecode(b"bad\xff.md")).write_text("x")
    except OSError:
        pytest.skip("this file system keeps no such names")
    (found,) = (name for name in names("in") if "bad" in name)
    assert found == "in/bad\\xff.md"


def test_a_backslash_in_a_name_is_no_byte(tree: Path) -> None:
    assert source_of(Path("in/\\xff.md")) == "in/\\x5cxff.md"
    assert source_of(Path(os.fsdecode(b"in/\xff.md"))) == "in/\\xff.md"


def test_links_out_of_the_folder_or_to_hidden_files_are_told(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "home" / "more").mkdir(parents=True)
    (tmp_path / "home" / "letter.txt").write_text("x")
    (tmp_path / "home" / "more" / "z.txt").write_text("x")
    (tree / "letter.txt").symlink_to("../home/letter.txt")
    (tree / "more").symlink_to(tmp_path / "home" / "more", target_is_directory=True)
    (tree / "deep" / "shown.md").symlink_to("../.hidden.md")
    (tree / "deep" / "same.md").symlink_to("../a.md")
    strays = ["in/deep/shown.md", "in/letter.txt", "in/more"]
    inside = names("in")
    assert "in/deep/same.md" in inside and not set(strays) & set(inside)
    message = capsys.readouterr().err
    assert "index.follow_links" in message and all(name in message for name in strays)
    followed = names("in", follow_links=True)
    assert set(followed) - set(inside) == {*strays[:2], "in/more/z.txt"}
    # One that is named itself is meant.
    assert names("in/letter.txt") == ["in/letter.txt"]


def test_the_root_may_be_a_link_or_hidden(tree: Path) -> None:
    (tree.parent / "alias").symlink_to(tree, target_is_directory=True)
    (tree.parent / ".notes").mkdir()
    (tree.parent / ".notes" / "n.md").symlink_to(tree.parent / ".notes" / "m.md")
    (tree.parent / ".notes" / "m.md").write_text("x")
    assert len(names("alias")) == 7
    assert names(".notes") == [".notes/m.md", ".notes/n.md"]


@pytest.mark.timeout(60)
def test_ignore_files_that_are_no_plain_files_are_told(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tree / ".gitignore")
    (tree / ".tailorignore").symlink_to("/dev/zero")
    (tree / "drafts" / ".gitignore").write_bytes(b"*.md\n" * 100_000)
    assert len(names("in")) == 7
    message = capsys.readouterr().err
    for place in ("in/.gitignore", "in/.tailorignore", "in/drafts/.gitignore"):
        assert f"{place} is not followed" in message


@pytest.mark.timeout(60)
def test_patterns_take_no_time_and_bad_ones_leave_the_others(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = "a" * 200 + ".md"
    (tree / long).write_text("x")
    (tree / ".gitignore").write_text("*a" * 30 + "*b\n[z-a]\n*.log\n\\\n" + "**/a" * 40 + "\n")
    assert names("in") == ["in/a.md", f"in/{long}", "in/b.txt", *names("in/deep"), "in/drafts/x.md"]
    assert "in/deep/d.log" not in names("in")
    assert "2 lines are not valid git patterns: '[z-a], \\\\'" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"(?s)index\.include.*index\.exclude"):
        names("in", include=("[z-a]",), exclude=("\\",))


def test_a_knowledge_base_among_documents_is_no_document(tree: Path) -> None:
    for name in ("ledger.sqlite", "ledger.sqlite-wal", "lock", "index/g1.lance/x.txt"):
        (tree / "deep" / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / "deep" / name).write_text("x")
    (tree / "index").mkdir()
    (tree / "index" / "y.md").write_text("x")  # no ledger beside it: any folder
    assert "in/index/y.md" in names("in")
    assert [name for name in names("in") if name.startswith("in/deep")] == [
        *("in/deep/c.md", "in/deep/d.log", "in/deep/keep.log", "in/deep/er/e.md")
    ]


PIECES = (
    *(
        "*",
        "**",
        "?",
        "/",
        "!",
        "\\",
        "#",
        " ",
        "[",
        "]",
        "[!",
        "[a-",
        "[z-a]",
        "[[:alpha:]]",
        "{a,b}",
    ),
    *(
        "a",
        "deep",
        "er",
        ".md",
        "e.md",
        "drafts/",
        "é",
        "\udcff",
        "\x00",
        "\r",
        "^",
        "$",
        "(",
        "|",
        "+",
    ),
)
IGNORE_FILES = st.one_of(
    st.binary(max_size=60),
    st.lists(st.lists(st.sampled_from(PIECES), max_size=6).map("".join), max_size=8).map(
        lambda lines: "\n".join(lines).encode("utf-8", "surrogateescape")
    ),
    st.builds(lambda piece, times: (piece * times).encode("utf-8", "surrogateescape"),
              st.sampled_from(PIECES), st.integers(1, 3000)),
)  # fmt: skip


def walk_many(tree: Path, most: int) -> None:
    everything = set(names("in"))

    @settings(max_examples=most, deadline=2000, derandomize=True, database=None)
    @given(IGNORE_FILES, IGNORE_FILES)
    def each(above: bytes, below: bytes) -> None:
        (tree / ".gitignore").write_bytes(above)
        (tree / "deep" / ".tailorignore").write_bytes(below)
        assert set(names("in")) <= everything
        assert "in/deep/er/e.md" in names("in/deep/er/e.md")

    each()


@pytest.mark.filterwarnings("error")
def test_any_ignore_file_is_followed_or_told(tree: Path) -> None:
    walk_many(tree, 30)


@pytest.mark.slow
def test_any_of_many_ignore_files_is_followed_or_told(tree: Path) -> None:
    walk_many(tree, 1000)
