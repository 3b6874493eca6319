"""A model that onnxruntime runs: the ``model.onnx`` of a model folder, on the CPU."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mvector.compute.device import cpu_multiplies_int8
from mvector.errors import AudioError, CheckpointError
from mvector.features.front_end import FrontEnd
from mvector.models.description import (
    DESCRIPTION,
    ModelInfo,
    front_end_of,
    info_of,
    read_description,
)
from mvector.models.named import model_folder
from mvector.models.onnx_file import (
    EMBEDDING,
    NUM_SAMPLES,
    ONNX_FILE,
    WAVEFORM,
    OnnxMetadata,
    damaged,
    open_session,
    require_runnable,
)

if TYPE_CHECKING:
    import os

    from onnxruntime import InferenceSession

logger = logging.getLogger(__name__)

_BYTES_OF_WEIGHT = {"float32": 4, "float16": 2, "int8": 1}


class OnnxModel:
    """Waveform to embedding in onnxruntime; to callers what a SpeakerModel is.

    Args:
        file: the model.
        front_end: how clips become waveforms, as model.yml says.
        fingerprint: of the model folder, which the file must have too.

    Attributes:
        front_end: what of it comes before the level is done in Python.
        fingerprint: of the embeddings; an int8 model gives others than its weights in full.
        name: backbone and feature method.
        embd_dim: size of the embedding.
        min_samples: of the shortest clip that it takes, if the file says it, else 0.
        num_weights: about how many.

    Raises:
        CheckpointError: the file is missing, damaged, of another model or no export of mvector.
        MissingDependencyError: onnxruntime is not installed.
    """

    def __init__(self, file: Path, front_end: FrontEnd, fingerprint: str) -> None:
        self.file, self.front_end = file, front_end
        self._lock = threading.Lock()
        session, found = _open(file, num_threads=1)
        self._sessions = {1: session}
        if (found.fingerprint, found.front_end) != (fingerprint, front_end.to_dict()):
            raise CheckpointError(
                f"'{file}' was exported from another model than {DESCRIPTION} beside it describes; "
                f"make it again: python tools/export_onnx.py --model_path '{file.parent}'",
                code="model-mismatch",
            )
        if found.precision == "int8" and not cpu_multiplies_int8():
            logger.warning(
                "'%s' has int8 weights, and this CPU has no instructions for their products "
                "(VNNI): a float32 export is more exact and no slower here.",
                file,
            )
        self.fingerprint = fingerprint + ("-int8" if found.precision == "int8" else "")
        self.name, self.embd_dim = found.name, found.embd_dim
        self.min_samples = found.min_samples
        self.num_weights = file.stat().st_size // _BYTES_OF_WEIGHT[found.precision]

    def embed(self, clip: np.ndarray, num_threads: int = 1) -> np.ndarray:
        """The embedding ``(embd_dim,)`` of float32 ``(samples,)``, not length-normalised.

        Raises:
            AudioError: it is too short, or the model cannot compute it.
        """
        if len(clip) < self.min_samples:
            raise AudioError(
                f"A clip of {len(clip)} samples is too short for this model, which needs at least "
                f"{self.min_samples} samples ({self.min_samples / self.front_end.sample_rate:.3f} "
                "s); give longer clips.",
                code="audio-too-short",
            )
        given = {
            WAVEFORM: np.ascontiguousarray(clip, dtype=np.float32)[None],
            NUM_SAMPLES: np.array([len(clip)], dtype=np.int64),
        }
        try:
            (embeddings,) = self._session(num_threads).run([EMBEDDING], given)
        except Exception as error:  # onnxruntime's have no common base
            duration_s = len(clip) / self.front_end.sample_rate
            raise AudioError(
                f"A clip of {duration_s:.2f} s cannot be computed by '{self.file}', and may be too "
                "short for it; give longer clips."
            ) from error
        if embeddings.shape != (1, self.embd_dim):
            raise damaged(self.file, f"it gives embeddings of shape {embeddings.shape}")
        return embeddings[0]

    def _session(self, num_threads: int) -> InferenceSession:
        """One for so many threads, made when first asked for: it has the weights once more."""
        with self._lock:
            if num_threads not in self._sessions:
                self._sessions[num_threads], _ = _open(self.file, num_threads)
            return self._sessions[num_threads]


def load_onnx_model(path: str | os.PathLike[str]) -> tuple[OnnxModel, ModelInfo]:
    """The ``model.onnx`` that a model folder holds, or ``box``.

    Raises:
        CheckpointError: the folder or the file is missing, damaged, or they do not belong together.
        MissingDependencyError: onnxruntime is not installed.
    """
    folder = model_folder(path)
    description = read_description(folder)
    info = info_of(description, folder)
    front_end = front_end_of(description, folder)
    return OnnxModel(folder / ONNX_FILE, front_end, info.fingerprint), info


def _open(file: Path, num_threads: int) -> tuple[InferenceSession, OnnxMetadata]:
    session, found = open_session(file, num_threads)
    require_runnable(session, found, file)
    return session, found
