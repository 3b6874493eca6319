"""Forward passes of a model.onnx in onnxruntime, on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext

import numpy as np

from mvector.compute.threads import num_threads
from mvector.embedding.inference import is_for_one_thread
from mvector.models.onnx_model import OnnxModel


class OnnxInference:
    """A model.onnx, for several threads at once.

    Each clip is computed by itself, without padding, by one thread; the clips of a batch are shared
    among as many threads as there are processors. So no thread ever waits for another within a
    clip, which on a busy machine may be one that does not run. A long window of a large model alone
    has all threads.
    """

    def __init__(self, model: OnnxModel) -> None:
        self.model = model

    @property
    def fingerprint(self) -> str:
        """The model's, as its folder says."""
        return self.model.fingerprint

    def evaluation_mode(self) -> AbstractContextManager[None]:
        """Nothing: the file holds no training."""
        return nullcontext()

    def begin(self, clips: list[np.ndarray]) -> Callable[[], np.ndarray]:
        """As :meth:`mvector.embedding.inference.Inference.begin`; computed when it returns."""
        if len(clips) == 1:
            (clip,) = clips
            duration_s = len(clip) / self.model.front_end.sample_rate
            is_small = is_for_one_thread(self.model.num_weights, duration_s)
            threads = 1 if is_small else num_threads()
            embeddings = self.model.embed(clip, threads)[None]
        else:
            with ThreadPoolExecutor(min(len(clips), num_threads())) as pool:
                embeddings = np.stack(list(pool.map(self.model.embed, clips)))
        return lambda: embeddings
