"""What every loss keeps: gradients, half precision, memory, and what the trainer asks of it."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mvector.losses import LOSSES
from mvector.losses.base import SpeakerLoss
from mvector.losses.margin import AAMLoss, AMLoss, ARMLoss, CELoss
from mvector.losses.sphereface2 import SphereFace2
from mvector.losses.subcenter import SubCenterLoss
from mvector.losses.triplet import TripletAngularMarginLoss

NUM_SPEAKERS = 5
ON_LOGITS: dict[str, Callable[[], SpeakerLoss]] = {
    "CE": CELoss,
    "CE, smoothed": lambda: CELoss(label_smoothing=0.1),
    "AAM": AAMLoss,
    "AAM, easy, smoothed": lambda: AAMLoss(easy_margin=True, label_smoothing=0.1),
    "AM": AMLoss,
    "ARM": ARMLoss,
    "SphereFace2 C": SphereFace2,
    "SphereFace2 A": lambda: SphereFace2(margin_type="A", margin=0.15),
    "SphereFace2, other power": lambda: SphereFace2(t=1.5),
    "SubCenter": SubCenterLoss,
    "SubCenter, top 2": lambda: SubCenterLoss(num_centers=2, k_top=2),
}
ALL = {**ON_LOGITS, "Triplet": TripletAngularMarginLoss}
ON_COSINES = [name for name in ON_LOGITS if not name.startswith("CE")]
parametrize_all = pytest.mark.parametrize("name", ALL)
parametrize_on_logits = pytest.mark.parametrize("name", ON_LOGITS)
parametrize_on_cosines = pytest.mark.parametrize("name", ON_COSINES)

LABELS = torch.tensor([0, 3, 3, 1, 0, 1])


def outputs_for(loss: SpeakerLoss) -> torch.Tensor:
    """Cosines or embeddings in float64, six clips; the first three are near their speakers."""
    generator = torch.Generator().manual_seed(4)
    width = 7 if loss.needs_embeddings else NUM_SPEAKERS * loss.num_centers
    uniform = torch.rand(len(LABELS), width, generator=generator, dtype=torch.float64)
    outputs = 1.8 * uniform - 0.9
    for clip, label in enumerate(LABELS[:3] * loss.num_centers):
        outputs[clip, label] = 0.7
    return outputs


def test_every_loss_is_in_these_tables() -> None:
    assert {type(make()) for make in ALL.values()} == set(LOSSES.values())


@parametrize_all
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    loss = ALL[name]().double()
    outputs = outputs_for(loss).requires_grad_()
    parameters = dict(loss.named_parameters())

    def value(outputs: torch.Tensor, *tensors: torch.Tensor) -> torch.Tensor:
        named = dict(zip(parameters, tensors, strict=True))
        return torch.func.functional_call(loss, named, (outputs, LABELS))

    assert value(outputs, *parameters.values()).dtype == torch.float64
    assert torch.autograd.gradcheck(value, (outputs, *parameters.values()))


@parametrize_all
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_gives_the_value_of_float32(name: str, dtype: torch.dtype) -> None:
    loss = ALL[name]()
    outputs = outputs_for(loss).to(dtype)
    half, single = loss(outputs, LABELS), loss(outputs.float(), LABELS)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, single)


@parametrize_all
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("target", [1.0, -1.0])
def test_cosines_of_one_have_finite_losses_and_gradients(
    name: str, dtype: torch.dtype, target: float
) -> None:
    loss = ALL[name]()
    outputs = -target * torch.ones(len(LABELS), outputs_for(loss).shape[1])
    centers = torch.arange(loss.num_centers)
    outputs.scatter_(1, LABELS.unsqueeze(1) * loss.num_centers + centers, target)
    outputs = (outputs * 1.004).to(dtype).requires_grad_()  # as rounding may make it
    value = loss(outputs, LABELS)
    value.backward()
    assert value.isfinite()
    assert outputs.grad.isfinite().all()


@parametrize_on_logits
def test_the_loss_is_the_mean_over_the_clips(name: str) -> None:
    loss = ON_LOGITS[name]().double()
    outputs = outputs_for(loss)
    single = [loss(outputs[clip : clip + 1], LABELS[clip : clip + 1]) for clip in range(6)]
    torch.testing.assert_close(loss(outputs, LABELS), torch.stack(single).mean())


@parametrize_on_cosines
def test_no_angle_is_pulled_the_wrong_way(name: str) -> None:
    loss = ON_LOGITS[name]()
    angles = torch.linspace(0.01, torch.pi - 0.01, 60, dtype=torch.float64)
    of_target, of_other = torch.meshgrid(angles, angles, indexing="ij")
    cosines = torch.stack([of_target.flatten().cos(), of_other.flatten().cos()], dim=1)
    # further speakers, as far away as can be: nobody in the middle of the two
    logits = torch.cat([cosines, -torch.ones(len(cosines), 2)], dim=1)
    logits = logits.repeat_interleave(loss.num_centers, dim=1).requires_grad_()
    loss(logits, torch.zeros(len(logits), dtype=torch.long)).backward()
    gradient = logits.grad.unflatten(1, (-1, loss.num_centers)).sum(dim=2)
    smoothing = 1.0 if getattr(loss, "label_smoothing", 0.0) else 0.0
    if not smoothing:  # which wants some probability for every speaker
        assert (gradient[:, 0] <= 0).all()
        assert (gradient[:, 1] >= 0).all()
    assert (gradient[:, 0] < 0).float().mean() > 0.5


class PeakBytes(TorchDispatchMode):
    """Largest sum of the sizes of all tensors made by operations and alive at one time."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[int, int] = {}
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                address = storage.data_ptr()
                if address not in self.alive:
                    weakref.finalize(storage, self.alive.pop, address, None)
                self.alive[address] = storage.nbytes()
        self.peak = max(self.peak, sum(self.alive.values()))
        return result


@parametrize_on_logits
def test_memory_for_many_speakers_is_a_few_times_that_of_the_logits(name: str) -> None:
    loss = ON_LOGITS[name]()
    logits = torch.rand(3, 100_000 // loss.num_centers * loss.num_centers) - 0.5
    logits.requires_grad_()
    with PeakBytes() as memory:
        loss(logits, torch.tensor([0, 7, 33_000])).backward()
    most = 8.5 if name.startswith("SphereFace2") else 4.6
    assert logits.nbytes <= memory.peak < most * logits.nbytes


@parametrize_on_logits
def test_the_speaker_with_the_largest_logit_is_predicted(name: str) -> None:
    loss = ON_LOGITS[name]()
    logits = torch.zeros(3, NUM_SPEAKERS * loss.num_centers)
    for clip, speaker in enumerate([4, 0, 2]):
        logits[clip, speaker * loss.num_centers + loss.num_centers - 1] = 0.5
    assert loss.predict(logits).tolist() == [4, 0, 2]
    assert loss.count_correct(logits, torch.tensor([4, 1, 2])) == 2


def test_losses_say_what_they_need() -> None:
    assert CELoss.classifier_type == "Linear"
    assert {AAMLoss.classifier_type, SphereFace2.classifier_type} == {"Cosine"}
    assert SubCenterLoss(num_centers=4).num_centers == 4
    assert AAMLoss().num_centers == 1
    assert TripletAngularMarginLoss.needs_embeddings
    assert not AAMLoss.needs_embeddings
    assert all(isinstance(make(), nn.Module) for make in ALL.values())


@parametrize_on_cosines
def test_the_margin_can_be_changed_during_training(name: str) -> None:
    loss = ON_LOGITS[name]()
    outputs = outputs_for(loss)
    before = loss(outputs, LABELS)
    loss.margin = 0.4
    assert loss(outputs, LABELS) > before
