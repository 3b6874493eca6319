"""A run is one thing: it has an identity, a folder to itself, and curves that show all of it."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from filelock import FileLock
from small_settings import ROOT

from mvector import MVectorTrainer
from mvector.compute.distributed import World
from mvector.errors import CheckpointError, ConfigError
from mvector.models.description import read_model_info
from mvector.models.folder import load_model_folder
from mvector.training import run_folder
from mvector.training.checkpoint import load_checkpoint
from mvector.training.loggers import read_metrics
from mvector.training.run_folder import claim_run_folder

NAME = "EcapaTdnn_Fbank"
BATCHES = 8  # in an epoch of the small configuration


def train(config: dict, **options: Any) -> Path:
    """Train; returns the folder of the run."""
    return MVectorTrainer(config, use_gpu=False).train(**options).parent


def steps_of(run: Path) -> list[int]:
    return [point["step"] for point in read_metrics(run / "metrics.jsonl")]


def content(folder: Path) -> dict[str, str]:
    """Digest of every file, but for the lock."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.name != "run.lock"
    }


def cut_off_behind(run: Path, step: int) -> None:
    """Make of a run what a kill behind a step would have left."""
    for file in (run / "checkpoints").iterdir():
        if int(file.stem.removeprefix("step_")) > step:
            file.unlink()
    for name in ("best_model", "last_model"):
        shutil.rmtree(run / name)


@pytest.fixture
def config(small_config: dict) -> dict:
    """One epoch, with a checkpoint after each of its batches."""
    small_config["train_conf"].update(max_epoch=1, save_interval=1, keep_last=9, log_interval=2)
    return small_config


@pytest.fixture(scope="module")
def finished(lists: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two runs of one epoch each, which wrote into the same log folder."""
    from small_settings import SMALL_CONFIG

    config = json.loads(json.dumps(SMALL_CONFIG))
    for key in ("train_list", "enroll_list", "trials_list"):
        config["dataset_conf"][key] = str(lists / config["dataset_conf"][key])
    config["train_conf"].update(max_epoch=1, save_interval=1, keep_last=9, log_interval=2)
    folder = tmp_path_factory.mktemp("finished")
    (folder / "log").mkdir()
    (folder / "log" / "metrics.jsonl").write_text('{"step": 1}\n')  # as earlier versions left it
    return {
        name: train(config, save_model_path=folder / name, log_dir=folder / "log")
        for name in ("a", "b")
    }


@pytest.fixture
def runs(
    finished: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Path]:
    """Copies: ``a`` where a run goes by default, ``b`` elsewhere; the working folder is above."""
    monkeypatch.chdir(tmp_path)
    places = {"a": Path("models") / NAME, "b": Path("elsewhere") / NAME}
    for name, place in places.items():
        shutil.copytree(finished[name], place)
        record = place / "environment.json"
        record.write_text(json.dumps([{**json.loads(record.read_text())[0], "log_dir": "logs"}]))
    return places


# ---- identity -------------------------------------------------------------------------------


def test_a_run_has_an_identity_in_its_checkpoints_models_and_record(
    finished: dict[str, Path],
) -> None:
    ids = []
    for run in finished.values():
        run_id = load_checkpoint(run)["run_id"]
        assert re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{6}", run_id)
        for name in ("best_model", "last_model"):
            assert read_model_info(run / name).provenance["run_id"] == run_id
        (entry,) = json.loads((run / "environment.json").read_text())
        assert entry["run_id"] == run_id
        ids.append(run_id)
    assert len(set(ids)) == 2


def test_checkpoints_of_earlier_versions_go_on_and_get_an_identity(
    config: dict, runs: dict[str, Path]
) -> None:
    cut_off_behind(runs["b"], 6)
    for file in (runs["b"] / "checkpoints").iterdir():
        state = torch.load(file, weights_only=True)
        del state["run_id"]
        torch.save(state, file)
    train(config, resume_model=runs["b"])
    state = load_checkpoint(runs["b"])
    assert state["step"] == BATCHES
    assert read_model_info(runs["b"] / "best_model").provenance["run_id"] == state["run_id"]


def test_checkpoints_of_another_run_are_never_taken_for_newer_nor_removed(
    config: dict, runs: dict[str, Path]
) -> None:
    (checkpoints, other) = (runs[name] / "checkpoints" for name in ("b", "a"))
    shutil.copy(other / "step_000000008.pt", checkpoints / "step_000000999.pt")
    before = content(runs["b"])
    config["train_conf"]["keep_last"] = 1
    with pytest.raises(CheckpointError, match=r"holds checkpoints of 2 runs .*step_000000999\.pt"):
        train(config, resume_model=runs["b"])
    assert content(runs["b"]) == before


# ---- the folder -----------------------------------------------------------------------------


def test_a_resumed_run_goes_on_in_its_own_folder(config: dict, runs: dict[str, Path]) -> None:
    cut_off_behind(runs["b"], 5)
    run_id, other = load_checkpoint(runs["b"])["run_id"], content(runs["a"])
    config["train_conf"]["max_epoch"] = 2
    assert train(config, resume_model=runs["b"]) == runs["b"]
    state = load_checkpoint(runs["b"])
    assert (state["step"], state["run_id"]) == (2 * BATCHES, run_id)
    assert content(runs["a"]) == other
    assert [path.name for path in Path("models").iterdir()] == [NAME]
    _, entry = json.loads((runs["b"] / "environment.json").read_text())
    assert entry["resumed_at_step"] == 5
    assert entry["log_dir"] == "logs"  # as it began
    assert not Path("log").exists()


def test_a_run_that_goes_on_in_another_folder_is_a_run_of_its_own_there(
    config: dict, runs: dict[str, Path]
) -> None:
    cut_off_behind(runs["b"], 4)
    before, run_id = content(runs["b"]), load_checkpoint(runs["b"])["run_id"]
    run = train(config, resume_model=runs["b"], save_model_path="third", log_dir="log")
    assert run == Path("third") / NAME
    state = load_checkpoint(run)
    assert state["step"] == BATCHES
    assert state["run_id"] != run_id
    assert steps_of(run) == [2, 4, 6, 8, 8]
    (entry,) = json.loads((run / "environment.json").read_text())
    assert entry["resumed_from"] == {"folder": str(runs["b"]), "run_id": run_id}
    assert content(runs["b"]) == before


def claim(save_model_path: Any = None, resume_model: Any = None) -> tuple[Path, Path | None]:
    with ExitStack() as held:
        return claim_run_folder(held, World(), NAME, save_model_path, resume_model)


def test_the_folder_of_a_run(runs: dict[str, Path]) -> None:
    checkpoint = runs["b"] / "checkpoints" / "step_000000008.pt"
    for given in (runs["b"], runs["b"] / "best_model", runs["b"] / "checkpoints", checkpoint):
        assert claim(resume_model=given) == (runs["b"], given)
        assert claim("elsewhere", given)[0] == runs["b"]
        assert claim("third", given) == (Path("third") / NAME, given)
    assert claim(resume_model="auto") == (runs["a"], runs["a"])
    assert claim("third", "auto") == (Path("third") / NAME, None)
    shutil.copy(checkpoint, "lonely.pt")
    assert claim("third", "lonely.pt") == (Path("third") / NAME, Path("lonely.pt"))
    with pytest.raises(CheckpointError, match="holds an earlier run"):
        claim(None, "lonely.pt")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, r"'models/\w+' holds an earlier run: continue it with --resume_model 'models/"),
        ({"save_model_path": "elsewhere"}, r"'elsewhere/\w+' holds an earlier run"),
        (
            {"save_model_path": "models", "resume_model": f"elsewhere/{NAME}"},
            r"'models/\w+' holds an earlier run: continue it",
        ),
    ],
)
def test_a_folder_that_holds_a_run_is_left_alone(
    config: dict, runs: dict[str, Path], options: dict, words: str
) -> None:
    before = content(Path("."))
    with pytest.raises(CheckpointError, match=words):
        train(config, **options)
    assert content(Path(".")) == before


def test_models_without_checkpoints_are_a_run_too(runs: dict[str, Path]) -> None:
    shutil.rmtree(runs["a"] / "checkpoints")
    for resume_model in (None, "auto", runs["b"]):
        with pytest.raises(CheckpointError, match="holds an earlier run: remove the folder"):
            claim("models", resume_model)


def test_what_a_run_left_that_died_before_its_first_checkpoint_is_no_run(
    runs: dict[str, Path],
) -> None:
    shutil.rmtree(runs["a"] / "checkpoints")
    for name in ("best_model", "last_model"):
        shutil.rmtree(runs["a"] / name)
    assert (runs["a"] / "metrics.jsonl").exists()
    assert claim() == (runs["a"], None)


def test_a_model_folder_whose_replacement_was_cut_off_is_put_back(runs: dict[str, Path]) -> None:
    os.rename(runs["a"] / "best_model", runs["a"] / "best_model.old")
    claim(resume_model=runs["a"])
    assert load_model_folder(runs["a"] / "best_model")


def test_an_earlier_checkpoint_goes_on_in_another_folder_alone(runs: dict[str, Path]) -> None:
    earlier = runs["b"] / "checkpoints" / "step_000000003.pt"
    with pytest.raises(CheckpointError, match=r"not the newest .*step_000000008\.pt': name an"):
        claim(resume_model=earlier)
    assert claim("third", earlier) == (Path("third") / NAME, earlier)


def test_weights_of_two_models_are_not_begun_with(config: dict, runs: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match="either --resume_model or --pretrained_model"):
        train(config, resume_model=runs["b"], pretrained_model=runs["a"] / "best_model")


def test_auto_begins_with_a_pretrained_model_and_goes_on_without_it(
    config: dict, runs: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    options = {
        "save_model_path": "third",
        "resume_model": "auto",
        "pretrained_model": runs["a"] / "best_model",
        "do_eval": False,
    }
    logger = logging.getLogger("mvector")
    logger.addHandler(caplog.handler)
    caplog.set_level(logging.INFO, "mvector")
    for begun in (True, False):
        caplog.clear()
        train(config, **options)
        assert ("Backbone weights taken" in caplog.text) is begun
        assert ("Resumed from" in caplog.text) is not begun
        config["train_conf"]["max_epoch"] += 1
    logger.removeHandler(caplog.handler)


# ---- the lock -------------------------------------------------------------------------------


def test_a_folder_is_refused_before_anything_is_built(
    config: dict, runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def building(*_: object) -> None:
        raise AssertionError("a network, or a list read")

    monkeypatch.setattr("mvector.training.trainer.build_learner", building)
    with pytest.raises(CheckpointError, match="holds an earlier run"):
        train(config)
    with pytest.raises(CheckpointError, match="There is no checkpoint in 'nowhere'"):
        train(config, resume_model="nowhere")
    with (
        FileLock(runs["b"] / "run.lock"),
        pytest.raises(CheckpointError, match="Another process is training in"),
    ):
        train(config, resume_model=runs["b"])


def test_a_folder_in_use_is_refused(config: dict, runs: dict[str, Path]) -> None:
    before = content(Path("."))
    with (
        FileLock(runs["b"] / "run.lock"),
        pytest.raises(CheckpointError, match=r"Another process is training in 'elsewhere/"),
    ):
        train(config, resume_model=runs["b"])
    assert content(Path(".")) == before


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EACCES])
def test_a_disk_without_locks_is_warned_of_and_a_lock_of_somebody_else_kept(
    runs: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    number: int,
) -> None:
    def failing(*args: Any, **options: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(run_folder, "FileLock", failing)
    if number == errno.EACCES:
        with pytest.raises(CheckpointError, match=r"Cannot write models to .*Permission denied"):
            claim(resume_model=runs["b"])
    else:
        assert claim(resume_model=runs["b"]) == (runs["b"], runs["b"])
        assert "cannot be locked against a second training" in caplog.text


def start(config: dict, folder: Path, log: str, *options: str) -> subprocess.Popen:
    """``train.py`` into ``<folder>/m``, with what it says in the file ``log``."""
    (folder / "config.yml").write_text(yaml.safe_dump(config))
    words = [sys.executable, str(ROOT / "train.py"), "--configs", "config.yml"]
    words += ["--save_model_path", "m", "--use_gpu", "False", "--do_eval", "False", *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with open(folder / log, "wb") as out:
        return subprocess.Popen(words, cwd=folder, env=environment, stdout=out, stderr=out)


def wait_for_checkpoint_behind(run: Path, step: int, process: subprocess.Popen) -> None:
    """Until the run is further than a step; it must not end meanwhile."""
    while not any(int(f.stem[5:]) > step for f in (run / "checkpoints").glob("step_*.pt")):
        assert process.poll() is None
        time.sleep(0.02)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_second_process_is_refused_and_the_first_one_goes_on(
    config: dict, tmp_path: Path
) -> None:
    config["train_conf"].update(max_epoch=100_000, keep_last=2)
    config["dataset_conf"]["dataLoader"]["num_workers"] = 1  # which must not inherit the lock
    run = tmp_path / "m" / NAME
    first = start(config, tmp_path, "first.txt")
    try:
        wait_for_checkpoint_behind(run, 0, first)
        second = start(config, tmp_path, "second.txt", "--resume_model", "auto")
        assert second.wait() == 2
        said = (tmp_path / "second.txt").read_text()
        assert said.splitlines()[-1].startswith("train.py: error: Another process is training in")
        assert "Traceback" not in said
        newest = max(int(file.stem[5:]) for file in (run / "checkpoints").glob("step_*.pt"))
        wait_for_checkpoint_behind(run, max(newest, BATCHES), first)
    finally:
        first.kill()
        first.wait()
    for name in ("best_model", "last_model"):
        assert load_model_folder(run / name)
    state = load_checkpoint(run)
    config["train_conf"]["max_epoch"] = state["epoch"] + 1
    train(config, resume_model=run, log_dir=tmp_path / "log")  # the killed one has left no lock
    assert load_checkpoint(run)["run_id"] == state["run_id"]


# ---- weights and curves ---------------------------------------------------------------------


@pytest.mark.parametrize("before", [None, 0.5])
def test_an_average_of_weights_that_begins_at_a_resume_begins_with_trained_weights(
    config: dict, tmp_path: Path, before: float | None
) -> None:
    """One batch is left of the epoch: with untrained weights a tenth of the model were such."""
    config["train_conf"]["ema_decay"] = before
    options = {"save_model_path": tmp_path / "m", "log_dir": tmp_path / "log", "do_eval": False}
    run = train(config, **options)
    cut_off_behind(run, BATCHES - 1)
    weights = load_checkpoint(run)["network"]["backbone.embedding.weight"]
    config["train_conf"]["ema_decay"] = 0.9
    config["optimizer_conf"]["learning_rate"] = 1e-30
    train(config, resume_model=run, **options)
    found = load_model_folder(run / "best_model")[0].backbone.state_dict()["embedding.weight"]
    torch.testing.assert_close(found, weights, rtol=1e-6, atol=1e-7)


def test_a_second_run_leaves_the_curves_of_the_first(finished: dict[str, Path]) -> None:
    log = finished["a"].parents[1] / "log"
    assert (log / "metrics.jsonl").read_text() == '{"step": 1}\n'
    for run in finished.values():
        assert steps_of(run) == [2, 4, 6, 8, 8]
        assert (run / "curves.png").exists()
    folders = {path.name for path in log.iterdir() if path.is_dir()}
    pytest.importorskip("visualdl")
    assert folders == {f"{NAME}-{load_checkpoint(run)['run_id']}" for run in finished.values()}


def test_curves_of_a_resumed_run_show_the_whole_run(config: dict, runs: dict[str, Path]) -> None:
    points = read_metrics(runs["b"] / "metrics.jsonl")
    cut_off_behind(runs["b"], 4)
    train(config, resume_model=runs["b"], log_dir="log")
    resumed = read_metrics(runs["b"] / "metrics.jsonl")
    assert resumed[:2] == points[:2]
    assert [point["step"] for point in resumed] == [point["step"] for point in points]
    assert resumed[-1]["eval/eer"] == points[-1]["eval/eer"]
    reader = pytest.importorskip("visualdl.reader.reader")
    (file,) = (Path("log") / f"{NAME}-{load_checkpoint(runs['b'])['run_id']}").iterdir()
    shown = reader.LogReader(file_path=str(file)).get_data("scalar", "train/loss")
    assert [point.id for point in shown] == [2, 4, 6, 8]
