"""SpecAugment on the device: bands of bins and stretches of frames of a whole batch at once."""

from __future__ import annotations

import torch

from mvector.config.augment_options import SpecAugConf


def mask_features(features: torch.Tensor, draws: torch.Tensor, config: SpecAugConf) -> torch.Tensor:
    """Set bands of bins and stretches of frames to zero, the mean of the features.

    Park et al., "SpecAugment", Interspeech 2019.

    Args:
        features: ``(batch, frames, bins)``, mean-normalised.
        draws: ``(batch, 1 + 2 * masks)`` uniform numbers in [0, 1): whether to mask, then a width
            and a position for each frequency mask and each time mask; see :func:`num_draws`.
        config: number and largest width of the masks.
    """
    num_frames, num_bins = features.shape[1:]
    keep = torch.ones_like(features, dtype=torch.bool)
    draws = draws.to(features.device, non_blocking=True)
    column = 1
    for count, ratio, size, axis in (
        (config.n_freq_masks, config.freq_mask_ratio, num_bins, 2),
        (config.n_time_masks, config.time_mask_ratio, num_frames, 1),
    ):
        positions = torch.arange(size, device=features.device)
        for _ in range(count):
            width = torch.floor(draws[:, column] * (int(ratio * size) + 1))
            start = torch.floor(draws[:, column + 1] * (size - width + 1))
            inside = (positions >= start[:, None]) & (positions < (start + width)[:, None])
            keep &= ~inside.unsqueeze(1 if axis == 2 else 2)
            column += 2
    keep |= (draws[:, 0] >= config.prob)[:, None, None]
    return features * keep


def num_draws(config: SpecAugConf) -> int:
    """Uniform numbers that :func:`mask_features` needs for each clip."""
    return 1 + 2 * (config.n_freq_masks + config.n_time_masks)
