"""Why weights do not fit what is configured, in words of the configuration."""

from __future__ import annotations

from typing import Any

import torch

from mvector.config.backbone_options import BACKBONE_OPTIONS
from mvector.models.speaker_model import SpeakerModel
from mvector.training.checkpoint import changed_settings
from mvector.training.learner import Learner


def first_mismatch(error: Exception) -> str:
    """The first thing that torch found wrong with weights, of a list with a line for each."""
    lines = str(error).strip().splitlines()
    return lines[min(1, len(lines) - 1)].strip().rstrip(".") if lines else type(error).__name__


def architecture_mismatch(found: SpeakerModel, wanted: SpeakerModel) -> str | None:
    """What is unlike in two backbones: ``it is TDNN and use_model is EcapaTdnn``."""
    if found.backbone_name != wanted.backbone_name:
        return f"it is {found.backbone_name} and use_model is {wanted.backbone_name}"
    now, then = _architecture(wanted), _architecture(found)
    differing = changed_settings(then, now)
    return f"its values and those wanted: {', '.join(differing)}" if differing else None


def _architecture(model: SpeakerModel) -> dict[str, Any]:
    """All arguments of the backbone, those left to the defaults too."""
    options = BACKBONE_OPTIONS[model.backbone_name].model_validate(model.backbone_options)
    return {**options.model_dump(mode="json"), "bins": model.featurizer.feature_dim}


def why_no_resume(error: Exception, network: Any, learner: Learner, num_speakers: int) -> str:
    """Why the weights of a run do not go on: both numbers of speakers, if that is what differs."""
    key = "head.classifier.weight"
    now = learner.network.state_dict().get(key)
    then = network.get(key) if isinstance(network, dict) else None
    if isinstance(now, torch.Tensor) and isinstance(then, torch.Tensor) and len(now) != len(then):
        before = len(then) * num_speakers / len(now)
        return f"it was trained with {before:g} speakers, and the list now has {num_speakers}"
    return first_mismatch(error)
