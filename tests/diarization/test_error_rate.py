"""Error rates of who spoke when: by hand, as pyannote.metrics has them, and as md-eval does."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import Any

import pytest
from error_codes import raises_code
from random_turns import conversation, diarization

from mvector.diarization import Turn
from mvector.diarization.error_rate import score_recordings, score_turns, total_errors

REFERENCE = [Turn(0, 10, "Ada"), Turn(10, 16, "Ben"), Turn(14, 20, "Eve")]


# ---- by hand ------------------------------------------------------------------------------------


def test_who_is_said_to_speak_by_any_other_label_is_right() -> None:
    errors = score_turns(
        REFERENCE, [Turn(t.start_s, t.end_s, f"is {t.speaker}") for t in REFERENCE]
    )
    assert errors.speech_s == pytest.approx(22)
    assert (errors.error_rate, errors.jaccard_error_rate) == (0, pytest.approx(0))
    assert (errors.purity, errors.coverage) == (pytest.approx(18 / 22 + 4 / 22), pytest.approx(1))
    assert (errors.num_people, errors.num_found, errors.num_counts_right) == (3, 3, 1)


def test_missed_speech_false_alarms_and_confusion_are_told_apart() -> None:
    hypothesis = [Turn(1, 12, "1"), Turn(12, 15, "2"), Turn(16, 23, "3")]
    errors = score_turns(REFERENCE, hypothesis)
    # Ada's first second; one of two people from 14 to 16; nobody at all from 15 to 16
    assert errors.missed_s == pytest.approx(1 + 1 + 2)
    assert errors.false_alarm_s == pytest.approx(3)
    assert errors.confused_s == pytest.approx(2)  # Ben, said to be Ada from 10 to 12
    assert errors.error_rate == pytest.approx((4 + 3 + 2) / 22)
    # the intersection over the union of Ada and 1, Ben and 2, Eve and 3
    assert errors.jaccard_error_rate == pytest.approx(1 - (9 / 12 + 3 / 6 + 4 / 9) / 3)
    assert errors.purity == pytest.approx((9 + 3 + 4) / 21)
    assert errors.coverage == pytest.approx((9 + 3 + 4) / 22)


def test_labels_are_assigned_so_that_most_time_agrees() -> None:
    """The longest pair first would leave Ben with a label that he never has."""
    reference = [Turn(0, 11, "Ada"), Turn(20, 30, "Ben")]
    hypothesis = [Turn(0, 6, "1"), Turn(6, 11, "2"), Turn(20, 30, "1")]
    errors = score_turns(reference, hypothesis)
    assert errors.confused_s == pytest.approx(6)  # Ada is 2, as Ben is 1


def test_turns_of_one_person_that_overlap_count_once() -> None:
    doubled = [Turn(0, 6, "1"), Turn(4, 10, "1"), Turn(2, 3, "1")]
    errors = score_turns([Turn(0, 10, "Ada")], doubled)
    assert (errors.error_rate, errors.found_s) == (0, pytest.approx(10))


def test_nothing_is_scored_beside_the_boundaries_of_the_reference_or_outside_of_regions() -> None:
    late = [Turn(t.start_s + 0.25, t.end_s + 0.25, t.speaker) for t in REFERENCE]
    assert score_turns(REFERENCE, late).error_rate > 0.04
    errors = score_turns(REFERENCE, late, collar_s=0.25)
    assert errors.error_rate == 0
    assert errors.speech_s == pytest.approx(9.5 + 5 + 5)
    errors = score_turns(REFERENCE, [], [(2, 5), (4, 6), (15, 15.5)])
    assert errors.speech_s == pytest.approx(4 + 2 * 0.5)
    assert errors.miss_rate == 1


def test_where_people_speak_at_once_need_not_be_scored() -> None:
    errors = score_turns(REFERENCE, REFERENCE[:2], skip_overlap=True)
    assert errors.speech_s == pytest.approx(18)
    assert errors.missed_s == pytest.approx(4)  # Eve, after Ben


@pytest.mark.parametrize("hypothesis", [[], [Turn(0, 2, "1")]])
def test_there_is_no_rate_where_nobody_speaks(hypothesis: list[Turn]) -> None:
    errors = score_turns([], hypothesis)
    assert errors.error_rate is errors.jaccard_error_rate is errors.coverage is None
    assert errors.false_alarm_s == sum(turn.duration_s for turn in hypothesis)


def test_a_name_is_right_missing_wrong_or_a_strangers() -> None:
    """Ada and Ben are enrolled; Eve is not."""
    said = [
        Turn(0, 6, "Speaker 1", name="Ada"),
        Turn(6, 9, "Speaker 2", name="Ben"),  # it is Ada
        Turn(9, 14, "Speaker 3"),  # Ada for 1 s, Ben for 4 s
        Turn(14, 16, "Speaker 2", name="Ben"),
        Turn(16, 17, "Speaker 1", name="Ada"),  # it is Eve
        Turn(17, 25, "Speaker 4", name="Max"),  # a name that nobody enrolled has is none
    ]
    errors = score_turns(REFERENCE, said, enrolled=["Ada", "Ben"])
    assert (errors.enrolled_s, errors.strangers_s) == (pytest.approx(16), pytest.approx(6))
    assert errors.misnamed_s == pytest.approx(3)
    assert errors.unnamed_s == pytest.approx(1 + 4)
    assert errors.named_strangers_s == pytest.approx(1)
    assert errors.named_error_rate == pytest.approx(8 / 16)
    assert errors.named_strangers_rate == pytest.approx(1 / 6)


def test_nothing_is_said_of_names_where_it_is_not_said_who_is_enrolled() -> None:
    errors = score_turns(REFERENCE, REFERENCE)
    assert errors.named_error_rate is errors.named_strangers_rate is None


# ---- several recordings -------------------------------------------------------------------------


def test_each_second_of_several_recordings_counts_alike() -> None:
    each = score_recordings(
        {"long": [Turn(0, 90, "Ada")], "short": [Turn(0, 10, "Ben"), Turn(2, 3, "Eve")]},
        {"long": [Turn(0, 90, "1")], "short": [Turn(1, 10, "1")]},
    )
    both = total_errors(each.values())
    assert both.error_rate == pytest.approx(2 / 101)
    assert both.jaccard_error_rate == pytest.approx((0 + 0.1 + 1) / 3)
    assert (both.num_recordings, both.num_counts_right) == (2, 1)


def test_recordings_without_a_counterpart_are_told(caplog: pytest.LogCaptureFixture) -> None:
    turns = [Turn(0, 1, "Ada")]
    with caplog.at_level(logging.WARNING):
        scored = score_recordings({"a": turns, "b": turns}, {"a": turns, "c": turns})
    assert {name: errors.error_rate for name, errors in scored.items()} == {"a": 0, "b": 1}
    assert caplog.messages == [
        "The hypothesis has no turn of 1 recording (b).",
        "Not scored, as the reference does not have them: 1 recording (c).",
    ]
    with raises_code("data"):
        score_recordings({"a": turns}, {"b": turns})
    with raises_code("data"):
        score_recordings({}, {"b": turns})


def test_the_regions_say_which_recordings_are_scored() -> None:
    turns = [Turn(0, 4, "Ada")]
    scored = score_recordings(
        {"a": turns, "b": turns}, {"a": [], "quiet": turns}, {"quiet": [(0, 2)]}
    )
    assert set(scored) == {"quiet"}
    assert scored["quiet"].false_alarm_s == pytest.approx(2)


# ---- as others have them ------------------------------------------------------------------------

CONDITIONS: list[tuple[list[tuple[float, float]] | None, float, bool]] = [
    (None, 0.0, False),
    (None, 0.25, False),
    (None, 0.0, True),
    ([(2.0, 30.0), (33.5, 60.0)], 0.0, False),
    ([(2.0, 30.0), (33.5, 60.0)], 0.25, True),
]


def annotation(turns: Sequence[Turn]) -> Any:
    from pyannote.core import Annotation, Segment

    made = Annotation()
    for track, turn in enumerate(turns):
        made[Segment(turn.start_s, turn.end_s), track] = turn.speaker
    return made.support()  # turns of one person that overlap count once


@pytest.mark.parametrize(("regions", "collar_s", "skip_overlap"), CONDITIONS)
def test_rates_are_those_of_pyannote_metrics(
    regions: list[tuple[float, float]] | None, collar_s: float, skip_overlap: bool
) -> None:
    theirs = pytest.importorskip("pyannote.metrics.diarization", reason="no pyannote-metrics")
    from pyannote.core import Segment, Timeline

    uem = None if regions is None else Timeline([Segment(*region) for region in regions])
    options = {"collar": 2 * collar_s, "skip_overlap": skip_overlap}
    for seed in range(12):
        reference = conversation(seed, num_people=1 + seed % 5)
        made_up = [diarization(seed, reference), conversation(seed + 100, 1 + seed % 4)]
        hypothesis = made_up[seed % 2]
        errors = score_turns(
            reference, hypothesis, regions, collar_s=collar_s, skip_overlap=skip_overlap
        )
        both = annotation(reference), annotation(hypothesis)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the regions are all of the recording
            parts = theirs.DiarizationErrorRate(**options)(*both, uem=uem, detailed=True)
            jaccard = theirs.JaccardErrorRate(**options)(*both, uem=uem)
        assert errors.speech_s == pytest.approx(parts["total"], abs=1e-6)
        assert errors.missed_s == pytest.approx(parts["missed detection"], abs=1e-6)
        assert errors.false_alarm_s == pytest.approx(parts["false alarm"], abs=1e-6)
        assert errors.confused_s == pytest.approx(parts["confusion"], abs=1e-6)
        assert errors.error_rate == pytest.approx(parts["diarization error rate"], abs=1e-6)
        assert errors.jaccard_error_rate == pytest.approx(jaccard, abs=1e-6)
        if (regions, collar_s, skip_overlap) == CONDITIONS[0]:  # it takes no others for these
            assert errors.purity == pytest.approx(theirs.DiarizationPurity()(*both), abs=1e-6)
            assert errors.coverage == pytest.approx(theirs.DiarizationCoverage()(*both), abs=1e-6)


# Seconds of speech, missed, false alarm, confused
MD_EVAL = {
    (0, 0.0, False): (30.068000, 6.802000, 1.527000, 4.225000),
    (0, 0.0, True): (26.154000, 4.238000, 1.527000, 3.322000),
    (0, 0.25, False): (22.447000, 3.626000, 0.048000, 3.104000),
    (0, 0.25, True): (21.033000, 2.615000, 0.048000, 2.701000),
    (3, 0.0, False): (89.859000, 5.374000, 4.585000, 9.405000),
    (3, 0.0, True): (14.530000, 1.057000, 2.514000, 1.173000),
    (3, 0.25, False): (39.814000, 1.711000, 0.067000, 3.891000),
    (3, 0.25, True): (9.086000, 0.405000, 0.067000, 0.386000),
}


@pytest.mark.parametrize(("seed", "collar_s", "skip_overlap"), MD_EVAL)
def test_times_are_those_of_md_eval(seed: int, collar_s: float, skip_overlap: bool) -> None:
    """The numbers are of meeteval 0.4.3 with md-eval-22.pl, which it fetches where it is missing.

    ``meeteval.der.md_eval_22(reference, hypothesis, collar=collar_s, regions=…, uem=…)`` was given
    the same turns as RTTM, ``nooverlap`` for ``skip_overlap``, and a UEM from 3 to 50 s. md-eval
    assigns labels before it takes collars and overlap away, so that its confusion can be more than
    the least there is, as in the conversations of seeds 1 and 2 without their overlap.
    """
    reference = conversation(seed, num_people=2 + seed)
    hypothesis = diarization(seed, reference)
    errors = score_turns(
        reference, hypothesis, [(3.0, 50.0)], collar_s=collar_s, skip_overlap=skip_overlap
    )
    ours = errors.speech_s, errors.missed_s, errors.false_alarm_s, errors.confused_s
    assert ours == pytest.approx(MD_EVAL[seed, collar_s, skip_overlap], abs=1e-6)
