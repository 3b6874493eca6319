"""Speakers: clips to embeddings, and a library of enrolled people."""

from mvector.speakers.encoder import SpeakerEncoder
from mvector.speakers.library import Match, SpeakerLibrary

__all__ = ["Match", "SpeakerEncoder", "SpeakerLibrary"]
