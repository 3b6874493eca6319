"""Where to compute."""

from __future__ import annotations

import ctypes
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mvector.errors import MVectorError, needing_training_packages

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

_CPU_INFO = Path("/proc/cpuinfo")


def choose_device(use_gpu: bool | None = None) -> torch.device:
    """A GPU if there is one, else the CPU.

    Args:
        use_gpu: ``True`` insists on a GPU, ``False`` on the CPU, ``None`` takes what there is.

    Raises:
        MVectorError: it is none of these, or a GPU was asked for and there is none.
    """
    requested_device(use_gpu)
    with needing_training_packages():
        import torch
    if use_gpu is None:
        use_gpu = torch.cuda.is_available()
    if use_gpu and not torch.cuda.is_available():
        raise MVectorError(
            "use_gpu is True, but PyTorch finds no CUDA GPU here; leave --use_gpu out to run on "
            "the CPU, or install a driver and a CUDA build of PyTorch.",
            code="gpu-not-found",
        )
    return torch.device("cuda" if use_gpu else "cpu")


def requested_device(use_gpu: bool | None) -> Literal["cpu", "cuda"] | None:
    """The device that is asked for, without a look at whether it is there.

    Raises:
        MVectorError: it is neither ``True`` nor ``False`` nor ``None``.
    """
    if not isinstance(use_gpu, (bool, int, type(None))):
        raise MVectorError(f"use_gpu is {use_gpu!r}; give True, False or None.")
    if use_gpu is None:
        return None
    return "cuda" if use_gpu else "cpu"


def may_have_gpu() -> bool:
    """Whether a driver of GPUs is here that PyTorch may use; asked of the system, and not of torch.

    ``False`` is certain: a program that gets it need not import torch to find out.
    """
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    names = ("nvcuda.dll",) if sys.platform == "win32" else ("libcuda.so.1", "libamdhip64.so")
    for name in names:
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False


def choose_autocast_dtype(
    device: torch.device,
    enabled: bool | Literal["auto"],
    choice: Literal["auto", "bfloat16", "float16"] = "auto",
) -> torch.dtype | None:
    """The half precision to train in, if any.

    Args:
        device: where training runs.
        enabled: whether half precision is wanted at all; ``auto``: bfloat16 where the hardware
            computes in it, and else float32.
        choice: ``auto`` takes bfloat16 where the hardware computes in it; a GPU that does not gets
            float16, and a CPU that does not stays at float32, as bfloat16 would slow it down.

    Raises:
        MVectorError: float16 was asked for on a CPU.
    """
    import torch

    if not enabled:
        return None
    if choice == "float16" and device.type == "cpu":
        raise MVectorError(
            "train_conf.amp_dtype float16 is for GPUs; set it to auto or bfloat16 on a CPU."
        )
    if choice == "float16":
        return torch.float16
    is_native = computes_bfloat16(device)
    if choice == "bfloat16" and not is_native:
        logger.warning("train_conf.amp_dtype bfloat16 is emulated here, and slow.")
    if is_native or choice == "bfloat16":
        return torch.bfloat16
    if enabled != "auto" and device.type == "cuda":
        return torch.float16
    logger.info("There is no bfloat16 arithmetic here: training stays in float32.")
    return None


def computes_bfloat16(device: torch.device) -> bool:
    """Whether the hardware has instructions for bfloat16, as far as it can be told.

    GPUs since Ampere do; older ones (V100, T4) emulate it, at a fraction of the speed of their
    float16. CPUs with AVX-512 BF16 or AMX do.
    """
    import torch

    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    flags = _cpu_flags()
    return device.type == "cpu" and ("avx512_bf16" in flags or "amx_bf16" in flags)


def cpu_multiplies_int8() -> bool:
    """Whether the CPU has instructions for products of int8 (VNNI, AMX, or those of ARM).

    ``True`` where the system does not tell.
    """
    flags = _cpu_flags()
    return not flags or any(name in flags for name in ("vnni", "amx_int8", "asimddp", "i8mm"))


def cpu_has_avx512() -> bool:
    """Whether the CPU computes with vectors of 512 bits, as far as the system tells."""
    return "avx512f" in _cpu_flags()


def _cpu_flags() -> str:
    """What Linux tells of the CPU; empty where the system does not tell."""
    try:
        return _CPU_INFO.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
