"""Batch normalisation over the batches of two processes is that over one batch of both."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from spawned_ranks import needs_gloo, run_ranks
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mvector.compute.distributed import World
from mvector.models import build_backbone
from mvector.training.sync_batch_norm import CrossProcessBatchNorm, convert_sync_batch_norm

SHAPES = {"clips": (32, 6), "frames": (32, 6, 7), "pictures": (32, 6, 5, 4)}
SPLITS = {"even": 16, "uneven": 11, "one for all": 32}  # clips of rank 0
OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "affine=False": {"affine": False},
    "momentum=None": {"momentum": None},
    "no running statistics": {"track_running_stats": False},
}
CASES = [(shape, split, "default") for shape in SHAPES for split in SPLITS]
CASES += [("frames", "uneven", options) for options in OPTIONS if options != "default"]
SHARED = {"running_mean", "running_var", "num_batches_tracked"}


def build_norm(shape: str, options: str) -> nn.Module:
    kind = nn.BatchNorm2d if shape == "pictures" else nn.BatchNorm1d
    norm = kind(6, **OPTIONS[options]).double()
    if norm.affine:
        nn.init.normal_(norm.weight, generator=torch.Generator().manual_seed(1))
        nn.init.normal_(norm.bias, generator=torch.Generator().manual_seed(2))
    return norm


def draw(shape: str, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs, and what the gradient of the outputs shall be."""
    generator = torch.Generator().manual_seed(10 + step)
    x, gradient = torch.randn(2, *SHAPES[shape], generator=generator, dtype=torch.float64)
    return x * 3.0 + 5.0, gradient


def two_steps(norm: nn.Module, shape: str, clips: slice) -> dict[str, torch.Tensor]:
    """Outputs, gradients and state of a layer that has seen some clips of two batches."""
    results = {}
    for step in range(2):
        x, gradient = draw(shape, step)
        own = x[clips].requires_grad_()
        y = norm(own)
        y.backward(gradient[clips])
        results[f"y{step}"], results[f"x_grad{step}"] = y.detach(), own.grad
    results |= {f"{name}_grad": value.grad for name, value in norm.named_parameters()}
    return results | norm.state_dict()


def train_small_network(network: nn.Module, clips: slice) -> dict[str, torch.Tensor]:
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
    for step in range(5):
        x, target = draw("frames", step)
        loss = F.mse_loss(network(x[clips]), target[clips, :2, 0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {name.removeprefix("module."): value for name, value in network.state_dict().items()}


def small_network() -> nn.Module:
    torch.manual_seed(4)
    layers = [nn.Conv1d(6, 4, 3), nn.BatchNorm1d(4), nn.ReLU(), nn.Flatten(), nn.Linear(20, 2)]
    return nn.Sequential(*layers).double()


def in_two_processes(world: World) -> dict[Any, Any]:
    results: dict[Any, Any] = {}
    for case in CASES:
        shape, split, options = case
        border = SPLITS[split]
        clips = slice(0, border) if world.is_main else slice(border, 32)
        norm = convert_sync_batch_norm(build_norm(shape, options))
        results[case] = two_steps(norm, shape, clips)
    network = DistributedDataParallel(convert_sync_batch_norm(small_network()))
    results["network"] = train_small_network(network, world.share(32))
    with pytest.raises(ValueError, match="more than 1 value"):
        convert_sync_batch_norm(nn.BatchNorm1d(2))(torch.ones(1 - world.rank, 2))
    norm = convert_sync_batch_norm(nn.BatchNorm1d(6))
    x = draw("frames", 0)[0][world.share(32)]
    results["far"] = norm(x.float() + 1000.0).detach()
    results["bfloat16"] = norm(x.bfloat16()).detach()
    plain = nn.BatchNorm1d(6).eval()
    plain.load_state_dict(norm.state_dict())
    results["eval"] = norm.eval()(x.float()).detach(), plain(x.float()).detach()
    return results


@pytest.fixture(scope="module")
def results() -> list[dict[Any, Any]]:
    return run_ranks(in_two_processes)


@needs_gloo
@pytest.mark.parametrize("case", CASES, ids=" - ".join)
def test_two_processes_are_one_batch(results: list[dict[Any, Any]], case: tuple[str, ...]) -> None:
    shape, _, options = case
    expected = two_steps(build_norm(shape, options), shape, slice(0, 32))
    first, second = (of_rank[case] for of_rank in results)
    assert first.keys() == second.keys() == expected.keys()
    for name, value in expected.items():
        if name in SHARED:
            joined = first[name]
            torch.testing.assert_close(first[name], second[name], rtol=0, atol=0)
        elif name in ("weight", "bias"):
            joined = first[name]
        elif name in ("weight_grad", "bias_grad"):
            joined = first[name] + second[name]
        else:
            joined = torch.cat([first[name], second[name]])
        torch.testing.assert_close(joined, value, rtol=1e-10, atol=1e-10, msg=name)


@needs_gloo
def test_training_in_two_processes_is_training_on_one_batch(
    results: list[dict[Any, Any]],
) -> None:
    expected = train_small_network(small_network(), slice(0, 32))
    for of_rank in results:
        for name, value in expected.items():
            torch.testing.assert_close(of_rank["network"][name], value, rtol=1e-10, atol=1e-10)


@needs_gloo
def test_a_large_mean_does_not_cost_the_variance_its_digits(results: list[dict[Any, Any]]) -> None:
    x = draw("frames", 0)[0].float() + 1000.0
    expected = nn.BatchNorm1d(6).double()(x.double()).float()
    joined = torch.cat([of_rank["far"] for of_rank in results])
    torch.testing.assert_close(joined, expected, rtol=1e-4, atol=1e-4)


@needs_gloo
def test_half_precision_is_normalised_by_float32_statistics(results: list[dict[Any, Any]]) -> None:
    x = draw("frames", 0)[0].bfloat16()
    expected = nn.BatchNorm1d(6).double()(x.double())
    joined = torch.cat([of_rank["bfloat16"] for of_rank in results])
    assert joined.dtype == torch.bfloat16
    torch.testing.assert_close(joined.double(), expected, rtol=1e-2, atol=1e-2)


@needs_gloo
def test_evaluation_is_that_of_plain_batch_normalisation(results: list[dict[Any, Any]]) -> None:
    for of_rank in results:
        assert torch.equal(*of_rank["eval"])


def test_one_process_has_plain_batch_normalisation() -> None:
    for training in (True, False):
        plain = build_norm("frames", "default").train(training)
        converted = convert_sync_batch_norm(copy.deepcopy(plain))
        x = draw("frames", 0)[0]
        assert torch.equal(converted(x), plain(x))
        assert torch.equal(converted.running_var, plain.running_var)


def test_a_converted_model_keeps_its_parameters_and_their_names() -> None:
    backbone = build_backbone("EcapaTdnn", 20, embd_dim=16, channels=32).eval()
    before = dict(backbone.named_parameters())
    keys = list(backbone.state_dict())
    converted = convert_sync_batch_norm(backbone)
    assert converted is backbone
    assert list(converted.state_dict()) == keys
    after = dict(converted.named_parameters())
    assert all(after[name] is parameter for name, parameter in before.items())
    norms = [module for module in converted.modules() if isinstance(module, CrossProcessBatchNorm)]
    assert len(norms) > 10
    assert not any(norm.training for norm in norms)
    plain = [module for module in converted.modules() if type(module) is nn.BatchNorm1d]
    assert plain == []
    assert convert_sync_batch_norm(norms[0]) is norms[0]
