"""Sizes of the published networks that see features as an image, read from their shapes."""

from __future__ import annotations

from typing import Any

from mvector.compat.families import (
    Architecture,
    Reader,
    Shapes,
    UnreadableError,
    divide,
    mvector_pooling,
    num_keys,
    segment_layer_options,
    statistics_per_channel,
)
from mvector.models import simam_resnet
from mvector.models.res2net import stem_size
from mvector.models.resnet import NUM_BLOCKS

DEFAULT_BINS = 80


def _num_blocks(shapes: Shapes, prefix: str = "") -> tuple[int, ...]:
    """Residual blocks of each of the four layers."""
    return tuple(num_keys(shapes, f"{prefix}layer{n}.#.conv1.weight") for n in (1, 2, 3, 4))


def _bins_before(pooled_inputs: int, top_channels: int, statistics: int = 2) -> int:
    """Bins in front of three halvings, from the inputs of the layer behind the pooling."""
    rows = divide(pooled_inputs, statistics * top_channels, "an eighth of the bins")
    return 8 * rows


def _bins_before_segment(shapes: Shapes, top_channels: int) -> int:
    """Bins in front of three halvings, where the layer behind the pooling is ``seg_1``."""
    inputs = shapes["seg_1.weight"][1]
    return _bins_before(inputs, top_channels, statistics_per_channel(shapes))


def _bins_or_default(feature_dim: int | None) -> tuple[int, tuple[str, ...]]:
    """Bins where shapes do not tell, and what was assumed."""
    if feature_dim is not None:
        return feature_dim, ()
    return DEFAULT_BINS, (
        f"{DEFAULT_BINS} bins, which the shapes do not tell; give feature_dim if there are others",
    )


def _res2_options(shapes: Shapes, *, passing_groups: int) -> dict[str, Any]:
    channels = shapes["conv1.weight"][0]
    widest = shapes.get("layer4.0.convs.0.weight") or shapes["layer4.0.conv2_1.weight"]
    return {
        "channels": channels,
        "num_blocks": list(_num_blocks(shapes)),
        # the least one that gives groups of this width: planes * base_width // 64
        "base_width": -(-64 * widest[0] // (8 * channels)),
        "scale": num_keys(shapes, "layer1.0.convs.#.weight") + passing_groups,
        "expansion": divide(shapes["layer1.0.conv3.weight"][0], channels, "the expansion"),
    }


def _res2_reader(backbone: str, passing_groups: int) -> Reader:
    def read(shapes: Shapes, feature_dim: int | None) -> Architecture:
        sizes = _res2_options(shapes, passing_groups=passing_groups)
        top_channels = 8 * sizes["channels"] * sizes["expansion"]
        bins = _bins_before_segment(shapes, top_channels)
        return Architecture(backbone, bins, {**segment_layer_options(shapes), **sizes})

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
    bins = _bins_before_segment(shapes, 8 * channels * (4 if bottlenecks else 1))
    options = {**segment_layer_options(shapes), "depth": depths.pop(), "channels": channels}
    return Architecture("ResNet", bins, options)


def read_res2net_mvector(shapes: Shapes, feature_dim: int | None) -> Architecture:
    """Res2Net of mvector 1.x, whose shapes leave the number of bins open."""
    sizes = _res2_options(shapes, passing_groups=1)
    bins, assumed = _bins_or_default(feature_dim)
    rows = -(-stem_size(bins) // 16)
    inputs = shapes["linear.weight"][1]
    frame_dim = 8 * sizes["channels"] * sizes["expansion"] * rows
    options = {
        "embd_dim": shapes["linear.weight"][0],
        **mvector_pooling(shapes, "pooling", inputs, frame_dim),
        **sizes,
    }
    return Architecture("Res2Net", bins, options, assumed)


def read_resnet_se_mvector(shapes: Shapes, feature_dim: int | None) -> Architecture:
    """ResNetSE of mvector 1.x."""
    channels = shapes["conv1.weight"][0]
    block = shapes["layer1.0.conv3.weight"][0]
    inputs = shapes["linear.weight"][1]
    expansion = divide(block, channels, "the expansion")
    attention = shapes.get("pooling.conv.conv.weight") or shapes.get("pooling.linear2.weight")
    bins, assumed = _bins_or_default(feature_dim)
    if attention is not None:
        bins, assumed = _bins_before(attention[0], 8 * channels * expansion, statistics=1), ()
    frame_dim = 8 * channels * expansion * -(-bins // 8)
    options = {
        "embd_dim": shapes["linear.weight"][0],
        **mvector_pooling(shapes, "pooling", inputs, frame_dim),
        "channels": channels,
        "num_blocks": list(_num_blocks(shapes)),
        "expansion": expansion,
        "se_reduction": divide(block, shapes["layer1.0.se.fc.0.weight"][0], "the reduction"),
    }
    return Architecture("ResNetSE", bins, options, assumed)


def read_resnet_speechbrain(shapes: Shapes, feature_dim: int | None) -> Architecture:
    """ResNet of SpeechBrain, with attentive pooling."""
    channels = [shapes[f"layer{n}.0.conv1.weight"][0] for n in (1, 2, 3, 4)]
    hidden, rows = shapes["attention.0.weight"][:2]
    options = {
        "embd_dim": shapes["fc_embed.weight"][0],
        "pooling_type": "ASP",
        "channels": channels,
        "num_blocks": list(_num_blocks(shapes)),
        "num_gated": num_keys(shapes, "layer#.0.se.fc.0.weight"),
        "attention_channels": hidden,
    }
    return Architecture("PreActResNet", _bins_before(rows, channels[-1], statistics=1), options)


def read_df_resnet(shapes: Shapes, feature_dim: int | None) -> Architecture:
    """Gemini DF-ResNet of WeSpeaker."""
    channels = shapes["downsample_layers.0.0.weight"][0]
    num_blocks = [num_keys(shapes, f"stages.{n}.#.conv1.weight") for n in range(4)]
    columns = statistics_per_channel(shapes) * 8 * channels
    rows = divide(shapes["seg_1.weight"][1], columns, "a sixteenth of the bins")
    options = {**segment_layer_options(shapes), "num_blocks": num_blocks, "channels": channels}
    return Architecture("DFResNet", 16 * rows, options)


def read_simam_resnet(shapes: Shapes, feature_dim: int | None) -> Architecture:
    """SimAM-ResNet with attentive pooling."""
    channels = shapes["front.conv1.weight"][0]
    num_blocks = _num_blocks(shapes, "front.")
    depth = next((key for key, value in simam_resnet.NUM_BLOCKS.items() if value == num_blocks), 0)
    if not depth:
        raise UnreadableError(f"no known depth has {num_blocks} blocks")
    hidden, rows = shapes["pooling.attention.0.weight"][:2]
    options = {
        "embd_dim": shapes["bottleneck.weight"][0],
        "pooling_type": "ASP",
        "depth": depth,
        "channels": channels,
        "attention_channels": hidden,
    }
    return Architecture("SimAMResNet", _bins_before(rows, 8 * channels, statistics=1), options)
