"""A model to an ONNX file, compared with the model before it is written."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from mvector.errors import CheckpointError
from mvector.export.assembly import FEATURES, NUM_FRAMES, joined, over_batch
from mvector.export.checking import CheckClips, compare, example_features, require_alike
from mvector.export.front_end_graph import FrontEndGraph
from mvector.export.halving import store_in_half
from mvector.export.quantising import quantised
from mvector.export.sherpa import cosine_in_sherpa, sherpa_properties
from mvector.export.tracing import require_onnx, trace
from mvector.files import check_file_writable, write_bytes, write_errors_as
from mvector.models.folder import fingerprint_of
from mvector.models.onnx_file import (
    EMBEDDING,
    NUM_SAMPLES,
    WAVEFORM,
    OnnxInput,
    OnnxMetadata,
    OnnxPrecision,
)
from mvector.models.speaker_model import SpeakerModel
from mvector.version import __version__

if TYPE_CHECKING:
    from onnx import ModelProto

#: What is to run a file: anything that runs ONNX, or sherpa-onnx.
Target = Literal["onnx", "sherpa-onnx"]


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: of the file.
        num_bytes: its size.
        cosine: the least, of embeddings of the file and of the model, on a few clips.
        mean_cosine: of the same.
        cosine_in_sherpa: the same with the features that sherpa-onnx computes, for a file for it.
    """

    path: Path
    num_bytes: int
    cosine: float
    mean_cosine: float
    cosine_in_sherpa: float | None = None


def export_onnx(
    model: SpeakerModel,
    path: str | os.PathLike[str],
    *,
    input: OnnxInput = "waveform",
    precision: OnnxPrecision = "float32",
    target: Target = "onnx",
) -> Exported:
    """Write a model as an ONNX file that gives the embeddings that the model gives.

    The graph takes a padded batch of any size. A clip's embedding is the one that it has alone.

    - ``input="waveform"``: ``waveform (batch, samples)`` float32 in [-1, 1] at the model's rate,
      and ``num_samples (batch,)`` int64, the samples of each clip. Level, features and backbone are
      in the graph. What comes before is not: decoding, digital silence, VAD, windows.
    - ``input="features"``: ``features (batch, frames, bins)`` float32 as
      :meth:`SpeakerModel.features` gives them, and ``num_frames (batch,)`` int64.

    Both give ``embedding (batch, embd_dim)`` float32, not length-normalised. The precision
    ``float16`` stores the backbone's matrices in half of the space, and computes in float32.
    ``int8`` computes most of the backbone's products with integers, which makes other embeddings:
    close to the model's, and with a fingerprint of their own.

    ``target="sherpa-onnx"`` is for that program, which computes Fbank by itself: the graph takes
    ``features (batch, frames, 80)`` of clips of one length, and has no second input.

    Args:
        model: what to export; it is used on the CPU and left as it is.
        path: file to write; one that is there is replaced in one step.
        input: what the graph takes.
        precision: of the weights.
        target: what is to run the file.

    Raises:
        CheckpointError: the file cannot be written, or its embeddings are not those of the model
            (a cosine below 0.99999, for float16 below 0.9999, for int8 below 0.99), or the model
            hears what sherpa-onnx cannot compute: then nothing is written.
        MissingDependencyError: onnx or onnxruntime is not installed.
    """
    require_onnx()
    file = Path(path)
    what = f"'{file}'"
    with write_errors_as(CheckpointError, what):
        check_file_writable(file)
    model = copy.deepcopy(model).cpu().eval()
    for_sherpa = target == "sherpa-onnx"
    told = sherpa_properties(model) if for_sherpa else _properties(model, input, precision)
    backbone = _backbone(model, precision)
    graph = backbone if for_sherpa else _whole(model, backbone, input)
    content = _described(graph, told)
    clips = CheckClips.of(model)
    cosines = compare(content, clips, "features" if for_sherpa else input)
    least, mean = float(cosines.min()), float(cosines.mean())
    require_alike(least, precision)
    with write_errors_as(CheckpointError, what):
        write_bytes(file, content)
    in_sherpa = cosine_in_sherpa(model, clips) if for_sherpa else None
    return Exported(file, len(content), least, mean, in_sherpa)


def _backbone(model: SpeakerModel, precision: OnnxPrecision) -> ModelProto:
    bins = model.featurizer.feature_dim
    example = torch.randn(1, max(model.min_frames, 100), bins)
    backbone = trace(model.backbone, example, FEATURES, EMBEDDING)
    if precision == "int8":
        backbone = quantised(backbone, example_features(model))
    if precision != "float32":
        store_in_half(backbone)
    return backbone


def _whole(model: SpeakerModel, backbone: ModelProto, input: OnnxInput) -> ModelProto:
    if input == FEATURES:
        return over_batch(backbone, FEATURES, NUM_FRAMES, bins=model.featurizer.feature_dim)
    rate = model.front_end.sample_rate
    front_end = trace(FrontEndGraph(model), torch.randn(1, rate), WAVEFORM, FEATURES)
    return over_batch(joined(front_end, backbone), WAVEFORM, NUM_SAMPLES)


def _properties(model: SpeakerModel, input: OnnxInput, precision: OnnxPrecision) -> dict[str, str]:
    return OnnxMetadata(
        fingerprint=fingerprint_of(model),
        embd_dim=model.embd_dim,
        sample_rate=model.front_end.sample_rate,
        input=input,
        precision=precision,
        name=model.name,
        front_end=model.front_end.to_dict(),
        mvector_version=__version__,
        min_samples=model.min_samples,
    ).to_properties()


def _described(graph: ModelProto, told: dict[str, str]) -> bytes:
    from onnx import helper

    helper.set_model_props(graph, told)
    return bytes(graph.SerializeToString())
