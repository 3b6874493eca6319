"""ONNX files made in a moment with the onnx package: of a tiny model, and with faults of all kinds.

The tiny model gives every clip the mean magnitude of 16 band-pass filters, normalised by its
loudest band; it is no model of the zoo, and enough to tell synthetic voices apart.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper, parser

from mvector.features.front_end import FrontEnd
from mvector.models.description import DESCRIPTION, FORMAT_VERSION, write_yaml
from mvector.models.onnx_file import ONNX_FILE, OnnxMetadata

RATE, EMBD_DIM, _TAPS, _HOP = 16000, 16, 400, 160

_GRAPH = """
<ir_version: 8, opset_import: ["": {opset}]>
tiny (float[batch, samples] waveform, int64[batch] num_samples) => (float[batch, 16] embedding)
<float[16, 1, 400] filters>
{{
  one = Constant <value_ints: ints = [1]> ()
  two = Constant <value_ints: ints = [2]> ()
  taps = Constant <value_int: int = 400> ()
  hop = Constant <value_int: int = 160> ()
  i_zero = Constant <value_int: int = 0> ()
  i_one = Constant <value_int: int = 1> ()
  channels = Unsqueeze (waveform, one)
  bands = Conv <strides: ints = [160]> (channels, filters)
  magnitude = Abs (bands)
  behind = Sub (num_samples, taps)
  hops = Div (behind, hop)
  num_frames = Add (hops, i_one)
  shape = Shape <start: int = 2, end: int = 3> (bands)
  most = Squeeze (shape)
  frames = Range (i_zero, most, i_one)
  rows = Unsqueeze (num_frames, one)
  is_frame = Less (frames, rows)
  mask = Cast <to: int = 1> (is_frame)
  mask_3d = Unsqueeze (mask, one)
  masked = Mul (magnitude, mask_3d)
  sums = ReduceSum <keepdims: int = 0> (masked, two)
  counts = Cast <to: int = 1> (rows)
  means = Div (sums, counts)
  loudest = ReduceMax <axes: ints = [1]> (means)
  embedding = Div (means, loudest)
}}
"""


def filters() -> np.ndarray:
    """Band-pass filters ``(16, 1, 400)`` from 100 Hz to 4 kHz."""
    seconds = (np.arange(_TAPS) - _TAPS / 2) / RATE
    frequencies = np.geomspace(100.0, 4000.0, EMBD_DIM)[:, None]
    taps = np.hanning(_TAPS) * np.cos(2.0 * np.pi * frequencies * seconds) / _TAPS
    return taps[:, None, :].astype(np.float32)


def expected_embedding(samples: np.ndarray) -> np.ndarray:
    """What the tiny model gives of one clip, computed frame by frame."""
    starts = range(0, len(samples) - _TAPS + 1, _HOP)
    frames = np.stack([samples[start : start + _TAPS] for start in starts])
    means = np.abs(frames @ filters()[:, 0].T).mean(axis=0)
    return (means / means.max()).astype(np.float32)


def metadata(**changes: Any) -> OnnxMetadata:
    """Of a tiny model."""
    values: dict[str, Any] = {
        "fingerprint": "0123456789abcdef",
        "embd_dim": EMBD_DIM,
        "sample_rate": RATE,
        "input": "waveform",
        "precision": "float32",
        "name": "Tiny_Fbank",
        "front_end": {"sample_rate": RATE},
        "mvector_version": "1.0",
    }
    return OnnxMetadata(**{**values, **changes})


def write_tiny_model(
    file: Path, properties: dict[str, str] | None = None, *, opset: int = 17, ir_version: int = 8
) -> Path:
    """Write the tiny model with these ``metadata_props``, as a rule those of :func:`metadata`."""
    model = parser.parse_model(_GRAPH.format(opset=17))
    model.graph.initializer.append(numpy_helper.from_array(filters(), "filters"))
    model.opset_import[0].version, model.ir_version = opset, ir_version
    given = metadata().to_properties() if properties is None else properties
    onnx.helper.set_model_props(model, given)
    file.write_bytes(model.SerializeToString())
    return file


def stand_in_folder(folder: Path, *, calibration: dict[str, Any] | None = None) -> Path:
    """A model folder of the tiny model: ``model.yml`` and ``model.onnx``, without weights."""
    front_end = FrontEnd(RATE, {"feature_method": "Fbank"}).to_dict()
    told = metadata(front_end=front_end)
    description = {
        "format_version": FORMAT_VERSION,
        "name": told.name,
        "front_end": front_end,
        "backbone": {"name": "TDNN", "options": {}},
        "embd_dim": EMBD_DIM,
        "fingerprint": told.fingerprint,
        "calibration": calibration,
    }
    folder.mkdir(parents=True)
    write_yaml(folder / DESCRIPTION, description)
    write_tiny_model(folder / ONNX_FILE, told.to_properties())
    return folder
