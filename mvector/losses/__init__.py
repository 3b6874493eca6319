"""Losses: classifier heads, margin losses and the schedule of the margin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from mvector.config.options import LOSS_ARGS
from mvector.config.schema import LossConf
from mvector.errors import ConfigError
from mvector.losses.classifier import SpeakerClassifier
from mvector.losses.margin import AAMLoss, CELoss, scheduled_margin

LOSSES: dict[str, type[nn.Module]] = {"AAMLoss": AAMLoss, "CELoss": CELoss}


def build_loss(loss_conf: LossConf | Mapping[str, Any]) -> nn.Module:
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


__all__ = [
    "LOSSES",
    "AAMLoss",
    "CELoss",
    "SpeakerClassifier",
    "build_loss",
    "scheduled_margin",
]
