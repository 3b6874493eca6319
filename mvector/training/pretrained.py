"""Starting from the weights of another model instead of random ones."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from mvector.data.augmentation.speed import SPEEDS
from mvector.data.loader import TrainingData
from mvector.errors import CheckpointError
from mvector.models.description import TRAINING_CONFIG
from mvector.models.folder import load_model_folder
from mvector.models.named import model_folder
from mvector.training.checkpoint import has_checkpoint, load_checkpoint
from mvector.training.fitting import architecture_mismatch, first_mismatch
from mvector.training.learner import Learner
from mvector.training.speaker_means import begin_from_means

logger = logging.getLogger(__name__)


def load_pretrained(learner: Learner, path: str | os.PathLike[str], data: TrainingData) -> None:
    """Start from the backbone of another model, and from the classifier of its run if it fits.

    It fits if that run had the same training list and kind of classifier. Of a run with speed
    classes the speakers' own classes are taken. Otherwise the classifier starts from random
    weights. With ``train_conf.classifier_from_means`` it starts from the speakers' mean embeddings
    in either case.

    Args:
        learner: that has taken no step.
        path: model folder.
        data: what it will train on.

    Raises:
        CheckpointError: the folder is no model folder, or of another backbone.
        DataError: there is no clip for mean embeddings that can be used.
    """
    pretrained, _ = load_model_folder(path)
    try:
        learner.model.backbone.load_state_dict(pretrained.backbone.state_dict())
    except RuntimeError as error:
        why = architecture_mismatch(pretrained, learner.model) or first_mismatch(error)
        raise CheckpointError(
            f"The model in '{path}' does not fit the configuration ({why}); name a model of this "
            f"architecture, or train with the configuration of that one{_configuration_of(path)}."
        ) from error
    if learner.average is not None:
        learner.average.restart()
    if pretrained.front_end != learner.model.front_end:
        logger.warning("The model in '%s' was trained with another front end.", path)
    begins = "starts from random weights"
    if learner.config.train_conf.classifier_from_means:
        begin_from_means(learner, data)
        begins = "starts from the speakers' mean embeddings"
    elif learner.sharded is None and _load_classifier(learner, model_folder(path), len(data.clips)):
        begins = "is that of its run"
    logger.info("Backbone weights taken from '%s'; the classifier %s.", path, begins)


def _configuration_of(path: str | os.PathLike[str]) -> str:
    file = model_folder(path) / TRAINING_CONFIG
    return f": --configs '{file}'" if file.is_file() else ""


def _load_classifier(learner: Learner, path: Path, num_clips: int) -> bool:
    """Take the classifier of a run over the same list; returns whether there is one."""
    own = learner.head.state_dict()
    if not own or not has_checkpoint(path.parent):
        return False
    state = load_checkpoint(path)
    train_list = state["config"]["dataset_conf"]["train_list"]
    same_list = train_list == learner.config.dataset_conf.train_list
    if not same_list or state["num_clips"] != num_clips:
        return False
    saved = {
        k.removeprefix("head."): v for k, v in state["network"].items() if k.startswith("head.")
    }
    for key, value in own.items():
        rows = saved.get(key, value[:0])
        if value.dim() and len(rows) == len(SPEEDS) * len(value):
            saved[key] = rows[: len(value)]  # the classes of the speakers' own speed are first
    if {k: v.shape for k, v in saved.items()} != {k: v.shape for k, v in own.items()}:
        return False
    learner.head.load_state_dict(saved)
    return True
