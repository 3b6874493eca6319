"""What a batch and a configuration may say, and how a mistake is refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pydantic import BaseModel

from mvector.errors import ConfigError
from mvector.features import (
    FEATURE_METHODS,
    MFCC,
    Fbank,
    Featurizer,
    MelSpectrogram,
    Spectrogram,
    build_featurizer,
)

FBANK = {"feature_method": "Fbank", "method_args": {}}


@pytest.mark.parametrize(
    ("waveforms", "lengths", "message"),
    [
        (torch.rand(4000), None, r"shape \(4000,\)"),
        (torch.zeros(2, 4000, dtype=torch.int16), None, "int16"),
        (torch.rand(2, 4000), torch.tensor([4000]), "each of the 2 clips"),
        (torch.rand(2, 4000), torch.tensor([1.0, 0.5]), "float32"),
        (torch.rand(2, 4000), torch.tensor([4001, 4000]), "4001 samples"),
    ],
)
def test_misshapen_batches_are_refused(
    waveforms: torch.Tensor, lengths: torch.Tensor | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build_featurizer(FBANK)(waveforms, lengths)


@pytest.mark.parametrize(
    ("method", "method_args", "key"),
    [
        ("Spectrogram", {"n_fft": 0}, "n_fft"),
        ("Spectrogram", {"n_fft": "400"}, "n_fft"),
        ("Spectrogram", {"hop_length": 0}, "hop_length"),
        ("Spectrogram", {"hop_length": -160}, "hop_length"),
        ("Spectrogram", {"n_fft": 400, "win_length": 401}, "win_length"),
        ("Spectrogram", {"win_length": True}, "win_length"),
        ("Spectrogram", {"pad": -1}, "pad"),
        ("Spectrogram", {"power": 0}, "power"),
        ("Spectrogram", {"power": None}, "power"),
        ("Spectrogram", {"normalized": "loudness"}, "normalized"),
        ("Spectrogram", {"pad_mode": "mirror"}, "pad_mode"),
        ("Spectrogram", {"sample_rate": 0}, "sample_rate"),
        ("MelSpectrogram", {"n_mels": 0}, "n_mels"),
        ("MelSpectrogram", {"f_min": 4000.0, "f_max": 4000.0}, "f_min"),
        ("MelSpectrogram", {"f_min": 8000.0}, "f_min"),
        ("MelSpectrogram", {"f_min": -1.0}, "f_min"),
        ("MelSpectrogram", {"f_max": "8k"}, "f_max"),
        ("MelSpectrogram", {"norm": "area"}, "norm"),
        ("MelSpectrogram", {"mel_scale": "bark"}, "mel_scale"),
        ("MFCC", {"n_mfcc": 0}, "n_mfcc"),
        ("MFCC", {"n_mfcc": 65, "melkwargs": {"n_mels": 64}}, "n_mfcc"),
        ("MFCC", {"dct_type": 3}, "dct_type"),
        ("MFCC", {"norm": "slaney"}, "norm"),
        ("MFCC", {"melkwargs": {"hop_length": 0}}, "hop_length"),
        ("MFCC", {"melkwargs": {"sample_rate": 8000}}, "melkwargs.sample_rate"),
        ("Fbank", {"num_mel_bins": 3}, "num_mel_bins"),
        ("Fbank", {"num_mel_bins": 80.0}, "num_mel_bins"),
        ("Fbank", {"window_type": "hann"}, "window_type"),
        ("Fbank", {"frame_length": 0.1}, "frame_length"),
        ("Fbank", {"frame_shift": 0.0}, "frame_shift"),
        ("Fbank", {"frame_length": 25.07, "round_to_power_of_two": False}, "frame_length"),
        ("Fbank", {"low_freq": 8000.0}, "low_freq"),
        ("Fbank", {"high_freq": 8001.0}, "high_freq"),
        ("Fbank", {"preemphasis_coefficient": 1.5}, "preemphasis_coefficient"),
        ("Fbank", {"dither": -1.0}, "dither"),
        ("Fbank", {"dither": "1e-4"}, "dither"),
        ("Fbank", {"energy_floor": -1.0}, "energy_floor"),
        ("Fbank", {"sample_frequency": 0.0}, "sample_frequency"),
    ],
)
def test_impossible_arguments_are_refused_by_name(
    method: str, method_args: dict[str, Any], key: str
) -> None:
    with pytest.raises(ConfigError, match=rf"preprocess_conf\.method_args of {method}: .*{key}"):
        build_featurizer({"feature_method": method, "method_args": method_args})


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({}, "feature_method is None; choose one of: .*Fbank"),
        ({"feature_method": "fbank"}, "feature_method is 'fbank'"),
        (
            {"feature_method": "Fbank", "method_args": {"n_mels": 80}},
            "method_args has the unknown key 'n_mels'",
        ),
        (
            {"feature_method": "Fbank", "method_args": {"num_mel_bin": 80}},
            "did you mean 'num_mel_bins'",
        ),
        (
            {"feature_method": "MFCC", "method_args": {"melkwargs": {"n_mel": 80}}},
            "melkwargs has the unknown key 'n_mel'; did you mean 'n_mels'",
        ),
        ({"feature_method": "Fbank", "normalise_mean": False}, "did you mean 'normalize_mean'"),
        ({"feature_method": "Fbank", "normalize_mean": "no"}, "normalize_mean is 'no'"),
        ({"feature_method": "Fbank", "log_spectrum": True}, "set log_spectrum to False"),
        ({"feature_method": "MFCC", "log_spectrum": True}, "set log_spectrum to False"),
    ],
)
def test_wrong_configurations_are_refused_with_the_cure(conf: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_featurizer(conf)


@pytest.mark.parametrize("method", [Spectrogram, MelSpectrogram, MFCC, Fbank])
def test_an_unknown_argument_of_a_method_is_a_type_error(method: Any) -> None:
    with pytest.raises(TypeError, match="num_bins"):
        method(num_bins=3)


# ---- forms of the configuration -----------------------------------------------------------------


class PreprocessConf(BaseModel):
    feature_method: str = "Fbank"
    method_args: dict[str, Any] = {"num_mel_bins": 40}
    normalize_mean: bool = False
    normalize_variance: bool = False
    log_spectrum: bool = False


@pytest.mark.parametrize(
    "conf",
    [
        {
            "feature_method": "Fbank",
            "method_args": {"num_mel_bins": 40},
            "normalize_mean": False,
        },
        PreprocessConf(),
        SimpleNamespace(
            feature_method="Fbank", method_args={"num_mel_bins": 40}, normalize_mean=False
        ),
    ],
    ids=["mapping", "pydantic", "object"],
)
def test_the_configuration_may_be_a_mapping_or_an_object(conf: Any) -> None:
    featurizer = build_featurizer(conf)
    assert isinstance(featurizer, Featurizer)
    assert isinstance(featurizer.transform, Fbank)
    assert featurizer.feature_dim == 40
    assert not featurizer.normalize_mean


@pytest.mark.parametrize("method", FEATURE_METHODS)
def test_arguments_may_be_left_out(method: str) -> None:
    choices: tuple[dict[str, Any] | None, ...] = ({}, None)
    for method_args in choices:
        featurizer = build_featurizer({"feature_method": method, "method_args": method_args})
        assert featurizer.feature_method == method
        assert featurizer.normalize_mean


def test_the_rate_may_be_repeated_for_the_mel_spectrum_of_mfcc() -> None:
    args = {"sample_rate": 8000, "melkwargs": {"sample_rate": 8000}}
    assert build_featurizer({"feature_method": "MFCC", "method_args": args}).sample_rate == 8000
