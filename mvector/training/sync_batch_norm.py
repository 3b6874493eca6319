"""Batch normalisation over the batches of all processes, on the CPU as well.

PyTorch's ``SyncBatchNorm`` works on GPUs only. The one here exchanges the same statistics on any
device, so that several small batches train like one large batch.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from mvector.compute.distributed import current_world
from mvector.compute.precision import at_least_float32


class CrossProcessBatchNorm(_BatchNorm):
    """``nn.BatchNorm1d`` and ``2d`` with the mean and variance of all processes' inputs.

    Parameters, buffers, running statistics and evaluation are those of ``nn.BatchNorm1d``. The
    processes' batches may differ in size. The loss of each process counts as often as any other's,
    as ``DistributedDataParallel`` averages their gradients.
    """

    def _check_input_dim(self, input: torch.Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected an input of at least 2 dimensions, not {input.dim()}")

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """``(batch, channels, ...)``, of the same shape after."""
        if not self.training or current_world().size == 1:
            return super().forward(input)
        self._check_input_dim(input)
        with torch.no_grad():
            mean, variance, count = _joint_statistics(input)
        if count <= 1:
            raise ValueError("Expected more than 1 value per channel in all processes together")
        if self.track_running_stats:
            self._update_running_statistics(mean, variance * (count / (count - 1)))
        result: torch.Tensor = _Normalise.apply(
            input, self.weight, self.bias, mean, variance, count, self.eps
        )
        return result

    @torch.no_grad()
    def _update_running_statistics(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        share = self.momentum
        if share is None:  # the plain average of all batches
            share = 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)


def convert_sync_batch_norm(module: nn.Module) -> nn.Module:
    """Let all batch normalisation of a model work on the batches of all processes.

    The module is changed in place and returned; another object comes back only if it is itself a
    batch normalisation. Layers become PyTorch's ``SyncBatchNorm`` on CUDA, elsewhere
    :class:`CrossProcessBatchNorm`; parameters, buffers and keys of the state dict are kept.
    """
    if any(tensor.is_cuda for tensor in [*module.parameters(), *module.buffers()]):
        return nn.SyncBatchNorm.convert_sync_batchnorm(module)
    if isinstance(module, _BatchNorm) and not isinstance(module, CrossProcessBatchNorm):
        return _converted(module)
    for name, child in module.named_children():
        setattr(module, name, convert_sync_batch_norm(child))
    return module


def _converted(norm: _BatchNorm) -> CrossProcessBatchNorm:
    new = CrossProcessBatchNorm(
        norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats
    )
    new.weight, new.bias = norm.weight, norm.bias
    new.running_mean, new.running_var = norm.running_mean, norm.running_var
    new.num_batches_tracked = norm.num_batches_tracked
    return new.train(norm.training)


def _joint_statistics(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Mean and (biased) variance ``(channels,)`` of all processes' inputs, and how many values.

    Joined from each process's own mean and variance (Chan, Golub, LeVeque, "Algorithms for
    Computing the Sample Variance", 1983): the sums of squares that one might add up instead lose
    their digits where the mean is large.
    """
    num_channels = x.shape[1]
    count = x.numel() // num_channels
    values = at_least_float32(x)
    if count:
        variance, mean = torch.var_mean(values, _all_but_channels(x), correction=0)
    else:
        variance = mean = values.new_zeros(num_channels)
    own = torch.cat([mean, variance, mean.new_full((1,), count)])
    everyone = [torch.empty_like(own) for _ in range(current_world().size)]
    dist.all_gather(everyone, own)
    means, variances, counts = torch.stack(everyone).split([num_channels, num_channels, 1], dim=1)
    share = counts / counts.sum()
    mean = (share * means).sum(0)
    variance = (share * (variances + (means - mean).square())).sum(0)
    return mean, variance, float(counts.sum())


def _all_but_channels(x: torch.Tensor) -> list[int]:
    return [dim for dim in range(x.dim()) if dim != 1]


class _Normalise(torch.autograd.Function):
    """``(x - mean) / sqrt(variance + eps) * weight + bias`` with the joint statistics of x.

    The gradient of x takes into account that x of every process moves the statistics of all; those
    of weight and bias are this process's own, as of any parameter.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        mean: torch.Tensor,
        variance: torch.Tensor,
        count: float,
        eps: float,
    ) -> torch.Tensor:
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.count, ctx.eps = count, eps
        # with given statistics this is one pass over x, also where x is half-precision
        return F.batch_norm(x, mean, variance, weight, bias, False, 0.0, eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight, mean, variance = ctx.saved_tensors
        inverse = (variance + ctx.eps).rsqrt()
        shape = [1, -1] + [1] * (x.dim() - 2)
        dims = _all_but_channels(x)
        fine = at_least_float32(gradient)
        centered = at_least_float32(x) - mean.view(shape)
        sums = torch.stack([fine.sum(dims), (fine * centered).sum(dims) * inverse])
        own = sums.clone()
        dist.all_reduce(sums)
        of_mean, of_slope = sums / ctx.count
        scale = inverse if weight is None else inverse * weight
        grad_x = fine - of_mean.view(shape) - centered * (of_slope * inverse).view(shape)
        grad_x = (grad_x * scale.view(shape)).to(x.dtype)
        if weight is None:
            return grad_x, None, None, None, None, None, None
        return grad_x, own[1].to(weight.dtype), own[0].to(weight.dtype), None, None, None, None
