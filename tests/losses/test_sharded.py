"""A classifier split over two processes has the loss and gradients of the whole one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from spawned_ranks import needs_gloo, run_ranks
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mvector.compute.distributed import World
from mvector.errors import CheckpointError, ConfigError
from mvector.losses import LOSSES, SpeakerClassifier, SpeakerLoss
from mvector.losses.shard_state import (
    gather_optimizer_state,
    gather_state,
    load_state,
    shard_optimizer_state,
)
from mvector.losses.sharded import SHARDABLE, ShardedClassifier
from mvector.losses.shards import classifier_memory

NUM_SPEAKERS, EMBD_DIM, INPUT_DIM = 7, 6, 4  # shards of 3 and 4 speakers
LABELS = torch.tensor([2, 6, 0, 3, 2, 5, 4, 2])
SHARES = (slice(0, 5), slice(5, 8))  # clips of each rank
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "ce": ("CELoss", {}),
    "ce, smoothed": ("CELoss", {"label_smoothing": 0.1}),
    "aam": ("AAMLoss", {"margin": 0.3}),
    "aam, smoothed": ("AAMLoss", {"margin": 0.2, "label_smoothing": 0.2}),
    "aam, easy": ("AAMLoss", {"margin": 0.4, "easy_margin": True}),
    "am": ("AMLoss", {"margin": 0.25, "scale": 20.0}),
    "sub-centres": ("SubCenterLoss", {"num_centers": 3, "label_smoothing": 0.1}),
    "sub-centres, 2 rivals": ("SubCenterLoss", {"num_centers": 2, "k_top": 2}),
    "sub-centres, all rivals": ("SubCenterLoss", {"num_centers": 2, "k_top": 20, "mp": 0.1}),
}
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}


def build(case: str, dtype: torch.dtype) -> tuple[nn.Linear, SpeakerClassifier, SpeakerLoss]:
    """Backbone, whole classifier and loss, the same in every process."""
    torch.manual_seed(0)
    name, args = CASES[case]
    loss = LOSSES[name](**args)
    backbone = nn.Linear(INPUT_DIM, EMBD_DIM).to(dtype)
    num_logits = NUM_SPEAKERS * loss.num_centers
    classifier = SpeakerClassifier(EMBD_DIM, num_logits, classifier_type=loss.classifier_type)
    if classifier.bias is not None:
        nn.init.normal_(classifier.bias)
    return backbone, classifier.to(dtype), loss


def draw_clips(dtype: torch.dtype, step: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5 + step)
    return torch.randn(len(LABELS), INPUT_DIM, generator=generator, dtype=torch.float64).to(dtype)


def shard(classifier: SpeakerClassifier, loss: SpeakerLoss, **options: Any) -> ShardedClassifier:
    num_speakers = len(classifier.weight) // loss.num_centers
    sharded = ShardedClassifier(loss, EMBD_DIM, num_speakers, **options)
    sharded.to(classifier.weight.dtype)
    load_state(sharded, classifier.state_dict())
    return sharded


def gradients(parts: dict[str, nn.Module]) -> dict[str, torch.Tensor]:
    return {
        f"{part}.{name.removeprefix('module.')}": parameter.grad
        for part, module in parts.items()
        for name, parameter in module.named_parameters()
    }


def sharded_step(world: World, case: str, dtype: torch.dtype) -> dict[str, Any]:
    backbone, classifier, loss = build(case, dtype)
    sharded = shard(classifier, loss)
    network = DistributedDataParallel(backbone)
    own = SHARES[world.rank]
    value, num_correct = sharded(network(draw_clips(dtype)[own]), LABELS[own])
    value.backward()
    grads = gradients({"backbone": network, "classifier": sharded})
    return {"loss": value.detach(), "correct": num_correct, "grads": grads}


def train(
    world: World, num_steps: int, *, first: int = 0, state: tuple[Any, Any, Any] | None = None
) -> tuple[Any, Any, Any]:
    """Steps of Adam; returns the states of backbone, whole classifier and optimizer on rank 0."""
    backbone, classifier, loss = build("ce", torch.float32)
    sharded = shard(classifier, loss)
    network = DistributedDataParallel(backbone)
    optimizer = torch.optim.Adam([*backbone.parameters(), *sharded.parameters()], 0.01)
    if state is not None:
        backbone.load_state_dict(state[0])
        load_state(sharded, state[1])
        optimizer.load_state_dict(shard_optimizer_state(sharded, optimizer, state[2]))
    own = SHARES[world.rank]
    for step in range(first, first + num_steps):
        value, _ = sharded(network(draw_clips(torch.float32, step)[own]), LABELS[own])
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    whole = gather_state(sharded), gather_optimizer_state(sharded, optimizer)
    return backbone.state_dict(), *whole


def sampled_step(world: World, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss and gradient of a classifier with 40 speakers, of which half take part."""
    classifier, embeddings, labels = many_speakers()
    loss = LOSSES["AAMLoss"](label_smoothing=0.1)
    sharded = shard(classifier, loss, sample_rate=0.5, seed=3)
    own = SHARES[world.rank]
    sharded.step = step
    value, _ = sharded(embeddings[own], labels[own])
    value.backward()
    return value.detach(), sharded.weight.grad


def many_speakers() -> tuple[SpeakerClassifier, torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    classifier = SpeakerClassifier(EMBD_DIM, 40).double()
    return classifier, torch.randn(8, EMBD_DIM).double(), LABELS * 6


def in_two_processes(world: World) -> dict[str, Any]:
    results: dict[str, Any] = {
        "steps": {
            (case, dtype): sharded_step(world, case, dtype) for case in CASES for dtype in TOLERANCE
        }
    }
    results["initial"] = gather_state(ShardedClassifier(LOSSES["CELoss"](), EMBD_DIM, 10_001))
    results["sampled"] = [sampled_step(world, step) for step in (0, 0, 1)]
    results["straight"] = train(world, 5)
    states = [train(world, 3)]
    torch.distributed.broadcast_object_list(states, src=0)
    results["resumed"] = train(world, 2, first=3, state=states[0])
    results["ties"] = tied_step(world)
    with pytest.raises(ConfigError) as caught:
        ShardedClassifier(LOSSES["CELoss"](), EMBD_DIM, 1)
    results["too few"] = str(caught.value)
    return results


def tied_step(world: World) -> int:
    """Clips correct where all speakers' vectors are the same."""
    sharded = ShardedClassifier(LOSSES["AAMLoss"](), EMBD_DIM, NUM_SPEAKERS)
    clip = torch.eye(1, EMBD_DIM)
    with torch.no_grad():
        sharded.weight.copy_(clip.expand_as(sharded.weight))
    labels = torch.tensor([[0, 1, 3, 6], [0, 1, 3, 0]][world.rank])
    _, num_correct = sharded(clip.expand(4, -1), labels)
    return int(num_correct)


@pytest.fixture(scope="module")
def results() -> list[dict[str, Any]]:
    return run_ranks(in_two_processes)


@needs_gloo
@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
@pytest.mark.parametrize("case", list(CASES))
def test_loss_and_gradients_are_those_of_the_whole_classifier(
    results: list[dict[str, Any]], case: str, dtype: torch.dtype
) -> None:
    backbone, classifier, loss = build(case, dtype)
    logits = classifier(backbone(draw_clips(dtype)))
    expected = loss(logits, LABELS)
    expected.backward()
    steps = [of_rank["steps"][case, dtype] for of_rank in results]
    close = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    for step in steps:
        torch.testing.assert_close(step["loss"], expected.detach(), **close)
    for name, value in gradients({"backbone": backbone, "classifier": classifier}).items():
        found = [step["grads"][name] for step in steps]
        if name.startswith("classifier"):
            torch.testing.assert_close(torch.cat(found), value, **close)
        else:  # DistributedDataParallel has averaged them
            torch.testing.assert_close(found[0], value, **close)
            torch.testing.assert_close(found[1], value, **close)
    for step, own in zip(steps, SHARES, strict=True):
        assert step["correct"] == loss.count_correct(logits[own], LABELS[own])


@needs_gloo
def test_equal_logits_count_as_the_first_speaker_like_in_argmax(
    results: list[dict[str, Any]],
) -> None:
    assert [of_rank["ties"] for of_rank in results] == [1, 2]


@needs_gloo
def test_one_process_holds_what_two_hold_together(results: list[dict[str, Any]]) -> None:
    whole = ShardedClassifier(LOSSES["CELoss"](), EMBD_DIM, 10_001)
    gathered = results[0]["initial"]
    assert results[1]["initial"] is None
    assert torch.equal(gathered["weight"], whole.weight)
    assert torch.equal(gathered["bias"], whole.bias)
    bound = (6.0 / (10_001 + EMBD_DIM)) ** 0.5  # Xavier
    assert 0.99 * bound < whole.weight.abs().max() <= bound
    assert whole.weight.mean().abs() < 0.02 * bound
    assert whole.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert len(whole.weight.unique()) > 0.99 * whole.weight.numel()


@needs_gloo
def test_a_run_resumed_from_the_whole_state_is_the_same_run(results: list[dict[str, Any]]) -> None:
    straight, resumed = results[0]["straight"], results[0]["resumed"]
    for before, after in zip(straight[:2], resumed[:2], strict=True):
        for name, value in before.items():
            assert torch.equal(after[name], value), name
    for number, averages in straight[2]["state"].items():
        for name, value in averages.items():
            assert torch.equal(resumed[2]["state"][number][name], value), name
    assert results[1]["straight"][1:] == (None, None)


@needs_gloo
def test_sharded_training_and_its_saved_state_are_those_of_one_process(
    results: list[dict[str, Any]],
) -> None:
    backbone, classifier, loss = build("ce", torch.float32)
    optimizer = torch.optim.Adam([*backbone.parameters(), *classifier.parameters()], 0.01)
    for step in range(5):
        value = loss(classifier(backbone(draw_clips(torch.float32, step))), LABELS)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    of_backbone, of_classifier, of_optimizer = results[0]["straight"]
    close = {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(of_backbone, backbone.state_dict(), **close)
    torch.testing.assert_close(of_classifier, classifier.state_dict(), **close)
    torch.testing.assert_close(of_optimizer["state"], optimizer.state_dict()["state"], **close)
    optimizer.load_state_dict(of_optimizer)  # fits an optimizer of the whole classifier


@needs_gloo
def test_a_sampled_softmax_is_the_softmax_over_the_classes_that_take_part(
    results: list[dict[str, Any]],
) -> None:
    value, _ = results[0]["sampled"][0]
    gradient = torch.cat([of_rank["sampled"][0][1] for of_rank in results])
    taking_part = gradient.abs().sum(1).nonzero().squeeze(1)
    classifier, embeddings, labels = many_speakers()
    assert set(labels.tolist()) <= set(taking_part.tolist())
    assert [(taking_part < 20).sum(), (taking_part >= 20).sum()] == [10, 10]
    columns = torch.searchsorted(taking_part, labels)
    loss = LOSSES["AAMLoss"](label_smoothing=0.1)
    expected = loss(classifier(embeddings)[:, taking_part], columns)
    expected.backward()
    torch.testing.assert_close(value, expected.detach(), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(gradient, classifier.weight.grad, rtol=1e-10, atol=1e-10)


@needs_gloo
def test_the_classes_of_a_step_are_drawn_anew_and_again_the_same(
    results: list[dict[str, Any]],
) -> None:
    for of_rank in results:
        (_, first), (_, again), (_, next_) = of_rank["sampled"]
        assert torch.equal(first, again)
        assert not torch.equal(first.abs().sum(1) > 0, next_.abs().sum(1) > 0)


def test_sampling_is_for_training_and_must_know_the_step() -> None:
    classifier, embeddings, labels = many_speakers()
    loss = LOSSES["AAMLoss"]()
    sharded = shard(classifier, loss, sample_rate=0.5)
    with pytest.raises(ValueError, match="step"):
        sharded(embeddings, labels)
    value, num_correct = sharded.eval()(embeddings, labels)
    logits = classifier(embeddings)
    torch.testing.assert_close(value, loss(logits, labels), rtol=1e-10, atol=1e-10)
    assert num_correct == loss.count_correct(logits, labels)


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {kind.__name__ for kind in SHARDABLE}))
def test_other_losses_are_refused_by_name(name: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name} cannot have its speakers split"):
        ShardedClassifier(LOSSES[name](), EMBD_DIM, NUM_SPEAKERS)


@needs_gloo
def test_more_processes_than_speakers_are_refused(results: list[dict[str, Any]]) -> None:
    assert results[0]["too few"].startswith("1 speakers cannot be split over 2 processes")


@pytest.mark.parametrize("sample_rate", [0.0, -0.1, 1.5])
def test_a_share_that_is_none_is_refused(sample_rate: float) -> None:
    with pytest.raises(ConfigError, match="classifier_sharding"):
        ShardedClassifier(LOSSES["CELoss"](), EMBD_DIM, 9, sample_rate=sample_rate)


def test_a_classifier_of_other_speakers_is_not_loaded() -> None:
    sharded = ShardedClassifier(LOSSES["AAMLoss"](), EMBD_DIM, 9)
    with pytest.raises(CheckpointError, match=r"weight \(8, 6\).* does not fit the 9 speakers"):
        load_state(sharded, SpeakerClassifier(EMBD_DIM, 8).state_dict())
    with pytest.raises(CheckpointError, match="bias"):
        load_state(sharded, SpeakerClassifier(EMBD_DIM, 9, classifier_type="Linear").state_dict())


def test_memory_is_counted_for_the_largest_shard() -> None:
    memory = classifier_memory(1001, num_processes=4, embd_dim=16, global_batch=32, num_centers=2)
    classifier = SpeakerClassifier(16, 251 * 2)
    optimizer = torch.optim.Adam(classifier.parameters())
    classifier(torch.randn(2, 16)).sum().backward()
    optimizer.step()
    weight = classifier.weight
    averages = [value for value in optimizer.state[weight].values() if value.dim() == 2]
    assert memory.weights == weight.nbytes
    assert memory.gradients == weight.grad.nbytes
    assert memory.optimizer == sum(value.nbytes for value in averages)
    assert memory.total > memory.weights + memory.gradients + memory.optimizer
