"""Agreement with torchaudio over many arguments, where torchaudio is installed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from mvector.features import build_featurizer

pytest.importorskip("torchaudio", reason="torchaudio is the reference of these tests")

from torchaudio import transforms
from torchaudio.compliance import kaldi

FBANK_ARGS: list[dict[str, Any]] = [
    {},
    {"num_mel_bins": 80},
    {"window_type": "hamming"},
    {"window_type": "hanning"},
    {"window_type": "rectangular"},
    {"window_type": "blackman", "blackman_coeff": 0.4},
    {"snip_edges": False},
    {"snip_edges": False, "frame_shift": 30.0},
    {"snip_edges": False, "frame_shift": 10.1},
    {"snip_edges": False, "frame_shift": 37.03, "frame_length": 25.03},
    {"snip_edges": False, "frame_shift": 25.03, "frame_length": 25.03},
    {"use_energy": True},
    {"use_energy": True, "htk_compat": True},
    {"use_energy": True, "raw_energy": False, "energy_floor": 0.0},
    {"use_energy": True, "preemphasis_coefficient": 0.0, "energy_floor": 0.1},
    {"use_energy": True, "remove_dc_offset": False, "subtract_mean": True},
    {"use_power": False},
    {"use_power": False, "use_log_fbank": False},
    {"use_log_fbank": False},
    {"sample_frequency": 8000.0, "num_mel_bins": 40},
    {"sample_frequency": 22050.0, "num_mel_bins": 64},
    {"round_to_power_of_two": False},
    {"preemphasis_coefficient": 0.0, "remove_dc_offset": False},
    {"low_freq": 100.0, "high_freq": -400.0, "num_mel_bins": 40},
    {"low_freq": 0.0, "high_freq": 7600.0, "num_mel_bins": 40},
    {"frame_length": 64.0, "frame_shift": 16.0, "num_mel_bins": 80},
]
SPECTROGRAM_ARGS: list[dict[str, Any]] = [
    {},
    {"n_fft": 1024, "win_length": 400, "hop_length": 160},
    {"n_fft": 1024, "hop_length": 320},
    {"n_fft": 401, "hop_length": 100},
    {"n_fft": 401, "win_length": 300, "center": False},
    {"power": 1.0},
    {"power": 3.0},
    {"normalized": True},
    {"normalized": "window"},
    {"normalized": "frame_length"},
    {"center": False},
    {"center": False, "pad": 77},
    {"pad": 500},
    {"pad_mode": "constant"},
    {"pad_mode": "replicate"},
    {"pad_mode": "circular"},
    {"onesided": False},
]
MEL_ARGS: list[dict[str, Any]] = [
    {},
    {"n_fft": 1024, "hop_length": 320, "f_min": 50.0, "f_max": 8000.0, "n_mels": 64},
    {"f_max": 9500.0},
    {"norm": "slaney"},
    {"norm": "slaney", "mel_scale": "slaney", "n_mels": 40},
    {"mel_scale": "slaney", "f_min": 1200.0, "n_mels": 20},
    {"power": 1.0, "n_mels": 40},
    {"sample_rate": 8000, "n_mels": 40},
    {"sample_rate": 11025, "f_min": 30.0, "n_mels": 40},
    {"normalized": True, "center": False, "pad": 20, "n_mels": 40},
]
MFCC_ARGS: list[dict[str, Any]] = [
    {},
    {"norm": None},
    {"log_mels": True},
    {"n_mfcc": 13, "melkwargs": {"n_mels": 23, "center": False, "n_fft": 512, "hop_length": 160}},
    {"sample_rate": 8000, "n_mfcc": 20, "melkwargs": {"n_mels": 40, "power": 1.0}},
]
CASES = [
    pytest.param(method, method_args, id=f"{method}-{method_args}")
    for method, all_args in (
        ("Fbank", FBANK_ARGS),
        ("Spectrogram", SPECTROGRAM_ARGS),
        ("MelSpectrogram", MEL_ARGS),
        ("MFCC", MFCC_ARGS),
    )
    for method_args in all_args
]


@pytest.fixture(autouse=True)
def _torchaudio_in_float64() -> Iterator[None]:
    """torchaudio computes its windows and filters in the default type."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def reference(method: str, method_args: dict[str, Any], clip: torch.Tensor) -> torch.Tensor:
    """Features (frames, bins) of one clip (1, samples) in float64."""
    if method == "Fbank":
        return kaldi.fbank(clip, **method_args)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # filters without an FFT bin
        return getattr(transforms, method)(**method_args)(clip)[0].T


def build(method: str, method_args: dict[str, Any]) -> torch.nn.Module:
    return build_featurizer(
        {"feature_method": method, "method_args": method_args, "normalize_mean": False}
    )


@pytest.mark.parametrize(("method", "method_args"), CASES)
def test_equals_torchaudio_in_float64(
    method: str, method_args: dict[str, Any], clip: torch.Tensor
) -> None:
    expected = reference(method, method_args, clip)
    features, num_frames = build(method, method_args).double()(clip)
    assert features[0].shape == expected.shape
    assert num_frames.tolist() == [len(expected)]
    torch.testing.assert_close(
        features[0], expected, rtol=0.0, atol=1e-12 * float(expected.abs().max())
    )


@pytest.mark.parametrize(("method", "method_args"), CASES)
def test_equals_torchaudio_in_float32(
    method: str, method_args: dict[str, Any], clip: torch.Tensor
) -> None:
    # Measured as a share of the largest value: cells far below their frame's maximum have few
    # valid digits in float32, whoever computes them.
    expected = reference(method, method_args, clip)
    features, _ = build(method, method_args)(clip.float())
    assert features.dtype == torch.float32
    share = 1e-5 if "Spectrogram" in method else 1e-4
    largest = float(expected.abs().max())
    difference = features[0].double() - expected
    assert float(difference.abs().max()) <= share * largest
    assert float(difference.square().mean().sqrt()) <= 2e-6 * largest


@pytest.mark.parametrize(("method", "method_args"), CASES)
def test_each_clip_of_a_ragged_batch_equals_torchaudio_on_that_clip(
    method: str, method_args: dict[str, Any], ragged: tuple[torch.Tensor, torch.Tensor]
) -> None:
    waveforms, lengths = ragged
    features, num_frames = build(method, method_args).double()(waveforms.double(), lengths)
    for row, count, waveform, length in zip(features, num_frames, waveforms, lengths, strict=True):
        expected = reference(method, method_args, waveform[None, :length].double())
        assert int(count) == len(expected)
        torch.testing.assert_close(
            row[:count], expected, rtol=0.0, atol=1e-12 * float(expected.abs().max())
        )
        assert not row[count:].any()
