"""What the processes of one run exchange of tensors: sums, means, and the weights of a module.

All of it is collective, as what :mod:`mvector.compute.distributed` has, which needs no torch where
there is one process.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import nn

from mvector.compute.distributed import current_world, lost_process_errors


def all_reduce_sum(tensor: torch.Tensor) -> torch.Tensor:
    """A new tensor: the sum of those of all processes, of the same shape; without gradient."""
    total = tensor.detach().clone(memory_format=torch.contiguous_format)
    if current_world().size > 1:
        with lost_process_errors():
            dist.all_reduce(total)
    return total


def broadcast_module(module: nn.Module) -> None:
    """Give every process rank 0's parameters and buffers of a module.

    Not for a module that differs between the processes by intent, such as a sharded classifier.
    """
    if current_world().size == 1:
        return
    with torch.no_grad(), lost_process_errors():
        for tensor in [*module.parameters(), *module.buffers()]:
            copy = tensor.detach().contiguous()
            dist.broadcast(copy.view(torch.uint8) if copy.dtype == torch.bool else copy, src=0)
            tensor.copy_(copy)


def joint_norm(replicated: list[torch.Tensor], sharded: list[torch.Tensor]) -> torch.Tensor:
    """The norm of all gradients, those of other processes' shards included.

    ``replicated`` gradients are the same in every process, ``sharded`` ones those of another part
    of the model in each, which would otherwise find another norm and let the backbones part.
    """
    of_copies, of_shards = (nn.utils.get_total_norm(part) for part in (replicated, sharded))
    square = of_shards.square()
    return (of_copies.to(square.device).square() + all_reduce_sum(square)).sqrt()


def average_over_processes(tensors: Iterable[torch.Tensor]) -> None:
    """Replace each tensor by its mean over all processes."""
    if current_world().size == 1:
        return
    for tensor in tensors:
        with lost_process_errors():
            dist.all_reduce(tensor)
        tensor /= dist.get_world_size()
