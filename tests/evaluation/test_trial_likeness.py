"""An evaluation knows how alike both sides of its trials are to strangers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from error_codes import raises_code
from small_encoder import write_noise
from small_model import small_model

from mvector.embedding import SpeakerEncoder
from mvector.evaluation.quality import SIDE_MEASURES, TRIAL_MEASURES
from mvector.evaluation.run import VerificationResult, measure_trials, verify_lists
from mvector.models.folder import load_model_folder, save_model_folder
from mvector.scoring.strangers import COHORT, OWN_COHORT, save_cohort, save_own_cohort

GENERATOR = np.random.default_rng(0)
COHORT_VECTORS, OWN_VECTORS = GENERATOR.normal(size=(40, 16)), GENERATOR.normal(size=(7, 16))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> SpeakerEncoder:
    """A model that has strangers, and so has its user."""
    folder = small_model(tmp_path_factory.mktemp("model") / "m")
    encoder = SpeakerEncoder.from_folder(folder, "cpu")
    save_cohort(folder, COHORT_VECTORS, encoder.fingerprint)
    save_own_cohort(folder, OWN_VECTORS, encoder.fingerprint)
    return encoder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``a.wav`` … ``f.wav``."""
    folder = tmp_path_factory.mktemp("corpus")
    for name, path in zip("abcdef", write_noise(folder, 6), strict=True):
        Path(path).rename(folder / f"{name}.wav")
    return folder


def unit(vectors: np.ndarray) -> np.ndarray:
    vectors = vectors.astype(np.float64)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def likeness(embedding: np.ndarray) -> list[float]:
    """All of 40 strangers count, and of seven people those six that are least alike."""
    own = sorted(unit(OWN_VECTORS) @ unit(embedding))
    return [float(np.mean(unit(COHORT_VECTORS) @ unit(embedding))), float(np.mean(own[:6]))]


def evaluated(encoder: SpeakerEncoder, corpus: Path, text: str, **options: object) -> tuple:
    """The result, and the likeness of each tested clip, from its path."""
    trials = corpus / "trials.txt"
    trials.write_text(text, encoding="utf-8")
    result: VerificationResult = verify_lists(encoder, str(trials), root=str(corpus), **options)  # type: ignore[arg-type]
    return result, [likeness(encoder.embed(path)) for path in result.trials.test_paths]


PAIRS = "1 a.wav b.wav\n0 a.wav c.wav\n1 c.wav d.wav\n0 b.wav d.wav\n"
OF_MODELS = "m e.wav 1\nn e.wav 0\nm f.wav 0\nn f.wav 1\n"


def test_of_listed_pairs_each_clip_has_its_own(encoder: SpeakerEncoder, corpus: Path) -> None:
    result, expected = evaluated(encoder, corpus, PAIRS, with_quality=True)
    for side in result.likeness:
        np.testing.assert_allclose(side, expected, atol=1e-3)  # strangers are float16
    first, second = map(np.take, result.likeness, result.trials.indices(), (0, 0))
    columns = [k for k, name in enumerate(TRIAL_MEASURES) if "strangers" in name]
    ends = np.stack([np.minimum(first, second), np.maximum(first, second)], axis=-1)
    np.testing.assert_array_equal(result.quality[:, columns], ends.reshape(len(first), 4))


def test_of_two_lists_each_side_has_its_own(encoder: SpeakerEncoder, corpus: Path) -> None:
    enroll = corpus / "enroll.txt"
    enroll.write_text("a.wav\t0\nb.wav\t1\n")
    result, expected = evaluated(
        encoder, corpus, "c.wav\t0\nd.wav\t1\ne.wav\t1\n", enroll_list=str(enroll)
    )
    enrolled = [likeness(encoder.embed(path)) for path in result.trials.enroll_paths]
    assert np.shape(enrolled) == (2, 2)
    np.testing.assert_allclose(result.likeness[0], enrolled, atol=1e-3)
    np.testing.assert_allclose(result.likeness[1], expected, atol=1e-3)


@pytest.mark.parametrize("enrolment", ["mean", "raw-mean", "max"])
def test_a_model_of_several_clips_has_that_of_its_mean(
    encoder: SpeakerEncoder, corpus: Path, enrolment: str
) -> None:
    models = corpus / "models.txt"
    models.write_text("m a.wav b.wav\nn c.wav d.wav\n")
    result, expected = evaluated(
        encoder, corpus, OF_MODELS, enroll_list=str(models), enrolment=enrolment
    )
    means = []
    for clips in ("ab", "cd"):
        both = np.stack([encoder.embed(corpus / f"{name}.wav") for name in clips])
        means.append(np.mean(both if enrolment == "raw-mean" else unit(both), axis=0))
    np.testing.assert_allclose(result.likeness[0], [*map(likeness, means)], atol=1e-3)
    np.testing.assert_allclose(result.likeness[1], expected, atol=1e-3)

    enrolled, tested = measure_trials(encoder, result.trials, result.likeness)
    assert enrolled.shape == (2, len(SIDE_MEASURES))
    assert np.isfinite(enrolled).all()
    assert np.isfinite(tested).all()
    np.testing.assert_array_equal(enrolled[:, -2:], result.likeness[0])
    np.testing.assert_array_equal(tested[:, -2:], result.likeness[1])
    for side in measure_trials(encoder, result.trials):
        assert np.isnan(side[:, -2:]).all()


def test_without_strangers_nothing_is_known(corpus: Path, tmp_path: Path) -> None:
    plain = SpeakerEncoder.from_folder(small_model(tmp_path / "m"), "cpu")
    result, _ = evaluated(plain, corpus, PAIRS, with_quality=True)
    assert np.isnan(result.likeness).all()
    ratios = result.calibration.ratios
    assert ratios
    assert not [name for ratio in ratios for name in ratio.measures if "strangers" in name]


def test_strangers_of_another_model_are_not_evaluated_with(corpus: Path, tmp_path: Path) -> None:
    folder = small_model(tmp_path / "m")
    save_cohort(folder, COHORT_VECTORS, "another")
    with raises_code("model-mismatch"):
        evaluated(SpeakerEncoder.from_folder(folder, "cpu"), corpus, PAIRS)


def test_a_new_model_in_its_place_has_no_strangers(tmp_path: Path) -> None:
    folder = small_model(tmp_path / "m")
    model, info = load_model_folder(folder)
    save_cohort(folder, COHORT_VECTORS, info.fingerprint)
    save_own_cohort(folder, OWN_VECTORS, info.fingerprint)
    save_model_folder(folder, model)
    assert not {COHORT, OWN_COHORT} & {file.name for file in folder.iterdir()}
