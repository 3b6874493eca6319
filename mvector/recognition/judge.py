"""Verdicts: what a score means, decided in one place.

There are three: the same person, different people, and that it cannot be told. Thresholds are
cosines for the very clips that were compared, and nothing else decides.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from mvector.audio.clip_report import ENROLMENT_FLOOR
from mvector.audio.quality import SpeechQuality
from mvector.errors import MVectorError
from mvector.evaluation.calibration import DEFAULT_POINT, Calibration
from mvector.evaluation.likelihood import BEYOND
from mvector.evaluation.operating_points import PURPOSE_WORDS
from mvector.evaluation.quality import pair_quality, side_measures
from mvector.recognition.arguments import is_number
from mvector.recognition.decision import Decision

logger = logging.getLogger(__name__)

#: Seconds of speech below which a clip is not enrolled, and no score of it is conclusive.
LEAST_SPEECH_S = ENROLMENT_FLOOR.min_speech_s or 0.0

#: What a verdict is for, and the operating point of the calibration that says *the same person*: on
#: its trials, 1 of 100 strangers is accepted, for a login 1 of 1,000, and in a search as large a
#: share of strangers as of people who are rejected.
OPERATING_POINT_OF = {"default": DEFAULT_POINT, "login": "far_0_1pct", "search": "eer"}


class Limits(NamedTuple):
    """Cosines at which a verdict changes, for one comparison or ``(N,)`` of N comparisons.

    Attributes:
        threshold: scores at or above it are the same person, unless nothing can be told; in
            [-1, 1].
        low: scores from here to ``high`` tell nothing, lower ones are of different people.
        high: below the threshold, or 1 where no score tells anything; below ``low`` where every
            score tells something.
    """

    threshold: float | np.ndarray
    low: float | np.ndarray
    high: float | np.ndarray


class Side(NamedTuple):
    """What is known of one side of a comparison, beside its embedding.

    Attributes:
        quality: of the clip, or of a person's enrolled clips together.
        likeness: mean cosine to the strangers of the model.
        own_likeness: mean cosine to the user's own strangers.
    """

    quality: SpeechQuality | None = None
    likeness: float | None = None
    own_likeness: float | None = None

    @property
    def measures(self) -> np.ndarray:
        """``(1, SIDE_MEASURES)``."""
        return side_measures([self.quality], self.likeness, self.own_likeness)


@dataclass(frozen=True)
class Judge:
    """A model's threshold and calibration: turns cosines into verdicts.

    Attributes:
        calibration: of the model's cosines, or ``None`` if never measured.
        given: the caller's threshold, which takes the place of the calibrated one.
        model: the model's name in messages.
        purpose: a key of :data:`OPERATING_POINT_OF`: how rarely a stranger may be accepted.

    Raises:
        MVectorError: the threshold given is not a cosine, or there is no such purpose.
    """

    calibration: Calibration | None
    given: float | None
    model: str
    purpose: str = "default"

    def __post_init__(self) -> None:
        if self.purpose not in OPERATING_POINT_OF:
            raise MVectorError(
                f"There is no purpose {self.purpose!r}: choose {', '.join(OPERATING_POINT_OF)}."
            )
        if self.given is None:
            return
        if not (is_number(self.given) and -1.0 <= self.given <= 1.0):
            raise MVectorError(
                f"The threshold {self.given!r} is not a cosine: it must lie between -1 and 1.",
                code="threshold-invalid",
            )

    def with_threshold(self, threshold: float | None) -> Judge:
        """A judge for one call; ``None`` is this one."""
        return self if threshold is None else replace(self, given=threshold)

    @property
    def threshold(self) -> float:
        """The threshold for two clips whose quality is not known.

        Raises:
            MVectorError: none was given and the model has no calibration.
        """
        return float(self.limits().threshold)

    @property
    def uses_quality(self) -> bool:
        """Whether the quality of the clips plays a part in likelihood ratios."""
        known = self.calibration
        return known is not None and known.slope > 0 and known.knows_quality

    def limits(
        self,
        measures: np.ndarray | None = None,
        num_people: int = 1,
        least_speech_s: float | np.ndarray | None = None,
        eased_by: float = 0.0,
    ) -> Limits:
        """Threshold and band of what cannot be told: the rule behind every verdict.

        A threshold given by the caller decides as it is. A calibrated one is the cosine whose
        log-likelihood ratio, corrected for what is known of both sides, reaches the one that the
        purpose asks for, plus log N: a stranger has N chances to be taken for somebody, and among N
        people each is the speaker with 1/N of the prior odds. No purpose accepts more strangers
        than it rejects people. Two people are told below the ratio that 5 % of the target trials of
        the calibration do not reach; what lies between cannot be told, nor anything of clips that
        are worse than all that calibrated.

        Args:
            measures: what is known of both sides, ``(N, TRIAL_MEASURES)`` or ``(TRIAL_MEASURES,)``
                of :func:`mvector.evaluation.quality.pair_quality`; ``None`` if nothing.
            num_people: how many people the clip is compared with.
            least_speech_s: of the side with less speech, seconds, one or ``(N,)``; ``None`` if not
                known. Below :data:`LEAST_SPEECH_S` there is no voice to go by: whatever the score,
                nothing can be told.
            eased_by: log-likelihood ratio that other evidence for the same person is worth, or
                below 0, against it. No less is asked for than at equal errors.

        Returns:
            One of each, or arrays ``(N,)`` where measures of N comparisons play a part.

        Raises:
            MVectorError: there is no threshold.
        """
        threshold, low, high = self._limits_of_scores(measures, num_people, eased_by)
        if least_speech_s is None:
            return Limits(threshold, low, high)
        is_mute = np.less(least_speech_s, LEAST_SPEECH_S)
        return Limits(threshold, np.where(is_mute, -1.0, low), np.where(is_mute, 1.0, high))

    def _limits_of_scores(
        self, measures: np.ndarray | None, num_people: int, eased_by: float
    ) -> Limits:
        known, given = self.calibration, self.given
        if given is not None:
            return Limits(given, math.inf, -math.inf)
        if known is None:
            raise MVectorError(
                f"The model '{self.model}' has no calibrated threshold: measure one with eval.py "
                f"or tools/calibrate.py and --model_path '{self.model}', or give --threshold.",
                code="threshold-not-calibrated",
            )
        if known.slope <= 0:  # higher scores mean nothing: there is no ratio to reach
            return Limits(max(-1.0, min(1.0, known.threshold_eer)), -1.0, 1.0)
        same, different = self._required_ratios(known, measures)
        if eased_by:
            equal_errors, _ = replace(self, purpose="search")._required_ratios(known, measures)
            same = np.maximum(same - eased_by, np.minimum(equal_errors, same))
        slope, offset = known.slope_and_offset(measures)
        raised = math.log(num_people) - offset
        threshold = np.clip((same + raised) / slope, -1.0, 1.0)
        low = np.maximum((np.minimum(same, different) + raised) / slope, -1.0)
        high = np.nextafter(threshold, -np.inf)
        if measures is not None:
            is_beyond = known.beyond(measures)
            low, high = np.where(is_beyond, -1.0, low), np.where(is_beyond, 1.0, high)
        return Limits(threshold, low, high)

    def _required_ratios(
        self, known: Calibration, measures: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Log-likelihood ratios of the same person, from there on, and of two people, below."""
        point = OPERATING_POINT_OF[self.purpose]
        if point != DEFAULT_POINT and getattr(known, f"threshold_{point}") is None:
            raise MVectorError(
                f"The model '{self.model}' was calibrated on {known.num_nontarget:,} pairs of "
                f"two people, too few for --purpose {self.purpose} "
                f"({PURPOSE_WORDS[point]}); calibrate it on more, or give --threshold.",
                code="threshold-not-calibrated",
            )
        of_scores = tuple(known.llr(limit) for limit in known.limits(point))
        same, different = map(np.asarray, of_scores)
        for ratio, is_known in () if measures is None else known.ratios_for(measures):
            own_same, own_different = ratio.limits(point, *of_scores)
            same = np.where(is_known, own_same, same)
            different = np.where(is_known, own_different, different)
        return same, different

    def decide(
        self,
        score: float,
        one: Side | None = None,
        other: Side | None = None,
        *,
        num_people: int = 1,
        reasons: tuple[str, ...] = (),
        eased_by: float = 0.0,
    ) -> Decision:
        """Turn a cosine into a verdict.

        Args:
            score: of two clips, or of a clip and the voiceprint that is most alike.
            one: what is known of one side; ``None`` if nothing.
            other: of the other side; which is which makes no difference.
            num_people: how many people the clip was compared with.
            reasons: why the clips may not be worth trusting, the one that matters most first.
            eased_by: as for :meth:`limits`.

        Raises:
            MVectorError: there is no threshold.
        """
        # Where something is not known of one side, a ratio decides that does without it. To take
        # the other side to be as good would ask more of a clip the better it is.
        one, other = one or Side(), other or Side()
        measures = pair_quality(one.measures, other.measures)[0] if self.uses_quality else None
        score, known = float(score), self.calibration
        speech = [side.quality.speech_s for side in (one, other) if side.quality is not None]
        least_speech_s = min(speech, default=None)
        limits = self.limits(measures, num_people, least_speech_s, eased_by)
        threshold, low, high = (float(limit) for limit in limits)
        is_adjusted = known is not None and known.ratio_for(measures) is not None
        return Decision(
            score,
            threshold,
            self.threshold_source(num_people, is_adjusted=is_adjusted),
            llr=None if known is None else known.llr(score, measures),
            probability=None
            if known is None
            else known.probability(score, 1.0 / (1.0 + num_people), measures),
            inconclusive_band=(low, high) if low <= high else None,
            num_people=num_people,
            calibrated_on=None if known is None else known.description,
            reasons=reasons,
            reason=self._main_reason(least_speech_s, measures, reasons)
            if low <= score <= high
            else None,
        )

    def _main_reason(
        self,
        least_speech_s: float | None,
        measures: np.ndarray | None,
        reasons: tuple[str, ...],
    ) -> str:
        """Why nothing can be told, what matters most."""
        if least_speech_s is not None and least_speech_s < LEAST_SPEECH_S:
            return f"one side has only {least_speech_s:.1f} s of speech"
        if self.calibration is not None and self.calibration.slope <= 0:
            return "this model's scores do not tell people apart"
        if reasons:
            return reasons[0]
        if self.calibration is not None and (ratio := self.calibration.ratio_for(measures)):
            place = int(ratio.beyond(np.asarray(measures)))
            if place >= 0:
                return f"{BEYOND[ratio.measures[place]]} than any that calibrated the model"
        return "the similarity is weak evidence for clips like these"

    def threshold_source(self, num_people: int = 1, *, is_adjusted: bool = False) -> str:
        """Where a threshold comes from, in few words; ``is_adjusted`` to the clips' quality."""
        if self.given is not None or self.calibration is None:
            return "given"
        known, changes = self.calibration, []
        if known.num_own_people is not None and self._is_own(known):
            changes.append(f"calibrated on {known.num_own_people:,} of your people")
        elif known.num_own_people is not None:
            changes.append(f"adapted to {known.num_own_people:,} of your people")
        if num_people > 1 and known.slope > 0:
            changes.append(f"raised for {num_people:,} people")
        if is_adjusted:
            changes.append("adjusted to the clips' quality")
        if changes:
            return ", ".join(changes)
        if known.num_speakers is not None:
            return f"calibrated on {known.num_speakers:,} speakers"
        return f"calibrated on {known.num_target + known.num_nontarget:,} trials"

    def _is_own(self, known: Calibration) -> bool:
        """Whether the threshold was measured on the user's people."""
        return OPERATING_POINT_OF[self.purpose] in known.own_purposes
