"""Waveforms as features are computed from: without offset, at the front end's level and scale."""

from __future__ import annotations

import torch

from mvector.features.front_end import FrontEnd


def bring_to_level(
    front_end: FrontEnd, waveforms: torch.Tensor, lengths: torch.Tensor | None = None
) -> torch.Tensor:
    """Waveforms as the features are computed from: no offset, the level, then the scale.

    Args:
        front_end: says which of these.
        waveforms: ``(batch, samples)``, zero-padded behind each clip's end.
        lengths: ``(batch,)`` samples of each clip; ``None`` means that all are full.

    Returns:
        Tensor of the same shape.
    """
    if front_end.drop_silence:
        waveforms = remove_offset(waveforms, lengths)
    if front_end.use_dB_normalization:
        waveforms = normalise_level(waveforms, lengths, front_end.target_dB)
    scale = front_end.waveform_scale
    return waveforms if scale == 1.0 else waveforms * scale


def remove_offset(waveforms: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
    """Subtract the mean of each clip; padding behind its end stays zero.

    See :func:`bring_to_level` for the arguments.
    """
    if lengths is None:
        return waveforms - waveforms.mean(dim=1, keepdim=True)
    count = lengths.to(waveforms.device, non_blocking=True).unsqueeze(1)
    mean = waveforms.sum(dim=1, keepdim=True) / count.to(waveforms.dtype).clamp(min=1)
    is_clip = torch.arange(waveforms.shape[1], device=waveforms.device) < count
    return torch.where(is_clip, waveforms - mean, 0.0)


def normalise_level(
    waveforms: torch.Tensor, lengths: torch.Tensor | None, target_db: float
) -> torch.Tensor:
    """Scale each clip to an RMS level in dB relative to full scale, without a limiter.

    Digital silence stays as it is; see :func:`bring_to_level` for the arguments.
    """
    energy = waveforms.square().sum(dim=1)
    if lengths is None:
        count = waveforms.new_full((len(waveforms),), waveforms.shape[1])
    else:
        count = lengths.to(waveforms.device, waveforms.dtype, non_blocking=True).clamp(min=1)
    power = energy / count
    target_power = 10.0 ** (target_db / 10.0)
    gain = torch.where(power > 0, (target_power / power.clamp(min=1e-20)).sqrt(), 1.0)
    return waveforms * gain.unsqueeze(1)
