"""Cached features: those of the featurizer, of whole clips, with the settings that made them."""

from __future__ import annotations

import filecmp
import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from error_codes import raises_code
from small_settings import SMALL_CONFIG

from mvector.cli import run_script
from mvector.config import load_config
from mvector.data import packed_features, write_list
from mvector.data.pack_writer import PackWriter
from mvector.data.packed import PackedCorpus, packed_kind
from mvector.data.packed_features import PackedFeatures, extract_features
from mvector.data.packing import pack_corpus
from mvector.errors import DataError
from mvector.features import build_featurizer
from mvector.features.front_end import FrontEnd
from mvector.features.level import bring_to_level

RATE = 16000
FBANK = FrontEnd(RATE, {"feature_method": "Fbank", "method_args": {"num_mel_bins": 40}})


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A list of nine clips of very different lengths and levels, and of a missing one."""
    rng = np.random.default_rng(0)
    entries = []
    for i, duration_s in enumerate((0.7, 3.1, 0.9, 1.0, 2.2, 0.55, 1.6, 0.8, 1.3)):
        samples = 0.02 * (i + 1) * rng.standard_normal(round(duration_s * RATE)).clip(-3, 3)
        soundfile.write(tmp_path / f"{i}.wav", samples, RATE)
        entries.append((str(tmp_path / f"{i}.wav"), i % 3))
    entries.insert(4, (str(tmp_path / "missing.wav"), 1))
    write_list(tmp_path / "list.txt", entries)
    return tmp_path / "list.txt"


def alone(path: str, front_end: FrontEnd) -> torch.Tensor:
    """Features of one clip as a model hears it: ``(frames, bins)``, normalised."""
    waveform = torch.from_numpy(soundfile.read(path, dtype="float32")[0])[None]
    return build_featurizer(front_end.preprocess).eval()(bring_to_level(front_end, waveform))[0][0]


@pytest.mark.parametrize(
    "preprocess",
    [
        {"feature_method": "Fbank", "method_args": {"num_mel_bins": 40}},
        {"feature_method": "MelSpectrogram", "log_spectrum": True, "normalize_variance": True},
        {"feature_method": "MFCC"},
    ],
    ids=lambda conf: conf["feature_method"],
)
def test_stored_features_normalise_to_those_of_each_clip_alone(
    clips: Path, tmp_path: Path, preprocess: dict
) -> None:
    front_end = FrontEnd(RATE, preprocess)
    out = tmp_path / "out"
    extract_features(clips, out, front_end, dtype="float32", batch_size=4, num_workers=0)
    packed = PackedFeatures(out)
    featurizer = build_featurizer(preprocess)
    assert len(packed) == 9
    assert packed.feature_dim == featurizer.feature_dim
    assert packed.labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2]
    for clip, path in enumerate(packed.paths):
        reference = alone(path, front_end)
        stored = torch.from_numpy(packed.read(clip))
        assert len(stored) == packed.num_frames[clip] == len(reference)
        assert stored.mean().abs() > 0.01  # not normalised yet
        torch.testing.assert_close(
            featurizer.normalise(stored[None])[0], reference, atol=2e-3, rtol=1e-4
        )


def test_a_crop_of_frames_is_a_slice_and_float16_keeps_eleven_bits(
    clips: Path, tmp_path: Path
) -> None:
    for dtype in ("float16", "float32"):
        extract_features(clips, tmp_path / dtype, FBANK, dtype=dtype, num_workers=0)
    half, full = PackedFeatures(tmp_path / "float16"), PackedFeatures(tmp_path / "float32")
    whole = full.read(1)
    assert whole.dtype == half.read(1).dtype == np.float32
    np.testing.assert_array_equal(full.read(1, 20, 50), whole[20:50])
    np.testing.assert_array_equal(full.read(1, 290), whole[290:])
    np.testing.assert_allclose(half.read(1), whole, rtol=2**-11, atol=1e-6)
    assert np.abs(half.read(1) - whole).max() > 0
    sizes = [(tmp_path / name / "features.bin").stat().st_size for name in ("float16", "float32")]
    assert sizes == [2 * 40 * full.num_frames.sum(), 4 * 40 * full.num_frames.sum()]


def test_another_front_end_is_refused_with_every_setting_that_differs(
    clips: Path, tmp_path: Path
) -> None:
    extract_features(clips, tmp_path / "out", FBANK, num_workers=0)
    packed = PackedFeatures(tmp_path / "out")
    packed.check(FBANK)
    packed.check(replace(FBANK, preprocess={**FBANK.preprocess, "normalize_variance": True}))
    other = FrontEnd(
        RATE,
        {"feature_method": "Fbank", "method_args": {"num_mel_bins": 80, "dither": 1.0}},
        target_dB=-25.0,
        waveform_scale=32768.0,
    )
    with pytest.raises(DataError) as refused:
        packed.check(other)
    for difference in (
        "preprocess_conf.method_args.num_mel_bins was 40 and is 80",
        "preprocess_conf.method_args.dither was 'not known' and is 1.0",
        "dataset_conf.target_dB was -20.0 and is -25.0",
        "dataset_conf.waveform_scale was 1.0 and is 32768.0",
    ):
        assert difference in str(refused.value)
    assert "do_vad" not in str(refused.value)
    assert "drop_silence" not in str(refused.value)
    with pytest.raises(DataError, match=r"dataset_conf\.drop_silence was .* and is True"):
        packed.check(replace(FBANK, drop_silence=True))
    with pytest.raises(
        DataError, match=r"preprocess_conf.feature_method was 'Fbank' and is 'MFCC'"
    ):
        packed.check(FrontEnd(RATE, {"feature_method": "MFCC"}))


def test_processes_batches_and_a_packed_source_change_nothing(clips: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    pack_corpus(clips, corpus, num_workers=0)
    extract_features(clips, tmp_path / "here", FBANK, dtype="float32", num_workers=0)
    extract_features(clips, tmp_path / "two", FBANK, dtype="float32", num_workers=2)
    extract_features(clips, tmp_path / "single", FBANK, dtype="float32", batch_size=1)
    extract_features(corpus, tmp_path / "packed", FBANK, dtype="float32")
    assert filecmp.cmp(tmp_path / "here/features.bin", tmp_path / "two/features.bin", False)
    here, two, single, packed = (
        PackedFeatures(tmp_path / name) for name in ("here", "two", "single", "packed")
    )
    assert list(packed.paths) == list(single.paths) == list(two.paths) == list(here.paths)
    for clip in range(9):
        np.testing.assert_allclose(single.read(clip), here.read(clip), atol=2e-4)
        np.testing.assert_allclose(packed.read(clip), here.read(clip), atol=2e-4)


def test_work_that_was_cut_off_goes_on_and_gives_the_same_bytes(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed_features, "_CLIPS_PER_GROUP", 3)
    extract_features(clips, tmp_path / "whole", FBANK, num_workers=0)
    append = PackWriter.append

    def failing(self: PackWriter, *args: object) -> None:
        if self.progress.num_clips == 5:
            raise KeyboardInterrupt
        append(self, *args)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(PackWriter, "append", failing)
        with pytest.raises(KeyboardInterrupt):
            extract_features(clips, tmp_path / "out", FBANK, num_workers=0)
    with pytest.raises(
        DataError, match=r"still being packed, or packing was cut off; .*extract_fea"
    ):
        PackedFeatures(tmp_path / "out")
    assert packed_kind(tmp_path / "out") == "features"
    with pytest.raises(
        DataError, match=r"begun otherwise \(dataset_conf.target_dB was -20.0 and is"
    ):
        extract_features(clips, tmp_path / "out", replace(FBANK, target_dB=-30.0), num_workers=0)
    extract_features(clips, tmp_path / "out", FBANK, num_workers=0)
    for name in ("features.bin", "index.bin", "paths.txt", "bad_clips.txt", "corpus.json"):
        assert filecmp.cmp(tmp_path / "out" / name, tmp_path / "whole" / name, False)


def test_features_beyond_float16_are_refused(clips: Path, tmp_path: Path) -> None:
    power = FrontEnd(RATE, {"feature_method": "MelSpectrogram"}, waveform_scale=32768.0)
    with pytest.raises(DataError, match=r"exceed the range of float16; .*--dtype float32"):
        extract_features(clips, tmp_path / "out", power, num_workers=0)
    extract_features(clips, tmp_path / "full", power, num_workers=0, dtype="float32")
    assert PackedFeatures(tmp_path / "full").read(0).max() > 65504


def test_the_tool_takes_the_front_end_of_a_configuration(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, out = tmp_path / "config.yml", tmp_path / "out"
    config.write_text(json.dumps(SMALL_CONFIG))  # JSON is YAML
    arguments = [str(clips), str(out), "--configs", str(config), "--use_gpu", "False"]
    assert run_script("extract_features", [*arguments, "--num_workers", "0"]) == 0
    packed = PackedFeatures(out)
    packed.check(FrontEnd.from_config(load_config(SMALL_CONFIG)))
    printed = capsys.readouterr().out
    assert f"9 clips, {packed.num_frames.sum():,} frames of 40 bins" in printed
    assert "1 bad clip" in printed
    assert run_script("extract_features", ["--verify", str(out)]) == 0
    with raises_code("packed-other-kind"):
        PackedCorpus(out)
    again = pickle.loads(pickle.dumps(packed))
    np.testing.assert_array_equal(again.read(2), packed.read(2))
