"""Options of the losses and of the learning-rate schedules: one frozen class each.

Here as in :mod:`mvector.config.feature_options` and :mod:`mvector.config.backbone_options`, names
and defaults equal the keyword arguments of what they configure (a test holds them together), so
each class is also the reference of what a section of the YAML file may say.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from mvector.config.section import PositiveInt, Probability, Section

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
    """From ``initial_margin`` to ``final_margin``, evenly (``increase_type`` linear) or steeply at
    first (exp). Epochs are counted from 0; ``None`` is 30 % (start) and 70 % (end) of
    ``max_epoch``.
    """

    initial_margin: float = Field(0.0, ge=0, lt=1.5708)
    final_margin: float = Field(0.3, ge=0, lt=1.5708)
    increase_start_epoch: float | None = Field(None, ge=0)
    fix_epoch: float | None = Field(None, ge=0)
    increase_type: Literal["linear", "exp"] = "exp"

    def epochs(self, max_epoch: int) -> tuple[float, float]:
        """Where the margin begins to grow and where it is full, of a run of ``max_epoch``."""
        start, end = self.increase_start_epoch, self.fix_epoch
        return (
            0.3 * max_epoch if start is None else start,
            0.7 * max_epoch if end is None else end,
        )


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
    def _milestones_ascend(self) -> MultiStepArgs:
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
