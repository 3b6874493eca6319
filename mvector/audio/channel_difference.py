"""How unlike the channels are that two clips came through."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mvector.audio.clip_report import MANY_HOLES, NARROW_BAND_HZ, QUIET_FROM_SNR_DB, TRUSTED
from mvector.audio.quality import SpeechQuality

UNLIKE_OCTAVES = 0.35  # 5.5 kHz against 7 kHz, or 6 against 8: a third of an octave and more
UNLIKE_HOLES = 0.02  # of the spectrum

_LEAST_SNR_DB = TRUSTED.min_snr_db or 0.0


@dataclass(frozen=True)
class ChannelDifference:
    """How unlike two channels are; see :func:`channel_difference`."""

    band_octaves: float  # between the highest frequencies; 0 if one is not known
    hole_share: float  # difference of the missing shares, 0 to 1
    reasons: tuple[str, ...]  # in words; empty for channels that are much alike


def channel_difference(one: SpeechQuality, other: SpeechQuality) -> ChannelDifference:
    """Compare what the channels of two clips left of the voice; which is which makes no difference.

    The bands are told to be unlike from 0.35 octaves on, unless one of the clips is so noisy (below
    12 dB) that the noise may hide its highest frequencies, and the holes where one clip has many
    (3.5 % of the spectrum) and 2 % more than the other.
    """
    octaves = holes = 0.0
    reasons = []
    if one.bandwidth_hz and other.bandwidth_hz:
        low, high = sorted((one.bandwidth_hz, other.bandwidth_hz))
        snr_db = min(one.snr_db, other.snr_db)
        octaves = math.log2(high / low)
        if octaves >= UNLIKE_OCTAVES and snr_db >= _LEAST_SNR_DB:
            if low < NARROW_BAND_HZ and snr_db >= QUIET_FROM_SNR_DB:
                reasons.append(
                    f"one clip is from a telephone (up to {low / 1000.0:.1f} kHz), "
                    f"the other is not (up to {high / 1000.0:.1f} kHz)"
                )
            else:
                reasons.append(
                    f"one clip ends at {low / 1000.0:.1f} kHz, the other at {high / 1000.0:.1f} kHz"
                )
    if one.hole_share is not None and other.hole_share is not None:
        few, many = sorted((one.hole_share, other.hole_share))
        holes = many - few
        if many > MANY_HOLES and holes > UNLIKE_HOLES:
            reasons.append(
                f"one clip is heavily compressed ({100.0 * many:.0f} % of its spectrum is "
                "missing), the other is not"
            )
    return ChannelDifference(octaves, holes, tuple(reasons))
