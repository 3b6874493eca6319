"""``tools/calibrate.py``: which threshold, and how sure, from one's own clips."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from mvector.cli.calibration_report import calibration_lines, write_calibration
from mvector.cli.clips import ChannelOption
from mvector.cli.common import ModelOptions, bool_option, max_duration_option, parse_count
from mvector.cli.options import Action, Command, Condition, flag, option, optional, required
from mvector.errors import CheckpointError
from mvector.evaluation.reports.tables import percent
from mvector.files import check_writable, write_errors_as

logger = logging.getLogger(__name__)

_DESCRIPTION = """\
Measure, on recordings of your own people and microphones, from which score on two clips should
count as the same person. DIR has a folder for each person, with clips of any length and format:

  DIR/ann/monday.wav  DIR/ann/friday.wav  DIR/bob/1.flac ...

Every clip is compared with every other one. The result is a table of thresholds with the errors
each made, the range of scores that cannot tell, and a check on people that were not
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
  python tools/calibrate.py --clips my_people --out models/mine      of the model in the box
  python tools/calibrate.py --clips my_people --dry_run
  python tools/calibrate.py --clips my_people --quality True
"""


@dataclass(frozen=True, kw_only=True)
class Calibrate(ModelOptions, ChannelOption):
    clips: str = required("folder with a folder for each person", "DIR")
    out: str | None = optional(
        "model folder to make: a copy with the new thresholds, for a model that keeps its own, "
        "such as the one in the box",
        "DIR",
    )
    dry_run: bool = flag("measure and print, but write nothing")
    force: bool = flag("write even what too few clips were measured on")
    quality: bool = bool_option(
        False,
        "also fit ratios that know speech duration, SNR and channel of the clips (default: "
        "%(default)s)",
    )
    max_clips_per_person: int = option(
        50,
        "compare at most so many clips of a person; 0: all (default: %(default)s)",
        "N",
        parse_count,
    )
    max_duration: float | None = max_duration_option()

    def conditions(self) -> tuple[Condition, ...]:
        return (*super().conditions(), ("force out", not self.dry_run, "with --dry_run"))


def run(args: Calibrate) -> int:
    """Calibrate, print what was found, and write it into the model folder.

    Raises:
        MVectorError: the model, the clips or an option cannot be used.
    """
    from mvector.compute.device import choose_device
    from mvector.embedding.encoder import SpeakerEncoder
    from mvector.embedding.listening import Listening
    from mvector.evaluation.own_clips import calibrate_on_clips
    from mvector.models.folder import read_model_info
    from mvector.models.named import model_folder
    from mvector.recognition.model_choice import check_thresholds_changeable, find_model

    folder = model_folder(args.model_path or find_model(args.configs))
    if args.out:
        _check_new_folder(args.out)
    elif not args.dry_run:
        check_thresholds_changeable(folder, "give --out DIR for a copy with yours")
    before = Listening.from_dict(read_model_info(folder).listening)
    listening = before.with_duration(args.max_duration)
    encoder = SpeakerEncoder.from_folder(folder, choose_device(args.use_gpu), listening)
    result = calibrate_on_clips(
        encoder,
        args.clips,
        max_clips_per_person=args.max_clips_per_person or None,
        with_quality=args.quality,
        channel=args.channel,
        progress=True,
    )
    measured = result.calibration
    skipped = f" ({result.num_skipped} could not be used)" if result.num_skipped else ""
    print(
        f"Equal errors:  {percent(measured.eer)} each, from {measured.threshold_eer:.4f}\n"
        f"Compared:      {result.num_clips} clips of {result.num_people} people{skipped}: "
        f"{measured.num_target:,} pairs of one person, {measured.num_nontarget:,} of two people\n"
    )
    print("\n".join(calibration_lines(measured, result.eer_interval, result.held_out)))
    earlier = encoder.info.calibration if encoder.info else None
    if earlier:
        print(f"Before:        {earlier['threshold_eer']:.4f}")
        logger.info("before, calibrated on: %s", earlier["description"])
    if args.dry_run:
        print("Nothing is written (--dry_run).")
        return 0
    return write_calibration(
        folder, measured, {}, before=before, now=listening, force=args.force, out=args.out
    )


def _check_new_folder(out: str) -> None:
    """Fail now and not after the work."""
    from mvector.models.folder import new_model_folder

    with write_errors_as(CheckpointError, f"'{out}'", "choose another --out"):
        is_there = Path(out).exists()
    if is_there:
        raise CheckpointError(f"'{out}' is there already; choose another --out.")
    new_model_folder(out)
    with write_errors_as(CheckpointError, f"'{out}'", "choose another --out"):
        check_writable(Path(out).parent)


COMMAND = Command(
    "calibrate.py", _DESCRIPTION, _EPILOG, (Action("clips", Calibrate, run),), stray="clips"
)
