"""Forward passes of a speaker model: padded batches, and clips of several windows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np
import torch

from mvector.compute.threads import single_threaded
from mvector.embedding.listening import LongClip
from mvector.errors import AudioError
from mvector.models.speaker_model import SpeakerModel

NO_DIRECTION = "gives an embedding that is zero or not finite."

# Less work than this, some 0.1 s of it, is done by one thread. More threads save little of that on
# an idle machine, and on a busy one each of many short parallel sections waits for the slowest.
_SINGLE_THREAD_MACS = 2.5e9
_FRAMES_PER_S = 100


class Inference:
    """A model in evaluation mode, for several threads at once."""

    def __init__(self, model: SpeakerModel, device: torch.device) -> None:
        self.model, self.device = model, device
        self._lock = threading.Lock()
        self._num_threads = 0
        self._in_training: list[torch.nn.Module] = []
        self._macs_per_s = _FRAMES_PER_S * _macs_per_frame(model)

    def _threads_for(self, num_samples: int) -> AbstractContextManager[None]:
        """The torch threads that so many samples, of all clips together, are worth."""
        macs = self._macs_per_s * num_samples / self.model.front_end.sample_rate
        is_small = self.device.type == "cpu" and macs < _SINGLE_THREAD_MACS
        return single_threaded() if is_small else nullcontext()

    @contextmanager
    def evaluation_mode(self) -> Iterator[None]:
        """The model in evaluation mode, until the last of several threads is done with it."""
        with self._lock:
            if self._num_threads == 0:
                self._in_training = [part for part in self.model.modules() if part.training]
                if self._in_training:
                    self.model.eval()
            self._num_threads += 1
        try:
            yield
        finally:
            with self._lock:
                self._num_threads -= 1
                if self._num_threads == 0:
                    for part in self._in_training:
                        part.training = True

    @torch.inference_mode()
    def forward(self, clips: list[np.ndarray]) -> torch.Tensor:
        """Embeddings ``(clips, embd_dim)``, on the device."""
        lengths = [len(clip) for clip in clips]
        # from pinned memory a GPU fetches them while it still computes the batch before
        pinned = self.device.type == "cuda"
        waveforms = torch.zeros(len(clips), max(lengths), pin_memory=pinned)
        for row, clip in zip(waveforms.numpy(), clips, strict=True):
            row[: len(clip)] = clip
        ragged = min(lengths) < max(lengths)
        with self._threads_for(waveforms.numel()):
            return self.model(
                waveforms.to(self.device, non_blocking=True),
                torch.tensor(lengths, pin_memory=pinned) if ragged else None,
            )

    def embed_long(self, clip: LongClip) -> np.ndarray:
        """Mean direction of the windows, weighted by their samples, with their mean length.

        Raises:
            AudioError: the clip cannot be decoded, or no window has a direction.
        """
        direction, length, num_samples = np.zeros(self.model.embd_dim), 0.0, 0
        for window in clip.windows:
            embedding = self.forward([window]).double().cpu().numpy()[0]
            norm = float(np.linalg.norm(embedding))
            if not 0 < norm < np.inf:
                continue
            direction += len(window) * embedding / norm
            length += len(window) * norm
            num_samples += len(window)
        norm = float(np.linalg.norm(direction))
        if not norm > 0:
            raise AudioError(f"{clip.name} {NO_DIRECTION}")
        return (direction * (length / num_samples / norm)).astype(np.float32)


def _macs_per_frame(model: torch.nn.Module) -> int:
    """About how many multiplications a frame takes, within a third for most backbones.

    A weight is used once a frame; one of a convolution over time and frequency in about four bands,
    after what the strides leave of both.
    """
    return sum(part.numel() * (4 if part.dim() == 4 else 1) for part in model.parameters())
