"""The range test finds the rates that work, stops when the loss diverges, and owns up to noise."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mvector.errors import ConfigError, DataError, MissingDependencyError
from mvector.training.learning_rate_finder import LearningRateCurve, find_learning_rate


class Bowl:
    """A loss over log10 of the rate: level 5, a fall of 3 around ``centre``, then a steep rise."""

    def __init__(self, centre: float, noise: float = 0.0, seed: int = 0) -> None:
        self.centre, self.noise = centre, noise
        self.random = np.random.default_rng(seed)
        self.rates: list[float] = []

    def __call__(self, rate: float) -> float:
        self.rates.append(rate)
        place = math.log10(rate) - self.centre
        fall = 3.0 / (1.0 + math.exp(-4.0 * place))
        rise = math.exp(min(4.0 * (place - 1.5), 50.0))
        return 5.0 - fall + rise + self.noise * float(self.random.standard_normal())


def test_rates_grow_by_the_same_factor_from_the_lowest_to_the_highest() -> None:
    step = Bowl(centre=5.0)  # far above the range: nothing ends the test early
    curve = find_learning_rate(step, 1e-6, 1e-1, 50)
    np.testing.assert_allclose(step.rates, 1e-6 * (1e5 ** (1 / 49)) ** np.arange(50), rtol=1e-9)
    np.testing.assert_array_equal(curve.learning_rates, step.rates)
    assert not curve.diverged


@pytest.mark.parametrize("noise", [0.0, 0.2])
@pytest.mark.parametrize("centre", [-4.0, -3.0, -2.0])
def test_the_suggestion_is_where_the_loss_falls_most_steeply(centre: float, noise: float) -> None:
    curve = find_learning_rate(Bowl(centre, noise), 1e-7, 10.0, 160)
    assert curve.suggestion is not None
    assert abs(math.log10(curve.suggestion) - centre) < (0.4 if noise else 0.1)


def test_it_stops_soon_after_the_loss_diverges() -> None:
    step = Bowl(centre=-4.0)
    curve = find_learning_rate(step, 1e-7, 1e3, 200)
    assert curve.diverged
    assert len(curve.losses) == len(step.rates) < 150
    assert curve.losses[-1] > 4 * curve.losses.min()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_test_and_is_left_out(bad: float) -> None:
    bowl = Bowl(centre=-4.0)
    curve = find_learning_rate(lambda rate: bad if rate > 1e-3 else bowl(rate), 1e-7, 1.0, 100)
    assert curve.diverged
    assert np.isfinite(curve.losses).all()
    assert curve.learning_rates[-1] <= 1e-3
    assert curve.suggestion is not None


def test_a_single_bad_batch_does_not_end_the_test() -> None:
    losses = iter([2.0] * 30 + [9.0] + [2.0] * 69)
    curve = find_learning_rate(lambda rate: next(losses), 1e-7, 1.0, 100)
    assert not curve.diverged
    assert len(curve.losses) == 100


def test_losses_below_zero_are_not_taken_for_divergence() -> None:
    curve = find_learning_rate(lambda rate: -1.0 - rate, 1e-4, 1.0, 60)
    assert not curve.diverged


@pytest.mark.parametrize("num_steps", [20, 50, 100])
@pytest.mark.parametrize("seed", range(5))
def test_noise_alone_gives_no_suggestion(seed: int, num_steps: int) -> None:
    random = np.random.default_rng(seed)
    step = lambda rate: 5.0 + 0.3 * float(random.standard_normal())  # noqa: E731
    curve = find_learning_rate(step, num_steps=num_steps)
    assert curve.suggestion is None
    assert "No suggestion" in curve.as_text()


def test_a_loss_that_only_rises_gives_no_suggestion() -> None:
    assert find_learning_rate(lambda rate: 1.0 + rate, 1e-3, 1.0, 40).suggestion is None


def test_the_smoothed_curve_does_not_lag_behind() -> None:
    curve = find_learning_rate(lambda rate: 5.0 - math.log10(rate), 1e-5, 1e-1, 80)
    np.testing.assert_allclose(curve.smoothed_losses, curve.losses, rtol=1e-9)


def test_a_real_training_is_faster_at_the_suggested_rate_than_at_far_lower_or_higher_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(512, 20, generator=generator)
    labels = (inputs @ torch.randn(20, 5, generator=generator)).argmax(1)

    def trainer() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        network = torch.nn.Linear(20, 5)
        return network, torch.optim.SGD(network.parameters(), lr=0.0)

    def train(network: torch.nn.Module, optimizer: torch.optim.Optimizer, rate: float) -> float:
        chosen = torch.randint(512, (64,), generator=generator)
        loss = torch.nn.functional.cross_entropy(network(inputs[chosen]), labels[chosen])
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    parts = trainer()
    found = find_learning_rate(lambda rate: train(*parts, rate), 1e-4, 1e3, 100).suggestion
    assert found is not None
    losses = {}
    for factor in (0.1, 1.0, 100.0):
        parts = trainer()
        losses[factor] = np.mean([train(*parts, factor * found) for _ in range(60)][-20:])
    assert losses[1.0] < losses[0.1]
    assert losses[1.0] < losses[100.0]


# ---- what a person sees ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def curve() -> LearningRateCurve:
    return find_learning_rate(Bowl(centre=-3.0, noise=0.1), 1e-7, 10.0, 160)


def test_the_text_is_a_table_with_bars_and_a_verdict(curve: LearningRateCurve) -> None:
    header, *lines = curve.as_text().splitlines()
    assert header.split() == ["learning", "rate", "loss"]
    rows, verdict = lines[:20], "\n".join(lines[20:])
    assert [float(row.split()[0]) for row in rows] == sorted(float(r.split()[0]) for r in rows)
    by_loss = sorted(rows, key=lambda row: float(row.split()[1]))
    assert by_loss[0].count("#") <= by_loss[5].count("#") <= by_loss[-1].count("#") <= 40
    assert max(map(len, rows)) <= 79
    assert f"Suggested learning rate: {curve.suggestion:.2e}" in verdict
    assert f"diverges near {curve.learning_rates[-1]:.2e}" in verdict


def test_the_picture_is_a_png_that_appears_in_a_new_folder(
    curve: LearningRateCurve, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    for name in ("curve.png", "curve"):
        curve.save_picture(tmp_path / "new" / name, title="EcapaTdnn $_Fbank")
        assert (tmp_path / "new" / name).read_bytes().startswith(b"\x89PNG")
    assert len(list((tmp_path / "new").iterdir())) == 2


def test_a_picture_of_no_format_or_in_no_place_is_a_mistake_with_its_cure(
    curve: LearningRateCurve, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(DataError, match=r"use \.png"):
        curve.save_picture(tmp_path / "curve.txt")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="choose another place"):
        curve.save_picture(tmp_path / "file" / "curve.png")


def test_without_matplotlib_the_message_says_what_to_install(
    curve: LearningRateCurve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match="pip install matplotlib"):
        curve.save_picture(tmp_path / "curve.png")


# ---- mistakes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_lr": 1e-2, "max_lr": 1e-3}, "span no range"),
        ({"min_lr": 0.0}, "span no range"),
        ({"max_lr": math.inf}, "span no range"),
        ({"num_steps": 3}, "num_steps 3 is too few"),
    ],
)
def test_a_range_that_makes_no_curve_is_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find_learning_rate(lambda rate: 1.0, **options)


def test_a_loss_that_is_bad_from_the_beginning_is_told() -> None:
    with pytest.raises(ConfigError, match="not finite at the learning rate 1e-05 already"):
        find_learning_rate(lambda rate: math.nan, 1e-5, 1.0, 20)
