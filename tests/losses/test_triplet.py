"""The triplet loss against a loop over a batch."""

from __future__ import annotations

import math

import pytest
import torch

from mvector.losses.triplet import TripletAngularMarginLoss


def cosine(first: list[float], second: list[float]) -> float:
    product = math.fsum(a * b for a, b in zip(first, second, strict=True))
    return product / math.hypot(*first) / math.hypot(*second)


def loop_over_anchors(
    embeddings: torch.Tensor, labels: list[int], *, absolute_weight: float, margin: float = 0.5
) -> float:
    clips, losses = embeddings.tolist(), []
    for anchor, label in enumerate(labels):
        to_own, to_other = [], []
        for clip, other in enumerate(labels):
            if clip != anchor:
                (to_own if other == label else to_other).append(cosine(clips[anchor], clips[clip]))
        if to_own and to_other:
            farthest_own, nearest_other = min(to_own), max(to_other)
            loss = max(0.0, nearest_other - farthest_own + margin)
            loss += absolute_weight * max(0.0, 0.8 - farthest_own)
            loss += absolute_weight * max(0.0, nearest_other - 0.4)
            losses.append(loss)
    return sum(losses) / len(losses)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Speakers 0 to 2 around a direction each, and speaker 3 with a single clip."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0, 3])
    directions = torch.randn(4, 6, generator=generator, dtype=torch.float64)
    noise = torch.randn(8, 6, generator=generator, dtype=torch.float64)
    return directions[labels] + 0.4 * noise, labels


@pytest.mark.parametrize(("add_absolute", "weight"), [(False, 0.0), (True, 1.0), (True, 0.3)])
def test_the_value_is_that_of_a_loop_over_anchors(add_absolute: bool, weight: float) -> None:
    embeddings, labels = batch()
    loss = TripletAngularMarginLoss(add_absolute=add_absolute, absolute_loss_weight=weight)
    expected = loop_over_anchors(embeddings, labels.tolist(), absolute_weight=weight)
    assert loss(embeddings, labels).item() == pytest.approx(expected, rel=1e-12)
    assert expected > 0


def test_the_length_of_an_embedding_does_not_matter() -> None:
    embeddings, labels = batch()
    loss = TripletAngularMarginLoss()
    longer = embeddings * torch.linspace(0.1, 50.0, 8).unsqueeze(1)
    torch.testing.assert_close(loss(longer, labels), loss(embeddings, labels))


def test_well_separated_speakers_cost_nothing() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    embeddings = torch.eye(3)[labels] + 0.01
    assert TripletAngularMarginLoss()(embeddings, labels) == 0


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2], [5]])
def test_a_batch_without_triplets_costs_nothing_and_has_no_gradient(labels: list[int]) -> None:
    embeddings = torch.randn(len(labels), 4, requires_grad=True)
    value = TripletAngularMarginLoss()(embeddings, torch.tensor(labels))
    value.backward()
    assert value == 0
    assert (embeddings.grad == 0).all()


def test_autocast_does_not_round_the_cosines() -> None:
    embeddings, labels = batch()
    loss = TripletAngularMarginLoss()
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(embeddings.float(), labels)
    torch.testing.assert_close(value, loss(embeddings.float(), labels), rtol=0, atol=0)


def test_a_clip_is_right_if_its_nearest_neighbour_is_of_the_same_speaker() -> None:
    embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [1.0, -0.3]])
    labels = torch.tensor([0, 0, 1, 1])
    assert TripletAngularMarginLoss().count_correct(embeddings, labels) == 2
