"""Lists of trials in every published form, and what is said of a list that cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mvector.errors import DataError
from mvector.scoring import PairTrials, read_trials
from mvector.scoring.trial_lists import is_trials_file


def write(tmp_path: Path, text: str | bytes, name: str = "list.txt") -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def spelled_out(trials: PairTrials) -> list[tuple[object, ...]]:
    """``(enrolment clips..., test clip, label)`` of each trial."""
    rows = zip(trials.enroll_index, trials.test_index, trials.labels, strict=True)
    result = []
    for enroll, test, label in rows:
        clips = [enroll]
        if trials.models is not None:
            starts = trials.models.starts
            clips = trials.models.clips[starts[enroll] : starts[enroll + 1]].tolist()
        result.append((*(trials.paths[clip] for clip in clips), trials.paths[test], bool(label)))
    return result


EXPECTED = [("a.wav", "b.wav", True), ("c.wav", "a.wav", False), ("b.wav", "c.wav", False)]
FORMS = {
    "voxceleb": "1 a.wav b.wav\n0 c.wav a.wav\n0 b.wav c.wav\n",
    "wespeaker": "a.wav b.wav target\nc.wav a.wav nontarget\nb.wav c.wav nontarget\n",
    "3d-speaker": "a.wav b.wav 1\nc.wav a.wav 0\nb.wav c.wav 0\n",
    "words first": "target a.wav b.wav\nnontarget c.wav a.wav\nnontarget b.wav c.wav\n",
}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("form", FORMS)
def test_the_place_of_the_label_is_told_by_the_content(
    tmp_path: Path, form: str, newline: str
) -> None:
    path = write(tmp_path, FORMS[form].replace("\n", newline))
    assert is_trials_file(path)
    assert spelled_out(read_trials(path)) == EXPECTED


def test_clips_named_like_labels_are_no_doubt_where_another_line_decides(tmp_path: Path) -> None:
    path = write(tmp_path, "0 a 1\n1 b 0\n0 c d\n")
    assert spelled_out(read_trials(path)) == [
        ("a", "1", False),
        ("b", "0", True),
        ("c", "d", False),
    ]


def test_spaces_and_chinese_names_stand_between_tabs_with_the_label_last(tmp_path: Path) -> None:
    path = write(tmp_path, "张 三/录音 1.wav\tmy clip.wav\ttarget\r\na b.wav\tc.wav\tnontarget\r\n")
    assert spelled_out(read_trials(path)) == [
        ("张 三/录音 1.wav", "my clip.wav", True),
        ("a b.wav", "c.wav", False),
    ]


def test_kaldi_utterances_are_found_by_their_wav_scp(tmp_path: Path) -> None:
    scp = write(tmp_path, "utt1 a.wav\r\nutt2 b.wav\nutt3\tmy c.wav\n", name="wav.scp")
    trials = read_trials(write(tmp_path, "utt1 utt2 target\nutt3 utt1 nontarget\n"), "/corpus", scp)
    assert trials.models is None
    assert spelled_out(trials) == [
        ("/corpus/a.wav", "/corpus/b.wav", True),
        ("/corpus/my c.wav", "/corpus/a.wav", False),
    ]


def test_two_utterances_of_one_file_are_one_clip(tmp_path: Path) -> None:
    scp = write(tmp_path, "utt1 a.wav\nutt2 a.wav\nutt3 b.wav\n", name="wav.scp")
    trials = read_trials(write(tmp_path, "utt1 utt3 target\nutt2 utt3 target\n"), None, scp)
    assert trials.paths == ("a.wav", "b.wav")


def test_models_of_cn_celeb_have_several_clips_on_one_line_or_on_many(tmp_path: Path) -> None:
    enroll = write(
        tmp_path, "m1 e/a.wav e/b.wav\nm2 e/c.wav\nm2 e/d.wav\nm3 e/f.wav\n", "enroll.lst"
    )
    text = "m1 test/t.wav 1\nm2 test/t.wav 0\nm3 test/u.wav 0\nm1 test/u.wav 0\n"
    trials = read_trials(write(tmp_path, text), "eval", enroll)
    assert trials.enroll_paths == ("m1", "m2", "m3")
    assert spelled_out(trials) == [
        ("eval/e/a.wav", "eval/e/b.wav", "eval/test/t.wav", True),
        ("eval/e/c.wav", "eval/e/d.wav", "eval/test/t.wav", False),
        ("eval/e/f.wav", "eval/test/u.wav", False),
        ("eval/e/a.wav", "eval/e/b.wav", "eval/test/u.wav", False),
    ]


def test_models_of_one_clip_each_are_plain_pairs(tmp_path: Path) -> None:
    enroll = write(tmp_path, "m1 e/a.wav\nm2 e/b.wav\n", name="enroll.lst")
    trials = read_trials(write(tmp_path, "m1 t.wav 1\nm2 t.wav 0\n"), None, enroll)
    assert trials.models is None
    assert spelled_out(trials) == [("e/a.wav", "t.wav", True), ("e/b.wav", "t.wav", False)]


def test_a_kaldi_model_names_utterances_that_the_same_file_locates(tmp_path: Path) -> None:
    both = write(tmp_path, "spk1 utt1 utt2\nutt1 a.wav\nutt2 b.wav\nutt3 c.wav\n", name="both")
    trials = read_trials(write(tmp_path, "spk1 utt3 target\n"), None, both)
    assert spelled_out(trials) == [("a.wav", "b.wav", "c.wav", True)]


@pytest.mark.parametrize("second", ["a.wav\t0\nb.wav\t1\n", None])
def test_clips_to_enrol_and_a_missing_second_list_say_nothing_of_pairs(
    tmp_path: Path, second: str | None
) -> None:
    path = tmp_path / "enroll_list.txt"
    if second is not None:
        path.write_text(second)
    trials = read_trials(write(tmp_path, FORMS["voxceleb"]), None, path)
    assert spelled_out(trials) == EXPECTED


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ("x y\nz w\n", "holds none of the names of .*list.txt, such as 'm1'"),
        ("m1 a b\nt c d\n", "'t' is tested, and has several clips"),
        ("m1\n", r"enroll.lst, line 1: expected a name and its clips"),
        ("m1 sph2pipe -f wav a.sph |\n", "line 1: .* is a command and no file"),
    ],
)
def test_a_second_list_that_does_not_fit_is_refused(
    tmp_path: Path, models: str, message: str
) -> None:
    enroll = write(tmp_path, models, name="enroll.lst")
    with pytest.raises(DataError, match=message):
        read_trials(write(tmp_path, "m1 t 1\nm1 u 0\n"), None, enroll)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("separator", [" ", "\t", "   ", " \t "])
def test_pairs_are_read_with_each_clip_once(tmp_path: Path, separator: str, newline: str) -> None:
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


def test_relative_clips_start_from_the_root_and_absolute_ones_stay(tmp_path: Path) -> None:
    path = write(tmp_path, "1 a.wav /data/b.wav\n0 /data/b.wav c.wav\n")

    trials = read_trials(path, root="/corpus")

    assert trials.paths == ("/corpus/a.wav", "/data/b.wav", "/corpus/c.wav")


def test_tabs_alone_allow_spaces_in_paths(tmp_path: Path) -> None:
    path = write(tmp_path, "1\tmy clip.wav\tyour clip.wav\n")

    assert read_trials(path).paths == ("my clip.wav", "your clip.wav")


def test_names_in_any_script_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    path = write(tmp_path, b"\xef\xbb\xbf" + "0 张\u3000三/录音.wav ünï.wav\n".encode())

    trials = read_trials(path)

    assert trials.paths == ("张\u3000三/录音.wav", "ünï.wav")
    assert trials.labels.tolist() == [False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 a.wav b.wav\n\n1 a.wav\n", "line 3: expected 'label path path', got '1 a.wav'"),
        ("1 a b c\n", "line 1: expected 'label path path'"),
        ("1 a b\n2 a b\n", "line 2: the label must be 1 .* got '2'"),
        ("a b yes\n", "line 1: the label must be 1 .* got 'a' and 'yes'"),
        ("a b target\na b 1\na b c\n", "line 3: the label must be 1 .* got 'c'"),
        ("0 a 1\n1 b 0\n", "is ambiguous: the first and the last column"),
        ("", "is empty"),
        (" \n\n", "is empty"),
        (b"1 \xff\xfe b\n", "looks like Windows-1252"),
        (b"1 \xff\x01 b\n", "is not UTF-8 text; save it as UTF-8"),
    ],
)
def test_a_malformed_list_is_refused_with_file_and_line(
    tmp_path: Path, text: str, message: str
) -> None:
    path = write(tmp_path, text, name="veri_test.txt")

    with pytest.raises(DataError, match=message) as caught:
        read_trials(path)

    assert "veri_test.txt" in str(caught.value)


@pytest.mark.parametrize("reader", [read_trials, is_trials_file])
def test_a_missing_list_or_a_folder_is_refused(
    tmp_path: Path, reader: Callable[..., object]
) -> None:
    with pytest.raises(
        DataError, match=r"^The list '.*nowhere\.txt' does not exist; create it with"
    ):
        reader(tmp_path / "nowhere.txt")
    with pytest.raises(DataError, match="is a folder"):
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
        ("a.wav b.wav target\r\n", True),
        ("a.wav\tmy clip.wav\tnontarget\n", True),
        ("id00800-enroll test/id00800-singing-01-002.wav 1\n", True),
    ],
)
def test_the_first_line_tells_trials_from_clips(tmp_path: Path, text: str, expected: bool) -> None:
    assert is_trials_file(write(tmp_path, text)) is expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2 a.wav b.wav\n", "line 1: expected a trial"),
        ("\n", "is empty"),
        ("a.wav\n", "line 1"),
        ("1 my clip.wav b.wav\n", "separate the fields by tabs where a path holds spaces"),
    ],
)
def test_a_list_of_neither_form_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        is_trials_file(write(tmp_path, text))
