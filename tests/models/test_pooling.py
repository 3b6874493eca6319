"""Every pooling against loops in numpy over clips, heads and channels that follow the formulas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mvector.errors import ConfigError
from mvector.models.pooling import POOLINGS, AttentiveStatisticsPooling, build_pooling

CHANNELS = 16
Clip = np.ndarray  # (channels, frames), float64


def tap(clip: Clip, layer: Any) -> list[float]:
    return [sum(row) / len(row) for row in clip]


def tsp(clip: Clip, layer: Any) -> list[float]:
    return tap(clip, layer) + [_variance(row, unbiased=True) for row in clip]


def tstp(eps: float) -> Callable[[Clip, Any], list[float]]:
    def pool(clip: Clip, layer: Any) -> list[float]:
        return tap(clip, layer) + [(_variance(r, unbiased=True) + eps) ** 0.5 for r in clip]

    return pool


def sap(clip: Clip, layer: Any) -> list[float]:
    scores = _dense(layer.attention, np.tanh(_dense(layer.hidden, clip)))
    return [_weighted(row, score)[0] for row, score in zip(clip, scores, strict=True)]


def asp(
    floor: float, context: str = "", norm: bool = False, tanh: bool = True
) -> Callable[[Clip, Any], list[float]]:
    def pool(clip: Clip, layer: Any) -> list[float]:
        seen = [clip]
        if context:
            variances = np.array([_variance(row, context == "unbiased") for row in clip])
            floored = variances + 1e-7 if context == "unbiased" else np.maximum(variances, 1e-12)
            for statistic in (clip.mean(axis=1), np.sqrt(floored)):
                seen.append(np.repeat(statistic[:, None], clip.shape[1], axis=1))
        hidden = _dense(layer.hidden, np.concatenate(seen))
        if norm:
            hidden = _normalised(layer.hidden_norm, np.maximum(hidden, 0))
        scores = _dense(layer.attention, np.tanh(hidden) if tanh else hidden)
        pairs = [_weighted(row, score) for row, score in zip(clip, scores, strict=True)]
        return [mean for mean, _ in pairs] + [max(v, floor) ** 0.5 for _, v in pairs]

    return pool


def mhastp(clip: Clip, layer: Any) -> list[float]:
    """Each head's attention sees only its slice: a part of the two layers' weights is its own."""
    width = len(clip) // layer.num_heads
    result: list[float] = []
    for head, rows in enumerate(clip.reshape(layer.num_heads, width, -1)):
        scores = _head(layer.attention, head, np.tanh(_head(layer.hidden, head, rows)))
        scores = np.broadcast_to(scores, rows.shape)
        pairs = [_weighted(row, score) for row, score in zip(rows, scores, strict=True)]
        result += [mean for mean, _ in pairs]
        result += [max(variance, 1e-7) ** 0.5 for _, variance in pairs]
    return result


def mqmhastp(clip: Clip, layer: Any) -> list[float]:
    return [value for query in layer.queries for value in mhastp(clip, query)]


def _variance(row: np.ndarray, unbiased: bool) -> float:
    mean = sum(row) / len(row)
    return sum((value - mean) ** 2 for value in row) / (len(row) - unbiased)


def _weighted(row: np.ndarray, score: np.ndarray) -> tuple[float, float]:
    weights = np.exp(score) / sum(np.exp(score))
    mean = sum(weights * row)
    return mean, sum(weights * row**2) - mean**2


def _dense(conv: Any, x: np.ndarray) -> np.ndarray:
    return conv.weight.detach().numpy()[:, :, 0] @ x + conv.bias.detach().numpy()[:, None]


def _head(conv: Any, head: int, x: np.ndarray) -> np.ndarray:
    weight, bias = conv.weight.detach().numpy()[:, :, 0], conv.bias.detach().numpy()
    own = slice(head * len(weight) // conv.groups, (head + 1) * len(weight) // conv.groups)
    return weight[own] @ x + bias[own][:, None]


def _normalised(norm: Any, x: np.ndarray) -> np.ndarray:
    mean, variance = norm.running_mean.numpy()[:, None], norm.running_var.numpy()[:, None]
    gain, offset = norm.weight.detach().numpy()[:, None], norm.bias.detach().numpy()[:, None]
    return (x - mean) / np.sqrt(variance + 1e-5) * gain + offset


CASES: dict[str, tuple[str, dict[str, Any], Any]] = {
    "TAP": ("TAP", {}, tap),
    "TSP": ("TSP", {}, tsp),
    "TSTP": ("TSTP", {}, tstp(1e-7)),
    "TSTP of 3D-Speaker": ("TSTP", {"eps": 1e-8}, tstp(1e-8)),
    "TSTP plain": ("TSTP", {"eps": 0.0}, tstp(0.0)),
    "SAP": ("SAP", {}, sap),
    "ASP": ("ASP", {}, asp(1e-9)),
    "ASP of SpeechBrain": (
        "ASP",
        {"global_context": True, "attention_norm": True, "variance_floor": 1e-12},
        asp(1e-12, context="biased", norm=True),
    ),
    "ASP of WeSpeaker": (
        "ASP",
        {"global_context": True, "unbiased_context": True, "variance_floor": 1e-7},
        asp(1e-7, context="unbiased"),
    ),
    "ASP of SimAM-ResNet": (
        "ASP",
        {"attention_norm": True, "attention_tanh": False, "variance_floor": 1e-5},
        asp(1e-5, norm=True, tanh=False),
    ),
    "MHASTP": ("MHASTP", {}, mhastp),
    "MHASTP per channel": ("MHASTP", {"num_heads": 4, "weight_per_channel": True}, mhastp),
    "MQMHASTP": ("MQMHASTP", {}, mqmhastp),
    "MQMHASTP per head": (
        "MQMHASTP",
        {"num_queries": 3, "num_heads": 2, "weight_per_channel": False},
        mqmhastp,
    ),
}


def layer_of(case: str) -> Any:
    torch.manual_seed(1)
    pooling_type, options, _ = CASES[case]
    layer = build_pooling(pooling_type, CHANNELS, **options).double().eval()
    for module in layer.modules():
        if isinstance(module, nn.BatchNorm1d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)  # type: ignore[arg-type]
    return layer


def clips() -> tuple[torch.Tensor, torch.Tensor]:
    """Three clips of 13, 8 and 3 frames in one batch; the last has two channels without change."""
    torch.manual_seed(2)
    batch = 2 * torch.randn(3, CHANNELS, 13, dtype=torch.float64) + 1
    batch[2, :2] = 0.25
    return batch, torch.tensor([13, 8, 3])


def mask_of(num_frames: torch.Tensor, max_frames: int) -> torch.Tensor:
    return (torch.arange(max_frames) < num_frames[:, None, None]).double()


def test_every_pooling_has_a_formula() -> None:
    assert {name for name, _, _ in CASES.values()} == set(POOLINGS)


@pytest.mark.parametrize("case", CASES)
def test_equals_the_formula(case: str) -> None:
    layer, (batch, num_frames) = layer_of(case), clips()
    expected = [
        CASES[case][2](clip[:, :n].numpy(), layer)
        for clip, n in zip(batch, num_frames, strict=True)
    ]
    masked = layer(batch, mask_of(num_frames, 13))
    assert masked.shape == (3, layer.output_dim)
    torch.testing.assert_close(
        masked, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-8
    )
    torch.testing.assert_close(layer(batch[:1])[0], masked[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("garbage", [1e6, float("nan"), float("inf")])
@pytest.mark.parametrize("case", CASES)
def test_padding_has_no_influence(case: str, garbage: float) -> None:
    layer, (batch, num_frames) = layer_of(case), clips()
    alone = [layer(clip[None, :, :n]) for clip, n in zip(batch, num_frames, strict=True)]
    for clip, n in zip(batch, num_frames, strict=True):
        clip[:, n:] = garbage
    masked = layer(batch, mask_of(num_frames, 13))
    torch.testing.assert_close(masked, torch.cat(alone), rtol=0, atol=1e-12)


@pytest.mark.parametrize("num_frames", [1, 6])
@pytest.mark.parametrize("with_mask", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_gradients_are_finite_without_change_over_time(
    case: str, with_mask: bool, num_frames: int
) -> None:
    x = torch.full((2, CHANNELS, 6), 0.3)[:, :, : 6 if with_mask else num_frames]
    x = x.clone().requires_grad_()
    mask = mask_of(torch.tensor([6, num_frames]), 6).float() if with_mask else None
    pooled = layer_of(case).float()(x, mask)
    assert torch.isfinite(pooled).all()
    (gradient,) = torch.autograd.grad(pooled.sum(), x)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_those_of_the_numbers(case: str) -> None:
    layer, (batch, num_frames) = layer_of(case), clips()
    x = batch[1:, :, :9].clone()
    x[1, :2] = torch.linspace(0, 1, 9).double()  # without change there is no slope to measure
    mask = mask_of(num_frames[1:], 9)
    assert torch.autograd.gradcheck(
        lambda x: layer(x, mask), x.requires_grad_(), fast_mode=True, atol=1e-6
    )


@pytest.mark.parametrize("case", CASES)
def test_a_large_offset_costs_no_digits(case: str) -> None:
    """The deviations of 100 + noise, of which a difference of squares in float32 keeps no digit."""
    layer = layer_of(case)
    torch.manual_seed(3)
    x = 100 + 0.01 * torch.randn(2, CHANNELS, 200)
    expected = layer(x.double())
    torch.testing.assert_close(layer.float()(x).double(), expected, rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize("with_mask", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_statistics_of_half_precision_are_float32(case: str, with_mask: bool) -> None:
    """Means over 700 frames, as many as bfloat16 cannot count."""
    layer = layer_of(case).float()
    torch.manual_seed(4)
    x = torch.randn(2, CHANNELS, 700).bfloat16()
    mask = mask_of(torch.tensor([700, 691]), 700) if with_mask else None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pooled = layer(x, None if mask is None else mask.bfloat16())
    assert pooled.dtype == torch.float32
    expected = layer.double()(x.double(), mask)
    exact = CASES[case][0] in ("TAP", "TSP", "TSTP")  # attention's own layers run in bfloat16
    torch.testing.assert_close(pooled.double(), expected, rtol=0, atol=1e-6 if exact else 5e-3)


@pytest.mark.parametrize("pooling_type", POOLINGS)
def test_takes_its_own_options_and_leaves_those_of_others(pooling_type: str) -> None:
    options = {"attention_channels": 4, "eps": 1e-8, "num_heads": 2, "global_context": True}
    layer = build_pooling(pooling_type, CHANNELS, **options)
    assert layer(torch.randn(2, CHANNELS, 7)).shape == (2, layer.output_dim)
    if hasattr(layer, "hidden"):
        heads = getattr(layer, "num_heads", 1)
        assert layer.hidden.out_channels == 4 * heads


def test_keeps_the_names_and_sizes_of_earlier_attentive_statistics() -> None:
    shapes = {k: tuple(v.shape) for k, v in AttentiveStatisticsPooling(48).state_dict().items()}
    assert shapes == {
        "hidden.weight": (128, 48, 1),
        "hidden.bias": (128,),
        "attention.weight": (48, 128, 1),
        "attention.bias": (48,),
    }


def test_unknown_names_and_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="no pooling 'MAX'; there are: TAP, TSP"):
        build_pooling("MAX", CHANNELS)
    with pytest.raises(ConfigError, match="No pooling has the option 'colour'"):
        build_pooling("TAP", CHANNELS, colour=1)
    with pytest.raises(ConfigError, match="1500 channels do not divide into 8 attention heads"):
        build_pooling("MQMHASTP", 1500)
