"""What one voice of a recording says, as a clip: to name it by, or to enrol it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mvector.audio import AudioSource, audio_windows
from mvector.embedding.encoder import SpeakerEncoder

CLIP_S = 60.0  # more does not make an embedding better
_MARGIN_S = 0.1  # at either end of a stretch: the voice before, and what boundaries are off by
_LEAST_S = 0.5
_BLOCK_S = 30.0


def voice_clips(
    encoder: SpeakerEncoder,
    source: AudioSource,
    stretches: Sequence[Sequence[tuple[float, float]]],
) -> list[np.ndarray]:
    """The longest stretches of each voice behind each other, decoded in one go.

    Args:
        encoder: whose rate and channel count.
        source: the recording.
        stretches: of each voice, begin and end in seconds.

    Returns:
        Of each voice, float32 ``(samples,)`` of up to 60 s.
    """
    rate = encoder.sample_rate
    wanted = sorted(
        (round(start * rate), round(stop * rate), voice)
        for voice, own in enumerate(stretches)
        for start, stop in _longest(own)
    )
    pieces: list[list[np.ndarray]] = [[np.zeros(0, np.float32)] for _ in stretches]
    blocks = audio_windows(
        source,
        rate,
        window_s=_BLOCK_S,
        duration_s=max((stop for _, stop, _ in wanted), default=1) / rate,
        channel=encoder.channel,
        mono_as_is=True,
        limits=encoder.listening.limits,
    )
    first = 0
    for block in blocks:
        for start, stop, voice in wanted:
            if start < first + len(block) and stop > first:
                pieces[voice].append(block[max(0, start - first) : stop - first].copy())
        first += len(block)
    return [np.concatenate(own) for own in pieces]


def _longest(stretches: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The longest of some stretches, without their ends, up to 60 s together."""
    chosen: list[tuple[float, float]] = []
    seconds = 0.0
    for start, stop in sorted(stretches, key=lambda place: place[0] - place[1]):
        margin = min(_MARGIN_S, max(0.0, (stop - start - _LEAST_S) / 2.0))
        length = min(stop - start - 2.0 * margin, CLIP_S - seconds)
        if length <= 0:
            break
        chosen.append((start + margin, start + margin + length))
        seconds += length
    return chosen
