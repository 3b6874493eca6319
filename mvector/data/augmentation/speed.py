"""Faster and slower playing, by a polyphase filter that is one matrix product."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from mvector.compute.threads import single_threaded
from mvector.config.augment_options import SpeedConf

SPEEDS = (1.0, 0.9, 1.1)  # the first is a clip's own speed: speaker class k * num_speakers + label

_STOP_BAND_DB = 65.0
_TRANSITION = 0.08  # share of the pass-band's edge that the filter needs to fall
_BLOCK = 80  # output samples in a block, about: fastest of 40, 80 and 160


def num_speed_classes(config: SpeedConf) -> int:
    """How many classes each speaker has: one, or one for every speed if so configured."""
    return len(SPEEDS) if config.speed_perturb_3_class else 1


def change_speed(waveform: np.ndarray, speed: float) -> np.ndarray:
    """Play faster or slower: pitch and tempo change together (Ko et al., Interspeech 2015).

    ``speed`` is rounded to a ratio of numbers up to 100. The result is float32 and has
    ``samples / speed`` samples, rounded.
    """
    return resample(waveform, *_ratio(speed))


@lru_cache(maxsize=16)
def _ratio(speed: float) -> tuple[int, int]:
    return Fraction(1.0 / speed).limit_denominator(100).as_integer_ratio()


@single_threaded()
def resample(waveform: np.ndarray, up: int, down: int) -> np.ndarray:
    """``up`` samples for every ``down``, low-passed at the lower of the two Nyquist frequencies.

    The filter is a windowed sinc (Kaiser window): flat to 92 % of that frequency, at least 60 dB
    down from it on. As the same ``up`` phases of it come again and again, a block of output is a
    block of input times a fixed matrix.

    Returns:
        float32 array of ``samples * up / down`` samples, rounded; the first stays in place.
    """
    if up == down:
        return waveform
    blocks = _blocks(up, down)
    width, num_outputs = blocks.matrix.shape
    num_samples = round(len(waveform) * up / down)
    # blocks overlap in the input; every `turns`-th ones do not, and are the rows of a matrix
    turns = -(-width // blocks.hop)
    num_rows = max(1, -(-num_samples // (turns * num_outputs)))
    padded = torch.empty((turns * num_rows - 1) * blocks.hop + width)
    samples = padded.numpy()
    piece = waveform[: len(samples) - blocks.lead]
    samples[: blocks.lead] = 0.0
    samples[blocks.lead : blocks.lead + len(piece)] = piece
    samples[blocks.lead + len(piece) :] = 0.0
    rows = padded.as_strided((turns, num_rows, width), (blocks.hop, turns * blocks.hop, 1))
    result = torch.empty(num_rows, turns, num_outputs)
    torch.bmm(rows, blocks.matrix.expand(turns, -1, -1), out=result.transpose(0, 1))
    return result.view(-1)[:num_samples].numpy()


class _Blocks(NamedTuple):
    matrix: torch.Tensor  # (input samples, output samples) of a block
    hop: int  # input samples from one block to the next
    lead: int  # input samples of a block before its first output


@lru_cache(maxsize=16)
def _blocks(up: int, down: int) -> _Blocks:
    repeats = max(1, round(_BLOCK / up))
    hop, num_outputs = down * repeats, up * repeats
    edge = 0.5 * min(1.0, up / down)  # in cycles per input sample
    transition = _TRANSITION * edge
    # Kaiser and Schafer, "On the use of the I0-sinh window for spectrum analysis", 1980
    lead = int(np.ceil((_STOP_BAND_DB - 7.95) / (14.36 * transition) / 2))
    beta = 0.1102 * (_STOP_BAND_DB - 8.7)
    places = np.arange(num_outputs) * down / up
    distance = places[None, :] - (np.arange(hop + 2 * lead) - lead)[:, None]
    window = np.i0(beta * np.sqrt(np.maximum(1.0 - (distance / lead) ** 2, 0.0)))
    cutoff = edge - transition / 2
    taps = np.sinc(2 * cutoff * distance) * window * (np.abs(distance) < lead)
    taps /= taps.sum(axis=0)  # every phase passes a constant unchanged
    # a copy, as torch aligns its memory: another alignment may mean another last bit
    return _Blocks(torch.from_numpy(taps.astype(np.float32)).clone(), hop, lead)
