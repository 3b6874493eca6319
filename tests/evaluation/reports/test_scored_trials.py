"""Scores joined with their trials, and the file that keeps both."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from made_trials import made_trials

from mvector.errors import EvaluationError
from mvector.evaluation.reports.scored import load_scores, save_scores, scored_trials
from mvector.evaluation.reports.worst import worst_trials
from mvector.scoring import all_pairs


def test_all_pairs_are_told_one_by_one_without_a_clip_against_itself():
    trials = all_pairs(["a", "b", "c"], [0, 1, 0], ["x", "b"], [0, 1])
    scored = scored_trials(np.arange(5.0), trials, {})

    found = [
        (scored.enroll_paths[one], scored.test_paths[other])
        for one, other in zip(scored.enroll_index, scored.test_index, strict=True)
    ]
    assert found == [("a", "x"), ("b", "x"), ("c", "x"), ("a", "b"), ("c", "b")]
    enrolled, tested = scored.trial_speakers
    np.testing.assert_array_equal(enrolled == tested, scored.labels)


def test_speakers_of_listed_pairs_are_those_that_target_trials_join():
    scored = made_trials()
    enrolled, tested = scored.trial_speakers

    assert len(np.unique(np.concatenate([enrolled, tested]))) == 30
    np.testing.assert_array_equal(enrolled == tested, scored.labels)


def test_a_file_gives_back_what_was_saved(tmp_path):
    scored = made_trials()
    save_scores(scored, tmp_path / "new" / "scores")
    loaded = load_scores(tmp_path / "new" / "scores")

    assert [file.name for file in (tmp_path / "new").iterdir()] == ["scores"]
    for field in fields(scored):
        one, other = getattr(scored, field.name), getattr(loaded, field.name)
        if isinstance(one, np.ndarray):
            np.testing.assert_array_equal(one, other, strict=True)
        else:
            assert one == other, field.name


def test_the_file_is_plain_npz_that_needs_no_pickle(tmp_path):
    scored = made_trials()
    save_scores(scored, tmp_path / "s.npz")
    with np.load(tmp_path / "s.npz", allow_pickle=False) as file:
        paths = file["test_paths"][file["test_index"]]
    assert paths.tolist() == [scored.test_paths[index] for index in scored.test_index]


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut off"])
def test_what_is_no_file_of_scores_is_named(tmp_path, content):
    (tmp_path / "odd.npz").write_bytes(content)
    with pytest.raises(EvaluationError, match=r"odd\.npz' is no file of scores"):
        load_scores(tmp_path / "odd.npz")
    np.savez(tmp_path / "other.npz", scores=[0.5])
    with pytest.raises(EvaluationError, match=r"other\.npz' is no file of scores"):
        load_scores(tmp_path / "other.npz")
    with pytest.raises(EvaluationError, match=r"gone\.npz' does not exist"):
        load_scores(tmp_path / "gone.npz")


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EvaluationError, match="choose another --save_scores"):
        save_scores(made_trials(), tmp_path / "file" / "scores.npz")


def test_worst_trials_are_low_targets_and_high_nontargets_worst_first():
    scored = made_trials()
    worst = worst_trials(scored, 50)

    for kind, is_kind, sign in (("target", scored.labels, 1), ("nontarget", ~scored.labels, -1)):
        expected = sorted(sign * scored.scores[is_kind])[:50]
        assert [sign * trial["score"] for trial in worst[kind]] == expected
        first = worst[kind][0]
        place = scored.scores.tolist().index(first["score"])
        assert first["enroll"] == scored.enroll_paths[scored.enroll_index[place]]
        assert first["test"] == scored.test_paths[scored.test_index[place]]


def test_of_few_trials_all_are_worst():
    scored = made_trials(num_trials=0, num_people=2)
    pair = made_trials(num_trials=3, num_people=2)
    assert len(worst_trials(scored)["target"]) == 8
    assert worst_trials(scored)["nontarget"] == []
    assert len(worst_trials(pair)["nontarget"]) == 2
