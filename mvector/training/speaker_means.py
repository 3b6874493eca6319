"""A classifier that begins from the speakers' mean embeddings instead of random weights."""

from __future__ import annotations

import logging
from typing import cast

import torch
import torch.nn.functional as F

from mvector.compute.exchange import all_reduce_sum
from mvector.data.loader import TrainingData
from mvector.embedding.extraction import until_all_ranks_finish
from mvector.errors import DataError, count_of
from mvector.losses import SpeakerClassifier
from mvector.progress import progress_bar
from mvector.training.learner import Learner

logger = logging.getLogger(__name__)

CLIPS_PER_SPEAKER = 10
_CENTER_NOISE = 0.1  # beside a mean direction of length 1: centres that are equal would never part


def begin_from_means(learner: Learner, data: TrainingData) -> None:
    """Point the rows of a cosine classifier to the speakers' mean embeddings.

    They are those of the backbone as it is, of one unaugmented crop each of up to ten clips of a
    speaker. A row keeps the length it has, and with it the pace at which it learns. Of several
    centres the first is the mean and the others lie a little beside it; a speaker's speed classes
    begin alike. Speakers without a usable clip keep their random rows.

    All processes must call; each embeds its share of the clips.

    Args:
        learner: that has taken no step, with a backbone that is not random.
        data: what it trains on.

    Raises:
        DataError: no clip can be used.
    """
    sums = _sum_directions(learner, data)
    found = sums.norm(dim=1) > 0
    if not found.any():
        raise DataError("No training clip could be used for the speakers' mean embeddings.")
    centers = learner.head.loss.num_centers
    means = F.normalize(sums).float().unsqueeze(1)
    generator = torch.Generator().manual_seed(learner.config.train_conf.seed)
    beside = torch.randn(len(means), centers, means.shape[2], generator=generator)
    beside = _CENTER_NOISE * F.normalize(beside, dim=2)
    beside[:, 0] = 0.0
    directions = F.normalize(means + beside, dim=2).to(learner.device)
    weight = cast("SpeakerClassifier", learner.head.classifier).weight.detach()
    rows = weight.view(-1, *directions.shape)  # speed classes, speakers, centres, size
    begun = directions * rows.norm(dim=3, keepdim=True)
    rows.copy_(torch.where(found.to(learner.device)[:, None, None], begun, rows))
    if missing := len(set(data.clips.labels.tolist())) - int(found.sum()):
        have = "has" if missing == 1 else "have"
        logger.warning(
            "%s %s no clip for a mean embedding that can be used.",
            count_of(missing, "speaker"),
            have,
        )


@torch.no_grad()
def _sum_directions(learner: Learner, data: TrainingData) -> torch.Tensor:
    """Of each speaker's clips, ``(speakers, embd_dim)`` float64 on the CPU, over all processes."""
    model, device = learner.model, learner.device
    sums = torch.zeros(data.num_speakers, model.embd_dim, dtype=torch.float64)
    loader = data.plain_crops(CLIPS_PER_SPEAKER)
    was_training = model.backbone.training
    model.backbone.eval()
    with progress_bar(
        total=len(loader), desc="Speaker means", unit="batch", show=learner.world.is_main
    ) as bar:
        for batch in until_all_ranks_finish(iter(loader)):
            bar.update()
            if not len(batch.labels):
                continue
            inputs = batch.inputs.to(device)
            features = model.featurizer.normalise(inputs) if inputs.dim() == 3 else None
            if features is None:
                features, _ = model.features(inputs)
            directions = F.normalize(model.backbone(features).double()).cpu()
            usable = directions.isfinite().all(dim=1)
            sums.index_add_(0, batch.labels[usable], directions[usable])
    model.backbone.train(was_training)
    return all_reduce_sum(sums.to(device)).cpu()
