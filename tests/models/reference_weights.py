"""Weights and inputs that follow from names, and what published models make of them.

No weight file is needed to compare a backbone with a published one. ``golden/<name>.txt`` lists
the entries (key, shape, dtype) of a published checkpoint; the value of an entry follows from its
key alone: normal draws from a generator seeded with the key, scaled so that activations keep their
size. ``golden/<name>.json`` holds the embeddings that the model's own code computes from these
weights and from :func:`features`, in float64. Either file may be compressed (``.gz``).
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

GOLDEN = Path(__file__).parent / "golden"


def read_keys(keys_file: str | Path) -> dict[str, tuple[int, ...]]:
    """Shape of every entry of a checkpoint, in the checkpoint's order."""
    rows = (line.split("\t") for line in _text(Path(keys_file)).splitlines())
    return {row[0]: _shape(row[1]) for row in rows if len(row) > 1}


def state_dict(keys: str | Path | Mapping[str, tuple[int, ...]], salt: str) -> dict[str, Any]:
    """The arrays of a checkpoint: float64, and int64 zeros for ``num_batches_tracked``.

    Args:
        keys: a file for :func:`read_keys`, or what that returns.
        salt: another salt gives other weights.
    """
    shapes = keys if isinstance(keys, Mapping) else read_keys(keys)
    return {key: _value(key, shape, salt) for key, shape in shapes.items()}


def features(shape: Iterable[int], salt: str) -> np.ndarray:
    """``(batch, frames, bins)`` spread as log-mel features are: noise on each clip's own spectrum.

    The standard deviation of 5 is wide enough to reach the upper bound of clipped activations.
    """
    batch, frames, bins = shape
    noise = _draw((batch, frames + 1, bins), f"features/{batch}x{frames}x{bins}", salt)
    spectrum, noise = noise[:, :1], noise[:, 1:]
    return 4.0 * noise + 3.0 * spectrum


def waveform(duration_s: float, sample_rate: int, salt: str) -> np.ndarray:
    """A voice-like clip in [-1, 1], float64, all samples multiples of 2^-15.

    Harmonics of a wavering pitch and bursts of noise, 0.3 s of zeros, and at the end a fall by
    80 dB: what lies below the floors of features is heard as well.
    """
    count = round(duration_s * sample_rate)
    t = np.arange(count) / sample_rate
    draw = np.random.Generator(np.random.PCG64(zlib.crc32(f"{salt}/waveform".encode())))
    pitch = draw.uniform(100.0, 220.0)
    vibrato = 0.03 / (2 * np.pi * 5.5) * np.sin(2 * np.pi * 5.5 * t)
    phase = 2 * np.pi * pitch * (t + vibrato)
    clip = np.zeros(count)
    for harmonic in range(1, 21):
        gain, offset = draw.uniform(0.3, 1.0), draw.uniform(0.0, 2 * np.pi)
        clip += gain / harmonic * np.sin(harmonic * phase + offset)
    clip *= 0.55 + 0.45 * np.sin(2 * np.pi * 3.0 * t + draw.uniform(0.0, 2 * np.pi))
    noise = draw.standard_normal(count)
    for burst in draw.uniform(0.0, duration_s, 4):
        clip += 0.6 * noise * np.exp(-0.5 * ((t - burst) / 0.03) ** 2)
    clip += 0.003 * noise
    silence = round(0.4 * count)
    clip[silence : silence + round(0.3 * sample_rate)] = 0.0
    fall = 10.0 ** (-4.0 * np.clip(4.0 * t / duration_s - 3.0, 0.0, 1.0))
    return (0.7 * 2**15 * clip / np.abs(clip).max() * fall).round() / 2**15


def checksum(arrays: Mapping[str, np.ndarray]) -> int:
    """CRC-32 of all arrays' little-endian bytes, one after the other."""
    result = 0
    for array in arrays.values():
        little_endian = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
        result = zlib.crc32(little_endian.tobytes(), result)
    return result


def load_golden(name: str) -> dict[str, Any]:
    """The published model's numbers: inputs, embeddings, parameters, multiply-adds."""
    return json.loads(_text(GOLDEN / f"{name}.json"))


def golden_weights(name: str) -> dict[str, torch.Tensor]:
    """The checkpoint that a golden file was computed with, under its published keys."""
    golden = load_golden(name)
    arrays = state_dict(GOLDEN / f"{name}.txt", golden["salt"])
    assert checksum(arrays) == golden["weights_crc32"], "numpy's generator draws other numbers"
    return {key: torch.from_numpy(array) for key, array in arrays.items()}


def with_random_weights(model: nn.Module) -> nn.Module:
    """Float64, in evaluation; offsets and statistics are random too: nothing is zero or one."""
    model = model.double().eval()
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    weights = {key: torch.from_numpy(value) for key, value in state_dict(shapes, "random").items()}
    model.load_state_dict(weights, strict=True)
    return model


def golden_difference(name: str, model: nn.Module, *, first_clip_only: bool = False) -> float:
    """Largest difference to the published embeddings over their largest value.

    Args:
        name: of the golden files.
        model: in float64, with the weights that the golden files are of.
        first_clip_only: compare one clip, and not all clips of all inputs.
    """
    golden = load_golden(name)
    worst = 0.0
    for spec, expected in zip(golden["inputs"], golden["embeddings"], strict=True):
        clips = torch.from_numpy(features(spec["shape"], spec["salt"]))
        published = torch.tensor(expected, dtype=torch.float64)
        if first_clip_only:
            clips, published = clips[:1], published[:1]
        with torch.inference_mode():
            ours = model(clips)
        assert ours.shape == published.shape
        assert ours.dtype == torch.float64
        worst = max(worst, float((ours - published).abs().max() / published.abs().max()))
        if first_clip_only:
            break
    return worst


def count_parameters(model: nn.Module) -> int:
    """Trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def count_multiply_adds(model: nn.Module, features: torch.Tensor) -> int:
    """Multiply-adds of the convolutions and matrix products of one forward pass."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(features)
    return counter.get_total_flops() // 2


def _value(key: str, shape: tuple[int, ...], salt: str) -> np.ndarray:
    kind = key.split(".")[-1]
    if kind == "num_batches_tracked":
        return np.zeros(shape, dtype=np.int64)
    normal = _draw(shape, key, salt)
    is_matrix = len(shape) > 1
    if kind == "running_var":
        return 0.5 + np.abs(normal)
    if kind == "weight" and is_matrix:
        fan_in = np.prod(shape[1:], dtype=np.int64)
        return normal / np.sqrt(fan_in)
    if kind == "weight":
        return 1.0 + 0.1 * normal
    return normal if is_matrix else 0.1 * normal


def _draw(shape: tuple[int, ...], label: str, salt: str) -> np.ndarray:
    seed = zlib.crc32(f"{salt}/{label}".encode())
    return np.random.Generator(np.random.PCG64(seed)).standard_normal(shape)


def _shape(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.strip("()").split(",") if number.strip())


def _text(path: Path) -> str:
    compressed = path if path.suffix == ".gz" else path.with_name(f"{path.name}.gz")
    if compressed.is_file():
        return gzip.decompress(compressed.read_bytes()).decode("utf-8")
    return path.read_text(encoding="utf-8")
