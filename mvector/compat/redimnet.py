"""ReDimNet's checkpoints: sizes from shapes, and names that depend on how long the stages are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mvector.compat.families import Architecture, Shapes, UnreadableError, divide, num_keys
from mvector.compat.key_tables import KeyTable

_SEPARABLE_BLOCK = {
    "conv{n}": "conv{n}",
    "pointwise{n}": "conv{n}pw",
    "norm{n}": "bn{n}",
    "gate.squeeze": "se.squeeze",
    "gate.excite": "se.exitation",
}
_CONVNEXT_BLOCK = {"conv": "dwconvs.0", "norm": "norm", "pointwise": "pwconv1"}
_CONTEXT = {
    "reduce": "red_dim_conv.0",
    "reduce_norm": "red_dim_conv.1",
    **{f"convs.{{k}}.{ours}": f"tcm.{{k}}.{theirs}" for ours, theirs in _CONVNEXT_BLOCK.items()},
    "attention.query": "tcm.4.attention.q_proj",
    "attention.key": "tcm.4.attention.k_proj",
    "attention.value": "tcm.4.attention.v_proj",
    "attention.output": "tcm.4.attention.out_proj",
    "attention_norm": "tcm.4.layer_norm",
    "hidden": "tcm.4.feed_forward.intermediate_dense",
    "output": "tcm.4.feed_forward.output_dense",
    "output_norm": "tcm.4.final_layer_norm",
    "expand": "exp_dim_conv",
}
_NARROWING = {"conv": "0", "norm": "1", "pointwise": "3"}


def idrnd_table(options: Mapping[str, Any]) -> KeyTable:
    """Names in the files of ReDimNet's authors, whose stages begin with the mix and a reshaping."""
    last = len(options["stages"])
    return KeyTable(
        {**_body(options, first=2), "pooling_norm": "bn", "embedding": "linear"},
        entries={
            f"body.mixes.{last}.weight": "backbone.fin_wght1d.w",
            "body.mixes.{i}.weight": "backbone.stage{i}.0.w",
        },
    )


def wespeaker_table(options: Mapping[str, Any]) -> KeyTable:
    """Names in WeSpeaker's files, whose stages begin with the strided convolution."""
    return KeyTable(
        {**_body(options, first=0), "embedding": "seg_1"},
        entries={"body.mixes.{i}.weight": "backbone.inputs_weights.{i}"},
    )


def _body(options: Mapping[str, Any], first: int) -> dict[str, str]:
    """Names of the layers up to the pooling; ``first`` is the place of a stage's convolution."""
    layers = {
        "body.stem": "backbone.stem.0",
        "body.stem_norm": "backbone.stem.1",
        "pooling.hidden": "pool.linear1",
        "pooling.attention": "pool.linear2",
    }
    for number, (*_, num_blocks, expansion, _reduction) in enumerate(options["stages"]):
        ours, theirs = f"body.stages.{number}", f"backbone.stage{number}"
        layers[f"{ours}.conv"] = f"{theirs}.{first}"
        for mine, its in {**_SEPARABLE_BLOCK, **_CONVNEXT_BLOCK}.items():
            layers[f"{ours}.blocks.{{b}}.{mine}"] = f"{theirs}.{{b+{first + 1}}}.conv_block.{its}"
        place = first + 1 + num_blocks
        if expansion != 1:
            for mine, its in _NARROWING.items():
                layers[f"{ours}.narrow.{mine}"] = f"{theirs}.{place}.{its}"
            place += 1
        for mine, its in _CONTEXT.items():  # behind a reshaping, which has no entries
            layers[f"{ours}.context.{mine}"] = f"{theirs}.{place + 1}.{its}"
    return layers


def read_idrnd(shapes: Shapes, feature_dim: int | None) -> Architecture:
    """ReDimNet as its authors publish it."""
    return _read(shapes, first=2, last_mix="backbone.fin_wght1d.w", embedding="linear.weight")


def read_wespeaker(shapes: Shapes, feature_dim: int | None) -> Architecture:
    """ReDimNet as WeSpeaker trains it, without normalisation behind the pooling."""
    last = num_keys(shapes, "backbone.inputs_weights.#") - 1
    last_mix = f"backbone.inputs_weights.{last}"
    return _read(shapes, first=0, last_mix=last_mix, embedding="seg_1.weight")


def _read(shapes: Shapes, *, first: int, last_mix: str, embedding: str) -> Architecture:
    channels, rows = shapes["backbone.stem.0.weight"][0], shapes[last_mix][2]
    num_stages = num_keys(shapes, f"backbone.stage#.{first}.weight")
    hidden, seen = shapes["pool.linear1.weight"][:2]
    options = {
        "embd_dim": shapes[embedding][0],
        "pooling_type": "ASP",
        "channels": channels,
        "block": _block(shapes),
        "group_divisor": _group_divisor(shapes),
        "stages": [_read_stage(shapes, number, first, rows) for number in range(num_stages)],
        "global_context": seen == 3 * rows,
        "pooling_norm": "bn.weight" in shapes,
        "attention_channels": hidden,
    }
    return Architecture("ReDimNet", divide(rows, channels, "the bins"), options)


def _read_stage(shapes: Shapes, number: int, first: int, rows: int) -> list[int | None]:
    stage = f"backbone.stage{number}"
    wide, channels, stride, _ = shapes[f"{stage}.{first}.weight"]
    blocks = [num_keys(shapes, f"{stage}.#.conv_block.{name}") for name in _FIRST_CONVOLUTIONS]
    reduced = [shape for key, shape in shapes.items() if _is_reduction(key, stage)]
    expansion = divide(wide, channels * stride, "the widening of a stage")
    return [stride, sum(blocks), expansion, rows // reduced[0][0] if reduced else None]


_FIRST_CONVOLUTIONS = ("conv1.weight", "dwconvs.0.weight")


def _is_reduction(key: str, stage: str) -> bool:
    return key.startswith(f"{stage}.") and key.endswith(".red_dim_conv.0.weight")


def _block(shapes: Shapes) -> str:
    if any(".conv_block.dwconvs.0." in key for key in shapes):
        return "convnext_like"
    gated = any(".conv_block.se." in key for key in shapes)
    return "basic_resnet_fwse" if gated else "basic_resnet"


def _group_divisor(shapes: Shapes) -> int:
    """The largest one that gives each convolution of a block its number of groups."""
    ends = tuple(f".conv_block.{name}" for name in _FIRST_CONVOLUTIONS)
    found = [
        shape[0] // (shape[0] // shape[1]) for key, shape in shapes.items() if key.endswith(ends)
    ]
    if not found:
        raise UnreadableError("none of its stages has blocks")
    return min(found)


def check_config(config: Mapping[str, Any], architecture: Architecture) -> None:
    """Hold a file's ``model_config`` against what its shapes say.

    Raises:
        UnreadableError: they contradict each other.
    """
    options = architecture.options
    read = {
        "F": architecture.feature_dim,
        "C": options["channels"],
        "embed_dim": options["embd_dim"],
        "block_2d_type": options["block"],
    }
    for key, value in read.items():
        if key in config and config[key] != value:
            raise UnreadableError(f"its model_config says {key} {config[key]}, its shapes {value}")
    stages = config.get("stages_setup")
    if isinstance(stages, list | tuple) and len(stages) != len(options["stages"]):
        raise UnreadableError(
            f"its model_config has {len(stages)} stages, its shapes {len(options['stages'])}"
        )
