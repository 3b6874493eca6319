"""Models as ONNX files, which run without torch, in other languages and on other devices."""

from mvector.export.exporting import Exported, export_onnx

__all__ = ["Exported", "export_onnx"]
