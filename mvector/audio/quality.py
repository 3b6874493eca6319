"""How good a clip is: how much speech it holds, and how far the speech stands above the noise."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mvector.audio.level import FRAME_S, Sound, sound_of
from mvector.errors import AudioError

#: What :func:`clip_quality` measures.
CLIP_MEASURES = ("speech_duration_s", "snr_db")

NOISE_SHARE = 0.1  # the quietest frames, which are taken to hold noise alone
SPEECH_ABOVE_NOISE_DB = 3.0
SPEECH_RANGE_DB = 40.0  # frames this far below the loudest one are no speech
MAX_SNR_DB = 60.0


class SpeechQuality(NamedTuple):
    """How good a clip is, or all clips of a person together."""

    speech_s: float  # seconds of speech, in total
    snr_db: float  # the mean over several clips, and so those below
    low_edge_hz: float | None = None  # None: not known; see mvector.audio.band.measure_band
    bandwidth_hz: float | None = None
    hole_share: float | None = None


def clip_quality(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """Duration of speech in seconds, and estimate of the SNR in dB, float64 ``(2,)``.

    Both are of the clip's sound, without offset and digital silence; see
    :func:`mvector.audio.level.sound_of`. The power of frames of 20 ms is compared with that of the
    quietest tenth of them, which speech leaves in its pauses and closures: frames 3 dB above it,
    and within 40 dB of the loudest frame, are speech. The SNR is the ratio of the power of these,
    less the noise, to the noise; it lies between 0 and 60 dB. Steady sounds without a pause have no
    speech and 0 dB.

    Raises:
        AudioError: the waveform is not mono or shorter than a frame.
    """
    return quality_of(speech_frames(waveform, sample_rate), sample_rate)


class SpeechFrames(NamedTuple):
    """The frames of 20 ms of a clip's sound; perhaps none."""

    sound: Sound
    frames: np.ndarray  # (frames, samples)
    powers: np.ndarray  # mean square of each
    noise: float  # mean power of the quietest tenth
    is_speech: np.ndarray


def speech_frames(waveform: np.ndarray, sample_rate: int) -> SpeechFrames:
    """Cut a clip into frames and find speech; see :func:`clip_quality`."""
    if waveform.ndim != 1 or not len(cut_frames(waveform, sample_rate)):
        raise AudioError(
            f"The quality of a clip is measured on one channel of at least {FRAME_S:g} s; "
            f"got shape {waveform.shape} at {sample_rate} Hz."
        )
    sound = sound_of(waveform, sample_rate)
    frames = cut_frames(sound.samples, sample_rate)
    if not len(frames):
        return SpeechFrames(sound, frames, np.zeros(0), 0.0, np.zeros(0, dtype=bool))
    powers = powers_of(frames)
    return SpeechFrames(sound, frames, powers, *find_speech(powers))


def cut_frames(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """The whole frames of 20 ms of samples, ``(frames, samples)``."""
    frame = max(1, round(FRAME_S * sample_rate))
    return samples[: len(samples) // frame * frame].reshape(-1, frame)


def powers_of(frames: np.ndarray) -> np.ndarray:
    """Mean square of each frame, float64 ``(frames,)``."""
    return np.einsum("ij,ij->i", frames, frames, dtype=np.float64) / frames.shape[1]


def find_speech(powers: np.ndarray) -> tuple[float, np.ndarray]:
    """The power of the noise, and which frames are speech, of the powers ``(frames,)`` of sound."""
    num_noise = max(1, round(NOISE_SHARE * len(powers)))
    noise = float(np.partition(powers, num_noise - 1)[:num_noise].mean())
    return noise, (powers > noise * 10.0 ** (SPEECH_ABOVE_NOISE_DB / 10.0)) & (
        powers > powers.max() * 10.0 ** (-SPEECH_RANGE_DB / 10.0)
    )


def quality_of(found: SpeechFrames, sample_rate: int) -> np.ndarray:
    """:func:`clip_quality` of frames."""
    _, frames, powers, noise, is_speech = found
    if not is_speech.any():
        return np.zeros(2)
    speech = float(powers[is_speech].mean()) - noise
    least_noise = speech * 10.0 ** (-MAX_SNR_DB / 10.0)
    snr_db = 10.0 * np.log10(speech / max(noise, least_noise))
    seconds = np.count_nonzero(is_speech) * frames.shape[1] / sample_rate
    return np.array([seconds, max(0.0, snr_db)])
