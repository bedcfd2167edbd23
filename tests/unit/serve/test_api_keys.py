"""Keys: what is kept of them, who is let in."""

import hashlib
import stat
from pathlib import Path

import pytest

from tailorbird.errors import UserError
from tailorbird.serve.api_keys import Keys, key_in, scope_of


def test_a_key_is_found_by_its_hash_and_kept_nowhere(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "inner" / "keys.json")
    key = keys.add("laptop", ("ask",))
    text = keys.path.read_text(encoding="utf-8")
    assert key not in text and key.removeprefix("tb-") not in text
    assert hashlib.sha256(key.encode()).hexdigest() in text
    assert stat.S_IMODE(keys.path.stat().st_mode) == 0o600
    known = Keys(keys.path).find(key)
    assert known is not None and known.name == "laptop"
    assert Keys(keys.path).find(key[:-1]) is None and keys.find("") is None


def test_a_revoked_key_is_refused_by_a_server_that_runs(tmp_path: Path) -> None:
    served = Keys(tmp_path / "keys.json")
    key = Keys(served.path).add("one", ("ask",))
    Keys(served.path).add("two", ("admin",))
    assert served.find(key) is not None
    Keys(served.path).revoke("one")
    assert served.find(key) is None
    assert [known.name for known in served.all()] == ["two"]


def test_faults_name_the_nearest(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys.json")
    with pytest.raises(UserError, match="did you mean 'admin'"):
        keys.add("one", ("admn",))
    keys.add("laptop", ("ask",))
    with pytest.raises(UserError, match="already"):
        keys.add("laptop", ("ask",))
    with pytest.raises(UserError, match="did you mean 'laptop'"):
        keys.revoke("labtop")
    keys.path.write_text("[{}]", encoding="utf-8")
    with pytest.raises(UserError, match="damaged"):
        Keys(keys.path).all()


def test_requests_a_minute(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys.json")
    key = keys.find(keys.add("slow", ("ask",), per_minute=3))
    assert key is not None
    assert [keys.take(key) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert keys.take(key) == pytest.approx(20.0, abs=0.5)  # 60 s / 3


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ({"authorization": "Bearer abc"}, "abc"),
        ({"authorization": "bearer  abc "}, "abc"),
        ({"authorization": "Basic YW55OmE6Yg=="}, "a:b"),  # any:a:b
        ({"authorization": "Basic !"}, ""),
        ({"x-api-key": "abc"}, "abc"),
        ({}, ""),
    ],
)
def test_where_a_key_stands(header: dict[str, str], key: str) -> None:
    assert key_in(header) == key


def test_what_a_route_needs() -> None:
    assert scope_of("GET", "/livez") == "health"
    assert scope_of("POST", "/classify") == scope_of("GET", "/anything/at/all") == "ask"
    assert scope_of("PUT", "/v1/vector_stores/kb/documents/a.md") == "admin"
    assert scope_of("DELETE", "/v1/vector_stores/kb/documents/a.md") == "admin"
    assert scope_of("GET", "/v1/vector_stores/kb/documents/a.md") == "ask"
    assert scope_of("POST", "/v1/load_lora_adapter") == "admin"
