"""Which threshold, and how sure: the lines that ``eval.py --calibrate`` and a tool print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mvector.evaluation.calibration import MIN_SPEAKERS, MIN_TARGETS
from mvector.evaluation.operating_points import PURPOSE_WORDS
from mvector.evaluation.reports.tables import percent

if TYPE_CHECKING:
    from mvector.embedding.listening import Listening
    from mvector.evaluation import Calibration
    from mvector.evaluation.bootstrap import Interval
    from mvector.evaluation.held_out import HeldOutCheck
    from mvector.evaluation.operating_points import OperatingPoint


NO_GROUND = (
    f"NOT written: fewer than {MIN_SPEAKERS} people or {MIN_TARGETS} comparisons of one person are "
    "no ground for a threshold; add clips, or write it with --force."
)


def calibration_lines(
    measured: Calibration, eer: Interval | None, held_out: HeldOutCheck | None
) -> list[str]:
    """Thresholds with their errors, what speaks for and against them, and what cannot be told.

    ``eer`` has the interval for a confidence of 95 %; ``held_out`` is the check on other speakers.
    """
    points = measured.operating_points()
    lines = [
        f"  {'same person from':>16s}  {'so chosen that':43s}{'strangers accepted':>22s}"
        f"{'own person rejected':>22s}",
        *map(_row, points),
        "",
        "How sure:",
    ]
    if eer is not None:
        lines.append(
            f"  With other people the equal error rate of {percent(measured.eer)} may well be "
            f"{percent(eer.low)} to {percent(eer.high)} (95 %, by drawing people anew)."
        )
    lines += _held_out_lines(measured, held_out)
    doubts = [point for point in points if point.doubt]
    lines += [f"  Unsure (*): '{PURPOSE_WORDS[point.purpose]}' {point.doubt}." for point in doubts]
    if not doubts:
        lines.append("  Every threshold rests on 30 errors or more.")
    return [*lines, "", _inconclusive_line(measured)]


def write_calibration(
    folder: str | Path,
    measured: Calibration,
    metrics: dict[str, float],
    *,
    before: Listening,
    now: Listening,
    force: bool,
) -> int:
    """Write a calibration into the model folder unless it rests on too little, and say so.

    Returns:
        The exit code: 1 if nothing was written.
    """
    from mvector.models.description import update_model_folder

    if not (measured.is_supported or force):
        print(NO_GROUND)
        return 1
    update_model_folder(
        folder, calibration=measured.to_dict(), listening=now.to_dict(), metrics=metrics
    )
    print(written_line(measured, Path(folder) / "model.yml"))
    print_listening_change(before, now)
    return 0


def written_line(measured: Calibration, file: Path) -> str:
    """Where a calibration was written, and what decides by it."""
    return (
        f"Written to {file}: from now on {_deciding(measured):.4f} decides; take another line of "
        "the table with --purpose or --threshold."
    )


def print_listening_change(before: Listening, now: Listening) -> None:
    """Say what changes where thresholds were written that hold for another part of clips."""
    if before != now:
        print(
            f"From now on the model hears {now}; before: {before}. A speaker library that it "
            "enrolled has to be taken over by infer_recognition.py --reembed."
        )


def _row(point: OperatingPoint) -> str:
    if point.threshold is None or point.errors is None:
        return f"  {'-':>16s}  {PURPOSE_WORDS[point.purpose] + ' (*)':43s}{'too few pairs':>22s}"
    accepted = f"{percent(point.fpr)} ({point.errors.num_false_accepts:,})"
    rejected = f"{percent(point.fnr)} ({point.errors.num_misses:,})"
    words = PURPOSE_WORDS[point.purpose] + (" (*)" if point.doubt else "")
    return f"  {point.threshold:16.4f}  {words:43s}{accepted:>22s}{rejected:>22s}"


def _held_out_lines(measured: Calibration, check: HeldOutCheck | None) -> list[str]:
    if check is None:
        return ["  Too few people to calibrate on half of them and check on the others."]
    knowing = " and quality of clips" if measured.ratios else ""
    return [
        f"  Chosen on half of the people, the threshold ({check.threshold:.4f}) accepted "
        f"{check.num_false_accepts:,} of {check.num_nontarget:,} pairs of strangers among the "
        f"other {check.num_speakers}, and rejected {check.num_misses:,} of {check.num_target:,} "
        "pairs of one person.",
        f"  Likelihood ratios of scores{knowing}: Cllr {check.cllr:.3f} bits (best possible "
        f"{check.min_cllr:.3f}, knowing nothing 1), actual DCF {check.actual_dcf:.3f} (minDCF "
        f"{check.min_dcf:.3f}) at p_target {check.p_target:g}.",
    ]


def _inconclusive_line(measured: Calibration) -> str:
    if measured.slope <= 0:
        return "Cannot tell:   any score: clips of one person are no more alike than others."
    if measured.inconclusive_scores is None:
        return f"Cannot tell:   no score: from {_deciding(measured):.4f} the same person, else two"
    low, high = measured.inconclusive_scores
    return (
        f"Cannot tell:   scores from {low:.4f}, below which at most 5 % of the pairs of one person "
        f"lie, to below {high:.4f}"
    )


def _deciding(measured: Calibration) -> float:
    """The score from which verdicts say that it is the same person."""
    return measured.limits()[0] if measured.slope > 0 else measured.threshold_eer
