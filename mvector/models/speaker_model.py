"""Waveform to embedding as one module: front end and backbone."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from mvector.features import build_featurizer
from mvector.features.front_end import FrontEnd
from mvector.features.level import bring_to_level
from mvector.models.backbones import build_backbone
from mvector.models.layers import require_frames

if TYPE_CHECKING:
    from mvector.config.schema import Config


class SpeakerModel(nn.Module):
    """Front end and backbone.

    Args:
        front_end: how clips become features.
        backbone_name: key of :data:`mvector.models.BACKBONES`.
        backbone_options: keyword arguments of the backbone.
        without_weights: the backbone takes no memory, and its weights are assigned afterwards.

    Raises:
        ConfigError: the front end or the options are impossible.
    """

    def __init__(
        self,
        front_end: FrontEnd,
        backbone_name: str,
        backbone_options: Mapping[str, Any],
        *,
        without_weights: bool = False,
    ) -> None:
        super().__init__()
        self.front_end = front_end
        self.backbone_name = backbone_name
        self.backbone_options = dict(backbone_options)
        self.featurizer = build_featurizer(front_end.preprocess)
        with torch.device("meta") if without_weights else nullcontext():
            self.backbone = build_backbone(
                backbone_name, self.featurizer.feature_dim, **self.backbone_options
            )

    @classmethod
    def from_config(cls, config: Config) -> SpeakerModel:
        """The untrained model that a training configuration describes."""
        options = config.model_conf.backbone.model_dump(mode="json")
        return cls(FrontEnd.from_config(config), config.use_model, options)

    @property
    def embd_dim(self) -> int:
        """Size of the embedding."""
        return int(self.backbone.embd_dim)  # type: ignore[arg-type]

    @property
    def min_frames(self) -> int:
        """Frames of the shortest clip that the backbone takes."""
        return getattr(self.backbone, "min_frames", 1)

    @property
    def min_samples(self) -> int:
        """Samples of the shortest clip that front end and backbone take."""
        numbers = range(self.featurizer.min_samples, 1 << 31)
        return numbers[bisect_left(numbers, self.min_frames, key=self.featurizer.num_frames)]

    @property
    def name(self) -> str:
        """Backbone and feature method, as model folders are called."""
        return f"{self.backbone_name}_{self.front_end.preprocess['feature_method']}"

    @torch.no_grad()
    def features(
        self, waveforms: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Waveforms ``(batch, samples)`` to features ``(batch, frames, bins)`` and frame counts."""
        return self.featurizer(bring_to_level(self.front_end, waveforms, lengths), lengths)

    def forward(self, waveforms: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """Embed a batch of clips.

        Args:
            waveforms: ``(batch, samples)`` float in [-1, 1] at the model's rate, zero-padded.
            lengths: ``(batch,)`` samples of each clip; ``None`` means that all are full. On the
                CPU they are checked, also where the waveforms are on a GPU; on a GPU they are not.

        Returns:
            Embeddings of shape ``(batch, embd_dim)``, not length-normalised.

        Raises:
            AudioError: a clip is too short.
        """
        features, num_frames = self.features(waveforms, lengths)
        if lengths is not None and lengths.device.type == "cpu":
            num_given = self.featurizer.num_frames(lengths)
            require_frames(num_given, features.shape[1], self.min_frames)
        return self.backbone(features, None if lengths is None else num_frames)
