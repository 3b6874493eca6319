"""Speakers: clips to embeddings, and a library of enrolled people.

The names below load on first use: to compare two clips takes none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mvector.lazy import lazy_names

if TYPE_CHECKING:
    from mvector.embedding.encoder import SpeakerEncoder
    from mvector.speakers.audit import AuditEntry
    from mvector.speakers.identification import Match
    from mvector.speakers.library import SpeakerLibrary
    from mvector.speakers.people import Person

__all__ = ["AuditEntry", "Match", "Person", "SpeakerEncoder", "SpeakerLibrary"]

__getattr__ = lazy_names(
    __name__,
    {
        "AuditEntry": "mvector.speakers.audit",
        "Match": "mvector.speakers.identification",
        "Person": "mvector.speakers.people",
        "SpeakerEncoder": "mvector.embedding.encoder",
        "SpeakerLibrary": "mvector.speakers.library",
    },
)
