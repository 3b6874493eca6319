"""Synthetic voices: what a clip of one sounds like, measured by other means than it was made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import signal

from mvector.audio import level_db, read_audio
from mvector.demo import voices as synthesis
from mvector.demo.corpus import write_corpus
from mvector.demo.voices import Voice, random_voice, synthesise
from mvector.errors import AudioError, DataError, MVectorError

RATE = 16000


def frames_of(waveform: np.ndarray, length: int = 800, shift: int = 400) -> np.ndarray:
    return np.lib.stride_tricks.sliding_window_view(waveform, length)[::shift]


def loud_frames(waveform: np.ndarray) -> np.ndarray:
    frames = frames_of(waveform)
    energy = np.square(frames).sum(axis=1)
    return frames[energy > np.percentile(energy, 60)]


def periodicity(waveform: np.ndarray) -> tuple[float, float]:
    """Median pitch in Hz and harmonics-to-noise ratio in dB by Boersma's autocorrelation (1993)."""
    window = np.hanning(800)
    lags = np.arange(RATE // 400, RATE // 60)
    of_window = np.correlate(window, window, "full")[799:1200]
    pitches, ratios = [], []
    for frame in loud_frames(waveform.astype(np.float64)):
        tapered = (frame - frame.mean()) * window
        correlation = np.correlate(tapered, tapered, "full")[799:1200] / of_window
        correlation /= correlation[0]
        # The shortest lag that is about as good as the best one: not an octave too low.
        best = correlation[lags].max()
        lag = lags[np.flatnonzero(correlation[lags] > 0.9 * best)[0]]
        lag += int(np.argmax(correlation[lag : lag + 12]))
        strength = float(np.clip(correlation[lag], 1e-3, 0.9999))
        pitches.append(RATE / lag)
        ratios.append(10 * np.log10(strength / (1 - strength)))
    return float(np.median(pitches)), float(np.median(ratios))


def average_spectrum_db(waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    bins_hz, power = signal.welch(waveform.astype(np.float64), RATE, nperseg=512)
    return bins_hz, 10 * np.log10(power + 1e-14)


def clip_mean_cepstrum(waveform: np.ndarray) -> np.ndarray:
    """Mean log spectrum in 32 bands of mel width, without its level, over the louder frames."""
    frames = loud_frames(waveform.astype(np.float64)) * np.hamming(800)
    power = np.square(np.abs(np.fft.rfft(frames)))
    mel_edges = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 33)
    edges = (700 * (10 ** (mel_edges / 2595) - 1) / RATE * 800).astype(int)
    edges = np.maximum(edges, np.arange(33))
    bands = np.log(np.add.reduceat(power[:, : edges[-1]], edges[:-1], axis=1) + 1e-8)
    return (bands - bands.mean(axis=1, keepdims=True)).mean(axis=0)


# --- one clip ---------------------------------------------------------------------------------


def test_the_same_voice_and_seed_give_the_same_samples() -> None:
    voice = random_voice(5)
    np.testing.assert_array_equal(synthesise(voice, 1.0, seed=9), synthesise(voice, 1.0, seed=9))
    assert random_voice(5) == voice


def test_another_seed_gives_another_clip_of_the_voice() -> None:
    first, second = (synthesise(random_voice(5), 2.0, seed=seed) for seed in (1, 2))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.2
    assert np.abs(first).max() != np.abs(second).max()


@pytest.mark.parametrize("sample_rate", [8000, 16000, 22050, 44100])
@pytest.mark.parametrize("duration_s", [0.02, 0.5, 3.21])
def test_a_clip_has_the_length_asked_for_and_peaks_below_full_scale(
    sample_rate: int, duration_s: float
) -> None:
    for seed in range(4):
        waveform = synthesise(random_voice(seed), duration_s, sample_rate, seed=seed)
        assert waveform.dtype == np.float32
        assert waveform.shape == (round(duration_s * sample_rate),)
        assert np.isfinite(waveform).all()
        assert 0.5 <= np.abs(waveform).max() <= 0.9001


def test_extreme_voices_stay_finite() -> None:
    extremes = [
        Voice(pitch_hz=20.0, vocal_tract_scale=0.5, breathiness=1.0, bandwidth_scale=0.1),
        Voice(pitch_hz=1000.0, vocal_tract_scale=1.3, breathiness=0.0, syllables_per_s=20.0),
    ]
    for voice in extremes:
        for sample_rate in (8000, 16000):
            waveform = synthesise(voice, 1.0, sample_rate, seed=0, session_variation=3.0)
            assert np.isfinite(waveform).all()
            assert level_db(waveform) > -40.0


@pytest.mark.parametrize("pitch_hz", [90.0, 140.0, 230.0])
def test_the_measured_pitch_is_the_voices(pitch_hz: float) -> None:
    voice = Voice(pitch_hz=pitch_hz, pitch_range_semitones=1.0, breathiness=0.0)
    measured_hz, _ = periodicity(synthesise(voice, 6.0, seed=3, session_variation=0.0))
    assert measured_hz == pytest.approx(pitch_hz, rel=0.04)


def test_a_shorter_vocal_tract_moves_the_spectral_envelope_up_by_its_scale() -> None:
    grid_hz = np.geomspace(800, 3500, 400)  # 272 steps to a factor of e
    envelopes = []
    for scale in (0.9, 1.1):
        voice = Voice(pitch_hz=90.0, vocal_tract_scale=scale)
        bins_hz, level = average_spectrum_db(
            synthesise(voice, 12.0, seed=4, noise_db=None, session_variation=0.0)
        )
        level = np.convolve(level, np.hanning(9) / np.hanning(9).sum(), "same")  # hides harmonics
        envelopes.append(signal.detrend(np.interp(grid_hz, bins_hz, level)))
    long_tract, short_tract = envelopes
    step = np.log(grid_hz[1] / grid_hz[0])
    match = {
        shift: np.corrcoef(long_tract[: len(grid_hz) - shift], short_tract[shift:])[0, 1]
        for shift in range(0, 150)
    }
    best = max(match, key=lambda shift: match[shift])
    assert np.exp(best * step) == pytest.approx(1.1 / 0.9, rel=0.05)
    assert match[best] > match[0] + 0.1


def test_a_breathier_voice_has_a_lower_harmonics_to_noise_ratio() -> None:
    ratios = [
        periodicity(
            synthesise(
                Voice(jitter=0.0, pitch_range_semitones=1.0, breathiness=breathiness),
                5.0,
                seed=6,
                noise_db=None,
                session_variation=0.0,
            )
        )[1]
        for breathiness in (0.0, 0.5, 1.0)
    ]
    assert ratios[0] > ratios[1] + 2.0
    assert ratios[1] > ratios[2] + 2.0


def test_tilt_is_the_slope_of_the_spectrum() -> None:
    spectra = [
        average_spectrum_db(
            synthesise(
                Voice(tilt_db_per_octave=tilt, breathiness=0.0), 5.0, seed=8, session_variation=0.0
            )
        )
        for tilt in (-4.0, -8.0)
    ]
    bins_hz = spectra[0][0]
    difference_db = spectra[0][1] - spectra[1][1]
    one_khz, two_khz = (np.abs(bins_hz - f) < 0.15 * f for f in (1000.0, 2000.0))
    slope = difference_db[two_khz].mean() - difference_db[one_khz].mean()
    assert slope == pytest.approx(4.0, abs=0.7)


def test_background_noise_has_the_level_asked_for_and_can_be_left_out() -> None:
    def floor_db(noise_db: float | None) -> float:
        waveform = synthesise(Voice(), 8.0, seed=2, noise_db=noise_db)
        return min(level_db(frame) for frame in frames_of(waveform, 1600))

    assert floor_db(-45.0) == pytest.approx(-45.0, abs=7.5)
    assert floor_db(-35.0) - floor_db(-45.0) == pytest.approx(10.0, abs=1.0)
    assert floor_db(None) < -70.0


def test_the_voice_of_the_day_shifts_the_pitch_and_zero_variation_does_not() -> None:
    voice = Voice(pitch_range_semitones=0.1, breathiness=0.0)

    def spread_semitones(variation: float) -> float:
        clips = [synthesise(voice, 1.0, seed=s, session_variation=variation) for s in range(8)]
        return float(np.std([12 * np.log2(periodicity(clip)[0]) for clip in clips]))

    assert spread_semitones(0.0) < 0.2
    assert 0.25 < spread_semitones(1.0) < 1.2  # drawn with 0.6


def test_sessions_of_one_voice_differ_more_when_told_to() -> None:
    def spread(session_variation: float) -> float:
        clips = [
            synthesise(Voice(), 4.0, seed=seed, session_variation=session_variation)
            for seed in range(6)
        ]
        return float(np.std([clip_mean_cepstrum(clip) for clip in clips], axis=0).mean())

    assert spread(2.0) > 1.3 * spread(0.0)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"duration_s": 0.0}, "0 s"),
        ({"duration_s": float("nan")}, "nan s"),
        ({"duration_s": float("inf")}, "inf s"),
        ({"sample_rate": 4000}, "4000 Hz"),
        ({"seed": -1}, "-1"),
        ({"session_variation": -0.5}, "-0.5"),
        ({"voice": Voice(breathiness=2.0)}, "breathiness"),
        ({"voice": Voice(pitch_hz=0.0)}, "pitch_hz"),
        ({"voice": Voice(syllables_per_s=0.0)}, "syllables_per_s"),
        ({"voice": Voice(formant_offsets=(0.0,))}, "eight formant_offsets"),
    ],
)
def test_an_impossible_clip_is_refused_by_name(arguments: dict[str, object], named: str) -> None:
    valid: dict[str, object] = {"voice": Voice(), "duration_s": 1.0, "seed": 0}
    with pytest.raises(AudioError, match=named):
        synthesise(**{**valid, **arguments})  # type: ignore[arg-type]


# --- the filter, against scipy ------------------------------------------------------------------


def klatt_cascade(voice: Voice, formants_hz: list[float]) -> np.ndarray:
    """Second-order sections of Klatt's digital resonator, A = 1 - B - C (1980, eq. 2)."""
    upper_hz = [f * voice.vocal_tract_scale for f in (3500, 4500, 5500, 6500, 7500)]
    frequencies = [f * voice.vocal_tract_scale for f in formants_hz] + upper_hz
    sections = []
    for frequency, bandwidth in zip(
        frequencies, (70, 90, 130, 180, 250, 300, 350, 400), strict=True
    ):
        if frequency < 0.48 * RATE:
            c = -np.exp(-2 * np.pi * bandwidth / RATE)
            b = 2 * np.exp(-np.pi * bandwidth / RATE) * np.cos(2 * np.pi * frequency / RATE)
            sections.append([1 - b - c, 0, 0, 1, -b, -c])
    return np.array(sections)


@pytest.mark.parametrize("scale", [0.85, 1.0, 1.2])
def test_the_vocal_tract_is_a_cascade_of_klatt_resonators(scale: float) -> None:
    voice = Voice(vocal_tract_scale=scale)
    vowels = [[270.0, 2290.0, 3010.0], [730.0, 1090.0, 2440.0]]
    response = synthesis._formant_response(voice, np.array(vowels), RATE)
    bins = np.linspace(0, np.pi, response.shape[1])
    for row, vowel in zip(response, vowels, strict=True):
        _, expected = signal.sosfreqz(klatt_cascade(voice, vowel), bins)
        np.testing.assert_allclose(row, expected, rtol=1e-6, atol=1e-9)


def test_filtering_by_frames_equals_filtering_in_time_while_the_vowel_lasts() -> None:
    pulses = np.zeros(RATE // 2)
    pulses[:: RATE // 100] = 1.0
    vowel = [530.0, 1840.0, 2480.0]
    spectra = synthesis._frame_spectra(pulses, 160)
    response = synthesis._formant_response(Voice(), np.array([vowel]), RATE)
    filtered = synthesis._overlap_add(spectra * response, 160)[: len(pulses)]
    expected = signal.sosfilt(klatt_cascade(Voice(), vowel), pulses)
    error = np.square(filtered - expected).sum() / np.square(expected).sum()
    assert 10 * np.log10(error) < -60.0


# --- many voices ----------------------------------------------------------------------------------


def test_random_voices_cover_the_range_of_adults_and_high_ones_have_shorter_tracts() -> None:
    voices = [random_voice(seed) for seed in range(300)]
    pitches = np.array([voice.pitch_hz for voice in voices])
    scales = np.array([voice.vocal_tract_scale for voice in voices])
    assert len(set(voices)) == 300
    assert 80.0 < pitches.min() < 95.0
    assert 225.0 < pitches.max() < 260.0
    assert scales.min() >= 0.85
    assert scales.max() <= 1.2
    assert 0.5 < np.corrcoef(np.log(pitches), scales)[0, 1] < 0.95
    with pytest.raises(AudioError, match="-3"):
        random_voice(-3)


def test_spectra_alone_tell_voices_apart_better_than_chance_and_worse_than_perfectly() -> None:
    from sklearn.metrics import roc_curve

    num_voices, num_clips = 15, 4
    means = np.array(
        [
            clip_mean_cepstrum(synthesise(random_voice(700 + voice), 2.5, seed=10 * voice + clip))
            for voice in range(num_voices)
            for clip in range(num_clips)
        ]
    )
    means -= means.mean(axis=0)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    speakers = np.repeat(np.arange(num_voices), num_clips)
    one, other = np.triu_indices(len(means), 1)
    false_accept, true_accept, _ = roc_curve(
        speakers[one] == speakers[other], np.sum(means[one] * means[other], axis=1)
    )
    eer = false_accept[np.argmin(np.abs(false_accept + true_accept - 1))]
    assert 0.05 < eer < 0.35


# --- a corpus -------------------------------------------------------------------------------------


def corpus(folder: Path, **options: object) -> Path:
    sizes: dict[str, object] = {"num_speakers": 2, "clips_per_speaker": 2, "duration_s": (0.3, 0.6)}
    write_corpus(folder, **{**sizes, "progress": False, **options})  # type: ignore[arg-type]
    return folder


def clips_in(folder: Path) -> dict[str, bytes]:
    paths = sorted(folder.rglob("*.wav"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_a_corpus_is_one_folder_per_speaker_and_says_that_it_is_synthetic(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "made" / "here", sample_rate=8000)
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*")) == [
        "README.txt",
        "speaker_000/clip_00.wav",
        "speaker_000/clip_01.wav",
        "speaker_001/clip_00.wav",
        "speaker_001/clip_01.wav",
    ]
    readme = (folder / "README.txt").read_text(encoding="utf-8")
    assert "SYNTHETIC" in readme
    assert "8000 Hz" in readme
    for path in folder.rglob("*.wav"):
        waveform = read_audio(path, 8000)
        assert 0.3 * 8000 <= len(waveform) <= 0.6 * 8000
        assert level_db(waveform) > -40.0


def test_a_larger_corpus_contains_the_smaller_one_and_all_its_clips_differ(tmp_path: Path) -> None:
    small = clips_in(corpus(tmp_path / "small"))
    large = clips_in(corpus(tmp_path / "large", num_speakers=3, clips_per_speaker=3))
    assert len(set(large.values())) == 9
    assert len({len(wav) for wav in large.values()}) == 9  # no two speakers say the same
    assert {name: large[name] for name in small} == small


def test_first_speaker_continues_a_corpus_and_another_seed_makes_another(tmp_path: Path) -> None:
    whole = clips_in(corpus(tmp_path / "whole", num_speakers=3))
    rest = clips_in(corpus(tmp_path / "rest", num_speakers=1, first_speaker=2))
    other = clips_in(corpus(tmp_path / "other", seed=1))
    assert rest == {name: wav for name, wav in whole.items() if name.startswith("speaker_002")}
    assert not set(other.values()) & set(whole.values())


def test_clips_of_one_corpus_speaker_share_the_voice(tmp_path: Path) -> None:
    folder = corpus(tmp_path, num_speakers=6, clips_per_speaker=3, duration_s=(1.5, 1.5))
    paths = sorted(folder.rglob("*.wav"))
    pitch = np.log2([periodicity(read_audio(path, RATE))[0] for path in paths]).reshape(6, 3)
    assert pitch.std(axis=1).mean() < 0.5 * pitch.mean(axis=1).std()


@pytest.mark.parametrize(
    "options",
    [
        {"num_speakers": 0},
        {"clips_per_speaker": 0},
        {"first_speaker": -1},
        {"duration_s": (2.0, 1.0)},
        {"duration_s": (0.0, 1.0)},
        {"seed": -1},
        {"sample_rate": 100},
    ],
)
def test_an_impossible_corpus_is_refused_before_anything_is_written(
    tmp_path: Path, options: dict[str, object]
) -> None:
    with pytest.raises(MVectorError):
        corpus(tmp_path / "none", **options)
    assert not (tmp_path / "none").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "occupied").write_text("a file")
    with pytest.raises(DataError, match="occupied"):
        corpus(tmp_path / "occupied")


def test_nothing_is_shown_where_standard_error_is_no_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    corpus(tmp_path, num_speakers=1, clips_per_speaker=1, progress=True)
    assert capfd.readouterr() == ("", "")


def test_the_voice_is_immutable() -> None:
    voice = Voice()
    assert replace(voice, pitch_hz=200.0) != voice
    with pytest.raises(AttributeError):
        voice.pitch_hz = 200.0  # type: ignore[misc]
