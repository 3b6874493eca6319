"""The published models that the backbones are held against, and what they were built with."""

from __future__ import annotations

from typing import Any

import torch
from reference_weights import golden_weights, load_golden
from torch import nn

from mvector.compat import convert
from mvector.models import build_backbone

# backbone, and the options that are not its defaults
PUBLISHED: dict[str, tuple[str, dict[str, Any]]] = {
    "3dspeaker_CAMPPlus_192": ("CAMPPlus", {}),
    "3dspeaker_ECAPA_TDNN_c1024": ("EcapaTdnn", {"layout": "speechbrain", "channels": 1024}),
    "3dspeaker_ERes2NetV2_192": ("ERes2NetV2", {}),
    "3dspeaker_ERes2Net_base_192": ("ERes2Net", {}),
    "3dspeaker_ERes2Net_large_512": ("ERes2Net", {"embd_dim": 512, "channels": 64}),
    "3dspeaker_Res2Net": ("Res2Net34", {"embd_dim": 192, "pooling_eps": 1e-8}),
    "3dspeaker_ResNet34": (
        "ResNet",
        {"embd_dim": 192, "two_embedding_layers": True, "pooling_eps": 1e-8},
    ),
    "3dspeaker_Xvector": ("TDNN", {"layout": "xvector", "embd_dim": 512, "pooling_eps": 1e-8}),
    "mvector1_CAMPPlus": ("CAMPPlus", {}),
    "mvector1_ERes2Net": ("ERes2Net", {}),
    "mvector1_ERes2NetV2": ("ERes2NetV2", {"channels": 32}),
    "mvector1_EcapaTdnn": ("EcapaTdnn", {"layout": "speechbrain"}),
    "mvector1_Res2Net": ("Res2Net", {}),
    "mvector1_ResNetSE": ("ResNetSE", {}),
    "mvector1_TDNN": ("TDNN", {}),
    "speechbrain_ECAPA_TDNN_c1024": ("EcapaTdnn", {"layout": "speechbrain", "channels": 1024}),
    "wespeaker_CAMPPlus_512": ("CAMPPlus", {"embd_dim": 512, "pooling_eps": 1e-7}),
    "wespeaker_ECAPA_TDNN_GLOB_c512": ("EcapaTdnn", {"layout": "wespeaker"}),
    "wespeaker_ERes2Net34_Base": ("ERes2Net", {"embd_dim": 512, "pooling_eps": 1e-7}),
    "wespeaker_ECAPA_TDNN_c512_MQMHASTP": (
        "EcapaTdnn",
        {"layout": "wespeaker", "pooling_type": "MQMHASTP", "attention_channels": 64},
    ),
    "wespeaker_Res2Net34_Base": ("Res2Net34", {}),
    "wespeaker_ResNet293": ("ResNet", {"depth": 293}),
    "wespeaker_ResNet34": ("ResNet", {}),
    "wespeaker_ResNet34_MQMHASTP": ("ResNet", {"pooling_type": "MQMHASTP"}),
    "wespeaker_SimAM_ResNet34_ASP": ("SimAMResNet", {}),
    "wespeaker_SimAM_ResNet100_ASP": ("SimAMResNet", {"depth": 100}),
    "idrnd_ReDimNet_b0": ("ReDimNet", {"size": "B0"}),
    "idrnd_ReDimNet_b2": ("ReDimNet", {}),
    "wespeaker_ReDimNetB0": ("ReDimNet", {"size": "B0", "pooling_norm": False}),
    "wespeaker_ReDimNetB2": ("ReDimNet", {"pooling_norm": False}),
    "wespeaker_ReDimNetB3": ("ReDimNet", {"size": "B3", "pooling_norm": False}),
    "palabra_ReDimNet2_b0": ("ReDimNet2", {"size": "B0"}),
    "palabra_ReDimNet2_b2": ("ReDimNet2", {}),
    "palabra_ReDimNet2_b6": ("ReDimNet2", {"size": "B6", "group_norm": True}),
    "speechbrain_ResNet_256": ("PreActResNet", {}),
    "speechbrain_Xvector_512": (
        "TDNN",
        {"layout": "speechbrain", "embd_dim": 512, "pooling_eps": 0.0},
    ),
    "wespeaker_Gemini_DF_ResNet114": ("DFResNet", {}),
    "nemo_TitaNet_small": ("TitaNet", {}),
    "nemo_TitaNet_large": ("TitaNet", {"channels": 1024}),
    "wespeaker_XVEC": (
        "TDNN",
        {"layout": "xvector", "embd_dim": 512, "two_embedding_layers": True},
    ),
}


def source_of(name: str) -> str:
    """The toolkit that publishes the model."""
    return name.split("_")[0].replace("mvector1", "mvector")


def bins_of(name: str) -> int:
    """Bins of the features that the model hears."""
    return load_golden(name)["inputs"][0]["shape"][2]


def published_backbone(name: str, **other_options: Any) -> nn.Module:
    """A published model in float64, with some of its options replaced by others."""
    backbone, options = PUBLISHED[name]
    options = {**options, **other_options}
    model = build_backbone(backbone, bins_of(name), **options).double().eval()
    model_config = load_golden(name).get("model_config")
    conversion = convert(golden_weights(name), source_of(name), model_config=model_config)
    model.load_state_dict(conversion.weights, strict=True)
    return model


def unbuilt_backbone(backbone: str, bins: int = 80, **options: Any) -> nn.Module:
    """A backbone without memory behind its parameters."""
    with torch.device("meta"):
        return build_backbone(backbone, bins, **options).eval()
