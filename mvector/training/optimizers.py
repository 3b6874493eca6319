"""The optimizer that a configuration names, its groups of parameters and their learning rates."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch.nn import Parameter

from mvector.config.schema import OptimizerConf
from mvector.errors import CheckpointError

# Where all three optimizers have a kernel that updates a group in one go, for any float type.
_FUSED_DEVICES = ("cpu", "cuda")


def build_optimizer(
    backbone: Iterable[Parameter], head: Iterable[Parameter], config: OptimizerConf
) -> torch.optim.Optimizer:
    """Adam, AdamW or SGD over everything that is trained, the loss's own parameters included.

    There are up to four groups: backbone and head, in each of them the weights apart from the
    biases and the parameters of norms (those of at most one dimension). Each group's factor
    ``lr_scale`` is the learning rate's, see :func:`set_learning_rate`. Frozen parameters are taken
    in too, so that they can be set free later; without a gradient nothing happens to them.

    Args:
        backbone: parameters whose learning rate ``backbone_lr_scale`` multiplies.
        head: parameters of classifier and loss.
        config: ``decay_norm_and_bias`` False spares biases and norms the weight decay.
    """
    backbone_scale = config.backbone_lr_scale
    vector_decay = config.weight_decay if config.decay_norm_and_bias else 0.0
    groups: list[dict[str, Any]] = []
    for parameters, lr_scale in ((list(backbone), backbone_scale), (list(head), 1.0)):
        for is_vector, decay in ((False, config.weight_decay), (True, vector_decay)):
            chosen = [p for p in parameters if (p.dim() <= 1) == is_vector]
            if chosen:
                groups.append({"params": chosen, "weight_decay": decay, "lr_scale": lr_scale})
    optimizer = _build(groups, config)
    set_learning_rate(optimizer, config.learning_rate)
    return optimizer


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the rate of every group, multiplied by the group's ``lr_scale``."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group.get("lr_scale", 1.0)


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Take over moments and step counts from an ``optimizer.state_dict()``, and nothing else.

    Torch's own ``load_state_dict`` takes the settings over as well: a weight decay or a rate of
    the backbone that was changed for the rest of the run would have no effect, and a run begun on
    another kind of device would go on with that device's kernels.

    Raises:
        CheckpointError: the state is of other parameters.
    """
    own, saved = optimizer.state_dict()["param_groups"], state["param_groups"]
    if [len(group["params"]) for group in own] != [len(group["params"]) for group in saved]:
        raise CheckpointError(
            "The checkpoint's optimizer has other groups of parameters than this run's; start a "
            "new run from its last_model by --pretrained_model."
        )
    groups = [{**a, "params": b["params"]} for a, b in zip(own, saved, strict=True)]
    optimizer.load_state_dict({"state": state["state"], "param_groups": groups})
    for parameter, entries in optimizer.state.items():
        for name, value in entries.items():
            if torch.is_tensor(value) and value.shape == parameter.shape:
                # fused optimizers read the moments in the order in memory of the parameter
                entries[name] = torch.empty_like(parameter).copy_(value)


def _build(groups: list[dict[str, Any]], config: OptimizerConf) -> torch.optim.Optimizer:
    parameters = [parameter for group in groups for parameter in group["params"]]
    fused = all(p.device.type in _FUSED_DEVICES and p.is_floating_point() for p in parameters)
    rate = config.learning_rate
    if config.optimizer == "AdamW":
        return torch.optim.AdamW(groups, rate, fused=fused)
    if config.optimizer == "Adam":
        return torch.optim.Adam(groups, rate, fused=fused)
    optimizer = torch.optim.SGD(groups, rate, momentum=config.momentum, fused=fused)
    if fused and config.momentum:
        # Fused SGD makes its buffers on the first step without filling them: a first step that is
        # left out because of bad gradients, or a parameter set free later, would meet garbage.
        for parameter in parameters:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer
