"""What a stream is told of its sound: who speaks now, turns, and a verdict once it is certain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import soxr

from mvector.errors import AudioError
from mvector.recognition.answers import Recognition, Verification
from mvector.recognition.live import LiveDiarizer, LiveTurn
from mvector.recognition.predictor import MVectorPredictor
from mvector.recognition.watching import Moment, Watcher
from mvector.service.diarization import finds_speech
from mvector.service.route_parts import quality, verdict
from mvector.service.schemas import NOT_DETECTED, Purpose, StreamQuery

_FULL_SCALE = np.float32(32768.0)
_LONGEST_S = 30.0  # of what a verdict is made of
_TIMES_ALIKE = 2  # in a row that an answer is given, for it to be certain

Message = dict[str, Any]


def tells_turns(asked: StreamQuery) -> bool:
    """Whether a stream is told turns: where something finds speech, and not of a verification."""
    return asked.person is None and finds_speech()


class Listener:
    """Hears one stream, in one thread at a time.

    Args:
        predictor: the model and the library.
        asked: what the client wants to know.
        purpose: of a verification.
    """

    def __init__(self, predictor: MVectorPredictor, asked: StreamQuery, purpose: Purpose) -> None:
        self._watcher = Watcher(
            predictor,
            asked.rate,
            window_s=asked.window_s,
            hop_s=asked.hop_s,
            top_k=asked.top_k,
            within=asked.within or None,
            recognises=asked.person is None,
        )
        self._rate, self._odd_byte = asked.rate, b""
        self._turns = _Turns(predictor, asked) if tells_turns(asked) else None
        self._verdict = _Verdict(predictor, asked, purpose)

    @property
    def same(self) -> bool | None:
        """Whether the verdict is *same*; ``None``: there is none yet."""
        return self._verdict.same

    def hear(self, data: bytes) -> list[Message]:
        """What there is to tell, with what came next: 16-bit samples, little endian, mono.

        Raises:
            LibraryError: nobody is enrolled, or not the one who was asked for.
            MVectorError: there is no threshold.
        """
        data = self._odd_byte + data
        whole = len(data) // 2 * 2
        self._odd_byte = data[whole:]
        samples = np.frombuffer(data[:whole], "<i2").astype(np.float32) / _FULL_SCALE
        self._verdict.add(samples)
        messages = [*self._told(self._watcher.hear(samples))]
        return messages + ([] if self._turns is None else self._turns.hear(samples))

    def end(self) -> list[Message]:
        """What is left to tell when nothing more comes: the verdict too, certain or not."""
        messages = [*self._told(self._watcher.end())]
        messages += [] if self._turns is None else self._turns.end()
        return messages + self._verdict.look(is_last=True)

    def _told(self, moments: Iterator[Moment]) -> Iterator[Message]:
        moment = None
        for moment in moments:
            yield _now(moment)
        if moment is not None:  # of several hops that came at once, all is looked at once
            yield from self._verdict.look(speech_s=moment.speech_s, end_s=moment.end_s)


def _now(moment: Moment) -> Message:
    found = moment.result
    told: Message = {
        "type": "now",
        "time_s": round(moment.end_s, 2),
        "speech_s": round(moment.speech_s, 2),
        "speaking": moment.is_speech,
    }
    return told if found is None else {**told, **_named(found)}


def _named(found: Recognition) -> Message:
    return {
        **verdict(found.decision),
        "name": found.name,
        "candidates": [{"name": one.name, "score": one.score} for one in found.candidates],
    }


class _Turns:
    """Who speaks from when to when, as turns end, of sound of any rate.

    What hears it is made with the first sound, in the thread that computes.
    """

    def __init__(self, predictor: MVectorPredictor, asked: StreamQuery) -> None:
        self._predictor, self._asked = predictor, asked
        rate = predictor.encoder.sample_rate
        self._resampler = soxr.ResampleStream(asked.rate, rate, 1, dtype="float32")
        self._live: LiveDiarizer | None = None

    def hear(self, samples: np.ndarray) -> list[Message]:
        if self._live is None:
            self._live = self._predictor.diarize_live(within=self._asked.within or None)
        return _turns(self._live.hear(self._resampler.resample_chunk(samples)))

    def end(self) -> list[Message]:
        if self._live is None:
            return []
        rest = self._resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        return _turns(self._live.hear(rest)) + _turns(self._live.end())


def _turns(told: Iterator[LiveTurn]) -> list[Message]:
    return [{"type": "turn", **each.to_dict()} for each in told]


class _Verdict:
    """Of all sound so far, up to half a minute, taken as one clip of one person."""

    def __init__(self, predictor: MVectorPredictor, asked: StreamQuery, purpose: Purpose) -> None:
        self._predictor, self._asked, self._purpose = predictor, asked, purpose
        self._samples: list[np.ndarray] = []
        self._num_samples, self._most = 0, round(_LONGEST_S * asked.rate)
        self._last: tuple[str, str | None] | None = None
        self._times, self._end_s = 0, 0.0
        self.same: bool | None = None

    def add(self, samples: np.ndarray) -> None:
        if self.same is None and self._num_samples < self._most:
            self._samples.append(samples[: self._most - self._num_samples])
            self._num_samples += len(self._samples[-1])

    def look(
        self, *, speech_s: float = 0.0, end_s: float | None = None, is_last: bool = False
    ) -> list[Message]:
        """The verdict, if it is certain, or the last word."""
        self._end_s = self._end_s if end_s is None else end_s
        if self.same is not None or not self._samples:
            return []
        if not is_last and (speech_s < self._asked.min_speech_s or self._end_s > _LONGEST_S):
            return []
        try:
            found = self._ask()
        except AudioError:  # silence, or less than the model can use
            return []
        answer = found.decision.answer, found.name
        self._times = self._times + 1 if answer == self._last else 1
        self._last = answer
        is_certain = answer[0] != "cannot tell" and self._times >= _TIMES_ALIKE
        if not (is_certain or is_last):
            return []
        self.same = found.decision.same
        self._samples = []
        self._record(found)
        return [self._told(found, is_certain)]

    def _ask(self) -> Recognition | Verification:
        clip, asked = (np.concatenate(self._samples), self._asked.rate), self._asked
        if asked.person is not None:
            return self._predictor.verify(
                [clip], asked.person, purpose=self._purpose, is_recorded=False
            )
        return self._predictor.recognition(
            clip, top_k=asked.top_k, within=asked.within or None, is_recorded=False
        )

    def _record(self, found: Recognition | Verification) -> None:
        decision = found.decision
        action = "recognition"
        if isinstance(found, Verification):
            action = f"verification: {decision.answer}"
        self._predictor.library.record(action, found.name, decision.score)

    def _told(self, found: Recognition | Verification, is_certain: bool) -> Message:
        told: Message = {"type": "verdict", "time_s": round(self._end_s, 2), "certain": is_certain}
        told["quality"] = quality(found.quality).model_dump()
        if isinstance(found, Recognition):
            return {**told, **_named(found)}
        return {
            **told,
            **verdict(found.decision),
            "name": found.name,
            "verified": found.decision.same,
            "purpose": self._purpose,
            "warning": NOT_DETECTED,
        }
