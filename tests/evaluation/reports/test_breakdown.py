"""Error rates by what is known of the clips."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import soundfile
from made_trials import made_trials

from mvector.errors import DataError
from mvector.evaluation import compute_eer, compute_min_dcf
from mvector.evaluation.metadata import clip_durations, read_metadata, read_speakers
from mvector.evaluation.reports.breakdown import break_down
from mvector.evaluation.reports.grouping import group_by, group_by_category, group_by_lower_value
from mvector.evaluation.reports.scored import scored_trials
from mvector.scoring import PairTrials
from mvector.scoring.trials import EnrolmentModels

GENDERS = ("f", "m", None)


def gender_of(path: str) -> str | None:
    return GENDERS[int(path.split("/")[0].removeprefix("person ")) % 3]


def pairs_of(scored):
    for place, (one, other) in enumerate(zip(scored.enroll_index, scored.test_index, strict=True)):
        yield place, scored.enroll_paths[one], scored.test_paths[other]


def groups_of(found):
    return {group["value"]: group for group in found["groups"]}


def test_pairs_of_each_value_and_mixed_ones_have_their_own_error_rates():
    scored = made_trials()
    values = [gender_of(path) for path in scored.test_paths]
    found = break_down(scored, group_by_category(scored, "gender", values, values), 0.25)

    members: dict[str, list[int]] = {"f": [], "m": [], "mixed": []}
    num_unknown = 0
    for place, one, other in pairs_of(scored):
        genders = {gender_of(one), gender_of(other)}
        if None in genders:
            num_unknown += 1
        else:
            members["mixed" if len(genders) == 2 else genders.pop()].append(place)
    assert found["num_trials_unknown"] == num_unknown
    assert (found["num_clips"], found["num_clips_unknown"]) == (120, 40)
    groups = groups_of(found)
    assert list(groups) == ["f", "m", "mixed"]
    for value in ("f", "m"):
        scores, labels = scored.scores[members[value]], scored.labels[members[value]]
        assert groups[value]["num_target"] == labels.sum()
        assert groups[value]["num_nontarget"] == (~labels).sum()
        assert groups[value]["eer"] == pytest.approx(compute_eer(scores, labels)[0], abs=1e-12)
        assert groups[value]["min_dcf"] == pytest.approx(compute_min_dcf(scores, labels))
        assert groups[value]["fnr"] == pytest.approx(np.mean(scores[labels] < 0.25))
        assert groups[value]["fpr"] == pytest.approx(np.mean(scores[~labels] >= 0.25))


def test_a_group_of_one_kind_of_trials_has_counts_but_no_error_rate():
    scored = made_trials()
    values = [path.split("/")[0] for path in scored.test_paths[:8]] + [None] * 112
    groups = groups_of(break_down(scored, group_by_category(scored, "name", values, values), 0.3))

    assert groups["person 0"]["num_nontarget"] == 0
    assert groups["person 0"]["eer"] is groups["person 0"]["fpr"] is None
    assert groups["person 0"]["fnr"] is not None


def test_of_many_values_those_with_few_trials_share_a_group():
    scored = made_trials()
    values = [f"{path.split('/')[0]}" for path in scored.test_paths]
    found = break_down(scored, group_by_category(scored, "person", values, values), 0.3)

    groups = groups_of(found)
    assert len(groups) == 21
    assert "11 other values" in groups
    assert sum(group["num_target"] for group in groups.values()) == scored.labels.sum()
    assert groups["mixed"]["num_target"] == 0


def test_a_number_parts_trials_by_the_lower_one_of_both_clips():
    scored = made_trials()
    durations = np.random.default_rng(1).uniform(0.5, 4.0, 120)
    durations[7] = np.nan
    durations[8] = 2.0  # an edge belongs to the group above it
    grouping = group_by_lower_value(
        scored, "duration", durations, durations, edges=(1.0, 2.0, 3.0, 9.0), unit="s"
    )
    found = break_down(scored, grouping, 0.3)

    names = ("below 1 s", "1 to 2 s", "2 to 3 s", "3 to 9 s")
    counts = dict.fromkeys(names, 0)
    num_unknown = 0
    for place, _, _ in pairs_of(scored):
        both = durations[scored.enroll_index[place]], durations[scored.test_index[place]]
        if np.isnan(both).any():
            num_unknown += 1
        else:
            counts[names[int(min(both))]] += 1
    sums = {g["value"]: g["num_target"] + g["num_nontarget"] for g in found["groups"]}
    assert sums == counts
    assert found["num_trials_unknown"] == num_unknown
    assert found["num_clips_unknown"] == 1


def test_without_edges_four_groups_have_as_many_trials_each():
    scored = made_trials()
    snr = np.random.default_rng(1).normal(10.0, 5.0, 120)
    found = break_down(scored, group_by_lower_value(scored, "snr", snr, snr), 0.3)

    sizes = [group["num_target"] + group["num_nontarget"] for group in found["groups"]]
    assert len(sizes) == 4
    assert min(sizes) > 0.2 * sum(sizes)


def test_a_model_of_several_clips_has_their_common_value_and_their_whole_duration():
    paths = ("a", "b", "c", "d")
    models = EnrolmentModels(("A", "B"), np.array([0, 1, 1, 2]), np.array([0, 2, 4]))
    trials = PairTrials(
        *("list", paths, np.array([0, 1, 0, 1]), np.array([3, 3, 2, 2])),
        labels=np.array([True, False, False, True]),
        models=models,
    )
    scored = scored_trials(np.array([0.9, 0.1, 0.2, 0.8]), trials, {})

    values = ["x", "x", "y", "x"]
    groups = groups_of(break_down(scored, group_by_category(scored, "v", values, values), 0.5))
    assert groups["x"]["num_target"] == 1  # A with d: all are x
    # B is of x and y, and so mixed with d and c; A with c is mixed too.
    assert (groups["mixed"]["num_target"], groups["mixed"]["num_nontarget"]) == (1, 2)

    durations = np.array([1.0, 2.0, 10.0, 5.0])
    grouping = group_by_lower_value(scored, "duration", durations, durations, edges=(3.0, 4.0, 6.0))
    # A has 3 s, B 12 s, d 5 s, c 10 s
    assert [grouping.names[k] for k in grouping.group] == [
        "3 to 4",
        "4 to 6",
        "3 to 4",
        "6 and more",
    ]


def test_durations_come_from_headers_and_unreadable_clips_are_unknown(tmp_path):
    for name, num_samples in (("a.wav", 8000), ("b.flac", 24000)):
        soundfile.write(tmp_path / name, np.zeros(num_samples), 16000)
    (tmp_path / "c.wav").write_text("no sound")
    paths = [str(tmp_path / name) for name in ("a.wav", "b.flac", "c.wav", "gone.wav")]

    np.testing.assert_array_equal(clip_durations(paths), [0.5, 1.5, np.nan, np.nan])


@pytest.fixture
def table(tmp_path):
    def write(text: str, root: str | None = None):
        file = tmp_path / "clips.csv"
        file.write_text(text, encoding="utf-8")
        return read_metadata(file, root)

    return write


@pytest.mark.parametrize("separator", [",", "\t"])
def test_metadata_is_found_by_path_from_the_root_or_under_another_suffix(table, separator):
    lines = ["gender,path,session", 'f,"a b/1.wav",x', "m,说话人/2.wav,", "f,/abs/3.wav,y"]
    text = "\ufeff" + "\r\n".join(lines).replace(",", separator) + "\r\n\r\n"
    metadata = table(text, root="data")

    paths = ["data/a b/1.wav", "a b/./1.flac", "data/说话人/2.wav", "/abs/3.wav", "data/4.wav"]
    assert metadata.columns == ("gender", "session")
    assert metadata.values("gender", paths) == ["f", "f", "m", "f", None]
    assert metadata.values("session", paths) == ["x", "x", None, "y", None]


def test_names_that_differ_after_a_dot_are_not_taken_for_one_clip(table):
    metadata = table("path,v\nutt.1,a\nutt.2,b\n")
    assert metadata.values("v", ["utt.1", "utt.2", "utt.wav"]) == ["a", "b", None]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,gender\na,f\n", "has no column 'path' in its first line"),
        ("", "has no column 'path'"),
        ("path,gender\na,f\nb,m,x\n", "3 fields in line 3 and 2"),
        ("path,gender\na,f\n./a,m\n", "says different things of './a', again in line 3"),
    ],
)
def test_malformed_metadata_is_one_sentence_with_the_line(table, text, words):
    with pytest.raises(DataError, match=words):
        table(text)


def test_an_unknown_column_is_named_with_those_there_are(table):
    with pytest.raises(DataError, match=r"no column 'sex'; choose of gender, session"):
        table("path,gender,session\n").check_column("sex")


def test_columns_with_decimals_are_parted_by_size_and_others_by_value(table):
    scored = made_trials(num_people=8)
    rows = [f"{path},{0.5 + n},{n % 3}" for n, path in enumerate(scored.test_paths)]
    metadata = table("path,snr,session\n" + "\n".join(rows) + "\n")

    assert group_by("snr", scored, metadata).names[0].startswith("below ")
    assert group_by("session", scored, metadata).names[:3] == ("0", "1", "2")
    with pytest.raises(DataError, match="give --metadata"):
        group_by("snr", scored, None)


def test_pairs_of_no_known_clip_are_in_no_group():
    scored = replace(made_trials(num_people=2), about={})
    unknown = np.full(8, np.nan)
    found = break_down(scored, group_by_lower_value(scored, "snr", unknown, unknown), 0.3)
    assert found["groups"] == []
    assert found["num_trials_unknown"] == len(scored.scores)


@pytest.mark.parametrize(
    "text",
    [
        "a b/1.wav\tAnn\n./c.wav\tBob\n\n",
        "a b/1.wav Ann\nc.wav Bob\n",
        "path,gender,speaker\na b/1.wav,f,Ann\nc.wav,m,Bob\n",
    ],
)
def test_speakers_are_read_from_lines_or_a_table(tmp_path, text):
    file = tmp_path / "who.txt"
    file.write_text(text, encoding="utf-8")
    speakers = read_speakers(file, root="data").values("speaker", ["data/a b/1.flac", "c.wav", "d"])
    assert speakers == ["Ann", "Bob", None]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a\tAnn\nb\n", "line 2: expected a clip and its speaker"),
        ("a\tAnn\n./a\tBob\n", "line 2: 'a' is of 'Bob' here and of 'Ann' in a line before"),
    ],
)
def test_a_malformed_list_of_speakers_is_one_sentence_with_the_line(tmp_path, text, words):
    (tmp_path / "who.txt").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=words):
        read_speakers(tmp_path / "who.txt")
