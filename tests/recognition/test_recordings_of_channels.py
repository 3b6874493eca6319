"""A recording of several channels: compared, enrolled, trained on and packed by one of them."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from error_codes import raises_code
from small_encoder import small_encoder
from small_model import RATE, small_calibration, small_model, speech
from small_settings import SMALL_CONFIG

from mvector import MVectorPredictor, load_config
from mvector.audio import ChannelOf, read_audio, trim_silence
from mvector.audio.clip_report import ENROLMENT_FLOOR
from mvector.cli import run_script
from mvector.data import read_list, write_list
from mvector.data.loader import TrainingData
from mvector.data.packed import PackedCorpus
from mvector.data.packing import pack_corpus
from mvector.embedding import SpeakerEncoder
from mvector.embedding.extraction import extract_embeddings
from mvector.errors import AudioError
from mvector.evaluation.clip_places import existing_paths
from mvector.features.front_end import FrontEnd
from mvector.models.folder import load_model_folder, save_model_folder
from mvector.training.checkpoint import changes_at_resume

DIFFERENT = (
    "channels 0 and 1 hold different voices: choose one (--channel 0 or --channel 1, for one file "
    "alone FILE#channel=0)"
)
FBANK = {"feature_method": "Fbank"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model; two voices as ``left.wav`` and ``right.wav``, and one on each side of others."""
    folder = tmp_path_factory.mktemp("channels")
    small_model(folder / "model")
    left, right = speech(0), speech(1, seed=4)
    clips = {
        "left": left,
        "right": right,
        "call": np.stack([left, right], 1),
        "reversed": np.stack([left, -left], 1),
        "half": np.stack([0 * left, left], 1),
        "twice": np.stack([left, left], 1),
    }
    for name, samples in clips.items():
        soundfile.write(folder / f"{name}.wav", samples, RATE, subtype="FLOAT")
    return folder


@pytest.fixture(scope="module")
def predictor(folder: Path) -> MVectorPredictor:
    return MVectorPredictor(folder / "model", use_gpu=False)


def test_a_clip_is_the_same_whichever_way_its_voice_is_spread(
    predictor: MVectorPredictor, folder: Path
) -> None:
    alone = predictor.predict(folder / "left.wav")
    for name in ("reversed", "half", "twice", "call.wav#channel=0"):
        path = folder / (name if "." in name else f"{name}.wav")
        np.testing.assert_array_equal(predictor.predict(path), alone)
    data = (folder / "call.wav").read_bytes()
    np.testing.assert_array_equal(predictor.predict(ChannelOf(data, 0)), alone)
    batch = predictor.predict_batch([f"{folder / 'call.wav'}#channel={k}" for k in (0, 1)])
    np.testing.assert_allclose(batch[0], alone, rtol=1e-4, atol=1e-5)


def test_a_comparison_minds_two_voices_and_an_empty_channel(
    predictor: MVectorPredictor, folder: Path
) -> None:
    score = predictor.contrast(folder / "call.wav", folder / "half.wav")
    assert f"first clip: {DIFFERENT}" in score.reasons
    assert "second clip: channel 0 is empty, channel 1 is heard" in score.reasons
    quality = json.loads(json.dumps(score.to_dict()))["quality"]
    assert quality[0]["channels"] == DIFFERENT
    plain = predictor.contrast(folder / "left.wav", f"{folder / 'call.wav'}#channel=1")
    assert not [reason for reason in plain.reasons if "channel" in reason]
    assert plain.to_dict()["quality"][0]["channels"] is None


def test_two_voices_are_not_enrolled_as_one(folder: Path, tmp_path: Path) -> None:
    predictor = MVectorPredictor(folder / "model", use_gpu=False, audio_db_path=tmp_path)
    with raises_code("audio-too-bad"):
        predictor.register(folder / "call.wav", "Ada")
    with pytest.raises(AudioError, match=r"different voices: choose one \(--channel 0 or"):
        predictor.register(folder / "call.wav", "Ada")
    assert not (tmp_path / "Ada").exists()
    predictor.register(f"{folder / 'call.wav'}#channel=1", "Ada")
    predictor.register(folder / "half.wav", "Bob")  # which is told of, and enrolled
    assert predictor.recognition(folder / "right.wav").name == "Ada"
    assert predictor.recognition(folder / "left.wav").name == "Bob"
    left = ChannelOf((folder / "call.wav").read_bytes(), 0)
    registration = predictor.register(left, "Cem")
    stored, rate = soundfile.read(tmp_path / str(registration.clip))
    assert (stored.ndim, rate) == (1, RATE)
    predictor.register(folder / "call.wav", "Dan", force=True)


def test_one_choice_for_all_clips_of_a_predictor(folder: Path, tmp_path: Path) -> None:
    right = MVectorPredictor(folder / "model", use_gpu=False, channel=1, audio_db_path=tmp_path)
    plain = MVectorPredictor(folder / "model", use_gpu=False)
    expected = plain.predict(folder / "right.wav")
    np.testing.assert_array_equal(right.predict(folder / "call.wav"), expected)
    with (folder / "call.wav").open("rb") as stream:
        np.testing.assert_array_equal(right.predict(stream), expected)
    right.register(folder / "call.wav", "Ada")  # what is stored has one channel, and is heard
    assert right.recognition(folder / "call.wav").name == "Ada"
    named = right.predict(f"{folder / 'call.wav'}#channel=0")
    np.testing.assert_array_equal(named, plain.predict(folder / "left.wav"))
    assert right.encoder.fingerprint == plain.encoder.fingerprint
    with raises_code("audio-channel"):
        right.predict(folder / "left.wav")
    with raises_code("audio-channel"):
        MVectorPredictor(folder / "model", use_gpu=False, channel="left")  # type: ignore[arg-type]


def test_the_scripts_take_a_channel(folder: Path, capsys: pytest.CaptureFixture) -> None:
    options = ["--model_path", str(folder / "model"), "--audio_path2", str(folder / "right.wav")]
    options += ["--json", "--audio_path1", str(folder / "call.wav")]
    run_script("contrast", [*options, "--channel", "mix"])
    mixed = json.loads(capsys.readouterr().out)["score"]
    options[-1] += "#channel=1"  # a clip's own
    assert run_script("contrast", [*options, "--channel", "mix"]) == 0
    assert json.loads(capsys.readouterr().out)["score"] == pytest.approx(1.0, abs=1e-5) != mixed
    options[-1] = str(folder / "left.wav")
    assert run_script("contrast", [*options, "--channel", "1"]) == 2
    assert "has no channel 1: it has one channel, 0" in capsys.readouterr().err
    assert run_script("contrast", [*options, "--channel", "left"]) == 2
    assert "'left' is no channel; use auto, mix, or a number" in capsys.readouterr().err


# ---- a model that hears one channel -------------------------------------------------------------


def test_a_model_may_hear_one_channel(folder: Path, tmp_path: Path) -> None:
    model = small_encoder().model
    model.front_end = replace(model.front_end, channel=1)
    save_model_folder(tmp_path, model, calibration=small_calibration().to_dict())
    loaded, info = load_model_folder(tmp_path)
    assert loaded.front_end.channel == 1
    encoder = SpeakerEncoder(loaded, info, "cpu")
    right = encoder.embed(str(folder / "right.wav"))  # one channel is all there is
    np.testing.assert_array_equal(encoder.embed(str(folder / "call.wav")), right)
    left = encoder.embed(f"{folder / 'call.wav'}#channel=0")
    np.testing.assert_array_equal(left, encoder.embed(str(folder / "left.wav")))


def test_the_usual_choice_is_not_written_and_changes_no_fingerprint() -> None:
    assert "channel" not in FrontEnd(RATE, FBANK).to_dict()
    assert FrontEnd(RATE, FBANK, channel="mix").to_dict()["channel"] == "mix"
    with raises_code("audio-channel"):
        FrontEnd(RATE, FBANK, channel=-1)


def test_a_configuration_names_the_channel() -> None:
    config = copy.deepcopy(SMALL_CONFIG)
    for channel in ("auto", "mix", 0, 3):
        config["dataset_conf"]["channel"] = channel
        assert FrontEnd.from_config(load_config(config)).channel == channel
    for wrong in ("left", -1, True, 0.5):
        config["dataset_conf"]["channel"] = wrong
        with pytest.raises(Exception, match=r"channel: .* is no channel; use auto, mix, or a num"):
            load_config(config)


def test_a_run_begun_before_there_was_a_choice_goes_on() -> None:
    before = {"dataset_conf": {"sample_rate": RATE}}
    assert (
        changes_at_resume("run", before, {"dataset_conf": {"sample_rate": RATE, "channel": "auto"}})
        == []
    )
    with raises_code("checkpoint"):
        changes_at_resume("run", before, {"dataset_conf": {"sample_rate": RATE, "channel": 0}})


# ---- lists --------------------------------------------------------------------------------------


@pytest.fixture
def listed(folder: Path, tmp_path: Path) -> Path:
    entries = [("call.wav#channel=0", 0), ("call.wav#channel=1", 1)]
    write_list(tmp_path / "list.txt", entries)
    return tmp_path / "list.txt"


def test_a_line_of_a_training_list_names_a_channel(folder: Path, listed: Path) -> None:
    config = copy.deepcopy(SMALL_CONFIG)
    data_conf = {"train_list": str(listed), "data_root": str(folder), "max_duration": 2.5}
    config["dataset_conf"] |= {**data_conf, "dataLoader": {"batch_size": 2, "num_workers": 0}}
    (batch,) = TrainingData(load_config(config)).loader
    assert not batch.skipped
    for inputs, label in zip(batch.inputs, batch.labels, strict=True):
        name = ("left", "right")[int(label)]
        whole = torch.from_numpy(soundfile.read(folder / f"{name}.wav", dtype="float32")[0])
        torch.testing.assert_close(inputs, whole[: len(inputs)])


def test_a_packed_corpus_holds_the_channels_that_its_list_names(
    folder: Path, listed: Path, tmp_path: Path
) -> None:
    pack_corpus(listed, tmp_path / "packed", data_root=folder, num_workers=0, show_progress=False)
    corpus = PackedCorpus(tmp_path / "packed")
    assert [Path(path).name for path in corpus.paths] == [
        "call.wav#channel=0",
        "call.wav#channel=1",
    ]
    for number, name in enumerate(("left", "right")):
        expected = soundfile.read(folder / f"{name}.wav", dtype="float32")[0]
        np.testing.assert_allclose(corpus.read(number), expected, atol=1 / 32768)


def test_a_corpus_is_packed_with_a_channel_and_trained_on_with_the_same(
    folder: Path, tmp_path: Path
) -> None:
    write_list(tmp_path / "list.txt", [(str(folder / "call.wav"), k) for k in (0, 1)])
    out = tmp_path / "packed"
    assert run_script("pack_corpus", [str(tmp_path / "list.txt"), str(out), "--channel", "1"]) == 0
    expected = soundfile.read(folder / "right.wav", dtype="float32")[0]
    np.testing.assert_allclose(PackedCorpus(out).read(0), expected, atol=1 / 32768)
    config = copy.deepcopy(SMALL_CONFIG)
    config["dataset_conf"] |= {"train_list": str(out), "channel": 1}
    config["dataset_conf"]["dataLoader"] = {"batch_size": 2, "num_workers": 0}
    TrainingData(load_config(config))
    config["dataset_conf"]["channel"] = "auto"
    with raises_code("packed-other-settings"):
        TrainingData(load_config(config))


def test_lists_are_made_of_a_channel(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for person in ("ada", "bob"):
        (tmp_path / "corpus" / person).mkdir(parents=True)
        shutil.copy(folder / "call.wav", tmp_path / "corpus" / person / "1.wav")
    options = ["--dataset", "folder", "--path", "corpus", "--test_speakers", "0"]
    options += ["--num_workers", "0", "--channel", "1"]
    assert run_script("create_data", [*options, "--output", "lists"]) == 0
    (first, second) = read_list("lists/train_list.txt").paths
    assert (first, second) == ("corpus/ada/1.wav#channel=1", "corpus/bob/1.wav#channel=1")
    assert run_script("create_data", [*options, "--output", "cut", "--do_vad", "energy"]) == 0
    cut = read_list("cut/train_list.txt").paths[0]
    assert cut == "cut/trimmed/ada/1.flac"
    expected = trim_silence(read_audio(folder / "right.wav"), RATE)
    np.testing.assert_allclose(read_audio(cut), expected, atol=1 / 32768)


def test_a_table_lists_two_channels_of_a_file(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(folder / "call.wav", tmp_path)
    rows = [f"call.wav#channel={k},{who}" for k, who in enumerate(("ada", "bob"))]
    Path("calls.csv").write_text("\n".join(["path,speaker", *rows]))
    options = ["--dataset", "csv", "--path", "calls.csv", "--test_speakers", "0"]
    assert run_script("create_data", [*options, "--num_workers", "0", "--output", "o"]) == 0
    assert list(read_list("o/train_list.txt").paths) == ["call.wav#channel=0", "call.wav#channel=1"]


def test_embeddings_are_those_of_the_channel(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("call.wav\n")
    options = [str(tmp_path / "list.txt"), str(tmp_path / "o.npz"), "--data_root", str(folder)]
    options += ["--model_path", str(folder / "model"), "--use_gpu", "False", "--channel", "1"]
    assert run_script("extract_embeddings", options) == 0
    with np.load(tmp_path / "o.npz", allow_pickle=False) as table:
        assert [Path(path).name for path in table["paths"]] == ["call.wav"]
        expected = MVectorPredictor(folder / "model", use_gpu=False).predict(folder / "right.wav")
        np.testing.assert_allclose(table["embeddings"][0], expected, rtol=1e-4, atol=1e-5)


def test_trials_name_channels(folder: Path, listed: Path) -> None:
    paths = list(read_list(listed, root=folder).paths)
    assert existing_paths(paths, "list", skip_missing=False) == paths
    elsewhere = [path.replace("call.wav", "call.flac") for path in paths]
    assert existing_paths(elsewhere, "list", skip_missing=True)[0].endswith("#channel=0")


def test_a_cache_keeps_the_channels_of_a_file_apart(folder: Path, tmp_path: Path) -> None:
    encoder = small_encoder()
    paths = [f"{folder / 'call.wav'}#channel={k}" for k in (0, 1)]
    expected = [encoder.embed(str(folder / f"{name}.wav")) for name in ("left", "right")]
    for source in (folder, tmp_path / "moved"):  # found by its place, and by its content
        if source != folder:
            source.mkdir()
            shutil.copy(folder / "call.wav", source)
        paths = [f"{source / 'call.wav'}#channel={k}" for k in (0, 1)]
        for order in (paths, paths[::-1]):
            table = extract_embeddings(encoder, order, cache=tmp_path / "cache")
            wanted = expected if order is paths else expected[::-1]
            np.testing.assert_allclose(table.embeddings, wanted, rtol=1e-4, atol=1e-5)


def test_the_floor_of_enrolment_refuses_two_voices_alone() -> None:
    assert not ENROLMENT_FLOOR.different_channels
    assert ENROLMENT_FLOOR.empty_channel
