"""Who spoke when, by name: from a recording to turns and people."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from error_codes import raises_code
from small_model import RATE, small_model, speech

from mvector import MVectorPredictor
from mvector.diarization import Turn, hearing
from mvector.diarization.options import DiarizationOptions
from mvector.diarization.writing import save_diarization
from mvector.recognition import diarizing

pytest.importorskip("librosa", reason="finds the speech by its level")

TWO = DiarizationOptions(num_speakers=2, vad_method="energy")
PAUSE = np.zeros(RATE // 2, np.float32)


def spoken(*voices: int) -> np.ndarray:
    """Voices one behind the other, with pauses."""
    return np.concatenate(
        [np.r_[speech(voice, 3.2, seed=k), PAUSE] for k, voice in enumerate(voices)]
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recording") / "talk.wav"
    soundfile.write(path, spoken(0, 1, 0, 1), RATE)
    return path


def test_all_speech_belongs_to_as_many_people_as_are_asked_for(
    model: Path, recording: Path
) -> None:
    found = MVectorPredictor(model, use_gpu=False).diarize(recording, options=TWO)
    assert [speaker.label for speaker in found.speakers] == ["Speaker 1", "Speaker 2"]
    assert found.turns[0].label == "Speaker 1"
    covered = sum(turn.duration_s for turn in found.exclusive().turns)
    assert 12.8 - 0.4 < covered < 14.8  # what is said, and pauses within a turn
    assert any("pip install silero-vad onnxruntime" in note for note in found.notes)


def test_what_somebody_says_alone_is_without_those_who_fall_in() -> None:
    turns = [
        Turn(0.0, 10.0, "a", overlap=True),
        Turn(2.0, 3.0, "b", overlap=True),
        Turn(9.0, 12.0, "b", overlap=True),
        Turn(13.0, 15.0, "a"),
        Turn(14.0, 14.5, "c", overlap=True),
    ]
    assert diarizing._alone(turns, "a") == [(0, 2), (3, 9), (13, 14), (14.5, 15)]
    assert diarizing._alone(turns, "b") == [(10, 12)]
    assert diarizing._alone(turns, "c") == []


def test_who_is_enrolled_has_a_name_which_is_given_once(
    model: Path, recording: Path, tmp_path: Path
) -> None:
    predictor = MVectorPredictor(
        model, audio_db_path=tmp_path / "db", threshold=-1.0, use_gpu=False
    )
    predictor.register((speech(0, 3.2), RATE), "Ada", force=True)
    found = predictor.diarize(recording, options=TWO)  # from -1 on, everybody resembles Ada
    named = [speaker for speaker in found.speakers if speaker.name == "Ada"]
    (unknown,) = (speaker for speaker in found.speakers if speaker.name is None)
    assert len(named) == 1
    assert unknown.label == "Speaker 1"
    assert unknown.match == "Ada"
    assert named[0].score >= unknown.score
    clip, rate = predictor.voice_of(recording, found, "Speaker 1")
    assert rate == RATE
    assert len(clip) / rate == pytest.approx(unknown.time_s, abs=1.0)


@pytest.mark.parametrize(("number", "least_s"), [(1, 12.0), (2, 6.0)])
def test_of_one_person_all_words_are_heard_that_the_network_takes_for_none(
    number: int, least_s: float, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hearing, "speech_segments", lambda block, rate, method: [(0, 6 * rate)])
    options = DiarizationOptions(num_speakers=number, vad_method="silero")
    predictor = MVectorPredictor(model, use_gpu=False)
    found = predictor.diarize((spoken(0, 0, 0, 0), RATE), options=options)
    assert least_s <= sum(speaker.time_s for speaker in found.speakers) <= least_s + 2.0


def test_strangers_keep_their_labels_across_recordings(
    model: Path, recording: Path, tmp_path: Path
) -> None:
    predictor = MVectorPredictor(model, threshold=0.9, use_gpu=False)
    first = predictor.diarize(recording, options=TWO)
    save_diarization(first, tmp_path / "first.json")
    later = (spoken(1, 0, 1, 0), RATE)
    found = predictor.diarize(later, options=TWO, same_as=tmp_path / "first.json")
    assert [speaker.label for speaker in found.speakers] == ["Speaker 2", "Speaker 1"]
    values = json.loads((tmp_path / "first.json").read_text())
    (tmp_path / "other.json").write_text(json.dumps({**values, "model_fingerprint": "another"}))
    with raises_code("model-mismatch"):
        predictor.diarize(later, options=TWO, same_as=tmp_path / "other.json")
    (tmp_path / "no.json").write_text("[]")
    with raises_code("data"):
        predictor.diarize(later, options=TWO, same_as=tmp_path / "no.json")


def test_a_call_with_one_person_a_channel_is_heard_channel_by_channel(model: Path) -> None:
    left = np.concatenate([speech(0, 3.2), 0 * speech(1, 3.2), speech(0, 3.2, seed=2)])
    right = np.concatenate([0 * speech(0, 3.2), speech(1, 3.2), 0 * speech(0, 3.2)])
    hiss = 1e-5 * np.random.default_rng(0).normal(size=(len(left), 2))
    call = (np.stack([left, right], axis=1) + hiss, RATE)
    options = DiarizationOptions(vad_method="energy")
    found = MVectorPredictor(model, use_gpu=False).diarize(call, options=options)
    assert [speaker.channel for speaker in found.speakers] == [0, 1]
    assert any(note.startswith("one person a channel: channels 0 and 1") for note in found.notes)


def test_the_echo_of_the_other_channel_is_nobodys_speech(model: Path) -> None:
    turns = np.repeat([1.0, 0.0, 1.0], 10 * RATE)
    left = turns * np.concatenate([speech(0, 10.0, seed=k) for k in range(3)])
    right = (1.0 - turns) * np.concatenate([speech(1, 10.0, seed=k) for k in range(3)])
    hiss = 1e-4 * np.random.default_rng(0).normal(size=(len(left), 2))
    call = (np.stack([left + 0.1 * right, right], axis=1) + hiss, RATE)
    options = DiarizationOptions(vad_method="energy")
    found = MVectorPredictor(model, use_gpu=False).diarize(call, options=options)
    spoken_s = [(turn.start_s, turn.end_s) for turn in found.turns if turn.speaker == "Speaker 1"]
    assert all(end_s < 10.5 or start_s > 19.5 for start_s, end_s in spoken_s)
    assert [speaker.time_s for speaker in found.speakers] == pytest.approx([20.0, 10.0], abs=2.0)
    (note,) = (note for note in found.notes if "which was left out" in note)
    assert note.startswith("channel 0 holds what is said in the other one, 2")


def test_silence_has_no_turns_and_too_many_people_are_refused(model: Path) -> None:
    predictor = MVectorPredictor(model, use_gpu=False)
    nobody = predictor.diarize((np.zeros(2 * RATE, np.float32), RATE), options=TWO)
    assert (nobody.turns, nobody.speakers) == ((), ())
    assert any("no speech was found: the recording is silent" in note for note in nobody.notes)
    short = predictor.diarize((np.zeros(RATE // 10, np.float32), RATE), options=TWO)
    assert "no speech was found: the recording has 0.1 s" in short.notes
    many = DiarizationOptions(num_speakers=9, vad_method="energy")
    with raises_code("audio-too-short"):
        predictor.diarize((speech(0, 3.2), RATE), options=many)


def test_a_library_with_nobody_in_it_names_nobody_and_a_folder_that_is_not_there_is_an_error(
    model: Path, recording: Path, tmp_path: Path
) -> None:
    def predictor() -> MVectorPredictor:
        return MVectorPredictor(model, audio_db_path=tmp_path / "db", use_gpu=False)

    with raises_code("library-not-found"):
        predictor().diarize(recording, options=TWO)
    (tmp_path / "db").mkdir()
    made = predictor()
    made.open_library(create=True)
    for empty in (predictor(), made):
        found = empty.diarize(recording, options=TWO)
        assert [speaker.label for speaker in found.speakers] == ["Speaker 1", "Speaker 2"]
        assert any("has nobody enrolled yet" in note for note in found.notes)
