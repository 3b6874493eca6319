"""Addresses of libraries in PostgreSQL, which are told without their passwords."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TypeGuard
from urllib.parse import parse_qsl, urlencode, urlsplit

from mvector.errors import LibraryError

_SCHEMES = ("postgresql://", "postgres://")
_AS_PATHS = tuple(scheme[:-1] for scheme in _SCHEMES)  # of two slashes a Path keeps one
_SCHEMA = re.compile(r"(?!pg_)[a-z_][a-z0-9_]{0,62}")
_DEFAULT_SCHEMA = "mvector"
_OURS = ("schema", "clips", "index")
_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[\w.-]+)*/?", re.ASCII)
_TOLD = ("host", "port", "dbname", "user", *_OURS)  # of what may stand behind the question mark


@dataclass(frozen=True)
class PostgresAddress:
    """Where a library is in PostgreSQL; as text it holds no password.

    Attributes:
        conninfo: what libpq connects by, with the password if one was given.
        schema: the namespace of the library's tables.
        clips: the folder that clips are kept in, or ``s3://bucket/prefix``; ``None``: where the
            library says, which is the database for a new one.
        has_index: whether many people are searched in the database; else in memory, exactly.
        shown: the address without what is secret.
    """

    conninfo: str = field(repr=False)
    schema: str
    clips: str | None
    has_index: bool
    shown: str

    def __str__(self) -> str:
        return self.shown


def is_address(path: object) -> TypeGuard[str]:
    """Whether the path of a library is an address in PostgreSQL."""
    return isinstance(path, str) and path.lower().startswith(_SCHEMES)


def is_address_as_path(path: str) -> bool:
    """Whether the text of a path was an address in PostgreSQL before it became a ``Path``."""
    return path.lower().startswith(_AS_PATHS)


def parse_address(address: str) -> PostgresAddress:
    """``postgresql://[user[:password]@]host[:port]/database[?schema=NAME][&clips=PLACE][&index=none]``.

    What else stands behind the question mark is for libpq, such as ``sslmode``.

    Raises:
        LibraryError: it is none; the sentence does not repeat it, for it may hold a password.
    """
    try:
        parts = urlsplit(address)
        given = dict(
            parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        )
    except ValueError:
        raise _malformed() from None
    if parts.fragment or "@" in parts.path:
        raise _malformed()
    schema = given.pop("schema", _DEFAULT_SCHEMA)
    if not _SCHEMA.fullmatch(schema):
        raise LibraryError(
            f"'{schema}' is no name of a library's schema: it takes 1 to 63 of a-z, 0-9 and _, the "
            "first no digit, and does not begin with pg_."
        )
    clips = _place(given.pop("clips", None))
    index = given.pop("index", None)
    if index not in (None, "none"):
        raise LibraryError(
            f"'{index}' behind index= is nothing that there is: none, or leave it out."
        )
    conninfo = parts._replace(query=urlencode(given)).geturl()
    user, at, hosts = parts.netloc.rpartition("@")
    told = {key: value for key, value in given.items() if key in _TOLD} | {"schema": schema}
    told |= {} if clips is None else {"clips": clips}
    told |= {} if index is None else {"index": index}
    netloc = f"{user.partition(':')[0]}{at}{hosts}"
    text = f"postgresql://{netloc}{parts.path}?{urlencode(told, safe='/:')}"
    return PostgresAddress(conninfo, schema, clips, index is None, text)


def _place(clips: str | None) -> str | None:
    """What stands behind ``clips=``, written in one way only.

    Raises:
        LibraryError: it is no place; the sentence does not repeat what may hold a password.
    """
    if clips is None or PurePath(clips).is_absolute():
        return None if clips is None else os.path.normpath(clips)
    if "://" not in clips:
        raise LibraryError(
            f"'{clips}' behind clips= has to be the whole path of a folder, from the root on, or "
            "s3://bucket/prefix."
        )
    if not _BUCKET.fullmatch(clips) or {".", ".."} & {*clips.split("/")}:
        raise LibraryError(
            "What stands behind clips= is no place for clips: write s3://bucket/prefix of a-z, "
            "A-Z, 0-9, _, . and -, and give endpoint and credentials by the AWS_ variables."
        )
    return clips.rstrip("/")


def _malformed() -> LibraryError:
    return LibraryError(
        "The address of the speaker library is malformed; write "
        "postgresql://user@host:5432/database?schema=NAME, and what is special in a user or "
        "password as %XX (@ as %40, / as %2F, # as %23), or keep the password in ~/.pgpass."
    )
