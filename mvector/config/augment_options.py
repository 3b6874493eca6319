"""What is done to training clips: one frozen class per augmentation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from mvector.config.options import Probability, Section


class SpeedConf(Section):
    """Speed perturbation by 0.9, 1.0 or 1.1."""

    prob: Probability = 0.0
    speed_perturb_3_class: bool = False


class VolumeConf(Section):
    """A random gain in dB."""

    prob: Probability = 0.0
    min_gain_dBFS: float = -15.0
    max_gain_dBFS: float = 15.0

    @model_validator(mode="after")
    def _range_in_order(self) -> VolumeConf:
        if self.min_gain_dBFS > self.max_gain_dBFS:
            raise ValueError("min_gain_dBFS is above max_gain_dBFS")
        return self


class NoiseConf(Section):
    """Additive noise from the clips of a folder."""

    prob: Probability = 0.0
    noise_dir: str | None = None
    min_snr_dB: float = 10.0
    max_snr_dB: float = 50.0

    @model_validator(mode="after")
    def _range_in_order(self) -> NoiseConf:
        if self.min_snr_dB > self.max_snr_dB:
            raise ValueError("min_snr_dB is above max_snr_dB")
        return self


class ReverbConf(Section):
    """Convolution with the impulse responses of a folder."""

    prob: Probability = 0.0
    reverb_dir: str | None = None


class SpecAugConf(Section):
    """Masks on the features; ratios are of the bins and of the frames."""

    prob: Probability = 0.0
    freq_mask_ratio: Probability = 0.1
    n_freq_masks: int = Field(1, ge=0)
    time_mask_ratio: Probability = 0.05
    n_time_masks: int = Field(1, ge=0)
    max_time_warp: Literal[0] = 0


class AugmentConf(Section):
    """What is done to training clips; everything is off by default."""

    speed: SpeedConf = SpeedConf()
    volume: VolumeConf = VolumeConf()
    noise: NoiseConf = NoiseConf()
    reverb: ReverbConf = ReverbConf()
    spec_aug: SpecAugConf = SpecAugConf()
