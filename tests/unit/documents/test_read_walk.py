"""Paths to files: folders, globs, ignore rules, links."""

import os
from pathlib import Path

import pytest

from tailorbird.config.knowledge import IndexConfig
from tailorbird.documents import find_files, source_of
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
    assert len(found) == len(set(found)) == 7


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
