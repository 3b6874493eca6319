"""How much of a clip is heard, and in which windows: one policy for all embeddings."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, TypeAlias, cast

import numpy as np

from mvector.audio import AudioLimits, AudioSource, audio_windows, source_name
from mvector.audio.limits import DEFAULT_LIMITS
from mvector.audio.samples import cut_windows, first_samples
from mvector.data.packed import PackedClip
from mvector.embedding.measuring import Measures
from mvector.errors import AudioError, CheckpointError, MVectorError
from mvector.features.front_end import FrontEnd

logger = logging.getLogger(__name__)

#: What an embedding is computed of: one source, a clip of a packed corpus, or several files that
#: are heard one behind the other.
Clip: TypeAlias = "AudioSource | PackedClip | tuple[str, ...]"

FileSkippedHook: TypeAlias = Callable[[], None]


@dataclass(frozen=True)
class LongClip:
    """A clip of more than one window.

    Attributes:
        windows: float32 ``(samples,)`` each, decoded as they are asked for; once.
        name: how messages call the clip.
    """

    windows: Iterator[np.ndarray]
    name: str


@dataclass(frozen=True)
class Listening:
    """How much of a clip is heard, and in which windows.

    It is part of what an embedding is, like the model, and stands in the model folder beside the
    thresholds that were measured with it. Clips are decoded and, where the front end drops digital
    silence or pauses, freed of them window by window, and no further than needed: memory does not
    grow with their length.

    Attributes:
        max_duration_s: only the beginning of longer files is heard, in seconds, without what the
            front end drops; ``None`` hears all.
        window_s: what is heard is cut into windows of so many seconds, each with an embedding.
        limits: bounds that files are held to. A matter of the machine and not of the embedding:
            they are neither compared nor written.

    Raises:
        MVectorError: a duration is not positive.
    """

    max_duration_s: float | None = None
    window_s: float = 30.0
    limits: AudioLimits = field(default=DEFAULT_LIMITS, compare=False)

    def __post_init__(self) -> None:
        for name, value in self.to_dict().items():
            if value is None and name == "max_duration_s":
                continue
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not (is_number and 0 < value < math.inf):
                raise MVectorError(f"{name} is {value!r}; it must be a duration in seconds.")

    def __str__(self) -> str:
        heard = "all of a clip"
        if self.max_duration_s is not None:
            heard = f"the first {self.max_duration_s:g} s of a clip"
        return f"{heard}, in windows of {self.window_s:g} s"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for YAML."""
        return {"window_s": self.window_s, "max_duration_s": self.max_duration_s}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any] | None) -> Listening:
        """What :meth:`to_dict` gave; the default for folders that say nothing of it.

        Raises:
            CheckpointError: a value is wrong or unknown.
        """
        known = cls()
        try:
            unknown = {*(values or {})} - {*known.to_dict()}
            if unknown:
                raise MVectorError(f"the key '{unknown.pop()}' is unknown.")
            return replace(known, **(values or {}))
        except (TypeError, MVectorError) as error:
            raise CheckpointError(
                f"'listening' of the model folder cannot be used: {error} Mend it in model.yml, or "
                "update mvector."
            ) from error

    def with_duration(self, max_duration_s: float | None) -> Listening:
        """This with another duration: ``None`` is no choice and changes nothing, inf hears all."""
        if max_duration_s is None:
            return self
        all_of_it = max_duration_s == math.inf
        return replace(self, max_duration_s=None if all_of_it else max_duration_s)

    @property
    def suffix(self) -> str:
        """What tells embeddings of this policy from those of the default one, which has none."""
        first = "" if self.max_duration_s is None else f"-first{self.max_duration_s:g}s"
        return first + ("" if self.window_s == Listening.window_s else f"-window{self.window_s:g}s")

    def read(
        self,
        front_end: FrontEnd,
        clip: Clip,
        *,
        measures: Measures | None = None,
        on_file_skipped: FileSkippedHook | None = None,
    ) -> np.ndarray | LongClip:
        """A clip of up to one window as samples, and a longer one to be decoded further.

        The arguments and errors are those of :meth:`windows`.
        """
        windows = self.windows(front_end, clip, measures=measures, on_file_skipped=on_file_skipped)
        first = next(windows)
        second = next(windows, None)
        if second is None:
            return first
        return LongClip(chain((first, second), windows), clip_name(clip))

    def windows(
        self,
        front_end: FrontEnd,
        clip: Clip,
        *,
        measures: Measures | None = None,
        on_file_skipped: FileSkippedHook | None = None,
    ) -> Iterator[np.ndarray]:
        """What the model hears of a clip, window by window.

        Windows that are silent, and a rest that is too short, are passed over.

        Args:
            front_end: of the model.
            clip: one source; or several files, of which those that can be used are heard one
                behind the other.
            measures: are taken of the decoded samples, pauses included.
            on_file_skipped: is called where a file of several is not heard; the log says why.

        Yields:
            float32 ``(samples,)`` at the front end's rate; at least one window.

        Raises:
            AudioError: the clip cannot be decoded, is too short or silent, or holds no speech.
        """
        sources, name = _clip_sources(clip), clip_name(clip)
        dropped: list[int] = []
        if len(sources) > 1:
            chunks = self._windows_of_files(front_end, sources, measures, on_file_skipped)
        else:
            chunks = self._speech_of_source(front_end, sources[0], name, measures, dropped)
        windows = cut_windows(chunks, round(self.window_s * front_end.sample_rate))

        def check(window: np.ndarray) -> np.ndarray:
            return front_end.check_clip(window, name, num_dropped=sum(dropped))

        yield from _skip_refused(windows, check, name)

    def _speech_of_source(
        self,
        front_end: FrontEnd,
        source: AudioSource,
        name: str,
        measures: Measures | None,
        dropped: list[int],
    ) -> Iterator[np.ndarray]:
        """What is heard of one source, in chunks of up to one window.

        The sum of ``dropped`` is the number of samples left out so far.
        """
        most, rate = self.max_duration_s, front_end.sample_rate
        drops = front_end.drop_silence or front_end.do_vad
        decoded = audio_windows(
            source,
            rate,
            window_s=self.window_s,
            duration_s=None if drops else most,
            channel=front_end.channel,
            mono_as_is=True,
            on_choice=None if measures is None else measures.add_choice,
            limits=self.limits,
        )

        def speech_of(samples: np.ndarray) -> np.ndarray:
            if measures is not None:
                measures.add_samples(samples)
            dropped.append(len(samples))  # a window that is refused is dropped altogether
            heard = front_end.speech(samples, name)
            dropped.append(-len(heard))
            return heard

        speech = _skip_refused(decoded, speech_of, name)
        return speech if most is None else first_samples(speech, round(most * rate))

    def _windows_of_files(
        self,
        front_end: FrontEnd,
        files: Sequence[AudioSource],
        measures: Measures | None,
        on_file_skipped: FileSkippedHook | None,
    ) -> Iterator[np.ndarray]:
        """Windows of several files; the rest of one that fails is left out."""
        failures: list[MVectorError] = []
        for file in files:
            try:
                yield from self.windows(front_end, file, measures=measures)
            except MVectorError as error:
                failures.append(error)
        if len(failures) == len(files):
            raise failures[0]
        for failure in failures:
            logger.warning("Left out: %s", failure)
            if on_file_skipped is not None:
                on_file_skipped()


def clip_name(clip: Clip) -> str:
    """How messages call a clip; several files are called by the first."""
    if isinstance(clip, PackedClip):
        return f"'{clip.path}'"
    return source_name(_clip_sources(clip)[0])


def _clip_sources(clip: Clip) -> Sequence[AudioSource]:
    """The files of a clip that is made of several, or the one source."""
    if isinstance(clip, PackedClip):
        return [(clip.corpus.rows(clip.index), clip.corpus.sample_rate)]
    are_files = isinstance(clip, tuple) and all(isinstance(p, (str, os.PathLike)) for p in clip)
    if are_files and clip:
        return cast("tuple[str, ...]", clip)
    return [cast("AudioSource", clip)]


def _skip_refused(
    chunks: Iterator[np.ndarray], take: Callable[[np.ndarray], np.ndarray], name: str
) -> Iterator[np.ndarray]:
    """What ``take`` makes of the chunks that it does not refuse.

    Raises:
        AudioError: it refuses all, or there are none.
    """
    found, refused = False, AudioError(f"{name} holds no samples.")
    for samples in chunks:
        try:
            taken = take(samples)
        except AudioError as error:
            refused = error
            continue
        found = True
        yield taken
    if not found:
        raise refused
