"""The numbers of other programs, stored: torchaudio 2.11's (also as wespeaker calls it)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mvector.features import build_featurizer

FFT_1024 = {"n_fft": 1024, "hop_length": 320, "win_length": 1024}
MEL_1024 = {**FFT_1024, "f_min": 50, "f_max": 8000, "n_mels": 64}

# name: (method, arguments, scale of the waveform, bound in float32)
# Bounds are on the largest difference, as a share of the largest value.
CASES: dict[str, tuple[str, dict[str, Any], float, float]] = {
    "wespeaker_fbank80": (
        "Fbank",
        {"num_mel_bins": 80, "window_type": "hamming", "frame_length": 25, "frame_shift": 10},
        32768.0,
        1e-5,
    ),
    "kaldi_fbank80": ("Fbank", {"num_mel_bins": 80}, 1.0, 1e-5),
    "kaldi_fbank_default": ("Fbank", {}, 1.0, 1e-5),
    "torchaudio_melspectrogram_1024": ("MelSpectrogram", MEL_1024, 1.0, 2e-6),
    "torchaudio_melspectrogram_default": ("MelSpectrogram", {}, 1.0, 2e-6),
    "torchaudio_spectrogram_1024": ("Spectrogram", FFT_1024, 1.0, 2e-6),
    "torchaudio_spectrogram_default": ("Spectrogram", {}, 1.0, 2e-6),
    "torchaudio_mfcc_1024": ("MFCC", {"melkwargs": MEL_1024}, 1.0, 5e-6),
    "torchaudio_mfcc_default": ("MFCC", {}, 1.0, 5e-6),
}


def computed(
    stored: dict[str, np.ndarray], name: str, dtype: torch.dtype, **conf: bool
) -> tuple[np.ndarray, int]:
    method, method_args, scale, _ = CASES[name]
    featurizer = build_featurizer(
        {"feature_method": method, "method_args": method_args, **conf}
    ).to(dtype)
    waveform = torch.from_numpy(stored["waveform"][None] / 32768.0 * scale).to(dtype)
    features, num_frames = featurizer(waveform)
    assert features.dtype == dtype
    return features[0, ::6].double().numpy(), int(num_frames[0])


@pytest.mark.parametrize("name", CASES)
def test_float64_equals_the_stored_values_to_their_rounding(
    stored: dict[str, np.ndarray], name: str
) -> None:
    features, num_frames = computed(stored, name, torch.float64, normalize_mean=False)
    assert num_frames == stored[f"{name}_num_frames"]
    assert features.shape == stored[name].shape
    largest = abs(stored[name]).max()
    assert abs(features - stored[name]).max() <= 1.2e-7 * largest


@pytest.mark.parametrize("name", CASES)
def test_float32_equals_the_stored_values(stored: dict[str, np.ndarray], name: str) -> None:
    features, _ = computed(stored, name, torch.float32, normalize_mean=False)
    largest = abs(stored[name]).max()
    difference = features - stored[name]
    assert abs(difference).max() <= CASES[name][3] * largest
    assert np.sqrt(np.mean(difference**2)) <= 5e-7 * largest


@pytest.mark.parametrize("name", ["kaldi_fbank80", "torchaudio_mfcc_1024"])
def test_normalised_features_equal_the_stored_ones(
    stored: dict[str, np.ndarray], name: str
) -> None:
    features, _ = computed(stored, name, torch.float64)
    expected = stored[f"{name}_normalised"]
    assert abs(features - expected).max() <= 1.2e-7 * abs(stored[name]).max()
