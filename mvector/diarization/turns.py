"""A turn: one person who speaks from one moment of a recording to another."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Turn:
    """One person speaking without a break.

    Attributes:
        start_s: seconds from the beginning of the recording.
        end_s: seconds from the beginning of the recording, later than ``start_s``.
        speaker: label of the person within the recording, such as ``Speaker 1``.
        name: who it is, where that is known.
        score: cosine of the person's voice with that of ``name``.
        overlap: whether somebody else speaks too.
    """

    start_s: float
    end_s: float
    speaker: str
    name: str | None = None
    score: float | None = None
    overlap: bool = False

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s

    @property
    def label(self) -> str:
        """The name, or the label within the recording of somebody unknown."""
        return self.speaker if self.name is None else self.name
