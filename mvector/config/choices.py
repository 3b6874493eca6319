"""Sections in which one key decides what the others may be: features, backbone, loss, schedule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, SerializeAsAny, ValidationInfo, field_validator, model_validator

from mvector.config.backbone_options import BACKBONE_OPTIONS
from mvector.config.feature_options import FEATURE_ARGS
from mvector.config.options import LOSS_ARGS, SCHEDULER_ARGS, MarginSchedulerArgs
from mvector.config.section import PathText, Section


def _options_of_choice(table: Mapping[str, type[Section]], choice: Any, value: Any) -> Section:
    """The options class that belongs to a choice; an invalid choice has an error of its own."""
    if choice not in table:
        return Section()
    if isinstance(value, Section):
        value = value.model_dump()
    return table[choice].model_validate({} if value is None else value)


if TYPE_CHECKING:
    FeatureName = str
    BackboneName = str
    SchedulerName = str
    LossName = str
else:  # what has a class of options can be chosen
    FeatureName = Literal[tuple(FEATURE_ARGS)]
    BackboneName = Literal[tuple(BACKBONE_OPTIONS)]
    SchedulerName = Literal[tuple(SCHEDULER_ARGS)]
    LossName = Literal[tuple(LOSS_ARGS)]


class PreprocessConf(Section):
    """The front end: waveform to features."""

    feature_method: FeatureName
    method_args: SerializeAsAny[Section] = Field(default_factory=dict, validate_default=True)
    normalize_mean: bool = True
    normalize_variance: bool = False
    log_spectrum: bool = False

    @field_validator("method_args", mode="before")
    @classmethod
    def _options_fit_choice(cls, value: Any, info: ValidationInfo) -> Section:
        return _options_of_choice(FEATURE_ARGS, info.data.get("feature_method"), value)

    @model_validator(mode="after")
    def _log_spectrum_fits_method(self) -> PreprocessConf:
        if self.log_spectrum and self.feature_method not in ("MelSpectrogram", "Spectrogram"):
            raise ValueError(
                f"log_spectrum True does not go with {self.feature_method}, which is logarithmic "
                "already; set it to False"
            )
        return self


class ClassifierConf(Section):
    """The layers between embedding and logits, used in training only: ``num_blocks`` dense ones
    of ``inter_dim`` units before the last."""

    classifier_type: Literal["Cosine", "Linear"] | None = None
    num_blocks: int = Field(0, ge=0)
    inter_dim: int = Field(512, ge=1)


class ModelConf(Section):
    """The backbone's options and the classifier."""

    backbone: SerializeAsAny[Section] = Field(default_factory=dict, validate_default=True)
    classifier: ClassifierConf = ClassifierConf()

    @field_validator("backbone", mode="before")
    @classmethod
    def _options_fit_choice(cls, value: Any, info: ValidationInfo) -> Section:
        return _options_of_choice(BACKBONE_OPTIONS, (info.context or {}).get("use_model"), value)


class LossConf(Section):
    """The loss, its options and the schedule of its margin; a teacher beside it."""

    use_loss: LossName
    args: SerializeAsAny[Section] = Field(default_factory=dict, validate_default=True)
    use_margin_scheduler: bool = False
    margin_scheduler_args: MarginSchedulerArgs = MarginSchedulerArgs()
    teacher: PathText | None = None
    teacher_loss: Literal["similarity", "embedding"] = "similarity"
    teacher_weight: float = Field(1.0, gt=0)
    label_weight: float = Field(1.0, ge=0)

    @field_validator("args", mode="before")
    @classmethod
    def _options_fit_choice(cls, value: Any, info: ValidationInfo) -> Section:
        return _options_of_choice(LOSS_ARGS, info.data.get("use_loss"), value)

    @field_validator("margin_scheduler_args", mode="before")
    @classmethod
    def _none_is_default(cls, value: Any) -> Any:
        return {} if value is None else value

    @model_validator(mode="after")
    def _scheduler_needs_margin(self) -> LossConf:
        if self.use_margin_scheduler and "margin" not in type(self.args).model_fields:
            raise ValueError(
                f"use_margin_scheduler True does not go with {self.use_loss}, which has no margin; "
                "set it to False or choose another loss"
            )
        return self


class OptimizerConf(Section):
    """Optimizer and learning-rate schedule; ``momentum`` is that of SGD."""

    optimizer: Literal["Adam", "AdamW", "SGD"] = "Adam"
    learning_rate: float = Field(0.001, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    backbone_lr_scale: float = Field(1.0, ge=0)
    decay_norm_and_bias: bool = True
    scheduler: SchedulerName | None = "CosineAnnealingLR"
    scheduler_args: SerializeAsAny[Section] | None = Field(None, validate_default=True)

    @field_validator("scheduler_args", mode="before")
    @classmethod
    def _options_fit_choice(cls, value: Any, info: ValidationInfo) -> Section | None:
        scheduler = info.data.get("scheduler")
        if scheduler is None:
            if value:
                raise ValueError("arguments are given, but optimizer_conf.scheduler is not")
            return None
        return _options_of_choice(SCHEDULER_ARGS, scheduler, value)

    @model_validator(mode="after")
    def _min_lr_below_learning_rate(self) -> OptimizerConf:
        lowest = getattr(self.scheduler_args, "min_lr", 0.0)
        highest = getattr(self.scheduler_args, "max_lr", None) or self.learning_rate
        if lowest > highest:
            raise ValueError(
                f"scheduler_args.min_lr {lowest:g} is above the learning rate {highest:g} that it "
                "shall fall from; lower it"
            )
        return self
