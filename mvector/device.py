"""Where to compute."""

from __future__ import annotations

import torch

from mvector.errors import MVectorError


def choose_device(use_gpu: bool | None = None) -> torch.device:
    """A GPU if there is one, else the CPU.

    Args:
        use_gpu: ``True`` insists on a GPU, ``False`` on the CPU, ``None`` takes what there is.

    Raises:
        MVectorError: a GPU was asked for and there is none.
    """
    if use_gpu is None:
        use_gpu = torch.cuda.is_available()
    if use_gpu and not torch.cuda.is_available():
        raise MVectorError(
            "use_gpu is True, but PyTorch finds no CUDA GPU here; leave --use_gpu out to run on "
            "the CPU, or install a driver and a CUDA build of PyTorch."
        )
    return torch.device("cuda" if use_gpu else "cpu")
