"""Likeness to strangers: means of cosines, as a loop computes them, and the files of strangers."""

from __future__ import annotations

import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from error_codes import raises_code

from mvector.errors import CheckpointError, EvaluationError
from mvector.scoring import strangers
from mvector.scoring.cohort import Cohort, cohort_statistics
from mvector.scoring.strangers import (
    COHORT,
    MAX_OWN,
    OWN_COHORT,
    Strangers,
    likeness,
    load_cohort,
    load_own_cohort,
    own_likeness,
    save_cohort,
    save_own_cohort,
)

MODEL = "0123456789abcdef"


def embeddings_of(count: int, seed: int, dim: int = 24) -> np.ndarray:
    """Voices that have something in common, as real ones have."""
    generator = np.random.default_rng(seed)
    return (generator.normal(size=(count, dim)) + 0.5).astype(np.float32)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def trimmed_mean(cosines: list[float]) -> float:
    """Without the highest tenth, and at least the highest one."""
    kept = sorted(cosines)[: len(cosines) - max(1, len(cosines) // 10)]
    return sum(kept) / len(kept)


# ---- those that come with a model ---------------------------------------------------------------


@pytest.mark.parametrize("top_n", [1, 7, 30, 300])
def test_likeness_is_the_mean_of_the_highest_cosines(top_n: int) -> None:
    clips, others = embeddings_of(9, 0), embeddings_of(30, 1)

    found = likeness(clips, Cohort.from_embeddings(others), top_n=top_n)

    expected = [
        np.mean(sorted(cosine(clip, other) for other in others)[-min(top_n, 30) :])
        for clip in clips
    ]
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_likeness_is_the_mean_that_as_norm_takes_off() -> None:
    clips, cohort = embeddings_of(9, 2), Cohort.from_embeddings(embeddings_of(40, 3))
    expected = cohort_statistics(clips, cohort, top_n=11).mean
    np.testing.assert_allclose(likeness(clips, cohort, top_n=11), expected, rtol=1e-12)


def test_likeness_depends_neither_on_length_nor_on_the_size_of_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clips, cohort = embeddings_of(9, 4), Cohort.from_embeddings(embeddings_of(40, 5))
    whole = likeness(clips, cohort, top_n=11)
    monkeypatch.setattr(strangers, "_BLOCK_SIZE", 1)
    np.testing.assert_allclose(likeness(7.0 * clips, cohort, top_n=11), whole, rtol=1e-6)


def test_a_cohort_of_another_size_of_embeddings_is_refused() -> None:
    cohort = Cohort.from_embeddings(embeddings_of(9, 0, dim=8))
    with pytest.raises(EvaluationError, match="has 8 dimensions and the embeddings 24"):
        likeness(embeddings_of(2, 0), cohort)


def test_the_strangers_of_a_model_keep_their_directions(tmp_path: Path) -> None:
    clips, others = embeddings_of(9, 6, dim=192), 5.0 * embeddings_of(700, 7, dim=192)

    save_cohort(tmp_path, others, MODEL)
    cohort = load_cohort(tmp_path, MODEL)

    assert cohort is not None
    assert cohort.fingerprint == MODEL
    assert cohort.vectors.dtype == np.float32
    expected = likeness(clips, Cohort.from_embeddings(others))
    np.testing.assert_allclose(likeness(clips, cohort), expected, atol=1e-5)
    np.testing.assert_allclose(Strangers(tmp_path, MODEL).likeness(clips), expected, atol=1e-5)


def test_a_cohort_takes_two_bytes_a_number_and_two_megabytes_at_most(tmp_path: Path) -> None:
    save_cohort(tmp_path, embeddings_of(5000, 8, dim=192), MODEL)
    assert (tmp_path / COHORT).stat().st_size < 2_000_000
    with pytest.raises(EvaluationError, match=r"6,000 .* take 2\.3 MB; give at most 5,208"):
        save_cohort(tmp_path, embeddings_of(6000, 8, dim=192), MODEL)


# ---- the user's own -----------------------------------------------------------------------------


@pytest.mark.parametrize("num_people", [5, 9, 19, 20, 41])
def test_own_likeness_is_the_mean_without_the_most_alike_tenth(num_people: int) -> None:
    clips, people = embeddings_of(6, 10), embeddings_of(num_people, 11)
    units = Cohort.from_embeddings(people).vectors

    found = own_likeness(clips, units)

    expected = [trimmed_mean([cosine(clip, person) for person in people]) for clip in clips]
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_who_is_compared_with_is_no_stranger() -> None:
    clips, people = embeddings_of(6, 12), embeddings_of(25, 13)
    left_out = np.random.default_rng(0).random((6, 25)) < 0.3

    found = own_likeness(clips, Cohort.from_embeddings(people).vectors, left_out)

    expected = [
        trimmed_mean([cosine(clip, person) for person in people[~out]])
        for clip, out in zip(clips, left_out, strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_fewer_than_five_strangers_tell_nothing() -> None:
    clips, people = embeddings_of(2, 14), Cohort.from_embeddings(embeddings_of(5, 15)).vectors
    assert np.isfinite(own_likeness(clips, people)).all()
    assert np.isnan(own_likeness(clips, people[:4])).all()
    left_out = np.zeros((2, 5), dtype=bool)
    left_out[1, 3] = True
    assert np.isfinite(own_likeness(clips, people, left_out)).tolist() == [True, False]


def test_somebody_under_a_second_name_is_left_out() -> None:
    """The speaker is among the strangers once more: that may not make the clip a common voice."""
    clip, people = embeddings_of(1, 16), embeddings_of(12, 17)
    twice = np.concatenate([people, clip + 0.01])

    alone, found = (
        own_likeness(clip, Cohort.from_embeddings(who).vectors)[0] for who in (people, twice)
    )

    cosines = [cosine(clip[0], person) for person in people]
    assert found == pytest.approx(np.mean(cosines), rel=1e-12)
    assert abs(found - alone) < 0.05 < abs(np.mean([*cosines, 1.0]) - alone)


def test_own_strangers_are_a_vector_each_and_no_more_than_are_compared(tmp_path: Path) -> None:
    clips, people = embeddings_of(3, 18), embeddings_of(1200, 19)

    save_own_cohort(tmp_path, people, MODEL)
    own = load_own_cohort(tmp_path, MODEL)

    assert own is not None
    chosen = people[np.arange(MAX_OWN) * 1200 // MAX_OWN]
    np.testing.assert_allclose(own.vectors, Cohort.from_embeddings(chosen).vectors, atol=2e-3)
    np.testing.assert_array_equal(
        Strangers(tmp_path, MODEL).own_likeness(clips), own_likeness(clips, own.vectors)
    )
    with np.load(tmp_path / OWN_COHORT) as stored:  # and nobody's name
        assert sorted(stored) == ["fingerprint", "format_version", "vectors"]


def test_own_strangers_of_fewer_than_five_people_are_ignored(tmp_path: Path) -> None:
    save_own_cohort(tmp_path, embeddings_of(4, 20), MODEL)
    assert load_own_cohort(tmp_path, MODEL) is None
    save_own_cohort(tmp_path, embeddings_of(5, 20), MODEL)
    assert load_own_cohort(tmp_path, MODEL) is not None


# ---- their files --------------------------------------------------------------------------------


def test_without_files_nothing_is_known(tmp_path: Path) -> None:
    assert load_cohort(tmp_path, MODEL) is None
    assert load_own_cohort(tmp_path, MODEL) is None
    for nobody in (Strangers(tmp_path, MODEL), Strangers(None), Strangers.of_model(None)):
        assert np.isnan(nobody.likeness(embeddings_of(3, 0))).tolist() == [True] * 3
        assert np.isnan(nobody.own_likeness(embeddings_of(3, 0))).tolist() == [True] * 3


def test_strangers_of_another_model_are_refused(tmp_path: Path) -> None:
    save_cohort(tmp_path, embeddings_of(6, 0), "another")
    save_own_cohort(tmp_path, embeddings_of(6, 0), "another")
    both = Strangers(tmp_path, MODEL)
    for use in (both.likeness, both.own_likeness):
        with raises_code("model-mismatch"):
            use(embeddings_of(1, 0))
    with pytest.raises(CheckpointError, match=rf"cohort\.npz' belong .* another, not to {MODEL}"):
        load_cohort(tmp_path, MODEL)


def write(file: Path, **changes: object) -> None:
    values: dict = {"format_version": 1, "fingerprint": MODEL, "vectors": np.ones((6, 4), "f2")}
    kept = {key: value for key, value in {**values, **changes}.items() if value is not None}
    np.savez(file, **kept)


@pytest.mark.parametrize(
    "changes",
    [
        {"vectors": None},
        {"fingerprint": None},
        {"format_version": None},
        {"format_version": "new"},
        {"vectors": np.ones((6, 4))},
        {"vectors": np.ones(6, "f2")},
        {"vectors": np.ones((0, 4), "f2")},
        {"vectors": np.zeros((6, 4), "f2")},
        {"vectors": np.full((6, 4), np.nan, "f2")},
        {"vectors": np.array([{}], dtype=object)},
        {"vectors": np.ones((1_500_000, 4), "f2")},  # more than any that is written
    ],
    ids=str,
)
def test_what_is_no_cohort_is_said_to_be_damaged(tmp_path: Path, changes: dict) -> None:
    write(tmp_path / COHORT, **changes)
    with raises_code("checkpoint-damaged"):
        load_cohort(tmp_path, MODEL)


def test_damaged_bytes_are_found_wherever_they_are(tmp_path: Path) -> None:
    file = tmp_path / COHORT
    write(file)
    assert load_cohort(tmp_path, MODEL) is not None
    whole = file.read_bytes()
    for cut in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:cut])
        with raises_code("checkpoint-damaged"):
            load_cohort(tmp_path, MODEL)
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as other:
        other.writestr("vectors.npy", b"no array")
    file.write_bytes((tmp_path / "other.npz").read_bytes())
    with raises_code("checkpoint-damaged"):
        load_cohort(tmp_path, MODEL)
    generator = np.random.default_rng(0)
    for place in generator.integers(0, len(whole), 200):
        changed = bytearray(whole)
        changed[place] ^= 1 + generator.integers(255)
        file.write_bytes(changed)
        with suppress(CheckpointError):  # and no other; a byte that nobody reads may change
            load_cohort(tmp_path, MODEL)


def test_a_cohort_of_a_newer_version_asks_for_an_update(tmp_path: Path) -> None:
    write(tmp_path / COHORT, format_version=2)
    with pytest.raises(CheckpointError, match=r"has format version 2, .* update mvector"):
        load_cohort(tmp_path, MODEL)


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / COHORT).mkdir()
    with pytest.raises(CheckpointError, match=r"Cannot write '.*cohort\.npz'"):
        save_cohort(tmp_path, embeddings_of(6, 0), MODEL)
    with raises_code("checkpoint-damaged"):
        load_cohort(tmp_path, MODEL)
