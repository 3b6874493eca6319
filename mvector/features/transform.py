"""What all feature methods share: a rate, a size, a frame count, and constants that stay exact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from mvector.errors import ConfigError

NumSamples = TypeVar("NumSamples", int, Tensor)

_MOST = 1_000_000
_MOST_IN_BANK = 1 << 24
_LARGEST = 1e9


class FeatureTransform(nn.Module):
    """Base of the feature methods: a fixed transform of waveforms, without parameters.

    Attributes:
        sample_rate: rate of the waveforms in Hz.
        feature_dim: bins of a frame.
        min_samples: samples of the shortest clip that a frame can be computed from.
    """

    sample_rate: int
    feature_dim: int
    min_samples: int

    def __init__(self) -> None:
        super().__init__()
        self._exact: dict[str, Tensor] = {}

    def num_frames(self, num_samples: NumSamples) -> NumSamples:
        """How many frames a clip of so many samples has."""
        raise NotImplementedError

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Compute features, not normalised.

        Args:
            waveforms: ``(batch, samples)``, float32 or float64 in [-1, 1].
            lengths: ``(batch,)`` samples of each clip; ``None`` means that all are full.

        Returns:
            ``(batch, frames, feature_dim)``; frames behind a clip's end hold anything.
        """
        raise NotImplementedError

    def _set_constant(self, name: str, values: Tensor) -> None:
        """Keep a window or matrix that was computed in float64."""
        self._exact[name] = values
        self.register_buffer(name, values.to(torch.float32), persistent=False)

    def exact(self, name: str) -> Tensor:
        """A window or matrix in float64, as it was computed."""
        return self._exact[name]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        # .double() must not double the digits of rounded constants, and .half() or .bfloat16() of
        # the model around must not round them further: float64 or float32, always from the exact.
        super()._apply(fn, recurse)
        for name, values in self._exact.items():
            moved = self._buffers[name]
            assert moved is not None
            dtype = torch.float64 if moved.dtype == torch.float64 else torch.float32
            self._buffers[name] = values.to(moved.device, dtype)
        return self


def require(condition: bool, message: str) -> None:
    """Raise ConfigError with this message unless the condition holds."""
    if not condition:
        raise ConfigError(message)


def require_positive_int(**values: object) -> None:
    """Raise ConfigError for the first value that is not a positive integer of a usual size."""
    for name, value in values.items():
        valid = isinstance(value, int) and not isinstance(value, bool) and value > 0
        require(valid, f"{name} is {value!r}; it must be a positive integer.")
        require(
            cast("int", value) <= _MOST, f"{name} is {value}; it must not be more than {_MOST:,}."
        )


def require_numbers(**values: object) -> None:
    """Raise ConfigError for the first value that is not a number of a usual size."""
    for name, value in values.items():
        valid = isinstance(value, (int, float)) and not isinstance(value, bool)
        require(valid, f"{name} is {value!r}; it must be a number.")
        require(
            abs(cast("float", value)) <= _LARGEST,
            f"{name} is {value}; it must lie between {-_LARGEST:g} and {_LARGEST:g}.",
        )


def require_bools(**values: object) -> None:
    """Raise ConfigError for the first value that is neither True nor False."""
    for name, value in values.items():
        require(isinstance(value, bool), f"{name} is {value!r}; it must be True or False.")


def require_modest_bank(num_bins: int, num_bands: int) -> None:
    """Raise ConfigError for a filter bank of a size that no features have."""
    require(
        num_bins * num_bands <= _MOST_IN_BANK,
        f"{num_bands:,} bands of {num_bins:,} bins are more than {_MOST_IN_BANK:,} numbers; lower "
        "the number of bands, or the length of the frames.",
    )


def require_mel_bank(
    *, sample_rate: int, n_mels: int, n_fft: int, f_min: float, f_max: float
) -> None:
    """Raise ConfigError for an impossible mel filter bank over spectra of ``n_fft`` points."""
    require_positive_int(sample_rate=sample_rate, n_mels=n_mels, n_fft=n_fft)
    require_numbers(f_min=f_min, f_max=f_max)
    require(
        0.0 <= f_min < f_max <= sample_rate / 2,
        f"f_min is {f_min} and f_max is {f_max}; the bands must lie between 0 and "
        f"{sample_rate / 2:g} Hz, half the sample_rate.",
    )
    require(n_fft % 2 == 0, f"n_fft is {n_fft}; it must be even.")
    require_modest_bank(n_fft // 2 + 1, n_mels)


def require_window(*, win_length: int, hop_length: int, n_fft: int) -> None:
    """Raise ConfigError for a window, or a step between windows, of an impossible length."""
    require_positive_int(win_length=win_length, hop_length=hop_length)
    require(
        1 < win_length <= n_fft,
        f"win_length is {win_length}; it must be between 2 samples and n_fft, {n_fft}.",
    )


def require_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    """Raise ConfigError unless the value is one of the choices."""
    listed = ", ".join(str(choice) for choice in choices)
    require(value in choices, f"{name} is {value!r}; choose one of: {listed}.")
