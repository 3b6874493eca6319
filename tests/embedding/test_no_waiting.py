"""A ragged batch goes to a GPU without a number being asked back from it.

Tensors on the device ``meta`` hold no numbers: whoever reads one there fails, as one who reads
it from a GPU waits for all that the GPU has to do.
"""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from error_codes import raises_code
from small_settings import SMALL_BACKBONES

from mvector.features.front_end import FrontEnd
from mvector.models.speaker_model import SpeakerModel

RATE = 16000
FBANK = {"feature_method": "Fbank", "method_args": {"num_mel_bins": 40}}
MFCC = {"feature_method": "MFCC", "method_args": {"n_mfcc": 40, "melkwargs": {"n_mels": 64}}}


@pytest.fixture(autouse=True)
def no_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which torch does not have on that device."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())


def on_meta(name: str, preprocess: dict) -> SpeakerModel:
    return SpeakerModel(FrontEnd(RATE, preprocess), name, SMALL_BACKBONES[name]).to("meta").eval()


@pytest.mark.parametrize("name", SMALL_BACKBONES)
def test_no_number_is_read_from_the_device(name: str) -> None:
    model = on_meta(name, FBANK)
    waveforms, lengths = torch.zeros(2, RATE, device="meta"), torch.tensor([RATE, RATE // 2])
    with torch.inference_mode():
        assert model(waveforms, lengths).shape == (2, model.embd_dim)
        assert model(waveforms, lengths.to("meta")).shape == (2, model.embd_dim)


def test_nor_by_other_features() -> None:
    model = on_meta("TDNN", MFCC)
    with torch.inference_mode():
        found = model(torch.zeros(2, RATE, device="meta"), torch.tensor([RATE, RATE // 2]))
    assert found.shape == (2, model.embd_dim)


def test_a_clip_too_short_is_seen_on_the_host() -> None:
    model = on_meta("TDNN", FBANK)
    with raises_code("audio-too-short"), torch.inference_mode():
        model(torch.zeros(2, RATE, device="meta"), torch.tensor([RATE, 800]))
