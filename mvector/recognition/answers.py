"""What the predictor answers: small objects that print well, turn into JSON, and unpack."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mvector.audio.channel_difference import channel_difference
from mvector.audio.clip_report import ClipReport, QualityLimits
from mvector.recognition.decision import Decision, format_reasons
from mvector.recognition.judge import Judge, Side
from mvector.recognition.sides import clip_sides
from mvector.scoring.strangers import Strangers

if TYPE_CHECKING:
    from mvector.speakers.identification import Match


class Score(float):
    """Cosine similarity of two clips: a float in [-1, 1] that knows what it means.

    Attributes:
        quality: what was measured on the first and the second clip.
        reasons: what they fall short of, what matters most first, and how unlike their channels
            are, in words; empty for good clips of like channels.
    """

    _judge: Judge
    _sides: tuple[Side, ...]
    quality: tuple[ClipReport, ClipReport]
    reasons: tuple[str, ...]

    def __new__(
        cls,
        value: float,
        judge: Judge,
        quality: tuple[ClipReport, ClipReport],
        sides: tuple[Side, ...],
        reasons: tuple[str, ...] = (),
    ) -> Score:
        score = super().__new__(cls, value)
        score._judge, score._sides = judge, sides
        score.quality, score.reasons = quality, reasons
        return score

    @classmethod
    def of_clips(
        cls,
        heard: Sequence[tuple[np.ndarray, ClipReport]],
        judge: Judge,
        limits: QualityLimits,
        strangers: Strangers,
    ) -> Score:
        """Of two clips, each given by its embedding and by what was measured on it."""
        sides = clip_sides(heard, strangers)
        (first, second), quality = zip(*heard, strict=True)
        first, second = first.astype(np.float64), second.astype(np.float64)
        cosine = float(first @ second / (np.linalg.norm(first) * np.linalg.norm(second)))
        by_weight = zip(*map(limits.shortcomings, quality), strict=True)
        reasons = tuple(
            f"{which} clip: {reason}"
            for alike in by_weight
            for which, reason in zip(("first", "second"), alike, strict=True)
            if reason is not None
        )
        unlike = channel_difference(*(report.quality for report in quality)).reasons
        return cls(max(-1.0, min(1.0, cosine)), judge, quality, sides, reasons + unlike)

    def __getnewargs__(self) -> tuple[Any, ...]:
        return float(self), self._judge, self.quality, self._sides, self.reasons

    def decide(self, threshold: float | None = None) -> Decision:
        """Verdict, log-likelihood ratio and probability; a threshold replaces the model's once.

        Raises:
            MVectorError: there is no threshold, or it is not a cosine.
        """
        judge = self._judge.with_threshold(threshold)
        return judge.decide(self, *self._sides, reasons=self.reasons)

    def to_dict(self) -> dict[str, Any]:
        """The score, the decision if there is a threshold, and the clips' quality; for JSON."""
        judge = self._judge
        decided = judge.given is not None or judge.calibration is not None
        meaning = self.decide().to_dict() if decided else {"score": float(self)}
        return {
            **meaning,
            "reasons": list(self.reasons),
            "quality": [report.to_dict() for report in self.quality],
        }

    def __repr__(self) -> str:
        return f"Score({float(self)!r})"

    def __str__(self) -> str:
        return float.__repr__(self)


@dataclass(frozen=True)
class Recognition:
    """Who is speaking; unpacks into name and score.

    The most alike person is judged, and nobody else. A runner-up is never named in their place, not
    even one whose poorer clips give a lower threshold: somebody else sounds more like the speaker.

    Attributes:
        decision: on the most alike enrolled person.
        candidates: the most alike enrolled people, best first, as many as asked for.
        margin: by how much the best is ahead of the runner-up; ``None`` with one person enrolled.
        quality: what was measured on the clip.
    """

    decision: Decision
    candidates: tuple[Match, ...]
    margin: float | None
    quality: ClipReport

    def __iter__(self) -> Iterator[Any]:
        return iter((self.name, self.score))

    def __getitem__(self, index: int) -> Any:
        return (self.name, self.score)[index]

    def __len__(self) -> int:
        return 2

    @property
    def is_known(self) -> bool:
        """Whether somebody enrolled was recognised, and not if it cannot be told."""
        return self.decision.same

    @property
    def name(self) -> str | None:
        """The person, or ``None`` for nobody enrolled, or if it cannot be told."""
        return self.candidates[0].name if self.is_known else None

    @property
    def score(self) -> float:
        """Cosine of the clip and the most alike enrolled person."""
        return self.decision.score

    @property
    def threshold(self) -> float:
        """That the score was held against."""
        return self.decision.threshold

    @property
    def threshold_source(self) -> str:
        """Where the threshold comes from, in few words."""
        return self.decision.threshold_source

    @property
    def num_people(self) -> int:
        """How many enrolled people the clip was compared with."""
        return self.decision.num_people

    @property
    def llr(self) -> float | None:
        """Natural-log likelihood ratio of the best, before the number of people is accounted for.

        ``None`` for a model without calibration.
        """
        return self.decision.llr

    @property
    def reasons(self) -> tuple[str, ...]:
        """What the clip falls short of, in words; empty for a good one."""
        return self.decision.reasons

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        decided = self.decision.to_dict()
        del decided["same"]  # of the most alike person, who is the speaker or is not
        enrolled = self.candidates[0].quality
        return {
            "speaker": self.name,
            **decided,
            "candidates": [{"name": match.name, "score": match.score} for match in self.candidates],
            "margin": self.margin,
            "quality": self.quality.to_dict(),
            "enrolled_quality": None if enrolled is None else enrolled._asdict(),
        }

    def as_text(self) -> str:
        """The answer in a few words, without what else the clip falls short of."""
        score, threshold = self.decision.as_text()
        who = name = self.candidates[0].name
        if not self.is_known:
            why = self.decision.reason
            other = "nobody enrolled" if why is None else f"cannot tell: {why}"
            who = f"{other}; nearest: {name}"
        return f"{who} ({score}, needs {threshold})"

    def __str__(self) -> str:
        return self.as_text() + format_reasons(self.decision.cautions)


@dataclass(frozen=True)
class Verification:
    """Whether clips are of the person that they are said to be of.

    Attributes:
        name: of the person, as the library spells it.
        decision: of the clips together.
        purpose: what the verdict is for, which decides how rarely a stranger is accepted.
        num_clips: how many clips there were.
        quality: what was measured on them together.
    """

    name: str
    decision: Decision
    purpose: str
    num_clips: int
    quality: ClipReport

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        told = {"name": self.name, "purpose": self.purpose, "num_clips": self.num_clips}
        return {**told, **self.decision.to_dict(), "quality": self.quality.to_dict()}

    def __str__(self) -> str:
        return f"{self.name}: {self.decision}"


@dataclass(frozen=True)
class Registration(os.PathLike[str]):
    """A clip that was enrolled; stands for the path of the stored clip.

    Attributes:
        name: the person, as the library spells the name.
        clip: the stored clip; ``None`` in a library that keeps embeddings alone.
        quality: what was measured on the clip.
        reasons: what it falls short of, in words; empty for a good clip.
    """

    name: str
    clip: Path | None
    quality: ClipReport
    reasons: tuple[str, ...] = ()

    def __fspath__(self) -> str:
        if self.clip is None:
            raise TypeError("This library keeps no clips.")
        return os.fspath(self.clip)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "registered": self.name,
            "clip": None if self.clip is None else str(self.clip),
            "quality": self.quality.to_dict(),
            "reasons": list(self.reasons),
        }

    def __str__(self) -> str:
        kept = "" if self.clip is None else f" ({self.clip})"
        return f"Registered '{self.name}'{kept}{format_reasons(self.reasons)}"
