"""Division of a corpus into training and test speakers, and the lists that record it."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from mvector.corpus.recipes.clip import MIN_SPEAKERS, Clip, Part, name_some
from mvector.data.lists import write_list
from mvector.errors import DataError, count_of

logger = logging.getLogger(__name__)

LIST_NAMES: dict[Part, str] = {
    "train": "train_list.txt",
    "enroll": "enroll_list.txt",
    "trials": "trials_list.txt",
}
_DEFAULT_TEST_SHARE = 0.1
_MAX_DEFAULT_TEST_SPEAKERS = 200


def split_by_speaker(
    clips: Iterable[Clip],
    *,
    test_speakers: int | float | None = None,
    enroll_clips: int = 1,
    seed: int = 0,
) -> list[Clip]:
    """Set some speakers aside for testing; none of their clips stays in training.

    Args:
        clips: good clips of every speaker.
        test_speakers: how many speakers, or (a float below 1) which share of them; 0 trains on
            all; ``None`` takes 10 %, at least 2 and at most 200.
        enroll_clips: clips of each test speaker that go to ``enroll``; the others go to ``trials``.
            Speakers with no more clips than that cannot be tested and stay in training.
        seed: chooses the speakers and shuffles each one's clips.

    Raises:
        DataError: the number asked for cannot be had.
    """
    by_speaker = _group_by_speaker(clips)
    testable = sorted(name for name, own in by_speaker.items() if len(own) > enroll_clips)
    num_test = _num_test_speakers(test_speakers, len(by_speaker), len(testable), enroll_clips)
    if num_test and len(testable) < len(by_speaker):
        few = [name for name, own in by_speaker.items() if len(own) <= enroll_clips]
        logger.info(
            "For training alone: %s with fewer than %d good clips: %s.",
            count_of(len(few), "speaker"),
            enroll_clips + 1,
            name_some(few),
        )
    chosen = set(random.Random(seed).sample(testable, num_test))
    result: list[Clip] = []
    for name, own in sorted(by_speaker.items()):
        result += _divide_test_clips(own, name, enroll_clips, seed) if name in chosen else own
    return result


def assign_to_lists(
    clips: Sequence[Clip],
    *,
    test_speakers: int | float | None = None,
    enroll_clips: int = 1,
    seed: int = 0,
    has_pairs: bool = False,
) -> list[Clip]:
    """Give each clip its list: as the corpus was published, or by :func:`split_by_speaker`.

    Where the corpus has test speakers of its own (part ``test``), some clips of each are enrolled
    and the others tried. Where it has none, speakers are set aside, but not by default beside
    published pairs. Where it has no others, as when only its test is there, all are split.

    Args:
        clips: good clips.
        test_speakers, enroll_clips, seed: as in :func:`split_by_speaker`.
        has_pairs: whether published pairs are written too, so that a test is there without this.

    Raises:
        DataError: the number of test speakers asked for cannot be had, or everyone who trains is
            a test speaker too.
    """
    parts = {clip.part for clip in clips}
    if "train" not in parts and "test" in parts and not has_pairs:
        logger.warning("Only test speakers of the corpus are there; all are split anew.")
        clips = [replace(clip, part="train") for clip in clips]
    elif "test" in parts:
        if test_speakers is not None:
            logger.warning(
                "The corpus comes with its own test speakers: --test_speakers has no effect."
            )
        return _divide_published_test(_drop_test_speakers_from_training(clips), enroll_clips, seed)
    if has_pairs and test_speakers is None:
        return _drop_test_speakers_from_training(clips)
    others = [clip for clip in clips if clip.part != "train"]
    training = [clip for clip in _drop_test_speakers_from_training(clips) if clip.part == "train"]
    return others + split_by_speaker(
        training, test_speakers=test_speakers, enroll_clips=enroll_clips, seed=seed
    )


def _drop_test_speakers_from_training(clips: Sequence[Clip]) -> list[Clip]:
    """Leave out the training clips of speakers who have test clips too, with a warning."""
    testing = {clip.speaker for clip in clips if clip.part != "train"}
    both = {clip.speaker for clip in clips if clip.part == "train"} & testing
    if not both:
        return list(clips)
    kept = [clip for clip in clips if clip.part != "train" or clip.speaker not in both]
    if not any(clip.part == "train" for clip in kept):
        raise DataError(
            f"Every training speaker is a test speaker too ({name_some(both)}), so "
            "nobody is left to train on; divide the corpus by speaker (for a table: "
            "--split_column none)."
        )
    logger.warning(
        "In training and test: %s (%s); left out of training: %s.",
        count_of(len(both), "speaker"),
        name_some(both),
        count_of(len(clips) - len(kept), "clip"),
    )
    return kept


def write_lists(
    clips: Iterable[Clip], output: str | os.PathLike[str], *, may_lack_training: bool = False
) -> list[Path]:
    """Write the list of each part that has clips, one ``path<TAB>label`` a line.

    Labels count the speakers from 0 in the order of their names: the training speakers, and from 0
    again the test speakers of the enrolment and trials lists.

    Args:
        clips: checked clips with their parts.
        output: folder of the lists; made where missing.
        may_lack_training: write no training list where fewer than two speakers train, as for a
            corpus that is only tested on.

    Raises:
        DataError: there are fewer than two training speakers, only half of a test, or the folder
            cannot be written to.
    """
    parts: dict[Part, list[Clip]] = {part: [] for part in LIST_NAMES}
    for clip in clips:
        if clip.part in parts:
            parts[clip.part].append(clip)
    training = {clip.speaker for clip in parts["train"]}
    if len(training) < MIN_SPEAKERS and may_lack_training:
        parts["train"] = []
        logger.warning("No speakers are left to train on: no training list is written.")
    elif len(training) < MIN_SPEAKERS:
        raise DataError(
            f"Good clips of {count_of(len(training), 'training speaker')} are left; at least 2 are "
            "needed."
        )
    if bool(parts["enroll"]) != bool(parts["trials"]):
        lacking = "enrolment" if parts["trials"] else "trial"
        raise DataError(f"No good {lacking} clip is left, so the test speakers cannot be tested.")
    testing = {clip.speaker for part in ("enroll", "trials") for clip in parts[part]}
    label_of_training = {name: label for label, name in enumerate(sorted(training))}
    label_of_test = {name: label for label, name in enumerate(sorted(testing))}
    written: list[Path] = []
    for part, own in parts.items():
        target = Path(output) / LIST_NAMES[part]
        if not own:
            if target.exists():
                logger.warning("'%s' is of an earlier run and does not fit these lists.", target)
            continue
        labels = label_of_training if part == "train" else label_of_test
        own.sort(key=lambda clip: (clip.speaker, clip.path))
        write_list(target, ((clip.path, labels[clip.speaker]) for clip in own))
        written.append(target)
    return written


def _divide_published_test(clips: list[Clip], enroll_clips: int, seed: int) -> list[Clip]:
    """Enrol clips of the test speakers that a corpus came with, and try the others."""
    by_speaker = _group_by_speaker(clip for clip in clips if clip.part == "test")
    few = [name for name, own in by_speaker.items() if len(own) <= enroll_clips]
    if few:
        logger.warning(
            "%d test speakers with fewer than %d good clips are not tested: %s.",
            len(few),
            enroll_clips + 1,
            name_some(few),
        )
    result = [clip for clip in clips if clip.part != "test"]
    for name, own in sorted(by_speaker.items()):
        if len(own) > enroll_clips:
            result += _divide_test_clips(own, name, enroll_clips, seed)
        else:
            result += [replace(clip, part="unlisted") for clip in own]
    return result


def _divide_test_clips(clips: list[Clip], name: str, enroll_clips: int, seed: int) -> list[Clip]:
    random.Random(f"{seed}:{name}").shuffle(clips)
    return [
        replace(clip, part="enroll" if place < enroll_clips else "trials")
        for place, clip in enumerate(clips)
    ]


def _group_by_speaker(clips: Iterable[Clip]) -> dict[str, list[Clip]]:
    by_speaker: dict[str, list[Clip]] = {}
    for clip in clips:
        by_speaker.setdefault(clip.speaker, []).append(clip)
    return by_speaker


def _num_test_speakers(
    wanted: int | float | None, num_speakers: int, num_testable: int, enroll_clips: int
) -> int:
    if wanted is None:
        number = max(MIN_SPEAKERS, round(_DEFAULT_TEST_SHARE * num_speakers))
        number = min(number, _MAX_DEFAULT_TEST_SPEAKERS, num_testable)
        if number >= MIN_SPEAKERS and num_speakers - number >= MIN_SPEAKERS:
            return number
        logger.warning(
            "The corpus is too small to set test speakers aside (%d speakers, %d of them with more "
            "than %d clips): all go to training.",
            num_speakers,
            num_testable,
            enroll_clips,
        )
        return 0
    if wanted == 0:
        return 0
    number = wanted if isinstance(wanted, int) else max(MIN_SPEAKERS, round(wanted * num_speakers))
    if number < MIN_SPEAKERS:
        raise DataError(
            f"test_speakers is {wanted}; at least 2 are needed for trials of different speakers, "
            "or 0 for no test."
        )
    if number > num_testable:
        raise DataError(
            f"test_speakers asks for {number} speakers, but only {num_testable} of {num_speakers} "
            f"have the {enroll_clips + 1} good clips that a test needs; ask for fewer."
        )
    if num_speakers - number < MIN_SPEAKERS:
        raise DataError(
            f"test_speakers asks for {number} of {num_speakers} speakers; at least 2 must be left "
            "for training."
        )
    return number
