"""Clips to embeddings."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from mvector.audio import AudioSource, source_name
from mvector.device import choose_device
from mvector.errors import AudioError, MVectorError
from mvector.models.folder import ModelInfo, load_model_folder
from mvector.models.speaker_model import SpeakerModel

# Clips decoded ahead are sorted by length, so that those of one batch need little padding.
_BATCHES_AHEAD = 16
_MOST_READERS = 4


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

    A clip's embedding does not depend on the clips beside it in a batch.

    Args:
        model: front end and backbone.
        info: what the model's folder says of it, if it comes from one.
        device: where to compute; ``None`` is a GPU if there is one.
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
        clip = self.model.front_end.read_clip(source)
        with self._evaluating():
            return self._forward([clip]).float().cpu().numpy()[0]

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

        def read(position: int) -> np.ndarray:
            return self.model.front_end.read_clip(sources[position], max_duration_s=max_duration_s)

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
        self, names: Sequence[str], read: Callable[[int], np.ndarray], *, batch_size: int = 16
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
            for group in _read_ahead(names, read, batch_size * _BATCHES_AHEAD):
                bad = [(position, str(c)) for position, c in group if isinstance(c, MVectorError)]
                clips = [(position, c) for position, c in group if not isinstance(c, MVectorError)]
                clips.sort(key=lambda item: len(item[1]))
                if bad:
                    nothing = np.zeros((0, self.embd_dim), dtype=np.float32)
                    yield EmbeddedClips(nothing, np.zeros(0, dtype=np.int64), bad)
                for start in range(0, len(clips), batch_size):
                    positions = [position for position, _ in clips[start : start + batch_size]]
                    batch = self._forward([clip for _, clip in clips[start : start + batch_size]])
                    if under_way is not None:  # a GPU computes one batch while another is fetched
                        yield _fetched(*under_way, names)
                    under_way = positions, batch
            if under_way is not None:
                yield _fetched(*under_way, names)

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        training = [module for module in self.model.modules() if module.training]
        self.model.eval()
        try:
            yield
        finally:
            for module in training:
                module.training = True

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
        (positions[row], f"{names[positions[row]]} gives an embedding that is zero or not finite.")
        for row in np.flatnonzero(~is_good)
    ]
    return EmbeddedClips(embeddings[is_good], np.array(positions)[is_good], failures)


def _read_ahead(
    names: Sequence[str], read: Callable[[int], np.ndarray], group_size: int
) -> Iterator[list[tuple[int, np.ndarray | MVectorError]]]:
    """Clips group by group; one group is read while the one before it is in use."""

    def attempt(position: int) -> tuple[int, np.ndarray | MVectorError]:
        try:
            return position, read(position)
        except MVectorError as error:
            return position, error
        except (OSError, ValueError) as error:
            return position, AudioError(f"{names[position]} cannot be used: {error}.")

    pool = ThreadPoolExecutor(max_workers=min(_MOST_READERS, os.cpu_count() or 1))

    def begin(start: int) -> list[Future[tuple[int, np.ndarray | MVectorError]]]:
        stop = min(start + group_size, len(names))
        return [pool.submit(attempt, position) for position in range(start, stop)]

    try:
        coming = begin(0)
        for start in range(0, len(names), group_size):
            group, coming = coming, begin(start + group_size)
            yield [future.result() for future in group]
    finally:
        pool.shutdown(cancel_futures=True)
