"""API keys: who may do what. The file holds their hashes, and nothing that opens anything.

A key is ``mv_<id>_<secret>``. The secret has 256 random bits, so that one SHA-256 protects it as
well as a slow hash would protect a password.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from mvector.errors import MVectorError
from mvector.files import SHA256, read_errors_as, read_utf8, write_atomically, write_errors_as
from mvector.speakers.clip_files import create_private
from mvector.speakers.people import utc_now

Scope = Literal["read", "enrol", "admin"]
#: What a key may do; each may do what those before it may.
SCOPES: tuple[Scope, ...] = ("read", "enrol", "admin")
_TOKEN = re.compile(r"mv_([0-9a-f]{8})_([\w-]{43})")
_NO_HASH = "0" * 64


@dataclass(frozen=True)
class Key:
    """A key, without its secret.

    Attributes:
        id: tells keys apart, in the audit for one.
        name: what it is for, in its owner's words.
        scope: what it may do.
        sha256: of the whole key, in hexadecimal.
        added_at: ISO 8601, UTC.
    """

    id: str
    name: str
    scope: Scope
    sha256: str
    added_at: str

    def may(self, scope: Scope) -> bool:
        """Whether it may do what asks for a scope."""
        return SCOPES.index(self.scope) >= SCOPES.index(scope)


class KeyFile:
    """Keys in a JSON file, which is read again when it changes.

    Raises:
        MVectorError: the file cannot be read, or is none of keys.
    """

    def __init__(self, path: str | os.PathLike[str], *, must_exist: bool = True) -> None:
        self.path = Path(path)
        self._lock, self._stamp = threading.Lock(), (-1, -1, -1)
        self._keys: dict[str, Key] = {}
        if must_exist or self.path.exists():
            self._refresh()

    def all_keys(self) -> list[Key]:
        """All keys, the oldest first."""
        return list(self._keys.values())

    def find(self, token: str) -> Key | None:
        """The key that a token is, or ``None``; a removed one counts no more at once.

        The time it takes does not tell how much of a secret is right.
        """
        self._refresh()
        match = _TOKEN.fullmatch(token)
        key = self._keys.get(match[1]) if match else None
        expected = _NO_HASH if key is None else key.sha256
        return key if hmac.compare_digest(_sha256(token), expected) else None

    def add(self, name: str, scope: Scope) -> str:
        """Make a key and give it: it is in no file, and not to be had again."""
        token = f"mv_{secrets.token_hex(4)}_{secrets.token_urlsafe(32)}"
        key = Key(token.split("_")[1], name, scope, _sha256(token), utc_now())
        self._write([*self.all_keys(), key])
        return token

    def remove(self, key_id: str) -> Key:
        """Forget a key.

        Raises:
            MVectorError: there is none of that id.
        """
        if key_id not in self._keys:
            known = ", ".join(self._keys) or "none"
            raise MVectorError(
                f"There is no key '{key_id}' in '{self.path}'; it holds: {known}.", code="key-file"
            )
        removed = self._keys[key_id]
        self._write([key for key in self.all_keys() if key.id != key_id])
        return removed

    def _write(self, keys: list[Key]) -> None:
        text = json.dumps({"keys": [asdict(key) for key in keys]}, indent=1, ensure_ascii=False)

        def write(file: Path) -> None:
            with create_private(file) as stream:
                stream.write(f"{text}\n".encode())

        with write_errors_as(MVectorError, f"the keys '{self.path}'", "choose another --keys"):
            write_atomically(self.path, write)
        self._refresh()

    def _refresh(self) -> None:
        with read_errors_as(
            MVectorError,
            f"The file of keys '{self.path}'",
            "make a key by mvector keys add NAME --keys FILE",
            code="key-file",
        ):
            state = os.stat(self.path)
            stamp = state.st_mtime_ns, state.st_size, state.st_ino
            with self._lock:
                if stamp != self._stamp:
                    self._keys, self._stamp = self._read(), stamp

    def _read(self) -> dict[str, Key]:
        try:
            keys = [Key(**entry) for entry in json.loads(read_utf8(self.path))["keys"]]
            if not all(key.scope in SCOPES and SHA256.fullmatch(key.sha256) for key in keys):
                raise ValueError
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            if isinstance(error, UnicodeDecodeError):
                raise
            raise MVectorError(
                f"'{self.path}' is no file of keys; make one by mvector keys add NAME --keys FILE.",
                code="key-file",
            ) from error
        return {key.id: key for key in keys}


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
