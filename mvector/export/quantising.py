"""Products of int8, by onnxruntime's static quantisation.

Weights are rounded to 7 bits by channel, as processors without VNNI add products of 8 bits up in 16
and would overflow. Activations have 8 bits, by their ranges on clips of speech. What reads the
features themselves, or means over frames (squeeze-excitation, the embedding layer), stays in
float32: the first has a wide range and the others cost little.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from mvector.export.tracing import IR_VERSION, OPSET

if TYPE_CHECKING:
    import numpy as np
    from onnx import GraphProto, ModelProto

_PRODUCTS = {"Conv", "Gemm", "MatMul"}
_MEANS = {"GlobalAveragePool", "ReduceMean", "ReduceSum"}


def quantised(model: ModelProto, examples: Iterable[np.ndarray]) -> ModelProto:
    """A graph with products of int8.

    Args:
        model: a graph of one input.
        examples: inputs, by which activations are scaled.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    for index, node in enumerate(model.graph.node):
        node.name = node.name or f"node_{index}"
    nodes = _nodes_to_quantise(model.graph)
    add_pre_process_metadata(model)  # which tells onnxruntime not to advise it
    (given,) = (each.name for each in model.graph.input)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "quantised.onnx"
        quantize_static(
            model,
            file,
            _Examples({given: example} for example in examples),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=sorted({*_PRODUCTS, "Relu"}),
            nodes_to_quantize=nodes,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        result = onnx.load(file)
    result.ir_version = IR_VERSION
    del result.graph.value_info[:], result.opset_import[:]
    result.opset_import.append(onnx.helper.make_opsetid("", OPSET))
    return result


class _Examples:
    """As onnxruntime reads them."""

    def __init__(self, examples: Iterable[dict[str, np.ndarray]]) -> None:
        self._left = iter(examples)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._left, None)


def _nodes_to_quantise(graph: GraphProto) -> list[str]:
    """Products of weights that are worth it, and what is computed with them in one."""
    constants = {each.name for each in graph.initializer}
    features = {each.name for each in graph.input}
    means: set[str] = set()  # and whatever is computed of them alone
    names = []
    for node in graph.node:
        read = [name for name in node.input if name and name not in constants]
        of_features = features.issuperset(read)
        is_product = node.op_type in _PRODUCTS and node.input[1] in constants
        if not read:
            constants.update(node.output)
        elif node.op_type in _MEANS or means.issuperset(read):
            means.update(node.output)
        elif of_features and not is_product:
            features.update(node.output)
        elif node.op_type == "Relu" or (is_product and not of_features):
            names.append(node.name)
    return names
