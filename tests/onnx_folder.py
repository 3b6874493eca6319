"""A model folder with ``model.onnx`` beside its weights."""

from __future__ import annotations

from pathlib import Path

from mvector.export import export_onnx
from mvector.models.folder import load_model_folder
from mvector.models.onnx_file import ONNX_FILE


def with_onnx(folder: Path) -> Path:
    """Export its model into it."""
    export_onnx(load_model_folder(folder)[0], folder / ONNX_FILE)
    return folder
