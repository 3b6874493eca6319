"""What a scan gives: clips, who speaks in each, and what each is for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from mvector.errors import shorten_list

Part: TypeAlias = Literal["train", "enroll", "trials", "test", "unlisted"]

# One class cannot be trained on, and one test speaker gives no trial of different speakers.
MIN_SPEAKERS = 2

_MAX_NAMED = 5


@dataclass(frozen=True)
class Segment:
    """A stretch of a recording that is a clip of its own.

    Attributes:
        name: of the utterance, unique within the corpus.
        start_s: where it starts, in seconds.
        end_s: where it ends; ``None`` is the end of the recording.
        channel: counted from 0; ``None`` averages all.
    """

    name: str
    start_s: float
    end_s: float | None = None
    channel: int | None = None


@dataclass(frozen=True)
class Clip:
    """One recording, or a segment of one.

    Attributes:
        path: as the lists give it: relative to the working directory where the clip lies beneath
            it, absolute elsewhere, with forward slashes.
        speaker: who speaks, unique within the corpus.
        part: the list the clip belongs to; ``test`` is a test speaker's clip that is neither
            enrolled nor tried yet, ``unlisted`` one that only published pairs may name.
        duration_s: known once the clip has been decoded.
        segment: which stretch of the recording; ``None`` is all of it.
        origin: the key that the clip had before it was written as another file.
    """

    path: str
    speaker: str
    part: Part = "train"
    duration_s: float | None = None
    segment: Segment | None = None
    origin: str | None = None

    @property
    def key(self) -> str:
        """What tells the clip from all others, before and after it is cut, trimmed or converted."""
        if self.origin is not None:
            return self.origin
        return f"{self.path}\t{self.segment.name}" if self.segment else self.path

    @property
    def description(self) -> str:
        """How messages call the clip."""
        if self.segment is None:
            return f"'{self.path}'"
        end = "its end" if self.segment.end_s is None else f"{self.segment.end_s:g} s"
        return f"'{self.path}' ({self.segment.name}, {self.segment.start_s:g} s to {end})"


def keep_from_training(clips: Iterable[Clip], speakers: set[str]) -> list[Clip]:
    """The clips, those of these speakers as ``unlisted`` ones instead of training clips."""
    return [
        replace(clip, part="unlisted")
        if clip.part == "train" and clip.speaker in speakers
        else clip
        for clip in clips
    ]


def name_some(names: Iterable[str]) -> str:
    """The first few of many names, for a message."""
    return shorten_list([f"'{name}'" for name in sorted(names)], _MAX_NAMED)
