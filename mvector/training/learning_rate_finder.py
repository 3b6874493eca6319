"""Learning-rate range test: a short training with a growing rate shows which rates work.

L. N. Smith, "Cyclical learning rates for training neural networks", WACV 2017.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mvector.errors import ConfigError, DataError, import_errors_as
from mvector.files import save_figure
from mvector.progress import progress_bar

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MIN_STEPS = 20
_MEMORY = 0.9  # of the running mean that tells divergence from a single bad batch
_NUM_ROWS, _BAR_WIDTH = 20, 40


@dataclass(frozen=True, eq=False)
class LearningRateCurve:
    """The outcome of a range test.

    Attributes:
        learning_rates: ``(num_points,)``, ascending.
        losses: ``(num_points,)``, as they were measured, each before its step.
        smoothed_losses: ``(num_points,)``, means over a centred window: they do not lag behind.
        suggestion: the rate at which the loss falls most steeply over the logarithm of the rate;
            ``None`` if it never falls by more than it varies from batch to batch.
        diverged: whether the test ended early because the loss grew out of bounds.
    """

    learning_rates: np.ndarray
    losses: np.ndarray
    smoothed_losses: np.ndarray
    suggestion: float | None
    diverged: bool

    def as_text(self) -> str:
        """A table of about 20 rates with a bar for each loss, and the suggestion in words."""
        low, high = self._loss_range()
        lines = [f"{'learning rate':>13}  {'loss':>9}"]
        for place in np.linspace(0, len(self.losses) - 1, min(len(self.losses), _NUM_ROWS)):
            index = round(place)
            loss = float(self.smoothed_losses[index])
            share = min(max((loss - low) / (high - low), 0.0), 1.0)
            bar = "#" * round(share * _BAR_WIDTH)
            lines.append(f"{self.learning_rates[index]:>13.2e}  {loss:>9.4f}  {bar}".rstrip())
        return "\n".join([*lines, *self._verdict()])

    def save_picture(self, path: str | os.PathLike[str], title: str = "") -> None:
        """Draw the curve into a file, in one step; missing folders are made.

        Args:
            path: where to; the suffix chooses the format (png, pdf, svg), png without one.
            title: a line above the picture.

        Raises:
            DataError: the file cannot be written, or its suffix is no picture format.
            MissingDependencyError: matplotlib is not installed.
        """
        save_figure(self._figure(title), path, DataError)

    def _figure(self, title: str) -> Figure:
        with import_errors_as(
            "Drawing the learning-rate curve needs matplotlib: pip install matplotlib."
        ):
            from matplotlib.figure import Figure
        figure = Figure(figsize=(8.0, 5.0), layout="constrained")
        axes = figure.subplots()
        axes.plot(self.learning_rates, self.losses, ".", color="grey", alpha=0.5, label="batches")
        axes.plot(self.learning_rates, self.smoothed_losses, color="#0072B2", label="smoothed")
        if self.suggestion is not None:
            label = f"suggestion: {self.suggestion:.2e}"
            axes.axvline(self.suggestion, color="#D55E00", linestyle="--", label=label)
        low, high = self._loss_range()
        axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
        axes.set_title(title, parse_math=False)
        axes.set_ylim(low - 0.1 * (high - low), high)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.legend(frameon=False)
        return figure

    def _loss_range(self) -> tuple[float, float]:
        """The losses worth showing: what diverges would press all else to a line."""
        lowest = int(np.argmin(self.smoothed_losses))
        low = float(self.smoothed_losses[lowest])
        fall = float(self.smoothed_losses[: lowest + 1].max()) - low
        rise = float(self.smoothed_losses.max()) - low
        height = min(rise, 1.5 * fall) if fall > 0 else rise
        return low, low + (height or 1.0)

    def _verdict(self) -> list[str]:
        last = f"{self.learning_rates[-1]:.2e}"
        end = f"diverges near {last}" if self.diverged else f"has not diverged up to {last}"
        lowest = self.learning_rates[int(np.argmin(self.smoothed_losses))]
        if self.suggestion is None:
            return [
                "No suggestion: the loss does not fall by more than it varies from batch to batch "
                f"and {end}; take more steps, larger batches or another range of rates."
            ]
        return [
            f"Suggested learning rate: {self.suggestion:.2e}, where the loss falls most steeply.",
            f"The loss is lowest at {lowest:.2e} and {end}.",
        ]


def find_learning_rate(
    step: Callable[[float], float],
    min_lr: float = 1e-7,
    max_lr: float = 1.0,
    num_steps: int = 100,
    *,
    divergence: float = 4.0,
) -> LearningRateCurve:
    """Train for some steps at exponentially growing rates and see what becomes of the loss.

    The steps are real ones: weights, running statistics, the optimizer's moments, random generators
    and the place in the data change; use objects that nobody needs afterwards. Let the margin and
    the augmentation be those that the training begins with.

    Args:
        step: sets the learning rate it is given, trains one batch and returns the batch's loss.
        min_lr: first rate.
        max_lr: last rate.
        num_steps: how many rates, at least 20; 100 are enough for clean data.
        divergence: the test ends when the running mean of the loss exceeds this many times its
            lowest value, or when a loss is not finite.

    Raises:
        ConfigError: there is no range between the rates, too few steps, or the loss is not finite
            from the beginning.
    """
    if not 0 < min_lr < max_lr < math.inf:
        raise ConfigError(
            f"min_lr {min_lr:g} and max_lr {max_lr:g} span no range; give 0 < min_lr < max_lr."
        )
    if num_steps < _MIN_STEPS:
        raise ConfigError(f"num_steps {num_steps} is too few for a curve; give {_MIN_STEPS}.")
    rates = np.geomspace(min_lr, max_lr, num_steps)
    losses: list[float] = []
    mean, lowest, diverged = 0.0, math.inf, False
    for rate in progress_bar(rates.tolist(), desc="Range test", unit="batch"):
        loss = float(step(rate))
        if not math.isfinite(loss):
            diverged = True
            break
        losses.append(loss)
        mean = _MEMORY * mean + (1.0 - _MEMORY) * loss
        unbiased = mean / (1.0 - _MEMORY ** len(losses))
        lowest = min(lowest, unbiased)
        if len(losses) >= _MIN_STEPS and unbiased - lowest > (divergence - 1.0) * abs(lowest):
            diverged = True
            break
    if not losses:
        raise ConfigError(
            f"The loss is not finite at the learning rate {min_lr:g} already; give a smaller "
            "min_lr, or look for bad clips or settings."
        )
    return _smooth_and_suggest(rates[: len(losses)], np.array(losses), num_steps, diverged)


def _smooth_and_suggest(
    rates: np.ndarray, losses: np.ndarray, num_steps: int, diverged: bool
) -> LearningRateCurve:
    """Straight lines fitted in a window around each point: their values and their slopes."""
    from scipy.signal import savgol_filter

    window = max(9, num_steps // 8 | 1)
    if len(losses) < window:
        return LearningRateCurve(rates, losses, losses, None, diverged)
    smoothed, slopes = (savgol_filter(losses, window, 1, deriv=order) for order in (0, 1))
    # Half a window at each end is extrapolated; behind the minimum the curve is ragged.
    first, last = window // 2, len(losses) - window // 2
    searched = slice(first, first + int(np.argmin(smoothed[first:last])) + 1)
    fall = smoothed[searched].max() - smoothed[searched][-1]
    # Means of a window of noise alone spread over some 3 of their standard deviations.
    falls = fall > 7.0 * _noise(losses) / math.sqrt(window) and slopes[searched].min() < 0
    suggestion = float(rates[searched][np.argmin(slopes[searched])]) if falls else None
    return LearningRateCurve(rates, losses, smoothed, suggestion, diverged)


def _noise(losses: np.ndarray) -> float:
    """Standard deviation from batch to batch, whatever the curve under it does."""
    steps = np.diff(losses)
    typical = float(np.median(np.abs(steps - np.median(steps))))
    return 1.4826 * typical / math.sqrt(2.0)  # normal distribution, difference of two
