"""TDNN against the published x-vectors and mvector 1.x, with computed weights, in float64."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from reference_weights import (
    count_multiply_adds,
    count_parameters,
    golden_difference,
    golden_weights,
    load_golden,
    load_renamed,
)

from mvector.errors import AudioError, ConfigError
from mvector.models.pooling import POOLINGS
from mvector.models.tdnn import TDNN

XVECTOR: dict[str, Any] = {"layout": "xvector", "embd_dim": 512}
MODELS: dict[str, dict[str, Any]] = {
    "mvector1_TDNN": {},
    "3dspeaker_Xvector": {**XVECTOR, "pooling_eps": 1e-8},
    "wespeaker_XVEC": {**XVECTOR, "two_embedding_layers": True},
}
OTHER_NAMES = {
    "0.pooling.tdnn.conv.conv": "pooling.hidden",
    "0.pooling.tdnn.norm.norm": "pooling.hidden_norm",
    "0.pooling.conv.conv": "pooling.attention",
    "0.bn5": "pooling_norm",
    "0.linear": "embedding.0",
    "0.bn6": "embedding_norm",
    "seg_1": "embedding.0",
    "seg_bn_1": "embedding.2",
    "seg_2": "embedding.3",
}


def to_ours(key: str) -> str | None:
    if key == "1.weight":  # the classifier of mvector 1.x, whose backbone's keys begin with 0.
        return None
    layer, _, entry = key.rpartition(".")
    if layer in OTHER_NAMES:
        return f"{OTHER_NAMES[layer]}.{entry}"
    match = re.fullmatch(r"0\.(td_layer|bn)(\d)|frame_(\d)\.(conv_1d|bn)", layer)
    assert match, key
    number = int(match[2] or match[3]) - 1
    part = "norm" if "bn" in (match[1], match[4]) else "conv"
    return f"frame_layers.{number}.{part}.{entry}"


@pytest.mark.parametrize("name", MODELS)
def test_embeddings_are_the_published_ones(name: str) -> None:
    model = load_renamed(TDNN(80, **MODELS[name]), golden_weights(name), to_ours)
    assert golden_difference(name, model) < 1e-12


@pytest.mark.parametrize("name", ["3dspeaker_Xvector", "wespeaker_XVEC"])
def test_the_eps_of_the_other_toolkit_shows_in_the_numbers(name: str) -> None:
    other = 1e-7 if name.startswith("3dspeaker") else 1e-8
    model = TDNN(80, **{**MODELS[name], "pooling_eps": other})
    assert golden_difference(name, load_renamed(model, golden_weights(name), to_ours)) > 1e-5


@pytest.mark.parametrize("name", MODELS)
def test_parameters_and_multiply_adds_are_the_published_ones(name: str) -> None:
    golden = load_golden(name)
    with torch.device("meta"):
        model = TDNN(80, **MODELS[name]).eval()
    assert count_parameters(model) == golden["parameters"]
    # the published code repeats mean and deviation for each of 286 frames; here their share of
    # the attention is computed once per clip
    saved = 285 * 128 * 2 * 512 if name == "mvector1_TDNN" else 0
    multiply_adds = count_multiply_adds(model, torch.empty(1, 300, 80, device="meta"))
    assert multiply_adds == golden["macs_3s"]["conv_matmul"] - saved


@pytest.mark.parametrize("layout", ["mvector", "xvector"])
def test_padding_has_no_influence(layout: Any) -> None:
    torch.manual_seed(0)
    model = TDNN(20, channels=32, layout=layout).double().eval()
    batch = torch.randn(4, 40, 20, dtype=torch.float64)
    num_frames = torch.tensor([40, 29, 17, 15])
    alone = [model(clip[None, :n]) for clip, n in zip(batch, num_frames, strict=True)]
    for garbage in (1e3, float("nan")):
        for clip, n in zip(batch, num_frames, strict=True):
            clip[n:] = garbage
        torch.testing.assert_close(model(batch, num_frames), torch.cat(alone), rtol=0, atol=1e-12)


@pytest.mark.parametrize("layout", ["mvector", "xvector"])
def test_gradients_are_finite_with_a_clip_that_does_not_change(layout: Any) -> None:
    model = TDNN(20, channels=32, layout=layout, pooling_eps=0.0)
    features = torch.randn(3, 20, 20)
    features[0] = 0.7
    model(features, torch.tensor([20, 20, 15])).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_clips_below_15_frames_are_refused() -> None:
    model = TDNN(20, channels=32).eval()
    with pytest.raises(AudioError, match=r"14 frames is too short.*at least 15 frames"):
        model(torch.zeros(1, 14, 20))
    with pytest.raises(AudioError, match=r"3 frames is too short.*at least 15 frames"):
        model(torch.zeros(2, 20, 20), torch.tensor([20, 3]))
    assert model(torch.zeros(1, 15, 20)).shape == (1, 192)


def test_impossible_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="no layout 'ecapa'"):
        TDNN(20, layout="ecapa")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="one number or five, not 4"):
        TDNN(20, channels=[32, 32, 32, 96])


@pytest.mark.parametrize("pooling_type", POOLINGS)
def test_takes_every_pooling(pooling_type: str) -> None:
    model = TDNN(20, channels=16, embd_dim=24, pooling_type=pooling_type)
    assert model(torch.randn(2, 20, 20)).shape == (2, 24)


def test_autocast_stays_close_and_export_gives_the_same_numbers() -> None:
    torch.manual_seed(0)
    model = TDNN(20, channels=32).eval()
    features = torch.randn(2, 30, 20)
    expected = model(features)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = model(features)
    assert torch.cosine_similarity(half.float(), expected).min() > 0.999
    exported = torch.export.export(model, (features,)).module()
    torch.testing.assert_close(exported(features), expected, rtol=0, atol=1e-6)
