"""What is done to training clips: one frozen class per augmentation."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from mvector.config.section import PathText, Probability, Section

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


class CopiesConf(Augmentation):
    """Crops of copies of the training corpus, in place of the corpus itself."""

    folders: tuple[PathText, ...] = ()


class SpeedConf(Augmentation):
    """Speed perturbation by 0.9, 1.0 or 1.1."""

    speed_perturb_3_class: bool = False


class VolumeConf(Augmentation):
    """A random gain in dB, from ``min_gain_dBFS`` to ``max_gain_dBFS``."""

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
    """Stretches of dead air, inserted or in place of the speech."""

    insert_share: Probability = 0.5
    min_stretches: int = Field(1, ge=1, le=100)
    max_stretches: int = Field(3, ge=1, le=100)
    min_duration_s: Seconds = 0.05
    max_duration_s: Seconds = 0.3
    max_silent_share: Probability = 0.7
    edge_share: Probability = 0.5
    zero_share: Probability = 0.5
    min_floor_dB: float = Field(-90.0, ge=-150.0, le=0.0)
    max_floor_dB: float = Field(-50.0, ge=-150.0, le=0.0)


class EqualizerConf(Augmentation):
    """The frequency response of another microphone: a slope in dB per octave, and peaking bands."""

    min_slope_dB: float = Field(-3.0, ge=-12.0, le=12.0)
    max_slope_dB: float = Field(3.0, ge=-12.0, le=12.0)
    min_bands: int = Field(1, ge=0, le=20)
    max_bands: int = Field(3, ge=1, le=20)
    min_gain_dB: float = Field(-8.0, ge=-40.0, le=40.0)
    max_gain_dB: float = Field(8.0, ge=-40.0, le=40.0)
    min_q: float = Field(0.5, ge=0.1, le=10.0)
    max_q: float = Field(2.0, ge=0.1, le=10.0)


class ClippingConf(Augmentation):
    """The loudest samples cut off at one level, as an overloaded microphone does."""

    min_share: Probability = 0.001
    max_share: Probability = 0.05


class CodecConf(Augmentation):
    """What a transmission does to speech; the weights say how often each kind is drawn."""

    telephone: Weight = 1.0
    mu_law: Weight = 1.0
    low_pass: Weight = 0.0
    sample_rate: Weight = 0.0
    gsm: Weight = 0.0
    mp3: Weight = 0.0
    opus: Weight = 0.0
    aac: Weight = 0.0
    amr: Weight = 0.0
    g722: Weight = 0.0
    min_cutoff_hz: float = Field(3400.0, ge=500.0, le=100_000.0)
    max_cutoff_hz: float = Field(7000.0, ge=500.0, le=100_000.0)
    min_mp3_kbps: float = Field(16.0, ge=8.0, le=320.0)
    max_mp3_kbps: float = Field(64.0, ge=8.0, le=320.0)
    min_opus_kbps: float = Field(6.0, ge=6.0, le=256.0)
    max_opus_kbps: float = Field(32.0, ge=6.0, le=256.0)
    min_aac_kbps: float = Field(12.0, ge=8.0, le=320.0)
    max_aac_kbps: float = Field(48.0, ge=8.0, le=320.0)

    @model_validator(mode="after")
    def _one_kind_at_least(self) -> CodecConf:
        if not any(getattr(self, kind) for kind in CODEC_KINDS):
            raise ValueError("the weights of all kinds are 0; to turn it off set prob 0")
        return self


CODEC_KINDS = tuple(
    name for name in CodecConf.model_fields if name != "prob" and name[:4] not in ("min_", "max_")
)


class SpecAugConf(Augmentation):
    """Masks on the features; ratios are of the bins and of the frames."""

    freq_mask_ratio: Probability = 0.1
    n_freq_masks: int = Field(1, ge=0)
    time_mask_ratio: Probability = 0.05
    n_time_masks: int = Field(1, ge=0)
    max_time_warp: Literal[0] = 0


class AugmentConf(Section):
    """What is done to training clips; everything is off by default."""

    copies: CopiesConf = CopiesConf()
    speed: SpeedConf = SpeedConf()
    flip_splice: FlipSpliceConf = FlipSpliceConf()
    reverb: ReverbConf = ReverbConf()
    noise: NoiseConf = NoiseConf()
    babble: BabbleConf = BabbleConf()
    equalizer: EqualizerConf = EqualizerConf()
    volume: VolumeConf = VolumeConf()
    clipping: ClippingConf = ClippingConf()
    silence: SilenceConf = SilenceConf()
    codec: CodecConf = CodecConf()
    spec_aug: SpecAugConf = SpecAugConf()
