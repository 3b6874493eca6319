"""Embeddings in bfloat16: nearly the same, told apart, and only where the hardware has it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from error_codes import raises_code
from small_model import speech

from mvector.embedding import SpeakerEncoder
from mvector.errors import MVectorError


def test_embeddings_are_nearly_the_same_and_have_a_fingerprint_of_their_own(
    trained_model: Path, cpu_with: Callable[[str], object]
) -> None:
    cpu_with("avx512_bf16")
    exact = SpeakerEncoder.from_folder(trained_model, "cpu", engine="torch")
    half = SpeakerEncoder.from_folder(trained_model, "cpu", precision="bfloat16")
    for voice in range(3):
        one, other = (encoder.embed(speech(voice)) for encoder in (exact, half))
        assert other.dtype == np.float32
        assert not np.array_equal(one, other)
        assert one @ other >= 0.999 * np.linalg.norm(one) * np.linalg.norm(other)
    assert half.fingerprint == exact.fingerprint + "-bf16"


def test_hardware_without_it_is_refused(
    trained_model: Path, cpu_with: Callable[[str], object]
) -> None:
    cpu_with("avx2")
    with raises_code("half-precision-not-found"):
        SpeakerEncoder.from_folder(trained_model, "cpu", precision="bfloat16")


def test_onnxruntime_has_none(trained_onnx_model: Path) -> None:
    with pytest.raises(MVectorError, match="choose the engine torch"):
        SpeakerEncoder.from_folder(trained_onnx_model, engine="onnx", precision="bfloat16")
