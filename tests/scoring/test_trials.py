"""Trials: pairing, leaving clips out, and what is said of trials that cannot be used."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from mvector.errors import DataError, EvaluationError
from mvector.scoring import all_pairs, read_trials
from mvector.scoring.trial_checks import check_trials
from mvector.scoring.trials import drop_unusable_clips

ENROLL, TRIALS = "dataset/enroll_list.txt", "dataset/trials_list.txt"


def write(tmp_path, text, name="list.txt"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def labels_by_loop(enroll_paths, enroll_labels, test_paths, test_labels):
    return [
        test_label == enroll_label
        for test, test_label in zip(test_paths, test_labels, strict=True)
        for enroll, enroll_label in zip(enroll_paths, enroll_labels, strict=True)
        if test != enroll
    ]


def test_all_pairs_compare_every_test_clip_with_every_enrolment_clip():
    lists = (["e0", "e1", "e2"], [4, 7, 4], ["t0", "t1"], [7, 4])

    trials = all_pairs(*lists)

    assert len(trials) == 6
    assert trials.labels.tolist() == [False, True, False, True, False, True]
    assert trials.labels.tolist() == labels_by_loop(*lists)


def test_all_pairs_leave_out_a_clip_against_itself():
    generator = np.random.default_rng(0)
    paths = [f"clip{index}" for index in range(40)]
    speakers = generator.integers(0, 6, 40)
    lists = (paths[:25], speakers[:25], paths[10:], speakers[10:])

    trials = all_pairs(*lists)

    assert len(trials) == 25 * 30 - 15
    assert trials.labels.tolist() == labels_by_loop(*lists)


def test_indices_of_any_stretch_of_trials_say_which_clips_are_compared():
    paths = [f"clip{index}" for index in range(12)]
    lists = paths[:8], [*paths[3:], "clip4"]
    trials = all_pairs(lists[0], [0] * 8, lists[1], [0] * 10)
    compared = [(one, other) for other in lists[1] for one in lists[0] if one != other]

    for start, stop in ((0, None), (0, 0), (5, 6), (20, 50), (60, len(trials))):
        enroll_index, test_index = trials.indices(start, stop)
        found = [
            (lists[0][one], lists[1][other])
            for one, other in zip(enroll_index, test_index, strict=True)
        ]
        assert found == compared[start:stop]


@pytest.mark.parametrize("paths", [("data/a.wav", "data/./a.wav"), ("data//a.wav", "data/a.wav")])
def test_a_path_written_two_ways_is_one_clip(paths):
    trials = all_pairs([paths[0], "b.wav"], [0, 1], [paths[1]], [0])

    assert trials.labels.tolist() == [False]


def test_a_clip_listed_twice_is_left_out_each_time():
    trials = all_pairs(["a", "a", "b"], [0, 0, 1], ["a", "c"], [0, 0])

    assert trials.labels.tolist() == [False, True, True, False]


def test_all_pairs_of_a_large_evaluation_keep_one_byte_a_trial():
    enroll = [f"e{index}" for index in range(200)]
    test = [f"t{index}" for index in range(18_000)]

    trials = all_pairs(enroll, np.arange(200), test, np.arange(18_000) % 200)

    assert len(trials) == 3_600_000
    assert trials.labels.sum() == 18_000
    arrays = [trials.labels, trials.self_pairs, trials.enroll_labels, trials.test_labels]
    assert sum(array.nbytes for array in arrays) < 3_600_000 + 200_000


@pytest.mark.parametrize(
    ("paths", "labels", "message"),
    [
        (["a", "b"], [0], "2 enrolment clips and 1 labels"),
        (["a"], [0.5], "labels of the enrolment clips must be integers"),
        (["a"], ["bob"], "labels of the enrolment clips must be integers"),
    ],
)
def test_labels_must_be_one_integer_a_clip(paths, labels, message):
    with pytest.raises(DataError, match=message):
        all_pairs(paths, labels, ["t"], [0])


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        (
            (["e"], [0], ["t"], [1]),
            f"^{TRIALS}: no clip belongs to a speaker of {ENROLL}.*no target trials",
        ),
        (
            (["e"], [0], ["e", "t"], [0, 1]),
            f"^{TRIALS}: no speaker of {ENROLL} has another clip.*no target trials",
        ),
        (
            (["e"], [3], ["t", "u"], [3, 3]),
            f"^{ENROLL} and {TRIALS} compare no clips of different speakers.*no non-target trials",
        ),
        (([], [], ["t"], [0]), f"^{ENROLL} holds no clips"),
        ((["e"], [0], [], []), f"^{TRIALS} holds no clips"),
        (
            (["e", "f"], [0, 1], ["e", "t"], [5, 1]),
            f"'e' is speaker 5 in {TRIALS} and speaker 0 in {ENROLL}",
        ),
    ],
)
def test_lists_without_both_kinds_of_trial_are_refused_by_name(lists, message):
    with pytest.raises(EvaluationError, match=message):
        check_trials(all_pairs(*lists), trials_list=TRIALS, enroll_list=ENROLL)


@pytest.mark.parametrize(("label", "missing"), [("1", "non-target"), ("0", "target")])
def test_pairs_of_one_kind_are_refused_by_name(tmp_path, label, missing):
    trials = read_trials(write(tmp_path, f"{label} a b\n{label} b c\n"))

    with pytest.raises(
        EvaluationError, match=f"^veri.txt: every trial is labelled {label}.*no {missing} trials"
    ):
        check_trials(trials, trials_list="veri.txt")


def test_repeated_trials_are_counted_in_a_warning_whichever_way_round(tmp_path, caplog):
    trials = read_trials(write(tmp_path, "1 a b\n1 b a\n0 a c\n0 a c\n0 c b\n"))

    with caplog.at_level(logging.WARNING):
        check_trials(trials, trials_list="veri.txt")

    assert "veri.txt: 2 of 5 trials repeat another one" in caplog.text


def test_a_pair_listed_as_the_same_speaker_and_as_different_ones_is_refused(tmp_path):
    trials = read_trials(write(tmp_path, "1 a b\n0 a c\n0 b a\n"))

    with pytest.raises(EvaluationError, match=r"^veri.txt: 'a' and 'b' are listed as the same"):
        check_trials(trials, trials_list="veri.txt")


def test_trials_without_some_clips_keep_the_others_in_order(tmp_path):
    trials = read_trials(write(tmp_path, "1 a b\n0 a c\n0 d b\n1 c d\n0 b d\n"))
    is_usable = np.array([path != "a" for path in trials.paths])

    left = drop_unusable_clips(trials, is_usable)

    assert left.paths == tuple(path for path in trials.paths if path != "a")
    pairs = zip(left.enroll_index, left.test_index, left.labels, strict=True)
    assert [(left.paths[e], left.paths[t], bool(label)) for e, t, label in pairs] == [
        ("d", "b", False),
        ("c", "d", True),
        ("b", "d", False),
    ]


def test_a_model_loses_its_unusable_clips_and_goes_with_the_last(tmp_path):
    models = write(tmp_path, "m a b\nn c\no d e f\n", name="enroll.lst")
    text = "m t 1\nn t 0\no t 0\no u 1\nm u 0\n"
    trials = read_trials(write(tmp_path, text), enroll_list=models)
    bad = {"b", "c", "e"}

    left = drop_unusable_clips(trials, np.array([path not in bad for path in trials.paths]))

    assert left.models is not None
    assert left.models.names == left.enroll_paths == ("m", "o")
    clips = np.split(left.models.clips, left.models.starts[1:-1])
    assert [[left.paths[clip] for clip in own] for own in clips] == [["a"], ["d", "f"]]
    pairs = zip(left.enroll_index, left.test_index, left.labels, strict=True)
    assert [(left.enroll_paths[e], left.paths[t], bool(label)) for e, t, label in pairs] == [
        ("m", "t", True),
        ("o", "t", False),
        ("o", "u", True),
        ("m", "u", False),
    ]


def test_test_speakers_without_a_target_trial_are_counted(caplog):
    # Speaker 0: targets. 1: only the enrolled clip itself. 2 and 3: never enrolled.
    trials = all_pairs(
        ["e0", "e1", "e9"], [0, 1, 9], ["t0", "e1", "t2", "u2", "t3"], [0, 1, 2, 2, 3]
    )

    with caplog.at_level(logging.WARNING):
        check_trials(trials, trials_list=TRIALS, enroll_list=ENROLL)

    assert f"{TRIALS}: 2 of 4 speakers have no clip in {ENROLL}" in caplog.text
    assert f"{TRIALS}: 1 of 4 speakers have a single clip, the one in {ENROLL}" in caplog.text


def test_good_lists_pass_in_silence(tmp_path, caplog):
    pairs = read_trials(write(tmp_path, "1 a b\n0 b c\n"))
    # The same list on both sides: every speaker has a second clip.
    both = all_pairs(["a", "b", "c", "d"], [0, 0, 1, 1], ["a", "b", "c", "d"], [0, 0, 1, 1])

    with caplog.at_level(logging.WARNING):
        check_trials(pairs, trials_list=TRIALS)
        check_trials(both, trials_list=TRIALS, enroll_list=ENROLL)

    assert caplog.text == ""
