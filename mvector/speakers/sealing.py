"""Encryption at rest: embeddings and clips under a key from the environment.

A library is encrypted from its first day or not at all: :data:`KEY_VARIABLE` holds a Fernet key
(AES-128 in CBC mode with HMAC-SHA-256) when the library is made, and whenever it is opened.
"""

from __future__ import annotations

import os
from typing import Any

from mvector.errors import LibraryError, MissingDependencyError

KEY_VARIABLE = "MVECTOR_LIBRARY_KEY"
SEALED_SUFFIX = ".sealed"  # behind the suffix of an encrypted clip
_PROOF = b"mvector speaker library"


class Sealer:
    """Encrypts and decrypts, or leaves bytes as they are where there is no key."""

    def __init__(self, fernet: Any | None = None) -> None:
        self._fernet = fernet

    @classmethod
    def from_environment(cls) -> Sealer:
        """With the key of the environment, if there is one.

        Raises:
            LibraryError: the variable holds no key.
            MissingDependencyError: there is a key, and the package ``cryptography`` is missing.
        """
        key = os.environ.get(KEY_VARIABLE)
        if not key:
            return cls()
        try:
            from cryptography.fernet import Fernet
        except ImportError as error:
            raise MissingDependencyError(
                f"{KEY_VARIABLE} is set, and encryption needs a package: pip install cryptography."
            ) from error
        try:
            return cls(Fernet(key))
        except ValueError as error:
            raise LibraryError(
                f"{KEY_VARIABLE} is no Fernet key; make one with "
                "cryptography.fernet.Fernet.generate_key().",
                code="library-key",
            ) from error

    @property
    def is_on(self) -> bool:
        """Whether there is a key."""
        return self._fernet is not None

    def seal(self, data: bytes) -> bytes:
        """Encrypt, where there is a key."""
        return data if self._fernet is None else self._fernet.encrypt(data)

    def unseal(self, data: bytes) -> bytes:
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
        return self.seal(_PROOF).decode("latin-1") if self.is_on else ""

    def check(self, proof: str, what: str) -> None:
        """Refuse a key that does not fit, one too many, or the lack of one.

        Args:
            proof: what :meth:`proof` gave when the data was written.
            what: how a message begins that tells of the data.

        Raises:
            LibraryError: as said.
        """
        if proof and not self.is_on:
            raise LibraryError(
                f"{what} is encrypted; set {KEY_VARIABLE} to its key.", code="library-key"
            )
        if self.is_on and not proof:
            raise LibraryError(
                f"{what} is not encrypted, and {KEY_VARIABLE} is set: unset it, or export the "
                "library and import it into a new folder, which is then encrypted."
            )
        if proof:
            try:
                known = self.unseal(proof.encode("latin-1")) == _PROOF
            except LibraryError:
                known = False
            if not known:
                raise LibraryError(
                    f"{what} was encrypted under another key than {KEY_VARIABLE} holds.",
                    code="library-key",
                )
