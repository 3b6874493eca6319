"""Each source's features come with its weights: scale, window, level, rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from error_codes import raises_code

from mvector.compat import SOURCES, export_checkpoint, import_checkpoint
from mvector.compat.source import Hints
from mvector.errors import CheckpointError
from mvector.features import build_featurizer
from mvector.features.front_end import FrontEnd
from mvector.features.level import bring_to_level
from mvector.models.folder import fingerprint_of, load_model_folder, save_model_folder
from mvector.models.speaker_model import SpeakerModel

FEATURES = Path(__file__).resolve().parent.parent / "features"
SMALL = {"layout": "speechbrain", "channels": 16, "embd_dim": 8}
XVECTOR = {"layout": "xvector", "channels": 8, "embd_dim": 8}


@pytest.fixture(scope="module")
def stored() -> dict[str, np.ndarray]:
    """Features of one clip as the toolkits compute them, every sixth frame."""
    with (
        np.load(FEATURES / "stored_values.npz") as values,
        np.load(FEATURES / "speechbrain_fbank80.npz") as speechbrain,
    ):
        return {**values, "speechbrain_fbank80": speechbrain["features"]}


def imported(source: str, bins: int = 80, **options: Any) -> SpeakerModel:
    """A small model of a source, by way of its checkpoint."""
    front_end = SOURCES["3dspeaker"].front_end(bins, 16000, Hints())
    if source == "wespeaker":
        layers = {**XVECTOR, "two_embedding_layers": True}
        state = export_checkpoint(SpeakerModel(front_end, "TDNN", layers), source)
    else:  # the same entries for three sources
        state = export_checkpoint(SpeakerModel(front_end, "EcapaTdnn", SMALL), "speechbrain")
    return import_checkpoint(state, source, **options).model


def centred(features: np.ndarray) -> np.ndarray:
    return features - features.mean(axis=0)


@pytest.mark.parametrize(
    ("source", "options", "reference"),
    [
        ("wespeaker", {}, "wespeaker_fbank80"),
        ("wespeaker", {"front_end": "3dspeaker"}, "kaldi_fbank80"),
        ("3dspeaker", {}, "kaldi_fbank80"),
        ("speechbrain", {}, "speechbrain_fbank80"),
    ],
)
def test_features_are_the_toolkits_own(
    stored: dict[str, np.ndarray], source: str, options: dict[str, Any], reference: str
) -> None:
    model = imported(source, **options).double()
    waveform = torch.from_numpy(stored["waveform"][None] / 32768.0)
    features, _ = model.features(waveform)
    ours = centred(features[0, ::6].numpy())
    np.testing.assert_allclose(ours, centred(stored[reference]), rtol=0, atol=1e-5)
    np.testing.assert_allclose(features[0].mean(dim=0).numpy(), 0.0, atol=1e-9)


def test_mvector_1_brings_clips_to_minus_20_db_first(stored: dict[str, np.ndarray]) -> None:
    waveform = stored["waveform"] / 32768.0
    at_level = waveform * 10 ** ((-20 - 10 * np.log10(np.mean(waveform**2))) / 20)
    kaldi = build_featurizer({"feature_method": "Fbank", "method_args": {"num_mel_bins": 80}})
    expected, _ = kaldi.double()(torch.from_numpy(at_level[None]))
    features, _ = imported("mvector").double().features(torch.from_numpy(waveform[None]))
    torch.testing.assert_close(features, expected)
    other, _ = imported("3dspeaker").double().features(torch.from_numpy(waveform[None]))
    assert (features - other).abs().max() > 0.1


@pytest.mark.parametrize("source", ["wespeaker", "3dspeaker", "speechbrain"])
def test_no_other_source_touches_the_level(source: str) -> None:
    assert imported(source).front_end.use_dB_normalization is False


@pytest.mark.parametrize("source", ["wespeaker", "3dspeaker", "speechbrain", "mvector"])
def test_models_for_8_khz(source: str) -> None:
    model = imported(source, bins=40, sample_rate=8000)
    assert model.front_end.sample_rate == model.featurizer.sample_rate == 8000
    assert model.featurizer.feature_dim == 40
    _, num_frames = model.features(torch.randn(1, 8000))
    assert num_frames[0] in (98, 101)  # of 10 ms


def test_a_front_end_may_be_given() -> None:
    given = SOURCES["speechbrain"].front_end(80, 16000, Hints())
    assert imported("wespeaker", front_end=given).front_end == given
    with raises_code("front-end-mismatch"):
        imported("wespeaker", front_end=SOURCES["speechbrain"].front_end(40, 16000, Hints()))
    with pytest.raises(CheckpointError, match="no front end of 'kaldi'"):
        imported("wespeaker", front_end="kaldi")


def test_the_scale_comes_behind_the_level_and_travels_with_the_model(tmp_path: Path) -> None:
    preprocess = {"feature_method": "Fbank", "method_args": {"num_mel_bins": 16}}
    front_end = FrontEnd(16000, preprocess, waveform_scale=32768.0)
    waveforms = torch.randn(2, 1600)
    expected = bring_to_level(FrontEnd(16000, preprocess), waveforms) * 32768.0
    assert torch.equal(bring_to_level(front_end, waveforms), expected)
    save_model_folder(tmp_path / "model", SpeakerModel(front_end, "TDNN", XVECTOR))
    loaded, _ = load_model_folder(tmp_path / "model")
    assert loaded.front_end.waveform_scale == 32768.0


def test_the_scale_is_part_of_the_fingerprint() -> None:
    preprocess = {"feature_method": "Fbank", "method_args": {"num_mel_bins": 16}}
    model = SpeakerModel(FrontEnd(16000, preprocess), "TDNN", XVECTOR)
    before = fingerprint_of(model)
    model.front_end = FrontEnd(16000, preprocess, waveform_scale=32768.0)
    assert fingerprint_of(model) != before
