"""``tools/calibrate.py``: which threshold, and how sure, from one's own clips."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from mvector.cli.common import optional_bool, parse_bool, parse_count, parse_seconds
from mvector.errors import DataError

if TYPE_CHECKING:
    from mvector.clip_calibration import ClipCalibration
    from mvector.evaluation.operating_points import OperatingPoint

_DESCRIPTION = """\
Measure, on recordings of your own people and microphones, from which score on two clips should
count as the same person. DIR has a folder for each person, with clips of any length and format:

  DIR/ann/monday.wav  DIR/ann/friday.wav  DIR/bob/1.flac ...

Every clip is compared with every other one. The result is a table of thresholds with the errors
each made, a range of scores that are no evidence either way, and a check on people that were not
calibrated on. It is written into the model folder, in place of what was measured before, and used
by infer_contrast.py and infer_recognition.py.

What makes a good set: 20 people or more, the more the better; 3 clips or more of each, recorded on
different days as in real use. Clips cut from one recording are too alike and flatter the result.
"""

_EPILOG = """\
exit code:
  0   measured (and written, unless --dry_run)
  1   measured, but too little to rely on: not written (--force writes it)
  2   the command cannot be carried out

examples:
  python tools/calibrate.py --clips my_people --model_path models/EcapaTdnn_Fbank/best_model
  python tools/calibrate.py --clips my_people --dry_run
  python tools/calibrate.py --clips my_people --quality True
"""

_MIN_PEOPLE, _MIN_TARGETS = 5, 30
_WORDS = {
    "eer": "both errors equally often",
    "min_dcf": "1 in 100 who come is the person claimed",
    "far_1pct": "1 of 100 strangers accepted",
    "far_0_1pct": "1 of 1,000 strangers accepted",
    "far_0_01pct": "1 of 10,000 strangers accepted",
}


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="calibrate.py",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--clips", required=True, metavar="DIR", help="folder with a folder for each person")
    add(
        "--model_path",
        metavar="DIR",
        help="model folder (default: the only one under models/)",
    )
    add("--dry_run", action="store_true", help="measure and print, but write nothing")
    add("--force", action="store_true", help="write even what too few clips were measured on")
    add(
        "--quality",
        type=parse_bool,
        default=False,
        metavar="True|False",
        help="also fit a ratio that knows speech duration and SNR (default: %(default)s)",
    )
    add(
        "--max_clips_per_person",
        type=parse_count,
        default=50,
        metavar="N",
        help="compare at most so many clips of a person; 0: all (default: %(default)s)",
    )
    add(
        "--max_duration",
        type=parse_seconds,
        default=20.0,
        metavar="SECONDS",
        help="hear only the beginning of longer clips (default: %(default)g)",
    )
    add("--use_gpu", type=optional_bool, metavar="True|False", help="default: if there is one")
    return parser


def run(args: argparse.Namespace) -> int:
    """Calibrate, print what was found, and write it into the model folder.

    Args:
        args: what :func:`build_parser` parses.

    Returns:
        The exit code: 1 if nothing was written because too little was measured.

    Raises:
        MVectorError: the model, the clips or an option cannot be used.
    """
    if args.max_duration == 0:
        raise DataError("--max_duration is 0, which leaves no sound; give a longer time.")
    from mvector.clip_calibration import calibrate_on_clips
    from mvector.device import choose_device
    from mvector.models.folder import update_model_folder
    from mvector.predict import find_model
    from mvector.speakers.encoder import SpeakerEncoder

    folder = args.model_path or find_model()
    encoder = SpeakerEncoder.from_folder(folder, choose_device(args.use_gpu))
    result = calibrate_on_clips(
        encoder,
        args.clips,
        max_clips_per_person=args.max_clips_per_person or None,
        max_duration_s=args.max_duration,
        with_quality=args.quality,
        progress=sys.stderr.isatty(),
    )
    print("\n".join(_report(result)))
    before = encoder.info.calibration if encoder.info else None
    if before:
        print(
            f"Before:        {before['threshold_eer']:.4f} (equal error rate on "
            f"{before['description']})"
        )
    measured = result.calibration
    if args.dry_run:
        print("Nothing is written (--dry_run).")
        return 0
    if (result.num_people < _MIN_PEOPLE or measured.num_target < _MIN_TARGETS) and not args.force:
        print(
            f"NOT written: fewer than {_MIN_PEOPLE} people or {_MIN_TARGETS} comparisons of one "
            "person are no ground for a threshold; add clips, or write it with --force."
        )
        return 1
    update_model_folder(folder, calibration=measured.to_dict(), metrics={})
    print(
        f"Written to {folder}/model.yml: from now on {measured.threshold_eer:.4f} decides; take "
        "another line of the table with --threshold."
    )
    return 0


def _report(result: ClipCalibration) -> list[str]:
    measured = result.calibration
    skipped = f" ({result.num_skipped} could not be used)" if result.num_skipped else ""
    lines = [
        f"Compared:      {result.num_clips} clips of {result.num_people} people{skipped}: "
        f"{measured.num_target:,} pairs of one person, {measured.num_nontarget:,} of two people",
        "",
        f"  {'same person from':>16s}  {'so chosen that':40s}{'strangers accepted':>22s}"
        f"{'own person rejected':>22s}",
    ]
    points = measured.operating_points()
    lines += [_row(point) for point in points]
    lines += ["", "How sure:"]
    if result.eer_interval is not None:
        lines.append(
            f"  With other people the equal error rate of {measured.eer:.1%} may well be "
            f"{result.eer_interval.low:.1%} to {result.eer_interval.high:.1%} (95 %, by drawing "
            "people anew)."
        )
    lines += _held_out_lines(result)
    doubts = [point for point in points if point.doubt]
    lines += [f"  Unsure (*): '{_WORDS[point.purpose]}' {point.doubt}." for point in doubts]
    if not doubts:
        lines.append("  Every threshold rests on 30 errors or more.")
    lines += ["", _inconclusive_line(result)]
    return lines


def _row(point: OperatingPoint) -> str:
    if point.threshold is None or point.errors is None:
        return f"  {'-':>16s}  {_WORDS[point.purpose] + ' (*)':40s}{'too few pairs':>22s}"
    accepted = f"{point.fpr:.2%} ({point.errors.num_false_accepts:,})"
    rejected = f"{point.fnr:.2%} ({point.errors.num_misses:,})"
    words = _WORDS[point.purpose] + (" (*)" if point.doubt else "")
    return f"  {point.threshold:16.4f}  {words:40s}{accepted:>22s}{rejected:>22s}"


def _held_out_lines(result: ClipCalibration) -> list[str]:
    check = result.held_out
    if check is None:
        return ["  Too few people to calibrate on half of them and check on the others."]
    knowing = " and quality of clips" if result.calibration.quality_weights else ""
    return [
        f"  Chosen on half of the people, the threshold ({check.threshold:.4f}) accepted "
        f"{check.num_false_accepts:,} of {check.num_nontarget:,} pairs of strangers among the "
        f"other {check.num_speakers}, and rejected {check.num_misses:,} of {check.num_target:,} "
        "pairs of one person.",
        f"  Likelihood ratios of scores{knowing}: Cllr {check.cllr:.3f} bits (best possible "
        f"{check.min_cllr:.3f}, knowing nothing 1), actual DCF {check.actual_dcf:.3f} (minDCF "
        f"{check.min_dcf:.3f}) at p_target {check.p_target:g}.",
    ]


def _inconclusive_line(result: ClipCalibration) -> str:
    measured = result.calibration
    if measured.inconclusive_low is None or measured.inconclusive_high is None:
        return "Inconclusive:  every score: clips of one person are no more alike than others."
    return (
        f"Inconclusive:  scores between {measured.inconclusive_low:.4f} and "
        f"{measured.inconclusive_high:.4f}, where neither answer is 10 times as likely as the other"
    )
