"""Speakers: clips to embeddings, and a library of enrolled people."""

from mvector.embedding.encoder import SpeakerEncoder
from mvector.speakers.audit import AuditEntry
from mvector.speakers.identification import Match
from mvector.speakers.library import SpeakerLibrary
from mvector.speakers.people import Person

__all__ = ["AuditEntry", "Match", "Person", "SpeakerEncoder", "SpeakerLibrary"]
