"""SpeechbrainFbank: SpeechBrain's own numbers, its formulas written out, clips of a batch apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mvector.errors import ConfigError
from mvector.features import build_featurizer
from mvector.features.speechbrain import SpeechbrainFbank

STORED = Path(__file__).parent / "speechbrain_fbank80.npz"


@pytest.fixture(scope="module")
def published() -> dict[str, np.ndarray]:
    """What SpeechBrain computes of the stored clip in float64, every sixth frame."""
    with np.load(STORED) as values:
        return dict(values)


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize(
    ("dtype", "largest", "rms"), [(torch.float64, 2e-6, 1e-6), (torch.float32, 5e-4, 4e-5)]
)
def test_equals_the_stored_values(
    stored: dict[str, np.ndarray],
    published: dict[str, np.ndarray],
    dtype: torch.dtype,
    largest: float,
    rms: float,
    normalised: bool,
) -> None:
    conf = {"feature_method": "SpeechbrainFbank", "normalize_mean": normalised}
    waveform = torch.from_numpy(stored["waveform"][None] / 32768.0).to(dtype)
    features, num_frames = build_featurizer(conf).to(dtype)(waveform)
    assert features.shape[1] == num_frames[0] == published["num_frames"]
    difference = features[0, ::6].double().numpy() - (
        published["normalised"] if normalised else published["features"]
    )
    assert abs(difference).max() <= largest
    assert np.sqrt(np.mean(difference**2)) <= rms


def formula(
    waveform: np.ndarray,
    *,
    sample_rate: int = 16000,
    n_mels: int = 80,
    n_fft: int = 400,
    win_length: float = 25,
    hop_length: float = 10,
    f_min: float = 0.0,
    f_max: float | None = None,
    top_db: float = 80.0,
) -> np.ndarray:
    """The published formulas, one cell after the other."""
    window, hop = (int(sample_rate * ms / 1000) for ms in (win_length, hop_length))
    hamming = [0.54 - 0.46 * np.cos(2 * np.pi * i / window) for i in range(window)]
    start = (n_fft - window) // 2
    padded = np.concatenate([np.zeros(n_fft // 2), waveform, np.zeros(n_fft // 2)])
    low, high = (2595 * np.log10(1 + f / 700) for f in (f_min, f_max or sample_rate / 2))
    points = [700 * (10 ** (m / 2595) - 1) for m in np.linspace(low, high, n_mels + 2)]
    frames = []
    for first in range(0, len(padded) - n_fft + 1, hop):
        frame = np.zeros(n_fft)
        for i in range(window):
            frame[start + i] = padded[first + start + i] * hamming[i]
        power = abs(np.fft.rfft(frame)) ** 2
        bands = []
        for k in range(1, n_mels + 1):
            slope = (np.arange(n_fft // 2 + 1) * sample_rate / n_fft - points[k]) / (
                points[k] - points[k - 1]
            )
            weights = np.maximum(0, np.minimum(1 + slope, 1 - slope))
            bands.append(10 * np.log10(max(float(weights @ power), 1e-10)))
        frames.append(bands)
    levels = np.array(frames)
    return np.maximum(levels, levels.max() - top_db)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"n_mels": 24, "f_min": 50.0, "f_max": 7000.0},
        {"sample_rate": 8000, "n_mels": 40},
        {"n_fft": 512, "win_length": 20, "hop_length": 12.5, "top_db": 30.0},
    ],
)
def test_equals_the_formulas(clip: torch.Tensor, options: dict[str, Any]) -> None:
    conf = {
        "feature_method": "SpeechbrainFbank",
        "method_args": options,
        "normalize_mean": False,
    }
    waveform = clip[:, :4000]
    features, _ = build_featurizer(conf).double()(waveform)
    np.testing.assert_allclose(features[0].numpy(), formula(waveform[0].numpy(), **options))


def test_a_clip_has_the_features_it_has_alone(ragged: tuple[torch.Tensor, torch.Tensor]) -> None:
    waveforms, lengths = ragged
    featurizer = build_featurizer({"feature_method": "SpeechbrainFbank"})
    together, num_frames = featurizer(waveforms, lengths)
    for i, length in enumerate(lengths.tolist()):
        alone, _ = featurizer(waveforms[i : i + 1, :length])
        assert num_frames[i] == alone.shape[1] == 1 + length // 160
        torch.testing.assert_close(together[i, : num_frames[i]], alone[0], rtol=0, atol=1e-4)
        assert (together[i, num_frames[i] :] == 0).all()


def test_the_range_is_that_of_each_clip() -> None:
    torch.manual_seed(0)
    loud = torch.randn(1, 4000)
    quiet = 0.1 * loud
    quiet[:, 2000:] = 0.0
    featurizer = build_featurizer({"feature_method": "SpeechbrainFbank", "normalize_mean": False})
    features, _ = featurizer(torch.cat([loud, quiet]))
    ranges = features.amax(dim=(1, 2)) - features.amin(dim=(1, 2))
    assert ranges[0] < 79
    torch.testing.assert_close(ranges[1], torch.tensor(80.0))


def test_one_sample_is_enough() -> None:
    features, num_frames = build_featurizer({"feature_method": "SpeechbrainFbank"})(
        torch.tensor([[0.5]])
    )
    assert features.shape == (1, 1, 80)
    assert num_frames.tolist() == [1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_mels": 0}, "n_mels is 0"),
        ({"n_fft": 401}, "n_fft is 401; it must be even"),
        ({"win_length": 30.0}, "win_length is 30.0 ms, 480 samples"),
        ({"hop_length": 0.01}, "less than a sample"),
        ({"f_max": 9000.0}, "f_max is 9000.0"),
        ({"f_min": 8000.0}, "f_min is 8000.0"),
        ({"top_db": 0.0}, "top_db is 0.0"),
        ({"hop_length": "10"}, "hop_length is '10'"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SpeechbrainFbank(**options)
