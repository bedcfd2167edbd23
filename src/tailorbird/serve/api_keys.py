"""API keys of the server, stored as hashes, and the scopes that routes need.

Once there are keys, every path requires one: routes are listed here only if they need more or less
than the scope `ask`.
"""

import base64
import binascii
import hashlib
import json
import os
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hmac import compare_digest
from pathlib import Path

from tailorbird.errors import UserError, did_you_mean
from tailorbird.runs.checked_files import read_as

SCOPES = ("ask", "admin", "health")
"""ask: predict, chat, embed, search, ask. admin: also change documents and models. health: the
health and metrics routes alone."""
_PREFIX = "tb-"
_HEALTH = frozenset({"/health", "/livez", "/readyz", "/metrics", "/version"})
_ADMIN = ("/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/v1/corrections")


@dataclass(frozen=True, slots=True)
class Key:
    """The record of a key.

    Attributes:
        name: The user's name of it.
        digest: SHA-256 of the key, in hex.
        scopes: Of `SCOPES`.
        per_minute: Requests per minute; 0: unlimited.
        made: Time of creation, in seconds since 1970.
    """

    name: str
    digest: str
    scopes: tuple[str, ...] = ("ask",)
    per_minute: int = 0
    made: float = 0.0

    def may(self, scope: str) -> bool:
        """Return whether its scopes include a route's scope."""
        return scope in self.scopes or ("admin" in self.scopes)


def hash_key(key: str) -> str:
    """Return the stored digest of a key.

    A key has 256 random bits, so a fast hash is as hard to invert as a slow one.
    """
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


@dataclass
class _Bucket:
    tokens: float
    then: float = field(default_factory=time.monotonic)


class Keys:
    """The keys in a file, read again when it changes.

    Args:
        path: The file; if missing, there are no keys.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser()
        self._stamp: tuple[int, int] | None = None
        self._keys: tuple[Key, ...] = ()
        self._buckets: dict[str, _Bucket] = {}
        self._guard = threading.Lock()

    def all(self) -> tuple[Key, ...]:
        """Return all keys.

        Raises:
            UserError: The file is damaged.
        """
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            return ()
        stamp = (stat.st_mtime_ns, stat.st_size)
        if stamp != self._stamp:
            self._keys, self._stamp = read_as(self.path, tuple[Key, ...]), stamp
        return self._keys

    def find(self, key: str) -> Key | None:
        """Return the record of a key, compared with every one in constant time."""
        digest = hash_key(key)
        match = None
        for entry in self.all():
            if compare_digest(entry.digest, digest):
                match = entry
        return match

    def take(self, key: Key) -> float:
        """Count a request of a key; return the seconds to wait, 0 if it is allowed now."""
        if not key.per_minute:
            return 0.0
        now, rate = time.monotonic(), key.per_minute / 60
        with self._guard:
            bucket = self._buckets.setdefault(key.digest, _Bucket(float(key.per_minute)))
            gain = (now - bucket.then) * rate
            bucket.tokens, bucket.then = min(key.per_minute, bucket.tokens + gain), now
            if bucket.tokens < 1:
                return (1 - bucket.tokens) / rate
            bucket.tokens -= 1
        return 0.0

    def add(self, name: str, scopes: tuple[str, ...], per_minute: int = 0) -> str:
        """Create a key and return it; it is shown once and stored nowhere.

        Raises:
            UserError: The name is taken, or a scope is unknown.
        """
        for scope in scopes:
            if scope not in SCOPES:
                raise UserError(
                    f"there is no scope {scope!r}{did_you_mean(scope, SCOPES)}",
                    f"choose among: {', '.join(SCOPES)}",
                )
        if any(entry.name == name for entry in self.all()):
            raise UserError(f"there is already a key {name!r}", "revoke it first, or name another")
        key = _PREFIX + secrets.token_urlsafe(32)
        new = Key(name, hash_key(key), scopes, per_minute, round(time.time(), 3))
        self._write((*self.all(), new))
        return key

    def revoke(self, name: str) -> None:
        """Delete a key; a running server refuses it from the next request on.

        Raises:
            UserError: There is no key of that name.
        """
        entries = self.all()
        if name not in [key.name for key in entries]:
            near = did_you_mean(name, [key.name for key in entries])
            raise UserError(f"there is no key {name!r}{near}", "see: tailor serve keys list")
        self._write(tuple(key for key in entries if key.name != name))

    def _write(self, keys: tuple[Key, ...]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_name(f"{self.path.name}.new")
        words = json.dumps([asdict(key) for key in keys], indent=1) + "\n"
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(words)
        fresh.replace(self.path)
        self._stamp = None


def scope_of(method: str, path: str) -> str:
    """Return the scope that a request needs."""
    if path in _HEALTH:
        return "health"
    changes = method in ("PUT", "DELETE") or path.startswith(_ADMIN)
    return "admin" if changes else "ask"


def key_in(headers: Mapping[str, str]) -> str:
    """Return a request's key: a bearer token, or the password of Basic authentication."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return value.strip()
    if kind.lower() == "basic":
        try:
            plain = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return ""
        return plain.partition(":")[2]
    return headers.get("x-api-key", "")
