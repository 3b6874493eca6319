"""Who spoke when while it is spoken, by name: turns as they end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mvector.audio.clip_report import ClipReport
from mvector.diarization.live import LiveVoices, Stretch
from mvector.diarization.live_hearing import LiveHearing, Piece
from mvector.diarization.options import DiarizationOptions
from mvector.diarization.turns import Turn
from mvector.embedding.encoder import SpeakerEncoder
from mvector.errors import AudioError
from mvector.recognition.answers import Recognition
from mvector.recognition.searching import Search

_CLIP_S = 30.0  # the last of each voice, for its quality
_MARGIN_S = 1e-6  # of times that are sums
_DOUBTS = 1  # more than there were certain answers, with which a name stays


@dataclass(frozen=True)
class LiveTurn:
    """A turn that has ended.

    Attributes:
        turn: who spoke from when to when; ``speaker`` stays the same for a voice that is unknown at
            first and gets a name later.
        told_s: seconds of sound that had to be heard to tell it.
        result: what the library says of the voice, if it could be compared.
        earlier: label that this voice was told by until now, if it has another one from now on.
    """

    turn: Turn
    told_s: float
    result: Recognition | None = None
    earlier: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The turn and what is told with it, but for the result; for JSON."""
        turn = self.turn
        return {
            "start_s": round(turn.start_s, 2),
            "end_s": round(turn.end_s, 2),
            "speaker": turn.label,
            "name": turn.name,
            "score": turn.score,
            "earlier": self.earlier,
            "told_s": round(self.told_s, 2),
        }


@dataclass
class _Person:
    """A voice: what there is of it to measure, and what it was called."""

    clip: np.ndarray
    name: str | None = None
    score: float | None = None
    voiceprint: np.ndarray | None = None  # of whom it is named as
    certainty: int = 0  # answers for the name, less those in doubt
    unknown: str | None = None  # label, once it was told without a name
    told: str | None = None  # label of the last turn


class LiveDiarizer:
    """Hears sound as it comes, and tells turns when they have ended.

    A turn has ended when a pause of 0.5 s followed, or another voice did. It is told up to 0.5 s
    later; where people speak without a pause, when they pause or after 6 s. Labels that were told
    stay. Memory does not grow with time: what is kept are embeddings of some 6 minutes of speech,
    and of the last 50 voices one embedding and up to 30 s of sound.

    Args:
        encoder: the model.
        search: names people; ``None`` leaves them unknown.
        options: what is known beforehand.

    Raises:
        MissingDependencyError: what finds speech is not installed.
    """

    def __init__(
        self,
        encoder: SpeakerEncoder,
        search: Search | None = None,
        options: DiarizationOptions | None = None,
    ) -> None:
        options = options or DiarizationOptions()
        self._encoder, self._search = encoder, search
        self._pause_s = options.pause_s(live=True)
        self._hearing = LiveHearing(encoder, options)
        self._voices = LiveVoices(encoder.embd_dim, options)
        self._open: Stretch | None = None
        self._people: dict[int, _Person] = {}
        self._num_unknown = 0
        self._noted: str | None = ""

    def hear(self, samples: np.ndarray) -> Iterator[LiveTurn]:
        """The turns that ended by what came next, float32 ``(samples,)`` at the model's rate.

        Raises:
            LibraryError: the library cannot be used.
            MVectorError: there is no threshold.
        """
        for piece in self._hearing.hear(samples):
            yield from self._take(piece)
        if self._open and self._open.end_s + self._pause_s <= (
            self._hearing.quiet_until_s + _MARGIN_S
        ):
            yield from self._close()

    def end(self) -> Iterator[LiveTurn]:
        """The turns that the end of the sound ends."""
        for piece in self._hearing.end():
            yield from self._take(piece)
        yield from self._close()

    def _take(self, piece: Piece) -> Iterator[LiveTurn]:
        place = piece.start_s, piece.end_s
        named = {
            voice: each.voiceprint
            for voice, each in self._people.items()
            if each.voiceprint is not None
        }
        for stretch in self._voices.add(place, piece.windows, piece.units, named):
            self._listen(stretch, piece)
            last = self._open
            goes_on = (
                last is not None
                and last.voice == stretch.voice
                and stretch.start_s - last.end_s <= self._pause_s + _MARGIN_S
            )
            if last is not None and goes_on:
                self._open = replace(last, end_s=stretch.end_s)
            else:
                yield from self._close()
                self._open = stretch
        known = self._voices.cores
        self._people = {voice: each for voice, each in self._people.items() if voice in known}

    def _listen(self, stretch: Stretch, piece: Piece) -> None:
        """Keep the sound of a stretch beside what its voice said before."""
        person = self._people.setdefault(stretch.voice, _Person(piece.sound[:0]))
        rate = self._encoder.sample_rate
        first, last = (
            round((at - piece.start_s) * rate) for at in (stretch.start_s, stretch.end_s)
        )
        said = np.concatenate([person.clip, piece.sound[first:last]])
        person.clip = said[-round(_CLIP_S * rate) :].copy()

    def _close(self) -> Iterator[LiveTurn]:
        """Tell the turn that has ended, if there is one."""
        stretch, self._open = self._open, None
        if stretch is None:
            return
        person = self._people[stretch.voice]
        result = self._recognise(stretch.voice, person)
        if person.name is None and person.unknown is None:
            self._num_unknown += 1
            person.unknown = f"Speaker {self._num_unknown}"
        label = person.name or person.unknown or ""
        earlier = None if person.told in (None, label) else person.told
        person.told = label
        turn = Turn(
            stretch.start_s,
            stretch.end_s,
            person.unknown or label,
            person.name,
            None if person.name is None else person.score,
        )
        if self._search is not None and person.name != self._noted:  # somebody else is heard
            self._noted = person.name
            self._search.library.record("watch", person.name, person.score)
        yield LiveTurn(turn, self._hearing.heard_s, result, earlier)

    def _recognise(self, voice: int, person: _Person) -> Recognition | None:
        """Who of the library a voice is, with all that was heard of it."""
        report = None if self._search is None else self._measured(person.clip)
        if self._search is None or report is None:
            return None
        result = self._search.nearest_to_voice(self._voices.cores[voice], report)
        nearest, in_doubt = result.candidates[0], result.decision.inconclusive
        was_told = nearest.name == person.name
        person.certainty = (person.certainty if was_told else 0) + result.is_known - in_doubt
        # who was recognised with more certainty is not forgotten for a doubt, but for several
        is_named = result.is_known or (in_doubt and was_told and person.certainty >= -_DOUBTS)
        is_named = is_named and self._is_free(nearest.name, voice, result.score)
        person.score = result.score
        person.name = nearest.name if is_named else None
        person.voiceprint = nearest.voiceprint if is_named else None
        return result

    def _measured(self, clip: np.ndarray) -> ClipReport | None:
        try:
            return self._encoder.measure((clip, self._encoder.sample_rate))
        except AudioError:  # too little yet
            return None

    def _is_free(self, name: str, voice: int, score: float) -> bool:
        """Whether a name can go to a voice: no other has it, or they are the same person's.

        That is, where they are no less alike to each other than to that person.
        """
        cores = self._voices.cores
        return all(
            cores[other] @ cores[voice] >= min(score, each.score or 0.0)
            for other, each in self._people.items()
            if other != voice and other in cores and each.name == name
        )
