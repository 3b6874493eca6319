"""What a server answers: where it leads, what it tells of a file, and what goes wrong."""

from __future__ import annotations

import socket
import ssl
import urllib.error
import urllib.request
from contextlib import suppress
from email.message import Message
from typing import IO, Any
from urllib.parse import urlsplit

# Asking again would change nothing.
FOR_GOOD = (socket.gaierror, ConnectionRefusedError, ssl.SSLCertVerificationError)


class NotGotError(Exception):
    """A place that does not have the file, with the reason."""


class OtherFileError(NotGotError):
    """A place that has another file, by its size."""


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to other hosts, and never from an encrypted connection to a plain one."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any,
        newurl: str,
    ) -> urllib.request.Request | None:  # fmt: skip
        """The request to follow with."""
        before, after = urlsplit(req.full_url).scheme, urlsplit(newurl).scheme
        if after not in ("http", "https") or (before == "https" and after == "http"):
            raise NotGotError(f"it leads to '{newurl[:80]}', which is not encrypted")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def version_of(headers: Message) -> str | None:
    """What ``If-Range`` compares: a strong tag, or a date."""
    tag = headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified")


def length_of(headers: Message) -> int | None:
    """Bytes that the answer has."""
    return _number(headers.get("Content-Length", ""))


def start_of(headers: Message) -> int | None:
    """Where ``Content-Range: bytes 10-99/100`` begins."""
    return _number(headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0])


def total_of(headers: Message) -> int | None:
    """Bytes of the whole file, as ``Content-Range: bytes 10-99/100`` tells."""
    return _number(headers.get("Content-Range", "").rpartition("/")[2])


def _number(text: str) -> int | None:
    with suppress(ValueError):
        return int(text)
    return None


def reason_of(error: Exception) -> str:
    """What went wrong, in few words."""
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(inner, TimeoutError):
        return "it says nothing for too long"
    return str(getattr(inner, "strerror", None) or inner) or type(inner).__name__
