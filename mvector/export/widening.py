"""One-dimensional convolutions as two-dimensional ones, which onnxruntime computes faster.

It has a blocked layout with fused kernels for images, and none for sequences. So what a graph
does with ``(batch, channels, frames)`` is done with ``(batch, channels, 1, frames)``, from
convolution to convolution, and a sequence is made of it again where something else is done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_UNARY = {"Relu", "Sigmoid", "Tanh", "Clip", "BatchNormalization", "Identity"}
_BINARY = {"Add", "Sub", "Mul", "Div"}
_OF_CHANNELS = {"Concat", "Split"}
_SLIDING = {"Conv", "AveragePool"}
_AXES = "widening_axes"


def widen_sequences(model: ModelProto) -> ModelProto:
    """The model with its sequences as images of height 1; its inputs and outputs stay."""
    return _Widening(model).run()


class _Widening:
    def __init__(self, model: ModelProto) -> None:
        import onnx

        self.model = model
        inferred = onnx.shape_inference.infer_shapes(model).graph
        self.ranks = {
            value.name: len(value.type.tensor_type.shape.dim)
            for value in (*inferred.input, *inferred.output, *inferred.value_info)
            if value.type.tensor_type.HasField("shape")
        }
        self.weights = {each.name: each for each in model.graph.initializer}
        self.ranks.update({name: len(each.dims) for name, each in self.weights.items()})
        self.nodes: list[NodeProto] = []
        self.wide: set[str] = set()  # sequences that are there as images
        self.narrow: set[str] = set()  # images that have been made sequences again

    def run(self) -> ModelProto:
        from onnx import numpy_helper

        graph = self.model.graph
        for node in graph.node:
            self._widen(node) if self._is_wide(node) else self._keep(node)
        for output in graph.output:
            self._narrow(output.name)
        del graph.node[:]
        graph.node.extend(self.nodes)
        del graph.value_info[:]
        if any(_AXES in node.input for node in self.nodes):
            graph.initializer.append(numpy_helper.from_array(np.array([2], np.int64), _AXES))
        return self.model

    def _is_wide(self, node: NodeProto) -> bool:
        seen = node.input
        if node.op_type in _SLIDING:
            return self.ranks.get(seen[0]) == 3 and all(name in self.weights for name in seen[1:])
        if node.op_type in _UNARY:
            return seen[0] in self.wide
        if node.op_type in _OF_CHANNELS:
            parts = seen if node.op_type == "Concat" else seen[:1]
            return _axis(node) == 1 and all(name in self.wide for name in parts)
        if node.op_type in _BINARY:
            others = [name for name in seen if name not in self.wide]
            return len(others) < 2 and all(self.ranks.get(name) in (0, 3) for name in others)
        return node.op_type == "Softmax" and seen[0] in self.wide and _axis(node) in (-1, 2)

    def _widen(self, node: NodeProto) -> None:
        new = type(node)()
        new.CopyFrom(node)
        data = 2 if node.op_type in _BINARY else len(node.input)
        if node.op_type in _UNARY | _SLIDING | {"Split", "Softmax"}:
            data = 1
        for index, name in enumerate(node.input[:data]):
            new.input[index] = self._widened(name)
        if node.op_type in _SLIDING:
            self._widen_window(new)
        if node.op_type == "Softmax":
            new.attribute[0].i = -1
        for index, name in enumerate(node.output):
            self.wide.add(name)
            new.output[index] = _wide_name(name)
        self.nodes.append(new)

    def _widen_window(self, node: NodeProto) -> None:
        for attribute in node.attribute:
            if attribute.name in ("kernel_shape", "strides", "dilations"):
                attribute.ints.insert(0, 1)
            elif attribute.name == "pads":
                first, last = attribute.ints
                attribute.ints[:] = [0, first, 0, last]
        if node.op_type == "Conv":
            weight = self.weights[node.input[1]]
            if len(weight.dims) == 3:  # else another convolution has the same one
                weight.dims.insert(2, 1)

    def _widened(self, name: str) -> str:
        if name not in self.wide and self.ranks.get(name) == 3:
            self.wide.add(name)
            self.narrow.add(name)
            self._add("Unsqueeze", [name, _AXES], _wide_name(name))
        return _wide_name(name) if name in self.wide else name

    def _keep(self, node: NodeProto) -> None:
        for name in node.input:
            self._narrow(name)
        self.nodes.append(node)

    def _narrow(self, name: str) -> None:
        if name in self.wide and name not in self.narrow:
            self.narrow.add(name)
            self._add("Squeeze", [_wide_name(name), _AXES], name)

    def _add(self, operator: str, inputs: list[str], output: str) -> None:
        from onnx import helper

        self.nodes.append(helper.make_node(operator, inputs, [output]))


def _axis(node: NodeProto) -> int:
    return next((each.i for each in node.attribute if each.name == "axis"), -1)


def _wide_name(name: str) -> str:
    return f"{name}_wide"
