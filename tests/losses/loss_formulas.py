"""The published formulas of the losses, one clip at a time in Python floats."""

from __future__ import annotations

import math
from collections.abc import Sequence


def softmax_loss(scores: Sequence[float], label: int, label_smoothing: float = 0.0) -> float:
    """Cross-entropy with a share of the target probability spread over all classes."""
    log_sum = math.log(math.fsum(math.exp(score) for score in scores))
    wanted = [label_smoothing / len(scores)] * len(scores)
    wanted[label] += 1.0 - label_smoothing
    return math.fsum(share * (log_sum - score) for share, score in zip(wanted, scores, strict=True))


def angular_margin(angle: float, margin: float, easy_margin: bool = False) -> float:
    """ArcFace: the target's cosine with its margin."""
    if easy_margin and angle >= math.pi / 2:
        return math.cos(angle)
    if not easy_margin and angle + margin >= math.pi:
        return math.cos(angle) - margin * math.sin(margin)
    return math.cos(angle + margin)


def margin_loss(
    angles: Sequence[float], label: int, target: float, scale: float, label_smoothing: float = 0.0
) -> float:
    """Softmax of scaled cosines, ``target`` standing for that of the clip's speaker."""
    scores = [scale * math.cos(angle) for angle in angles]
    scores[label] = scale * target
    return softmax_loss(scores, label, label_smoothing)


def real_margin_loss(angles: Sequence[float], label: int, margin: float, scale: float) -> float:
    """ARM-Softmax: the sum of exponentials is over hinges."""
    total = 1.0
    for speaker, angle in enumerate(angles):
        if speaker != label:
            lead = math.cos(angle) - math.cos(angles[label]) + margin
            total += math.exp(max(0.0, scale * lead))
    return math.log(total)


def sphereface2_loss(
    angles: Sequence[float],
    label: int,
    *,
    margin: float,
    scale: float,
    weight: float,
    t: float,
    bias: float,
    margin_type: str,
) -> float:
    """SphereFace2: a binary decision for each speaker."""

    def g(cosine: float) -> float:
        return 2.0 * ((cosine + 1.0) / 2.0) ** t - 1.0

    total = 0.0
    for speaker, angle in enumerate(angles):
        is_target = speaker == label
        if margin_type == "A":
            moved = angle + margin if is_target else angle - margin
            similarity = g(math.cos(min(max(moved, 0.0), math.pi)))
        else:
            similarity = g(math.cos(angle)) + (-margin if is_target else margin)
        evidence = scale * similarity + bias
        if is_target:
            total += weight * math.log1p(math.exp(-evidence))
        else:
            total += (1.0 - weight) * math.log1p(math.exp(evidence))
    return total
