"""Systems on the same trials: what differs, and how sure that is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_trials import made_trials
from scipy.stats import norm

from mvector.errors import EvaluationError
from mvector.evaluation import bootstrap_difference, compute_eer, compute_min_dcf, error_rates
from mvector.evaluation.plots import det_figure
from mvector.evaluation.reports.comparison import compare_scores
from mvector.evaluation.reports.result_tables import comparison_tables
from mvector.evaluation.reports.scored import ScoredTrials, save_scores


@pytest.fixture
def files(tmp_path):
    """Three systems: one, the same with a little noise, and a much better one."""
    scored = made_trials(1500, skill=1.5)
    noise = np.random.default_rng(1).normal(0.0, 0.01, len(scored.scores))
    better = scored.scores + 0.3 * scored.labels
    for name, scores in (
        ("one", scored.scores),
        ("alike", scored.scores + noise),
        ("good", better),
    ):
        save_scores(replace(scored, scores=scores), tmp_path / f"{name}.npz")
    return scored, [tmp_path / f"{name}.npz" for name in ("one", "alike", "good")]


def test_each_system_is_measured_and_compared_with_the_first(files):
    scored, paths = files
    found, curves = compare_scores(paths, num_replicates=200)

    assert [system["name"] for system in found["systems"]] == ["one", "alike", "good"]
    assert list(curves) == ["one", "alike", "good"]
    for system in found["systems"]:
        scores = np.load(system["file"])["scores"]
        assert system["eer"] == pytest.approx(compute_eer(scores, scored.labels)[0], abs=1e-12)
        expected = [compute_min_dcf(scores, scored.labels, p_target=p) for p in (0.01, 0.05)]
        assert system["min_dcf"] == pytest.approx(expected)
    one, alike, good = (system["eer"] for system in found["systems"])
    by_name = {entry["name"]: entry for entry in found["differences"]}
    assert by_name["alike"]["eer"]["value"] == pytest.approx(alike - one)
    assert by_name["good"]["eer"]["value"] == pytest.approx(good - one)
    assert by_name["good"]["eer"]["high"] < 0.0
    assert by_name["alike"]["eer"]["low"] < 0.0 < by_name["alike"]["eer"]["high"]


def test_intervals_are_those_of_the_paired_bootstrap_by_speaker(files):
    scored, paths = files
    found, _ = compare_scores(paths[:2], num_replicates=200)
    other = np.load(paths[1])["scores"]
    people = [[path.split("/")[0] for path in side] for side in (scored.enroll_paths,) * 2]
    sides = (
        np.array(names)[index]
        for names, index in zip(people, (scored.enroll_index, scored.test_index), strict=True)
    )
    expected = bootstrap_difference(
        other, scored.scores, scored.labels, *sides, num_replicates=2000, seed=7
    )
    (difference,) = found["differences"]
    width = expected.eer.high - expected.eer.low
    assert difference["eer"]["low"] == pytest.approx(expected.eer.low, abs=0.3 * width)
    assert difference["eer"]["high"] == pytest.approx(expected.eer.high, abs=0.3 * width)
    assert found["bootstrap"]["num_speakers"] == 30


def test_the_verdict_says_what_the_interval_allows(files):
    found, _ = compare_scores(files[1], num_replicates=200)
    _, differences = comparison_tables(found)
    verdicts = {(row[0], row[1]): row[-1] for row in differences.rows}
    assert verdicts["good - one", "EER"] == "better"
    assert verdicts["alike - one", "EER"] == "not told apart"
    backwards, _ = compare_scores([files[1][2], files[1][0]], num_replicates=200)
    assert comparison_tables(backwards)[1].rows[0][-1] == "worse"


def test_of_two_speakers_there_is_no_interval_and_no_verdict(tmp_path):
    first, second = np.triu_indices(4, 1)
    clips, speakers = ("ann/1", "ann/2", "ben/1", "ben/2"), np.arange(4) // 2
    labels, index = speakers[first] == speakers[second], (first.astype(np.int32), second)
    files = [tmp_path / "one.npz", tmp_path / "other.npz"]
    for file, of in zip(files, ([0.9, 0, 0, 0, 0, 0.8], [0, 0.9, 0, 0.5, 0, 0.8]), strict=True):
        scored = ScoredTrials(np.array(of), labels, *index, clips, clips, speakers, speakers)
        save_scores(scored, file)
    found, _ = compare_scores(files)
    eers = [system["eer"] for system in found["systems"]]
    (difference,) = found["differences"]
    assert difference["eer"] == {"value": eers[1] - eers[0], "low": None, "high": None}
    assert len(difference["min_dcf"]) == len(found["p_targets"])
    table = comparison_tables(found)[1]
    assert {row[-1] for row in table.rows} == {"not told apart"}
    assert table.notes[0].startswith("No intervals: The trials are of 2 speakers")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: made_trials(1400), "1,620 and 1,520 trials"),
        (
            lambda s: replace(s, test_paths=("other", *s.test_paths[1:])),
            "trials of different clips",
        ),
        (lambda s: replace(s, labels=s.labels[::-1]), "other trials of the same clips"),
        (lambda s: replace(s, test_index=s.enroll_index), "other trials of the same clips"),
    ],
)
def test_other_trials_are_refused(files, tmp_path, change, words):
    scored, paths = files
    save_scores(change(scored), tmp_path / "other.npz")
    with pytest.raises(EvaluationError, match=rf"other\.npz' hold {words}"):
        compare_scores([paths[0], tmp_path / "other.npz"])


def test_a_comparison_needs_two_files_and_draws(files):
    with pytest.raises(EvaluationError, match="two files of scores or more"):
        compare_scores(files[1][:1])
    with pytest.raises(EvaluationError, match="--bootstrap"):
        compare_scores(files[1], num_replicates=0)


def test_files_of_the_same_name_are_told_by_their_paths(files, tmp_path):
    scored, paths = files
    save_scores(scored, tmp_path / "b" / "one.npz")
    found, _ = compare_scores([paths[0], tmp_path / "b" / "one.npz"], num_replicates=20)
    names = [system["name"] for system in found["systems"]]
    assert names == [str(paths[0]), str(tmp_path / "b" / "one.npz")]
    assert found["differences"][0]["eer"] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_curves_lie_over_each_other_each_with_its_eer(files):
    _, curves = compare_scores(files[1], num_replicates=20)
    (axes,) = det_figure(curves).axes
    labels = [str(line.get_label()) for line in axes.lines]

    for name, curve in curves.items():
        label = f"{name}: EER {100 * curve.eer()[0]:.2f} %"
        drawn = axes.lines[labels.index(label)]
        x, y = drawn.get_data()
        middle = len(x) // 2
        fpr = np.maximum(curve.fpr, 0.5 / curve.num_nontarget)  # a rate of 0 has no place
        fnr = np.maximum(curve.fnr, 0.5 / curve.num_target)
        of_same_fpr = fnr[np.isclose(fpr, norm.cdf(x[middle]))]
        assert np.isclose(of_same_fpr, norm.cdf(y[middle])).any()
    assert len({line.get_color() for line in axes.lines[:-1]}) == 3


def test_the_curve_of_one_system_has_its_operating_points():
    scored = made_trials(6000)
    curve = error_rates(scored.scores, scored.labels)
    (axes,) = det_figure({"": curve}).axes
    points = {str(line.get_label()).split(":")[0]: line.get_xydata()[0] for line in axes.lines[1:]}
    for far, name in ((0.01, "FAR 1 %"), (0.001, "FAR 0.1 %")):
        point = curve.at_fpr(far)
        assert points[name] == pytest.approx(norm.ppf([point.fpr, point.fnr]))
