"""A softmax within a domain is that of a classifier that has no other speakers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mvector.losses import LOSSES, SpeakerClassifier
from mvector.losses.domains import ClassDomains
from mvector.training.network import ClassifierHead

DOMAIN_OF = torch.tensor([1, 0, 1, -1, 0, 1, 0])  # nobody is speaker 3
EMBD_DIM = 6
# labels of a batch, the speakers of their domain, and the labels among those
BATCHES = [([2, 5, 5, 0], [0, 2, 5], [1, 2, 2, 0]), ([6, 1, 4, 6], [1, 4, 6], [2, 0, 1, 2])]
CASES: list[tuple[str, dict[str, Any]]] = [
    ("CELoss", {"label_smoothing": 0.1}),
    ("AAMLoss", {"margin": 0.3, "label_smoothing": 0.1}),
    ("AMLoss", {"margin": 0.2}),
    ("ARMLoss", {"margin": 0.2}),
    ("SphereFace2", {}),
    ("SubCenterLoss", {"num_centers": 2, "k_top": 5, "mp": 0.1}),
]


def head_of(name: str, args: dict[str, Any]) -> tuple[ClassifierHead, ClassDomains]:
    torch.manual_seed(0)
    loss = LOSSES[name](**args)
    classifier = SpeakerClassifier(
        EMBD_DIM, len(DOMAIN_OF) * loss.num_centers, classifier_type=loss.classifier_type
    )
    domains = ClassDomains(DOMAIN_OF, num_centers=loss.num_centers)
    return ClassifierHead(classifier, loss, domains), domains


@pytest.mark.parametrize(("name", "args"), CASES)
def test_loss_gradients_and_accuracy_are_those_of_a_classifier_of_the_domain_alone(
    name: str, args: dict[str, Any]
) -> None:
    head, domains = head_of(name, args)
    loss, classifier = head.loss, head.classifier
    kind = {"classifier_type": loss.classifier_type}
    for labels, speakers, among_own in BATCHES:
        alone = SpeakerClassifier(EMBD_DIM, 3 * loss.num_centers, **kind)
        rows = [s * loss.num_centers + c for s in speakers for c in range(loss.num_centers)]
        alone.weight.data = classifier.weight.data[rows].clone()
        embeddings = torch.randn(4, EMBD_DIM)
        outputs, own_labels = alone(embeddings), torch.tensor(among_own)
        expected = loss(outputs, own_labels)
        expected.backward()

        head.zero_grad()
        domains.enter(torch.tensor(labels))
        found, num_correct = head(embeddings, torch.tensor(labels))
        found.backward()
        torch.testing.assert_close(found, expected)
        assert num_correct == loss.count_correct(outputs, own_labels)
        gradient = classifier.weight.grad
        assert gradient is not None
        torch.testing.assert_close(gradient[rows], alone.weight.grad)
        others = [row for row in range(len(gradient)) if row not in rows]
        assert not gradient[others].any()


@pytest.mark.parametrize(("name", "args"), CASES)
def test_a_batch_of_several_domains_costs_the_mean_of_its_clips(
    name: str, args: dict[str, Any]
) -> None:
    head, domains = head_of(name, args)
    labels, embeddings = torch.tensor([6, 2, 1, 5, 4]), torch.randn(5, EMBD_DIM)
    parts = []
    for clips in ([0, 2, 4], [1, 3]):
        domains.enter(labels[clips])
        parts.append((len(clips), *head(embeddings[clips], labels[clips])))
    domains.enter(labels)
    found, num_correct = head(embeddings, labels)
    torch.testing.assert_close(found, sum(n * mean for n, mean, _ in parts) / 5)
    assert num_correct == sum(correct for _, _, correct in parts)


def test_without_domains_all_speakers_are_told_apart() -> None:
    classifier = SpeakerClassifier(EMBD_DIM, len(DOMAIN_OF))
    embeddings, labels = torch.randn(4, EMBD_DIM), torch.tensor([0, 1, 2, 6])
    loss = LOSSES["AMLoss"]()
    found, _ = ClassifierHead(classifier, loss)(embeddings, labels)
    torch.testing.assert_close(found, loss(classifier(embeddings), labels))
