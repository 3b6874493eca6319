"""Cutting waveforms into frames, and keeping what lies behind a clip's end out of them."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

# On a CPU the intermediate results of about this many frames stay in one core's cache; on a GPU
# the limit only keeps an hour-long clip from filling the memory.
_FRAMES_PER_CPU_THREAD = 1024
_FRAMES_PER_GPU_BLOCK = 2**18


def pad_ends(
    waveforms: Tensor, lengths: Tensor | None, num_left: int, num_right: int, mode: str
) -> Tensor:
    """Continue each clip by a few samples in front of its start and behind its own end.

    Args:
        waveforms: ``(batch, samples)``; what lies behind a clip's end is not read.
        lengths: ``(batch,)`` samples of each clip; ``None`` means that all are full.
        num_left, num_right: samples to put in front and behind.
        mode: ``"reflect"`` mirrors about the outermost sample, ``"symmetric"`` repeats that sample
            too, ``"replicate"`` holds it, ``"circular"`` goes on at the other end, ``"constant"``
            writes zeros.

    Returns:
        ``(batch, num_left + samples + num_right)``. A clip of ``n`` samples has its
        continuation at ``num_left + n``, and unspecified samples behind that.
    """
    num_samples = waveforms.shape[1]
    padded = F.pad(waveforms, (num_left, num_right))
    if lengths is None:
        ends = torch.full_like(waveforms[:, :1], num_samples, dtype=torch.int64)
    else:
        ends = lengths.unsqueeze(1).clamp(1, num_samples)
    before = torch.arange(-num_left, 0, device=waveforms.device).expand(waveforms.shape[0], -1)
    behind = ends + torch.arange(num_right, device=waveforms.device)
    for positions in (before, behind):
        if mode == "constant":
            samples = torch.zeros_like(positions, dtype=waveforms.dtype)
        else:
            # The clamp is for lengths on a GPU, which nobody has checked: an index out of range
            # would take the whole process down.
            sources = _source_positions(positions, ends, mode).clamp(0, num_samples - 1)
            samples = waveforms.gather(1, sources)
        padded.scatter_(1, positions + num_left, samples)
    return padded


def _source_positions(positions: Tensor, ends: Tensor, mode: str) -> Tensor:
    """Which sample stands at a position outside the clip; ``ends`` is (batch, 1)."""
    if mode == "circular":
        return positions.remainder(ends)
    if mode == "replicate":
        return torch.minimum(positions.clamp(min=0), ends - 1)
    first = 0 if mode == "reflect" else -1  # the axis lies on the edge sample, or half a step out
    folded = torch.where(positions < 0, first - positions, positions)
    return torch.where(folded >= ends, 2 * ends - 2 - first - folded, folded)


def map_frames(
    function: Callable[[Tensor], Tensor],
    waveforms: Tensor,
    frame_length: int,
    hop_length: int,
) -> Tensor:
    """Apply a function to all frames of all clips, in blocks that fit the machine.

    Args:
        function: maps frames ``(clips, frames, frame_length)``, a view that it must not write
            to, to features ``(clips, frames, bins)``, each frame on its own.
        waveforms: ``(batch, samples)``.
        frame_length, hop_length: in samples.

    Returns:
        Features of all whole frames, ``(batch, frames, bins)``.
    """
    frames = waveforms.unfold(1, frame_length, hop_length)
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return function(frames)  # a graph must not depend on the sizes of its example
    if waveforms.device.type == "cpu":
        block = _FRAMES_PER_CPU_THREAD * torch.get_num_threads()
    else:
        block = _FRAMES_PER_GPU_BLOCK
    rows = [
        _joined([function(part) for part in clips.split(block, dim=1)], dim=1)
        for clips in frames.split(max(1, block // frames.shape[1]))
    ]
    return _joined(rows, dim=0)


def _joined(blocks: list[Tensor], dim: int) -> Tensor:
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim)


def zero_invalid_frames_(features: Tensor, num_frames: Tensor) -> Tensor:
    """Write zeros, in place, to the frames of ``(batch, frames, bins)`` from ``num_frames`` on."""
    positions = torch.arange(features.shape[1], device=features.device)
    invalid = positions >= num_frames.unsqueeze(1)
    return features.masked_fill_(invalid.unsqueeze(2), 0.0)


def mean_over_frames(features: Tensor, num_frames: Tensor) -> Tensor:
    """Mean of each clip and bin, ``(batch, 1, bins)``; invalid frames must hold zeros."""
    count = num_frames.clamp(min=1).to(features.dtype)
    return features.sum(dim=1, keepdim=True) / count[:, None, None]
