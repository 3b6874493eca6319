"""Lists of trials: pairing, reading, and what is said of a list that cannot be used."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from mvector.errors import DataError, EvaluationError
from mvector.evaluation import all_pairs, check_trials, is_trials_file, read_trials

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


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("separator", [" ", "\t", "   ", " \t "])
def test_pairs_are_read_with_each_clip_once(tmp_path, separator, newline):
    lines = [("1", "a.wav", "b.wav"), ("0", "c.wav", "a.wav"), ("0", "b.wav", "c.wav")]
    path = write(tmp_path, newline.join(separator.join(line) for line in lines) + newline * 2)

    trials = read_trials(path)

    assert sorted(trials.paths) == ["a.wav", "b.wav", "c.wav"]
    pairs = [
        ("1" if label else "0", trials.paths[enroll], trials.paths[test])
        for label, enroll, test in zip(
            trials.labels, trials.enroll_index, trials.test_index, strict=True
        )
    ]
    assert pairs == lines
    assert trials.enroll_paths == trials.test_paths == trials.paths


def test_relative_clips_start_from_the_root_and_absolute_ones_stay(tmp_path):
    path = write(tmp_path, "1 a.wav /data/b.wav\n0 /data/b.wav c.wav\n")

    trials = read_trials(path, root="/corpus")

    assert trials.paths == ("/corpus/a.wav", "/data/b.wav", "/corpus/c.wav")


def test_tabs_alone_allow_spaces_in_paths(tmp_path):
    path = write(tmp_path, "1\tmy clip.wav\tyour clip.wav\n")

    assert read_trials(path).paths == ("my clip.wav", "your clip.wav")


def test_names_in_any_script_and_a_byte_order_mark_are_read(tmp_path):
    path = write(tmp_path, b"\xef\xbb\xbf" + "0 张\u3000三/录音.wav ünï.wav\n".encode())

    trials = read_trials(path)

    assert trials.paths == ("张\u3000三/录音.wav", "ünï.wav")
    assert trials.labels.tolist() == [False]


def test_trials_of_a_clip_with_itself_are_counted_in_a_warning(tmp_path, caplog):
    path = write(tmp_path, "1 a.wav a.wav\n0 a.wav b.wav\n")

    with caplog.at_level(logging.WARNING):
        assert len(read_trials(path)) == 2

    assert "1 of 2 trials compare a clip with itself" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 a.wav b.wav\n\n1 a.wav\n", "line 3: expected 'label path path', got '1 a.wav'"),
        ("1 a b c\n", "line 1: expected 'label path path'"),
        ("1 a b\n2 a b\n", "line 2: the label must be 1 .* got '2'"),
        ("a b target\n", "line 1: the label must be 1 .* got 'a'"),
        ("", "is empty"),
        (" \n\n", "is empty"),
        (b"1 \xff\xfe b\n", "is not UTF-8 text"),
    ],
)
def test_a_malformed_list_is_refused_with_file_and_line(tmp_path, text, message):
    path = write(tmp_path, text, name="veri_test.txt")

    with pytest.raises(DataError, match=message) as caught:
        read_trials(path)

    assert "veri_test.txt" in str(caught.value)


@pytest.mark.parametrize("reader", [read_trials, is_trials_file])
def test_a_missing_list_or_a_folder_is_refused(tmp_path, reader):
    with pytest.raises(DataError, match=r"nowhere\.txt does not exist"):
        reader(tmp_path / "nowhere.txt")
    with pytest.raises(DataError, match="cannot be read"):
        reader(tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 a.wav b.wav\n", True),
        ("\n  \n1 a.wav b.wav\n", True),
        ("1\ta.wav\tb.wav\n", True),
        ("1\tmy clip.wav\tb.wav\n", True),
        ("0 a.wav\tb.wav\n", True),
        ("a.wav\t3\n", False),
        ("\na.wav\t3\n0 a.wav b.wav\n", False),
        ("0 my clip.wav\t3\n", False),
        ("1 clip.wav\t12\n", False),
        ("my clip.wav\tspeaker\n", False),
    ],
)
def test_the_first_line_tells_trials_from_clips(tmp_path, text, expected):
    assert is_trials_file(write(tmp_path, text)) is expected


@pytest.mark.parametrize(
    ("text", "message"),
    [("2 a.wav b.wav\n", "line 1: expected a trial"), ("\n", "is empty"), ("a.wav\n", "line 1")],
)
def test_a_list_of_neither_form_is_refused(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        is_trials_file(write(tmp_path, text))


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
