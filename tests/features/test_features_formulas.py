"""The parts against their published formulas, frame by frame in float64, and against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.fft
import torch

from mvector.features import build_featurizer
from mvector.features.filters import dct_matrix, hz_mel_bank, hz_to_mel, mel_to_hz
from mvector.features.framing import pad_ends


def kaldi_fbank_by_hand(samples: np.ndarray, num_bins: int) -> np.ndarray:
    """compute-fbank-feats at 16 kHz with a Hamming window, one frame and one filter at a time."""
    window = [0.54 - 0.46 * math.cos(2 * math.pi * i / 399) for i in range(400)]
    low, high = 1127 * math.log(1 + 20 / 700), 1127 * math.log(1 + 8000 / 700)
    step = (high - low) / (num_bins + 1)
    rows = []
    for start in range(0, len(samples) - 399, 160):
        frame = samples[start : start + 400]
        frame = frame - frame.mean()
        frame = np.array([frame[i] - 0.97 * frame[max(0, i - 1)] for i in range(400)]) * window
        power = abs(np.fft.fft(frame, 512)) ** 2
        row = []
        for k in range(num_bins):
            energy = 0.0
            for j in range(256):
                position = (1127 * math.log(1 + j * 31.25 / 700) - low) / step - k
                energy += max(0.0, min(position, 2 - position)) * power[j]
            row.append(math.log(max(energy, 2.0**-23)))
        rows.append(row)
    return np.array(rows)


def test_fbank_follows_kaldis_definition(clip: torch.Tensor) -> None:
    short = clip[:, :2000]
    featurizer = build_featurizer(
        {
            "feature_method": "Fbank",
            "method_args": {"num_mel_bins": 20, "window_type": "hamming"},
            "normalize_mean": False,
        }
    ).double()
    features, _ = featurizer(short)
    expected = kaldi_fbank_by_hand(short[0].numpy(), 20)
    np.testing.assert_allclose(features[0].numpy(), expected, rtol=0, atol=1e-11)


def test_spectrogram_is_the_power_of_the_windowed_frames(clip: torch.Tensor) -> None:
    args = {"n_fft": 256, "win_length": 200, "hop_length": 100}
    featurizer = build_featurizer(
        {"feature_method": "Spectrogram", "method_args": args, "normalize_mean": False}
    ).double()
    features, _ = featurizer(clip)
    padded = np.pad(clip[0].numpy(), 128, mode="reflect")
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(200) / 200)
    window = np.concatenate([np.zeros(28), hann, np.zeros(28)])
    frames = [padded[start : start + 256] for start in range(0, len(padded) - 255, 100)]
    expected = np.array([abs(np.fft.rfft(frame * window)) ** 2 for frame in frames])
    np.testing.assert_allclose(features[0].numpy(), expected, rtol=0, atol=1e-12 * expected.max())


@pytest.mark.parametrize("norm", ["ortho", None])
def test_dct_matrix_is_scipys_dct(norm: str | None) -> None:
    mel = np.random.default_rng(0).standard_normal((5, 23))
    expected = scipy.fft.dct(mel, type=2, norm=norm or "backward")[:, :13]
    np.testing.assert_allclose(mel @ dct_matrix(23, 13, norm).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("mel_scale", "hz", "mel"),
    [
        ("htk", 700.0, 2595 * math.log10(2)),
        ("slaney", 500.0, 7.5),
        ("slaney", 1000.0, 15.0),
        ("slaney", 6400.0, 42.0),
    ],
)
def test_mel_scales_pass_through_their_defining_points(
    mel_scale: str, hz: float, mel: float
) -> None:
    assert float(hz_to_mel(torch.tensor(hz).double(), mel_scale)) == pytest.approx(mel)
    assert float(mel_to_hz(torch.tensor(mel).double(), mel_scale)) == pytest.approx(hz)


def test_neighbouring_mel_filters_add_up_to_one() -> None:
    bank = hz_mel_bank(513, 40, 16000, 0.0, 8000.0, norm=None, mel_scale="htk")
    centres = bank.argmax(dim=0)
    between = bank[centres[0] + 1 : centres[-1]].sum(dim=1)
    torch.testing.assert_close(between, torch.ones_like(between))


def test_filters_above_the_nyquist_frequency_are_empty() -> None:
    bank = hz_mel_bank(201, 20, 16000, 0.0, 16000.0, norm=None, mel_scale="htk")
    corners = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 16000 / 700), 22) / 2595) - 1)
    empty = torch.from_numpy(corners[:-2] >= 8000.0)
    assert empty.any()
    assert not bank[:, empty].any()


@pytest.mark.parametrize(
    ("mode", "numpy_mode"),
    [
        ("reflect", "reflect"),
        ("symmetric", "symmetric"),
        ("replicate", "edge"),
        ("circular", "wrap"),
        ("constant", "constant"),
    ],
)
def test_each_clip_is_continued_at_its_own_end(mode: str, numpy_mode: str) -> None:
    waveforms = torch.arange(1.0, 41.0).view(2, 20)
    lengths = torch.tensor([20, 9])
    padded = pad_ends(waveforms, lengths, 8, 7, mode)
    for row, waveform, length in zip(padded, waveforms, lengths.tolist(), strict=True):
        expected = np.pad(waveform[:length].numpy(), (8, 7), mode=numpy_mode)  # type: ignore[call-overload]
        np.testing.assert_array_equal(row[: 8 + length + 7].numpy(), expected)
