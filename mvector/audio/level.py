"""Loudness: the level of a clip and what counts as silence."""

from __future__ import annotations

import numpy as np

from mvector.errors import AudioError

SILENCE_DB = -80.0


def level_db(waveform: np.ndarray) -> float:
    """RMS level in dB relative to full scale: ``10 log10(mean square)``; -inf for digital zero."""
    power = float(np.mean(np.square(waveform, dtype=np.float64))) if waveform.size else 0.0
    return 10.0 * float(np.log10(power)) if power > 0.0 else -np.inf


def check_speech(
    waveform: np.ndarray, sample_rate: int, *, name: str, min_duration_s: float
) -> None:
    """Refuse a clip that no embedding should be computed from.

    Args:
        waveform: float array of shape ``(samples,)`` in [-1, 1].
        sample_rate: in Hz.
        name: how the message calls the clip.
        min_duration_s: shortest accepted duration in seconds.

    Raises:
        AudioError: the clip is shorter than that, or its level is below -80 dB.
    """
    check_duration(len(waveform) / sample_rate, name=name, min_duration_s=min_duration_s)
    if level_db(waveform) < SILENCE_DB:
        raise AudioError(
            f"{name} is silent (level below {SILENCE_DB:g} dB); record it again.",
            code="audio-silent",
        )


def check_duration(duration_s: float, *, name: str, min_duration_s: float) -> None:
    """Raise AudioError for a clip of less than ``min_duration_s`` seconds."""
    if duration_s < min_duration_s:
        raise AudioError(
            f"{name} is too short: it lasts {duration_s:.2f} s, "
            f"and at least {min_duration_s:g} s are needed.",
            code="audio-too-short",
        )
