"""Embedding: clips to speaker embeddings.

The names below load on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mvector.lazy import lazy_names

if TYPE_CHECKING:
    from mvector.embedding.encoder import EmbeddedClips, SpeakerEncoder

__all__ = ["EmbeddedClips", "SpeakerEncoder"]

__getattr__ = lazy_names(
    __name__,
    {
        "EmbeddedClips": "mvector.embedding.encoder",
        "SpeakerEncoder": "mvector.embedding.encoder",
    },
)
