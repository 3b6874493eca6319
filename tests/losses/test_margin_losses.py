"""Softmax losses with a margin against their formulas, and the margin's schedule."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from loss_formulas import angular_margin, margin_loss, real_margin_loss, softmax_loss

from mvector.losses.margin import AAMLoss, AMLoss, ARMLoss, CELoss, scheduled_margin
from mvector.losses.subcenter import SubCenterLoss

# target first; the last is so far that the angular margin passes 180 degrees
DEGREES = [
    [12.0, 80.0, 95.0, 60.0],
    [45.0, 50.0, 91.0, 120.0],
    [100.0, 30.0, 85.0, 90.0],
    [130.0, 20.0, 170.0, 88.0],
    [174.0, 70.0, 90.0, 40.0],
]
ANGLES = [[math.radians(angle) for angle in row] for row in DEGREES]
COSINES = torch.tensor(ANGLES, dtype=torch.float64).cos()
LABELS = torch.zeros(len(ANGLES), dtype=torch.long)


def close(value: torch.Tensor, expected: list[float]) -> bool:
    return value.item() == pytest.approx(sum(expected) / len(expected), rel=1e-12)


@pytest.mark.parametrize("easy_margin", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("margin", [0.1, 0.35])
def test_aam_is_arcface(margin: float, smoothing: float, easy_margin: bool) -> None:
    loss = AAMLoss(margin=margin, scale=20.0, easy_margin=easy_margin, label_smoothing=smoothing)
    expected = [
        margin_loss(row, 0, angular_margin(row[0], margin, easy_margin), 20.0, smoothing)
        for row in ANGLES
    ]
    assert close(loss(COSINES, LABELS), expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_am_lowers_the_targets_cosine(smoothing: float) -> None:
    loss = AMLoss(margin=0.3, scale=20.0, label_smoothing=smoothing)
    expected = [margin_loss(row, 0, math.cos(row[0]) - 0.3, 20.0, smoothing) for row in ANGLES]
    assert close(loss(COSINES, LABELS), expected)


def test_arm_is_the_published_formula() -> None:
    loss = ARMLoss(margin=0.3, scale=20.0)
    assert close(loss(COSINES, LABELS), [real_margin_loss(row, 0, 0.3, 20.0) for row in ANGLES])


def test_arm_leaves_speakers_beyond_the_margin_alone() -> None:
    cosines = torch.tensor([[0.9, 0.75, 0.5, -0.2]], requires_grad=True)
    ARMLoss(margin=0.2, scale=10.0)(cosines, LABELS[:1]).backward()
    assert cosines.grad[0, 1] > 0
    assert (cosines.grad[0, 2:] == 0).all()
    far = torch.tensor([[0.9, 0.3, 0.5, -0.2]])
    assert ARMLoss(margin=0.2)(far, LABELS[:1]).item() == pytest.approx(math.log(4))


def test_arm_is_am_while_all_speakers_are_within_the_margin() -> None:
    arm, am = ARMLoss(margin=2.1, scale=5.0), AMLoss(margin=2.1, scale=5.0)
    torch.testing.assert_close(arm(COSINES, LABELS), am(COSINES, LABELS))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize(
    "loss_type", [AAMLoss, AMLoss, lambda **args: SubCenterLoss(num_centers=1, **args)]
)
def test_without_margin_all_are_the_scaled_softmax(loss_type: type, smoothing: float) -> None:
    loss = loss_type(margin=0.0, scale=20.0, label_smoothing=smoothing)
    softmax = CELoss(label_smoothing=smoothing)(20.0 * COSINES, LABELS)
    torch.testing.assert_close(loss(COSINES, LABELS), softmax)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_ce_is_the_softmax_of_the_logits(smoothing: float) -> None:
    logits = torch.tensor([[0.2, -1.0, 3.0], [5.0, 0.1, -2.0]], dtype=torch.float64)
    labels = torch.tensor([2, 1])
    rows = zip(logits.tolist(), labels.tolist(), strict=True)
    expected = [softmax_loss(row, label, smoothing) for row, label in rows]
    assert close(CELoss(label_smoothing=smoothing)(logits, labels), expected)


def test_the_margin_holds_then_rises_then_holds() -> None:
    def margin(epoch: float, increase_type: str) -> float:
        return scheduled_margin(
            epoch,
            initial_margin=0.1,
            final_margin=0.5,
            increase_start_epoch=20,
            fix_epoch=60,
            increase_type=increase_type,
        )

    for increase_type in ("linear", "exp"):
        assert [margin(epoch, increase_type) for epoch in (0, 20)] == [0.1, 0.1]
        assert [margin(epoch, increase_type) for epoch in (60, 99.5)] == [0.5, 0.5]
        rising = [margin(epoch, increase_type) for epoch in range(20, 61)]
        assert all(before < after for before, after in pairwise(rising))
        assert margin(59.999, increase_type) == pytest.approx(0.5, abs=1e-4)
    assert margin(30, "linear") == pytest.approx(0.2)
    assert margin(40, "exp") == pytest.approx(0.1 + 0.4 * (1 - 1000**-0.5) / (1 - 1e-3))
