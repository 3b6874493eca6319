"""What a channel left of a voice: the band of its speech, and the holes of a codec in it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mvector.audio.quality import NOISE_SHARE, SpeechFrames

CONTENT_RANGE_DB = 70.0  # what lies further below the strongest frequency is no content
LOW_RANGE_DB = 20.0  # the same at the lower end, where rumble and filters' skirts lie
ABOVE_NOISE_DB = 9.0  # of 500 Hz of speech; noise by itself comes to 6 or 7 dB
LOW_ABOVE_NOISE_DB = 20.0  # of a single frequency; noise by itself comes to 17 dB
HOLE_DB = 25.0  # below its surroundings

_PERCENTILE = 95.0  # sibilants, which reach highest, are a small part of speech
_MOST_FRAMES = 3000  # the spectrum of a minute tells the band of all
_VOICE_FROM_HZ = 200.0  # hum and rumble may be stronger than any voice
_NOISE_WINDOW_HZ = 500.0
_HOLES_FROM_HZ = 1000.0
_SURROUNDINGS_HZ = 600.0


class Band(NamedTuple):
    """What is left of a voice; see :func:`measure_band`."""

    low_edge_hz: float  # lowest frequency of the speech
    bandwidth_hz: float  # highest frequency of the speech
    hole_share: float  # share of the speech's spectrum that is missing, 0 to 1


def measure_band(found: SpeechFrames, sample_rate: int) -> Band:
    """Measure the band of a clip's speech, and how much is missing in it.

    All is measured on the power spectra of the frames of 20 ms with a Hann window, whose
    frequencies lie 50 Hz apart. The spectrum of the speech is the 95th percentile over the frames
    with speech, or over all frames where there is no speech; the strongest frequency is that of
    200 Hz or more.

    ``bandwidth_hz`` is the highest frequency within 70 dB of the strongest, and no higher than the
    highest 500 Hz in which the speech stands 9 dB above the noise: the mean of the quietest tenth
    of all frames in these 500 Hz. So noise that came behind a narrow channel does not widen it;
    what steady noise covers counts as missing. Where speech stands out nowhere, noise is not
    looked at.

    ``low_edge_hz`` is the lowest frequency within 20 dB of the strongest at which the speech
    stands 20 dB above the noise of that frequency.

    ``hole_share`` counts the cells, one frequency in one frame with speech, that lie 25 dB or more
    below the mean of the 600 Hz around them in the same frame, from 1 kHz to 600 Hz below the upper
    edge. mp3 and AAC at low rates leave cells empty; in natural speech it is less than 2 %.
    """
    frames, is_speech = found.frames, found.is_speech
    if not len(frames):
        return Band(0.0, 0.0, 0.0)
    step = -(-len(frames) // _MOST_FRAMES)
    frames, is_speech = frames[::step], is_speech[::step]
    power = np.abs(np.fft.rfft(frames * np.hanning(frames.shape[1]), axis=1)) ** 2
    speech = power[is_speech] if is_speech.any() else power
    hz = sample_rate / frames.shape[1]
    spectrum = np.percentile(speech, _PERCENTILE, axis=0)
    strongest = spectrum[round(_VOICE_FROM_HZ / hz) :].max()
    if not strongest > 0:
        return Band(0.0, 0.0, 0.0)
    content = np.flatnonzero(spectrum > strongest * _ratio(-CONTENT_RANGE_DB))
    highest = int(content[-1])
    if is_speech.any():
        highest = min(highest, _highest_above_noise(power, speech, round(_NOISE_WINDOW_HZ / hz)))
    is_low = spectrum > strongest * _ratio(-LOW_RANGE_DB)
    is_low &= spectrum > _noise_of(power) * _ratio(LOW_ABOVE_NOISE_DB)
    is_low[0] = False  # what there is of 0 Hz is drift
    lowest = int(np.argmax(is_low)) if is_low.any() else 0
    return Band(
        low_edge_hz=float(min(lowest, highest) * hz),
        bandwidth_hz=float(highest * hz),
        hole_share=_hole_share(
            speech, round(_HOLES_FROM_HZ / hz), highest, round(_SURROUNDINGS_HZ / hz)
        ),
    )


def _ratio(decibels: float) -> float:
    return float(10.0 ** (decibels / 10.0))


def _noise_of(power: np.ndarray) -> np.ndarray:
    """Mean of the quietest tenth of the frames at each frequency, of power ``(frames, bins)``."""
    num_noise = max(1, round(NOISE_SHARE * len(power)))
    quietest: np.ndarray = np.partition(power, num_noise - 1, axis=0)[:num_noise].mean(axis=0)
    return quietest


def _sums(power: np.ndarray, width: int) -> np.ndarray:
    """Sums of ``width`` neighbouring frequencies, ``(frames, bins - width + 1)``."""
    total = np.cumsum(np.pad(power, ((0, 0), (1, 0))), axis=1)
    # of a running total, what is left of a difference may lie below zero
    return np.maximum(total[:, width:] - total[:, :-width], 0.0)


def _highest_above_noise(power: np.ndarray, speech: np.ndarray, width: int) -> int:
    """The upper end of the highest stretch in which speech stands above noise, or the last bin."""
    last = power.shape[1] - 1
    noise = _noise_of(_sums(power, width))
    loudest = np.percentile(_sums(speech, width), _PERCENTILE, axis=0)
    above = np.flatnonzero(loudest > noise * _ratio(ABOVE_NOISE_DB))
    return min(last, int(above[-1]) + width - 1) if len(above) else last


def _hole_share(speech: np.ndarray, lowest: int, highest: int, width: int) -> float:
    """Share of cells of ``(frames, bins)`` that are far below those around them."""
    half = width // 2
    centres = slice(lowest, highest - width + 1)
    cells = speech[:, centres]
    if not cells.size:
        return 0.0
    around = _sums(speech[:, lowest - half : centres.stop + half], 2 * half + 1)
    is_hole = cells * (2 * half + 1) < around * _ratio(-HOLE_DB)
    return float(np.mean(is_hole))
