"""EcapaTdnn against the published implementations, with computed weights, in float64."""

from __future__ import annotations

import re
from collections.abc import Callable
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
from mvector.models.ecapa_tdnn import EcapaTdnn

SPEECHBRAIN_NAMES = {
    r"blocks\.0\.(conv|norm)\.\1\.": r"first.\1.",
    r"blocks\.(\d)\.tdnn1\.(conv|norm)\.\2\.": r"blocks.\1.before.\2.",
    r"blocks\.(\d)\.tdnn2\.(conv|norm)\.\2\.": r"blocks.\1.after.\2.",
    r"blocks\.(\d)\.res2net_block\.blocks\.(\d)\.(conv|norm)\.\3\.": r"blocks.\1.res2.convs.\2.\3.",
    r"blocks\.(\d)\.se_block\.conv1\.conv\.": r"blocks.\1.squeeze_excite.squeeze.",
    r"blocks\.(\d)\.se_block\.conv2\.conv\.": r"blocks.\1.squeeze_excite.excite.",
    r"mfa\.conv\.conv\.": r"aggregation.",
    r"mfa\.norm\.norm\.": r"aggregation_norm.",
    r"asp\.tdnn\.conv\.conv\.": r"pooling.hidden.",
    r"asp\.tdnn\.norm\.norm\.": r"pooling.hidden_norm.",
    r"asp\.conv\.conv\.": r"pooling.attention.",
    r"asp_bn\.norm\.": r"pooling_norm.",
    r"fc\.conv\.": r"embedding.",
}
WESPEAKER_NAMES = {
    r"layer1\.conv\.": r"first.conv.",
    r"layer1\.bn\.": r"first.norm.",
    r"layer(\d)\.se_res2block\.0\.conv\.": r"blocks.\1.before.conv.",
    r"layer(\d)\.se_res2block\.0\.bn\.": r"blocks.\1.before.norm.",
    r"layer(\d)\.se_res2block\.1\.convs\.(\d)\.": r"blocks.\1.res2.convs.\2.conv.",
    r"layer(\d)\.se_res2block\.1\.bns\.(\d)\.": r"blocks.\1.res2.convs.\2.norm.",
    r"layer(\d)\.se_res2block\.2\.conv\.": r"blocks.\1.after.conv.",
    r"layer(\d)\.se_res2block\.2\.bn\.": r"blocks.\1.after.norm.",
    r"layer(\d)\.se_res2block\.3\.linear1\.": r"blocks.\1.squeeze_excite.squeeze.",
    r"layer(\d)\.se_res2block\.3\.linear2\.": r"blocks.\1.squeeze_excite.excite.",
    r"conv\.": r"aggregation.",
    r"pool\.linear1\.": r"pooling.hidden.",
    r"pool\.linear2\.": r"pooling.attention.",
    r"bn\.": r"pooling_norm.",
    r"linear\.": r"embedding.",
}


def speechbrain_to_ours(key: str) -> str | None:
    if key == "1.weight":  # the classifier of mvector 1.x, whose backbone's keys begin with 0.
        return None
    return _renumber(_renamed(re.sub(r"^0\.", "", key), SPEECHBRAIN_NAMES), first=1)


def wespeaker_to_ours(key: str) -> str:
    return _renumber(_renamed(key, WESPEAKER_NAMES), first=2)


def _renamed(key: str, names: dict[str, str]) -> str:
    for pattern, ours in names.items():
        if match := re.match(pattern, key):
            return match.expand(ours) + key[match.end() :]
    raise KeyError(key)


def _renumber(key: str, first: int) -> str:
    return re.sub(r"^blocks\.(\d)", lambda match: f"blocks.{int(match[1]) - first}", key)


MODELS: dict[str, tuple[dict[str, Any], Callable[[str], str | None]]] = {
    "mvector1_EcapaTdnn": ({"layout": "speechbrain"}, speechbrain_to_ours),
    "3dspeaker_ECAPA_TDNN_c1024": (
        {"layout": "speechbrain", "channels": 1024},
        speechbrain_to_ours,
    ),
    "speechbrain_ECAPA_TDNN_c1024": (
        {"layout": "speechbrain", "channels": [1024, 1024, 1024, 1024, 3072]},
        speechbrain_to_ours,
    ),
    "wespeaker_ECAPA_TDNN_GLOB_c512": ({"layout": "wespeaker"}, wespeaker_to_ours),
}
LAYOUTS = ["mvector", "speechbrain", "wespeaker"]


@pytest.mark.parametrize("name", MODELS)
def test_embeddings_are_the_published_ones(name: str) -> None:
    options, to_ours = MODELS[name]
    model = load_renamed(EcapaTdnn(80, **options), golden_weights(name), to_ours)
    assert golden_difference(name, model) < 1e-12


@pytest.mark.parametrize("name", MODELS)
def test_parameters_and_multiply_adds_are_the_published_ones(name: str) -> None:
    golden = load_golden(name)
    with torch.device("meta"):
        model = EcapaTdnn(80, **MODELS[name][0]).eval()
    assert count_parameters(model) == golden["parameters"]
    # the published code repeats mean and deviation for each frame; here their share of the
    # attention is computed once per clip
    aggregated = golden["constructor"]["channels"][-1]
    saved = 299 * 128 * 2 * aggregated
    multiply_adds = count_multiply_adds(model, torch.empty(1, 300, 80, device="meta"))
    assert multiply_adds == golden["macs_3s"]["conv_matmul"] - saved


@pytest.mark.parametrize(("option", "wrong"), [("padding_mode", "zeros"), ("res2_pass", "last")])
def test_each_convention_shows_in_the_numbers(option: str, wrong: Any) -> None:
    name = "mvector1_EcapaTdnn"
    model = EcapaTdnn(80, layout="speechbrain", **{option: wrong})
    load_renamed(model, golden_weights(name), speechbrain_to_ours)
    assert golden_difference(name, model) > 1e-3


def test_defaults_have_6_145_600_parameters_and_467_million_multiply_adds_for_98_frames() -> None:
    model = EcapaTdnn(64).eval()
    assert count_parameters(model) == 6_145_600
    assert round(count_multiply_adds(model, torch.zeros(1, 98, 64)) / 1e6) == 467


def test_defaults_keep_the_entries_of_models_trained_earlier() -> None:
    entries = EcapaTdnn(64).state_dict()
    normalised = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    unit = ["conv.weight", *(f"norm.{name}" for name in normalised)]
    expected = [f"first.{name}" for name in unit]
    for block in range(3):
        layers = ["before", *(f"res2.convs.{i}" for i in range(7)), "after"]
        expected += [f"blocks.{block}.{layer}.{name}" for layer in layers for name in unit]
        for layer in ("squeeze", "excite"):
            expected += [f"blocks.{block}.squeeze_excite.{layer}.{n}" for n in ("weight", "bias")]
    for layer in ("aggregation", "pooling.hidden", "pooling.attention"):
        expected += [f"{layer}.weight", f"{layer}.bias"]
    expected += [f"pooling_norm.{name}" for name in normalised]
    expected += ["embedding.weight", "embedding.bias"]
    expected += [f"embedding_norm.{name}" for name in normalised]
    assert list(entries) == expected
    assert entries["blocks.0.squeeze_excite.squeeze.weight"].shape == (256, 512)


def test_wespeaker_models_without_global_context_and_with_normalised_embedding() -> None:
    plain = EcapaTdnn(80, layout="wespeaker", global_context=False)
    assert round(count_parameters(plain) / 1e6, 3) == 5.798
    wide = EcapaTdnn(80, layout="wespeaker", channels=1024)
    assert round(count_parameters(wide) / 1e6, 3) == 14.657
    normalised = EcapaTdnn(80, layout="wespeaker", embedding_norm=True)
    assert (
        count_parameters(normalised)
        == load_golden("wespeaker_ECAPA_TDNN_GLOB_c512")["parameters"] + 2 * 192
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_padding_has_no_influence(layout: Any) -> None:
    torch.manual_seed(0)
    model = EcapaTdnn(20, channels=32, layout=layout).double().eval()
    batch = torch.randn(4, 40, 20, dtype=torch.float64)
    num_frames = torch.tensor([40, 23, 9, 5])
    alone = [model(clip[None, :n]) for clip, n in zip(batch, num_frames, strict=True)]
    for garbage in (1e3, float("nan")):
        for clip, n in zip(batch, num_frames, strict=True):
            clip[n:] = garbage
        torch.testing.assert_close(model(batch, num_frames), torch.cat(alone), rtol=0, atol=1e-12)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradients_are_finite_with_a_clip_that_does_not_change(layout: Any) -> None:
    model = EcapaTdnn(20, channels=32, layout=layout)
    features = torch.randn(3, 12, 20)
    features[0] = 0.7
    features.requires_grad_()
    model(features, torch.tensor([12, 12, 6])).square().sum().backward()
    assert features.grad is not None
    assert all(
        p.grad is not None and p.grad.isfinite().all() for p in [features, *model.parameters()]
    )
    assert (features.grad[2, 6:] == 0).all()


def test_too_short_clips_are_refused_with_the_number_of_frames_needed() -> None:
    reflecting = EcapaTdnn(20, channels=32, layout="speechbrain").eval()
    with pytest.raises(AudioError, match=r"4 frames is too short.*at least 5 frames"):
        reflecting(torch.zeros(1, 4, 20))
    with pytest.raises(AudioError, match=r"3 frames is too short.*at least 5 frames"):
        reflecting(torch.zeros(2, 9, 20), torch.tensor([9, 3]))
    assert EcapaTdnn(20, channels=32).eval()(torch.zeros(1, 1, 20)).shape == (1, 192)


def test_impossible_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="no layout 'kaldi'"):
        EcapaTdnn(20, layout="kaldi")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="100 is not a multiple of res2net_scale 8"):
        EcapaTdnn(20, channels=100)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_autocast_stays_close_and_export_gives_the_same_numbers(layout: Any) -> None:
    torch.manual_seed(0)
    model = EcapaTdnn(20, channels=32, layout=layout).eval()
    features = torch.randn(2, 30, 20)
    expected = model(features)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = model(features)
    assert torch.cosine_similarity(half.float(), expected).min() > 0.999
    exported = torch.export.export(model, (features,)).module()
    torch.testing.assert_close(exported(features), expected, rtol=0, atol=1e-6)
