"""Whether an exported graph gives the embeddings that its model gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from mvector.errors import CheckpointError
from mvector.export.assembly import FEATURES, NUM_FRAMES
from mvector.models.onnx_file import (
    EMBEDDING,
    NUM_SAMPLES,
    WAVEFORM,
    OnnxInput,
    OnnxPrecision,
)
from mvector.models.speaker_model import SpeakerModel
from mvector.shipped import shipped_folder

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

#: The least cosine of an embedding of the file and one of the model.
LEAST_COSINE: dict[OnnxPrecision, float] = {"float32": 0.99999, "float16": 0.9999, "int8": 0.99}

_DURATIONS_S = (3.0, 1.4, 0.7, 2.2)  # none divides another
_EXAMPLE_DURATIONS_S = (3.0, 1.0)


@dataclass(frozen=True)
class CheckClips:
    """Clips of several lengths as one padded batch, and what a model makes of them.

    Attributes:
        waveforms: ``(clips, samples)`` float32.
        lengths: ``(clips,)`` int64.
        features: ``(clips, frames, bins)``, the backbone's, normalised.
        num_frames: ``(clips,)`` int64.
        embeddings: ``(clips, embd_dim)``.
    """

    waveforms: torch.Tensor
    lengths: torch.Tensor
    features: torch.Tensor
    num_frames: torch.Tensor
    embeddings: np.ndarray

    @classmethod
    def of(cls, model: SpeakerModel) -> CheckClips:
        """The clips of speech that come with the package, as long as the model takes them."""
        rate = model.front_end.sample_rate
        least = max(model.min_samples, round(0.1 * rate))
        files = _sample_clips(1)
        lengths = [max(least, round(seconds * rate)) for seconds in _DURATIONS_S[: len(files)]]
        waveforms = torch.zeros(len(files), max(lengths))
        for row, file, length in zip(waveforms, files, lengths, strict=True):
            clip = np.resize(model.front_end.decode(file), length)
            row[:length] = torch.from_numpy(clip)
        samples = torch.tensor(lengths)
        with torch.inference_mode():
            features, num_frames = model.features(waveforms, samples)
            embeddings = model.backbone(features, num_frames).numpy()
        return cls(waveforms, samples, features, num_frames, embeddings)


def example_features(model: SpeakerModel) -> list[np.ndarray]:
    """Features ``(clips, frames, bins)`` of other clips of the same voices, by lengths."""
    rate = model.front_end.sample_rate
    clips = [model.front_end.decode(file) for file in _sample_clips(2)]
    found = []
    for seconds in _EXAMPLE_DURATIONS_S:
        length = max(model.min_samples, round(seconds * rate))
        batch = torch.from_numpy(np.stack([np.resize(clip, length) for clip in clips]))
        found.append(model.features(batch)[0].numpy())
    return found


def compare(content: bytes, clips: CheckClips, input: OnnxInput) -> np.ndarray:
    """Cosines of embeddings of a graph and of the model, ``(clips,)``; see :func:`cosines`."""
    if input == FEATURES:
        fed = {FEATURES: clips.features.numpy(), NUM_FRAMES: clips.num_frames.numpy()}
    else:
        fed = {WAVEFORM: clips.waveforms.numpy(), NUM_SAMPLES: clips.lengths.numpy()}
    graph = open_graph(content)
    if len(graph.get_inputs()) == 1:  # of sherpa-onnx: one clip after the other
        pairs = zip(fed[FEATURES], fed[NUM_FRAMES], strict=True)
        rows = [graph.run([EMBEDDING], {FEATURES: clip[None, :n]})[0] for clip, n in pairs]
        return cosines(clips.embeddings, np.concatenate(rows))
    (found,) = graph.run([EMBEDDING], fed)
    return cosines(clips.embeddings, found)


def cosines(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Of the rows of two arrays, float64; 0 where a row is zero or not finite."""
    first, second = expected.astype(np.float64), found.astype(np.float64)
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        products = np.einsum("ij,ij->i", first, second) / norms
    return np.nan_to_num(products, nan=0.0)


def require_alike(cosine: float, precision: OnnxPrecision) -> None:
    """Raise CheckpointError where a graph's embeddings are not those of its model."""
    least = LEAST_COSINE[precision]
    if cosine >= least:
        return
    cure = "report the model's configuration"
    if precision != "float32":
        cure = "export it with --precision float32"
    raise CheckpointError(
        f"The exported graph is not the model: in {precision}, the cosine of their embeddings "
        f"falls to {cosine:.5f}, and at least {least} is required; nothing was written; {cure}.",
        code="export-inexact",
    )


def _sample_clips(number: int) -> list[Path]:
    return sorted(shipped_folder("samples").glob(f"*/{number}.flac"))


def open_graph(content: bytes) -> InferenceSession:
    """A graph made ready to run on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # what an optimiser tells of a graph helps nobody here
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
