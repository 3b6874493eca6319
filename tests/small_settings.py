"""Where the project lies, and a configuration small enough to train in seconds."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

SMALL_CONFIG: dict[str, Any] = {
    "use_model": "EcapaTdnn",
    "dataset_conf": {
        "train_list": "train_list.txt",
        "enroll_list": "enroll_list.txt",
        "trials_list": "trials_list.txt",
        "max_duration": 1.0,
        "dataLoader": {"batch_size": 8, "num_workers": 0},
    },
    "preprocess_conf": {"feature_method": "Fbank", "method_args": {"num_mel_bins": 40}},
    "model_conf": {"backbone": {"embd_dim": 32, "channels": 32}},
    "loss_conf": {"use_loss": "AAMLoss", "args": {"margin": 0.1}},
    "optimizer_conf": {"learning_rate": 0.003, "scheduler": None},
    "train_conf": {"max_epoch": 2, "log_interval": 4},
}


def changed_config(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The small configuration with dotted keys changed."""
    config = copy.deepcopy(SMALL_CONFIG)
    for dotted, value in changes.items():
        *parents, key = dotted.split(".")
        node = config
        for parent in parents:
            node = node.setdefault(parent, {})
        node[key] = value
    return config


# One small variant of each backbone, for tests that go through all of them.
SMALL_BACKBONES: dict[str, dict[str, Any]] = {
    "EcapaTdnn": {"channels": 16, "res2net_scale": 4},
    "TDNN": {"channels": 16},
    "Res2Net": {"channels": 8, "num_blocks": [2, 1, 1, 1]},
    "Res2Net34": {"channels": 8, "num_blocks": [1, 2, 1, 1], "scale": 3},
    "ResNetSE": {"channels": 4, "num_blocks": [1, 2, 1, 1]},
    "ResNet": {"channels": 4, "depth": 18},
    "PreActResNet": {"channels": [4, 4, 8, 8], "num_blocks": [1, 2, 1, 1]},
    "DFResNet": {"channels": 4, "num_blocks": [1, 2, 1, 1]},
    "SimAMResNet": {"channels": 4},
    "ERes2Net": {"channels": 8, "num_blocks": [1, 1, 2, 1], "scale": 3},
    "ERes2NetV2": {"channels": 8, "num_blocks": [1, 2, 1, 1], "two_embedding_layers": True},
    "ReDimNet": {
        "channels": 4,
        "block": "basic_resnet_fwse",
        "group_divisor": 2,
        "stages": [[1, 1, 2, None], [2, 1, 1, 8]],
    },
    "ReDimNet2": {
        "channels": 4,
        "stages": [[1, 2, 1, 2, 8], [2, 2, 1, 0.5, None]],
        "out_channels": 6,
        "group_norm": True,
    },
    "TitaNet": {"channels": 8, "out_channels": 16, "num_repeats": 2, "se_reduction": 2},
    "CAMPPlus": {"head_channels": 4, "init_channels": 16, "growth_rate": 4},
}


@contextmanager
def no_pictures() -> Iterator[None]:
    """A run within draws no curves, which takes as long as a small training does."""
    import pytest  # benchmarks read the settings without it

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "matplotlib.figure", None)
        yield
