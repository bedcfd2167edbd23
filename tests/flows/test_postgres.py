"""Knowledge bases on a server: what goes wrong there, and that no password is ever shown."""

import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stores import place_of, server
from tailorbird.config import Config
from tailorbird.config.knowledge import IndexConfig
from tailorbird.errors import UserError
from tailorbird.flows.index import add_documents
from tailorbird.knowledge.base import KnowledgeFolder
from tailorbird.knowledge.maintenance import move_to, verify
from tailorbird.knowledge.postgres_index import PostgresStore
from tailorbird.knowledge.postgres_server import Server
from tests_knowledge import document, load, versions

CONFIG = IndexConfig(embedder="words", chunk_tokens=64, overlap_tokens=8, workers=1)
PASSWORD = "f1re-and:w@ter/%s"
QUOTED = "f1re-and%3Aw%40ter%2F%25s"


@pytest.fixture
def address() -> str:
    return place_of("postgresql")


@pytest.fixture
def folder(address: str, tmp_path: Path) -> Path:
    with KnowledgeFolder(tmp_path / "kb", CONFIG, load, store=address) as kb:
        add_documents(kb, [document("d", 1)])
    return tmp_path / "kb"


@pytest.fixture
def admin() -> Iterator[Any]:
    import psycopg

    with psycopg.connect(server(), autocommit=True) as link:
        yield link


def schema_of(address: str) -> str:
    return address.rpartition("=")[2]


def test_two_hosts_write_one_knowledge_base(folder: Path, address: str, tmp_path: Path) -> None:
    """Each host has a folder of its own that points to the server."""
    with KnowledgeFolder(tmp_path / "other", CONFIG, load, store=address) as there:
        assert versions(there) == {"d": {"1"}}
        add_documents(there, [document("d", 2), document("e", 1)])
        with KnowledgeFolder(folder, None, load) as here:
            assert versions(here) == {"d": {"2"}, "e": {"1"}}

            def add(kb: KnowledgeFolder, name: str) -> None:
                for number in range(8):
                    add_documents(kb, [document(f"{name}{number}", number)])

            at_once = [threading.Thread(target=add, args=(kb, name))
                       for kb, name in ((here, "h"), (there, "t"), (there, "u"))]  # fmt: skip
            for thread in at_once:
                thread.start()
            for thread in at_once:
                thread.join()
            assert len(versions(here)) == 26 and verify(there).problems == ()


def test_a_newer_schema_and_other_programs_tables(
    folder: Path, address: str, admin: Any, tmp_path: Path
) -> None:
    admin.execute(f"UPDATE {schema_of(address)}.tailorbird_keys SET last = 9 WHERE name = 'schema'")
    with pytest.raises(UserError, match="newer tailorbird.*9, ours 1"):
        KnowledgeFolder(folder, None, load)
    other = place_of("postgresql")
    admin.execute(f"CREATE SCHEMA {schema_of(other)}")
    admin.execute(f"CREATE TABLE {schema_of(other)}.settings (mine text)")
    with pytest.raises(UserError, match="another program's tables"):
        KnowledgeFolder(tmp_path / "kb2", CONFIG, load, store=other)
    with pytest.raises(UserError, match="not a knowledge base"):
        KnowledgeFolder(tmp_path / "kb3", None, load, store=place_of("postgresql"))


def test_a_user_without_the_right(address: str, admin: Any, tmp_path: Path) -> None:
    admin.execute("DROP ROLE IF EXISTS guest")
    admin.execute("CREATE ROLE guest LOGIN")
    as_guest = address.replace("postgres@", "guest@")
    with pytest.raises(UserError, match="permission denied") as caught:
        KnowledgeFolder(tmp_path / "kb", CONFIG, load, store=as_guest)
    assert "GRANT" in caught.value.fix
    with KnowledgeFolder(tmp_path / "kb2", CONFIG, load, store=address) as kb:
        add_documents(kb, [document("d", 1)])
    # One who may read and not write searches, and is told when it writes.
    name = schema_of(address)
    admin.execute(f"GRANT USAGE ON SCHEMA {name} TO guest")
    admin.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {name} TO guest")
    with KnowledgeFolder(tmp_path / "kb3", None, load, store=as_guest) as kb:
        assert kb.read_only and versions(kb) == {"d": {"1"}} and verify(kb).problems == ()
        with pytest.raises(UserError, match="permission denied"):
            add_documents(kb, [document("e", 1)])


def test_a_server_without_the_extension(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from psycopg import errors

    class Plain:
        def execute(self, *_: object) -> None:
            raise errors.FeatureNotSupported('extension "vector" is not available')

    place = Server(tmp_path, address)
    with pytest.raises(UserError, match="no extension pgvector"):
        place._make_extension(Plain())
    with pytest.raises(UserError, match=r"pgvector 0\.7\.4, 0\.8 or newer"):
        place._check_extension(Plain(), "0.7.4")
    monkeypatch.setitem(sys.modules, "psycopg.conninfo", None)
    with pytest.raises(UserError, match="extra pgvector"):
        Server(tmp_path, address)


def test_a_connection_lost_in_the_middle_of_a_replacement(
    folder: Path, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = (
        "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity "
        "WHERE application_name = 'tailorbird'"
    )
    add = PostgresStore.add

    def lose(self: PostgresStore, *given: Any) -> None:
        add(self, *given)
        assert admin.execute(cut).fetchone()[0]

    with KnowledgeFolder(folder, None, load) as kb:
        monkeypatch.setattr(PostgresStore, "add", lose)
        with pytest.raises(UserError, match="no connection to postgresql://postgres@") as caught:
            add_documents(kb, [document("d", 2)])
        assert "not confirmed" in caught.value.fix
        monkeypatch.undo()
        # The same opening goes on: its connections are made again.
        assert versions(kb) == {"d": {"1"}}
        add_documents(kb, [document("d", 3)])
        assert versions(kb) == {"d": {"3"}} and verify(kb).problems == ()
        admin.execute(cut)
        assert versions(kb) == {"d": {"3"}}
        admin.execute(cut)
        kb.set_setting("weight", 0.5)
        admin.execute(cut)
        add_documents(kb, [document("d", 4)])
        assert versions(kb) == {"d": {"4"}} and kb.get_setting("weight") == 0.5


@pytest.mark.parametrize(
    "given",
    [
        f"postgresql://me:{QUOTED}@127.0.0.1:1/db",
        f"postgresql://127.0.0.1:1/db?user=me&password={QUOTED}",
        f"postgresql://me:{PASSWORD}@127.0.0.1:1/db",
        f"postgresql://me:{QUOTED}@127.0.0.1:{QUOTED}/db",
        f"postgresql://me:{QUOTED}@127.0.0.1:1/db?nothing=such",
        f"me:{QUOTED}@127.0.0.1/db",
    ],
)
def test_passwords_are_not_shown(given: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        KnowledgeFolder(tmp_path / "kb", CONFIG, load, store=given)
    shown = str(caught.value) + repr(caught.value.__cause__)
    dumped = json.dumps(Config(knowledge={"store": given}).model_dump(mode="json"))
    for secret in (PASSWORD, QUOTED, "f1re", "ter/"):
        assert secret not in shown and secret not in dumped
    assert not (tmp_path / "kb").exists()


def test_a_password_is_used_and_not_kept(folder: Path, address: str, tmp_path: Path) -> None:
    # The server of the tests trusts all of this machine: any password will do.
    with_it = address.replace("postgres@", f"postgres:{QUOTED}@")
    with KnowledgeFolder(tmp_path / "kb2", CONFIG, load, store=with_it) as kb:
        assert versions(kb) == {"d": {"1"}}
    written = "".join(path.read_text() for path in (tmp_path / "kb2").iterdir())
    assert "f1re" not in written and json.loads((tmp_path / "kb2" / "ledger.json").read_text())


def test_a_folder_of_pointers_that_is_damaged(folder: Path) -> None:
    (folder / "ledger.json").write_text("{")
    with pytest.raises(UserError, match=r"ledger\.json is damaged"):
        KnowledgeFolder(folder, None, load)


def test_many_rows_get_an_index_and_filters_lose_nothing(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tailorbird.knowledge import postgres_index
    from tailorbird.knowledge.backends import backend_of

    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(3000, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    backend = backend_of(tmp_path, address)
    backend.connect(create=True).close()
    store = backend.open(1, 16, create=True)
    assert isinstance(store, PostgresStore)
    store.add(np.arange(3000), vectors, ["text"] * 3000)
    monkeypatch.setattr(postgres_index, "_EXACT_ROWS", 1000)
    store.optimize()
    with backend.lent() as link:
        assert store._lists(link) == 54  # the root of 3000
        plan = str(link.execute("EXPLAIN SELECT 1 FROM g1 ORDER BY vector <#> ? LIMIT 9",
                                (vectors[0],)).fetchall())  # fmt: skip
    assert "g1_nearest" in plan
    assert np.mean([store.nearest(v, 1)[0][0] == n for n, v in enumerate(vectors[:50])]) == 1
    # More than the lists that are looked into hold: all the same all that there are.
    assert len(store.nearest(vectors[0], 2900)[0]) == 2900
    assert len(store.nearest(vectors[0], 5000)[0]) == 3000
    few = np.sort(rng.choice(3000, 40, replace=False))
    wanted = few[np.argsort(-(vectors[few] @ vectors[0]), kind="stable")]
    assert store.nearest(vectors[0], 40, few)[0].tolist() == wanted.tolist()
    store.delete(np.arange(0, 3000, 2))
    assert len(store.nearest(vectors[1], 2000)[0]) == 1500
    store.optimize()
    for row in range(4000, 4040):
        store.add(np.array([row]), vectors[:1], ["text word"])
    store.optimize()
    with backend.lent() as link:
        assert link.execute("SELECT count(*) FROM g1_segments").fetchone()[0] <= 2
    assert len(store.matching("text", 5000)[0]) == 1540
    assert sorted(store.matching("word", 50)[0].tolist()) == list(range(4000, 4040))


def test_the_commands(
    tmp_path: Path, address: str, inside: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a folder to the server, as a person types it."""
    monkeypatch.chdir(tmp_path)
    Path("docs").mkdir()
    Path("docs/brakes.md").write_text("# Brakes\n\nA brake pad wears down.\n")
    Path("run.yaml").write_text(f"knowledge:\n  store: {place_of('postgresql')}\n")

    def tailor(*words: str) -> Any:
        done = inside(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert tailor("index", "docs", "--store", "KB")["indexed"]["added"] == 1
    moved = tailor("index", "--store", "KB", "--move-to", address)["moved"]
    assert moved["chunks"] == 1 and moved["store"].startswith("postgresql://postgres@")
    Path("docs/gears.md").write_text("# Gears\n\nA gear has teeth.\n")
    assert tailor("index", "docs", "--store", "KB")["indexed"]["added"] == 1
    found = tailor("ask", "When does a brake pad wear?", "--store", "KB")
    assert found["passages"][0]["source"] == "docs/brakes.md"
    assert tailor("index", "--store", "KB", "--verify")["verified"]["ok"]
    assert tailor("index", "docs", "--store", "new", "-c", "run.yaml", "--stats")["stats"][
        "store"
    ].startswith("postgresql://")
    assert sorted(path.name for path in Path("new").iterdir()) == [".tailorignore", "ledger.json"]


def test_a_move_that_was_killed_begins_again(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    with KnowledgeFolder(tmp_path / "kb", CONFIG, load) as kb:
        add_documents(kb, [document(f"d{n}", n) for n in range(3)])
        for step in ("add", "optimize"):
            with monkeypatch.context() as patch, pytest.raises(Killed):
                patch.setattr(PostgresStore, step, die)
                move_to(kb, address)
            with KnowledgeFolder(tmp_path / "kb", None, load) as same:
                assert same.backend.name == "files"
                add_documents(same, [document(step, 1)])
        move_to(kb, address)
    with KnowledgeFolder(tmp_path / "kb", None, load) as kb:
        assert kb.backend.name == "postgresql" and len(versions(kb)) == 5
        assert verify(kb).problems == ()
        taken = address
    with KnowledgeFolder(tmp_path / "kb2", CONFIG, load) as kb:
        add_documents(kb, [document("x", 1)])
        with pytest.raises(UserError, match="holds a knowledge base already"):
            move_to(kb, taken)
