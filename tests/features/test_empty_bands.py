"""More mel bands than the spectrum has bins for: a warning with both numbers and the cure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import yaml
from small_settings import ROOT

from mvector.features.kaldi import Fbank
from mvector.features.spectral import MFCC, MelSpectrogram
from mvector.features.speechbrain import SpeechbrainFbank

CASES: dict[str, Callable[[int], Any]] = {
    "n_mels": lambda bands: MelSpectrogram(n_fft=256, n_mels=bands),
    "n_mels of MFCC": lambda bands: MFCC(melkwargs={"n_fft": 256, "n_mels": bands}),
    "n_mels of SpeechBrain": lambda bands: SpeechbrainFbank(
        n_fft=256, win_length=16.0, n_mels=bands
    ),
    "num_mel_bins": lambda bands: Fbank(frame_length=16.0, num_mel_bins=bands),
}


@pytest.mark.parametrize("kind", CASES)
def test_bands_without_a_bin_are_counted_and_the_number_named_has_none(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    transform = CASES[kind](128)
    bank = getattr(transform, "mel_spectrogram", transform).mel_bank
    num_empty = int((bank.amax(dim=0) == 0).sum())
    assert num_empty > 0
    (message,) = caplog.messages
    setting = kind.split(" ")[0]
    assert message.startswith(f"{num_empty} of 128 mel bands are always empty, because no bin")
    assert f"of a spectrum of 256 points falls into them: set {setting} to " in message
    most = int(message.split(" or less")[0].split(" to ")[1])
    caplog.clear()
    CASES[kind](most)
    assert not caplog.messages
    CASES[kind](most + 1)
    assert caplog.messages


def test_bands_above_half_the_rate_are_another_matter(caplog: pytest.LogCaptureFixture) -> None:
    MelSpectrogram(n_fft=1024, n_mels=40, f_max=14000.0)  # load_config tells of these
    assert not caplog.messages


def test_what_is_empty_says_nothing_of_any_sound() -> None:
    mel = MelSpectrogram(n_fft=256, n_mels=128)
    heard = mel(torch.randn(1, 16000)).amax(dim=(0, 1))
    assert torch.equal(heard == 0, mel.mel_bank.amax(dim=0) == 0)


CONFIGURATIONS = sorted({*(ROOT / "configs").glob("*.yml")} - {ROOT / "configs/augmentation.yml"})


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.name)
def test_no_shipped_configuration_has_empty_bands(
    path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    conf = yaml.safe_load(path.read_text(encoding="utf-8"))["preprocess_conf"]
    kinds = {"Fbank": Fbank, "MelSpectrogram": MelSpectrogram, "MFCC": MFCC}
    kinds[conf["feature_method"]](**conf["method_args"])
    assert not caplog.messages
