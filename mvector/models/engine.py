"""Which engine runs a model: PyTorch, or onnxruntime, which does without it."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal, get_args

from mvector.compute.device import choose_device, may_have_gpu, requested_device
from mvector.errors import MissingDependencyError, MVectorError, needing_training_packages
from mvector.models.description import ModelInfo, read_description
from mvector.models.named import model_folder
from mvector.models.onnx_file import ONNX_FILE
from mvector.models.onnx_model import OnnxModel, load_onnx_model

if TYPE_CHECKING:
    import os

    import torch

    from mvector.models.speaker_model import SpeakerModel

logger = logging.getLogger(__name__)

#: ``auto`` is onnx on a CPU, where the model folder has a model.onnx, and else torch.
Engine = Literal["auto", "torch", "onnx"]


def device_for(engine: Engine, use_gpu: bool | None) -> Literal["cpu", "cuda"]:
    """Where an engine is to compute; torch is not imported where that is certainly the CPU.

    Raises:
        MVectorError: a GPU was asked for and there is none.
        MissingDependencyError: it was, and PyTorch is not installed.
    """
    wanted = requested_device(use_gpu)
    has_none = wanted is None and (find_spec("torch") is None or not may_have_gpu())
    if wanted == "cpu" or engine == "onnx" or has_none:
        return "cpu"
    return "cuda" if choose_device(use_gpu).type == "cuda" else "cpu"


def load_model(
    path: str | os.PathLike[str],
    engine: Engine = "auto",
    device: torch.device | str | None = None,
) -> tuple[SpeakerModel | OnnxModel, ModelInfo]:
    """The model that a folder holds, or ``box``, for the engine that is to run it.

    Args:
        path: model folder.
        engine: what is to run it. With ``auto``, a model.onnx that cannot be used is passed over
            with a warning, where torch is installed.
        device: where to compute; ``None`` is a GPU if there is one. Only torch computes on a GPU.

    Raises:
        CheckpointError: the folder is missing or damaged, or has no model.onnx and needs one.
        MissingDependencyError: the engine is not installed.
        MVectorError: there is no such engine, or it does not compute there.
    """
    if engine not in get_args(Engine):
        raise MVectorError(f"There is no engine {engine!r}: choose {', '.join(get_args(Engine))}.")
    folder = model_folder(path)
    wants_gpu = device is not None and str(device) != "cpu"
    if engine == "onnx":
        if wants_gpu:
            raise MVectorError("The engine onnx computes on the CPU: ask for no GPU beside it.")
        return load_onnx_model(folder)
    has_file, has_torch = (folder / ONNX_FILE).is_file(), find_spec("torch") is not None
    if engine == "auto" and has_file and not wants_gpu:
        if not has_torch:
            return load_onnx_model(folder)
        # torch, which takes seconds to import, is asked for a GPU only where there may be one
        if device is not None or not may_have_gpu() or choose_device().type == "cpu":
            try:
                return load_onnx_model(folder)
            except MVectorError as error:
                read_description(folder)  # which is no fault of the file's
                logger.warning("The engine torch is used: %s", error)
    if not (has_file or has_torch):
        read_description(folder)  # is it a model at all?
        raise MissingDependencyError(
            f"'{folder}' has no {ONNX_FILE}, and PyTorch is not installed: make the file where it "
            f"is (python tools/export_onnx.py --model_path '{folder}'), or pip install '.[train]' "
            "in the folder of mvector."
        )
    with needing_training_packages():
        import torch  # noqa: F401

        from mvector.models.folder import load_model_folder
    if wants_gpu:
        choose_device(True)  # raises where there is none
    return load_model_folder(folder)
