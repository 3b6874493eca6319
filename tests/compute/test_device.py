"""What a GPU is asked to compute in; no GPU is needed to see it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from mvector.compute.device import choose_autocast_dtype

GPU = torch.device("cuda")


@pytest.fixture
def gpu_of(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch believes in a GPU of a compute capability, which emulates what it cannot do."""
    major = request.param

    def is_bf16_supported(including_emulation: bool = True) -> bool:
        return including_emulation or major >= 8

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_bf16_supported)


@pytest.mark.parametrize(
    ("gpu_of", "expected"),
    [(7, torch.float16), (8, torch.bfloat16), (9, torch.bfloat16)],  # V100 and T4, A100, H100
    indirect=["gpu_of"],
)
def test_bfloat16_is_for_gpus_that_compute_in_it(gpu_of: None, expected: torch.dtype) -> None:
    assert choose_autocast_dtype(GPU, enabled=True) == expected
    assert choose_autocast_dtype(GPU, enabled=True, choice="bfloat16") == torch.bfloat16
    assert choose_autocast_dtype(GPU, enabled=False) is None
    native = torch.bfloat16 if expected == torch.bfloat16 else None
    assert choose_autocast_dtype(GPU, enabled="auto") == native


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("avx512f avx512_bf16", torch.bfloat16),
        ("amx_bf16 amx_tile", torch.bfloat16),
        ("avx2", None),
    ],
)
def test_so_it_is_for_cpus(
    flags: str, expected: torch.dtype | None, cpu_with: Callable[[str], object]
) -> None:
    cpu_with(flags)
    cpu = torch.device("cpu")
    assert choose_autocast_dtype(cpu, enabled=True) == expected
    assert choose_autocast_dtype(cpu, enabled="auto") == expected
    assert choose_autocast_dtype(cpu, enabled=True, choice="bfloat16") == torch.bfloat16
