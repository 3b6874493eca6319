"""What computes embeddings, whichever engine it is, and clips of several windows."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Literal, Protocol

import numpy as np

from mvector.embedding.listening import LongClip
from mvector.errors import AudioError

NO_DIRECTION = "gives an embedding that is zero or not finite."

# Less work than this, some 0.1 s of it, is done by one thread. More threads save little of that on
# an idle machine, and on a busy one each of many short parallel sections waits for the slowest.
_SINGLE_THREAD_MACS = 2.5e9
_FRAMES_PER_S = 100


#: What products are computed in; ``bfloat16`` is for the engine torch.
Precision = Literal["float32", "bfloat16"]


class Inference(Protocol):
    """A model that is ready to compute, for several threads at once."""

    @property
    def fingerprint(self) -> str:
        """Ties embeddings to the model."""

    def evaluation_mode(self) -> AbstractContextManager[None]:
        """Within the block, the model is not in training, whatever it was before."""

    def begin(self, clips: list[np.ndarray]) -> Callable[[], np.ndarray]:
        """Embed clips of any lengths, float32 ``(samples,)`` each, at the model's rate.

        Returns:
            What waits for the embeddings and gives them, float32 ``(clips, embd_dim)``.
        """


def is_for_one_thread(macs_per_frame: int, duration_s: float) -> bool:
    """Whether a model of so many multiplications embeds so much audio best by one thread."""
    return macs_per_frame * _FRAMES_PER_S * duration_s < _SINGLE_THREAD_MACS


def embed_long(inference: Inference, clip: LongClip) -> np.ndarray:
    """Mean direction of the windows, weighted by their samples, with their mean length.

    Raises:
        AudioError: the clip cannot be decoded, or no window has a direction.
    """
    direction, length, num_samples = np.zeros(()), 0.0, 0
    for window in clip.windows:
        embedding = inference.begin([window])()[0].astype(np.float64)
        norm = float(np.linalg.norm(embedding))
        if not 0 < norm < np.inf:
            continue
        direction = direction + len(window) * embedding / norm
        length += len(window) * norm
        num_samples += len(window)
    norm = float(np.linalg.norm(direction))
    if not norm > 0:
        raise AudioError(f"{clip.name} {NO_DIRECTION}")
    return (direction * (length / num_samples / norm)).astype(np.float32)
