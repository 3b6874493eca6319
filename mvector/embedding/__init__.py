"""Embedding: clips to speaker embeddings."""

from mvector.embedding.encoder import EmbeddedClips, SpeakerEncoder

__all__ = ["EmbeddedClips", "SpeakerEncoder"]
