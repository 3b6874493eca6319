"""What is done to training clips: one frozen class per augmentation."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from mvector.config.options import PathText, Probability, Section

Seconds = Annotated[float, Field(gt=0.0, le=60.0)]
Weight = Annotated[float, Field(ge=0.0)]
Metres = Annotated[float, Field(ge=1.5, le=100.0)]
Megabytes = Annotated[int, Field(ge=0, le=1_000_000)]


class Augmentation(Section):
    """What happens to a share ``prob`` of the clips; ``min_x`` may not be above ``max_x``."""

    prob: Probability = 0.0

    @model_validator(mode="after")
    def _ranges_in_order(self) -> Augmentation:
        for highest in type(self).model_fields:
            if highest.startswith("max_"):
                lowest = f"min_{highest.removeprefix('max_')}"
                if getattr(self, lowest, -math.inf) > getattr(self, highest):
                    raise ValueError(f"{lowest} is above {highest}")
        return self


class SpeedConf(Augmentation):
    """Speed perturbation by 0.9, 1.0 or 1.1."""

    speed_perturb_3_class: bool = False


class VolumeConf(Augmentation):
    """A random gain in dB."""

    min_gain_dBFS: float = -15.0
    max_gain_dBFS: float = 15.0


class NoiseConf(Augmentation):
    """Additive noise from the clips of a folder."""

    noise_dir: PathText | None = None
    min_snr_dB: float = 10.0
    max_snr_dB: float = 50.0
    cache_MB: Megabytes = 512


class BabbleConf(Augmentation):
    """Several other speakers at once, from the clips of a folder."""

    babble_dir: PathText | None = None
    min_talkers: int = Field(3, ge=1, le=50)
    max_talkers: int = Field(7, ge=1, le=50)
    min_snr_dB: float = 13.0
    max_snr_dB: float = 20.0
    cache_MB: Megabytes = 512


class ReverbConf(Augmentation):
    """Convolution with the impulse responses of a folder, or of simulated rooms."""

    reverb_dir: PathText | None = None
    max_duration_s: Seconds = 1.0
    cache_MB: Megabytes = 512
    simulate: bool = False
    num_rooms: int = Field(60, ge=1, le=10_000)
    room_seed: int = Field(0, ge=0)
    min_rt60_s: float = Field(0.2, ge=0.05, le=3.0)
    max_rt60_s: float = Field(0.8, ge=0.05, le=3.0)
    min_length_m: Metres = 3.0
    max_length_m: Metres = 10.0
    min_height_m: Metres = 2.4
    max_height_m: Metres = 4.0


class FlipSpliceConf(Augmentation):
    """The crop cut in pieces that come in another order."""

    min_pieces: int = Field(2, ge=2, le=100)
    max_pieces: int = Field(4, ge=2, le=100)
    min_piece_s: Seconds = 0.3


class SilenceConf(Augmentation):
    """Stretches of digital silence, inserted or in place of the speech."""

    insert_share: Probability = 0.5
    min_stretches: int = Field(1, ge=1, le=100)
    max_stretches: int = Field(3, ge=1, le=100)
    min_duration_s: Seconds = 0.05
    max_duration_s: Seconds = 0.3


class ClippingConf(Augmentation):
    """The loudest samples cut off at one level, as an overloaded microphone does."""

    min_share: Probability = 0.001
    max_share: Probability = 0.05


class CodecConf(Augmentation):
    """What a transmission does to speech; the weights say how often each kind is drawn."""

    telephone: Weight = 1.0
    mu_law: Weight = 1.0
    mp3: Weight = 0.0
    opus: Weight = 0.0
    min_compression: Probability = 0.8
    max_compression: Probability = 0.95

    @model_validator(mode="after")
    def _one_kind_at_least(self) -> CodecConf:
        if self.telephone + self.mu_law + self.mp3 + self.opus == 0.0:
            raise ValueError("telephone, mu_law, mp3 and opus are all 0; to turn it off set prob 0")
        return self


class SpecAugConf(Augmentation):
    """Masks on the features; ratios are of the bins and of the frames."""

    freq_mask_ratio: Probability = 0.1
    n_freq_masks: int = Field(1, ge=0)
    time_mask_ratio: Probability = 0.05
    n_time_masks: int = Field(1, ge=0)
    max_time_warp: Literal[0] = 0


class AugmentConf(Section):
    """What is done to training clips; everything is off by default."""

    speed: SpeedConf = SpeedConf()
    flip_splice: FlipSpliceConf = FlipSpliceConf()
    silence: SilenceConf = SilenceConf()
    reverb: ReverbConf = ReverbConf()
    noise: NoiseConf = NoiseConf()
    babble: BabbleConf = BabbleConf()
    volume: VolumeConf = VolumeConf()
    clipping: ClippingConf = ClippingConf()
    codec: CodecConf = CodecConf()
    spec_aug: SpecAugConf = SpecAugConf()
