"""Encryption at rest: embeddings and clips under a key from the environment.

A library is encrypted from its first day or not at all: :data:`KEY_VARIABLE` holds a Fernet key
(AES-128 in CBC mode with HMAC-SHA-256) when the library is made, and whenever it is opened.
"""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import Any

from mvector.errors import LibraryError, import_errors_as

KEY_VARIABLE = "MVECTOR_LIBRARY_KEY"
ENCRYPTED_SUFFIX = ".sealed"  # behind the suffix of an encrypted clip
_PROOF = b"mvector speaker library"


def plain_suffix(file: str) -> str:
    """The suffix of a stored clip, as it is without encryption; empty where it has none."""
    return PurePosixPath(file.removesuffix(ENCRYPTED_SUFFIX)).suffix


class LibraryCipher:
    """Encrypts and decrypts, or leaves bytes as they are where there is no key."""

    def __init__(self, fernet: Any | None = None) -> None:
        self._fernet = fernet

    @classmethod
    def from_environment(cls) -> LibraryCipher:
        """With the key of the environment, if there is one.

        Raises:
            LibraryError: the variable holds no key.
            MissingDependencyError: there is a key, and the package ``cryptography`` is missing.
        """
        key = os.environ.get(KEY_VARIABLE)
        if not key:
            return cls()
        what = f"{KEY_VARIABLE} is set, and encryption needs a package: pip install cryptography."
        with import_errors_as(what):
            from cryptography.fernet import Fernet
        try:
            return cls(Fernet(key))
        except ValueError as error:
            raise LibraryError(
                f"{KEY_VARIABLE} is no Fernet key; make one with "
                "cryptography.fernet.Fernet.generate_key().",
                code="library-key",
            ) from error

    @property
    def is_enabled(self) -> bool:
        """Whether there is a key."""
        return self._fernet is not None

    def encrypt(self, data: bytes) -> bytes:
        """Encrypt, where there is a key."""
        return data if self._fernet is None else self._fernet.encrypt(data)

    def decrypt(self, data: bytes) -> bytes:
        """Decrypt, where there is a key.

        Raises:
            LibraryError: the data is damaged or was encrypted under another key.
        """
        if self._fernet is None:
            return data
        from cryptography.fernet import InvalidToken

        try:
            return bytes(self._fernet.decrypt(data))
        except InvalidToken as error:
            raise LibraryError(
                f"What is encrypted is damaged, or {KEY_VARIABLE} is not the key it was made with.",
                code="library-key",
            ) from error

    def proof(self) -> str:
        """What is written beside encrypted data, so that a wrong key is found out at once."""
        return self.encrypt(_PROOF).decode("latin-1") if self.is_enabled else ""

    def check(self, proof: str, what: str) -> None:
        """Refuse a key that does not fit, one too many, or the lack of one.

        ``proof`` is what :meth:`proof` gave when the data was written; ``what`` names the data.

        Raises:
            LibraryError: as said.
        """
        if proof and not self.is_enabled:
            raise LibraryError(
                f"{what} is encrypted; set {KEY_VARIABLE} to its key.", code="library-key"
            )
        if self.is_enabled and not proof:
            raise LibraryError(
                f"{what} is not encrypted, and {KEY_VARIABLE} is set: unset it, or export the "
                "library and import it into a new folder, which is then encrypted."
            )
        if proof:
            try:
                self.decrypt(proof.encode("latin-1"))
            except LibraryError as error:
                mistake = f"{what} was encrypted under another key than {KEY_VARIABLE} holds."
                raise LibraryError(mistake, code="library-key") from error
