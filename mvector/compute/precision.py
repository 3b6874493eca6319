"""How exactly is multiplied, and arithmetic that half precision is too coarse for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

#: ``highest``: all 24 bits of float32. ``high``: a GPU may use TF32, which has 11 of them.
MatmulPrecision = Literal["highest", "high"]


def at_least_float32(x: torch.Tensor) -> torch.Tensor:
    """Half-precision tensors as float32: sums and angles need the digits; others unchanged."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def set_matmul_precision(device: torch.device, precision: MatmulPrecision) -> None:
    """Say how exactly a GPU multiplies float32, in this process, from now on.

    It holds for products of matrices (linear layers, and all convolutions over one frame) and for
    the other convolutions, which are cuDNN's and which torch lets use TF32 if nobody objects.
    """
    if device.type == "cuda":
        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.allow_tf32 = precision == "high"


@contextmanager
def exact_products(device: torch.device) -> Iterator[None]:
    """Within the block, a GPU multiplies float32 with all its digits; then as before."""
    if device.type != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    set_matmul_precision(device, "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]
