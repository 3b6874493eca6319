"""Scores of trials on files: mean, S-norm, AS-norm and PLDA, against loops over embeddings."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from error_codes import raises_code
from small_encoder import small_encoder, write_noise

from mvector.embedding import SpeakerEncoder
from mvector.embedding.extraction import extract_embeddings
from mvector.errors import DataError, EvaluationError
from mvector.evaluation import run as verification
from mvector.evaluation.back_end import BackEnd
from mvector.evaluation.run import VerificationResult, verify_lists
from mvector.scoring import train_plda

NUM_STRANGERS, CLIPS_EACH = 6, 5
PAIRS = "1 0 1\n0 0 2\n1 2 3\n0 1 3\n0 1 4\n1 4 5\n"
MODELS = "m1 0 1\nm2 2 3\n"
OF_MODELS = "m1 4 1\nm2 4 0\nm1 5 0\nm2 5 1\n"


@pytest.fixture(scope="module")
def encoder() -> SpeakerEncoder:
    return small_encoder()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six clips, trials of them, models of two of them each, and a list of strangers."""
    folder = tmp_path_factory.mktemp("back end")
    for number, path in enumerate(write_noise(folder, 6)):
        Path(path).rename(folder / str(number))
    strangers = [
        (path, person)
        for person in range(NUM_STRANGERS)
        for path in write_noise(folder / f"{person}.", CLIPS_EACH, seed=person + 1)
    ]
    for name, text in (
        ("trials", PAIRS),
        ("models", MODELS),
        ("of_models", OF_MODELS),
        ("cohort", "".join(f"{path}\t{person}\n" for path, person in strangers)),
    ):
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    return folder


def embeddings(encoder: SpeakerEncoder, place: Path) -> tuple[np.ndarray, np.ndarray]:
    lines = (place / "cohort.txt").read_text(encoding="utf-8").splitlines()
    paths = [*(str(place / str(number)) for number in range(6)), *(x.split("\t")[0] for x in lines)]
    table = extract_embeddings(encoder, paths, cache=place / "cache").embeddings.astype(np.float64)
    return table[:6], table[6:]


def verify(encoder: SpeakerEncoder, place: Path, **options: Any) -> VerificationResult:
    return verify_lists(
        encoder, str(place / "trials.txt"), root=str(place), cache=str(place / "cache"), **options
    )


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def pairs() -> list[tuple[int, int]]:
    return [(int(line.split()[1]), int(line.split()[2])) for line in PAIRS.splitlines()]


@pytest.mark.parametrize("by_speaker", [True, False])
@pytest.mark.parametrize("norm", ["snorm", "asnorm"])
@pytest.mark.parametrize("subtract_mean", [True, False])
def test_norms_are_those_of_a_loop(encoder, place, norm, by_speaker, subtract_mean):
    back_end = BackEnd(
        norm=norm,
        top_n=4,
        cohort=str(place / "cohort.txt"),
        by_speaker=by_speaker,
        subtract_mean=subtract_mean,
    )
    result = verify(encoder, place, back_end=back_end)

    clips, strangers = embeddings(encoder, place)
    if subtract_mean:
        clips, strangers = clips - strangers.mean(axis=0), strangers - strangers.mean(axis=0)
    cohort = unit(strangers)
    if by_speaker:
        cohort = unit(cohort.reshape(NUM_STRANGERS, CLIPS_EACH, -1).mean(axis=1))
    expected = []
    for one, other in pairs():
        left, right = unit(clips[one]), unit(clips[other])
        sides = []
        for side in (left, right):
            against = np.sort(cohort @ side)[::-1]
            against = against[:4] if norm == "asnorm" else against
            sides.append((left @ right - against.mean()) / against.std())
        expected.append(np.mean(sides))
    np.testing.assert_allclose(result.scores, expected, rtol=1e-6, atol=1e-6)
    name = {"snorm": "s-norm", "asnorm": "as-norm"}[norm]
    assert result.calibration.score_type == ("mean-subtracted " if subtract_mean else "") + name
    size = NUM_STRANGERS if by_speaker else NUM_STRANGERS * CLIPS_EACH
    assert f"{size} {'speakers' if by_speaker else 'clips'} of" in result.scored_by
    assert ("less the mean embedding of" in result.scored_by) == subtract_mean
    assert list((place / "cache" / "cohort_statistics").glob("*.npz"))


def test_a_mean_is_subtracted_from_clips_before_models_are_made_of_them(encoder, place):
    back_end = BackEnd(subtract_mean=True, cohort=str(place / "cohort.txt"))
    result = verify_lists(
        encoder,
        str(place / "of_models.txt"),
        str(place / "models.txt"),
        root=str(place),
        cache=str(place / "cache"),
        back_end=back_end,
    )
    clips, strangers = embeddings(encoder, place)
    clips = clips - strangers.mean(axis=0)
    models = [unit(clips[:2]).mean(axis=0), unit(clips[2:4]).mean(axis=0)]
    expected = [unit(models[m]) @ unit(clips[t]) for t in (4, 5) for m in (0, 1)]
    np.testing.assert_allclose(result.scores, expected, atol=1e-6)
    assert result.calibration.score_type == "mean-subtracted cosine"


def test_a_plda_is_given_all_clips_of_a_model_jointly(encoder, place):
    back_end = BackEnd(method="plda", plda_train=str(place / "cohort.txt"), lda_dim=3)
    result = verify_lists(
        encoder,
        str(place / "of_models.txt"),
        str(place / "models.txt"),
        root=str(place),
        cache=str(place / "cache"),
        back_end=back_end,
    )
    clips, strangers = embeddings(encoder, place)
    plda = train_plda(strangers, np.repeat(np.arange(NUM_STRANGERS), CLIPS_EACH), lda_dim=3)
    vectors = plda.transform(clips) - plda.mean

    def log_density(rows: list[int]) -> float:
        count, dim = len(rows), vectors.shape[1]
        covariance = np.kron(np.ones((count, count)), plda.between)
        covariance = covariance + np.kron(np.eye(count), plda.within)
        stacked = vectors[rows].ravel()
        quadratic = stacked @ np.linalg.solve(covariance, stacked)
        log_two_pi = count * dim * np.log(2 * np.pi)
        return -0.5 * (quadratic + np.linalg.slogdet(covariance)[1] + log_two_pi)

    expected = [
        log_density([*model, test]) - log_density(model) - log_density([test])
        for test in (4, 5)
        for model in ([0, 1], [2, 3])
    ]
    np.testing.assert_allclose(result.scores, expected, rtol=1e-6, atol=1e-6)
    assert result.enrolment == "all clips jointly"
    assert result.calibration.score_type == "plda"
    assert result.scored_by.startswith("PLDA after LDA to 3 dimensions, trained on ")
    assert "(30 clips of 6 speakers)" in result.scored_by


def test_the_highest_plda_score_of_a_models_clips_is_that_of_pairs(encoder, place):
    back_end = BackEnd(method="plda", plda_train=str(place / "cohort.txt"), lda_dim=3)
    options = {"root": str(place), "cache": str(place / "cache"), "back_end": back_end}
    trials = (str(place / "of_models.txt"), str(place / "models.txt"))
    result = verify_lists(encoder, *trials, enrolment="max", **options)
    all_pairs = place / "pairs.txt"
    lines = [f"{(m + t) % 2 ^ 1} {m} {t}\n" for t in (4, 5) for m in range(4)]
    all_pairs.write_text("".join(lines), encoding="utf-8")
    single = verify_lists(encoder, str(all_pairs), **options).scores
    np.testing.assert_allclose(result.scores, single.reshape(4, 2).max(axis=1), rtol=1e-6)


def test_adaptation_and_fewer_clips_are_stated(encoder, place):
    back_end = BackEnd(
        method="plda",
        plda_train=str(place / "cohort.txt"),
        plda_adapt=str(place / "cohort.txt"),
        lda_dim=2,
        max_clips_per_speaker=4,
    )
    words = verify(encoder, place, back_end=back_end).scored_by
    assert "(24 clips of 6 speakers), adapted to" in words


def test_a_cohort_below_top_n_is_taken_whole_with_a_warning(encoder, place, caplog):
    back_end = BackEnd(norm="asnorm", top_n=300, cohort=str(place / "cohort.txt"))
    with caplog.at_level(logging.WARNING):
        result = verify(encoder, place, back_end=back_end)
    assert "The cohort has 6 vectors, fewer than the top 300" in caplog.text
    assert "the 6 most alike of 6 speakers" in result.scored_by


def test_clips_of_a_cohort_that_are_bad_or_tried_are_told(encoder, place, caplog):
    lines = (place / "cohort.txt").read_text(encoding="utf-8")
    (place / "mixed.txt").write_text(f"{lines}gone.wav\t7\n0\t8\n", encoding="utf-8")
    back_end = BackEnd(norm="snorm", cohort=str(place / "mixed.txt"))
    with caplog.at_level(logging.WARNING):
        result = verify(encoder, place, back_end=back_end)
    assert "1 of 32 clips could not be used and are left out" in caplog.text
    assert "1 of its clips are in the trials too" in caplog.text
    assert "all 7 speakers" in result.scored_by


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "plda", "plda_train": "x", "norm": "snorm"}, "leave out mean and norm"),
        ({"method": "plda"}, "trained on a list"),
        ({"norm": "asnorm"}, "those of a cohort"),
        ({"norm": "asnorm", "cohort": "x", "top_n": 1}, "top_n of at least 2; got 1"),
        ({"method": "cos"}, "cosine or plda"),
    ],
)
def test_what_does_not_go_together_is_refused(options, words):
    with pytest.raises(EvaluationError, match=words):
        BackEnd(**options)


def test_lists_are_checked_before_any_clip_is_heard(encoder, place, monkeypatch):
    monkeypatch.setattr(verification, "embed_trials", lambda *_, **__: pytest.fail("too late"))
    with raises_code("list-not-found"):
        verify(encoder, place, back_end=BackEnd(norm="snorm", cohort="gone.txt"))
    (place / "packed").mkdir()
    (place / "packed" / "corpus.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match="give the list it was packed from"):
        verify(encoder, place, back_end=BackEnd(norm="snorm", cohort=str(place / "packed")))
    plda = BackEnd(method="plda", plda_train=str(place / "cohort.txt"))
    with pytest.raises(EvaluationError, match="no mean of embeddings"):
        verify(encoder, place, back_end=plda, enrolment="raw-mean")
    with pytest.raises(EvaluationError, match="clip by clip"):
        verify(encoder, place, with_quality=True, enrolment="concat")


def test_all_pairs_that_are_too_many_are_counted_to_the_same_figures(encoder, place, monkeypatch):
    clips = "".join(f"{number}\t{number // 2}\n" for number in range(6))
    (place / "clips.txt").write_text(clips, encoding="utf-8")
    lists = (str(place / "clips.txt"), str(place / "clips.txt"))
    options = {"root": str(place), "cache": str(place / "cache")}
    kept = verify_lists(encoder, *lists, **options)
    monkeypatch.setattr(verification, "_MAX_KEPT_SCORES", 10)
    counted = verify_lists(encoder, *lists, **options)

    assert len(kept.scores) == 30
    assert counted.scores is None
    assert counted.curve.eer() == pytest.approx(kept.curve.eer())
    assert counted.calibration.threshold_eer == pytest.approx(kept.calibration.threshold_eer)
    assert counted.calibration.min_dcf == kept.calibration.min_dcf
    assert counted.calibration.slope == pytest.approx(kept.calibration.slope, rel=0.01)
    assert counted.calibration.num_speakers == kept.calibration.num_speakers == 3
    norm = BackEnd(norm="snorm", cohort=str(place / "cohort.txt"))
    for refused in ({"back_end": norm}, {"with_quality": True}):
        with pytest.raises(EvaluationError, match="30 pairs are too many to keep their scores"):
            verify_lists(encoder, *lists, **options, **refused)
