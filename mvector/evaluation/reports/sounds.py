"""What a page plays: clips within it as far as they are small, and links to the others."""

from __future__ import annotations

import base64
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

# Browsers play these as they are. Others are named and not played: a copy in another format would
# not be what the model heard.
_TYPES = {
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
}

#: Clips of so many bytes together lie within the page.
MAX_EMBEDDED_BYTES = 8_000_000


def sound_sources(
    paths: Sequence[str],
    page_folder: str | os.PathLike[str],
    max_bytes: int = MAX_EMBEDDED_BYTES,
) -> dict[str, str]:
    """Where a page finds the sound of each clip that is at hand and that browsers play.

    Args:
        paths: clips in the order of their importance, each as often as the page has a player of it.
        page_folder: where the page will lie.
        max_bytes: embed so much, and link to the others.

    Returns:
        By path, ``data:`` with the content, or a link relative to the page.
    """
    sources: dict[str, str] = {}
    bytes_left = max_bytes
    for path, num_players in Counter(paths).items():
        kind = _TYPES.get(os.path.splitext(path)[1].lower())
        if kind is None or not os.path.isfile(path):
            continue
        size = num_players * os.path.getsize(path)
        is_small = size <= bytes_left
        source = _embedded(path, kind) if is_small else _relative_link(path, page_folder)
        if source is None:
            continue
        sources[path] = source
        if is_small:
            bytes_left -= size
    return sources


def _embedded(path: str, kind: str) -> str | None:
    try:
        content = Path(path).read_bytes()
    except OSError:  # a clip that may not be read costs its player and not the page
        return None
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _relative_link(path: str, page_folder: str | os.PathLike[str]) -> str | None:
    try:
        link = os.path.relpath(path, page_folder)
    except ValueError:  # on another drive
        return None
    return quote(os.fsencode(link.replace(os.sep, "/")))
