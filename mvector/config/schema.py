"""The configuration as typed, frozen sections; the names are the keys of the YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from mvector.config.augment_options import AugmentConf
from mvector.config.choices import (
    BackboneName,
    LossConf,
    ModelConf,
    OptimizerConf,
    PreprocessConf,
)
from mvector.config.conditions import require_no_contradiction
from mvector.config.front_end_options import FrontEndOptions
from mvector.config.options import LOSS_ARGS
from mvector.config.section import PathText, Section


class DataLoaderConf(Section):
    """How training batches are made."""

    batch_size: int = Field(64, ge=2)
    num_workers: int = Field(4, ge=0, le=1024)
    drop_last: bool = True


class EvalConf(Section):
    """How embeddings are extracted for evaluation; durations in seconds.

    ``enrolment``, ``skip_missing`` and ``cache`` are the options of ``eval.py`` with these names,
    for the evaluations during a training too.
    """

    batch_size: int = Field(16, ge=1)
    max_duration: float | None = Field(None, gt=0, allow_inf_nan=True)
    enrolment: str = Field("mean", pattern="^(mean|raw-mean|max|concat|top-[1-9][0-9]{0,5})$")
    skip_missing: bool = False
    cache: PathText | None = None


class DatasetConf(FrontEndOptions):
    """Lists, clip lengths and loudness; durations in seconds."""

    dataLoader: DataLoaderConf = DataLoaderConf()
    eval_conf: EvalConf = EvalConf()
    train_list: PathText
    enroll_list: PathText | None = None
    trials_list: PathText | None = None
    data_root: PathText | None = None
    num_speakers: int | None = Field(None, ge=2, le=10_000_000)
    domains: PathText | None = None
    domain_batches: bool = True
    max_duration: float = Field(3.0, gt=0)
    min_crop_duration: float | None = Field(None, gt=0)
    batch_sampler: Literal["random", "balanced", "speakers", "duration"] = "random"
    sample_per_id: int = Field(4, ge=2)
    batch_duration: float | None = Field(None, gt=0)


class TrainConf(Section):
    """The run itself."""

    max_epoch: int = Field(ge=1)
    log_interval: int = Field(100, ge=1)
    save_interval: int | None = Field(None, ge=1)
    keep_last: int = Field(2, ge=1)
    enable_amp: bool | Literal["auto"] = False
    amp_dtype: Literal["auto", "bfloat16", "float16"] = "auto"
    matmul_precision: Literal["highest", "high"] = "high"
    use_compile: bool = False
    accumulate_batches: int = Field(1, ge=1)
    max_grad_norm: float | None = Field(None, gt=0)
    max_bad_steps: int = Field(20, ge=1)
    early_stop_epochs: int | None = Field(None, ge=1)
    freeze_backbone_epochs: int = Field(0, ge=0)
    classifier_from_means: bool = False
    ema_decay: float | None = Field(None, ge=0, lt=1)
    sync_batch_norm: bool = False
    classifier_sharding: bool = False
    classifier_sample_rate: float = Field(1.0, gt=0, le=1)
    tensorboard: bool = False
    seed: int = Field(1000, ge=0, lt=2**63 - 2**20)


class Config(Section):
    """A whole, valid configuration."""

    use_model: BackboneName
    dataset_conf: DatasetConf
    preprocess_conf: PreprocessConf
    model_conf: ModelConf = Field(default_factory=dict, validate_default=True)
    loss_conf: LossConf
    optimizer_conf: OptimizerConf = OptimizerConf()
    train_conf: TrainConf
    augment_conf: AugmentConf = AugmentConf()

    @field_validator("model_conf", mode="before")
    @classmethod
    def _pass_use_model(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, Mapping):
            return value
        return ModelConf.model_validate(value, context={"use_model": info.data.get("use_model")})

    @model_validator(mode="after")
    def _settings_go_together(self) -> Config:
        require_no_contradiction(self)
        return self

    @property
    def model_name(self) -> str:
        """Backbone and feature method, as model folders are called."""
        return f"{self.use_model}_{self.preprocess_conf.feature_method}"

    @property
    def classifier_type(self) -> str:
        """The classifier's kind: as given, or the one that fits the loss."""
        given = self.model_conf.classifier.classifier_type
        return given or LOSS_ARGS[self.loss_conf.use_loss].classifier_type
