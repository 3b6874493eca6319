"""Backbones equal the published models: embeddings with computed weights, in float64, and sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from published_models import PUBLISHED, bins_of, published_backbone, unbuilt_backbone
from reference_weights import count_multiply_adds, count_parameters, golden_difference, load_golden

# one clip of these is enough: the others of their family are held against all
LARGE = [
    "3dspeaker_ERes2Net_large_512",
    "mvector1_ERes2Net",
    "wespeaker_ERes2Net34_Base",
    "3dspeaker_ERes2NetV2_192",
    "wespeaker_ResNet293",
    "wespeaker_SimAM_ResNet34_ASP",
    "speechbrain_ResNet_256",
    "palabra_ReDimNet2_b6",
    "wespeaker_SimAM_ResNet100_ASP",
]
# The published code repeats the clip's mean and deviation for each frame that the attention sees;
# here their share of its hidden layer is computed once per clip: frames, channels of the pooling.
REPEATED_FRAMES = {
    "mvector1_Res2Net": (7, 2048),
    "mvector1_ResNetSE": (38, 5120),
    "mvector1_TDNN": (286, 512),
    "mvector1_EcapaTdnn": (300, 1536),
    "wespeaker_ECAPA_TDNN_GLOB_c512": (300, 1536),
    "3dspeaker_ECAPA_TDNN_c1024": (300, 3072),
    "speechbrain_ECAPA_TDNN_c1024": (300, 3072),
    "idrnd_ReDimNet_b0": (300, 600),
    "idrnd_ReDimNet_b2": (300, 1152),
    "nemo_TitaNet_small": (300, 3072),
    "nemo_TitaNet_large": (300, 3072),
    "palabra_ReDimNet2_b0": (300, 576),
    "palabra_ReDimNet2_b2": (300, 1440),
    "palabra_ReDimNet2_b6": (300, 2016),
    "wespeaker_ReDimNetB0": (300, 720),
    "wespeaker_ReDimNetB2": (300, 1152),
    "wespeaker_ReDimNetB3": (300, 1152),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_embeds_as_the_published_model(name: str) -> None:
    backbone, _ = PUBLISHED[name]
    difference = golden_difference(name, published_backbone(name), first_clip_only=name in LARGE)
    assert difference < (1e-12 if backbone in ("EcapaTdnn", "TDNN") else 1e-9)


@pytest.mark.parametrize(
    ("name", "wrong", "least"),
    [
        ("palabra_ReDimNet2_b2", {"output_2d": False}, 1e-1),
        ("mvector1_EcapaTdnn", {"padding_mode": "zeros"}, 1e-3),
        ("mvector1_EcapaTdnn", {"res2_pass": "last"}, 1e-3),
        ("3dspeaker_Xvector", {"pooling_eps": 1e-7}, 1e-5),
        ("wespeaker_XVEC", {"pooling_eps": 1e-8}, 1e-5),
        ("wespeaker_CAMPPlus_512", {"pooling_eps": 0.0}, 1e-5),
    ],
)
def test_a_wrong_convention_shows_in_the_numbers(
    name: str, wrong: dict[str, Any], least: float
) -> None:
    assert golden_difference(name, published_backbone(name, **wrong)) > least


@pytest.mark.parametrize("name", PUBLISHED)
def test_has_the_published_parameters_and_multiply_adds(name: str) -> None:
    backbone, options = PUBLISHED[name]
    bins, golden = bins_of(name), load_golden(name)
    model = unbuilt_backbone(backbone, bins, **options)
    assert count_parameters(model) == golden["parameters"]
    frames, channels = REPEATED_FRAMES.get(name, (1, 0))
    saved = (frames - 1) * 128 * 2 * channels
    if backbone == "TitaNet":  # NeMo computes the embedding twice, and scores 7205 speakers
        saved += 2 * 3072 * 192 + 7205 * 192
    if backbone == "CAMPPlus":  # each of 52 gates is computed for 2 segments, not for 150 frames
        saved = 52 * (128 * 64 + 64 * 32) * (150 - 2)
    multiply_adds = count_multiply_adds(model, torch.empty(1, 300, bins, device="meta"))
    assert multiply_adds == golden["macs_3s"]["conv_matmul"] - saved


@pytest.mark.parametrize(
    ("backbone", "options", "millions", "giga_multiply_adds"),
    [
        ("ERes2Net", {"channels": 64, "base_width": 24, "scale": 3, "expansion": 4}, 55.165, 47.03),
        ("ERes2NetV2", {"base_width": 24, "scale": 4, "expansion": 4}, 53.514, 37.01),
        ("DFResNet", {"num_blocks": [3, 3, 9, 3]}, 4.048, 4.19),
        ("ResNet", {"depth": 18}, 4.105, 3.26),
        ("ResNet", {"depth": 50}, 11.131, 7.62),
        ("ResNet", {"depth": 101}, 15.892, 14.73),
        ("ResNet", {"depth": 152}, 19.815, 21.83),
        ("ResNet", {"depth": 221}, 23.792, 31.44),
    ],
)
def test_other_variants_have_the_published_size(
    backbone: str, options: dict[str, Any], millions: float, giga_multiply_adds: float
) -> None:
    model = unbuilt_backbone(backbone, **options)
    assert round(count_parameters(model) / 1e6, 3) == millions
    multiply_adds = count_multiply_adds(model, torch.empty(1, 300, 80, device="meta"))
    assert round(multiply_adds / 1e9, 2) == giga_multiply_adds
