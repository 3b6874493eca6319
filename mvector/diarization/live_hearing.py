"""Sound as it comes: stretches of speech when they have ended, and the voice in their windows."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from mvector.audio.level import sound_of
from mvector.audio.live_vad import LiveSilero
from mvector.diarization.hearing import (
    best_vad_method,
    embed_windows,
    raised,
    speech_in,
    windows_of,
)
from mvector.diarization.options import DiarizationOptions
from mvector.embedding.encoder import SpeakerEncoder
from mvector.errors import MissingDependencyError

#: How often speech is looked for, in seconds.
STEP_S = 0.5
#: Speech without a pause is taken in pieces of so much.
PIECE_S = 6.0
# What is kept before speech that is not done with: windows begin a little before, and a level needs
# something loud to compare with.
_LEAD_S = {"silero": 2.0, "energy": 30.0}
_LEVEL_FOR_S = 300.0  # as the blocks of a recording
_MUCH_QUIETER = 0.01  # than the loudest step, in power: a pause
_SHORTEST_S = 0.1  # of what is left of a stretch behind its last piece


@dataclass(frozen=True)
class Piece:
    """A stretch of speech, or a part of a long one.

    Attributes:
        start_s: seconds from the beginning.
        end_s: likewise.
        windows: ``(N, 2)`` seconds, which may begin in the piece before.
        units: ``(N, embd_dim)`` float32, their embeddings with length 1.
        sound: float32 ``(samples,)`` of it.
    """

    start_s: float
    end_s: float
    windows: np.ndarray
    units: np.ndarray
    sound: np.ndarray


class LiveHearing:
    """Finds speech in sound as it comes, and embeds windows of it.

    Speech is looked for in what is not done with and some seconds before, so that memory and work
    do not grow with time. A stretch has ended where it is followed by a pause.

    Args:
        encoder: the model.
        options: windows, pause, and what finds the speech.

    Raises:
        MissingDependencyError: what finds the speech is not installed.
    """

    def __init__(self, encoder: SpeakerEncoder, options: DiarizationOptions) -> None:
        self._encoder, self._options, self._rate = encoder, options, encoder.sample_rate
        self._method = options.vad_method or best_vad_method()
        self._step, self._pause = self._samples(STEP_S), self._samples(options.pause_s(live=True))
        self._waiting = self._sound = np.zeros(0, np.float32)
        self._first = 0  # samples before the sound that is kept
        self._done = 0  # samples to the end of the last piece
        self._open: int | None = None  # where speech began that has not ended
        self._powers: deque[float] = deque(maxlen=round(_LEVEL_FOR_S / STEP_S))
        self._silero = LiveSilero(self._rate) if self._method == "silero" else None
        if self._silero is None and find_spec("librosa") is None:
            raise MissingDependencyError(
                "Turns need what finds speech: pip install silero-vad, or librosa."
            )

    def hear(self, samples: np.ndarray) -> Iterator[Piece]:
        """The pieces that ended by what came next, float32 ``(samples,)`` at the model's rate."""
        self._waiting = np.concatenate([self._waiting, samples])
        while len(self._waiting) >= self._step:
            step, self._waiting = np.split(self._waiting, [self._step])
            yield from self._look(step, is_last=False)

    def end(self) -> Iterator[Piece]:
        """The pieces that the end of the sound ends."""
        step, self._waiting = self._waiting, self._waiting[:0]
        yield from self._look(step, is_last=True)

    @property
    def heard_s(self) -> float:
        """Seconds that speech was looked for in."""
        return (self._first + len(self._sound)) / self._rate

    @property
    def quiet_until_s(self) -> float:
        """Up to here nobody speaks but in the pieces that were given."""
        return self.heard_s if self._open is None else self._open / self._rate

    def _look(self, step: np.ndarray, *, is_last: bool) -> Iterator[Piece]:
        self._sound = np.concatenate([self._sound, step])
        end = self._first + len(self._sound)
        settled = end if is_last else end - self._pause
        self._open = None
        for start, stop in self._speech(step, is_last=is_last).tolist():
            start = max(start, self._done)
            while start + self._samples(PIECE_S) <= min(stop, settled):
                yield self._piece(start, start + self._samples(PIECE_S))
                start = self._done
            if stop > settled:
                self._open = start
                break
            if stop - start >= self._samples(_SHORTEST_S):
                yield self._piece(start, stop)
        undone = settled if self._open is None else self._open
        kept = max(self._first, undone - self._samples(_LEAD_S[self._method]))
        self._sound, self._first = self._sound[kept - self._first :].copy(), kept
        if self._silero is not None:
            self._silero.forget(kept)

    def _speech(self, step: np.ndarray, *, is_last: bool) -> np.ndarray:
        """``(S, 2)`` samples of the speech in the sound that is kept, of which a step is new."""
        sound = sound_of(step, self._rate)
        if len(step):
            self._powers.append(float(np.mean(sound.samples**2)) if len(sound.samples) else 0.0)
        powers = np.array(self._powers)
        loud = powers[powers > _MUCH_QUIETER * powers.max(initial=0.0)]
        level_db = 10.0 * float(np.log10(loud.mean())) if len(loud) else -np.inf
        if self._silero is None:
            return speech_in(self._sound, self._rate, self._method, level_db) + self._first
        self._silero.hear(raised(sound.placed, level_db), is_last=is_last)
        return self._silero.segments(self._first + len(self._sound))

    def _piece(self, start: int, stop: int) -> Piece:
        options = self._options
        overlap = self._samples(options.window_s - options.hop_s) if start == self._done else 0
        own = np.array([[max(start - overlap, self._first), stop]]) - self._first
        least_s = self._encoder.model.front_end.min_duration
        sizes = (options.window_s, options.hop_s, least_s)
        places = windows_of(len(self._sound), self._rate, *sizes, own)
        good, units = embed_windows(self._encoder, self._sound, places, "The sound")
        sound = self._sound[start - self._first : stop - self._first].copy()
        windows = (places[good] + self._first) / self._rate
        self._done = stop
        return Piece(start / self._rate, stop / self._rate, windows, units, sound)

    def _samples(self, seconds: float) -> int:
        return round(seconds * self._rate)
