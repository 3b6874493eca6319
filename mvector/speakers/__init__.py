"""Speakers: clips to embeddings, and a library of enrolled people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mvector.speakers.audit import AuditEntry
from mvector.speakers.identification import Match
from mvector.speakers.library import SpeakerLibrary
from mvector.speakers.people import Person

if TYPE_CHECKING:
    from mvector.embedding.encoder import SpeakerEncoder

__all__ = ["AuditEntry", "Match", "Person", "SpeakerEncoder", "SpeakerLibrary"]


def __getattr__(name: str) -> Any:
    if name == "SpeakerEncoder":  # which brings torch: listing a library does without
        from mvector.embedding.encoder import SpeakerEncoder

        return SpeakerEncoder
    raise AttributeError(f"module 'mvector.speakers' has no attribute '{name}'")
