"""Clips to embeddings."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
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
        return self._forward([self.model.front_end.read_clip(source)])[0]

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
        embeddings = np.zeros((len(sources), self.embd_dim), dtype=np.float32)
        failures: list[tuple[int, str]] = []
        with tqdm(total=len(sources), unit="clip", disable=not progress) as bar:
            for group in self._read_ahead(sources, batch_size * _BATCHES_AHEAD, max_duration_s):
                clips = []
                for position, clip in group:
                    if isinstance(clip, MVectorError):
                        failures.append((position, str(clip)))
                        bar.update()
                    else:
                        clips.append((position, clip))
                clips.sort(key=lambda item: len(item[1]))
                for start in range(0, len(clips), batch_size):
                    batch = clips[start : start + batch_size]
                    positions = [position for position, _ in batch]
                    embeddings[positions] = self._forward([clip for _, clip in batch])
                    bar.update(len(batch))
        bad = {position for position, _ in failures}
        good = np.array([i for i in range(len(sources)) if i not in bad], dtype=np.int64)
        return EmbeddedClips(embeddings[good], good, failures)

    def _read_ahead(
        self, sources: Sequence[AudioSource], group_size: int, max_duration_s: float | None
    ) -> Iterator[list[tuple[int, np.ndarray | MVectorError]]]:
        def read(position: int) -> tuple[int, np.ndarray | MVectorError]:
            source = sources[position]
            try:
                return position, self.model.front_end.read_clip(
                    source, max_duration_s=max_duration_s
                )
            except MVectorError as error:
                return position, error
            except (OSError, ValueError) as error:
                return position, AudioError(f"{source_name(source)} cannot be used: {error}.")

        with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
            for start in range(0, len(sources), group_size):
                yield list(pool.map(read, range(start, min(start + group_size, len(sources)))))

    @torch.inference_mode()
    def _forward(self, clips: list[np.ndarray]) -> np.ndarray:
        lengths = [len(clip) for clip in clips]
        waveforms = np.zeros((len(clips), max(lengths)), dtype=np.float32)
        for row, clip in enumerate(clips):
            waveforms[row, : len(clip)] = clip
        ragged = min(lengths) < max(lengths)
        was_training = self.model.training
        self.model.eval()
        embeddings = self.model(
            torch.from_numpy(waveforms).to(self.device),
            torch.tensor(lengths, device=self.device) if ragged else None,
        )
        self.model.train(was_training)
        return embeddings.float().cpu().numpy()
