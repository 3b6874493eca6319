"""Who is speaking, again and again, in a sliding window over sound as it comes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mvector.audio.quality import clip_quality
from mvector.errors import AudioError
from mvector.recognition.answers import Recognition
from mvector.recognition.predictor import MVectorPredictor

_SHORTEST_S = 0.02  # of what can be measured
_LEAST_SPEECH = 0.2  # share of the window; with less nobody is speaking


@dataclass(frozen=True)
class Moment:
    """What is heard at one moment.

    Attributes:
        end_s: seconds of sound until then.
        speech_s: seconds of speech in all of it, as its windows tell.
        is_speech: whether somebody speaks in the window.
        result: who it is; ``None`` where nobody speaks, or too little to tell.
    """

    end_s: float
    speech_s: float
    is_speech: bool
    result: Recognition | None


class Watcher:
    """Recognises a window of the last seconds, each time that some more have come.

    The audit of the library tells when somebody else is heard, and not of each window.

    Args:
        predictor: with a library.
        sample_rate: of the sound, in Hz.
        window_s: the first answer comes when so much is there.
        hop_s: from one answer to the next.
        top_k: how many of the most alike people to tell.
        within: compare with people of these groups only.
        recognises: whether to say who it is, and not only whether somebody speaks.
    """

    def __init__(
        self,
        predictor: MVectorPredictor,
        sample_rate: int,
        *,
        window_s: float,
        hop_s: float,
        top_k: int = 1,
        within: Sequence[str] | None = None,
        recognises: bool = True,
    ) -> None:
        self._predictor, self._rate, self._recognises = predictor, sample_rate, recognises
        self._size, self._hop = (max(1, round(s * sample_rate)) for s in (window_s, hop_s))
        self._least = min(self._size, round(_SHORTEST_S * sample_rate))
        self._top_k, self._within = top_k, within
        self._window = self._waiting = np.zeros(0, np.float32)
        self._num_samples, self._speech_s = 0, 0.0
        self._noted: str | None = ""

    def hear(self, samples: np.ndarray) -> Iterator[Moment]:
        """What comes next, float32 ``(samples,)``: a moment for each hop that is full now.

        Raises:
            LibraryError: nobody is enrolled, or the library cannot be used.
            MVectorError: there is no threshold.
        """
        self._waiting = np.concatenate([self._waiting, samples])
        while len(self._waiting) >= self._hop:
            hop, self._waiting = np.split(self._waiting, [self._hop])
            yield from self._moment(hop, is_last=False)

    def end(self) -> Iterator[Moment]:
        """The rest, where there is one: also of sound that is shorter than a window."""
        hop, self._waiting = self._waiting, self._waiting[:0]
        if len(hop) or 0 < self._num_samples < self._size:
            yield from self._moment(hop, is_last=True)

    def _moment(self, hop: np.ndarray, *, is_last: bool) -> Iterator[Moment]:
        self._num_samples += len(hop)
        self._window = np.concatenate([self._window, hop])[-self._size :]
        if len(self._window) < (self._least if is_last else self._size):
            return
        speech_s, _ = clip_quality(self._window, self._rate).tolist()
        share = speech_s / (len(self._window) / self._rate)
        is_first = self._num_samples - len(hop) < self._size
        heard_s = len(self._window if is_first else hop) / self._rate
        self._speech_s += share * heard_s
        end_s = self._num_samples / self._rate
        is_speech = share >= _LEAST_SPEECH
        result = self._recognise() if is_speech and self._recognises else None
        yield Moment(end_s, self._speech_s, is_speech, result)

    def _recognise(self) -> Recognition | None:
        try:
            result = self._predictor.recognition(
                (self._window, self._rate),
                top_k=self._top_k,
                within=self._within,
                is_recorded=False,
            )
        except AudioError:  # silence, or less than the model can use
            return None
        if result.name != self._noted:
            self._noted = result.name
            self._predictor.library.record("watch", result.name, result.score)
        return result
