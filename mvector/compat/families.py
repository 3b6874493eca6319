"""What a checkpoint is: its family by the keys that it has, its sizes by their shapes.

Readers of sizes are in :mod:`mvector.compat.readers1d` and :mod:`mvector.compat.readers2d`.

A reader maps shapes to the name of a backbone, the number of bins and the backbone's keyword
arguments. What shapes do not show (which constants a toolkit computes with) is added by the
source. Readers trust that the keys they ask for are there (a ``KeyError`` says which is not) and
that sizes fit together: everything is compared with the backbone that results, entry by entry.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch

Shapes = Mapping[str, tuple[int, ...]]


class UnreadableError(Exception):
    """Why shapes describe no model of the family; becomes part of a sentence."""


@dataclass(frozen=True)
class Architecture:
    """A backbone to build: its key in the table of backbones, number of bins, keyword arguments.

    ``assumed`` says what the shapes left open and was assumed, for people to read.
    """

    backbone: str
    feature_dim: int
    options: dict[str, Any]
    assumed: tuple[str, ...] = ()


Reader = Callable[[Shapes, "int | None"], Architecture]

# The first row of which a checkpoint has all keys names its family; * stands for anything.
FINGERPRINTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("CAM++", ("xvector.tdnn.linear.weight",)),
    ("ERes2NetV2", ("layer3_ds.weight",)),
    ("WeSpeaker's ERes2Net", ("layer1_downsample.weight", "layer3.0.conv2_1.weight")),
    ("ERes2Net", ("layer1_downsample.weight",)),
    ("SimAM-ResNet", ("front.conv1.weight", "bottleneck.weight")),
    ("mvector 1.x's Res2Net", ("layer1.0.convs.0.weight", "linear.weight")),
    ("mvector 1.x's ResNetSE", ("layer1.0.se.fc.0.weight", "linear.weight")),
    ("Res2Net", ("layer1.0.convs.0.weight", "seg_1.weight")),
    ("ResNet", ("layer1.0.conv1.weight", "seg_1.weight")),
    ("ECAPA-TDNN", ("blocks.0.conv.conv.weight",)),
    ("xi-vector", ("pool.prior_mean",)),
    ("WeSpeaker's ECAPA-TDNN", ("layer2.se_res2block.0.conv.weight",)),
    ("WeSpeaker's x-vector", ("frame_1.conv_1d.weight", "seg_2.weight")),
    ("x-vector", ("frame_1.conv_1d.weight", "seg_1.weight")),
    ("mvector 1.x's TDNN", ("td_layer1.weight",)),
    ("SpeechBrain's ResNet", ("fc_embed.weight", "norm_embed.*")),
    ("SpeechBrain's x-vector", ("blocks.0.conv.weight", "blocks.2.norm.*")),
    ("Gemini DF-ResNet", ("downsample_layers.*", "seg_1.weight")),
    ("RepVGG", ("*rbr_*",)),
    ("TitaNet", ("encoder.encoder.0.mconv.0.conv.weight", "decoder._pooling.*")),
    ("WeSpeaker's ReDimNet", ("backbone.stem.0.weight", "backbone.inputs_weights.*")),
    ("ReDimNet", ("backbone.stem.0.weight", "backbone.stage0.0.w")),  # or its successor
)


def recognise_family(state: Mapping[str, torch.Tensor]) -> str | None:
    """Name of the family that has these entries, or ``None``."""
    for family, required in FINGERPRINTS:
        if all(any(fnmatchcase(key, pattern) for key in state) for pattern in required):
            is_second = family == "ReDimNet" and state["backbone.stage0.0.w"].numel() > 1
            return "ReDimNet2" if is_second else family
    return None


def num_keys(shapes: Shapes, pattern: str) -> int:
    """How many keys there are with a number at the place of ``#``."""
    expression = re.compile(re.escape(pattern).replace(r"\#", r"\d+"))
    return sum(1 for key in shapes if expression.fullmatch(key))


def divide(dividend: int, divisor: int, what: str) -> int:
    """How often one number is in another; an UnreadableError says ``what`` it would be."""
    if divisor == 0 or dividend % divisor or dividend == 0:
        raise UnreadableError(f"{what} would be {dividend} / {divisor}, not a whole number")
    return dividend // divisor


def pooling_type_wespeaker(shapes: Shapes) -> str | None:
    """Name of the pooling, where it is one of several heads."""
    if "pool.n_query.0.heads_att_trans.0.att_0.weight" in shapes:
        return "MQMHASTP"
    return "MHASTP" if "pool.heads_att_trans.0.att_0.weight" in shapes else None


def statistics_per_channel(shapes: Shapes) -> int:
    """How many values the pooling gives for each channel: mean and deviation, of each query."""
    return 2 * (num_keys(shapes, "pool.n_query.#.heads_att_trans.0.att_0.weight") or 1)


def segment_layer_options(shapes: Shapes) -> dict[str, Any]:
    """Pooling and embedding of the models that end in ``seg_1``, or ``seg_2`` behind it."""
    two = "seg_2.weight" in shapes
    last = shapes["seg_2.weight" if two else "seg_1.weight"]
    pooling_type = pooling_type_wespeaker(shapes) or "TSTP"
    return {"embd_dim": last[0], "pooling_type": pooling_type, "two_embedding_layers": two}


def mvector_pooling(shapes: Shapes, prefix: str, inputs: int, frame_dim: int) -> dict[str, Any]:
    """Pooling of an mvector 1.x model, from its layers or, if it has none, from its output."""
    for pooling, layer in (("ASP", "tdnn.conv.conv"), ("SAP", "linear1")):
        if (attention := shapes.get(f"{prefix}.{layer}.weight")) is not None:
            return {"pooling_type": pooling, "attention_channels": attention[0]}
    if inputs not in (frame_dim, 2 * frame_dim):
        raise UnreadableError(
            f"the pooling gives {inputs} values, and {frame_dim} or {2 * frame_dim} were expected "
            "(is the number of bins another one?)"
        )
    return {"pooling_type": "TAP" if inputs == frame_dim else "TSP"}
