"""Softmax losses whose classes are split over the processes of a run.

With a million speakers the classifier outgrows the backbone many times: weights, gradients,
optimizer state and logits all grow with the classes. Here each process holds the vectors of its
share of the classes and works out their logits for the clips of all processes; the embeddings and
a few numbers for each clip are all that is exchanged. An et al., "Killing Two Birds with One Stone:
Efficient and Robust Training of Face Recognition CNNs by Partial FC", CVPR 2022.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from mvector.compute.distributed import current_world
from mvector.compute.precision import at_least_float32
from mvector.errors import ConfigError
from mvector.losses.base import SpeakerLoss, cosine_of_clipped_sum
from mvector.losses.margin import AAMLoss, AMLoss, CELoss, MarginLoss
from mvector.losses.shards import (
    GatherEmbeddings,
    Shard,
    SumOverProcesses,
    counts_of_rows,
    gather_rows,
    initial_rows,
    num_sampled_classes,
)
from mvector.losses.subcenter import SubCenterLoss

SHARDABLE = (AAMLoss, AMLoss, CELoss, SubCenterLoss)


class ShardedClassifier(nn.Module):
    """One process's share of a classifier, and the loss over the classes of all.

    Loss and gradients are those of :class:`mvector.losses.SpeakerClassifier` and the loss on the
    batch of all processes together. The backbone belongs into ``DistributedDataParallel``, this
    module must stay outside: each process has other parameters, and their gradients are complete.

    With ``sample_rate`` below 1 each step takes the classes of its clips and a random share of the
    others in the softmax. Class vectors that sit a step out have zero gradients (an optimizer's
    momentum and weight decay still act on them), and the accuracy is that among the classes taken.

    Args:
        loss: one of :data:`SHARDABLE`; its margin is read at every step.
        embd_dim: size of the embedding.
        num_speakers: classes of all processes together.
        sample_rate: share of the classes that takes part in a step of training, in (0, 1].
        seed: of the initial weights, which do not depend on the number of processes, and of the
            classes drawn in each step, which do.

    Attributes:
        step: number of the training step, which decides with seed and rank about the classes
            drawn; must be set before each if not all classes take part.

    Raises:
        ConfigError: the loss cannot be split, or there are fewer speakers than processes.
    """

    def __init__(
        self,
        loss: SpeakerLoss,
        embd_dim: int,
        num_speakers: int,
        *,
        sample_rate: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        _require_shardable(loss, num_speakers, sample_rate)
        self.loss = loss
        world = current_world()
        self.shard = Shard(num_speakers, world.rank, world.size)
        self.sample_rate = sample_rate
        self.seed = seed
        self.step: int | None = None
        self.num_centers = loss.num_centers
        self.cosine = loss.classifier_type == "Cosine"
        num_rows, own = num_speakers * self.num_centers, self.shard.rows(self.num_centers)
        self.weight = nn.Parameter(initial_rows(own, num_rows, embd_dim, seed=seed))
        self.bias = None if self.cosine else nn.Parameter(torch.zeros(len(self.shard)))

    def forward(
        self, embeddings: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss of the clips of all processes; every process must call, with clips or without.

        Args:
            embeddings: ``(batch, embd_dim)`` of this process's clips; batches may differ in size.
            labels: ``(batch,)`` their classes, counted over all processes.

        Returns:
            The mean loss over the clips of all processes, the same in each, and how many of this
            process's own clips are classified correctly.
        """
        counts = counts_of_rows(len(labels))
        features = at_least_float32(embeddings)
        if len(counts) > 1:
            features = GatherEmbeddings.apply(features, counts)
        labels = gather_rows(labels, counts)
        places = labels - self.shard.first
        mine = (places >= 0) & (places < len(self.shard))
        chosen = self._draw_classes(places, mine)
        if chosen is not None:
            places = torch.searchsorted(chosen, places)
        column = places.where(mine, 0).unsqueeze(1)
        logits = self._logits(features, chosen)
        losses, correct = self._clip_losses(logits, labels, column, mine, chosen)
        start = sum(counts[: self.shard.rank])
        return losses.mean(), correct[start : start + counts[self.shard.rank]].sum()

    def _draw_classes(self, places: torch.Tensor, mine: torch.Tensor) -> torch.Tensor | None:
        """Classes of this shard that take part, in order; ``None`` for all."""
        if self.sample_rate == 1.0 or not self.training:
            return None
        if self.step is None:
            raise ValueError("a classifier with sample_rate below 1 must be told the step")
        key = (self.seed, self.step, self.shard.rank)
        seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]) >> 1
        device = self.weight.device
        generator = torch.Generator(device).manual_seed(seed)
        lots = torch.rand(len(self.shard) + 1, generator=generator, device=device)
        lots[places.where(mine, len(self.shard))] = 2.0  # the batch's own classes win; one to spare
        taken = num_sampled_classes(len(self.shard), self.sample_rate, len(places))
        return lots[:-1].topk(taken).indices.sort().values

    def _logits(self, features: torch.Tensor, chosen: torch.Tensor | None) -> torch.Tensor:
        """Of the classes that take part, best centre each: ``(clips, classes)``."""
        weight = self.weight.unflatten(0, (-1, self.num_centers))
        bias: torch.Tensor | None = self.bias
        if chosen is not None:
            weight = weight.index_select(0, chosen)
            bias = None if bias is None else bias.index_select(0, chosen)
        weight = weight.flatten(0, 1)
        if self.cosine:
            features, weight = F.normalize(features), F.normalize(weight)
        logits = at_least_float32(F.linear(features, weight, bias))
        if self.num_centers == 1:
            return logits
        return logits.unflatten(1, (-1, self.num_centers)).max(dim=2).values

    def _clip_losses(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        column: torch.Tensor,
        mine: torch.Tensor,
        chosen: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The loss of each clip, and whether its class has the largest logit: both ``(clips,)``."""
        scores = self._scores(logits, column, mine)
        smoothing = float(self.loss.label_smoothing)  # type: ignore[arg-type]
        log_sum = scores.logsumexp(dim=1)
        best, place = logits.detach().max(dim=1)
        winner = (place if chosen is None else chosen[place]) + self.shard.first
        largest = torch.stack([log_sum.detach(), best])
        if self.shard.size > 1:
            dist.all_reduce(largest, op=dist.ReduceOp.MAX)
        wins = best == largest[1]
        terms = torch.stack(
            [
                (log_sum - largest[0]).exp(),
                scores.gather(1, column).squeeze(1).masked_fill(~mine, 0.0),
                scores.sum(dim=1) if smoothing else torch.zeros_like(log_sum),
                (wins & (winner == labels)).to(scores.dtype),
                (wins & (winner < labels)).to(scores.dtype),  # equal logits: the first one counts
            ]
        )
        if self.shard.size > 1:
            terms = SumOverProcesses.apply(terms)
        sums, target, all_scores, right, earlier = terms
        losses = largest[0] + sums.log() - (1.0 - smoothing) * target
        losses = losses - smoothing / self._num_taking_part(len(labels)) * all_scores
        return losses, (right > 0) & (earlier == 0)

    def _scores(
        self, logits: torch.Tensor, column: torch.Tensor, mine: torch.Tensor
    ) -> torch.Tensor:
        """Logits as they enter the softmax: with margin and scale."""
        loss = self.loss
        if not isinstance(loss, MarginLoss):
            return logits
        moved = loss.with_margin(logits.gather(1, column))
        if isinstance(loss, SubCenterLoss) and loss.k_top:
            logits = _inter_topk_penalty(logits, column, mine, loss, self.shard.size)
        moved = torch.where(mine.unsqueeze(1), moved, logits.gather(1, column))
        return (loss.scale * logits).scatter_(1, column, loss.scale * moved)

    def _num_taking_part(self, batch_size: int) -> int:
        if self.sample_rate == 1.0 or not self.training:
            return self.shard.num_classes
        shards = self.shard.all_shards()
        return sum(
            num_sampled_classes(len(shard), self.sample_rate, batch_size) for shard in shards
        )


def _require_shardable(loss: SpeakerLoss, num_speakers: int, sample_rate: float) -> None:
    if not isinstance(loss, SHARDABLE):
        names = ", ".join(kind.__name__ for kind in SHARDABLE)
        raise ConfigError(
            f"{type(loss).__name__} cannot have its speakers split over processes; set "
            f"loss_conf.use_loss to one of {names}, or leave train_conf.classifier_sharding out."
        )
    if not 0.0 < sample_rate <= 1.0:
        raise ConfigError(
            f"The share of speakers in a step, {sample_rate:g}, is not above 0 and at most 1; "
            "mend train_conf.classifier_sharding."
        )
    size = current_world().size
    if num_speakers < size:
        raise ConfigError(
            f"{num_speakers} speakers cannot be split over {size} processes; leave "
            "train_conf.classifier_sharding out."
        )


def _inter_topk_penalty(
    cosine: torch.Tensor,
    column: torch.Tensor,
    mine: torch.Tensor,
    loss: SubCenterLoss,
    num_processes: int,
) -> torch.Tensor:
    """As in :class:`SubCenterLoss`, for the nearest speakers of all processes together."""
    own = torch.where(mine.unsqueeze(1), float("-inf"), cosine.detach().gather(1, column))
    others = cosine.detach().scatter(1, column, own)
    values, rivals = others.topk(min(loss.k_top, cosine.shape[1]))
    nearest = F.pad(values, (0, loss.k_top - values.shape[1]), value=float("-inf"))
    if num_processes > 1:
        everyone = [torch.empty_like(nearest) for _ in range(num_processes)]
        dist.all_gather(everyone, nearest)
        nearest = torch.cat(everyone, dim=1).topk(loss.k_top).values
    is_rival = (values >= nearest[:, -1:]) & values.isfinite()
    kept = cosine.gather(1, rivals)
    moved = torch.where(is_rival, cosine_of_clipped_sum(kept, -loss.mp), kept)
    return cosine.scatter(1, rivals, moved)
