"""Settings that have an effect beside certain values of others only: the reference of them.

A value that is given and would change nothing is refused. Given is what differs from the default,
so that a resolved configuration, in which every key stands, can be read again. Not refused are
values beside the switch that turns their own section off (``prob`` of an augmentation), and
settings that take the place of others where they are given and say so (``batch_duration`` of
``batch_size``, ``max_lr`` of ``learning_rate``, the margin's schedule of ``margin``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from mvector.config.backbone_options import tdnn_pooling
from mvector.config.clashes import clashes
from mvector.config.options import (
    LOSS_ARGS,
    SubCenterLossArgs,
    TripletAngularMarginLossArgs,
)

if TYPE_CHECKING:
    from mvector.config.schema import Config

Holds = Callable[["Config"], bool]

_ATTENTION = ("SAP", "ASP", "MHASTP", "MQMHASTP")
_ROOMS = (
    "num_rooms room_seed min_rt60_s max_rt60_s min_length_m max_length_m min_height_m max_height_m"
)


class ContradictionsError(ValueError):
    """Settings that do not go together, a sentence each."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


def _pooling(config: Config) -> str:
    backbone: Any = config.model_conf.backbone
    given = getattr(backbone, "pooling_type", None)
    return tdnn_pooling(given, getattr(backbone, "layout", ""))


def _has_classifier(config: Config) -> bool:
    return not LOSS_ARGS[config.loss_conf.use_loss].needs_embeddings


def _bounds_cosines(config: Config) -> bool:
    args = config.loss_conf.args
    return not isinstance(args, TripletAngularMarginLossArgs) or args.add_absolute


def _moves_rivals(config: Config) -> bool:
    args = config.loss_conf.args
    return not isinstance(args, SubCenterLossArgs) or args.k_top > 0


def _simulates_rooms(config: Config) -> bool:
    return config.augment_conf.reverb.prob == 0 or config.augment_conf.reverb.simulate


def _codec_draws(kind: str) -> Holds:
    def holds(config: Config) -> bool:
        codec = config.augment_conf.codec
        return codec.prob == 0 or getattr(codec, kind) > 0

    return holds


# section, its keys, when they are of use, and that in words
_NEEDS: tuple[tuple[str, str, Holds, str], ...] = (
    (
        "dataset_conf",
        "sample_per_id",
        lambda c: c.dataset_conf.batch_sampler == "speakers",
        "dataset_conf.batch_sampler speakers",
    ),
    (
        "dataset_conf",
        "batch_duration",
        lambda c: c.dataset_conf.batch_sampler == "duration",
        "dataset_conf.batch_sampler duration",
    ),
    (
        "dataset_conf.dataLoader",
        "drop_last",
        lambda c: c.dataset_conf.batch_sampler in ("random", "balanced"),
        "dataset_conf.batch_sampler random or balanced",
    ),
    (
        "dataset_conf",
        "domain_batches",
        lambda c: c.dataset_conf.domains is not None,
        "a dataset_conf.domains",
    ),
    ("dataset_conf", "vad_method", lambda c: c.dataset_conf.do_vad, "dataset_conf.do_vad True"),
    (
        "dataset_conf",
        "target_dB",
        lambda c: c.dataset_conf.use_dB_normalization,
        "dataset_conf.use_dB_normalization True",
    ),
    (
        "model_conf.backbone",
        "attention_channels",
        lambda c: _pooling(c) in _ATTENTION,
        f"a pooling_type of {', '.join(_ATTENTION)}",
    ),
    (
        "model_conf.backbone",
        "global_context attention_norm",
        lambda c: _pooling(c) == "ASP",
        "pooling_type ASP",
    ),
    (
        "model_conf.backbone",
        "pooling_eps",
        lambda c: _pooling(c) == "TSTP",
        "pooling_type TSTP",
    ),
    (
        "model_conf.classifier",
        "classifier_type num_blocks",
        _has_classifier,
        "a loss that has a classifier",
    ),
    (
        "model_conf.classifier",
        "inter_dim",
        lambda c: c.model_conf.classifier.num_blocks > 0,
        "model_conf.classifier.num_blocks above 0",
    ),
    (
        "loss_conf.margin_scheduler_args",
        "initial_margin final_margin increase_start_epoch fix_epoch increase_type",
        lambda c: c.loss_conf.use_margin_scheduler,
        "loss_conf.use_margin_scheduler True",
    ),
    (
        "loss_conf",
        "teacher_loss teacher_weight label_weight",
        lambda c: c.loss_conf.teacher is not None,
        "a loss_conf.teacher",
    ),
    (
        "loss_conf.args",
        "absolute_loss_weight ap_value an_value",
        _bounds_cosines,
        "loss_conf.args.add_absolute True",
    ),
    ("loss_conf.args", "mp", _moves_rivals, "loss_conf.args.k_top above 0"),
    (
        "optimizer_conf",
        "momentum",
        lambda c: c.optimizer_conf.optimizer == "SGD",
        "optimizer_conf.optimizer SGD",
    ),
    (
        "optimizer_conf",
        "decay_norm_and_bias",
        lambda c: c.optimizer_conf.weight_decay > 0,
        "optimizer_conf.weight_decay above 0",
    ),
    (
        "train_conf",
        "amp_dtype",
        lambda c: c.train_conf.enable_amp is True,
        "train_conf.enable_amp True",
    ),
    (
        "train_conf",
        "classifier_sample_rate",
        lambda c: c.train_conf.classifier_sharding,
        "train_conf.classifier_sharding True",
    ),
    (
        "train_conf",
        "classifier_from_means",
        lambda c: _has_classifier(c) and c.classifier_type == "Cosine",
        "a loss whose classifier gives cosines",
    ),
    (
        "augment_conf.speed",
        "speed_perturb_3_class",
        lambda c: c.augment_conf.speed.prob > 0,
        "augment_conf.speed.prob above 0",
    ),
    (
        "augment_conf.reverb",
        _ROOMS,
        _simulates_rooms,
        "augment_conf.reverb.simulate True",
    ),
    (
        "augment_conf.silence",
        "min_floor_dB max_floor_dB",
        lambda c: c.augment_conf.silence.prob == 0 or c.augment_conf.silence.zero_share < 1,
        "augment_conf.silence.zero_share below 1",
    ),
    *(
        (
            "augment_conf.codec",
            f"min_{name} max_{name}",
            _codec_draws(kind),
            f"augment_conf.codec.{kind} above 0",
        )
        for kind, name in (
            ("low_pass", "cutoff_hz"),
            ("mp3", "mp3_kbps"),
            ("opus", "opus_kbps"),
            ("aac", "aac_kbps"),
        )
    ),
)


def require_no_contradiction(config: Config) -> None:
    """Refuse settings that do not go together, all at once.

    Raises:
        ContradictionsError: a sentence for each.
    """
    mistakes = [*_without_effect(config), *clashes(config)]
    if mistakes:
        raise ContradictionsError(mistakes)


def _without_effect(config: Config) -> Iterator[str]:
    for section, keys, is_of_use, where in _NEEDS:
        if is_of_use(config):
            continue
        node: Any = config
        for name in section.split("."):
            node = getattr(node, name)
        for key in keys.split():
            if _is_given(node, key):
                yield (
                    f"{section}.{key} {getattr(node, key)} has an effect only with {where}; "
                    "set that, or leave the key out"
                )


def _is_given(section: BaseModel, key: str) -> bool:
    field = type(section).model_fields.get(key)
    return field is not None and getattr(section, key) != field.get_default()
