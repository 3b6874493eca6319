"""Several centres for each speaker, and the penalty on the nearest rivals."""

from __future__ import annotations

import math

import pytest
import torch
from loss_formulas import angular_margin, softmax_loss

from mvector.losses.margin import AAMLoss
from mvector.losses.subcenter import SubCenterLoss

NUM_CENTERS = 3
LABELS = torch.tensor([1, 4, 0])


def center_angles() -> torch.Tensor:
    """``(clips, speakers, centers)`` in radians; two of the first clip's rivals within 0.06."""
    generator = torch.Generator().manual_seed(2)
    angles = torch.rand(3, 5, NUM_CENTERS, generator=generator, dtype=torch.float64) * 2.5 + 0.3
    angles[0, 2, 1], angles[0, 4, 0] = 0.03, 0.05
    return angles


@pytest.mark.parametrize("k_top", [0, 1, 2, 9])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_value_is_that_of_the_formula(k_top: int, smoothing: float) -> None:
    angles = center_angles()
    loss = SubCenterLoss(margin=0.25, scale=15.0, k_top=k_top, mp=0.06, label_smoothing=smoothing)
    expected = []
    for clip, label in enumerate(LABELS.tolist()):
        nearest = [min(centers) for centers in angles[clip].tolist()]
        others = [speaker for speaker in range(5) if speaker != label]
        rivals = sorted(others, key=lambda speaker: nearest[speaker])[:k_top]
        scores = []
        for speaker, angle in enumerate(nearest):
            cosine = math.cos(angle)
            if speaker == label:
                cosine = angular_margin(angle, 0.25)
            elif speaker in rivals:
                cosine = math.cos(max(0.0, angle - 0.06))
            scores.append(15.0 * cosine)
        expected.append(softmax_loss(scores, label, smoothing))
    value = loss(angles.cos().flatten(1), LABELS).item()
    assert value == pytest.approx(sum(expected) / len(expected), rel=1e-12)


def test_one_centre_is_the_angular_margin_softmax() -> None:
    cosines = center_angles()[:, :, 0].cos()
    sub, aam = SubCenterLoss(num_centers=1, margin=0.3), AAMLoss(margin=0.3)
    torch.testing.assert_close(sub(cosines, LABELS), aam(cosines, LABELS), rtol=0, atol=0)


def test_accuracy_is_over_the_best_centre() -> None:
    logits = torch.full((4, 2 * 3), -0.5)
    # columns: speaker 0's two centres, speaker 1's, speaker 2's
    logits[0, 1] = 0.9
    logits[1, 2] = 0.9
    logits[2, 3], logits[2, 4], logits[2, 5] = 0.9, 0.8, 0.8
    logits[3, 5] = 0.9
    loss = SubCenterLoss(num_centers=2)
    assert loss.predict(logits).tolist() == [0, 1, 1, 2]
    assert loss.count_correct(logits, torch.tensor([0, 1, 2, 2])) == 3


def test_only_the_best_centre_of_a_speaker_moves() -> None:
    logits = center_angles().cos().flatten(1).requires_grad_()
    SubCenterLoss()(logits, LABELS).backward()
    moved = logits.grad.unflatten(1, (-1, NUM_CENTERS)) != 0
    assert (moved.sum(dim=2) == 1).all()
    best = center_angles().argmin(dim=2, keepdim=True)
    assert moved.gather(2, best).all()
