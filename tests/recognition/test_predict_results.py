"""What the predictor answers: typed results, thresholds, long clips, threads."""

from __future__ import annotations

import copy
import io
import json
import math
import os
import pickle
import shutil
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from error_codes import raises_code
from onnx_folder import with_onnx
from small_model import RATE, small_calibration, small_model, speech

from mvector import MVectorPredictor
from mvector.audio import AudioLimits, source_name, write_wav
from mvector.audio.decoding import open_native
from mvector.audio.quality import SpeechQuality
from mvector.data.augmentation.codec import telephone_line
from mvector.embedding.listening import Listening
from mvector.errors import AudioError, MVectorError
from mvector.evaluation.likelihood import LikelihoodRatio
from mvector.evaluation.quality import TRIAL_MEASURES
from mvector.models.description import update_model_folder
from mvector.models.engine import Engine
from mvector.models.speaker_model import SpeakerModel
from mvector.recognition.judge import Judge, Side

WINDOW_S = Listening().window_s


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and three clips of each of four voices, ``voice_<voice>_<clip>.wav``."""
    folder = tmp_path_factory.mktemp("predictor")
    with_onnx(small_model(folder / "model"))
    for voice in range(4):
        for take in range(3):
            write_wav(folder / f"voice_{voice}_{take}.wav", speech(voice, seed=take), RATE)
    return folder


@pytest.fixture(scope="module", params=["torch", "onnx"])
def predictor(request: pytest.FixtureRequest, folder: Path) -> MVectorPredictor:
    return MVectorPredictor(folder / "model", use_gpu=False, engine=request.param)


@pytest.fixture
def library(folder: Path, tmp_path: Path) -> MVectorPredictor:
    """Three people enrolled."""
    predictor = MVectorPredictor(folder / "model", use_gpu=False, audio_db_path=tmp_path)
    for voice, name in enumerate(("Ada", "Bob", "Cem")):
        predictor.register(folder / f"voice_{voice}_0.wav", name)
    return predictor


# ---- the score of two clips -------------------------------------------------------------------


def test_a_score_is_a_float_in_every_way(predictor: MVectorPredictor, folder: Path) -> None:
    score = predictor.contrast(folder / "voice_0_0.wav", folder / "voice_1_0.wav")
    value = float(score)
    assert isinstance(score, float)
    assert score == value
    assert score + 1 == value + 1
    assert (score > 0.5) is (value > 0.5)
    assert f"{score:.3f} {score}" == f"{value:.3f} {value}"
    assert str(score) == str(value)
    assert np.array([score]).dtype == np.float64
    assert sorted([score, 0.0]) == sorted([value, 0.0])
    assert json.loads(json.dumps(score)) == value
    assert hash(score) == hash(value)
    for twin in (copy.deepcopy(score), pickle.loads(pickle.dumps(score))):
        assert twin == score
        assert twin.decide() == score.decide()


def test_a_score_decides(predictor: MVectorPredictor, folder: Path) -> None:
    calibration = small_calibration()
    score = predictor.contrast(folder / "voice_0_0.wav", folder / "voice_1_0.wav")
    decision = score.decide()
    assert decision == predictor.decide(score)
    high, low = calibration.limits()
    assert decision.threshold == pytest.approx(high)
    assert decision.same == (score >= high)
    unclear = "cannot tell" if score >= low else "different"
    assert decision.answer == ("same" if decision.same else unclear)
    assert decision.llr == calibration.llr(float(score))
    assert decision.probability == pytest.approx(1 / (1 + math.exp(-decision.llr)))
    assert decision.inconclusive == (low <= score < high)
    assert decision.threshold_source == "calibrated on 600 trials"
    assert decision.calibrated_on == "made-up trials"
    told = {
        "same": "same person",
        "different": "different people",
        "cannot tell": f"cannot tell: {decision.reason}",
    }
    assert str(decision) == (
        f"{told[decision.answer]} "
        f"(similarity {decision.score:.4f}, threshold {decision.threshold:.4f})"
    )
    assert decision.details()[:2] == [
        "threshold: calibrated on 600 trials",
        "calibrated on: made-up trials",
    ]
    values = json.loads(json.dumps(score.to_dict()))
    assert values["score"] == score
    assert len(values["quality"]) == 2
    assert values["quality"][0]["speech_s"] > 1.0


def test_a_threshold_of_one_call_does_not_stick(
    predictor: MVectorPredictor, library: MVectorPredictor, folder: Path
) -> None:
    clips = folder / "voice_0_0.wav", folder / "voice_1_0.wav"
    usual = predictor.contrast(*clips).decide().threshold
    assert predictor.contrast(*clips, threshold=0.9).decide().threshold == 0.9
    assert predictor.contrast(*clips).decide(-0.9).same
    assert predictor.contrast(*clips).decide().threshold == usual == predictor.threshold
    assert library.recognition(clips[0], threshold=1.0).threshold == 1.0
    assert library.recognition(clips[0]).threshold != 1.0
    with raises_code("threshold-invalid"):
        library.recognition(clips[0], threshold=1.5)


# ---- recognition ------------------------------------------------------------------------------


def test_recognition_unpacks_and_tells_more(library: MVectorPredictor, folder: Path) -> None:
    result = library.recognition(folder / "voice_1_0.wav", threshold=0.2, top_k=3)
    name, score = result
    assert (name, score) == ("Bob", result[1]) == (result.name, result.score)
    assert result.candidates[0].name == "Bob"
    assert len(result.candidates) == 3
    assert result.margin == pytest.approx(result.score - result.candidates[1].score)
    assert result.num_people == 3
    assert str(result) == "Bob (1.0000, needs 0.2000)"
    values = json.loads(json.dumps(result.to_dict()))
    assert values["speaker"] == "Bob"
    assert values["candidates"][0] == {"name": "Bob", "score": pytest.approx(1.0)}
    assert len(library.recognition(folder / "voice_1_0.wav").candidates) == 1
    with pytest.raises(MVectorError, match="top_k is 0; give a whole number"):
        library.recognition(folder / "voice_1_0.wav", top_k=0)


def test_below_the_threshold_nobody_is_named(library: MVectorPredictor, folder: Path) -> None:
    result = library.recognition(folder / "voice_3_0.wav", threshold=1.0)
    assert not result.is_known
    assert tuple(result) == (None, result.score)
    nearest = result.candidates[0]
    figures = f"({nearest.score:.4f}, needs 1.0000)"
    assert str(result) == f"nobody enrolled; nearest: {nearest.name} {figures}"


def test_registration_stands_for_the_stored_clip(folder: Path, tmp_path: Path) -> None:
    predictor = MVectorPredictor(folder / "model", use_gpu=False, audio_db_path=tmp_path)
    result = predictor.register(folder / "voice_0_0.wav", " Ada ")
    assert result.name == "Ada"
    assert os.fspath(result) == str(result.clip)
    assert Path(result).is_file()
    assert json.loads(json.dumps(result.to_dict()))["registered"] == "Ada"
    assert str(result).startswith("Registered 'Ada' (")


def test_recognition_uses_the_raised_threshold(library: MVectorPredictor, folder: Path) -> None:
    result = library.recognition(folder / "voice_0_1.wav")
    slope = small_calibration().slope
    assert result.threshold == pytest.approx(library.threshold + math.log(3) / slope)


def test_a_purpose_moves_the_threshold(folder: Path) -> None:
    model = folder / "model"
    default, search = (
        MVectorPredictor(model, use_gpu=False, purpose=purpose).threshold
        for purpose in ("default", "search")
    )
    known = small_calibration()
    assert search == pytest.approx(known.threshold_eer)
    assert default == pytest.approx(known.threshold_far_1pct)
    with raises_code("threshold-not-calibrated"):  # 400 pairs of two people show no 1 in 1,000
        _ = MVectorPredictor(model, use_gpu=False, purpose="login").threshold
    with pytest.raises(MVectorError, match="There is no purpose 'bank'"):
        MVectorPredictor(model, use_gpu=False, purpose="bank")


def test_a_search_takes_the_quality_of_the_enrolled_clips_into_account(
    folder: Path, tmp_path: Path
) -> None:
    ratio = LikelihoodRatio(TRIAL_MEASURES[:4], (-4.0, 10.0, -0.6, -0.4, 0.03, -0.02))
    knowing = replace(small_calibration(), ratios=(ratio,))
    shutil.copytree(folder / "model", tmp_path / "model")
    update_model_folder(tmp_path / "model", calibration=knowing.to_dict(), listening={}, metrics={})
    predictor = MVectorPredictor(
        tmp_path / "model", use_gpu=False, audio_db_path=tmp_path / "library"
    )
    clips = [folder / f"voice_0_{take}.wav" for take in range(2)]
    predictor.register(clips[0], "Ada")
    write_wav(tmp_path / "library/Ada/by hand.wav", speech(0, seed=1), RATE)
    predictor.library.reconcile()
    heard = speech(0, seed=2)[: 2 * RATE], RATE

    result = predictor.recognition(heard)

    enrolled = [predictor.encoder.measure(clip) for clip in clips]
    together = SpeechQuality(
        sum(report.speech_s for report in enrolled),
        *np.mean([report.quality[1:] for report in enrolled], axis=0),
    )
    assert result.to_dict()["enrolled_quality"] == pytest.approx(together._asdict(), rel=1e-3)
    expected = Judge(knowing, None, "m").decide(
        result.score, Side(together), Side(result.quality.quality)
    )
    assert result.threshold == pytest.approx(expected.threshold, abs=1e-3)
    assert result.threshold_source == "adjusted to the clips' quality"
    assert result.is_known == (result.score >= result.threshold)
    vector = predictor.predict(heard)
    predictor.library.register_embeddings(["Twin"], vector[None])
    unknown = predictor.recognition(heard)  # nothing is known of the twin's clip
    assert unknown.candidates[0].name == "Twin"
    assert unknown.to_dict()["enrolled_quality"] is None
    assert unknown.threshold == pytest.approx(predictor.threshold + math.log(2) / knowing.slope)


# ---- quality ----------------------------------------------------------------------------------


def test_of_a_clip_without_speech_nothing_can_be_told_whatever_the_score(
    library: MVectorPredictor, folder: Path
) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(3 * RATE).astype(np.float32)
    for other in ((noise, RATE), folder / "voice_0_0.wav"):
        score = library.contrast((noise, RATE), other)
        decision = score.decide()
        assert decision.answer == "cannot tell"
        assert decision.reason == "one side has only 0.0 s of speech"
        assert decision.reasons[0] == "first clip: only 0.0 s of speech in 3.0 s"
        values = score.to_dict()
        assert (values["answer"], values["inconclusive"]) == ("cannot tell", True)
        assert values["reason"] == decision.reason
    result = library.recognition((noise, RATE))
    assert (result.name, result.is_known) == (None, False)
    values = json.loads(json.dumps(result.to_dict()))
    assert (values["speaker"], values["answer"]) == (None, "cannot tell")
    assert values["reason"] == "one side has only 0.0 s of speech"
    nearest = values["candidates"][0]["name"]
    assert str(result).startswith(f"cannot tell: {values['reason']}; nearest: {nearest} (")


def test_bad_clips_are_compared_with_reasons_and_enrolled_only_by_force(
    library: MVectorPredictor, folder: Path
) -> None:
    short = np.concatenate([speech(0)[:3200], np.zeros(3 * RATE, dtype=np.float32)])
    score = library.contrast((short, RATE), folder / "voice_0_0.wav")
    assert any(reason.startswith("first clip: only 0.") for reason in score.reasons)
    assert score.decide().reasons == score.reasons
    assert library.recognition((short, RATE)).reasons
    with pytest.raises(AudioError, match=r"too bad to be enrolled: only 0\.\d s of speech in 3\.2"):
        library.register((short, RATE), "Eve")
    assert "Eve" not in library.get_users()
    assert library.register((short, RATE), "Eve", force=True).reasons
    assert "Eve" in library.get_users()


def test_a_clip_is_decoded_once_to_be_enrolled(
    library: MVectorPredictor, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long recording of many channels costs most by far when it is decoded."""
    opened: list[str] = []

    def counted(source: Any, *more: Any) -> Any:
        opened.append(source_name(source) if isinstance(source, (str, Path)) else "in memory")
        return open_native(source, *more)

    monkeypatch.setattr("mvector.audio.io.open_native", counted)
    clip = folder / "voice_0_1.wav"
    registered = library.register(clip, "Ada")
    assert opened == [f"'{clip}'", "in memory"]  # the second is what is stored
    assert str(registered.quality) == str(library.encoder.measure(clip))
    opened.clear()
    library.register(clip, "Ada", dry_run=True)
    assert opened == [f"'{clip}'"]


def test_clips_of_unlike_channels_are_compared_with_a_word(library: MVectorPredictor) -> None:
    voice = speech(0)
    telephone = telephone_line(voice, RATE)
    unlike = library.contrast((voice, RATE), (telephone, RATE))
    assert any(reason.startswith("one clip is from a telephone") for reason in unlike.reasons)
    assert unlike.decide().reasons == unlike.reasons
    alike = library.contrast((telephone, RATE), (telephone, RATE))
    assert not any(reason.startswith("one clip") for reason in alike.reasons)


# ---- batches, long clips, sources -------------------------------------------------------------


def test_a_batch_equals_clip_by_clip_whatever_the_lengths(predictor: MVectorPredictor) -> None:
    noise = np.random.default_rng(0).normal(size=round(80 * RATE)).astype(np.float32) * 0.05
    lengths_s = (0.6, 75.0, 1.0, 3.0, 29.99, 30.0, 30.01, 31.0, 2.0, 60.0)
    clips = [noise[: round(length * RATE)] for length in lengths_s]
    batch = predictor.predict_batch(clips, batch_size=3)
    alone = np.stack([predictor.predict(clip) for clip in clips])
    np.testing.assert_allclose(batch, alone, atol=1e-5)


@pytest.mark.parametrize("duration_s", [2.5, 2.5 * WINDOW_S])
def test_a_clip_is_measured_alike_with_and_without_its_embedding(
    predictor: MVectorPredictor, duration_s: float
) -> None:
    clip = np.resize(speech(1), round(duration_s * RATE)), RATE
    report = predictor.encoder.measure(clip)
    assert report == predictor.encoder.embed_measured(clip)[1]
    assert report.duration_s == pytest.approx(duration_s)


def test_a_long_clip_is_the_weighted_mean_direction_of_its_windows(
    predictor: MVectorPredictor,
) -> None:
    long = np.concatenate([speech(voice, 16.0) for voice in (0, 0, 1, 1, 2)])
    size = round(WINDOW_S * RATE)
    windows = [long[start : start + size] for start in range(0, len(long), size)]
    embeddings = np.stack([predictor.predict(window) for window in windows]).astype(np.float64)
    norms = np.linalg.norm(embeddings, axis=1)
    weights = np.array([len(window) for window in windows]) / len(long)
    direction = weights @ (embeddings / norms[:, None])
    expected = direction / np.linalg.norm(direction) * (weights @ norms)
    np.testing.assert_allclose(predictor.predict(long), expected, atol=1e-5)


def test_silent_windows_of_a_long_clip_are_passed_over(predictor: MVectorPredictor) -> None:
    size = round(WINDOW_S * RATE)
    talk = np.tile(speech(0, 3.0), 10)[:size]
    clip = np.concatenate([np.zeros(size, dtype=np.float32), talk])
    np.testing.assert_allclose(predictor.predict(clip), predictor.predict(talk), atol=1e-5)
    with pytest.raises(AudioError, match="is silent"):
        predictor.predict(np.zeros(2 * size, dtype=np.float32))
    assert predictor.encoder.embed_measured(clip)[1].duration_s == pytest.approx(2 * WINDOW_S)


def test_memory_grows_neither_with_the_length_of_a_clip_nor_with_their_number(
    predictor: MVectorPredictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mvector.embedding.reading._MOST_SAMPLES", 10 * RATE)
    monkeypatch.setattr("mvector.embedding.reading._MAX_READERS", 2)
    inference = predictor.encoder._inference
    monkeypatch.setattr(
        inference, "begin", lambda clips: lambda: np.ones((len(clips), 16), np.float32)
    )
    minute = 0.1 * np.random.default_rng(0).normal(size=(60 * 44100, 2))
    with soundfile.SoundFile(tmp_path / "long.wav", "w", 44100, 2) as clip:
        for _ in range(5):
            clip.write(minute)
    soundfile.write(tmp_path / "clip.wav", minute[: 20 * 44100], 44100)
    del minute
    for sources in ([tmp_path / "long.wav"], [tmp_path / "clip.wav"] * 80):
        tracemalloc.start()
        predictor.predict_batch(sources)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        # Decoded, the five minutes take 106 MB, the clips 102 MB at 16 kHz; which channels are
        # heard is decided from 30 s of both, in each reader
        assert peak < 80e6


def test_any_source_gives_the_same(predictor: MVectorPredictor, folder: Path) -> None:
    path = folder / "voice_0_0.wav"
    data = path.read_bytes()
    samples, _ = soundfile.read(path, dtype="float32")

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    expected = predictor.predict(path)
    sources = (str(path), data, io.BytesIO(data), Pipe(data), (samples, RATE), samples)
    for source in (*sources, torch.from_numpy(samples), (torch.from_numpy(samples)[None], RATE)):
        np.testing.assert_array_equal(predictor.predict(source), expected)


def test_a_pipe_with_a_long_clip_is_read_once(predictor: MVectorPredictor) -> None:
    stream = io.BytesIO()
    soundfile.write(stream, np.tile(speech(0, 5.0), 8), RATE, format="WAV")

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    np.testing.assert_allclose(
        predictor.predict_batch([Pipe(stream.getvalue())])[0],
        predictor.predict(stream.getvalue()),
        atol=1e-6,
    )


def test_limits_of_the_predictor_hold(folder: Path) -> None:
    strict = MVectorPredictor(
        folder / "model", use_gpu=False, limits=AudioLimits(max_duration_s=2.0)
    )
    with raises_code("audio-beyond-limits"):
        strict.predict(folder / "voice_0_0.wav")


# ---- threads ----------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["torch", "onnx"])
def test_many_threads_get_what_one_gets(folder: Path, tmp_path: Path, engine: Engine) -> None:
    predictor = MVectorPredictor(
        folder / "model", use_gpu=False, audio_db_path=tmp_path, engine=engine
    )
    model = predictor.encoder.model
    if isinstance(model, SpeakerModel):
        model.train()  # as one under training is: each call evaluates it
    clips = [folder / f"voice_{k % 4}_{k // 4}.wav" for k in range(12)]
    alone = [predictor.predict(clip) for clip in clips]
    predictor.register(clips[0], "voice 0")
    barrier = threading.Barrier(8)

    def work(number: int) -> None:
        barrier.wait()
        for turn in range(6):
            k = (number + 5 * turn) % len(clips)
            np.testing.assert_allclose(predictor.predict(clips[k]), alone[k], atol=1e-5)
            name, score = predictor.recognition(clips[0], threshold=0.5)
            assert (name, round(score, 3)) == ("voice 0", 1.0)
        if number % 4:
            predictor.register(clips[number], f"new {number}")

    with ThreadPoolExecutor(8) as pool:
        for outcome in [pool.submit(work, number) for number in range(8)]:
            outcome.result()
    assert len(predictor.get_users()) == 7
    assert engine == "onnx" or model.training


# ---- one person or not ---------------------------------------------------------------------------


def test_a_person_is_verified_against_their_own_voiceprint_alone(
    folder: Path, library: MVectorPredictor
) -> None:
    own, other = folder / "voice_1_1.wav", folder / "voice_2_1.wav"
    verified = library.verify([own], "Bob")
    embedding = library.predict(own)
    (bob,) = [m for m in library.library.identify_embedding(embedding, 3) if m.name == "Bob"]
    assert verified.decision.score == pytest.approx(bob.score, abs=1e-6)
    assert (verified.name, verified.num_clips, verified.decision.num_people) == ("Bob", 1, 1)
    assert library.verify([other], "Bob").name == "Bob"  # whoever else it may be
    assert [entry.action.split(":")[0] for entry in library.library.audit_log(2)] == [
        "verification",
        "verification",
    ]
    assert verified.to_dict()["answer"] == verified.decision.answer
    with raises_code("speaker-not-found"):
        library.verify([own], "Dan")
    with raises_code("usage"):
        library.verify([], "Bob")


def test_several_clips_are_verified_by_their_mean_direction(
    folder: Path, library: MVectorPredictor
) -> None:
    clips = [folder / f"voice_1_{take}.wav" for take in (1, 2)]
    verified = library.verify(clips, "Bob", threshold=0.9)
    enrolled, *asked = [library.predict(c) for c in (folder / "voice_1_0.wav", *clips)]
    mean = sum(e / np.linalg.norm(e) for e in asked)
    cosine = mean @ enrolled / (np.linalg.norm(mean) * np.linalg.norm(enrolled))
    assert verified.decision.score == pytest.approx(cosine, abs=1e-5)
    assert verified.quality.duration_s == pytest.approx(5.0, abs=0.01)
    assert verified.decision.threshold == 0.9


def test_a_purpose_of_one_verification_takes_the_place_of_the_predictors(
    folder: Path, library: MVectorPredictor
) -> None:
    clip = folder / "voice_1_1.wav"
    usual, search = (library.verify([clip], "Bob", purpose=p) for p in (None, "search"))
    assert (usual.purpose, search.purpose) == ("default", "search")
    assert usual.decision.threshold >= search.decision.threshold
    with raises_code("usage"):
        library.verify([clip], "Bob", purpose="fun")
