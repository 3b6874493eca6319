"""How much of a clip is heard: the same for whoever asks for its embedding, in bounded memory."""

from __future__ import annotations

import copy
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import yaml
from error_codes import raises_code
from small_encoder import small_encoder
from small_model import RATE, small_calibration, speech
from small_settings import SMALL_CONFIG

from mvector import MVectorPredictor, MVectorTrainer
from mvector.audio import AudioLimits, trim_silence
from mvector.audio.decoding import NativeAudio
from mvector.cli import run_script
from mvector.embedding import SpeakerEncoder
from mvector.embedding.extraction import extract_embeddings
from mvector.embedding.listening import Listening, LongClip
from mvector.errors import AudioError, CheckpointError, LibraryError, MVectorError
from mvector.evaluation import own_clips, run
from mvector.evaluation.own_clips import compare_own_clips
from mvector.models.description import load_training_config
from mvector.models.folder import load_model_folder, save_model_folder
from mvector.models.speaker_model import SpeakerModel
from mvector.speakers import SpeakerLibrary

ALL, FIRST_20 = Listening(), Listening(max_duration_s=20.0)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two people's clips of 75 s, parts of each in other voices, and two short ones."""
    folder = tmp_path_factory.mktemp("clips")
    paths = []
    for person, name in enumerate(("ann", "bob")):
        (folder / name).mkdir()
        parts = []
        for take in range(15):
            pause = np.zeros(round(1.1 * RATE), dtype=np.float32)
            parts += [speech(2 * person + take // 8, 3.9, seed=take), pause]
        paths += [folder / name / "long.wav", folder / name / "short.wav"]
        soundfile.write(paths[-2], np.concatenate(parts), RATE)
        soundfile.write(paths[-1], speech(2 * person, 2.5, seed=99), RATE)
    assert soundfile.info(paths[0]).duration == 75.0
    return [str(path) for path in paths]


def model_with(*, do_vad: bool) -> SpeakerModel:
    front_end = replace(small_encoder().model.front_end, do_vad=do_vad)
    like = small_encoder().model
    torch.manual_seed(0)
    return SpeakerModel(front_end, like.backbone_name, like.backbone_options).eval()


def reference(model: SpeakerModel, path: str, listening: Listening) -> np.ndarray:
    """What the embedding must be, from the whole clip in memory."""
    samples, size = soundfile.read(path, dtype="float32")[0], round(listening.window_s * RATE)

    def windows() -> list[np.ndarray]:
        return [samples[start : start + size] for start in range(0, len(samples), size)]

    if model.front_end.do_vad:
        samples = np.concatenate([trim_silence(window, RATE) for window in windows()])
    if listening.max_duration_s is not None:
        samples = samples[: round(listening.max_duration_s * RATE)]
    total, lengths, weights = np.zeros(16), [], []
    for window in windows():
        with torch.inference_mode():
            embedding = model(torch.from_numpy(window.copy())[None], None)[0].double().numpy()
        lengths.append(np.linalg.norm(embedding))
        weights.append(len(window))
        total += len(window) * embedding / lengths[-1]
    return total / np.linalg.norm(total) * np.average(lengths, weights=weights)


@pytest.mark.parametrize("do_vad", [False, True])
@pytest.mark.parametrize("listening", [ALL, FIRST_20, Listening(47.0, window_s=7.0)], ids=str)
def test_a_clip_has_one_embedding_whoever_asks(
    clips: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    listening: Listening,
    do_vad: bool,
) -> None:
    if do_vad:
        pytest.importorskip("librosa", reason="needs the extra train")
    model = model_with(do_vad=do_vad)
    folder = tmp_path / "model"
    save_model_folder(folder, model, listening=listening.to_dict())
    found: dict[str, np.ndarray] = {}

    predictor = MVectorPredictor(folder, use_gpu=False)
    found["predict"] = predictor.predict(clips[0])
    found["predict_batch"] = predictor.predict_batch([clips[1], clips[0]])[1]
    found["measured"] = predictor.encoder.embed_measured(clips[0])[0]
    found["extract"] = extract_embeddings(predictor.encoder, clips).embeddings[0]

    (tmp_path / "list.txt").write_text("\n".join(clips), encoding="utf-8")
    command = [str(tmp_path / "list.txt"), str(tmp_path / "out.npz"), "--use_gpu", "False"]
    assert run_script("extract_embeddings", [*command, "--model_path", str(folder)]) == 0
    with np.load(tmp_path / "out.npz") as arrays:
        found["tool"] = arrays["embeddings"][0]
        assert arrays["fingerprint"] == predictor.encoder.fingerprint

    seen: list[np.ndarray] = []
    score = own_clips.cosine_scores

    def noted_scores(enrolled: np.ndarray, *args: Any, **options: Any) -> np.ndarray:
        seen.append(enrolled)
        return score(enrolled, *args, **options)

    monkeypatch.setattr(own_clips, "cosine_scores", noted_scores)
    compare_own_clips(predictor.encoder, Path(clips[0]).parents[1])
    found["own clips"] = seen[0][0]

    embed = run.embed_trials

    def noted_trials(*args: Any, **options: Any) -> Any:
        embedded = embed(*args, **options)
        seen.append(embedded.tested)
        return embedded

    monkeypatch.setattr(run, "embed_trials", noted_trials)
    ann, ann_short, bob, _ = clips
    trials = f"1\t{ann}\t{ann_short}\n0\t{ann}\t{bob}\n"
    (tmp_path / "trials.txt").write_text(trials, encoding="utf-8")
    config = copy.deepcopy(SMALL_CONFIG)
    config["dataset_conf"].update(trials_list=str(tmp_path / "trials.txt"), enroll_list=None)
    MVectorTrainer(config, use_gpu=False).evaluate(folder)
    found["evaluation"] = seen[-1][0]

    expected = reference(model, clips[0], listening)
    for where, embedding in found.items():
        np.testing.assert_allclose(embedding, expected, atol=1e-5, rtol=1e-4, err_msg=where)

    with SpeakerLibrary(tmp_path / "registered", predictor.encoder) as library:
        library.register("Ann", clips[0])
        assert library.identify_embedding(expected)[0].score == pytest.approx(1.0, abs=1e-6)
    shutil.copytree(Path(clips[0]).parent, tmp_path / "found" / "Ann")
    (tmp_path / "found" / "Ann" / "short.wav").unlink()
    with SpeakerLibrary(tmp_path / "found", predictor.encoder) as library:
        assert library.identify_embedding(expected)[0].score == pytest.approx(1.0, abs=1e-6)


def test_quality_is_that_of_what_is_heard(clips: list[str]) -> None:
    whole, beginning = (
        SpeakerEncoder(model_with(do_vad=False), None, "cpu", listening).measure(clips[0])
        for listening in (ALL, FIRST_20)
    )
    assert whole.duration_s == pytest.approx(75.0)
    assert beginning.duration_s == pytest.approx(20.0)
    assert beginning.speech_s < 20.0 < whole.speech_s


# ---- bounded memory ---------------------------------------------------------------------------


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Every clip goes on for ever, in blocks of a second, half of it pauses; what is decoded."""
    decoded = {"seconds": 0}
    noise = 0.1 * np.random.default_rng(0).normal(size=RATE).astype(np.float32)
    pause = np.zeros(RATE, dtype=np.float32)

    @contextmanager
    def open_endless(*_: Any) -> Iterator[NativeAudio]:
        def blocks() -> Iterator[np.ndarray]:
            while True:
                decoded["seconds"] += 1
                yield noise if decoded["seconds"] % 4 < 2 else pause

        yield NativeAudio(RATE, 1, None, blocks())

    monkeypatch.setattr("mvector.audio.io.open_native", open_endless)
    return decoded


def test_windows_are_decoded_as_they_are_asked_for(endless: dict[str, int]) -> None:
    front_end = model_with(do_vad=False).front_end
    clip = ALL.read(front_end, "endless.wav")
    assert isinstance(clip, LongClip)
    for number in range(1, 6):
        assert len(next(clip.windows)) == 30 * RATE
        assert endless["seconds"] == 30 * max(2, number)  # two windows tell that it is long


@pytest.mark.parametrize("most_s", [20.0, 75.0])
def test_decoding_ends_where_enough_is_heard(endless: dict[str, int], most_s: float) -> None:
    front_end = model_with(do_vad=False).front_end
    windows = list(Listening(most_s).windows(front_end, "endless.wav"))
    assert sum(map(len, windows)) == most_s * RATE
    assert max(map(len, windows)) <= 30 * RATE
    assert endless["seconds"] == most_s


@pytest.mark.parametrize("most_s", [20.0, 75.0])
def test_decoding_ends_where_enough_speech_is_heard(endless: dict[str, int], most_s: float) -> None:
    pytest.importorskip("librosa", reason="needs the extra train")
    front_end = model_with(do_vad=True).front_end
    windows = list(Listening(most_s).windows(front_end, "endless.wav"))
    assert sum(map(len, windows)) == most_s * RATE
    assert max(map(len, windows)) <= 30 * RATE
    assert endless["seconds"] <= 2 * most_s + 30  # half of it is speech


def test_scattered_speech_is_heard_together(tmp_path: Path) -> None:
    """A word in half a minute is too little by itself, and enough with those that follow."""
    pytest.importorskip("librosa", reason="needs the extra train")
    samples = np.zeros(90 * RATE, dtype=np.float32)
    burst = 0.1 * np.random.default_rng(0).normal(size=round(0.3 * RATE))
    for start_s in (10, 40, 70):
        samples[start_s * RATE :][: len(burst)] = burst
    (heard,) = ALL.windows(model_with(do_vad=True).front_end, (samples, RATE))
    assert 0.9 <= len(heard) / RATE <= 1.3
    with pytest.raises(AudioError, match=r"too short: it lasts 0\.\d+ s"):
        list(ALL.windows(model_with(do_vad=True).front_end, (samples[: 30 * RATE], RATE)))


@pytest.mark.parametrize("most_s", [None, 40.0])
def test_a_long_clip_with_digital_silence_is_heard_as_without(most_s: float | None) -> None:
    """Windows are decoded with it, freed of it, and joined."""
    front_end = replace(small_encoder().model.front_end, drop_silence=True)
    sound = 0.1 * np.random.default_rng(0).normal(size=50 * RATE).astype(np.float32)
    clip = np.insert(sound, [5 * RATE] * 3 * RATE + [22 * RATE] * 40 * RATE, np.float32(0.0))
    clip = np.append(clip, np.zeros(70 * RATE, np.float32))
    listening = Listening(most_s)
    heard = list(listening.windows(front_end, (clip, RATE)))
    plain = list(listening.windows(front_end, (sound, RATE)))
    assert [len(window) for window in heard] == [len(window) for window in plain]
    np.testing.assert_array_equal(np.concatenate(heard), np.concatenate(plain))
    whole = front_end.read_clip((clip, RATE))
    np.testing.assert_array_equal(np.concatenate(heard), whole[: round((most_s or 50.0) * RATE)])


def test_too_little_besides_digital_silence_is_told_as_such() -> None:
    front_end = replace(small_encoder().model.front_end, drop_silence=True)
    clip = np.zeros(63 * RATE, dtype=np.float32)
    clip[40 * RATE :][: round(0.3 * RATE)] = 0.1 * np.random.default_rng(0).normal(size=4800)
    with pytest.raises(AudioError, match=r"0\.30 s after 62\.70 s of silence were dropped") as told:
        list(ALL.windows(front_end, (clip, RATE)))
    assert told.value.code == "audio-too-short"
    with raises_code("audio-silent"):
        list(ALL.windows(front_end, (np.zeros(63 * RATE, dtype=np.float32), RATE)))


def test_limits_hold_where_a_duration_is_given(clips: list[str], tmp_path: Path) -> None:
    limited = Listening(max_duration_s=20.0, limits=AudioLimits(max_duration_s=15.0))
    encoder = SpeakerEncoder(model_with(do_vad=False), None, "cpu", limited)
    for hear in (encoder.embed, encoder.measure, lambda clip: encoder.embed_batch([clip])):
        with pytest.raises(AudioError, match="claims to last"):
            hear(clips[0])
    save_model_folder(tmp_path, encoder.model, listening=FIRST_20.to_dict())
    predictor = MVectorPredictor(tmp_path, use_gpu=False, limits=limited.limits)
    table = extract_embeddings(encoder, clips[:2])
    assert table.good.tolist() == [1]  # of 2.5 s
    assert "claims to last" in table.failures[0][1]
    with pytest.raises(AudioError, match="claims to last"):
        predictor.predict(clips[0])


# ---- clips of several files -------------------------------------------------------------------


def test_several_files_are_heard_as_one_recording(clips: list[str]) -> None:
    encoder = SpeakerEncoder(model_with(do_vad=False), None, "cpu")
    joined = np.concatenate([soundfile.read(path, dtype="float32")[0] for path in clips])
    np.testing.assert_allclose(
        encoder.embed(tuple(clips)), encoder.embed((joined, RATE)), atol=1e-5
    )
    beginnings = [soundfile.read(path, dtype="float32", frames=20 * RATE)[0] for path in clips]
    shorter = SpeakerEncoder(encoder.model, None, "cpu", FIRST_20)
    np.testing.assert_allclose(
        shorter.embed(tuple(clips)), encoder.embed((np.concatenate(beginnings), RATE)), atol=1e-5
    )


def test_of_several_files_memory_holds_a_window_or_two(endless: dict[str, int]) -> None:
    clip = ALL.read(model_with(do_vad=False).front_end, ("one.wav", "two.wav"))
    assert isinstance(clip, LongClip)
    assert endless["seconds"] == 60


# ---- in the model folder ----------------------------------------------------------------------


def test_the_folder_says_how_much_is_heard_and_older_ones_mean_all(tmp_path: Path) -> None:
    model = model_with(do_vad=False)
    save_model_folder(tmp_path / "new", model, listening=Listening(12.5, window_s=5.0).to_dict())
    encoder = SpeakerEncoder.from_folder(tmp_path / "new", "cpu")
    assert encoder.listening == Listening(12.5, window_s=5.0)
    assert SpeakerEncoder.from_folder(tmp_path / "new", "cpu", FIRST_20).listening == FIRST_20
    description = yaml.safe_load((tmp_path / "new" / "model.yml").read_text(encoding="utf-8"))
    assert description["listening"] == {"window_s": 5.0, "max_duration_s": 12.5}
    del description["listening"]  # as earlier versions wrote it
    (tmp_path / "new" / "model.yml").write_text(yaml.safe_dump(description), encoding="utf-8")
    assert SpeakerEncoder.from_folder(tmp_path / "new", "cpu").listening == ALL


@pytest.mark.parametrize(
    ("listening", "written", "loaded"), [(None, 20.0, None), (None, 15.0, 15.0), (ALL, 20.0, 20.0)]
)
def test_the_former_default_duration_in_older_folders_is_no_wish(
    tmp_path: Path, listening: Listening | None, written: float, loaded: float | None
) -> None:
    save_model_folder(
        tmp_path / "m",
        model_with(do_vad=False),
        listening=listening and listening.to_dict(),
        training_config={"dataset_conf": {"eval_conf": {"max_duration": written}}},
    )
    config = load_training_config(tmp_path / "m")
    assert config is not None
    assert config["dataset_conf"]["eval_conf"].get("max_duration") == loaded


@pytest.mark.parametrize(
    "values", [{"window_s": 0}, {"window_s": "long"}, {"limits": 1}, {"max_duration_s": True}, [3]]
)
def test_a_damaged_entry_of_the_folder_is_named(tmp_path: Path, values: Any) -> None:
    save_model_folder(tmp_path / "model", model_with(do_vad=False), listening=values)
    with pytest.raises(CheckpointError, match=r"model\.yml.*listening|listening.*model\.yml"):
        SpeakerEncoder.from_folder(tmp_path / "model", "cpu")


def test_less_than_the_model_takes_is_refused() -> None:
    with pytest.raises(MVectorError, match=r"the first 0\.2 s of a clip.*none of less than 0\.5 s"):
        SpeakerEncoder(model_with(do_vad=False), None, "cpu", Listening(0.2))


def test_evaluation_writes_thresholds_and_what_was_heard_for_them_together(
    clips: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "model"
    save_model_folder(folder, model_with(do_vad=False))
    ann, ann_short, bob, bob_short = clips
    (tmp_path / "trials.txt").write_text(
        f"1\t{ann}\t{ann_short}\n0\t{ann}\t{bob}\n1\t{bob}\t{bob_short}\n", encoding="utf-8"
    )
    config = copy.deepcopy(SMALL_CONFIG)
    config["dataset_conf"].update(trials_list=str(tmp_path / "trials.txt"), enroll_list=None)
    config["dataset_conf"]["eval_conf"] = {"max_duration": 20}
    result = MVectorTrainer(config, use_gpu=False).evaluate(folder)
    assert result.listening == FIRST_20
    info = load_model_folder(folder)[1]
    assert info.listening == FIRST_20.to_dict()
    assert info.calibration == result.calibration.to_dict()

    score = MVectorPredictor(folder, use_gpu=False).contrast(ann, ann_short)
    assert result.scores is not None
    assert float(score) == pytest.approx(float(result.scores[0]), abs=1e-5)
    del config["dataset_conf"]["eval_conf"]  # the folder's own from now on
    again = MVectorTrainer(config, use_gpu=False).evaluate(folder)
    assert again.listening == FIRST_20
    np.testing.assert_allclose(again.scores, result.scores, atol=1e-6)


def test_thresholds_of_another_listening_are_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calibration = small_calibration().to_dict()
    model = model_with(do_vad=False)
    save_model_folder(tmp_path, model, calibration=calibration, listening=FIRST_20.to_dict())
    with caplog.at_level(logging.WARNING):
        assert MVectorPredictor(tmp_path, use_gpu=False).calibration is not None
        same = replace(FIRST_20, limits=AudioLimits(max_duration_s=60.0))
        assert MVectorPredictor(tmp_path, use_gpu=False, listening=same).calibration is not None
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        other = MVectorPredictor(tmp_path, use_gpu=False, listening=ALL)
    (record,) = caplog.records
    assert "hearing the first 20 s of a clip" in record.getMessage()
    assert "not used hearing all of a clip" in record.getMessage()
    with pytest.raises(MVectorError, match="no calibrated threshold"):
        _ = other.threshold


def test_a_library_is_refused_where_another_part_of_clips_is_heard(
    clips: list[str], tmp_path: Path
) -> None:
    model = model_with(do_vad=False)
    first = SpeakerEncoder(model, None, "cpu")
    shorter = SpeakerEncoder(model, None, "cpu", FIRST_20)
    limited = SpeakerEncoder(model, None, "cpu", replace(ALL, limits=AudioLimits(3600.0)))
    assert first.fingerprint == limited.fingerprint
    with SpeakerLibrary(tmp_path, first) as library:
        library.register("Ann", clips[0])
    with SpeakerLibrary(tmp_path, shorter) as library:
        with pytest.raises(LibraryError, match=r"this model, hearing another part .*--reembed"):
            library.identify(clips[0])
        with pytest.raises(LibraryError, match="hearing another part"):
            library.register("Bob", clips[2])
        assert library.reembed() == 1
        assert library.identify(clips[0])[0].score == pytest.approx(1.0, abs=1e-6)
    with (
        SpeakerLibrary(tmp_path, first) as library,
        pytest.raises(LibraryError, match="hearing another part"),
    ):
        library.identify(clips[0])


@pytest.mark.parametrize("wrong", [0, -1.0, float("nan"), "20"])
def test_durations_are_positive_numbers(wrong: Any) -> None:
    with pytest.raises(MVectorError, match="must be a duration in seconds"):
        Listening(max_duration_s=wrong)


def test_a_chosen_duration_takes_the_place_of_another() -> None:
    assert FIRST_20.with_duration(None) == FIRST_20
    assert FIRST_20.with_duration(5.0) == Listening(5.0)
    assert FIRST_20.with_duration(float("inf")) == ALL
