"""Speech is kept, pauses are cut: by energy where they are quiet, by the network in noise too."""

from __future__ import annotations

import importlib.util
import multiprocessing
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soxr
from forked_scripts import PATIENCE_S

from mvector.audio import level_db, speech_segments, trim_silence
from mvector.audio import vad as vad_module
from mvector.audio.vad import MIN_PAUSE_S, MIN_SPEECH_S, PADDING_S, VadMethod
from mvector.demo.voices import Voice, random_voice, synthesise
from mvector.errors import AudioError, ConfigError, MissingDependencyError

RATE = 16000
PADDING_MS = 1000 * PADDING_S

needs_librosa = pytest.mark.skipif(find_spec("librosa") is None, reason="no extra 'train'")
needs_silero = pytest.mark.skipif(
    find_spec("silero_vad") is None or find_spec("onnxruntime") is None, reason="no extra 'vad'"
)
both_methods = pytest.mark.parametrize(
    "method",
    [pytest.param("energy", marks=needs_librosa), pytest.param("silero", marks=needs_silero)],
)


def tone(duration_s: float, rate: int = RATE, hz: float = 440.0) -> np.ndarray:
    time_s = np.arange(round(duration_s * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * hz * time_s)).astype(np.float32)


def silence(duration_s: float, rate: int = RATE) -> np.ndarray:
    return np.zeros(round(duration_s * rate), dtype=np.float32)


def noise(num_samples: int, rms_db: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (10.0 ** (rms_db / 20.0) * rng.standard_normal(num_samples)).astype(np.float32)


def vowels(seed: int, duration_s: float) -> np.ndarray:
    """Voiced speech from its first sample to its last."""
    clip = synthesise(random_voice(seed), duration_s + 2.0, RATE, seed=seed, noise_db=None)
    loud = np.flatnonzero(np.abs(clip) > 0.1)
    return clip[loud[0] : loud[0] + round(duration_s * RATE)]


@pytest.fixture(scope="module")
def spoken() -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Three stretches of speech with a second of silence around each, and where they are."""
    parts, places, position = [silence(1.0)], [], RATE
    for seed in range(3):
        stretch = vowels(seed, 1.5)
        places.append((position, position + len(stretch)))
        parts += [stretch, silence(1.0)]
        position = places[-1][1] + RATE
    return np.concatenate(parts), places


def mask(segments: list[tuple[int, int]], num_samples: int) -> np.ndarray:
    kept = np.zeros(num_samples, dtype=bool)
    for start, stop in segments:
        kept[start:stop] = True
    return kept


@both_methods
def test_speech_is_kept_and_digital_silence_removed(
    spoken: tuple[np.ndarray, list[tuple[int, int]]], method: VadMethod
) -> None:
    waveform, places = spoken
    kept = mask(speech_segments(waveform, RATE, method), len(waveform))
    truth = mask(places, len(waveform))
    assert kept[truth].mean() > 0.97
    assert (~kept[~truth]).mean() > 0.8


@both_methods
def test_the_trimmed_clip_is_its_segments_in_order(
    spoken: tuple[np.ndarray, list[tuple[int, int]]], method: VadMethod
) -> None:
    waveform, _ = spoken
    segments = speech_segments(waveform, RATE, method)
    assert len(segments) >= 3
    edges = [edge for segment in segments for edge in segment]
    assert edges == sorted(set(edges))
    assert edges[0] >= 0
    assert edges[-1] <= len(waveform)
    assert all(type(edge) is int for edge in edges)
    trimmed = trim_silence(waveform, RATE, method)
    assert trimmed.dtype == np.float32
    expected = [sample for start, stop in segments for sample in waveform[start:stop]]
    np.testing.assert_array_equal(trimmed, np.array(expected))


@both_methods
@pytest.mark.parametrize("waveform", [silence(0.0), silence(2.0), noise(RATE, -90.0)])
def test_a_clip_without_sound_holds_no_speech(method: VadMethod, waveform: np.ndarray) -> None:
    assert speech_segments(waveform, RATE, method) == []
    assert trim_silence(waveform, RATE, method).shape == (0,)


@both_methods
@pytest.mark.parametrize("num_samples", [1, 100, 511, 513])
def test_a_clip_shorter_than_a_frame_is_no_failure(method: VadMethod, num_samples: int) -> None:
    assert len(trim_silence(tone(1.0)[1 : num_samples + 1], RATE, method)) <= num_samples


@both_methods
@pytest.mark.parametrize("rate", [8000, 22050, 48000])
def test_segments_are_the_same_seconds_at_any_rate(
    spoken: tuple[np.ndarray, list[tuple[int, int]]], method: VadMethod, rate: int
) -> None:
    waveform, _ = spoken
    at_16k = mask(speech_segments(waveform, RATE, method), len(waveform))
    other = soxr.resample(waveform, RATE, rate)
    segments = speech_segments(other, rate, method)
    rescaled = [(start * RATE // rate, stop * RATE // rate) for start, stop in segments]
    assert (mask(rescaled, len(waveform)) == at_16k).mean() > 0.93


@needs_librosa
def test_energy_keeps_a_padding_around_sound() -> None:
    waveform = np.concatenate([silence(1.0), tone(1.0), silence(1.0)])
    ((start, stop),) = speech_segments(waveform, RATE, "energy")
    assert 1000 * (RATE - start) / RATE == pytest.approx(PADDING_MS, abs=32)
    assert 1000 * (stop - 2 * RATE) / RATE == pytest.approx(PADDING_MS, abs=32)


@needs_librosa
@pytest.mark.parametrize(("pause_s", "num_segments"), [(MIN_PAUSE_S - 0.1, 1), (0.4, 2)])
def test_energy_cuts_at_pauses_and_not_within_words(pause_s: float, num_segments: int) -> None:
    waveform = np.concatenate([tone(1.0), silence(pause_s), tone(1.0)])
    assert len(speech_segments(waveform, RATE, "energy")) == num_segments


@needs_librosa
@pytest.mark.parametrize(("rms_db", "num_segments"), [(-55.0, 2), (-30.0, 1)])
def test_energy_finds_pauses_only_40_db_below_the_loudest_frame(
    rms_db: float, num_segments: int
) -> None:
    waveform = np.concatenate([tone(1.0), silence(1.0), tone(1.0)])  # its level is -9 dB
    waveform += noise(len(waveform), rms_db)
    assert len(speech_segments(waveform, RATE, "energy")) == num_segments


@needs_librosa
@pytest.mark.parametrize(("click_s", "num_segments"), [(0.02, 1), (MIN_SPEECH_S + 0.05, 2)])
def test_a_click_is_no_speech(click_s: float, num_segments: int) -> None:
    waveform = np.concatenate([tone(1.0), silence(1.0), tone(click_s), silence(1.0)])
    assert len(speech_segments(waveform, RATE, "energy")) == num_segments


@needs_silero
def test_silero_cuts_noise_that_energy_keeps(
    spoken: tuple[np.ndarray, list[tuple[int, int]]],
) -> None:
    waveform, places = spoken
    truth = mask(places, len(waveform))
    noisy = waveform + noise(len(waveform), level_db(waveform[truth]) - 10.0)
    kept = mask(speech_segments(noisy, RATE, "silero"), len(waveform))
    assert kept[truth].mean() > 0.9
    assert (~kept[~truth]).mean() > 0.6
    if find_spec("librosa"):
        assert mask(speech_segments(noisy, RATE, "energy"), len(waveform)).all()


@needs_silero
@pytest.mark.parametrize("sound", [tone(3.0), noise(3 * RATE, -20.0)], ids=["tone", "noise"])
def test_silero_takes_a_tone_or_noise_for_no_speech(sound: np.ndarray) -> None:
    assert len(trim_silence(sound, RATE, "silero")) < 0.2 * len(sound)


@needs_silero
@pytest.mark.parametrize("gain_db", [-20.0, -45.0])
def test_silero_hears_quiet_recordings(
    spoken: tuple[np.ndarray, list[tuple[int, int]]], gain_db: float
) -> None:
    waveform, _ = spoken
    as_recorded = mask(speech_segments(waveform, RATE, "silero"), len(waveform))
    quiet = waveform * np.float32(10.0 ** (gain_db / 20.0))
    kept = mask(speech_segments(quiet, RATE, "silero"), len(waveform))
    assert (kept == as_recorded).mean() > 0.95


def streamed_probabilities(waveform: np.ndarray) -> list[float]:
    """The package's streaming model of the same weights, chunk by chunk, as its users run it."""
    import onnxruntime

    package = find_spec("silero_vad")
    assert package is not None
    assert package.submodule_search_locations is not None
    file = Path(package.submodule_search_locations[0]) / "data" / "silero_vad.onnx"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    state = np.zeros((2, 1, 128), dtype=np.float32)
    context = np.zeros(64, dtype=np.float32)
    values = []
    for start in range(0, len(waveform), 512):
        chunk = np.zeros(512, dtype=np.float32)
        chunk[: len(waveform) - start] = waveform[start : start + 512]
        inputs = {
            "input": np.concatenate([context, chunk])[None],
            "state": state,
            "sr": np.array(16000),
        }
        value, state = session.run(None, inputs)
        values.append(float(value[0, 0]))
        context = chunk[-64:]
    return values


@needs_silero
@pytest.mark.parametrize("num_samples", [511, 512, 6 * RATE + 7, 17 * RATE])  # 17 s: two calls
def test_probabilities_are_those_of_the_streaming_model(num_samples: int) -> None:
    clip = synthesise(Voice(), 17.0, RATE, seed=1)[:num_samples]
    session = vad_module._silero_session(0)
    ours = vad_module._silero_probabilities(session, clip)
    np.testing.assert_allclose(ours, streamed_probabilities(clip), atol=1e-5)


def test_speech_lasts_until_the_probability_falls_below_the_lower_threshold() -> None:
    rng = np.random.default_rng(0)
    for probabilities in (rng.uniform(size=1000), np.full(5, 0.4), rng.uniform(0.3, 0.55, 1000)):
        speaking, expected = False, []
        for value in probabilities:
            if value >= vad_module.SILERO_ONSET:
                speaking = True
            elif value < vad_module.SILERO_OFFSET:
                speaking = False
            expected.append(speaking)
        assert vad_module._hysteresis(probabilities).tolist() == expected


def segments_by_hand(active: list[tuple[int, int]], num_samples: int, rate: int) -> list[list[int]]:
    bridged: list[list[int]] = []
    for start, stop in active:
        if bridged and start - bridged[-1][1] < MIN_PAUSE_S * rate:
            bridged[-1][1] = stop
        else:
            bridged.append([start, stop])
    padding = round(PADDING_S * rate)
    return [
        [max(0, start - padding), min(num_samples, stop + padding)]
        for start, stop in bridged
        if stop - start >= MIN_SPEECH_S * rate
    ]


def test_gaps_are_bridged_then_clicks_dropped_then_segments_padded() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        edges = np.sort(rng.choice(20_000, 2 * rng.integers(0, 30), replace=False)).reshape(-1, 2)
        tidied = vad_module.merge_and_pad(edges, 20_000, 2000)
        assert tidied.tolist() == segments_by_hand([tuple(e) for e in edges], 20_000, 2000)
    assert PADDING_S * 2 < MIN_PAUSE_S, "segments of neighbours would overlap"


def kept_samples(waveform: np.ndarray) -> int:
    return len(trim_silence(waveform, RATE, "silero"))


@needs_silero
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_worker_processes_make_their_own_session(
    spoken: tuple[np.ndarray, list[tuple[int, int]]], start: str
) -> None:
    if start not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {start} on this system")
    here = kept_samples(spoken[0])
    with multiprocessing.get_context(start).Pool(1) as pool:
        assert pool.apply_async(kept_samples, (spoken[0],)).get(PATIENCE_S) == here


@needs_silero
def test_finding_speech_imports_neither_silero_vad_nor_torchaudio() -> None:
    code = (
        "import sys, numpy as np, mvector.audio as audio;"
        "audio.trim_silence(np.ones(16000, np.float32), 16000, 'silero');"
        "print([m for m in ('silero_vad', 'torchaudio', 'librosa') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
    assert run.stderr == ""


@pytest.mark.parametrize(
    ("method", "package", "needed"),
    [
        ("energy", "librosa.effects", "librosa"),
        ("silero", "onnxruntime", "silero-vad onnxruntime"),
        ("silero", "silero_vad", "silero-vad onnxruntime"),
    ],
)
@pytest.mark.parametrize("waveform", [tone(1.0), silence(1.0)], ids=["sound", "silence"])
def test_a_missing_detector_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
    method: VadMethod,
    package: str,
    needed: str,
    waveform: np.ndarray,
) -> None:
    if package == "silero_vad":
        monkeypatch.setattr(vad_module, "find_spec", lambda name: None)
    else:
        monkeypatch.setitem(sys.modules, package, None)
    vad_module._silero_session.cache_clear()
    with pytest.raises(MissingDependencyError, match=f"pip install {needed}"):
        trim_silence(waveform, RATE, method)


@needs_silero
def test_a_silero_vad_without_the_model_asks_for_a_newer_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "__init__.py").touch()
    old = importlib.util.spec_from_file_location(
        "silero_vad", tmp_path / "__init__.py", submodule_search_locations=[str(tmp_path)]
    )
    monkeypatch.setattr(vad_module, "find_spec", lambda name: old)
    vad_module._silero_session.cache_clear()
    with pytest.raises(MissingDependencyError, match="pip install -U silero-vad"):
        trim_silence(tone(1.0), RATE, "silero")


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ConfigError, match="'webrtc' is unknown; use 'energy' or 'silero'"):
        speech_segments(tone(1.0), RATE, "webrtc")  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(2, RATE), (1, RATE), ()])
def test_several_channels_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(AudioError, match="average the channels"):
        speech_segments(np.zeros(shape, dtype=np.float32), RATE)
