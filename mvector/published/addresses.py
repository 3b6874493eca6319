"""Where a file may be had: the published places, or a mirror of them."""

from __future__ import annotations

import os
from urllib.parse import quote, urlsplit

from mvector.errors import MVectorError
from mvector.published.table import PublishedFile

#: The environment variable that names a mirror of Hugging Face, as its own programs read it.
HF_ENDPOINT = "HF_ENDPOINT"

_HF = "https://huggingface.co"


def addresses(file: PublishedFile, mirror: str | None = None) -> list[str]:
    """Where a file may be had, the first place first.

    Args:
        file: what to get.
        mirror: has the same paths under another address, or the files by their names; nothing else
            is asked then.

    Raises:
        MVectorError: the mirror, or that of the environment, is no address.
    """
    if mirror is None:
        endpoint = _base(os.environ.get(HF_ENDPOINT) or _HF, f"the variable {HF_ENDPOINT} says")
        return [
            endpoint + url.removeprefix(_HF) if url.startswith(f"{_HF}/") else url
            for url in file.urls
        ]
    base = _base(mirror, "--mirror says")
    paths = [urlsplit(url)._replace(scheme="", netloc="").geturl() for url in file.urls]
    return list(dict.fromkeys([*(base + path for path in paths), f"{base}/{quote(file.name)}"]))


def _base(address: str, whose: str) -> str:
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query:
        raise MVectorError(
            f"'{address}', which {whose}, is no address of a mirror: give one such as "
            "https://hf-mirror.com, or --from FILE for a file that is here already."
        )
    return address.rstrip("/")
