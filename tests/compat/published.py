"""Published checkpoints, computed from their keys: what ``tests/models`` has, for these tests."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "models"))

from published_models import PUBLISHED, source_of  # noqa: E402
from reference_weights import (  # noqa: E402
    GOLDEN,
    features,
    golden_weights,
    load_golden,
    read_keys,
    state_dict,
    waveform,
)

__all__ = [
    "GOLDEN",
    "NAMES",
    "PUBLISHED",
    "ROOT",
    "features",
    "golden_weights",
    "load_golden",
    "read_keys",
    "shapes_of",
    "source_of",
    "state_dict",
    "waveform",
]

NAMES = sorted({path.name.split(".json")[0] for path in GOLDEN.glob("*.json*")})


def shapes_of(name: str) -> dict[str, torch.Tensor]:
    """The published entries, without memory behind them."""
    return {
        key: torch.empty(
            shape,
            dtype=torch.int64 if key.endswith("num_batches_tracked") else torch.float32,
            device="meta",
        )
        for key, shape in read_keys(GOLDEN / f"{name}.txt").items()
    }
