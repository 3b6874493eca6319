"""What the predictor is given, checked at its door."""

from __future__ import annotations

import numbers
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mvector.audio import AudioLimits, AudioSource, ChannelOf
from mvector.audio.clip_report import QualityLimits
from mvector.audio.samples import is_samples
from mvector.embedding.listening import Listening
from mvector.errors import MVectorError


def _is_path(value: Any) -> bool:
    return value is None or (isinstance(value, (str, os.PathLike)) and value != "")


def is_number(value: Any) -> bool:
    """Whether a value is a real number, of any type."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and int(value) >= 1


def _are_clips(value: Any) -> bool:
    """A list or tuple; or rows of samples."""
    is_one = isinstance(value, (str, bytes, bytearray, memoryview))
    return (isinstance(value, Sequence) and not is_one) or getattr(value, "ndim", 0) > 1


def _is_optional(kind: type) -> Callable[[Any], bool]:
    return lambda value: value is None or isinstance(value, kind)


# Each argument by its name: whether a value can be one, and what to give.
_ARGUMENTS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "model_path": (_is_path, "the path of a model folder"),
    "audio_db_path": (_is_path, "the path of a folder, or an address"),
    "listening": (_is_optional(Listening), "a Listening"),
    "limits": (_is_optional(AudioLimits), "AudioLimits"),
    "quality": (lambda value: isinstance(value, QualityLimits), "QualityLimits"),
    "enrolment_floor": (lambda value: isinstance(value, QualityLimits), "QualityLimits"),
    "library_options": (_is_optional(Mapping), "a dict of arguments of SpeakerLibrary"),
    "audios": (_are_clips, "a list of clips"),
    "sample_rate": (lambda value: value is None or _is_count(value), "a whole number of Hz"),
    "batch_size": (_is_count, "a whole number from 1 up"),
    "score": (is_number, "a cosine"),
    "top_k": (_is_count, "a whole number from 1 up"),
    "within": (_is_optional(Iterable), "a list of groups"),
}


def check_arguments(**given: Any) -> None:
    """Refuse arguments of the wrong kind, before any work is done.

    Raises:
        MVectorError: there is one; the message names it, its value and what to give.
    """
    for name, value in given.items():
        fits, cure = _ARGUMENTS[name]
        if not fits(value):
            shown = " ".join(repr(value).split())
            shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
            raise MVectorError(f"{name} is {shown}; give {cure}.")


def with_rate(audio: AudioSource, sample_rate: int | None) -> AudioSource:
    """A clip with the rate of its samples in Hz, where it is samples and tells none.

    Raises:
        MVectorError: there can be no such rate.
    """
    check_arguments(sample_rate=sample_rate)
    if sample_rate is None:
        return audio
    if isinstance(audio, ChannelOf):
        return replace(audio, source=with_rate(audio.source, sample_rate))
    return (audio, int(sample_rate)) if is_samples(audio) else audio  # type: ignore[return-value]
