"""Where several people speak at once, by a small network that comes with the package.

``pretrained/overlap/network.onnx`` hears 10 s at a time: a stack of dilated convolutions over
log-mel bands, trained on made-up conversations (benchmarks/overlap_network.py). For every 20 ms it
gives the probabilities that nobody, one person or several speak.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soxr

from mvector.audio.silence import stretches_of
from mvector.compute.threads import num_threads

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

FILE = Path(__file__).parents[1] / "pretrained/overlap/network.onnx"
RATE = 16000
FRAME_S = 0.02
_FRAME, _FIRST = 320, 200  # samples: of a frame, and before the middle of the first one
_CHUNK, _EDGE = 500, 50  # frames heard at once, and of them those at each end that lack context
_BEHIND = 240  # samples of the last frame's window beyond its own
_PEAK = 0.7  # of what the network was trained on
# Chosen on simulated conversations of other people than those reported on.
_LIKELY = 0.8
_LEAST_S, _GAP_S = 0.2, 0.1  # shorter stretches are dropped, shorter gaps are bridged


def can_hear_overlap() -> bool:
    """Whether what runs the network is installed."""
    return find_spec("onnxruntime") is not None


def overlaps_in(block: np.ndarray, sample_rate: int) -> np.ndarray:
    """Stretches ``(S, 2)`` in samples of a block in which several people speak at once.

    Args:
        block: float32 ``(samples,)``.
        sample_rate: in Hz.
    """
    probabilities = overlap_probabilities(block, sample_rate)
    frames = _stretches(probabilities[:, 2])
    seconds = frames * FRAME_S + _FIRST / RATE - FRAME_S / 2.0
    samples = np.rint(seconds * sample_rate).astype(np.int64)
    return np.clip(samples, 0, len(block))


def overlap_probabilities(block: np.ndarray, sample_rate: int) -> np.ndarray:
    """Probabilities ``(frames, 3)`` that nobody, one person or several speak, every 20 ms."""
    sound = block if sample_rate == RATE else soxr.resample(block, sample_rate, RATE)
    num_frames = len(sound) // _FRAME
    peak = float(np.abs(sound).max(initial=0.0))
    if not num_frames or not np.isfinite(peak) or peak == 0.0:
        return np.tile(np.array([1.0, 0.0, 0.0], np.float32), (num_frames, 1))
    session, step = _session(os.getpid()), _CHUNK - 2 * _EDGE
    sound = sound * np.float32(_PEAK / peak)
    starts = [0, *range(step, max(num_frames - 2 * _EDGE, 1), step)]

    def heard(start: int) -> np.ndarray:
        part = sound[start * _FRAME : (start + _CHUNK) * _FRAME + _BEHIND]
        least = min(_CHUNK, num_frames - start) * _FRAME + _BEHIND
        part = np.pad(part, (0, max(0, least - len(part))))
        (found,) = session.run(None, {"waveform": part[None].astype(np.float32)})
        first = 0 if start == 0 else _EDGE
        last = None if start == starts[-1] else step + _EDGE
        return np.asarray(found[0, first:last])

    with ThreadPoolExecutor(num_threads()) as pool:
        return np.concatenate(list(pool.map(heard, starts)))[:num_frames]


def _stretches(probability: np.ndarray) -> np.ndarray:
    """Stretches ``(S, 2)`` of frames that are likely enough, for long enough."""
    found = stretches_of(probability >= _LIKELY)
    if not len(found):
        return found
    apart = found[1:, 0] - found[:-1, 1] >= _GAP_S / FRAME_S
    found = np.stack([found[np.r_[True, apart], 0], found[np.r_[apart, True], 1]], axis=1)
    return found[found[:, 1] - found[:, 0] >= _LEAST_S / FRAME_S]


@lru_cache(maxsize=1)
def _session(process: int) -> InferenceSession:
    """The network, loaded once in each process; a call has one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(FILE), options, providers=["CPUExecutionProvider"])
