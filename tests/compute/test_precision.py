"""How exactly a GPU multiplies: torch's two switches; no GPU is needed to see them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from small_encoder import small_encoder

from mvector.compute.precision import exact_products, set_matmul_precision
from mvector.embedding.torch_inference import TorchInference

GPU, CPU = torch.device("cuda"), torch.device("cpu")
HIGH, HIGHEST = ("high", True), ("highest", False)


def found() -> tuple[str, bool]:
    """For products of matrices, and for convolutions."""
    return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    before = found()
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


def test_both_switches_are_set_and_only_where_it_is_a_matter_of_a_gpu() -> None:
    set_matmul_precision(GPU, "high")
    assert found() == HIGH
    set_matmul_precision(CPU, "highest")
    assert found() == HIGH
    set_matmul_precision(GPU, "highest")
    assert found() == HIGHEST


def test_exact_products_end_with_the_block() -> None:
    set_matmul_precision(GPU, "high")
    with exact_products(CPU):
        assert found() == HIGH
    with exact_products(GPU):
        assert found() == HIGHEST
    assert found() == HIGH


def test_embeddings_are_computed_exactly_in_the_midst_of_a_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_matmul_precision(GPU, "high")
    inference = TorchInference(small_encoder().model, CPU)
    seen = []
    monkeypatch.setattr(inference, "forward", lambda clips: seen.append(found()))
    inference.device = GPU
    with inference.evaluation_mode(), inference.evaluation_mode():  # two threads
        inference.begin([np.zeros(1, np.float32)])
    assert (seen, found()) == ([HIGHEST], HIGH)
