"""Every schedule follows torch's scheduler of its name, also between epochs."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.optim import lr_scheduler

from mvector.config import options
from mvector.config.choices import OptimizerConf
from mvector.config.options import SCHEDULER_ARGS, Section
from mvector.training.schedules import Plateau, learning_rate_at

RATE = 0.1
NUM_EPOCHS = 10
NUM_BATCHES = 8  # in an epoch

Scheduler = Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler]


def conf(args: Section | None, learning_rate: float = RATE) -> OptimizerConf:
    names = {kind: name for name, kind in SCHEDULER_ARGS.items()}
    name = None if args is None else names[type(args)]
    return OptimizerConf(learning_rate=learning_rate, scheduler=name, scheduler_args=args)


def curve(args: Section | None) -> list[float]:
    """The rate of every batch of the run."""
    places = [step / NUM_BATCHES for step in range(NUM_EPOCHS * NUM_BATCHES)]
    return [learning_rate_at(epoch, conf(args), NUM_EPOCHS) for epoch in places]


def an_optimizer(learning_rate: float = RATE) -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=learning_rate)


def curve_of_torch(build: Scheduler, num_steps: int = NUM_EPOCHS * NUM_BATCHES) -> list[float]:
    """The same from a scheduler of torch whose step is a batch."""
    optimizer = an_optimizer()
    scheduler = build(optimizer)
    rates = []
    for _ in range(num_steps):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("args", "reference"),
    [
        pytest.param(
            options.CosineAnnealingArgs(min_lr=1e-3),
            lambda o: lr_scheduler.CosineAnnealingLR(o, NUM_EPOCHS * NUM_BATCHES, eta_min=1e-3),
            id="CosineAnnealingLR",
        ),
        pytest.param(
            options.ExponentialArgs(gamma=0.8),
            lambda o: lr_scheduler.ExponentialLR(o, 0.8 ** (1 / NUM_BATCHES)),
            id="ExponentialLR",
        ),
        pytest.param(
            options.StepArgs(step_size=3, gamma=0.5),
            lambda o: lr_scheduler.StepLR(o, 3 * NUM_BATCHES, 0.5),
            id="StepLR",
        ),
        pytest.param(
            options.MultiStepArgs(milestones=(2, 4.5, 9), gamma=0.3),
            lambda o: lr_scheduler.MultiStepLR(
                o, [2 * NUM_BATCHES, 4 * NUM_BATCHES + NUM_BATCHES // 2, 9 * NUM_BATCHES], 0.3
            ),
            id="MultiStepLR",
        ),
        pytest.param(
            options.WarmupCosineArgs(warmup_epoch=2.5, min_lr=1e-3),
            lambda o: lr_scheduler.SequentialLR(
                o,
                [
                    lr_scheduler.LambdaLR(o, lambda step: step / 20),
                    lr_scheduler.CosineAnnealingLR(o, 60, eta_min=1e-3),
                ],
                milestones=[20],
            ),
            id="WarmupCosineSchedulerLR",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:The epoch parameter")  # SequentialLR's own
def test_the_rate_of_every_batch_equals_that_of_torch(args: Section, reference: Scheduler) -> None:
    np.testing.assert_allclose(curve(args), curve_of_torch(reference), rtol=1e-9)


@pytest.mark.parametrize("pct_start", [0.1, 0.3, 0.5])
def test_one_cycle_equals_that_of_torch(pct_start: float) -> None:
    # torch's cycle ends with its last step, one before the end of the run, and its rise one step
    # before pct_start: the same curve, its places counted from another end.
    num_steps = 101
    reference = curve_of_torch(
        lambda o: lr_scheduler.OneCycleLR(
            o, 0.4, total_steps=num_steps, pct_start=pct_start, div_factor=10, final_div_factor=100
        ),
        num_steps,
    )
    args = options.OneCycleArgs(
        max_lr=0.4,
        pct_start=(pct_start * num_steps - 1) / (num_steps - 1),
        div_factor=10,
        final_div_factor=100,
    )
    places = [NUM_EPOCHS * step / (num_steps - 1) for step in range(num_steps)]
    rates = [learning_rate_at(epoch, conf(args), NUM_EPOCHS) for epoch in places]
    np.testing.assert_allclose(rates, reference, rtol=1e-9)


def test_one_cycle_starts_peaks_and_ends_where_its_arguments_say() -> None:
    args = options.OneCycleArgs(pct_start=0.25, div_factor=20, final_div_factor=1000)
    rates = [learning_rate_at(epoch, conf(args), 8) for epoch in (0.0, 1.0, 2.0, 5.0, 8.0)]
    halfway_up, halfway_down = (0.1 + 0.005) / 2, (0.1 + 5e-6) / 2
    np.testing.assert_allclose(rates, [0.005, halfway_up, 0.1, halfway_down, 5e-6], rtol=1e-9)


@pytest.mark.parametrize(("pct_start", "first", "last"), [(0.0, 0.1, 4e-7), (1.0, 4e-3, 0.1)])
def test_one_cycle_may_fall_only_or_rise_only(pct_start: float, first: float, last: float) -> None:
    settings = conf(options.OneCycleArgs(pct_start=pct_start))
    rates = [learning_rate_at(epoch, settings, 8) for epoch in (0.0, 8.0)]
    np.testing.assert_allclose(rates, [first, last], rtol=1e-9)


def test_without_a_schedule_the_rate_is_constant() -> None:
    assert set(curve(None)) == {RATE}


def test_schedules_do_not_depend_on_the_number_of_batches() -> None:
    for args in (options.OneCycleArgs(), options.ExponentialArgs(gamma=0.5)):
        coarse = [learning_rate_at(step / 2, conf(args), 4) for step in range(8)]
        fine = [learning_rate_at(step / 6, conf(args), 4) for step in range(24)]
        assert coarse == fine[::3]


# ---- plateau --------------------------------------------------------------------------------

# Falls, stands still, falls by less than the threshold, falls again, stands still to the end.
ERROR_RATES = [0.30, 0.20, 0.21, 0.20, 0.199, 0.15, *[0.15, 0.16] * 6]
PLATEAU = {"factor": 0.3, "patience": 2, "threshold": 0.02, "min_lr": 2e-3}


def rates_over(plateau: Plateau, settings: OptimizerConf, errors: list[float]) -> list[float]:
    rates = []
    for error in errors:
        plateau.add_error_rate(error)
        rates.append(learning_rate_at(1.0, settings, 30, plateau.num_reductions))
    return rates


def test_a_plateau_lowers_the_rate_as_in_torch() -> None:
    optimizer = an_optimizer()
    reference = lr_scheduler.ReduceLROnPlateau(optimizer, **PLATEAU)
    expected = []
    for error in ERROR_RATES:
        reference.step(error)
        expected.append(optimizer.param_groups[0]["lr"])
    assert expected[-1] == PLATEAU["min_lr"]
    settings = conf(options.PlateauArgs(**PLATEAU))
    found = rates_over(Plateau(settings), settings, ERROR_RATES)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("num_before", range(len(ERROR_RATES)))
def test_a_plateau_goes_on_from_its_state(num_before: int) -> None:
    settings = conf(options.PlateauArgs(**PLATEAU))
    unbroken = rates_over(Plateau(settings), settings, ERROR_RATES)
    first, second = Plateau(settings), Plateau(settings)
    rates = rates_over(first, settings, ERROR_RATES[:num_before])
    second.load_state_dict(first.state_dict())
    assert rates + rates_over(second, settings, ERROR_RATES[num_before:]) == unbroken


def test_a_plateau_says_when_the_rate_falls_and_a_nan_is_no_improvement() -> None:
    plateau = Plateau(conf(options.PlateauArgs(patience=1)))
    told = [plateau.add_error_rate(error) for error in (0.2, 0.1, math.nan, 0.1, 0.09, 0.1, 0.1)]
    assert told == [False, False, False, True, False, False, True]


def test_a_plateau_follows_a_learning_rate_that_was_changed() -> None:
    plateau = Plateau(conf(options.PlateauArgs(patience=0)))
    plateau.add_error_rate(0.2)
    plateau.add_error_rate(0.2)
    lower = conf(options.PlateauArgs(), learning_rate=1e-3)
    assert math.isclose(learning_rate_at(3.0, lower, 30, plateau.num_reductions), 1e-4)


def test_other_schedules_know_no_plateau() -> None:
    plateau = Plateau(conf(options.CosineAnnealingArgs()))
    assert not any(plateau.add_error_rate(0.5) for _ in range(50))
    assert plateau.num_reductions == 0


# ---- options --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheduler", "args"),
    [
        ("ExponentialLR", {}),
        ("ExponentialLR", {"gamma": 1.5}),
        ("ExponentialLR", {"gamma": 0}),
        ("OneCycleLR", {"pct_start": 1.2}),
        ("OneCycleLR", {"div_factor": 0.5}),
        ("OneCycleLR", {"max_lr": 0}),
        ("StepLR", {}),
        ("StepLR", {"step_size": 0}),
        ("StepLR", {"step_size": 3, "gama": 0.1}),
        ("MultiStepLR", {}),
        ("MultiStepLR", {"milestones": []}),
        ("MultiStepLR", {"milestones": [5, 3]}),
        ("MultiStepLR", {"milestones": [3, 3]}),
        ("MultiStepLR", {"milestones": [0, 3]}),
        ("ReduceLROnPlateau", {"factor": 1.0}),
        ("ReduceLROnPlateau", {"patience": -1}),
        ("ReduceLROnPlateau", {"threshold": 1.0}),
        ("ReduceLROnPlateau", {"min_lr": -1e-5}),
    ],
)
def test_arguments_out_of_range_are_refused(scheduler: str, args: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SCHEDULER_ARGS[scheduler].model_validate(args)


@pytest.mark.parametrize(
    "name", ["ExponentialLR", "OneCycleLR", "StepLR", "MultiStepLR", "ReduceLROnPlateau"]
)
def test_arguments_have_the_names_and_defaults_of_torch(name: str) -> None:
    parameters = inspect.signature(getattr(lr_scheduler, name)).parameters
    for key, field in SCHEDULER_ARGS[name].model_fields.items():
        assert key in parameters, key
        if (name, key) == ("OneCycleLR", "max_lr"):
            continue  # ours may be left out: it is then the learning rate
        theirs = parameters[key].default
        assert field.is_required() == (theirs is inspect.Parameter.empty), key
        if not field.is_required():
            assert field.default == theirs, key
