"""What many tests share: a few synthetic voices on disk, a small configuration, a trained model."""

from __future__ import annotations

import copy
import logging
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from small_settings import SMALL_CONFIG, no_pictures

os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the processes that tests and pytest-xdist start
torch.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--start_method",
        choices=multiprocessing.get_all_start_methods(),
        help="how tests start workers, in place of the system's way; Windows and macOS spawn them",
    )


def pytest_configure(config: pytest.Config) -> None:
    if method := config.getoption("--start_method"):
        multiprocessing.set_start_method(method, force=True)


@pytest.fixture(autouse=True)
def untouched_logging() -> Iterator[None]:
    """A command sets up logging for its process; the next test finds it as before.

    Whatever a fixture of the module has run, ``caplog`` gets what is logged.
    """
    logger = logging.getLogger("mvector")
    before = logger.handlers[:], logger.level, logger.propagate
    logger.propagate = True
    yield
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


@pytest.fixture(autouse=True)
def no_data_of_the_user(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """What commands keep in the user's data folder goes into a new one for each test."""
    folder = tmp_path_factory.getbasetemp() / "data_of_the_user"
    shutil.rmtree(folder, ignore_errors=True)
    monkeypatch.setenv("MVECTOR_HOME", str(folder))
    return folder


@pytest.fixture
def cpu_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], object]:
    """Called with names of instructions, makes the system say that the CPU has these."""
    file = tmp_path / "cpuinfo"
    monkeypatch.setattr("mvector.compute.device._CPU_INFO", file)
    return lambda flags: file.write_text(f"flags : {flags}", encoding="ascii")


@pytest.fixture(scope="session")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight synthetic speakers with ten clips each: ``<folder>/speaker_000/clip_00.wav`` …"""
    from mvector.demo.corpus import write_corpus

    folder = tmp_path_factory.mktemp("voices")
    shape = {"num_speakers": 8, "clips_per_speaker": 10, "duration_s": (1.2, 1.8)}
    write_corpus(folder, **shape, progress=False)
    return folder


@pytest.fixture(scope="session")
def lists(voices: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with train, enrolment and trials lists over the voices (absolute paths)."""
    from mvector.data import write_list

    folder = tmp_path_factory.mktemp("lists")
    speakers = sorted(path for path in voices.iterdir() if path.is_dir())
    clips = [(sorted(speaker.glob("*.wav")), label) for label, speaker in enumerate(speakers)]
    write_list(folder / "train_list.txt", [(str(c), k) for cs, k in clips for c in cs[:8]])
    write_list(folder / "enroll_list.txt", [(str(cs[8]), k) for cs, k in clips])
    write_list(folder / "trials_list.txt", [(str(cs[9]), k) for cs, k in clips])
    return folder


@pytest.fixture
def small_config(lists: Path) -> dict[str, Any]:
    """A configuration that trains in seconds; change it freely."""
    config = copy.deepcopy(SMALL_CONFIG)
    for key in ("train_list", "enroll_list", "trials_list"):
        config["dataset_conf"][key] = str(lists / config["dataset_conf"][key])
    return config


@pytest.fixture(scope="session")
def trained_model(lists: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model folder of a run that has learned the eight voices, with calibration."""
    from mvector import MVectorTrainer

    config = copy.deepcopy(SMALL_CONFIG)
    for key in ("train_list", "enroll_list", "trials_list"):
        config["dataset_conf"][key] = str(lists / config["dataset_conf"][key])
    config["train_conf"]["max_epoch"] = 12
    folder = tmp_path_factory.mktemp("trained")
    with no_pictures():
        return MVectorTrainer(config, use_gpu=False).train(folder / "models", folder / "log")


@pytest.fixture(scope="session")
def trained_onnx_model(trained_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained model, with a ``model.onnx`` beside its weights."""
    from onnx_folder import with_onnx

    return with_onnx(shutil.copytree(trained_model, tmp_path_factory.mktemp("onnx") / "model"))
