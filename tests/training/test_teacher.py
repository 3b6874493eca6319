"""A student that is to find the training clips as alike as another model does."""

from __future__ import annotations

import json
import logging
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from error_codes import raises_code
from small_settings import no_pictures
from spawned_ranks import needs_gloo, run_ranks

from mvector import MVectorTrainer, load_config
from mvector.compute.distributed import World
from mvector.data import read_list, write_list
from mvector.data.dataset import TrainingBatch
from mvector.data.lists import ClipList
from mvector.data.loader import TrainingData
from mvector.embedding.encoder import SpeakerEncoder
from mvector.embedding.files import write_embeddings
from mvector.errors import ConfigError, DataError
from mvector.models.folder import load_model_folder
from mvector.models.speaker_model import SpeakerModel
from mvector.training.checkpoint import load_checkpoint
from mvector.training.learner import Learner
from mvector.training.stopping import TrainingStopped
from mvector.training.teacher import read_teacher

CPU = torch.device("cpu")


def drawn_teacher(labels: np.ndarray) -> np.ndarray:
    """It finds two speakers each alike, which no label says; all clips share one direction."""
    rng = np.random.default_rng(0)
    pairs, speakers, noise = (rng.normal(size=(64, 24)) for _ in range(3))
    embeddings = pairs[labels // 2] + 0.5 * speakers[labels] + 0.1 * noise[np.arange(len(labels))]
    return (5.0 + embeddings).astype(np.float32)


@pytest.fixture
def taught(small_config: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """The small configuration with a teacher, without evaluation."""
    clips = read_list(small_config["dataset_conf"]["train_list"])
    small_config["loss_conf"]["teacher"] = str(tmp_path / "teacher.npz")
    shuffled = np.random.default_rng(1).permutation(len(clips))
    paths = [clips.paths[row] for row in shuffled]
    write_embeddings(tmp_path / "teacher.npz", paths, drawn_teacher(clips.labels)[shuffled])
    small_config["dataset_conf"]["trials_list"] = None
    return small_config


def train(config: dict[str, Any], folder: Path, **options: Any) -> Path:
    with no_pictures():
        trainer = MVectorTrainer(config, use_gpu=False)
        return trainer.train(folder / "m", folder / "log", **options).parent


def points(run: Path, name: str) -> list[float]:
    records = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [record[name] for record in records if name in record]


# ---- what is learned ------------------------------------------------------------------------


def likeness(model: SpeakerModel, clips: ClipList) -> float:
    """Correlation of a model's cosines and the teacher's, over all pairs of clips."""
    ours = SpeakerEncoder(model, device=CPU).embed_batch(clips.paths)
    theirs = drawn_teacher(clips.labels)
    theirs = theirs / np.linalg.norm(theirs, axis=1, keepdims=True)
    theirs -= theirs.mean(axis=0)
    cosines = []
    for rows in (ours, theirs):
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        cosines.append((rows @ rows.T)[np.triu_indices(len(rows), k=1)])
    return float(np.corrcoef(*cosines)[0, 1])


def test_a_student_of_the_teacher_alone_comes_to_keep_its_similarities(
    taught: dict[str, Any], tmp_path: Path
) -> None:
    taught["loss_conf"]["label_weight"] = 0
    taught["train_conf"]["max_epoch"] = 16
    taught["dataset_conf"]["dataLoader"]["batch_size"] = 32
    clips = read_list(taught["dataset_conf"]["train_list"])
    torch.manual_seed(0)
    before = likeness(SpeakerModel.from_config(load_config(taught)), clips)
    run = train(taught, tmp_path)
    after = likeness(load_model_folder(run / "last_model")[0], clips)
    assert before < 0.3
    assert after > 0.7
    losses = points(run, "train/teacher_loss")
    assert losses[-1] < 0.5 * losses[0]
    assert points(run, "train/loss") == pytest.approx(losses)


def test_a_student_can_be_held_to_the_very_space_of_the_teacher(
    taught: dict[str, Any], tmp_path: Path
) -> None:
    clips = read_list(taught["dataset_conf"]["train_list"])
    taught["loss_conf"] |= {"teacher_loss": "embedding", "label_weight": 0}
    taught["model_conf"]["backbone"]["embd_dim"] = 24
    taught["train_conf"]["max_epoch"] = 16
    run = train(taught, tmp_path)
    theirs = read_teacher(taught["loss_conf"]["teacher"], clips).numpy()
    ours = SpeakerEncoder(load_model_folder(run / "last_model")[0], device=CPU)
    found = ours.embed_batch(clips.paths)
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(theirs, axis=1)
    assert ((found * theirs).sum(axis=1) / lengths).mean() > 0.6
    losses = points(run, "train/teacher_loss")
    assert losses[-1] < 0.5 * losses[0]


def test_a_teacher_of_another_size_cannot_be_copied(taught: dict[str, Any]) -> None:
    taught["loss_conf"]["teacher_loss"] = "embedding"
    with pytest.raises(ConfigError, match=r"have 24 dimensions and those of the model \d+; set"):
        MVectorTrainer(taught, use_gpu=False).dry_run()


def test_without_labels_the_classifier_stays_as_it_was(
    taught: dict[str, Any], tmp_path: Path
) -> None:
    taught["loss_conf"]["label_weight"] = 0
    weights = []
    for epochs in (1, 2):
        taught["train_conf"]["max_epoch"] = epochs
        network = load_checkpoint(train(taught, tmp_path, resume_model="auto"))["network"]
        weights.append(network["head.classifier.weight"])
    assert torch.equal(*weights)


def test_both_losses_are_told_and_weighted(
    taught: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mvector")
    taught["loss_conf"] |= {"teacher_weight": 20.0, "label_weight": 0.5}
    run = train(taught, tmp_path)
    total, of_labels, of_teacher = (
        np.array(points(run, f"train/{name}")) for name in ("loss", "label_loss", "teacher_loss")
    )
    assert len(total) == 4
    np.testing.assert_allclose(total, 0.5 * of_labels + 20.0 * of_teacher, rtol=1e-6)
    assert of_labels[-1] < of_labels[0]
    lines = [line for line in caplog.messages if line.startswith("Train epoch")]
    told = f"loss: {total[0]:.5f}, label loss: {of_labels[0]:.5f}, "
    assert f"{told}teacher loss: {of_teacher[0]:.5f}, accuracy: " in lines[0]


def test_a_batch_knows_its_clips(small_config: dict[str, Any]) -> None:
    small_config["dataset_conf"]["dataLoader"]["num_workers"] = 2
    data = TrainingData(load_config(small_config))
    seen = []
    for batch in data.loader:
        assert batch.labels.tolist() == data.clips.labels[batch.clips].tolist()
        seen += batch.clips.tolist()
    assert sorted(seen) == list(range(len(data.clips)))


# ---- stopping, adding up, several processes -------------------------------------------------


class StoppingTrainer(MVectorTrainer):
    """Gets SIGTERM behind the fifth batch."""

    def _learn(self, *args: Any) -> None:
        if self.run.step == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        super()._learn(*args)


def test_a_resumed_run_equals_an_unbroken_one_and_tells_another_teacher(
    taught: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    taught["train_conf"] |= {
        "log_interval": 2,
        "accumulate_batches": 2,
        "ema_decay": 0.9,
        "enable_amp": True,
        "amp_dtype": "bfloat16",
    }
    unbroken = load_checkpoint(train(taught, tmp_path / "whole"))
    trainer = StoppingTrainer(taught, use_gpu=False)
    with pytest.raises(TrainingStopped), no_pictures():
        trainer.train(tmp_path / "m", tmp_path / "log")
    copied = tmp_path / "copied.npz"
    copied.write_bytes(Path(taught["loss_conf"]["teacher"]).read_bytes())
    taught["loss_conf"]["teacher"] = str(copied)
    resumed = load_checkpoint(train(taught, tmp_path, resume_model="auto"))
    assert f"Unlike before the stop: loss_conf.teacher: {tmp_path / 'teacher.npz'}" in caplog.text
    for key in ("network", "optimizer", "average"):
        torch.testing.assert_close(resumed[key], unbroken[key], rtol=0, atol=0)


def a_learner(config: dict[str, Any], world: World) -> Learner:
    """The same weights in every process; what a clip does is not to depend on its batch."""
    config["optimizer_conf"].update(optimizer="SGD", learning_rate=0.1)
    checked = load_config(config)
    torch.manual_seed(0)
    model = SpeakerModel.from_config(checked)
    teacher = torch.randn(9, 5, generator=torch.Generator().manual_seed(1))
    learner = Learner(checked, model, 4, CPU, world, steps_in_epoch=9, teacher=teacher)
    learner.begin_epoch(0)
    for module in learner.train_step.network.modules():
        module.training = False  # without batch statistics
    return learner


def draw(clips: list[int]) -> TrainingBatch:
    generator = torch.Generator().manual_seed(clips[0])
    return TrainingBatch(
        0.1 * torch.randn(len(clips), 4000, generator=generator),
        torch.tensor(clips) % 4,
        torch.tensor(clips),
        torch.zeros(len(clips), 0),
        [],
    )


def gradients(learner: Learner, *batches: TrainingBatch) -> dict[str, torch.Tensor]:
    """What the optimizer is given for a step of these batches."""
    found: dict[str, torch.Tensor] = {}

    def note(*_: object) -> None:
        for name, parameter in learner.network.named_parameters():
            found[name] = parameter.grad.clone()

    hook = learner.optimizer.register_step_pre_hook(note)
    for number, batch in enumerate(batches, start=1):
        weight = learner.batch_weight(len(batch.labels))
        learner.learn(batch, weight=weight, last=number == len(batches))
    learner.update("here")
    hook.remove()
    return found


A, B = [0, 1, 2, 3, 4], [5, 6, 7]


def test_each_batch_of_a_step_counts_by_its_clips(taught: dict[str, Any]) -> None:
    taught["loss_conf"]["teacher_weight"] = 30.0
    alone = [gradients(a_learner(taught, World()), draw(clips)) for clips in (A, B)]
    together = gradients(a_learner(taught, World()), draw(A), draw(B))
    expected = {name: (5 * alone[0][name] + 3 * alone[1][name]) / 8 for name in together}
    torch.testing.assert_close(together, expected, rtol=1e-4, atol=1e-6)
    taught["loss_conf"]["teacher_weight"] = 1e-9
    unheard = gradients(a_learner(taught, World()), draw(A), draw(B))
    assert max(float((together[name] - unheard[name]).abs().max()) for name in unheard) > 1e-2


def in_two_processes(world: World, config: dict[str, Any]) -> list[dict[str, torch.Tensor]]:
    torch.set_num_threads(1)
    found = []
    for label_weight in (1.0, 0.0):
        config["loss_conf"]["label_weight"] = label_weight
        found.append(gradients(a_learner(config, world), draw([A, B][world.rank])))
        found.append(gradients(a_learner(config, World()), draw(A), draw(B)))
    return found


@needs_gloo
def test_each_process_compares_the_clips_of_its_share(taught: dict[str, Any]) -> None:
    for shared, alone, shared_unlabelled, alone_unlabelled in run_ranks(in_two_processes, taught):
        torch.testing.assert_close(shared, alone, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(shared_unlabelled, alone_unlabelled, rtol=1e-4, atol=1e-6)


# ---- the file -------------------------------------------------------------------------------


def clips_of(names: str) -> ClipList:
    return ClipList("train_list.txt", names.split(), np.zeros(len(names.split()), dtype=np.int64))


def test_embeddings_are_found_by_path_and_centred_by_the_training_clips(tmp_path: Path) -> None:
    rows = np.array([[3, 0], [0, 2], [-5, 0], [7, 7]], dtype=np.float32)
    write_embeddings(tmp_path / "t.npz", ["a", "b", "c", "unused"], rows)
    found = read_teacher(tmp_path / "t.npz", clips_of("c a b a"))
    mean = np.array([1, 1]) / 4  # of the directions, as often as a clip is listed
    expected = np.array([[-1, 0], [1, 0], [0, 1], [1, 0]]) - mean
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-7)
    assert found.dtype == torch.float32


def test_what_the_clips_of_a_domain_share_says_nothing_either(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names, labels = [f"{n}.wav" for n in range(40)], np.arange(40) // 10
    rows = rng.normal(size=(40, 8)) + np.where(labels[:, None] < 2, 3.0, -1.0)
    write_embeddings(tmp_path / "t.npz", names, rows.astype(np.float32))
    clips = ClipList("train_list.txt", names, labels)

    found = read_teacher(tmp_path / "t.npz", clips, torch.tensor([0, 0, 1, 1])).numpy()

    directions = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    for own in (labels < 2, labels >= 2):
        np.testing.assert_allclose(
            found[own], directions[own] - directions[own].mean(axis=0), atol=1e-6
        )


def test_a_few_clips_may_lack_a_teacher_and_have_no_target(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = [f"{n:03d}.wav" for n in range(200)]
    rows = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    write_embeddings(tmp_path / "t.npz", names[2:], rows[2:])
    found = read_teacher(tmp_path / "t.npz", clips_of(" ".join(names))).numpy()
    assert not found[:2].any()
    whole = read_teacher(tmp_path / "t.npz", clips_of(" ".join(names[2:]))).numpy()
    np.testing.assert_array_equal(found[2:], whole)  # their mean is that of the clips known
    assert [record.getMessage() for record in caplog.records] == [
        f"'{tmp_path / 't.npz'}' lacks the embeddings of 2 of 200 clips of 'train_list.txt' "
        "(000.wav, 001.wav); they are without a teacher."
    ]
    write_embeddings(tmp_path / "t.npz", names[3:], rows[3:])
    with raises_code("teacher-incomplete"):
        read_teacher(tmp_path / "t.npz", clips_of(" ".join(names)))


def test_clips_that_the_teacher_has_not_heard_are_named(
    taught: dict[str, Any], tmp_path: Path
) -> None:
    paths = read_list(taught["dataset_conf"]["train_list"]).paths
    entries = [*((path, k // 8) for k, path in enumerate(paths)), ("x.wav", 0), ("y.wav", 1)]
    write_list(tmp_path / "longer.txt", entries)
    taught["dataset_conf"]["train_list"] = str(tmp_path / "longer.txt")
    expected = (
        r"teacher\.npz' lacks the embeddings of 2 of 66 clips of '.*longer\.txt' \(x\.wav, y\.wav\)"
    )
    with pytest.raises(DataError, match=expected) as caught:
        MVectorTrainer(taught, use_gpu=False).dry_run()
    assert caught.value.code == "teacher-incomplete"


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    file, clips = tmp_path / "t.npz", clips_of("a")
    with pytest.raises(DataError, match=r"t\.npz' does not exist; check the path"):
        read_teacher(file, clips)
    (tmp_path / "list.npz").write_text("a\t0\n")
    np.savez(file, vectors=np.ones((2, 3)))
    for other in (tmp_path / "list.npz", file):
        with pytest.raises(DataError, match=r"no \.npz with the arrays paths and embeddings"):
            read_teacher(other, clips)
    np.savez(file, paths=np.array(["a", "b"]), embeddings=np.ones((3, 2)))
    with pytest.raises(DataError, match=r"write N paths as text and \(N, D\) floating-point"):
        read_teacher(file, clips)
    for bad in (0.0, np.nan):
        np.savez(file, paths=np.array(["a"]), embeddings=np.full((1, 2), bad))
        with pytest.raises(DataError, match="the embedding of 'a' is zero or not finite"):
            read_teacher(file, clips)
    with raises_code("data"):
        read_teacher(tmp_path, clips)
