"""Optimizers: the groups they are made of, their rates, and states that survive a changed run."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from torch import nn

from mvector.config.choices import OptimizerConf
from mvector.errors import CheckpointError
from mvector.models import BACKBONES, build_backbone
from mvector.training.optimizers import build_optimizer, load_optimizer_state, set_learning_rate

NAMES = ["Adam", "AdamW", "SGD"]


def conf(**settings: Any) -> OptimizerConf:
    return OptimizerConf(**settings)


def a_backbone(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.Linear(5, 4, bias=False))


def a_head(seed: int = 1) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Linear(4, 3)


def optimizer_of(backbone: nn.Module, head: nn.Module, **settings: Any) -> torch.optim.Optimizer:
    return build_optimizer(backbone.parameters(), head.parameters(), conf(**settings))


def train(
    backbone: nn.Module, head: nn.Module, optimizer: torch.optim.Optimizer, steps: range
) -> None:
    for step in steps:
        inputs = torch.randn(8, 6, generator=torch.Generator().manual_seed(step))
        loss = head(backbone(inputs)).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()


def weights(*modules: nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for module in modules for p in module.parameters()]


def all_equal(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


# ---- what is built --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("Adam", lambda p: torch.optim.Adam(p, 0.01, weight_decay=0.1, foreach=False)),
        ("AdamW", lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1, foreach=False)),
        (
            "SGD",
            lambda p: torch.optim.SGD(p, 0.01, momentum=0.8, weight_decay=0.1, foreach=False),
        ),
    ],
)
def test_by_default_all_parameters_are_trained_as_torch_trains_one_group(
    name: str, reference: Any
) -> None:
    ours, theirs = (a_backbone(), a_head()), (a_backbone(), a_head())
    settings = {"optimizer": name, "learning_rate": 0.01, "weight_decay": 0.1, "momentum": 0.8}
    train(*ours, optimizer_of(*ours, **settings), range(20))
    train(*theirs, reference([p for m in theirs for p in m.parameters()]), range(20))
    for found, expected in zip(weights(*ours), weights(*theirs), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_on_a_cpu_the_fused_kernels_are_used(name: str) -> None:
    assert optimizer_of(a_backbone(), a_head(), optimizer=name).defaults["fused"] is True


@pytest.mark.parametrize("name", NAMES)
def test_parameters_without_a_fused_kernel_get_the_plain_optimizer(name: str) -> None:
    backbone = a_backbone().to("meta")
    assert optimizer_of(backbone, a_head(), optimizer=name).defaults["fused"] is False


@pytest.mark.parametrize("name", NAMES)
def test_training_twice_gives_the_same_bits(name: str) -> None:
    ends = []
    for _ in range(2):
        modules = a_backbone(), a_head()
        train(*modules, optimizer_of(*modules, optimizer=name, weight_decay=0.01), range(30))
        ends.append(weights(*modules))
    assert all_equal(*ends)


@pytest.mark.parametrize("name", NAMES)
def test_biases_and_norms_can_be_spared_the_weight_decay(name: str) -> None:
    backbone, head = a_backbone(), a_head()
    spared = {p for m in (backbone, head) for p in m.parameters() if p.dim() <= 1}
    optimizer = optimizer_of(
        backbone, head, optimizer=name, weight_decay=0.3, decay_norm_and_bias=False
    )
    decays = {p: g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert len(decays) == 7
    assert decays == {p: 0.0 if p in spared else 0.3 for p in decays}


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_what_has_one_dimension_in_a_backbone_is_a_bias_or_belongs_to_a_norm(name: str) -> None:
    with torch.device("meta"):
        backbone = build_backbone(name, 80)
    spared = {p for p in backbone.parameters() if p.dim() <= 1}
    norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)
    expected = {
        parameter
        for module in backbone.modules()
        for key, parameter in module.named_parameters(recurse=False)
        if isinstance(module, norms) or key.endswith("bias")
    }
    assert spared == expected


def test_a_head_without_parameters_is_left_out() -> None:
    optimizer = build_optimizer(a_backbone().parameters(), [], conf())
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 5
    assert all(group["params"] for group in optimizer.param_groups)


# ---- rates ----------------------------------------------------------------------------------


def test_the_backbone_has_a_learning_rate_of_its_own() -> None:
    backbone, head = a_backbone(), a_head()
    optimizer = optimizer_of(backbone, head, learning_rate=0.5, backbone_lr_scale=0.1)
    rates = {p: g["lr"] for g in optimizer.param_groups for p in g["params"]}
    assert {rates[p] for p in backbone.parameters()} == {0.05}
    assert {rates[p] for p in head.parameters()} == {0.5}
    set_learning_rate(optimizer, 0.2)
    rates = {p: g["lr"] for g in optimizer.param_groups for p in g["params"]}
    assert {rates[p] for p in backbone.parameters()} == {0.2 * 0.1}
    assert {rates[p] for p in head.parameters()} == {0.2}


def test_a_step_of_the_backbone_is_as_much_shorter_as_its_rate() -> None:
    lengths = []
    for scale in (1.0, 0.25):
        backbone, head = a_backbone(), a_head()
        before = weights(backbone, head)
        settings = {"optimizer": "SGD", "learning_rate": 0.5, "backbone_lr_scale": scale}
        train(backbone, head, optimizer_of(backbone, head, **settings), range(1))
        moves = [(a - b).norm() for a, b in zip(weights(backbone, head), before, strict=True)]
        lengths.append(moves)
    for full, short in zip(lengths[0][:5], lengths[1][:5], strict=True):
        torch.testing.assert_close(short, 0.25 * full, rtol=1e-4, atol=1e-6)
    assert all_equal(lengths[0][5:], lengths[1][5:])


def test_an_optimizer_without_factors_gets_the_rate_itself() -> None:
    optimizer = torch.optim.SGD(a_head().parameters(), lr=0.1)
    set_learning_rate(optimizer, 0.3)
    assert optimizer.param_groups[0]["lr"] == 0.3


# ---- frozen parameters and steps that are left out ------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_frozen_backbone_does_not_move_and_can_be_set_free(name: str) -> None:
    backbone, head = a_backbone().requires_grad_(False), a_head()
    optimizer = optimizer_of(backbone, head, optimizer=name, weight_decay=0.1)
    start = weights(backbone)
    train(backbone, head, optimizer, range(3))
    assert all_equal(weights(backbone), start)
    backbone.requires_grad_(True)
    free = optimizer_of(twin := copy.deepcopy(backbone), head, optimizer=name, weight_decay=0.1)
    train(twin, copy.deepcopy(head), free, range(3, 4))
    train(backbone, head, optimizer, range(3, 4))
    assert all_equal(weights(backbone), weights(twin))  # as if its training began only now
    assert not all_equal(weights(backbone), start)


@pytest.mark.parametrize("name", NAMES)
def test_a_first_step_that_is_left_out_leaves_no_trace(name: str) -> None:
    plain, skipped = nn.Linear(64, 64), nn.Linear(64, 64)
    skipped.load_state_dict(plain.state_dict())
    for module, skips in ((plain, False), (skipped, True)):
        optimizer = build_optimizer([], module.parameters(), conf(optimizer=name))
        for step in range(2):
            generator = torch.Generator().manual_seed(step)
            for parameter in module.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            garbage = [torch.full_like(p, torch.nan) for _ in range(9) for p in module.parameters()]
            del garbage  # memory that is handed out again unfilled shows itself
            if step == 0 and not skips:
                continue
            optimizer.grad_scale, optimizer.found_inf = None, torch.tensor(float(step == 0))
            optimizer.step()
    assert all_equal(weights(plain), weights(skipped))
    assert all(p.isfinite().all() for p in plain.parameters())


# ---- states ---------------------------------------------------------------------------------


def saved_and_loaded(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_optimizer_goes_on_bit_for_bit(name: str) -> None:
    settings = {"optimizer": name, "weight_decay": 0.01, "backbone_lr_scale": 0.3}
    whole = a_backbone(), a_head()
    train(*whole, optimizer_of(*whole, **settings), range(20))
    first = a_backbone(), a_head()
    optimizer = optimizer_of(*first, **settings)
    train(*first, optimizer, range(13))
    second = copy.deepcopy(first)
    resumed = optimizer_of(*second, **settings)
    load_optimizer_state(resumed, saved_and_loaded(optimizer.state_dict()))
    train(*second, resumed, range(13, 20))
    assert all_equal(weights(*second), weights(*whole))


def test_settings_changed_for_the_rest_of_a_run_have_effect() -> None:
    before = optimizer_of(a_backbone(), a_head(), weight_decay=0.1)
    after = optimizer_of(
        a_backbone(),
        a_head(),
        weight_decay=0.2,
        backbone_lr_scale=0.5,
        decay_norm_and_bias=False,
    )
    expected = [
        (group["weight_decay"], group["lr_scale"], group["lr"]) for group in after.param_groups
    ]
    load_optimizer_state(after, saved_and_loaded(before.state_dict()))
    found = [(g["weight_decay"], g["lr_scale"], g["lr"]) for g in after.param_groups]
    assert found == expected
    assert {decay for decay, _, _ in found} == {0.2, 0.0}


def test_a_state_of_plain_kernels_can_be_continued_by_fused_ones() -> None:
    module = a_head()
    plain = torch.optim.Adam(
        [{"params": [module.weight]}, {"params": [module.bias]}], foreach=False
    )
    module(torch.ones(2, 4)).sum().backward()
    plain.step()
    fused = build_optimizer([], module.parameters(), conf())
    load_optimizer_state(fused, saved_and_loaded(plain.state_dict()))
    assert all(group["fused"] is True for group in fused.param_groups)
    assert fused.state[module.weight]["step"] == 1


def test_a_state_of_other_parameters_is_refused() -> None:
    other = torch.optim.Adam(a_head().parameters())
    with pytest.raises(CheckpointError, match="--pretrained_model"):
        load_optimizer_state(optimizer_of(a_backbone(), a_head()), other.state_dict())


@pytest.mark.parametrize("name", NAMES)
def test_moments_saved_in_another_order_in_memory_are_those_of_the_same_weights(name: str) -> None:
    def convolution(memory_format: torch.memory_format) -> nn.Conv2d:
        torch.manual_seed(0)
        return nn.Conv2d(3, 4, 3).to(memory_format=memory_format)  # type: ignore[call-overload]

    def step(module: nn.Conv2d, optimizer: torch.optim.Optimizer, seed: int) -> None:
        images = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
        optimizer.zero_grad()
        module(images).square().sum().backward()
        optimizer.step()

    rows = convolution(torch.contiguous_format)
    settings = conf(optimizer=name, learning_rate=0.01, momentum=0.9)
    optimizer = build_optimizer(rows.parameters(), [], settings)
    step(rows, optimizer, seed=1)
    pixels = convolution(torch.channels_last)
    pixels.load_state_dict(rows.state_dict())
    resumed = build_optimizer(pixels.parameters(), [], settings)
    load_optimizer_state(resumed, saved_and_loaded(optimizer.state_dict()))
    for seed in (2, 3):
        step(rows, optimizer, seed)
        step(pixels, resumed, seed)
    torch.testing.assert_close(pixels.weight, rows.weight)
