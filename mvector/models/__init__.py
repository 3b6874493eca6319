"""Backbones: features in, speaker embedding out; one file per architecture.

All are built with ``feature_dim`` (bins of the features), ``embd_dim`` (size of the embedding),
``pooling_type`` (a key of :data:`mvector.models.pooling.POOLINGS`) and more. Each is called with
features ``(batch, frames, feature_dim)`` and, if clips are padded, the number of frames of each
``(batch,)``; ``None`` means that all are full. It returns embeddings ``(batch, embd_dim)``, not
length-normalised, and raises :class:`mvector.errors.AudioError` for a clip of too few frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mvector.lazy import lazy_names

if TYPE_CHECKING:
    from mvector.models.backbones import BACKBONES, build_backbone

__all__ = ["BACKBONES", "build_backbone"]

__getattr__ = lazy_names(
    __name__, dict.fromkeys(("BACKBONES", "build_backbone"), "mvector.models.backbones")
)
