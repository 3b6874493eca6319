"""What is cut out of a crop, put into it, or cut off: flip-splice, silence, clipping."""

from __future__ import annotations

import numpy as np

from mvector.config.augment_options import FlipSpliceConf, SilenceConf


def flip_splice(
    waveform: np.ndarray, sample_rate: int, config: FlipSpliceConf, rng: np.random.Generator
) -> np.ndarray:
    """Cut a crop ``(samples,)`` in pieces at random places and put them in another order.

    A crop that is too short for two pieces is left as it is.
    """
    shortest = max(1, round(config.min_piece_s * sample_rate))
    wanted = int(rng.integers(config.min_pieces, config.max_pieces + 1))
    num_pieces = min(wanted, len(waveform) // shortest)
    if num_pieces < 2:
        return waveform
    spare = len(waveform) - num_pieces * shortest
    cuts = np.sort(rng.integers(spare + 1, size=num_pieces - 1))
    pieces = np.split(waveform, cuts + shortest * np.arange(1, num_pieces))
    order = rng.permutation(num_pieces)
    if np.all(order[:-1] < order[1:]):  # unchanged: the first comes last instead
        order = np.roll(order, -1)
    return np.concatenate([pieces[place] for place in order])


def add_silence(
    waveform: np.ndarray, sample_rate: int, config: SilenceConf, rng: np.random.Generator
) -> np.ndarray:
    """Put stretches of dead air into a crop, either between the samples or in their place.

    Dead air is digital zeros or faint white noise, the same in all stretches. Inserted stretches
    move what follows to later and the end out of the crop; the length stays.
    """
    num_samples = len(waveform)
    inserting = rng.random() < config.insert_share
    num_stretches = int(rng.integers(config.min_stretches, config.max_stretches + 1))
    floor = 0.0
    if rng.random() >= config.zero_share:
        peak = float(np.abs(waveform).max(initial=0.0))
        floor = peak * 10.0 ** (rng.uniform(config.min_floor_dB, config.max_floor_dB) / 20.0)
    left = round(config.max_silent_share * num_samples)
    result = waveform.copy()
    for _ in range(num_stretches):
        duration_s = rng.uniform(config.min_duration_s, config.max_duration_s)
        length = min(round(duration_s * sample_rate), left)
        left -= length
        start = _draw_start(num_samples - length, config.edge_share, rng)
        if inserting:
            result[start + length :] = result[start : num_samples - length].copy()
        result[start : start + length] = (
            np.float32(floor) * rng.standard_normal(length, np.float32) if floor else 0.0
        )
    return result


def _draw_start(last: int, edge_share: float, rng: np.random.Generator) -> int:
    """Before all else, behind it, or anywhere."""
    if rng.random() < edge_share:
        return last if rng.random() < 0.5 else 0
    return int(rng.integers(last + 1))


def clip_loudest(waveform: np.ndarray, share: float) -> np.ndarray:
    """Clip at the level that ``round(share * samples)`` samples reach or exceed in magnitude.

    These, and any that were at that very level before, end at plus or minus that level. The
    waveform ``(samples,)`` is not made louder again.
    """
    num_clipped = round(share * len(waveform))
    if num_clipped < 1:
        return waveform
    magnitudes = np.abs(waveform)
    place = len(waveform) - num_clipped
    level = np.partition(magnitudes, place)[place]
    return np.clip(waveform, -level, level)
