"""SphereFace2 against its formula, and its trainable bias."""

from __future__ import annotations

import math

import pytest
import torch
from loss_formulas import sphereface2_loss

from mvector.errors import ConfigError
from mvector.losses.sphereface2 import SphereFace2

# the target is second; some angles are within the margin of 0 and of 180 degrees
ANGLES = [
    [math.radians(angle) for angle in row] for row in ([85, 30, 95], [4, 175, 60], [99, 70, 110])
]
COSINES = torch.tensor(ANGLES, dtype=torch.float64).cos()
LABELS = torch.ones(len(ANGLES), dtype=torch.long)


@pytest.mark.parametrize("margin_type", ["A", "C"])
@pytest.mark.parametrize(
    ("margin", "scale", "weight", "t", "bias"),
    [(0.2, 32.0, 0.7, 3.0, 0.0), (0.15, 10.0, 0.4, 2.5, 1.3), (0.0, 20.0, 0.9, 1.0, -4.0)],
)
def test_the_value_is_that_of_the_formula(
    margin_type: str, margin: float, scale: float, weight: float, t: float, bias: float
) -> None:
    loss = SphereFace2(
        margin=margin, scale=scale, positive_weight=weight, t=t, margin_type=margin_type
    ).double()
    with torch.no_grad():
        loss.bias.fill_(bias)
    expected = [
        sphereface2_loss(
            row,
            1,
            margin=margin,
            scale=scale,
            weight=weight,
            t=t,
            bias=bias,
            margin_type=margin_type,
        )
        for row in ANGLES
    ]
    value = loss(COSINES, LABELS).item()
    assert value == pytest.approx(sum(expected) / len(expected), rel=1e-11)


def test_without_margin_both_types_are_the_same() -> None:
    by_type = [SphereFace2(margin=0.0, margin_type=kind)(COSINES, LABELS) for kind in "AC"]
    torch.testing.assert_close(*by_type)


def test_the_bias_is_trained_and_saved() -> None:
    loss = SphereFace2()
    optimizer = torch.optim.SGD(loss.parameters(), lr=0.1)
    loss(COSINES, LABELS).backward()
    optimizer.step()
    assert loss.bias.item() != 0
    other = SphereFace2()
    other.load_state_dict(loss.state_dict())
    assert other.bias.item() == loss.bias.item()
    assert list(loss.state_dict()) == ["bias"]


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(ConfigError, match="margin_type 'M'"):
        SphereFace2(margin_type="M")
