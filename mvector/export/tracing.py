"""Modules of torch as ONNX graphs of one input and one output."""

from __future__ import annotations

import io
import logging
import warnings
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mvector.errors import import_errors_as
from mvector.export.widening import widen_sequences

if TYPE_CHECKING:
    from onnx import ModelProto

#: onnxruntime 1.17 and whatever else reads models of 2023 has all operators of this one.
OPSET = 17
#: The lowest version of the file format that has this opset.
IR_VERSION = 8


def require_onnx() -> None:
    """Raise MissingDependencyError where a package of the extra ``export`` is missing."""
    with import_errors_as("Exporting to ONNX needs onnx; install it with pip install onnx."):
        import onnx  # noqa: F401


def trace(module: nn.Module, example: Tensor, given: str, result: str) -> ModelProto:
    """The graph of a module of one input and one output, of any size in the first two dimensions.

    Args:
        module: in evaluation mode.
        example: an input; what the module does must not depend on its size.
        given, result: names of the graph's input and output.
    """
    import onnx

    # The exporter that traces is the one that takes seconds, and makes graphs of plain operators;
    # it tells that there is another.
    file = io.BytesIO()
    sizes = {0: "batch", 1: f"size of {given}"}
    exporter = logging.getLogger("torch.onnx")
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        level = exporter.level
        exporter.setLevel(logging.ERROR)
        try:
            torch.onnx.export(
                module,
                (example,),
                file,  # type: ignore[arg-type]  # this exporter writes into streams too
                input_names=[given],
                output_names=[result],
                dynamic_axes={given: sizes},
                opset_version=OPSET,
                dynamo=False,
            )
        finally:
            exporter.setLevel(level)
    model = onnx.load_from_string(file.getvalue())
    model.ir_version = IR_VERSION
    _without_copies(model)
    return widen_sequences(model)


def _without_copies(model: ModelProto) -> None:
    """Let nodes read weights that are equal from one place, and not by a node that copies them."""
    weights = {each.name for each in model.graph.initializer}
    outputs = {each.name for each in model.graph.output}
    source: dict[str, str] = {}
    kept = []
    for node in model.graph.node:
        node.input[:] = [source.get(name, name) for name in node.input]
        is_copy = node.op_type == "Identity" and node.input[0] in weights
        if is_copy and node.output[0] not in outputs:
            source[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(kept)
