"""What is trained: backbone and head as one module, from features and labels to a loss."""

from __future__ import annotations

import torch
from torch import nn

from mvector.compute.device import cpu_has_avx512
from mvector.config import Config
from mvector.losses import SpeakerClassifier, build_loss
from mvector.losses.base import SpeakerLoss
from mvector.losses.domains import ClassDomains
from mvector.losses.sharded import ShardedClassifier
from mvector.losses.similarity import embedding_loss, similarity_loss
from mvector.training.step import BatchResult

LABEL_LOSS, TEACHER_LOSS = "label_loss", "teacher_loss"


class ClassifierHead(nn.Module):
    """Classifier and loss; the classifier is an identity for losses that compare embeddings.

    With ``domains``, each clip is told from the classes of its own domain alone.
    """

    def __init__(
        self, classifier: nn.Module, loss: SpeakerLoss, domains: ClassDomains | None = None
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.loss = loss
        self.domains = domains

    def forward(
        self, embeddings: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean loss of a batch, and how many of its clips are classified correctly."""
        if self.domains is None:
            outputs = self.classifier(embeddings)
            return self.loss(outputs, labels), self.loss.count_correct(outputs, labels)
        labels = self.domains.among_own(labels)
        total, num_correct = embeddings.new_zeros(()), labels.new_zeros(())
        for rows, clips in self.domains.shares:
            own = labels if clips is None else labels[clips]
            outputs = self.classifier(embeddings if clips is None else embeddings[clips], rows)
            total = total + self.loss(outputs, own) * (len(own) / len(labels))
            num_correct = num_correct + self.loss.count_correct(outputs, own)
        return total, num_correct


def takes_channels_last(module: nn.Module) -> bool:
    """Whether a module's two-dimensional convolutions are to have their channels side by side.

    On a GPU always. On a CPU with AVX-512 it saves 6 to 17 % of a step, but torch 2.11 writes
    beyond the end of gradients of convolutions with fewer than 16 channels: the widths of all have
    to be multiples of that, but for the one channel that features are.
    """
    if any(parameter.is_cuda for parameter in module.parameters()):
        return True
    convs = [part for part in module.modules() if isinstance(part, nn.Conv2d)]
    fit = (
        conv.groups == 1
        and conv.out_channels % 16 == 0
        and (conv.in_channels == 1 or conv.in_channels % 16 == 0)
        for conv in convs
    )
    return bool(convs) and cpu_has_avx512() and all(fit)


class TrainingNetwork(nn.Module):
    """Backbone (features to embeddings) and head (embeddings and labels to a loss).

    The weights of two-dimensional convolutions, and with them all maps, are laid out with the
    channels side by side in memory (``torch.channels_last``), as matrix units want them, where
    :func:`takes_channels_last` says so.

    Args:
        backbone: to train.
        head: classifier and loss.
        label_weight, teacher_weight: of the two losses where a teacher is heard.
        teacher_loss: ``similarity`` or ``embedding``: what of the teacher is to be kept.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        *,
        label_weight: float = 1.0,
        teacher_weight: float = 1.0,
        teacher_loss: str = "similarity",
    ) -> None:
        super().__init__()
        if takes_channels_last(backbone):
            backbone = backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.backbone = backbone
        self.head = head
        self.label_weight, self.teacher_weight = label_weight, teacher_weight
        self._teacher_loss = embedding_loss if teacher_loss == "embedding" else similarity_loss
        self.frozen = False

    def forward(
        self, features: torch.Tensor, labels: torch.Tensor, targets: torch.Tensor | None = None
    ) -> BatchResult:
        """Mean loss of a batch, and how many of its clips are classified correctly.

        Args:
            features: ``(batch, frames, bins)``.
            labels: ``(batch,)``.
            targets: a teacher's embeddings of the clips, ``(batch, D)``, to be kept, or their
                similarities, beside the labels.
        """
        embeddings = self.backbone(features)
        loss, num_correct = self.head(embeddings, labels)
        if targets is None:
            return BatchResult(loss, num_correct, {})
        unlike = self._teacher_loss(embeddings, targets)
        total = self.label_weight * loss + self.teacher_weight * unlike
        parts = {LABEL_LOSS: loss.detach(), TEACHER_LOSS: unlike.detach()}
        return BatchResult(total, num_correct, parts)

    def freeze_backbone(self, frozen: bool) -> None:
        """Train the head alone, the backbone being used as it is (batch statistics included)."""
        self.frozen = frozen
        for parameter in self.backbone.parameters():
            parameter.requires_grad_(not frozen)
        self.train(self.training)

    def train(self, mode: bool = True) -> TrainingNetwork:
        """As for any module, but for a frozen backbone, which stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self


def build_head(
    config: Config, embd_dim: int, num_classes: int
) -> ClassifierHead | ShardedClassifier:
    """The classifier and loss that a configuration asks for, with random weights."""
    loss, conf = build_loss(config.loss_conf), config.model_conf.classifier
    if config.train_conf.classifier_sharding:
        return ShardedClassifier(
            loss,
            embd_dim,
            num_classes,
            sample_rate=config.train_conf.classifier_sample_rate,
            seed=config.train_conf.seed,
        )
    if loss.needs_embeddings:
        return ClassifierHead(nn.Identity(), loss)
    classifier = SpeakerClassifier(
        embd_dim,
        num_classes * loss.num_centers,
        classifier_type=config.classifier_type,
        num_blocks=conf.num_blocks,
        inter_dim=conf.inter_dim,
    )
    return ClassifierHead(classifier, loss)


def domains_of_head(
    head: ClassifierHead | ShardedClassifier,
    domain_of_class: torch.Tensor | None,
    device: torch.device,
) -> ClassDomains | None:
    """Keep the softmax of a head to the domain of each batch, where it has classes and these have.

    A loss that compares embeddings has no classes: its batches are of one domain, and that is all.
    """
    if (
        domain_of_class is None
        or not isinstance(head, ClassifierHead)
        or head.loss.needs_embeddings
    ):
        return None
    centers = head.loss.num_centers
    head.domains = ClassDomains(domain_of_class, num_centers=centers, device=device)
    return head.domains
