"""Weights stored as float16."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onnx import ModelProto


def store_in_half(model: ModelProto) -> None:
    """Store matrices and filters as float16; the graph makes float32 of them, and computes in that.

    Runtimes do so once, when they load the file. Few processors compute in float16, and those of
    servers and desktops do not. Vectors (biases, norms) take no space and stay as they are.
    """
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for weight in model.graph.initializer:
        if weight.data_type != TensorProto.FLOAT or len(weight.dims) < 2:
            continue
        name, stored = weight.name, f"{weight.name}_float16"
        values = numpy_helper.to_array(weight).astype(np.float16)
        weight.CopyFrom(numpy_helper.from_array(values, stored))
        casts.append(helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
