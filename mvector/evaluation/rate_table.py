"""One error rate at given values of the other: FRR@FAR and FAR@FRR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mvector.evaluation.metrics import CurvePoint, DetCurve

RATES = (0.1, 0.05, 0.01, 0.001, 0.0001)


@dataclass(frozen=True)
class RateRow:
    """What remains of one error rate when the other is held to a given value.

    Attributes:
        rate: the highest that the other may be.
        at_far: lowest threshold with a false-acceptance rate (FPR) of at most ``rate``; ``None``
            with fewer than ``1 / rate`` non-target trials, which cannot tell it from zero.
        at_frr: highest threshold with a false-rejection rate (FNR) of at most ``rate``; ``None``
            with fewer than ``1 / rate`` target trials.
    """

    rate: float
    at_far: CurvePoint | None
    at_frr: CurvePoint | None


def rate_table(curve: DetCurve, rates: Sequence[float] = RATES) -> tuple[RateRow, ...]:
    """FRR@FAR and FAR@FRR, a row for each of the rates in (0, 1)."""
    return tuple(
        RateRow(
            rate=rate,
            at_far=curve.at_fpr(rate) if curve.num_nontarget * rate >= 1.0 else None,
            at_frr=curve.at_fnr(rate) if curve.num_target * rate >= 1.0 else None,
        )
        for rate in rates
    )
