"""Whose clips listed pairs compare: by names, by folders, or by what target trials join."""

from __future__ import annotations

import numpy as np
import pytest

from mvector.errors import EvaluationError
from mvector.scoring import PairTrials
from mvector.scoring.trial_speakers import BY_FOLDERS, BY_PAIRS, find_speakers
from mvector.scoring.trials import EnrolmentModels


def listed(*lines: str, models: dict[str, list[str]] | None = None) -> PairTrials:
    """Trials of lines ``label name name``; in ``models`` the first name may have several clips."""
    fields = [line.split() for line in lines]
    clips = [clip for own in (models or {}).values() for clip in own]
    clips += [name for _, *names in fields for name in names if name not in (models or {})]
    number_of = {clip: number for number, clip in enumerate(dict.fromkeys(clips))}
    first = number_of if models is None else {name: place for place, name in enumerate(models)}
    enrolment = None
    if models is not None:
        enrolment = EnrolmentModels(
            tuple(models),
            np.array([number_of[clip] for own in models.values() for clip in own], np.int32),
            np.cumsum([0, *map(len, models.values())]),
        )
    return PairTrials(
        "trials.txt",
        tuple(number_of),
        np.array([first[one] for _, one, _ in fields], np.int32),
        np.array([number_of[other] for _, _, other in fields], np.int32),
        np.array([label == "1" for label, _, _ in fields]),
        enrolment,
    )


def groups(trials: PairTrials, speakers: np.ndarray) -> set[frozenset[str]]:
    return {
        frozenset(path for path, of in zip(trials.test_paths, speakers, strict=True) if of == one)
        for one in set(speakers.tolist()) - {-1}
    }


# Ann's clips of Monday and of Friday are never compared.
SPLIT = ("1 c/ann/mo/1 c/ann/mo/2", "1 c/ann/fr/3 c/ann/fr/4", "0 c/ann/mo/1 c/bob/mo/5")


def test_folders_that_fit_every_label_say_who_is_who():
    trials = listed(*SPLIT)
    found = find_speakers(trials)

    ann = frozenset({"c/ann/mo/1", "c/ann/mo/2", "c/ann/fr/3", "c/ann/fr/4"})
    assert groups(trials, found.tested) | groups(trials, found.enrolled) >= {
        frozenset({"c/ann/mo/2", "c/ann/fr/4"}),
        frozenset({"c/ann/mo/1", "c/ann/fr/3"}),
    }
    number = {
        path: of
        for side in (found.enrolled, found.tested)
        for path, of in zip(trials.paths, side.tolist(), strict=True)
        if of >= 0
    }
    assert len({number[path] for path in ann}) == 1
    assert (found.num_speakers, found.source) == (2, BY_FOLDERS)


@pytest.mark.parametrize(
    "contradiction",
    [
        "1 c/ann/mo/1 c/bob/mo/5",  # one speaker in two folders
        "0 c/ann/mo/1 c/ann/fr/9",  # two speakers in one, and Ann's Monday has a session of its own
    ],
)
def test_folders_that_contradict_a_label_are_not_taken_for_speakers(contradiction):
    lines = [line for line in SPLIT if line[2:] != contradiction[2:]]
    trials = listed(*lines, "0 c/ann/fr/3 c/ann/fr/7", contradiction)
    found = find_speakers(trials)

    assert found.source == BY_PAIRS
    sides = [side[side >= 0] for side in (found.enrolled, found.tested)]
    assert found.num_speakers == len(np.unique(np.concatenate(sides)))


def test_clips_in_one_folder_are_told_by_the_pairs():
    trials = listed("1 a b", "1 b c", "0 a d", "0 d e")
    found = find_speakers(trials)

    assert groups(trials, found.tested) == {frozenset("bc"), frozenset("d"), frozenset("e")}
    assert found.enrolled[0] == found.enrolled[1] == found.tested[2]
    assert (found.num_speakers, found.source) == (3, BY_PAIRS)


def test_a_list_of_speakers_is_taken_before_folders_and_pairs():
    trials = listed("1 x/a x/b", "1 y/c y/d", "0 x/a z/e")
    names = {"x/a": "Ann", "x/b": "Ann", "y/c": "Ann", "y/d": "Ann", "z/e": "Bob"}
    found = find_speakers(trials, lambda paths: [names[path] for path in paths], "who.txt")

    assert (found.num_speakers, found.source) == (2, "who.txt")
    assert find_speakers(trials).num_speakers == 3


def test_a_model_is_of_the_speaker_of_its_clips():
    trials = listed("1 m s/3", "0 n s/3", models={"m": ["s/1", "s/2"], "n": ["t/4"]})
    found = find_speakers(trials)

    assert found.enrolled[0] == found.tested[3] != found.enrolled[1]
    assert (found.num_speakers, found.source) == (2, BY_FOLDERS)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"a": "Ann", "b": "Ann"}, "who.txt says no speaker of 1 of the 3 clips.*such as 'c'"),
        ({"a": "Ann", "b": "Bob", "c": "Carl"}, "'a' and 'b' are of one speaker, and who.txt that"),
        ({"a": "Ann", "b": "Ann", "c": "Ann"}, "'a' and 'c' are of different speakers"),
    ],
)
def test_a_list_of_speakers_that_does_not_fit_the_trials_is_refused(names, message):
    trials = listed("1 a b", "0 a c")
    with pytest.raises(EvaluationError, match=message) as caught:
        find_speakers(trials, lambda paths: [names.get(path) for path in paths], "who.txt")
    assert caught.value.code == "trial-speakers"
