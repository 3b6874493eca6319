"""Losses: classifier heads, margin losses and the schedule of the margin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mvector.config.options import LOSS_ARGS
from mvector.config.schema import LossConf
from mvector.errors import ConfigError
from mvector.losses.base import SpeakerLoss
from mvector.losses.classifier import SpeakerClassifier
from mvector.losses.margin import AAMLoss, AMLoss, ARMLoss, CELoss, scheduled_margin
from mvector.losses.sphereface2 import SphereFace2
from mvector.losses.subcenter import SubCenterLoss
from mvector.losses.triplet import TripletAngularMarginLoss

# A new loss: a class, a line here, and its options in mvector.config.options.
LOSSES: dict[str, type[SpeakerLoss]] = {
    "AAMLoss": AAMLoss,
    "AMLoss": AMLoss,
    "ARMLoss": ARMLoss,
    "CELoss": CELoss,
    "SphereFace2": SphereFace2,
    "SubCenterLoss": SubCenterLoss,
    "TripletAngularMarginLoss": TripletAngularMarginLoss,
}


def build_loss(loss_conf: LossConf | Mapping[str, Any]) -> SpeakerLoss:
    """The loss that a configuration's ``loss_conf`` section describes.

    Raises:
        ConfigError: there is no such loss or it has no such argument.
    """
    if isinstance(loss_conf, LossConf):
        name, args = loss_conf.use_loss, loss_conf.args.model_dump()
    else:
        name, args = loss_conf.get("use_loss", ""), dict(loss_conf.get("args") or {})
    if name not in LOSSES:
        raise ConfigError(f"There is no loss '{name}'; there are: {', '.join(LOSSES)}.")
    unknown = set(args) - set(LOSS_ARGS[name].model_fields)
    if unknown:
        raise ConfigError(f"{name} has no argument '{min(unknown)}'.")
    return LOSSES[name](**args)


__all__ = ["LOSSES", "SpeakerClassifier", "SpeakerLoss", "build_loss", "scheduled_margin"]
