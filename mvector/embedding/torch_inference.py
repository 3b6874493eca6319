"""Forward passes of a speaker model in PyTorch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

import numpy as np
import torch

from mvector.compute.device import choose_device, computes_bfloat16
from mvector.compute.precision import exact_products
from mvector.compute.threads import single_threaded
from mvector.embedding.inference import Precision, is_for_one_thread
from mvector.errors import MVectorError
from mvector.models.folder import fingerprint_of
from mvector.models.speaker_model import SpeakerModel


class TorchInference:
    """A model in evaluation mode, for several threads at once.

    Args:
        model: is moved to the device.
        device: where to compute; ``None`` is a GPU if there is one.
        precision: ``bfloat16`` computes in it what bears it, where there are instructions for it.
            Embeddings differ a little, and so does the fingerprint.

    Raises:
        MVectorError: there are none.
    """

    def __init__(
        self,
        model: SpeakerModel,
        device: torch.device | str | None = None,
        precision: Precision = "float32",
    ) -> None:
        self.device = choose_device() if device is None else torch.device(device)
        self.precision = precision
        if precision == "bfloat16" and not computes_bfloat16(self.device):
            raise MVectorError(
                "There are no instructions for bfloat16 here, it would be slower than float32: "
                "leave the precision out. GPUs since Ampere and CPUs with AVX-512 BF16 or AMX have "
                "them.",
                code="half-precision-not-found",
            )
        self.model = model.to(self.device)
        self._lock = threading.Lock()
        self._num_threads = 0
        self._in_training: list[torch.nn.Module] = []
        self._arithmetic = ExitStack()  # left with the last thread
        self._macs_per_frame = _macs_per_frame(model)

    def _threads_for(self, num_samples: int) -> AbstractContextManager[None]:
        """The torch threads that so many samples, of all clips together, are worth."""
        duration_s = num_samples / self.model.front_end.sample_rate
        is_small = self.device.type == "cpu" and is_for_one_thread(self._macs_per_frame, duration_s)
        return single_threaded() if is_small else nullcontext()

    @contextmanager
    def evaluation_mode(self) -> Iterator[None]:
        """The model in evaluation mode, until the last of several threads is done with it.

        What a training lets a GPU do less exactly, this keeps it from.
        """
        with self._lock:
            if self._num_threads == 0:
                self._arithmetic.enter_context(exact_products(self.device))
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
                    self._arithmetic.close()

    @property
    def fingerprint(self) -> str:
        """The model's, computed of the weights as they are; what is less exact has a suffix."""
        return fingerprint_of(self.model) + ("-bf16" if self.precision == "bfloat16" else "")

    def begin(self, clips: list[np.ndarray]) -> Callable[[], np.ndarray]:
        """As :meth:`mvector.embedding.inference.Inference.begin`; a GPU goes on by itself."""
        batch = self.forward(clips)
        return lambda: batch.float().cpu().numpy()

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
        half = torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"
        )
        with self._threads_for(waveforms.numel()), half:
            return self.model(
                waveforms.to(self.device, non_blocking=True),
                torch.tensor(lengths, pin_memory=pinned) if ragged else None,
            )


def _macs_per_frame(model: torch.nn.Module) -> int:
    """About how many multiplications a frame takes, within a third for most backbones.

    A weight is used once a frame; one of a convolution over time and frequency in about four bands,
    after what the strides leave of both.
    """
    return sum(part.numel() * (4 if part.dim() == 4 else 1) for part in model.parameters())
