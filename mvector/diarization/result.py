"""The answer to *who spoke when*: turns and people, and what prints, saves and joins them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mvector.audio.clip_report import ClipReport
from mvector.diarization.resegmentation import Stretches
from mvector.diarization.turns import Turn
from mvector.errors import count_of

_TOUCHING_S = 0.05  # of stretches, which are one turn
_OVERLAP_S = 0.1  # of two turns, from which somebody is said to speak meanwhile


@dataclass(frozen=True)
class Speaker:
    """A person of a recording.

    Attributes:
        label: the name, or of somebody unknown ``Speaker 1``, in the order of their first words.
        name: who it is, by the speaker library; ``None``: not enrolled, or it cannot be told.
        time_s: how long they speak, in seconds.
        embedding: ``(embd_dim,)`` of length 1, mean direction of what they say.
        match: the enrolled person who is most alike, if anybody is enrolled.
        score: cosine with ``match``.
        threshold: cosine from which it would be ``match``.
        margin: by how much ``match`` is ahead of the next person.
        quality: how good it is, measured where people are compared with a library.
        reasons: why it may not be worth trusting, in words.
        channel: that they were heard in, of a recording with one person a channel.
    """

    label: str
    time_s: float
    embedding: np.ndarray = field(repr=False, compare=False)
    name: str | None = None
    match: str | None = None
    score: float | None = None
    threshold: float | None = None
    margin: float | None = None
    quality: ClipReport | None = field(default=None, repr=False)
    reasons: tuple[str, ...] = ()
    channel: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            **vars(self),
            "embedding": [round(float(value), 6) for value in self.embedding],
            "quality": None if self.quality is None else self.quality.to_dict(),
            "reasons": list(self.reasons),
        }

    def as_text(self) -> str:
        """How long they speak, and whom they resemble."""
        known = ""
        if self.match is not None and self.score is not None and self.threshold is not None:
            nearest = "" if self.name else f"nearest: {self.match}, "
            known = f"  ({nearest}{self.score:.4f}, needs {self.threshold:.4f})"
        return f"{self.label}  {clock(self.time_s)}{known}"


@dataclass(frozen=True)
class Diarization:
    """Who spoke when in one recording.

    Attributes:
        recording: its name.
        duration_s: of the recording.
        turns: by their starts.
        speakers: in the order of their first words.
        fingerprint: of the model, which tells whose embeddings can be compared.
        notes: what there is to know of how it was heard, in words.
    """

    recording: str
    duration_s: float
    turns: tuple[Turn, ...]
    speakers: tuple[Speaker, ...]
    fingerprint: str = ""
    notes: tuple[str, ...] = ()

    def exclusive(self) -> Diarization:
        """The same with one person at a time, to join with a transcript.

        Where several speak, it is the one who began first, until their turn ends.
        """
        turns: list[Turn] = []
        end_s = 0.0
        for turn in sorted(self.turns, key=lambda each: (each.start_s, -each.end_s)):
            if turn.end_s > end_s:
                turns.append(replace(turn, start_s=max(turn.start_s, end_s), overlap=False))
                end_s = turn.end_s
        return replace(self, turns=tuple(turns))

    def named(self, names: Mapping[str, str]) -> Diarization:
        """The same with people called by ``names``, of their labels; no comparison told them."""
        speakers = tuple(
            replace(
                speaker,
                label=names[speaker.label],
                name=names[speaker.label],
                match=None,
                score=None,
                threshold=None,
                margin=None,
            )
            if speaker.label in names
            else speaker
            for speaker in self.speakers
        )
        turns = tuple(
            replace(turn, speaker=names[turn.speaker], name=names[turn.speaker], score=None)
            if turn.speaker in names
            else turn
            for turn in self.turns
        )
        return replace(self, speakers=speakers, turns=turns)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "recording": self.recording,
            "duration_s": round(self.duration_s, 3),
            "model_fingerprint": self.fingerprint,
            "notes": list(self.notes),
            "speakers": [speaker.to_dict() for speaker in self.speakers],
            "turns": [
                {**vars(turn), "start_s": round(turn.start_s, 3), "end_s": round(turn.end_s, 3)}
                for turn in self.turns
            ],
        }

    def __str__(self) -> str:
        lines = [
            f"{count_of(len(self.speakers), 'person', 'people')} in {clock(self.duration_s)}",
            *(f"  {speaker.as_text()}" for speaker in self.speakers),
            *turn_lines(self.turns),
        ]
        return "\n".join([*lines, *(f"[{note}]" for note in self.notes)])


def turn_lines(turns: Iterable[Turn]) -> list[str]:
    """A line for each turn: from when to when, and who."""
    return [
        f"{clock(turn.start_s)} - {clock(turn.end_s)}  {turn.label}"
        + ("  (and somebody else)" if turn.overlap else "")
        for turn in turns
    ]


def clock(seconds: float) -> str:
    """``1:02.5``, with hours where there are any."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{head}:{rest / 10:04.1f}"


def turns_of(stretches: Stretches, people: Sequence[Speaker], max_pause_s: float) -> list[Turn]:
    """Stretches as turns: what a voice says with short pauses in which nobody speaks is one.

    Args:
        stretches: of single voices; those of two may overlap.
        people: by the numbers of the voices.
        max_pause_s: the longest pause within a turn, in seconds.
    """
    turns: list[Turn] = []
    last_of: dict[int, int] = {}  # turn that each voice was heard in last
    places, voices = stretches
    order = np.argsort(places[:, 0], kind="stable")
    for (start_s, end_s), voice in zip(places[order].tolist(), voices[order].tolist(), strict=True):
        person, last = people[voice], last_of.get(voice)
        if last is not None:
            others_s = max((turns[k].end_s for v, k in last_of.items() if v != voice), default=0.0)
            pause_s = start_s - turns[last].end_s
            if pause_s <= _TOUCHING_S or (
                pause_s <= max_pause_s and others_s <= turns[last].end_s + _TOUCHING_S
            ):
                turns[last] = replace(turns[last], end_s=max(turns[last].end_s, end_s))
                continue
        score = None if person.name is None else person.score
        last_of[voice] = len(turns)
        turns.append(Turn(start_s, end_s, person.label, person.name, score))
    return turns


def with_overlaps(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """Turns by their starts, and marked where somebody else speaks meanwhile."""
    ordered = sorted(turns, key=lambda turn: (turn.start_s, turn.end_s))
    marked = [False] * len(ordered)
    open_turns: list[int] = []
    for place, turn in enumerate(ordered):
        open_turns = [k for k in open_turns if ordered[k].end_s - turn.start_s >= _OVERLAP_S]
        for other in open_turns:
            if turn.duration_s >= _OVERLAP_S:
                marked[other] = marked[place] = True
        open_turns.append(place)
    return tuple(
        replace(turn, overlap=turn.overlap or mark)
        for turn, mark in zip(ordered, marked, strict=True)
    )
