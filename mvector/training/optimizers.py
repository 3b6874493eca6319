"""The optimizer that a configuration names."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from mvector.config.schema import OptimizerConf


def build_optimizer(
    parameters: Iterable[torch.nn.Parameter], config: OptimizerConf
) -> torch.optim.Optimizer:
    """Adam, AdamW or SGD over all parameters, those of the loss included."""
    trained = list(parameters)
    rate, decay = config.learning_rate, config.weight_decay
    if config.optimizer == "SGD":
        return torch.optim.SGD(trained, rate, momentum=config.momentum, weight_decay=decay)
    if config.optimizer == "AdamW":
        return torch.optim.AdamW(trained, rate, weight_decay=decay)
    return torch.optim.Adam(trained, rate, weight_decay=decay)
