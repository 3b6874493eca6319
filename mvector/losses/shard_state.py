"""A classifier that is split over processes, put together for a checkpoint and split again.

What is saved is that of the whole :class:`mvector.losses.SpeakerClassifier`, so that a run can go
on with any number of processes, sharded or not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from mvector.errors import CheckpointError
from mvector.losses.sharded import ShardedClassifier


def gather_state(classifier: ShardedClassifier) -> dict[str, torch.Tensor] | None:
    """The state dict of the whole classifier, on the CPU.

    Every process must call; rank 0 gets it, and alone needs the memory for it.

    Returns:
        ``weight (num_speakers * num_centers, embd_dim)`` and, if there is one, ``bias``; ``None``
        in the other processes.
    """
    full = {
        name: _gather_rows(classifier, rows)
        for name, rows in _parameters_by_name(classifier).items()
    }
    return {name: rows for name, rows in full.items() if rows is not None} or None


def load_state(classifier: ShardedClassifier, state: Mapping[str, torch.Tensor]) -> None:
    """Take this process's share of a whole classifier.

    Args:
        classifier: changed in place.
        state: of :func:`gather_state` with any number of processes, or the state dict of a
            :class:`mvector.losses.SpeakerClassifier` without blocks.

    Raises:
        CheckpointError: it has other parameters or another number of speakers.
    """
    shard, own = classifier.shard, _parameters_by_name(classifier)
    for name, rows in own.items():
        shape = (shard.num_classes * len(rows) // len(shard), *rows.shape[1:])
        if set(state) != set(own) or state[name].shape != shape:
            found = ", ".join(f"{key} {tuple(value.shape)}" for key, value in state.items())
            raise CheckpointError(
                f"The saved classifier ({found}) does not fit the {shard.num_classes} speakers of "
                f"this run, whose {name} is {shape}; give the training list and the loss that it "
                "was trained with."
            )
    with torch.no_grad():
        for name, rows in own.items():
            rows.copy_(_own_rows(classifier, rows, state[name]))


def gather_optimizer_state(
    classifier: ShardedClassifier, optimizer: torch.optim.Optimizer
) -> dict[str, Any] | None:
    """An optimizer's state dict, in which what it keeps of the shards is whole.

    Every process must call; rank 0 gets it, the others ``None``.

    Args:
        classifier: whose parameters the optimizer holds, among others that are the same in every
            process.
        optimizer: of this process.
    """
    state = optimizer.state_dict()
    for number, rows in _numbered_parameters(classifier, optimizer):
        state["state"][number] = {
            key: _gather_rows(classifier, value) if _has_rows_of(value, rows) else value
            for key, value in state["state"].get(number, {}).items()
        }
    return state if classifier.shard.rank == 0 else None


def shard_optimizer_state(
    classifier: ShardedClassifier, optimizer: torch.optim.Optimizer, full: Mapping[str, Any]
) -> dict[str, Any]:
    """What this process's optimizer can load of :func:`gather_optimizer_state`."""
    state = {**full, "state": dict(full["state"])}
    for number, rows in _numbered_parameters(classifier, optimizer):
        state["state"][number] = {
            key: _own_rows(classifier, rows, value).clone() if _has_rows_of(value, rows) else value
            for key, value in state["state"].get(number, {}).items()
        }
    return state


def _parameters_by_name(classifier: ShardedClassifier) -> dict[str, nn.Parameter]:
    return dict(classifier.named_parameters(recurse=False))


def _has_rows_of(value: Any, rows: torch.Tensor) -> bool:
    """Whether an optimizer keeps this for each row of a parameter, as it does not the step."""
    return torch.is_tensor(value) and value.dim() == rows.dim()


def _numbered_parameters(
    classifier: ShardedClassifier, optimizer: torch.optim.Optimizer
) -> Iterator[tuple[int, nn.Parameter]]:
    """The classifier's parameters under the numbers by which the optimizer's state knows them."""
    own = {id(parameter) for parameter in _parameters_by_name(classifier).values()}
    held = chain.from_iterable(group["params"] for group in optimizer.param_groups)
    return ((number, rows) for number, rows in enumerate(held) if id(rows) in own)


def _own_rows(
    classifier: ShardedClassifier, rows: torch.Tensor, full: torch.Tensor
) -> torch.Tensor:
    shard = classifier.shard
    return full[shard.rows(len(rows) // len(shard))]


def _gather_rows(classifier: ShardedClassifier, rows: torch.Tensor) -> torch.Tensor | None:
    """All processes' rows as one tensor on the CPU of rank 0, which receives them into place."""
    shard = classifier.shard
    rows_per_class = len(rows) // len(shard)
    own = rows.detach().cpu().contiguous()
    if shard.rank > 0:
        dist.send(own, dst=0)
        return None
    full = own.new_empty(shard.num_classes * rows_per_class, *own.shape[1:])
    full[shard.rows(rows_per_class)] = own
    for other in shard.all_shards()[1:]:
        dist.recv(full[other.rows(rows_per_class)], src=other.rank)
    return full
