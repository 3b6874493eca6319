"""What a GPU is asked to compute in; no GPU is needed to see it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from mvector.compute.device import allow_tf32, choose_autocast_dtype

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


@pytest.fixture
def precision_put_back() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.usefixtures("precision_put_back")
def test_tf32_is_off_unless_asked_for_and_a_matter_of_gpus() -> None:
    torch.set_float32_matmul_precision("medium")
    allow_tf32(torch.device("cpu"), True)
    assert torch.get_float32_matmul_precision() == "medium"
    allow_tf32(GPU, True)
    assert torch.get_float32_matmul_precision() == "high"
    allow_tf32(GPU, False)
    assert torch.get_float32_matmul_precision() == "highest"
