"""Clips to embeddings."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mvector.audio import AudioLimits
from mvector.audio.channels import Channel
from mvector.audio.clip_report import ClipReport
from mvector.embedding.inference import NO_DIRECTION, Inference, Precision, embed_long
from mvector.embedding.listening import Clip, Listening, LongClip, clip_name
from mvector.embedding.measuring import Measures
from mvector.embedding.onnx_inference import OnnxInference
from mvector.embedding.reading import ClipAudio, ReadClip, length_sorted_batches, read_ahead
from mvector.errors import AudioError, MVectorError
from mvector.models.description import ModelInfo
from mvector.models.engine import Engine, load_model
from mvector.models.onnx_model import OnnxModel
from mvector.progress import progress_bar

if TYPE_CHECKING:
    import torch

    from mvector.models.speaker_model import SpeakerModel

# Clips decoded ahead are sorted by length, so that those of one batch need little padding.
_BATCHES_AHEAD = 16
_MAX_BATCH_S = 320.0  # of audio with its padding computed at once
_MAX_READERS = 4


@dataclass(frozen=True)
class EmbeddedClips:
    """Embeddings of those clips that could be read.

    Attributes:
        embeddings: ``(good clips, embd_dim)`` float32, in the order of ``good``.
        good: ``(good clips,)`` positions in the list that was given.
        failures: position and reason of each clip left out.
        reports: how good each clip of ``good`` is, if that was asked for.
    """

    embeddings: np.ndarray
    good: np.ndarray
    failures: list[tuple[int, str]]
    reports: list[ClipReport] | None = None


class SpeakerEncoder:
    """A trained model that turns clips into embeddings.

    A clip's embedding depends on model and listening alone, and not on the clips beside it in a
    batch. That of a clip longer than a window is the mean direction of the windows' embeddings,
    weighted by what is heard of each, with the windows' mean length. Safe in several threads.

    Args:
        model: front end and backbone, for the engine that it is made for.
        info: what the model's folder says of it, if it comes from one.
        device: where a model of torch computes; ``None`` is a GPU if there is one.
        listening: how much of clips is heard; ``None`` is what the folder says.
        precision: ``bfloat16`` is faster where the hardware has it, and for models of torch.

    Raises:
        MVectorError: less of clips would be heard than the model takes, or there is no bfloat16.
    """

    def __init__(
        self,
        model: SpeakerModel | OnnxModel,
        info: ModelInfo | None = None,
        device: torch.device | str | None = None,
        listening: Listening | None = None,
        precision: Precision = "float32",
    ) -> None:
        self.model, self.info = model, info
        self.listening = listening or Listening.from_dict(info.listening if info else None)
        least_s = model.front_end.min_duration
        if min(self.listening.window_s, self.listening.max_duration_s or least_s) < least_s:
            raise MVectorError(
                f"Of clips would be heard: {self.listening}; the model takes none of less than "
                f"{least_s:g} s. Give a longer duration."
            )
        self._inference = _inference_of(model, device, precision)

    @classmethod
    def from_folder(
        cls,
        path: str | os.PathLike[str],
        device: torch.device | str | None = None,
        listening: Listening | None = None,
        engine: Engine = "auto",
        precision: Precision = "float32",
    ) -> SpeakerEncoder:
        """Load a model folder; ``listening`` takes the place of the folder's.

        What the other arguments mean, and what can go wrong, says
        :func:`mvector.models.engine.load_model`.
        """
        if engine == "auto" and precision != "float32":
            engine = "torch"
        model, info = load_model(path, engine, device)
        return cls(model, info, device, listening, precision)

    def with_limits(self, limits: AudioLimits) -> SpeakerEncoder:
        """The same model and inference, with other bounds on the clips that are accepted."""
        other = copy(self)
        other.listening = replace(self.listening, limits=limits)
        return other

    def compute_through(self, wrap: Callable[[Inference], Inference]) -> None:
        """Let what ``wrap`` makes of the inference compute from now on, before clips are embedded.

        A service gathers the clips of several callers in it.
        """
        self._inference = wrap(self._inference)

    @property
    def fingerprint(self) -> str:
        """Ties embeddings to model and listening; that of torch is of the weights as they are.

        With the default listening, it is the model's own.
        """
        return self._inference.fingerprint + self.listening.suffix

    @property
    def embd_dim(self) -> int:
        """Size of the embeddings."""
        return self.model.embd_dim

    @property
    def sample_rate(self) -> int:
        """Rate in Hz at which the model hears."""
        return self.model.front_end.sample_rate

    @property
    def channel(self) -> Channel:
        """Which channel the model hears of clips with several."""
        return self.model.front_end.channel

    def embed(self, clip: Clip, *, measures: Measures | None = None) -> np.ndarray:
        """Embedding of one clip: float32 of shape ``(embd_dim,)``, not length-normalised.

        Args:
            clip: a source, or files that are heard as one.
            measures: are taken of the decoded samples, pauses included.

        Raises:
            AudioError: the clip cannot be decoded, is too short or silent.
        """
        audio = self.listening.read(self.model.front_end, clip, measures=measures)
        with self._inference.evaluation_mode():
            if isinstance(audio, LongClip):
                return embed_long(self._inference, audio)
            embedding = self._inference.begin([audio])()[0]
        if not (np.isfinite(embedding).all() and embedding.any()):
            raise AudioError(f"{clip_name(clip)} {NO_DIRECTION}")
        return embedding

    def embed_measured(self, clip: Clip) -> tuple[np.ndarray, ClipReport]:
        """What :meth:`embed` gives of a clip, and how good the clip is."""
        measures = self._measures()
        embedding = self.embed(clip, measures=measures)
        return embedding, measures.report()

    def measure(self, clip: Clip) -> ClipReport:
        """How good a clip is, of what the model hears of it, without its embedding.

        Raises:
            AudioError: the clip cannot be decoded, is too short or silent.
        """
        measures = self._measures()
        for _ in self.listening.windows(self.model.front_end, clip, measures=measures):
            pass
        return measures.report()

    def measure_batch(self, clips: Sequence[Clip]) -> list[ClipReport]:
        """What :meth:`measure` gives of many clips, decoded several at a time.

        Raises:
            AudioError: a clip cannot be used; the message names the first one.
        """
        with ThreadPoolExecutor(max_workers=min(_MAX_READERS, os.cpu_count() or 1)) as pool:
            return list(pool.map(self.measure, clips))

    def _measures(self) -> Measures:
        return Measures(self.sample_rate, self.model.front_end.min_duration)

    def embed_batch(
        self, clips: Sequence[Clip], *, batch_size: int = 16, progress: bool = False
    ) -> np.ndarray:
        """Embeddings of many clips of any lengths: float32 of shape ``(clips, embd_dim)``.

        Raises:
            AudioError: a clip cannot be used; the message names the first one.
        """
        table = self.embed_readable(clips, batch_size=batch_size, progress=progress)
        if table.failures:
            raise AudioError(min(table.failures)[1])
        return table.embeddings

    def embed_readable(
        self,
        clips: Sequence[Clip],
        *,
        batch_size: int = 16,
        measured: bool = False,
        progress: bool = False,
    ) -> EmbeddedClips:
        """Embeddings of those clips that can be read; the others are listed with the reason.

        Args:
            clips: decoded a few batches ahead, so memory does not grow with their number.
            batch_size: clips computed at once.
            measured: report on the quality of each clip too.
            progress: show a bar.
        """
        measures = [self._measures() for _ in clips] if measured else []

        def read(position: int) -> ClipAudio:
            own = measures[position] if measured else None
            return self.listening.read(self.model.front_end, clips[position], measures=own)

        embeddings = np.zeros((len(clips), self.embd_dim), dtype=np.float32)
        is_good = np.zeros(len(clips), dtype=bool)
        failures: list[tuple[int, str]] = []
        names = [clip_name(clip) for clip in clips]
        with progress_bar(total=len(clips), desc="Embedding", unit="clip", show=progress) as bar:
            for batch in self.embed_stream(names, read, batch_size=batch_size):
                embeddings[batch.good] = batch.embeddings
                is_good[batch.good] = True
                failures += batch.failures
                bar.update(len(batch.good) + len(batch.failures))
        good = np.flatnonzero(is_good)
        reports = [measures[position].report() for position in good] if measured else None
        return EmbeddedClips(embeddings[is_good], good, failures, reports)

    def embed_stream(
        self, names: Sequence[str], read: Callable[[int], ClipAudio], *, batch_size: int = 16
    ) -> Iterator[EmbeddedClips]:
        """Embeddings batch by batch, while the next clips are read in other threads.

        Args:
            names: how messages call each clip.
            read: hears a clip by its position; called in several threads. What it raises makes
                the clip a failure.
            batch_size: clips computed at once.

        Yields:
            Clips of similar length, in no particular order, each once; positions are those in
            ``names``.
        """
        most_samples = round(_MAX_BATCH_S * self.sample_rate)
        pending: tuple[list[int], Callable[[], np.ndarray]] | None = None
        with self._inference.evaluation_mode():
            for group in read_ahead(names, read, batch_size * _BATCHES_AHEAD):
                yield self._failures_and_long_clips(group)
                clips = [(k, clip) for k, clip in group if isinstance(clip, np.ndarray)]
                for part in length_sorted_batches(clips, batch_size, most_samples):
                    batch = self._inference.begin([clip for _, clip in part])
                    if pending is not None:  # a GPU computes one batch while another is fetched
                        yield _fetch_batch(*pending, names)
                    pending = [position for position, _ in part], batch
            if pending is not None:
                yield _fetch_batch(*pending, names)

    def _failures_and_long_clips(self, group: list[ReadClip]) -> EmbeddedClips:
        """Those of a group that go into no batch: failures, and long clips one by one."""
        good, embeddings, failures = [], [], []
        for position, clip in group:
            if isinstance(clip, LongClip):
                try:
                    embeddings.append(embed_long(self._inference, clip))
                    good.append(position)
                except MVectorError as error:
                    failures.append((position, str(error)))
            elif isinstance(clip, MVectorError):
                failures.append((position, str(clip)))
        table = np.array(embeddings, dtype=np.float32).reshape(len(good), self.embd_dim)
        return EmbeddedClips(table, np.array(good, dtype=np.int64), failures)


def _inference_of(
    model: SpeakerModel | OnnxModel, device: torch.device | str | None, precision: Precision
) -> Inference:
    if isinstance(model, OnnxModel):
        if precision != "float32":
            raise MVectorError(
                f"The engine onnx does not compute in {precision}: choose the engine torch."
            )
        return OnnxInference(model)
    from mvector.embedding.torch_inference import TorchInference  # imports torch

    return TorchInference(model, device, precision)


def _fetch_batch(
    positions: list[int], batch: Callable[[], np.ndarray], names: Sequence[str]
) -> EmbeddedClips:
    """A batch that has been computed, without embeddings that have no direction."""
    embeddings = batch()
    power = np.einsum("ij,ij->i", embeddings, embeddings, dtype=np.float64)
    is_good = np.isfinite(power) & (power > 0)
    failures = [
        (positions[row], f"{names[positions[row]]} {NO_DIRECTION}")
        for row in np.flatnonzero(~is_good)
    ]
    return EmbeddedClips(embeddings[is_good], np.array(positions)[is_good], failures)
