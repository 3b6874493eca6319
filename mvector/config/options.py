"""Options that depend on a choice: one frozen class per feature method, backbone, loss, schedule.

Names and defaults equal the keyword arguments of what they configure (a test holds them together),
so each class is also the reference of what a section of the YAML file may say.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

PositiveInt = Annotated[int, Field(ge=1, le=1_000_000)]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]


class Section(BaseModel):
    """A frozen part of the configuration that knows all of its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _numbers_are_not_truth_values(cls, values: Any) -> Any:
        # pydantic would take True for 1: a slip in a YAML file that must not pass
        if isinstance(values, dict):
            for name, field in cls.model_fields.items():
                if isinstance(values.get(name), bool) and field.annotation in (int, float):
                    values = {**values, name: str(values[name])}
        return values


# ---- features -------------------------------------------------------------------------------


SpectrumArgs = TypeVar("SpectrumArgs", "SpectrogramArgs", "MelSpectrogramArgs")


def _check_window(args: SpectrumArgs) -> SpectrumArgs:
    if args.win_length is not None and args.win_length > args.n_fft:
        raise ValueError(f"win_length {args.win_length} is longer than n_fft {args.n_fft}")
    return args


class SpectrogramArgs(Section):
    """As torchaudio's ``Spectrogram``; lengths in samples."""

    sample_rate: int = Field(16000, ge=1000, le=1_000_000)
    n_fft: PositiveInt = 400
    win_length: PositiveInt | None = None
    hop_length: PositiveInt | None = None
    pad: int = Field(0, ge=0)
    power: float = Field(2.0, gt=0)
    normalized: bool = False
    center: bool = True
    pad_mode: Literal["reflect"] = "reflect"
    onesided: Literal[True] = True

    @model_validator(mode="after")
    def _window_fits(self) -> SpectrogramArgs:
        return _check_window(self)


class MelSpectrogramArgs(Section):
    """As torchaudio's ``MelSpectrogram``; lengths in samples, frequencies in Hz."""

    sample_rate: int = Field(16000, ge=1000, le=1_000_000)
    n_fft: PositiveInt = 400
    win_length: PositiveInt | None = None
    hop_length: PositiveInt | None = None
    f_min: float = Field(0.0, ge=0)
    f_max: float | None = Field(None, gt=0)
    pad: int = Field(0, ge=0)
    n_mels: PositiveInt = 128
    power: float = Field(2.0, gt=0)
    normalized: bool = False
    center: bool = True
    pad_mode: Literal["reflect"] = "reflect"
    norm: Literal["slaney"] | None = None
    mel_scale: Literal["htk", "slaney"] = "htk"

    @model_validator(mode="after")
    def _window_and_band_fit(self) -> MelSpectrogramArgs:
        upper = self.sample_rate / 2 if self.f_max is None else self.f_max
        if self.f_min >= upper:
            raise ValueError(f"f_min {self.f_min:g} Hz is not below f_max {upper:g} Hz")
        return _check_window(self)


class MelKwargs(MelSpectrogramArgs):
    """The mel spectrogram under the MFCC; its rate is the MFCC's."""


class MFCCArgs(Section):
    """As torchaudio's ``MFCC``; the 80 dB range is that of each clip."""

    sample_rate: int = Field(16000, ge=1000, le=1_000_000)
    n_mfcc: PositiveInt = 40
    dct_type: Literal[2] = 2
    norm: Literal["ortho"] | None = "ortho"
    log_mels: bool = False
    melkwargs: MelKwargs = MelKwargs()

    @model_validator(mode="after")
    def _no_more_than_mels(self) -> MFCCArgs:
        if self.n_mfcc > self.melkwargs.n_mels:
            raise ValueError(
                f"n_mfcc {self.n_mfcc} is more than melkwargs.n_mels {self.melkwargs.n_mels}"
            )
        return self


class FbankArgs(Section):
    """As Kaldi's ``compute-fbank-feats``; frame length and shift in ms, frequencies in Hz."""

    sample_frequency: float = Field(16000.0, ge=1000, le=1_000_000)
    num_mel_bins: int = Field(23, ge=4)
    frame_length: float = Field(25.0, gt=0)
    frame_shift: float = Field(10.0, gt=0)
    low_freq: float = Field(20.0, ge=0)
    high_freq: float = 0.0
    window_type: Literal["povey", "hamming", "hanning", "rectangular", "blackman"] = "povey"
    blackman_coeff: float = 0.42
    dither: float = Field(0.0, ge=0)
    energy_floor: float = Field(1.0, ge=0)
    htk_compat: bool = False
    min_duration: float = Field(0.0, ge=0)
    preemphasis_coefficient: float = Field(0.97, ge=0, le=1)
    raw_energy: bool = True
    remove_dc_offset: bool = True
    round_to_power_of_two: bool = True
    snip_edges: bool = True
    subtract_mean: bool = False
    use_energy: bool = False
    use_log_fbank: bool = True
    use_power: bool = True


class SpeechbrainFbankArgs(Section):
    """As SpeechBrain's ``Fbank``; window and hop in ms, frequencies in Hz."""

    sample_rate: int = Field(16000, ge=1000, le=1_000_000)
    n_mels: PositiveInt = 80
    n_fft: PositiveInt = 400
    win_length: float = Field(25.0, gt=0)
    hop_length: float = Field(10.0, gt=0)
    f_min: float = Field(0.0, ge=0)
    f_max: float | None = Field(None, gt=0)
    top_db: float = Field(80.0, gt=0)


FEATURE_ARGS: dict[str, type[Section]] = {
    "Spectrogram": SpectrogramArgs,
    "MelSpectrogram": MelSpectrogramArgs,
    "MFCC": MFCCArgs,
    "Fbank": FbankArgs,
    "SpeechbrainFbank": SpeechbrainFbankArgs,
}

# ---- losses ---------------------------------------------------------------------------------


Angle = Annotated[float, Field(ge=0, lt=1.5708)]
Share = Annotated[float, Field(ge=0, lt=1)]
Scale = Annotated[float, Field(gt=0)]


class LossArgs(Section):
    """Options of a loss, and what it is given: see :class:`mvector.losses.SpeakerLoss`."""

    classifier_type: ClassVar[Literal["Cosine", "Linear"]] = "Cosine"
    needs_embeddings: ClassVar[bool] = False


class AAMLossArgs(LossArgs):
    """Additive angular margin, in radians."""

    margin: Angle = 0.2
    scale: Scale = 32.0
    easy_margin: bool = False
    label_smoothing: Share = 0.0


class AMLossArgs(LossArgs):
    """Additive margin, on the cosine."""

    margin: Share = 0.2
    scale: Scale = 32.0
    label_smoothing: Share = 0.0


class ARMLossArgs(AMLossArgs):
    """Real additive margin, on the cosine."""


class CELossArgs(LossArgs):
    """Softmax cross-entropy."""

    classifier_type = "Linear"
    label_smoothing: Share = 0.0


class SphereFace2Args(LossArgs):
    """Binary decisions; the margin is a similarity (type C) or in radians (type A)."""

    margin: Share = 0.2
    scale: Scale = 32.0
    positive_weight: float = Field(0.7, gt=0, lt=1)
    t: float = Field(3.0, ge=1)
    margin_type: Literal["A", "C"] = "C"


class SubCenterLossArgs(AAMLossArgs):
    """Additive angular margin with several centres for each speaker; margins in radians."""

    num_centers: PositiveInt = 3
    k_top: int = Field(0, ge=0)
    mp: Angle = 0.06


class TripletAngularMarginLossArgs(LossArgs):
    """Hardest positive and negative of each clip in its batch; values are cosines."""

    needs_embeddings = True
    margin: float = Field(0.5, ge=0, le=2)
    add_absolute: bool = True
    absolute_loss_weight: float = Field(1.0, ge=0)
    ap_value: float = Field(0.8, ge=-1, le=1)
    an_value: float = Field(0.4, ge=-1, le=1)


LOSS_ARGS: dict[str, type[LossArgs]] = {
    "AAMLoss": AAMLossArgs,
    "AMLoss": AMLossArgs,
    "ARMLoss": ARMLossArgs,
    "CELoss": CELossArgs,
    "SphereFace2": SphereFace2Args,
    "SubCenterLoss": SubCenterLossArgs,
    "TripletAngularMarginLoss": TripletAngularMarginLossArgs,
}


class MarginSchedulerArgs(Section):
    """Epochs are counted from 0; ``None`` is 30 % (start) and 70 % (end) of ``max_epoch``."""

    initial_margin: float = Field(0.0, ge=0, lt=1.5708)
    final_margin: float = Field(0.3, ge=0, lt=1.5708)
    increase_start_epoch: float | None = Field(None, ge=0)
    fix_epoch: float | None = Field(None, ge=0)
    increase_type: Literal["linear", "exp"] = "exp"

    @model_validator(mode="after")
    def _epochs_in_order(self) -> MarginSchedulerArgs:
        start, end = self.increase_start_epoch, self.fix_epoch
        if start is not None and end is not None and start > end:
            raise ValueError(f"increase_start_epoch {start:g} is after fix_epoch {end:g}")
        return self


# ---- learning-rate schedules ----------------------------------------------------------------
# Units are epochs, with fractions; where torch.optim.lr_scheduler says steps, read epochs.


Gamma = Annotated[float, Field(gt=0, le=1)]


class CosineAnnealingArgs(Section):
    """Half a cosine from the learning rate to ``min_lr`` over ``T_max`` epochs (all if None)."""

    T_max: float | None = Field(None, gt=0)
    min_lr: float = Field(0.0, ge=0)


class WarmupCosineArgs(Section):
    """A linear rise over ``warmup_epoch`` epochs to ``max_lr`` (None: the learning rate), then half
    a cosine to ``min_lr``."""

    min_lr: float = Field(1e-5, ge=0)
    max_lr: float | None = Field(None, gt=0)
    warmup_epoch: float = Field(5.0, ge=0)


class ExponentialArgs(Section):
    """The rate falls by the factor ``gamma`` in each epoch, evenly within the epoch."""

    gamma: Gamma


class OneCycleArgs(Section):
    """One cycle over the whole run (Smith & Topin, "Super-convergence", 2017), in half cosines:
    from ``max_lr / div_factor`` up to ``max_lr`` (None: the learning rate) in the share
    ``pct_start`` of the epochs, then down to ``max_lr / div_factor / final_div_factor``. The
    momentum does not change."""

    max_lr: float | None = Field(None, gt=0)
    pct_start: Probability = 0.3
    div_factor: float = Field(25.0, ge=1)
    final_div_factor: float = Field(1e4, ge=1)


class StepArgs(Section):
    """The rate falls by the factor ``gamma`` at once, after every ``step_size`` epochs."""

    step_size: PositiveInt
    gamma: Gamma = 0.1


class MultiStepArgs(Section):
    """The rate falls by the factor ``gamma`` at once, after the epochs that ``milestones`` lists
    in ascending order."""

    milestones: tuple[Annotated[float, Field(gt=0)], ...]
    gamma: Gamma = 0.1

    @model_validator(mode="after")
    def _in_order(self) -> MultiStepArgs:
        given = ", ".join(f"{milestone:g}" for milestone in self.milestones)
        if not given or list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones [{given}] are not epochs in ascending order")
        return self


class PlateauArgs(Section):
    """The rate falls by ``factor``, to ``min_lr`` at the lowest, when the EER has not fallen by
    the share ``threshold`` of its best for more than ``patience`` epochs."""

    factor: float = Field(0.1, gt=0, lt=1)
    patience: int = Field(10, ge=0)
    threshold: Share = 1e-4
    min_lr: float = Field(0.0, ge=0)


SCHEDULER_ARGS: dict[str, type[Section]] = {
    "CosineAnnealingLR": CosineAnnealingArgs,
    "WarmupCosineSchedulerLR": WarmupCosineArgs,
    "ExponentialLR": ExponentialArgs,
    "OneCycleLR": OneCycleArgs,
    "StepLR": StepArgs,
    "MultiStepLR": MultiStepArgs,
    "ReduceLROnPlateau": PlateauArgs,
}
