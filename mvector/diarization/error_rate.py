"""How right it is who spoke when: the diarization error rate, its kin, and whether names are right.

All times are of people: where two speak at once, a second counts twice. Labels of the hypothesis
are first assigned to people of the reference, one to one, so that as much of the scored time as
possible agrees. (NIST's md-eval assigns them before it leaves out collars and overlap, so that its
confusion is now and then higher.)

- **DER**: missed speech, false alarms and confusion (another is said to speak), as shares
  of the reference's speech. NIST, *2009 (RT-09) Rich Transcription Meeting Recognition
  Evaluation Plan*.
- **JER**: one minus the intersection over the union of each person's time and that of their label,
  as a mean over people, so that those who say little count as much as others. Ryant et al., *The
  Second DIHARD Diarization Challenge*, Interspeech 2019.
- **Purity** and **coverage**: the share of the hypothesis's time that is of each label's main
  person, and the share of the reference's that is in each person's main label. Bredin,
  *pyannote.metrics*, Interspeech 2017.
- **Named error**: the share of enrolled people's time in which their name is missing or another's
  stands in its place. Labels are not assigned for it: a name is right or wrong.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mvector.diarization.rttm import Regions
from mvector.diarization.timeline import Timeline, make_timeline
from mvector.diarization.turns import Turn
from mvector.errors import DataError, count_of, shorten_list

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DiarizationErrors:
    """Times of one recording, or of several together; rates are ``None`` where there is no time.

    Attributes:
        speech_s: seconds of speech in the reference, where it is scored.
        missed_s: of them, those in which too few people are said to speak.
        false_alarm_s: seconds in which too many are said to speak.
        confused_s: of ``speech_s``, those that are said to be another's.
        found_s: seconds of speech in the hypothesis.
        pure_s: of them, those of each label's main person.
        covered_s: of ``speech_s``, those in each person's main label.
        jaccard_errors: sum over people.
        num_people: in the reference.
        num_found: labels in the hypothesis.
        num_recordings: how many recordings these are.
        num_counts_right: of them, those with as many labels as people.
        enrolled_s: seconds of people who are enrolled.
        unnamed_s: of them, those without their name, and without another's in its place.
        misnamed_s: of them, those with the name of another person in the place of theirs.
        strangers_s: seconds of people who are not enrolled.
        named_strangers_s: of them, those with the name of somebody enrolled. Where it is not said
            who is enrolled, these five are 0.
    """

    speech_s: float
    missed_s: float
    false_alarm_s: float
    confused_s: float
    found_s: float
    pure_s: float
    covered_s: float
    jaccard_errors: float
    num_people: int
    num_found: int
    num_recordings: int
    num_counts_right: int
    enrolled_s: float
    unnamed_s: float
    misnamed_s: float
    strangers_s: float
    named_strangers_s: float

    @property
    def error_rate(self) -> float | None:
        """DER, which false alarms can take above 1."""
        return _share(self.missed_s + self.false_alarm_s + self.confused_s, self.speech_s)

    @property
    def miss_rate(self) -> float | None:
        """Missed speech, as a share of the reference's."""
        return _share(self.missed_s, self.speech_s)

    @property
    def false_alarm_rate(self) -> float | None:
        """False alarms, as a share of the reference's speech."""
        return _share(self.false_alarm_s, self.speech_s)

    @property
    def confusion_rate(self) -> float | None:
        """Confusion, as a share of the reference's speech."""
        return _share(self.confused_s, self.speech_s)

    @property
    def jaccard_error_rate(self) -> float | None:
        """JER."""
        return _share(self.jaccard_errors, self.num_people)

    @property
    def purity(self) -> float | None:
        """Share of each label that is of one person."""
        return _share(self.pure_s, self.found_s)

    @property
    def coverage(self) -> float | None:
        """Share of each person that is in one label."""
        return _share(self.covered_s, self.speech_s)

    @property
    def named_error_rate(self) -> float | None:
        """Share of the time of enrolled people whose name is missing or wrong."""
        return _share(self.unnamed_s + self.misnamed_s, self.enrolled_s)

    @property
    def named_strangers_rate(self) -> float | None:
        """Share of the time of people who are not enrolled that has a name."""
        return _share(self.named_strangers_s, self.strangers_s)


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def score_turns(
    reference: Sequence[Turn],
    hypothesis: Sequence[Turn],
    regions: Sequence[tuple[float, float]] | None = None,
    *,
    collar_s: float = 0.0,
    skip_overlap: bool = False,
    enrolled: Collection[str] = (),
) -> DiarizationErrors:
    """Score the turns of one recording.

    Args:
        reference: who really speaks.
        hypothesis: who is said to speak.
        regions: ``(start_s, end_s)`` that are scored; ``None`` is all of the recording.
        collar_s: seconds on either side of each boundary of the reference that are not scored, as
            ``-c`` of NIST's md-eval; half of the ``collar`` of pyannote.metrics.
        skip_overlap: score only where at most one person of the reference speaks.
        enrolled: names that are known, as they stand in reference and hypothesis; all other labels
            are those of strangers.
    """
    from scipy.optimize import linear_sum_assignment

    timeline = make_timeline(
        reference, hypothesis, regions, collar_s=collar_s, skip_overlap=skip_overlap
    )
    duration_s = timeline.duration_s
    num_speaking = timeline.reference.sum(axis=1)
    num_said = timeline.hypothesis.sum(axis=1)
    person_s = duration_s @ timeline.reference
    label_s = duration_s @ timeline.hypothesis
    # seconds in which a person (row) and a label (column) agree
    shared_s = (timeline.reference * duration_s[:, None]).T @ timeline.hypothesis
    rows, columns = linear_sum_assignment(shared_s, maximize=True)
    agreed_s = shared_s[rows, columns]
    either_s = person_s[rows] + label_s[columns] - agreed_s
    num_people, num_found = int((person_s > 0).sum()), int((label_s > 0).sum())
    return DiarizationErrors(
        speech_s=float(person_s.sum()),
        missed_s=float(duration_s @ np.maximum(num_speaking - num_said, 0)),
        false_alarm_s=float(duration_s @ np.maximum(num_said - num_speaking, 0)),
        # what little a sum of rounded numbers may be below zero is none
        confused_s=max(
            float(duration_s @ np.minimum(num_speaking, num_said) - agreed_s.sum()), 0.0
        ),
        found_s=float(label_s.sum()),
        pure_s=float(shared_s.max(axis=0, initial=0.0).sum()),
        covered_s=float(shared_s.max(axis=1, initial=0.0).sum()),
        jaccard_errors=num_people - float((agreed_s[either_s > 0] / either_s[either_s > 0]).sum()),
        num_people=num_people,
        num_found=num_found,
        num_recordings=1,
        num_counts_right=int(num_people == num_found),
        **_naming_times(timeline, enrolled),
    )


def _naming_times(timeline: Timeline, enrolled: Collection[str]) -> dict[str, float]:
    """What names are worth: a wrong one stands first for enrolled people without theirs."""
    names = sorted(enrolled)
    duration_s = timeline.duration_s if names else np.zeros(len(timeline.duration_s))
    speaking = _columns_of(names, timeline.people, timeline.reference)
    said = _columns_of(names, timeline.found, timeline.hypothesis)
    num_enrolled = speaking.sum(axis=1)
    num_strangers = timeline.reference.sum(axis=1) - num_enrolled
    num_unnamed = (speaking & ~said).sum(axis=1)
    num_wrong = (said & ~speaking).sum(axis=1)
    num_misnamed = np.minimum(num_unnamed, num_wrong)
    num_named_strangers = np.minimum(num_strangers, num_wrong - num_misnamed)
    return {
        "enrolled_s": float(duration_s @ num_enrolled),
        "unnamed_s": float(duration_s @ (num_unnamed - num_misnamed)),
        "misnamed_s": float(duration_s @ num_misnamed),
        "strangers_s": float(duration_s @ num_strangers),
        "named_strangers_s": float(duration_s @ num_named_strangers),
    }


def _columns_of(names: Sequence[str], labels: Sequence[str], activity: np.ndarray) -> np.ndarray:
    """When each of the names is active, of shape ``(pieces, names)``."""
    column_of = {label: column for column, label in enumerate(labels)}
    chosen = np.zeros((len(activity), len(names)), dtype=bool)
    for place, name in enumerate(names):
        if name in column_of:
            chosen[:, place] = activity[:, column_of[name]]
    return chosen


def score_recordings(
    reference: Mapping[str, Sequence[Turn]],
    hypothesis: Mapping[str, Sequence[Turn]],
    regions: Mapping[str, Regions] | None = None,
    *,
    collar_s: float = 0.0,
    skip_overlap: bool = False,
    enrolled: Collection[str] = (),
) -> dict[str, DiarizationErrors]:
    """Score recordings, those of the regions or else of the reference, by name.

    A recording without turns is one in which nobody speaks. Those of the hypothesis that are not
    scored, and those of which it has no turn, are warned of. Arguments are those of
    :func:`score_turns`.

    Raises:
        DataError: there is no recording to score, or none of the hypothesis is among them.
    """
    scored = sorted(reference if regions is None else regions)
    where = "the reference" if regions is None else "the UEM"
    if not scored:
        raise DataError("The reference has no turn; there is nothing to compare with.")
    missing = [name for name in scored if name not in hypothesis]
    others = [name for name in hypothesis if name not in scored]
    if others and len(missing) == len(scored):
        raise DataError(
            f"No recording of the hypothesis ({shorten_list(sorted(others))}) is in {where} "
            f"({shorten_list(scored)}); use the same names in both."
        )
    if missing:
        logger.warning("The hypothesis has no turn of %s.", _recordings(missing))
    if others:
        logger.warning("Not scored, as %s does not have them: %s.", where, _recordings(others))
    return {
        name: score_turns(
            reference.get(name, ()),
            hypothesis.get(name, ()),
            None if regions is None else regions[name],
            collar_s=collar_s,
            skip_overlap=skip_overlap,
            enrolled=enrolled,
        )
        for name in scored
    }


def _recordings(names: Sequence[str]) -> str:
    return f"{count_of(len(names), 'recording')} ({shorten_list(sorted(names))})"


def total_errors(errors: Iterable[DiarizationErrors]) -> DiarizationErrors:
    """The times of several recordings together, at least one: each counts by its length."""
    rows = [dataclasses.astuple(each) for each in errors]
    return DiarizationErrors(*(sum(column) for column in zip(*rows, strict=True)))
