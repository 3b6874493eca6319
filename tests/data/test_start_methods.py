"""Workers that are forked (Linux) and spawned (Windows, macOS) make the same batches as none."""

from __future__ import annotations

import importlib.util
import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from mvector.config import AugmentConf, load_config
from mvector.data.loader import TrainingData

RATE = 16000


@pytest.fixture
def start_method(request: pytest.FixtureRequest) -> Iterator[str]:
    """How processes are started while a test runs."""
    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method(request.param, force=True)
    yield request.param
    multiprocessing.set_start_method(before, force=True)


@pytest.fixture
def augmented_config(small_config: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Few, short crops, changed by all that draws random numbers."""
    for kind in ("noise", "babble", "reverb"):
        (tmp_path / kind).mkdir()
        for number in range(2):
            samples = np.random.default_rng(number).normal(size=RATE) * 0.1
            soundfile.write(tmp_path / kind / f"{number}.wav", samples, RATE)
    folders: dict[str, dict[str, Any]] = {
        kind: {f"{kind}_dir": str(tmp_path / kind)} for kind in ("noise", "babble", "reverb")
    }
    folders["reverb"].update(simulate=True, num_rooms=2, max_rt60_s=0.2)
    others = ("copies", "speed", "spec_aug")
    names = [name for name in AugmentConf.model_fields if name not in others]
    folders["codec"] = {"low_pass": 1.0, "sample_rate": 1.0, "gsm": 0.5, "mp3": 0.5}
    if importlib.util.find_spec("av"):
        folders["codec"].update(aac=0.5, amr=0.5)
    small_config["augment_conf"] = {
        **{name: {"prob": 0.5, **folders.get(name, {})} for name in names},
        "speed": {"prob": 1.0},
        "spec_aug": {"prob": 0.5},
    }
    small_config["dataset_conf"].update(max_duration=0.6)
    small_config["dataset_conf"]["dataLoader"]["batch_size"] = 16
    return small_config


def batches(config: dict[str, Any], num_workers: int) -> list[tuple[torch.Tensor, ...]]:
    """Two epochs of them."""
    config["dataset_conf"]["dataLoader"]["num_workers"] = num_workers
    data = TrainingData(load_config(config))
    found = []
    for epoch in range(2):
        data.batches.set_position(epoch)
        for batch in data.loader:
            assert not batch.skipped
            found.append((batch.inputs.clone(), batch.labels.clone(), batch.mask_draws.clone()))
    return found


@pytest.mark.parametrize("start_method", ["fork", "spawn"], indirect=True)
def test_batches_do_not_depend_on_how_many_workers_there_are_or_how_they_start(
    start_method: str, augmented_config: dict[str, Any]
) -> None:
    if start_method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system cannot {start_method}")
    expected = batches(augmented_config, num_workers=0)
    assert len(expected) == 8
    for num_workers in (1, 2):
        for batch, alone in zip(batches(augmented_config, num_workers), expected, strict=True):
            for found, tensor in zip(batch, alone, strict=True):
                torch.testing.assert_close(found, tensor, rtol=0, atol=0)


@pytest.mark.skipif(
    "forkserver" not in multiprocessing.get_all_start_methods(), reason="there is no fork"
)
@pytest.mark.parametrize("start_method", ["forkserver"], indirect=True)
def test_workers_are_forks_of_the_training_process_where_a_server_would_fork_them(
    start_method: str, small_config: dict[str, Any]
) -> None:
    small_config["dataset_conf"]["dataLoader"]["num_workers"] = 2
    context = TrainingData(load_config(small_config)).loader.multiprocessing_context
    assert context.get_start_method() == "fork"
