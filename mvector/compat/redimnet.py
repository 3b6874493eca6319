"""Checkpoints of ReDimNet and ReDimNet2: sizes, and names that depend on how long stages are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
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


def authors_table(options: Mapping[str, Any]) -> KeyTable:
    """Names in the files of the authors, whose stages begin with the mix and a reshaping."""
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
        "body.stem_group_norm": "backbone.stem_gnorm",
        "head": "backbone.head",
        "pooling.hidden": "pool.linear1",
        "pooling.attention": "pool.linear2",
    }
    for number, (*_, num_blocks, expansion, reduction) in enumerate(options["stages"]):
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
        # in ReDimNet2, behind a repetition of frames, which has none either
        layers[f"{ours}.norm"] = f"{theirs}.{place + (2 if reduction is None else 3)}"
    return layers


def read_authors_redimnet(shapes: Shapes, feature_dim: int | None) -> Architecture:
    """ReDimNet as its authors publish it."""
    return _redimnet(_read(shapes, 2, "backbone.fin_wght1d.w", "linear.weight"))


def read_wespeaker(shapes: Shapes, feature_dim: int | None) -> Architecture:
    """ReDimNet as WeSpeaker trains it, without normalisation behind the pooling."""
    last = num_keys(shapes, "backbone.inputs_weights.#") - 1
    return _redimnet(_read(shapes, 0, f"backbone.inputs_weights.{last}", "seg_1.weight"))


def _redimnet(read: Architecture) -> Architecture:
    """ReDimNet, which has no strides in time."""
    options = {**read.options}
    strides = [time_stride for _, time_stride, *_ in options["stages"]]
    if strides != [1] * len(strides):
        raise UnreadableError(f"its stages have strides in time, {strides}")
    options["stages"] = [[stride, *rest] for stride, _, *rest in options["stages"]]
    return replace(read, backbone="ReDimNet", options=options)


def read_redimnet2(shapes: Shapes, feature_dim: int | None) -> Architecture:
    """ReDimNet2; what is pooled may be a map or not, which shapes tell where there is a head."""
    read = _read(shapes, 2, "backbone.fin_wght1d.w", "linear.weight")
    options = {key: value for key, value in read.options.items() if key != "pooling_norm"}
    head = shapes.get("backbone.head.weight")
    options["out_channels"] = 0 if head is None else head[0]
    options["output_2d"] = head is None or len(head) == 4
    options["group_norm"] = "backbone.stem_gnorm.weight" in shapes
    assumed = () if head is not None else (_ASSUMED_MAP,)
    return replace(read, backbone="ReDimNet2", options=options, assumed=assumed)


_ASSUMED_MAP = "that maps are pooled, which neither shapes nor a model_config tell"


def _read(shapes: Shapes, first: int, last_mix: str, embedding: str) -> Architecture:
    """What both have; stages as those of ReDimNet2."""
    channels, rows = shapes["backbone.stem.0.weight"][0], shapes[last_mix][2]
    hidden, seen = shapes["pool.linear1.weight"][:2]
    options = {
        "embd_dim": shapes[embedding][0],
        "pooling_type": "ASP",
        "channels": channels,
        "block": _block(shapes),
        "group_divisor": _group_divisor(shapes),
        "stages": _read_stages(shapes, first, channels, rows),
        "global_context": seen == 3 * shapes["pool.linear2.weight"][0],
        "pooling_norm": "bn.weight" in shapes,
        "attention_channels": hidden,
    }
    return Architecture("", divide(rows, channels, "the bins"), options)


def _read_stages(
    shapes: Shapes, first: int, channels: int, rows: int
) -> list[list[int | float | None]]:
    """Stride in bins, in time, number of blocks, widening and reduction of each stage."""
    stages: list[list[int | float | None]] = []
    whole_time_stride = 1
    for number in range(num_keys(shapes, f"backbone.stage#.{first}.weight")):
        stage = f"backbone.stage{number}"
        wide, _, stride, time_strides = shapes[f"{stage}.{first}.weight"]
        time_stride = divide(time_strides, whole_time_stride, "the stride in time of a stage")
        channels, whole_time_stride = channels * stride, time_strides
        expansion = wide / channels
        blocks = [num_keys(shapes, f"{stage}.#.conv_block.{name}") for name in _FIRST_CONVOLUTIONS]
        reduced = [shape for key, shape in shapes.items() if _is_reduction(key, stage)]
        stages.append(
            [
                stride,
                time_stride,
                sum(blocks),
                int(expansion) if expansion.is_integer() else expansion,
                rows // reduced[0][0] if reduced else None,
            ]
        )
    return stages


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


# What model_config may say of matters in which the networks here have no choice.
_CONSTANTS: dict[str, tuple[Any, ...]] = {
    "block_1d_type": ("conv+att",),
    "causal": ("none", False),
    "pooling_func": ("ASTP",),
    "fm_weigthing_type": ("NC",),
    "dual_agg": (False,),
    "use_freq_pos_enc": (False,),
    "emb_bn": (False,),
    "pad_right_samples": (None, 0),
    "before_pool_offset": (None, 0),
    "tf_optimized_arch": (False,),
}


def apply_config(config: Mapping[str, Any], architecture: Architecture) -> Architecture:
    """Hold a file's ``model_config`` against its shapes, and take from it what they leave open.

    Raises:
        UnreadableError: they contradict each other, or it is of a network that mvector has not.
    """
    for key, possible in _CONSTANTS.items():
        if key in config and config[key] not in possible:
            raise UnreadableError(
                f"its model_config says {key} {config[key]!r}, which no backbone of mvector has"
            )
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
    if architecture.backbone == "ReDimNet2" and not options["out_channels"]:
        options = {**options, "output_2d": config.get("return_2d_output", False) is True}
    return replace(architecture, options=options, assumed=())
