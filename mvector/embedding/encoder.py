"""Clips to embeddings."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from mvector.audio import AudioLimits, AudioSource, source_name
from mvector.audio.clip_report import ClipReport, combine_reports, report_on
from mvector.audio.limits import DEFAULT_LIMITS
from mvector.compute.device import choose_device
from mvector.embedding.reading import Clip, LongClip, read_ahead, read_clip
from mvector.errors import AudioError, MVectorError
from mvector.models.folder import ModelInfo, load_model_folder
from mvector.models.speaker_model import SpeakerModel

# Clips decoded ahead are sorted by length, so that those of one batch need little padding.
_BATCHES_AHEAD = 16
_NO_DIRECTION = "gives an embedding that is zero or not finite."
_MOST_BATCH_S = 320.0  # of audio with its padding computed at once


@dataclass(frozen=True)
class EmbeddedClips:
    """Embeddings of those clips that could be read.

    Attributes:
        embeddings: ``(good clips, embd_dim)`` float32, in the order of ``good``.
        good: ``(good clips,)`` positions in the list that was given.
        failures: position and reason of each clip left out.
    """

    embeddings: np.ndarray
    good: np.ndarray
    failures: list[tuple[int, str]]


class SpeakerEncoder:
    """A trained model that turns clips into embeddings.

    A clip's embedding does not depend on the clips beside it in a batch. Clips longer than 30 s are
    heard in windows of 30 s; theirs is the mean direction of the windows' embeddings, weighted by
    what is heard of each, with the windows' mean length. Embedding is safe in several threads.

    Args:
        model: front end and backbone.
        info: what the model's folder says of it, if it comes from one.
        device: where to compute; ``None`` is a GPU if there is one.

    Attributes:
        limits: bounds that clips are held to, see :class:`mvector.audio.AudioLimits`.
    """

    def __init__(
        self,
        model: SpeakerModel,
        info: ModelInfo | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        self.device = choose_device() if device is None else torch.device(device)
        self.model = model.to(self.device)
        self.info = info
        self.limits: AudioLimits = DEFAULT_LIMITS
        self._mode_lock = threading.Lock()
        self._num_evaluating = 0
        self._in_training: list[torch.nn.Module] = []

    @classmethod
    def from_folder(
        cls, path: str | os.PathLike[str], device: torch.device | str | None = None
    ) -> SpeakerEncoder:
        """Load a model folder.

        Raises:
            CheckpointError: the folder is missing or damaged.
        """
        model, info = load_model_folder(Path(path))
        return cls(model, info, device)

    @property
    def embd_dim(self) -> int:
        """Size of the embeddings."""
        return self.model.embd_dim

    @property
    def sample_rate(self) -> int:
        """Rate in Hz at which the model hears."""
        return self.model.front_end.sample_rate

    def embed(self, source: AudioSource) -> np.ndarray:
        """Embedding of one clip: float32 of shape ``(embd_dim,)``, not length-normalised.

        Raises:
            AudioError: the clip cannot be decoded, is too short or silent.
        """
        return self._embed(source, lambda window: None)

    def embed_measured(self, source: AudioSource) -> tuple[np.ndarray, ClipReport]:
        """Embedding of one clip as :meth:`embed` gives it, and how good the clip is.

        Raises:
            AudioError: the clip cannot be decoded, is too short or silent.
        """
        reports: list[ClipReport] = []
        embedding = self._embed(source, self._reporting(reports))
        return embedding, combine_reports(reports)

    def measure(self, source: AudioSource) -> ClipReport:
        """How good a clip is, without its embedding.

        Raises:
            AudioError: the clip cannot be decoded, is too short or silent.
        """
        reports: list[ClipReport] = []
        front_end, look = self.model.front_end, self._reporting(reports)
        clip = read_clip(front_end, source, self.limits, look)
        if isinstance(clip, LongClip):
            for _ in clip.usable(front_end, look):
                pass
        return combine_reports(reports)

    def _reporting(self, reports: list[ClipReport]) -> Callable[[np.ndarray], None]:
        """What sees the windows of a clip and reports on each."""
        rate = self.sample_rate
        least = round(self.model.front_end.min_duration * rate)  # a shorter clip is refused anyway

        def look(window: np.ndarray) -> None:
            if len(window) >= least:
                reports.append(report_on(window, rate))

        return look

    def _embed(self, source: AudioSource, look: Callable[[np.ndarray], None]) -> np.ndarray:
        clip = read_clip(self.model.front_end, source, self.limits, look)
        with self._evaluating():
            if isinstance(clip, LongClip):
                return self._embed_long(clip, look)
            embedding = self._forward([clip]).float().cpu().numpy()[0]
        if not (np.isfinite(embedding).all() and embedding.any()):
            raise AudioError(f"{source_name(source)} {_NO_DIRECTION}")
        return embedding

    def _embed_long(self, clip: LongClip, look: Callable[[np.ndarray], None]) -> np.ndarray:
        """Mean direction of the windows, weighted by their samples, with their mean length."""
        direction, length, num_samples = np.zeros(self.embd_dim), 0.0, 0
        for window in clip.usable(self.model.front_end, look):
            embedding = self._forward([window]).double().cpu().numpy()[0]
            norm = float(np.linalg.norm(embedding))
            if not 0 < norm < np.inf:
                continue
            direction += len(window) * embedding / norm
            length += len(window) * norm
            num_samples += len(window)
        norm = float(np.linalg.norm(direction))
        if not norm > 0:
            raise AudioError(f"{clip.name} {_NO_DIRECTION}")
        return (direction * (length / num_samples / norm)).astype(np.float32)

    def embed_batch(
        self, sources: Sequence[AudioSource], *, batch_size: int = 16, progress: bool = False
    ) -> np.ndarray:
        """Embeddings of many clips of any lengths: float32 of shape ``(clips, embd_dim)``.

        Raises:
            AudioError: a clip cannot be used; the message names the first one.
        """
        table = self.embed_readable(sources, batch_size=batch_size, progress=progress)
        if table.failures:
            raise AudioError(min(table.failures)[1])
        return table.embeddings

    def embed_readable(
        self,
        sources: Sequence[AudioSource],
        *,
        batch_size: int = 16,
        max_duration_s: float | None = None,
        progress: bool = False,
    ) -> EmbeddedClips:
        """Embeddings of those clips that can be read; the others are listed with the reason.

        Args:
            sources: clips, decoded a few batches ahead, so memory does not grow with their number.
            batch_size: clips computed at once.
            max_duration_s: hear only the beginning of longer clips.
            progress: show a bar over the clips.
        """

        front_end = self.model.front_end

        def read(position: int) -> Clip:
            if max_duration_s is None:
                return read_clip(front_end, sources[position], self.limits, lambda window: None)
            return front_end.read_clip(sources[position], max_duration_s=max_duration_s)

        embeddings = np.zeros((len(sources), self.embd_dim), dtype=np.float32)
        is_good = np.zeros(len(sources), dtype=bool)
        failures: list[tuple[int, str]] = []
        names = [source_name(source) for source in sources]
        with tqdm(total=len(sources), unit="clip", disable=not progress) as bar:
            for batch in self.embed_stream(names, read, batch_size=batch_size):
                embeddings[batch.good] = batch.embeddings
                is_good[batch.good] = True
                failures += batch.failures
                bar.update(len(batch.good) + len(batch.failures))
        return EmbeddedClips(embeddings[is_good], np.flatnonzero(is_good), failures)

    def embed_stream(
        self, names: Sequence[str], read: Callable[[int], Clip], *, batch_size: int = 16
    ) -> Iterator[EmbeddedClips]:
        """Embeddings batch by batch, while the next clips are read in other threads.

        Args:
            names: how messages call each clip.
            read: gives the samples of a clip by its position; called in several threads. What it
                raises makes the clip a failure.
            batch_size: clips computed at once.

        Yields:
            Clips of similar length, in no particular order, each once; positions are those in
            ``names``.
        """
        under_way: tuple[list[int], torch.Tensor] | None = None
        with self._evaluating():
            for group in read_ahead(names, read, batch_size * _BATCHES_AHEAD):
                yield self._exceptional(group)
                clips = [(k, clip) for k, clip in group if isinstance(clip, np.ndarray)]
                for part in _batches(clips, batch_size, round(_MOST_BATCH_S * self.sample_rate)):
                    batch = self._forward([clip for _, clip in part])
                    if under_way is not None:  # a GPU computes one batch while another is fetched
                        yield _fetched(*under_way, names)
                    under_way = [position for position, _ in part], batch
            if under_way is not None:
                yield _fetched(*under_way, names)

    def _exceptional(self, group: list[tuple[int, Clip | MVectorError]]) -> EmbeddedClips:
        """Those of a group that are no matter for a batch: failures, and long clips one by one."""
        good, embeddings, failures = [], [], []
        for position, clip in group:
            if isinstance(clip, LongClip):
                try:
                    embeddings.append(self._embed_long(clip, lambda window: None))
                    good.append(position)
                except MVectorError as error:
                    failures.append((position, str(error)))
            elif isinstance(clip, MVectorError):
                failures.append((position, str(clip)))
        table = np.array(embeddings, dtype=np.float32).reshape(len(good), self.embd_dim)
        return EmbeddedClips(table, np.array(good, dtype=np.int64), failures)

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """The model in evaluation mode, until the last of several threads is done with it."""
        with self._mode_lock:
            if self._num_evaluating == 0:
                self._in_training = [part for part in self.model.modules() if part.training]
                if self._in_training:
                    self.model.eval()
            self._num_evaluating += 1
        try:
            yield
        finally:
            with self._mode_lock:
                self._num_evaluating -= 1
                if self._num_evaluating == 0:
                    for part in self._in_training:
                        part.training = True

    @torch.inference_mode()
    def _forward(self, clips: list[np.ndarray]) -> torch.Tensor:
        """Embeddings ``(clips, embd_dim)``, on the device."""
        lengths = [len(clip) for clip in clips]
        waveforms = np.zeros((len(clips), max(lengths)), dtype=np.float32)
        for row, clip in enumerate(clips):
            waveforms[row, : len(clip)] = clip
        ragged = min(lengths) < max(lengths)
        return self.model(
            torch.from_numpy(waveforms).to(self.device),
            torch.tensor(lengths, device=self.device) if ragged else None,
        )


def _fetched(positions: list[int], batch: torch.Tensor, names: Sequence[str]) -> EmbeddedClips:
    """A batch brought from the device, without embeddings that have no direction."""
    embeddings = batch.float().cpu().numpy()
    power = np.einsum("ij,ij->i", embeddings, embeddings, dtype=np.float64)
    is_good = np.isfinite(power) & (power > 0)
    failures = [
        (positions[row], f"{names[positions[row]]} {_NO_DIRECTION}")
        for row in np.flatnonzero(~is_good)
    ]
    return EmbeddedClips(embeddings[is_good], np.array(positions)[is_good], failures)


def _batches(
    clips: list[tuple[int, np.ndarray]], batch_size: int, most_samples: int
) -> Iterator[list[tuple[int, np.ndarray]]]:
    """Clips of similar length together, no more than so many samples with the padding."""
    clips.sort(key=lambda item: len(item[1]))
    part: list[tuple[int, np.ndarray]] = []
    for item in clips:
        if part and (len(part) == batch_size or (len(part) + 1) * len(item[1]) > most_samples):
            yield part
            part = []
        part.append(item)
    if part:
        yield part
