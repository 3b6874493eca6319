"""The layers between embedding and logits, and losses by their names in configuration files."""

from __future__ import annotations

import pytest
import torch

from mvector.errors import ConfigError
from mvector.losses import LOSSES, SpeakerClassifier, build_loss


def test_cosine_logits_are_cosines() -> None:
    classifier = SpeakerClassifier(4, 3)
    embeddings = 100 * torch.randn(5, 4)
    cosines = torch.cosine_similarity(embeddings.unsqueeze(1), classifier.weight, dim=2)
    torch.testing.assert_close(classifier(embeddings), cosines)


def test_linear_logits_have_a_bias() -> None:
    classifier = SpeakerClassifier(4, 3, classifier_type="Linear")
    with torch.no_grad():
        classifier.bias.copy_(torch.tensor([1.0, 2.0, 3.0]))
    assert classifier(torch.zeros(1, 4)).tolist() == [[1.0, 2.0, 3.0]]


def test_dense_layers_come_before_the_last() -> None:
    classifier = SpeakerClassifier(4, 3, num_blocks=2, inter_dim=6)
    assert classifier.weight.shape == (3, 6)
    assert classifier(torch.randn(2, 4)).shape == (2, 3)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_can_be_built_by_name(name: str) -> None:
    assert type(build_loss({"use_loss": name, "args": {}})) is LOSSES[name]


def test_a_misspelt_loss_or_argument_is_named() -> None:
    with pytest.raises(ConfigError, match="no loss 'AAM'"):
        build_loss({"use_loss": "AAM"})
    with pytest.raises(ConfigError, match="no argument 'margn'"):
        build_loss({"use_loss": "AAMLoss", "args": {"margn": 0.2}})
