"""The answer to a comparison: same, different, or that it cannot be told, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: The three answers, in the words of a comparison.
ANSWER_WORDS = {
    "same": "same person",
    "different": "different people",
    "cannot tell": "cannot tell",
}


@dataclass(frozen=True)
class Decision:
    """What a score means.

    Attributes:
        score: cosine similarity in [-1, 1].
        threshold: scores at or above it are the same person, unless it cannot be told; in [-1, 1].
        threshold_source: where the threshold comes from, in few words.
        llr: natural-log likelihood ratio, of two clips or a clip and a person; ``None`` for a model
            without calibration.
        probability: that it is the same person, if that was as likely as not before the clips were
            heard, or 1/N as likely where N people are compared; ``None`` without calibration.
        inconclusive_band: scores within it, ends included, cannot tell whether it is one person:
            they lie below the threshold, and not below what the calibration takes for two people.
            All cosines where a side has less than 0.3 s of speech. Else ``None`` with a threshold
            that was given, or if no cosine lies there.
        num_people: how many people the clip was compared with.
        calibrated_on: the trials behind the model's calibration, in words.
        reasons: why the clips may not be worth trusting, in words.
        reason: why it cannot be told, the one reason that matters most; ``None`` where it can.
    """

    score: float
    threshold: float
    threshold_source: str
    llr: float | None = None
    probability: float | None = None
    inconclusive_band: tuple[float, float] | None = None
    num_people: int = 1
    calibrated_on: str | None = None
    reasons: tuple[str, ...] = ()
    reason: str | None = None

    @property
    def answer(self) -> str:
        """The verdict: ``same``, ``different`` or ``cannot tell``."""
        if self.inconclusive:
            return "cannot tell"
        return "same" if self.score >= self.threshold else "different"

    @property
    def same(self) -> bool:
        """Whether it is the same person; what cannot be told is not."""
        return self.answer == "same"

    @property
    def inconclusive(self) -> bool:
        """Whether it cannot be told."""
        band = self.inconclusive_band
        return band is not None and band[0] <= self.score <= band[1]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        values = {
            **vars(self),
            "answer": self.answer,
            "same": self.same,
            "inconclusive": self.inconclusive,
        }
        return {key: list(own) if isinstance(own, tuple) else own for key, own in values.items()}

    @property
    def cautions(self) -> tuple[str, ...]:
        """The other reasons."""
        return tuple(reason for reason in self.reasons if reason != self.reason)

    def as_text(self) -> tuple[str, str]:
        """Score and threshold with as many decimals as it takes to show which is higher."""
        for digits in range(4, 17):
            score, threshold = f"{self.score:.{digits}f}", f"{self.threshold:.{digits}f}"
            if (float(score) >= float(threshold)) == (self.score >= self.threshold):
                return score, threshold
        return repr(self.score), repr(self.threshold)

    def details(self) -> list[str]:
        """What few ask for, a line each: where the threshold comes from, and probabilities."""
        lines = [f"threshold: {self.threshold_source}"]
        if self.calibrated_on is not None:
            lines.append(f"calibrated on: {self.calibrated_on}")
        if self.llr is not None and self.probability is not None:
            lines.append(
                f"probability of the same person: {self.probability:.3f} (log-likelihood ratio "
                f"{self.llr:.2f}, {self.num_people:,} compared)"
            )
        return lines

    def __str__(self) -> str:
        score, threshold = self.as_text()
        why = "" if self.reason is None else f": {self.reason}"
        figures = f" (similarity {score}, threshold {threshold})"
        return f"{ANSWER_WORDS[self.answer]}{why}{figures}{format_reasons(self.cautions)}"


def format_reasons(reasons: tuple[str, ...]) -> str:
    """Reasons as the end of a sentence; nothing where there are none."""
    return f" [be careful: {'; '.join(reasons)}]" if reasons else ""
