"""What a checkpoint is: its family by the keys that it has, its sizes by their shapes.

A reader maps shapes to the name of a backbone, the number of bins and the backbone's keyword
arguments. What shapes do not show (which constants a toolkit computes with) is added by the
source. Readers trust that the keys they ask for are there (a ``KeyError`` says which is not) and
that sizes fit together: everything is compared with the backbone that results, entry by entry.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from mvector.models.res2net import stem_size
from mvector.models.resnet import NUM_BLOCKS

Shapes = Mapping[str, tuple[int, ...]]

DEFAULT_BINS = 80


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
    ("ReDimNet", ("backbone.stem.0.weight",)),
)


def recognise_family(keys: Collection[str]) -> str | None:
    """Name of the family that has these keys, or ``None``."""
    for family, required in FINGERPRINTS:
        if all(any(fnmatchcase(key, pattern) for key in keys) for pattern in required):
            return family
    return None


def _num_keys(shapes: Shapes, pattern: str) -> int:
    """How many keys there are with a number at the place of ``#``."""
    expression = re.compile(re.escape(pattern).replace(r"\#", r"\d+"))
    return sum(1 for key in shapes if expression.fullmatch(key))


def _num_blocks(shapes: Shapes) -> tuple[int, ...]:
    """Residual blocks of each of the four layers."""
    return tuple(_num_keys(shapes, f"layer{n}.#.conv1.weight") for n in (1, 2, 3, 4))


def _divide(dividend: int, divisor: int, what: str) -> int:
    if divisor == 0 or dividend % divisor or dividend == 0:
        raise UnreadableError(f"{what} would be {dividend} / {divisor}, not a whole number")
    return dividend // divisor


# ---- two-dimensional families ----------------------------------------------------------------


def _bins_before(pooled_inputs: int, top_channels: int, statistics: int = 2) -> int:
    """Bins in front of three halvings, from the inputs of the layer behind the pooling."""
    rows = _divide(pooled_inputs, statistics * top_channels, "an eighth of the bins")
    return 8 * rows


def _bins_or_default(feature_dim: int | None) -> tuple[int, tuple[str, ...]]:
    """Bins where shapes do not tell, and what was assumed."""
    if feature_dim is not None:
        return feature_dim, ()
    return DEFAULT_BINS, (f"{DEFAULT_BINS} bins, which the shapes do not tell",)


def _segment_layer_options(shapes: Shapes) -> dict[str, Any]:
    two = "seg_2.weight" in shapes
    last = shapes["seg_2.weight" if two else "seg_1.weight"]
    return {"embd_dim": last[0], "pooling_type": "TSTP", "two_embedding_layers": two}


def _res2_options(shapes: Shapes, *, passing_groups: int) -> dict[str, Any]:
    channels = shapes["conv1.weight"][0]
    widest = shapes.get("layer4.0.convs.0.weight") or shapes["layer4.0.conv2_1.weight"]
    return {
        "channels": channels,
        "num_blocks": list(_num_blocks(shapes)),
        # the least one that gives groups of this width: planes * base_width // 64
        "base_width": -(-64 * widest[0] // (8 * channels)),
        "scale": _num_keys(shapes, "layer1.0.convs.#.weight") + passing_groups,
        "expansion": _divide(shapes["layer1.0.conv3.weight"][0], channels, "the expansion"),
    }


def _res2_reader(backbone: str, passing_groups: int) -> Reader:
    def read(shapes: Shapes, feature_dim: int | None) -> Architecture:
        sizes = _res2_options(shapes, passing_groups=passing_groups)
        top_channels = 8 * sizes["channels"] * sizes["expansion"]
        bins = _bins_before(shapes["seg_1.weight"][1], top_channels)
        return Architecture(backbone, bins, {**_segment_layer_options(shapes), **sizes})

    return read


read_res2net34 = _res2_reader("Res2Net34", passing_groups=1)
read_eres2net = _res2_reader("ERes2Net", passing_groups=0)
read_eres2net_v2 = _res2_reader("ERes2NetV2", passing_groups=0)


def read_resnet(shapes: Shapes, feature_dim: int | None) -> Architecture:
    """ResNet with blocks of two convolutions, or bottlenecks, of the depths there are."""
    channels = shapes["conv1.weight"][0]
    bottlenecks = "layer1.0.conv3.weight" in shapes
    depths = {
        depth
        for depth, num_blocks in NUM_BLOCKS.items()
        if num_blocks == _num_blocks(shapes) and (depth >= 50) == bottlenecks
    }
    if not depths:
        kind = "bottlenecks" if bottlenecks else "basic blocks"
        raise UnreadableError(f"no known depth has {_num_blocks(shapes)} {kind}")
    bins = _bins_before(shapes["seg_1.weight"][1], 8 * channels * (4 if bottlenecks else 1))
    options = {**_segment_layer_options(shapes), "depth": depths.pop(), "channels": channels}
    return Architecture("ResNet", bins, options)


def _mvector_pooling(shapes: Shapes, prefix: str, inputs: int, frame_dim: int) -> dict[str, Any]:
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


def read_res2net_mvector(shapes: Shapes, feature_dim: int | None) -> Architecture:
    """Res2Net of mvector 1.x, whose shapes leave the number of bins open."""
    sizes = _res2_options(shapes, passing_groups=1)
    bins, assumed = _bins_or_default(feature_dim)
    rows = -(-stem_size(bins) // 16)
    inputs = shapes["linear.weight"][1]
    frame_dim = 8 * sizes["channels"] * sizes["expansion"] * rows
    options = {
        "embd_dim": shapes["linear.weight"][0],
        **_mvector_pooling(shapes, "pooling", inputs, frame_dim),
        **sizes,
    }
    return Architecture("Res2Net", bins, options, assumed)


def read_resnet_se_mvector(shapes: Shapes, feature_dim: int | None) -> Architecture:
    """ResNetSE of mvector 1.x."""
    channels = shapes["conv1.weight"][0]
    block = shapes["layer1.0.conv3.weight"][0]
    inputs = shapes["linear.weight"][1]
    expansion = _divide(block, channels, "the expansion")
    attention = shapes.get("pooling.conv.conv.weight") or shapes.get("pooling.linear2.weight")
    bins, assumed = _bins_or_default(feature_dim)
    if attention is not None:
        bins, assumed = _bins_before(attention[0], 8 * channels * expansion, statistics=1), ()
    frame_dim = 8 * channels * expansion * -(-bins // 8)
    options = {
        "embd_dim": shapes["linear.weight"][0],
        **_mvector_pooling(shapes, "pooling", inputs, frame_dim),
        "channels": channels,
        "num_blocks": list(_num_blocks(shapes)),
        "expansion": expansion,
        "se_reduction": _divide(block, shapes["layer1.0.se.fc.0.weight"][0], "the reduction"),
    }
    return Architecture("ResNetSE", bins, options, assumed)


# ---- one-dimensional families ----------------------------------------------------------------


def read_campplus(shapes: Shapes, feature_dim: int | None) -> Architecture:
    """CAM++ of any width."""
    head = shapes["head.conv1.weight"][0]
    tdnn = shapes["xvector.tdnn.linear.weight"]
    growth = shapes["xvector.block1.tdnnd1.cam_layer.linear_local.weight"][0]
    bottleneck = shapes["xvector.block1.tdnnd1.linear1.weight"][0]
    options = {
        "embd_dim": shapes["xvector.dense.linear.weight"][0],
        "pooling_type": "TSTP",
        "head_channels": head,
        "init_channels": tdnn[0],
        "growth_rate": growth,
        "bn_size": _divide(bottleneck, growth, "the bottleneck's factor"),
    }
    return Architecture("CAMPPlus", _bins_before(tdnn[1], head, statistics=1), options)


def read_xvector(shapes: Shapes, feature_dim: int | None) -> Architecture:
    """x-vector of WeSpeaker (two embedding layers) and 3D-Speaker (one)."""
    frames = [shapes[f"frame_{n}.conv_1d.weight"] for n in (1, 2, 3, 4, 5)]
    options = {
        "layout": "xvector",
        **_segment_layer_options(shapes),
        "channels": [shape[0] for shape in frames],
    }
    return Architecture("TDNN", frames[0][1], options)


def read_tdnn_mvector(shapes: Shapes, feature_dim: int | None) -> Architecture:
    """TDNN of mvector 1.x."""
    frames = [shapes[f"td_layer{n}.weight"] for n in (1, 2, 3, 4, 5)]
    embd_dim, inputs = shapes["linear.weight"]
    options = {
        "layout": "mvector",
        "embd_dim": embd_dim,
        **_mvector_pooling(shapes, "pooling", inputs, frames[-1][0]),
        "channels": [shape[0] for shape in frames],
    }
    return Architecture("TDNN", frames[0][1], options)


def read_ecapa_speechbrain(shapes: Shapes, feature_dim: int | None) -> Architecture:
    """ECAPA-TDNN in SpeechBrain's layout, also with the other poolings of mvector 1.x."""
    first, aggregated = shapes["blocks.0.conv.conv.weight"], shapes["mfa.conv.conv.weight"][0]
    embd_dim, inputs = shapes["fc.conv.weight"][:2]
    options = {
        "layout": "speechbrain",
        "embd_dim": embd_dim,
        **_mvector_pooling(shapes, "asp", inputs, aggregated),
        "channels": [first[0]] * 4 + [aggregated],
        "res2net_scale": _num_keys(shapes, "blocks.1.res2net_block.blocks.#.conv.conv.weight") + 1,
        "se_channels": shapes["blocks.1.se_block.conv1.conv.weight"][0],
    }
    if options["pooling_type"] == "ASP":
        seen = shapes["asp.tdnn.conv.conv.weight"][1]
        options["global_context"] = seen == 3 * aggregated
    return Architecture("EcapaTdnn", first[1], options)


def read_ecapa_wespeaker(shapes: Shapes, feature_dim: int | None) -> Architecture:
    """ECAPA-TDNN in WeSpeaker's layout, with or without global context."""
    first, aggregated = shapes["layer1.conv.weight"], shapes["conv.weight"][0]
    hidden, seen = shapes["pool.linear1.weight"][:2]
    options = {
        "layout": "wespeaker",
        "embd_dim": shapes["linear.weight"][0],
        "pooling_type": "ASP",
        "channels": [first[0]] * 4 + [aggregated],
        "res2net_scale": _num_keys(shapes, "layer2.se_res2block.1.convs.#.weight") + 1,
        "se_channels": shapes["layer2.se_res2block.3.linear1.weight"][0],
        "attention_channels": hidden,
        "global_context": seen == 3 * aggregated,
        "embedding_norm": "bn2.weight" in shapes,
    }
    return Architecture("EcapaTdnn", first[1], options)
