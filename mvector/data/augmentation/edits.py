"""What is cut out of a crop, put into it, or cut off: flip-splice, silence, clipping."""

from __future__ import annotations

import numpy as np

from mvector.config.augment_options import ClippingConf, FlipSpliceConf, SilenceConf


def flip_splice(
    waveform: np.ndarray, sample_rate: int, config: FlipSpliceConf, rng: np.random.Generator
) -> np.ndarray:
    """Cut a crop in pieces at random places and put them together in another order.

    Args:
        waveform: ``(samples,)``; too short for two pieces, it is left as it is.
        sample_rate: in Hz.
        config: how many pieces, and how short they may be.
        rng: every choice comes from it.

    Returns:
        The same samples in another order.
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
    """Put stretches of zeros into a crop, either between the samples or in their place.

    Inserted silence moves what follows to later and the end out of the crop; the length stays.

    Args:
        waveform: ``(samples,)``.
        sample_rate: in Hz.
        config: how many stretches, how long, and how often they are inserted.
        rng: every choice comes from it.
    """
    num_samples = len(waveform)
    inserting = rng.random() < config.insert_share
    num_stretches = int(rng.integers(config.min_stretches, config.max_stretches + 1))
    result = waveform.copy()
    for _ in range(num_stretches):
        duration_s = rng.uniform(config.min_duration_s, config.max_duration_s)
        length = min(round(duration_s * sample_rate), num_samples)
        start = int(rng.integers(num_samples - length + 1))
        if inserting:
            result[start + length :] = result[start : num_samples - length].copy()
        result[start : start + length] = 0.0
    return result


def clip_loudest(waveform: np.ndarray, share: float) -> np.ndarray:
    """Clip symmetrically at the level that ``share`` of the samples reach or exceed in magnitude.

    Args:
        waveform: ``(samples,)``.
        share: of the samples that end at plus or minus the clipping level: ``round(share *
            samples)`` of them, and any that were at that very level before.

    Returns:
        The clipped waveform, not made louder again.
    """
    num_clipped = round(share * len(waveform))
    if num_clipped < 1:
        return waveform
    magnitudes = np.abs(waveform)
    place = len(waveform) - num_clipped
    level = np.partition(magnitudes, place)[place]
    return np.clip(waveform, -level, level)


def clip_at_random(
    waveform: np.ndarray, config: ClippingConf, rng: np.random.Generator
) -> np.ndarray:
    """:func:`clip_loudest` with a share drawn evenly from the configured range."""
    return clip_loudest(waveform, rng.uniform(config.min_share, config.max_share))
