"""Samples given as arrays or tensors, and what every decoded block must be."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mvector.audio.limits import AudioLimits
from mvector.errors import AudioError

if TYPE_CHECKING:
    from torch import Tensor

Samples: TypeAlias = "np.ndarray | Tensor"

BLOCK_SAMPLES = 1 << 20  # of all channels together, decoded at once

_INTEGER_SCALE = {"u1": 128.0, "i1": 128.0, "i2": 32768.0, "i4": 2147483648.0}
_MOST_CHANNELS = 32  # of an array: what is longer are its samples
_LARGEST = 1e10  # full scale is 1; the squares of larger samples leave float32


def is_samples(source: object) -> bool:
    """Whether something is an array or a tensor (without importing torch to find out)."""
    return isinstance(source, np.ndarray) or _is_tensor(source)


def _is_tensor(source: object) -> bool:
    return hasattr(source, "detach") and hasattr(source, "numpy")


def samples_and_rate(
    source: Any, sample_rate: int, limits: AudioLimits, name: str
) -> tuple[np.ndarray, int]:
    """Float32 ``(samples,)`` or ``(samples, channels)``, and the rate in Hz.

    Args:
        source: an array or a tensor, or one of them and its rate, in either order.
        sample_rate: of samples that come without a rate, in Hz.
        limits: bounds on rate and channels.
        name: how messages call the clip.

    Raises:
        AudioError: shape, type or rate are not those of a clip.
    """
    given, rate = _pair(source, name) if isinstance(source, tuple) else (source, sample_rate)
    samples = _channels_behind(_to_array(given, name), _is_tensor(given), name)
    limits.check_layout(rate, 1 if samples.ndim == 1 else samples.shape[1], name)
    if samples.dtype.kind == "f":
        with np.errstate(over="ignore"):  # what becomes infinite is refused as such
            return samples.astype(np.float32), rate
    scale = _INTEGER_SCALE.get(samples.dtype.str[1:])
    if scale is None:
        raise AudioError(f"{name} has type {samples.dtype}; use float32, int16 or int32.")
    centred = samples.astype(np.float32) - (128.0 if samples.dtype.kind == "u" else 0.0)
    return centred / np.float32(scale), rate


def _pair(source: tuple[Any, ...], name: str) -> tuple[Any, int]:
    """Samples and rate in this order: SciPy and Gradio give the rate first."""
    are_samples = [_is_sequence(part) for part in source]
    if are_samples not in ([True, False], [False, True]):
        kinds = ", ".join(type(part).__name__ for part in source[:4])
        raise AudioError(
            f"{name} is a tuple ({kinds}); give an array and its rate in Hz, as (samples, 16000)."
        )
    given, rate = source if are_samples[0] else source[::-1]
    rate = rate.item() if is_samples(rate) else rate
    is_number = isinstance(rate, numbers.Real) and not isinstance(rate, bool)
    if not (is_number and math.isfinite(rate)):
        raise AudioError(f"{name} has the rate {rate!r}; give a number in Hz, as (samples, 16000).")
    return given, int(rate)


def _is_sequence(part: object) -> bool:
    """Whether something may be samples, and is no rate."""
    is_text = isinstance(part, (str, bytes))
    return hasattr(part, "__len__") and not is_text and getattr(part, "ndim", 1) > 0


def _to_array(given: Any, name: str) -> np.ndarray:
    try:
        if not _is_tensor(given):
            return np.asarray(given)
        tensor = given.detach().cpu()
        array = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
        return array if isinstance(array, np.ndarray) else np.asarray(array)
    except (RuntimeError, TypeError, ValueError) as error:  # of ragged lists; meta, sparse, nested
        raise AudioError(
            f"{name} cannot be used as an array: give a dense array or tensor that holds its "
            "samples."
        ) from error


def _channels_behind(samples: np.ndarray, is_tensor: bool, name: str) -> np.ndarray:
    """``(samples,)`` or ``(samples, channels)``."""
    if samples.ndim not in (1, 2):
        raise AudioError(
            f"{name} has shape {samples.shape}; expected (samples,), (samples, channels) or "
            "(channels, samples)."
        )
    if samples.ndim == 1:
        return samples
    few, many = (size <= _MOST_CHANNELS for size in samples.shape)
    # Tensors have their channels first, as torchaudio has them, unless that cannot be
    channels_first = few > many or (is_tensor and few == many)
    return samples.T if channels_first else samples


def array_blocks(
    samples: np.ndarray,
    rate: int,
    limits: AudioLimits,
    name: str,
    offset_s: float,
    duration_s: float | None,
) -> Iterator[np.ndarray]:
    """A stretch of the samples, in blocks; an AudioError if it is too long."""
    start = round(offset_s * rate)
    stop = None if duration_s is None else start + int(np.ceil(duration_s * rate))
    wanted = samples[start:stop]
    limits.check_duration(len(wanted) / rate, name)
    for first in range(0, len(wanted), BLOCK_SAMPLES):
        yield wanted[first : first + BLOCK_SAMPLES]


def first_samples(stretches: Iterable[np.ndarray], num_samples: int) -> Iterator[np.ndarray]:
    """The first so many samples; no stretch behind them is read."""
    for stretch in stretches:
        yield stretch[:num_samples]
        num_samples -= len(stretch)
        if num_samples <= 0:
            return


def cut_windows(stretches: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Stretches of samples, joined and cut into windows of ``size``; the last may be shorter."""
    waiting: list[np.ndarray] = []
    num_waiting = 0
    for stretch in stretches:
        waiting.append(stretch)
        num_waiting += len(stretch)
        if num_waiting < size:
            continue
        samples = np.concatenate(waiting)
        stop = len(samples) // size * size
        for start in range(0, stop, size):
            yield samples[start : start + size].copy()  # a view would keep all of them
        waiting, num_waiting = [samples[stop:].copy()], len(samples) - stop
    if num_waiting:
        yield np.concatenate(waiting)


def check_samples(samples: np.ndarray, name: str) -> np.ndarray:
    """The samples; an AudioError if they are not finite or absurdly large."""
    with np.errstate(invalid="ignore"):
        sound = np.abs(samples) <= _LARGEST
    if sound.all():
        return samples
    bad = int(np.count_nonzero(~np.isfinite(samples)))
    if bad:
        raise AudioError(
            f"{name} holds {bad} samples that are NaN or infinite; export the clip again.",
            code="audio-not-finite",
        )
    raise AudioError(
        f"{name} holds samples as large as {np.abs(samples).max():.0e} where full scale is 1; "
        "export the clip again.",
        code="audio-not-finite",
    )
