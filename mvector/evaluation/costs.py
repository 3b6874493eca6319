"""Detection costs: the prior and the costs that evaluations publish, by name."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mvector.errors import EvaluationError


@dataclass(frozen=True)
class DetectionCost:
    """How often targets come, and what each kind of error costs.

    Attributes:
        p_target: prior probability of a target trial.
        c_miss: cost of rejecting a target trial.
        c_fa: cost of accepting a non-target trial.

    Raises:
        EvaluationError: a prior outside (0, 1), or a cost that is not positive and finite.
    """

    p_target: float = 0.01
    c_miss: float = 1.0
    c_fa: float = 1.0

    def __post_init__(self) -> None:
        is_valid = 0.0 < self.p_target < 1.0 and all(
            0.0 < cost < math.inf for cost in (self.c_miss, self.c_fa)
        )
        if not is_valid:
            raise EvaluationError(
                f"The detection cost needs 0 < p_target < 1 and positive costs; "
                f"got p_target {self.p_target}, c_miss {self.c_miss}, c_fa {self.c_fa}."
            )

    @property
    def miss_weight(self) -> float:
        """What the miss rate is multiplied by."""
        return self.c_miss * self.p_target

    @property
    def fa_weight(self) -> float:
        """What the false-acceptance rate is multiplied by."""
        return self.c_fa * (1.0 - self.p_target)

    @property
    def default(self) -> float:
        """The cost of deciding without listening, which the others are divided by."""
        return min(self.miss_weight, self.fa_weight)

    @property
    def llr_threshold(self) -> float:
        """The natural-log likelihood ratio from which accepting costs less than rejecting."""
        return math.log(self.fa_weight) - math.log(self.miss_weight)


#: The two that results on VoxCeleb are published with.
VOXCELEB = (DetectionCost(0.01), DetectionCost(0.05))

#: Of the NIST speaker recognition evaluations. Where two are given, the primary metric of that year
#: is the mean of both.
NIST_SRE08 = (DetectionCost(0.01, c_miss=10.0),)
NIST_SRE10 = (DetectionCost(0.001),)
NIST_SRE12 = (DetectionCost(0.01), DetectionCost(0.001))
NIST_SRE16 = (DetectionCost(0.01), DetectionCost(0.005))
NIST_SRE18 = NIST_SRE16  # its telephone speech (CMN2)

#: Detection costs by the evaluations that are published with them.
EVALUATIONS: dict[str, tuple[DetectionCost, ...]] = {
    "VoxCeleb": VOXCELEB,
    "NIST SRE08": NIST_SRE08,
    "NIST SRE10": NIST_SRE10,
    "NIST SRE12": NIST_SRE12,
    "NIST SRE16": NIST_SRE16,
}
#: Each of them once.
COSTS = tuple(dict.fromkeys(cost for costs in EVALUATIONS.values() for cost in costs))
