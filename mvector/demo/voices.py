"""Speech-like clips of synthetic speakers, for demonstrations and tests that download nothing.

The source-filter model: a band-limited train of glottal pulses with aspiration noise (the source)
passes a cascade of formant resonators (the filter) that moves from consonant to vowel; frication
and a recording channel are added. The babble means nothing, but pitch, vocal tract and voice
quality stay with the speaker while level, noise, channel and a little of the voice change from clip
to clip, which is what a speaker embedding has to tell apart.

Sources: Fant, "Acoustic Theory of Speech Production" (1960), for the model; Klatt, "Software for a
cascade/parallel formant synthesizer" (JASA 67, 1980), for resonators and bandwidths.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator, default_rng

from mvector.demo.babble import Babble, articulate, invent_babble
from mvector.errors import AudioError

_MIN_SAMPLE_RATE = 8000  # the third formant of the shortest vocal tract must stay below Nyquist
_FRAME_SHIFT_S = 0.01
_SHIFTS_PER_FFT = 6  # 20 ms of signal and 40 ms in which even the narrowest resonance dies away

_UPPER_FORMANTS_HZ = np.array([3500, 4500, 5500, 6500, 7500])  # F4 to F8 of a uniform 17.5 cm tube
_BANDWIDTHS_HZ = np.array([70, 90, 130, 180, 250, 300, 350, 400])
_NUM_FORMANTS = len(_BANDWIDTHS_HZ)


@dataclass(frozen=True)
class Voice:
    """What stays with one synthetic speaker from clip to clip.

    Args:
        pitch_hz: mean fundamental frequency, about 80 to 260 Hz.
        pitch_range_semitones: fall of the pitch over a long phrase; accents grow with it.
        jitter: standard deviation of the pitch from cycle to cycle, as a share of the pitch.
        vocal_tract_scale: factor on every formant of an adult male, about 0.85 to 1.2; a shorter
            vocal tract has a larger one.
        formant_offsets: further relative deviation of each of F1 to F8.
        bandwidth_scale: factor on every formant bandwidth, about 0.7 to 1.6.
        tilt_db_per_octave: slope of the glottal spectrum, radiation at the lips included; about
            -10 (soft) to -4 (pressed).
        breathiness: 0 to 1; aspiration noise in the source and a steeper tilt.
        syllables_per_s: speaking rate without pauses, about 2.5 to 6.
    """

    pitch_hz: float = 120.0
    pitch_range_semitones: float = 4.0
    jitter: float = 0.01
    vocal_tract_scale: float = 1.0
    formant_offsets: tuple[float, ...] = (0.0,) * _NUM_FORMANTS
    bandwidth_scale: float = 1.0
    tilt_db_per_octave: float = -6.0
    breathiness: float = 0.2
    syllables_per_s: float = 4.0


def random_voice(seed: int) -> Voice:
    """A voice drawn from the range of adults; high voices tend to have short vocal tracts.

    Raises:
        AudioError: the seed is negative.
    """
    _require(seed >= 0, f"A voice's seed is {seed}; it must not be negative.")
    rng = default_rng(seed)
    height = rng.uniform()  # 0 is the lowest pitch, 1 the highest
    scale = 0.92 + 0.2 * height + rng.normal(0.0, 0.04)
    return Voice(
        pitch_hz=85.0 * (250.0 / 85.0) ** height,
        pitch_range_semitones=rng.uniform(1.5, 6.0),
        jitter=rng.uniform(0.004, 0.02),
        vocal_tract_scale=min(max(scale, 0.85), 1.2),
        formant_offsets=tuple(rng.normal(0.0, 0.05, _NUM_FORMANTS).clip(-0.1, 0.1).tolist()),
        bandwidth_scale=rng.uniform(0.7, 1.6),
        tilt_db_per_octave=rng.uniform(-10.0, -4.0),
        breathiness=rng.uniform(0.0, 0.8),
        syllables_per_s=rng.uniform(2.8, 5.5),
    )


def synthesise(
    voice: Voice,
    duration_s: float,
    sample_rate: int = 16000,
    *,
    seed: int,
    noise_db: float | None = -50.0,
    session_variation: float = 1.0,
) -> np.ndarray:
    """Babble of one voice in one recording session.

    Args:
        voice: the speaker.
        duration_s: length of the clip in seconds; memory grows by 4 MB per second.
        sample_rate: in Hz, at least 8000.
        seed: not negative; decides the syllables and the session. Voices of one speaking rate
            that are given the same seed say the same.
        noise_db: level of the background noise in dB relative to full scale, give or take 6 dB
            from session to session; ``None`` adds none.
        session_variation: how far the voice and the frequency response of the channel stray in
            this session, 0 to 3; 0 keeps the voice as it is and the channel flat.

    Returns:
        float32 array of shape ``(samples,)`` with its peak between 0.5 and 0.9.

    Raises:
        AudioError: duration, rate, seed, voice or session variation are out of range.
    """
    check_request(voice, duration_s, sample_rate, seed)
    _require(
        0.0 <= session_variation <= 3.0,
        f"session_variation is {session_variation:g}; it must lie in 0..3.",
    )
    text_rng, session_rng, noise_rng = default_rng(seed).spawn(3)
    voice = _vary_voice(voice, session_rng, session_variation)
    channel = session_variation * session_rng.standard_normal(4)
    level, noise_offset_db, noise_colour = session_rng.uniform((0.55, -6, 0.0), (0.85, 6, 0.95))

    num_samples = round(duration_s * sample_rate)
    babble = invent_babble(text_rng, voice.syllables_per_s, duration_s)
    pulses = _glottal_pulses(voice, babble, num_samples, sample_rate, noise_rng)
    noise = noise_rng.standard_normal(num_samples)
    speech = _vocal_tract(voice, babble, pulses, noise, sample_rate, channel)
    speech *= level / max(float(np.abs(speech).max()), 1e-9)
    if noise_db is not None:
        gain = 10.0 ** ((noise_db + noise_offset_db) / 20.0)
        speech += gain * _coloured_noise(num_samples, noise_colour, noise_rng)
        speech *= min(1.0, 0.9 / float(np.abs(speech).max()))
    return speech.astype(np.float32)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AudioError(message)


def check_request(voice: Voice, duration_s: float, sample_rate: int, seed: int) -> None:
    """Refuse, with an ``AudioError``, what :func:`synthesise` cannot do."""
    _require(
        sample_rate >= _MIN_SAMPLE_RATE,
        f"Cannot synthesise at {sample_rate} Hz; use {_MIN_SAMPLE_RATE} Hz or more.",
    )
    _require(
        bool(np.isfinite(duration_s)) and round(duration_s * sample_rate) >= 1,
        f"Cannot synthesise a clip of {duration_s:g} s; give a positive duration.",
    )
    _require(seed >= 0, f"A clip's seed is {seed}; it must not be negative.")
    _require(
        20.0 <= voice.pitch_hz <= 1000.0
        and 0.5 <= voice.vocal_tract_scale <= 1.3
        and 0.0 <= voice.breathiness <= 1.0
        and 0.5 <= voice.syllables_per_s <= 20.0
        and voice.bandwidth_scale > 0.0
        and len(voice.formant_offsets) == _NUM_FORMANTS,
        f"{voice} is no voice: keep pitch_hz in 20..1000, vocal_tract_scale in 0.5..1.3, "
        "breathiness in 0..1, syllables_per_s in 0.5..20, bandwidth_scale positive and eight "
        "formant_offsets.",
    )


def _vary_voice(voice: Voice, rng: Generator, amount: float) -> Voice:
    """The voice as it sounds in one session: mood, health and effort shift it a little."""
    semitones, scale, tilt_db, breath, rate, *offsets = amount * rng.standard_normal(
        5 + _NUM_FORMANTS
    )
    return replace(
        voice,
        pitch_hz=voice.pitch_hz * 2.0 ** (0.6 * semitones / 12.0),
        vocal_tract_scale=voice.vocal_tract_scale * (1.0 + 0.01 * scale),
        formant_offsets=tuple(np.add(voice.formant_offsets, 0.01 * np.array(offsets)).tolist()),
        tilt_db_per_octave=voice.tilt_db_per_octave + 0.5 * tilt_db,
        breathiness=min(max(voice.breathiness + 0.06 * breath, 0.0), 1.0),
        syllables_per_s=voice.syllables_per_s * float(np.exp(0.08 * rate)),
    )


def _glottal_pulses(
    voice: Voice, babble: Babble, num_samples: int, sample_rate: int, rng: Generator
) -> np.ndarray:
    """A train of band-limited pulses along the pitch contour; every harmonic has amplitude 1."""
    time_s = np.arange(num_samples) / sample_rate
    semitones = voice.pitch_range_semitones * (babble.pitch - babble.pitch.mean())
    contour = np.interp(time_s, babble.start_s + 0.5 * babble.duration_s, semitones)
    cycles = np.arange(int(voice.pitch_hz * num_samples / sample_rate) + 2)
    jitter = np.interp(voice.pitch_hz * time_s, cycles, rng.standard_normal(len(cycles)))
    f0_hz = voice.pitch_hz * 2.0 ** (contour / 12.0) * (1.0 + voice.jitter * jitter)
    phase = 2.0 * np.pi * np.cumsum(f0_hz) / sample_rate
    # Dirichlet kernel: the sum of cos(k phase) over the harmonics below the Nyquist frequency.
    num_harmonics = np.floor(0.48 * sample_rate / f0_hz)
    half_sine = np.sin(0.5 * phase)
    at_pulse = np.abs(half_sine) < 1e-6
    ratio = np.sin((num_harmonics + 0.5) * phase) / np.where(at_pulse, 1.0, half_sine)
    return np.where(at_pulse, num_harmonics, 0.5 * ratio - 0.5)


def _vocal_tract(
    voice: Voice,
    babble: Babble,
    pulses: np.ndarray,
    noise: np.ndarray,
    sample_rate: int,
    channel: np.ndarray,
) -> np.ndarray:
    """Shape overlapping frames of the two sources by the resonances of their instant."""
    shift = round(_FRAME_SHIFT_S * sample_rate)
    spectra = _frame_spectra(pulses, shift)  # (frames, bins)
    noise_spectra = _frame_spectra(noise, shift)
    time_s = np.arange(len(spectra)) * shift / sample_rate
    bins_hz = np.fft.rfftfreq(_SHIFTS_PER_FFT * shift, 1.0 / sample_rate)
    voicing, frication, centre_hz, formants_hz = articulate(babble, time_s)

    tilt = voice.tilt_db_per_octave - 2.0 * voice.breathiness
    glottis = (1.0 + (bins_hz / 200.0) ** 2) ** (tilt / 12.04)
    harmonics_hz = np.arange(voice.pitch_hz, 0.48 * sample_rate, voice.pitch_hz)
    glottis /= np.sqrt(0.5 * np.sum(np.interp(harmonics_hz, bins_hz, glottis) ** 2))  # unit power
    breath = 10.0 ** ((-32.0 + 28.0 * voice.breathiness) / 20.0)
    spectra *= glottis  # in place, which keeps single precision: half the time
    spectra += breath * noise_spectra
    spectra *= voicing[:, None] * _formant_response(voice, formants_hz, sample_rate)

    vowel_power = np.sum(np.abs(spectra) ** 2) / max(float(np.sum(voicing**2)), 1e-9)
    noise_power = np.mean(np.sum(np.abs(noise_spectra) ** 2, axis=1))
    hissing = np.flatnonzero(frication > 1e-3)
    centre_hz = voice.vocal_tract_scale * centre_hz[hissing, None]
    hiss = 1.0 / (1.0 + ((bins_hz - centre_hz) / (0.3 * centre_hz)) ** 2)
    hiss *= frication[hissing, None] / np.sqrt(np.mean(hiss**2, axis=1, keepdims=True))
    spectra[hissing] += np.sqrt(vowel_power / noise_power) * hiss * noise_spectra[hissing]

    octaves = np.log2(np.maximum(bins_hz, 60.0) / 1000.0)
    ripples = np.cos(np.pi * np.arange(1, 4)[:, None] * (octaves + 4.0) / 7.0)
    spectra *= 10.0 ** ((0.6 * channel[0] * octaves + 0.9 * channel[1:] @ ripples) / 20.0)
    return _overlap_add(spectra, shift)[: len(pulses)]


def _formant_response(voice: Voice, formants_hz: np.ndarray, sample_rate: int) -> np.ndarray:
    """Complex response ``(frames, bins)`` of a cascade of Klatt's resonators, 1 at 0 Hz."""
    num_frames = len(formants_hz)
    upper_hz = np.broadcast_to(_UPPER_FORMANTS_HZ, (num_frames, len(_UPPER_FORMANTS_HZ)))
    frequencies_hz = np.concatenate([formants_hz, upper_hz], axis=1)
    frequencies_hz *= voice.vocal_tract_scale * (1.0 + np.array(voice.formant_offsets))
    radii = np.exp(-np.pi * voice.bandwidth_scale * _BANDWIDTHS_HZ / sample_rate)
    num_fft = _SHIFTS_PER_FFT * round(_FRAME_SHIFT_S * sample_rate)
    denominator = np.zeros((num_frames, num_fft))  # polynomial in 1/z with all the poles
    denominator[:, 0] = 1.0
    highest_hz = 0.48 * sample_rate
    for k in np.flatnonzero(np.median(frequencies_hz, axis=0) < highest_hz):
        frequency_hz = np.minimum(frequencies_hz[:, k, None], highest_hz)
        cosine = np.cos(2.0 * np.pi * frequency_hz / sample_rate)
        before = denominator[:, : 2 * k + 3].copy()
        denominator[:, 1 : 2 * k + 3] -= 2.0 * radii[k] * cosine * before[:, :-1]
        denominator[:, 2 : 2 * k + 3] += radii[k] ** 2 * before[:, :-2]
    return denominator.sum(axis=1, keepdims=True) / np.fft.rfft(denominator)


def _frame_spectra(signal: np.ndarray, shift: int) -> np.ndarray:
    """Spectra ``(frames, bins)`` of Hann-windowed frames that add up to the signal."""
    from scipy.signal import get_window

    num_frames = -(-len(signal) // shift) + 1
    padded = np.pad(signal.astype(np.float32), (shift, num_frames * shift - len(signal)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, 2 * shift)[::shift]
    window = get_window("hann", 2 * shift).astype(np.float32)
    return np.fft.rfft(frames * window, _SHIFTS_PER_FFT * shift)


def _overlap_add(spectra: np.ndarray, shift: int) -> np.ndarray:
    blocks = np.fft.irfft(spectra, _SHIFTS_PER_FFT * shift).reshape(-1, _SHIFTS_PER_FFT, shift)
    total = np.zeros((len(blocks) + _SHIFTS_PER_FFT, shift))
    for delay in range(_SHIFTS_PER_FFT):
        total[delay : delay + len(blocks)] += blocks[:, delay]
    return total.ravel()[shift:]


def _coloured_noise(num_samples: int, colour: float, rng: Generator) -> np.ndarray:
    """First-order autoregressive noise of unit power; ``colour`` 0 is white, towards 1 darker."""
    from scipy.signal import lfilter

    white = np.sqrt(1.0 - colour**2) * rng.standard_normal(num_samples)
    return lfilter([1.0], [1.0, -colour], white)
