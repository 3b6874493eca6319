"""Where to compute."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

import torch

from mvector.errors import MVectorError

logger = logging.getLogger(__name__)

_CPU_INFO = Path("/proc/cpuinfo")


def choose_device(use_gpu: bool | None = None) -> torch.device:
    """A GPU if there is one, else the CPU.

    Args:
        use_gpu: ``True`` insists on a GPU, ``False`` on the CPU, ``None`` takes what there is.

    Raises:
        MVectorError: it is none of these, or a GPU was asked for and there is none.
    """
    if not isinstance(use_gpu, (bool, int, type(None))):
        raise MVectorError(f"use_gpu is {use_gpu!r}; give True, False or None.")
    if use_gpu is None:
        use_gpu = torch.cuda.is_available()
    if use_gpu and not torch.cuda.is_available():
        raise MVectorError(
            "use_gpu is True, but PyTorch finds no CUDA GPU here; leave --use_gpu out to run on "
            "the CPU, or install a driver and a CUDA build of PyTorch.",
            code="gpu-not-found",
        )
    return torch.device("cuda" if use_gpu else "cpu")


def choose_autocast_dtype(
    device: torch.device, enabled: bool, choice: Literal["auto", "bfloat16", "float16"] = "auto"
) -> torch.dtype | None:
    """The half precision to train in, if any.

    Args:
        device: where training runs.
        enabled: whether half precision is wanted at all.
        choice: ``auto`` takes bfloat16 where the hardware computes in it; a GPU that does not gets
            float16, and a CPU that does not stays at float32, as bfloat16 would slow it down.

    Raises:
        MVectorError: float16 was asked for on a CPU.
    """
    if not enabled:
        return None
    if choice == "float16" and device.type == "cpu":
        raise MVectorError(
            "train_conf.amp_dtype float16 is for GPUs; set it to auto or bfloat16 on a CPU."
        )
    if choice != "auto":
        return torch.bfloat16 if choice == "bfloat16" else torch.float16
    if device.type == "cuda":
        # older GPUs (V100, T4) emulate it, at a fraction of the speed of their float16
        computes = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if computes else torch.float16
    if _cpu_computes_bfloat16():
        return torch.bfloat16
    logger.info("This CPU has no bfloat16 arithmetic: training stays in float32.")
    return None


def allow_tf32(device: torch.device, allowed: bool) -> None:
    """Let a GPU multiply float32 matrices with 10 bits of fraction, or keep it from that.

    It holds for the whole process, and for products of matrices: the linear layers, and all
    convolutions over one frame. (Other convolutions are cuDNN's, which torch lets do so anyway.)
    """
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high" if allowed else "highest")


def _cpu_computes_bfloat16() -> bool:
    """Whether the CPU has AVX-512 BF16 or AMX instructions, as far as the system tells."""
    try:
        flags = _CPU_INFO.read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
