"""Graphs put together: front end and backbone for one clip, and a loop over the clips of a batch.

The loop gives the graph of one clip each clip of a padded batch without its padding. So there are
no masks, what is behind a clip's end is never computed, and neighbours cannot matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mvector.export.tracing import IR_VERSION, OPSET
from mvector.models.onnx_file import EMBEDDING

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

#: Names in a graph that takes features: ``(batch, frames, bins)`` float32, and ``(batch,)`` int64.
FEATURES, NUM_FRAMES = "features", "num_frames"


def joined(front_end: ModelProto, backbone: ModelProto) -> ModelProto:
    """The graph of a clip's waveform to its embedding."""
    from onnx import compose

    front_end = compose.add_prefix(front_end, "front_end/", rename_inputs=False)
    backbone = compose.add_prefix(backbone, "backbone/", rename_outputs=False)
    io_map = [(front_end.graph.output[0].name, backbone.graph.input[0].name)]
    return compose.merge_models(front_end, backbone, io_map)


def over_batch(clip: ModelProto, batch: str, counts: str, bins: int | None = None) -> ModelProto:
    """The graph of a padded batch, ``(batch, length[, bins])``, of that of one clip.

    Args:
        clip: maps ``(1, length[, bins])`` to ``(1, embd_dim)``.
        batch: name of the input.
        counts: name of the second input, ``(batch,)`` int64: the length of each clip.
        bins: of features; ``None`` for waveforms.
    """
    from onnx import TensorProto, helper

    body = _body(clip.graph, batch, counts)
    size = clip.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    tail = [] if bins is None else [bins]
    inputs = [
        helper.make_tensor_value_info(batch, TensorProto.FLOAT, ["batch", "length", *tail]),
        helper.make_tensor_value_info(counts, TensorProto.INT64, ["batch"]),
    ]
    outputs = [helper.make_tensor_value_info(EMBEDDING, TensorProto.FLOAT, ["batch", size])]
    nodes = [
        helper.make_node("Size", [counts], ["num_clips"]),
        helper.make_node("Loop", ["num_clips", ""], [EMBEDDING], body=body),
    ]
    graph = helper.make_graph(nodes, "speaker_model", inputs, outputs)
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(
        graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="mvector"
    )


def _body(clip: GraphProto, batch: str, counts: str) -> GraphProto:
    from onnx import TensorProto, helper, numpy_helper

    given, result = clip.input[0].name, clip.output[0].name
    constants = {"zero": 0, "first_axis": [0]}
    before = [
        helper.make_node("Gather", [counts, "clip_index"], ["own_count"], axis=0),
        helper.make_node("Unsqueeze", ["own_count", "first_axis"], ["own_end"]),
        helper.make_node("Gather", [batch, "clip_index"], ["own_row"], axis=0),
        helper.make_node("Slice", ["own_row", "first_axis", "own_end", "first_axis"], ["own_clip"]),
        helper.make_node("Unsqueeze", ["own_clip", "first_axis"], ["one_clip"]),
    ]
    behind = [
        helper.make_node("Squeeze", [result, "first_axis"], ["own_embedding"]),
        helper.make_node("Identity", ["goes_on"], ["goes_on_further"]),
    ]
    nodes = [*before, *(_reading(node, given, "one_clip") for node in clip.node), *behind]
    size = clip.output[0].type.tensor_type.shape.dim[1].dim_value
    body = helper.make_graph(
        nodes,
        "one_clip",
        [
            helper.make_tensor_value_info("clip_index", TensorProto.INT64, []),
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
        ],
        [
            helper.make_tensor_value_info("goes_on_further", TensorProto.BOOL, []),
            helper.make_tensor_value_info("own_embedding", TensorProto.FLOAT, [size]),
        ],
    )
    body.initializer.extend(clip.initializer)
    for name, value in constants.items():
        body.initializer.append(numpy_helper.from_array(np.array(value, np.int64), name))
    return body


def _reading(node: NodeProto, old: str, new: str) -> NodeProto:
    node.input[:] = [new if name == old else name for name in node.input]
    return node
