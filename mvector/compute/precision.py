"""Arithmetic that half precision is too coarse for."""

from __future__ import annotations

import torch


def at_least_float32(x: torch.Tensor) -> torch.Tensor:
    """Half-precision tensors as float32: sums and angles need the digits; others unchanged."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
