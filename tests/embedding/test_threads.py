"""How many threads compute an embedding: one for a short clip of a small model."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from mvector.embedding.torch_inference import TorchInference
from mvector.features.front_end import FrontEnd
from mvector.models.speaker_model import SpeakerModel

RATE = 16000
FBANK = {"feature_method": "Fbank", "method_args": {"num_mel_bins": 80}}


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(1)


class Watched(nn.Module):
    """A backbone of so many weights that only looks at how many threads there are."""

    embd_dim = 4

    def __init__(self, weights: nn.Parameter) -> None:
        super().__init__()
        self.weights = weights
        self.num_threads = 0

    def forward(self, features: torch.Tensor, num_frames: torch.Tensor | None) -> torch.Tensor:
        self.num_threads = torch.get_num_threads()
        return torch.ones(len(features), 4)


def threads_of(weights: torch.Tensor, duration_s: float, clips: int = 1) -> int:
    model = SpeakerModel(FrontEnd(RATE, FBANK), "TDNN", {"channels": 8, "embd_dim": 4})
    model.backbone = watched = Watched(nn.Parameter(weights))
    inference = TorchInference(model, torch.device("cpu"))
    inference.forward([np.ones(round(duration_s * RATE), dtype=np.float32)] * clips)
    assert torch.get_num_threads() == 3
    return watched.num_threads


SMALL = torch.zeros(1_850_000)  # weights of the model in the box


@pytest.mark.parametrize("duration_s", [1.0, 3.0, 10.0])
def test_a_clip_of_a_small_model_is_computed_by_one_thread(duration_s: float) -> None:
    assert threads_of(SMALL, duration_s) == 1


def test_long_windows_batches_and_large_models_have_all_threads() -> None:
    assert threads_of(SMALL, 30.0) == 3
    assert threads_of(SMALL, 3.0, clips=16) == 3
    assert threads_of(torch.zeros(15_000_000), 3.0) == 3


def test_a_weight_over_time_and_frequency_counts_as_the_bands_it_is_used_in() -> None:
    assert threads_of(torch.zeros(6_600_000), 3.0) == 1
    assert threads_of(torch.zeros(2000, 3300, 1, 1), 3.0) == 3


def test_the_threads_come_back_where_the_forward_pass_fails() -> None:
    model = SpeakerModel(FrontEnd(RATE, FBANK), "TDNN", {"channels": 8, "embd_dim": 4})
    model.backbone = nn.Identity()  # takes one argument
    with pytest.raises(TypeError):
        TorchInference(model, torch.device("cpu")).forward([np.ones(RATE, dtype=np.float32)])
    assert torch.get_num_threads() == 3
