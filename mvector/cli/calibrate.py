"""``tools/calibrate.py``: a model adapted to one's own people and microphones."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mvector.cli.adaptation_report import (
    gain_lines,
    what_was_written,
    why_not_written,
    write_into_folder,
)
from mvector.cli.calibration_report import calibration_lines, print_listening_change
from mvector.cli.clips import ChannelOption
from mvector.cli.common import ModelOptions, bool_option, max_duration_option, parse_count
from mvector.cli.options import (
    Action,
    Command,
    Condition,
    Options,
    flag,
    option,
    optional,
    required,
)
from mvector.errors import CheckpointError
from mvector.evaluation.reports.tables import percent
from mvector.files import check_writable, write_errors_as

if TYPE_CHECKING:
    from mvector.evaluation.own_clips import OwnPairs

logger = logging.getLogger(__name__)

_DESCRIPTION = """\
Adapt a model to recordings of your own people and microphones. DIR has a folder for each person,
with clips of any length and format:

  DIR/ann/monday.wav  DIR/ann/friday.wav  DIR/bob/1.flac ...

Every clip is compared with every other one. From 5 people on, their voiceprints, without names,
become the strangers that other voices are judged beside; from 20 on, the thresholds of verdicts
are measured on them, too. A model that knows nothing of strangers takes thresholds of its scores
from 5 people on. What was gained is told: errors before and after, and a table of thresholds.

It is written into the model folder; for the model in the box, whose folder stays as it is, into
your data folder (MVECTOR_HOME names another). infer_contrast.py, infer_recognition.py and
MVectorPredictor use it from then on.

What makes a good set: 20 people or more, the more the better; 3 clips or more of each, recorded on
different days as in real use. Clips cut from one recording are too alike and flatter the result.
"""

_EPILOG = """\
exit code:
  0   adapted (and written, unless --dry_run)
  1   measured, but too little to rely on: not written (--force writes it)
  2   the command cannot be carried out

examples:
  python tools/calibrate.py --clips my_people            the model trained here, or in the box
  python tools/calibrate.py --clips my_people --model_path models/EcapaTdnn_Fbank/best_model
  python tools/calibrate.py --clips my_people --out models/mine   into a copy of the model
  python tools/calibrate.py --clips my_people --dry_run
  python tools/calibrate.py --clips my_people --quality True
  python tools/calibrate.py --forget                     the model in the box as it came
"""


@dataclass(frozen=True, kw_only=True)
class Forget(Options):
    forget: bool = required(
        "delete what adapts the model in the box to your people", action="store_true"
    )


@dataclass(frozen=True, kw_only=True)
class Calibrate(ModelOptions, ChannelOption):
    clips: str = required("folder with a folder for each person", "DIR")
    out: str | None = optional("model folder to make: a copy of the model, adapted", "DIR")
    dry_run: bool = flag("measure and print, but write nothing")
    force: bool = flag("measure and write thresholds even with too few people or clips")
    quality: bool = bool_option(
        False,
        "fit new ratios that know speech duration, SNR and channel of the clips, and their "
        "likeness to strangers, in place of those of the model (default: %(default)s)",
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


def forget(args: Forget) -> int:
    """Take the adaptation of the model in the box back."""
    from mvector.recognition.adaptation import forget_adaptations

    folder = forget_adaptations()
    if folder is None:
        print("The model in the box was not adapted: there is nothing to forget.")
    else:
        print(f"Deleted '{folder}': the model in the box judges as it came.")
    return 0


def run(args: Calibrate) -> int:
    """Adapt, print what was found and gained, and write it.

    Raises:
        MVectorError: the model, the clips or an option cannot be used.
    """
    from mvector.compute.device import requested_device
    from mvector.embedding.encoder import SpeakerEncoder
    from mvector.embedding.listening import Listening
    from mvector.evaluation.adaptation import Plan
    from mvector.evaluation.held_out import held_out_check_if_possible
    from mvector.evaluation.own_clips import compare_own_clips
    from mvector.models.description import read_model_info
    from mvector.models.named import is_default_model, model_folder
    from mvector.recognition.adaptation import save_adaptation
    from mvector.recognition.adapting import adapt, measure_gain
    from mvector.recognition.model_choice import find_model, usable_calibration
    from mvector.scoring.strangers import Strangers

    folder = model_folder(args.model_path or find_model(args.configs))
    info = read_model_info(folder)
    before = Listening.from_dict(info.listening)
    now = before.with_duration(args.max_duration)
    in_box = is_default_model(folder)
    _check_target(args, in_box, now != before)
    encoder = SpeakerEncoder.from_folder(folder, requested_device(args.use_gpu), now, args.engine)
    pairs = compare_own_clips(
        encoder,
        args.clips,
        max_clips_per_person=args.max_clips_per_person or None,
        channel=args.channel,
        progress=True,
    )
    known = usable_calibration(info, now, folder, adapted=False)
    num_target = int(pairs.labels.sum())
    plan = Plan.of(
        known, len(pairs.names), num_target, fits_ratios=args.quality, is_forced=args.force
    )
    adapted = adapt(known, pairs, plan)
    skipped = f" ({pairs.num_skipped} could not be used)" if pairs.num_skipped else ""
    if plan.sets_thresholds:
        print(f"Equal errors:  {percent(adapted.eer)} each, from {adapted.threshold_eer:.4f}")
    print(
        f"Compared:      {len(pairs.person)} clips of {len(pairs.names)} people{skipped}: "
        f"{num_target:,} pairs of one person, {len(pairs.labels) - num_target:,} of two people\n"
    )
    if plan.sets_thresholds:
        quality = pairs.quality_among() if args.quality else None
        check = held_out_check_if_possible(pairs.scores, pairs.labels, pairs.speakers, quality)
        shown = adapted if args.quality else replace(adapted, ratios=())  # scores were checked
        print("\n".join([*calibration_lines(shown, pairs.eer_interval(), check), ""]))
    strangers = Strangers(info.folder, info.fingerprint)  # for the box, as it comes
    print("\n".join(gain_lines(measure_gain(known, strangers, pairs, plan))))
    _warn_of_one_voice(pairs)
    if known is not None:
        logger.info("before, calibrated on: %s", known.description)
    if args.dry_run:
        print("Nothing is written (--dry_run).")
        return 0
    if not plan.is_supported:
        print(why_not_written(plan, len(pairs.names)))
        return 1
    if in_box and not args.out:
        where = save_adaptation(info, adapted, pairs.voiceprints())
    else:
        where = write_into_folder(info, adapted, pairs.voiceprints(), listening=now, out=args.out)
    print(what_was_written(plan, adapted, where))
    if in_box and not args.out:
        print("It is used with the model in the box from now on; --forget takes it back.")
    print_listening_change(before, now)
    return 0


def _check_target(args: Calibrate, in_box: bool, is_heard_otherwise: bool) -> None:
    """Fail now and not after the work."""
    from mvector.home import HOME
    from mvector.models.adaptation import adaptations_folder
    from mvector.models.description import new_model_folder

    if args.out is None:
        if in_box and is_heard_otherwise:
            raise CheckpointError(
                "The model in the box hears as much of clips as it does: give --out DIR for a copy "
                "that hears them for --max_duration."
            )
        if in_box and not args.dry_run:
            home = adaptations_folder().parent
            cure = f"set {HOME} to another data folder, or choose --out"
            with write_errors_as(CheckpointError, f"'{home}'", cure):
                check_writable(home)
        return
    with write_errors_as(CheckpointError, f"'{args.out}'", "choose another --out"):
        is_there = Path(args.out).exists()
    if is_there:
        raise CheckpointError(f"'{args.out}' is there already; choose another --out.")
    new_model_folder(args.out)
    with write_errors_as(CheckpointError, f"'{args.out}'", "choose another --out"):
        check_writable(Path(args.out).parent)


def _warn_of_one_voice(pairs: OwnPairs) -> None:
    alike = pairs.too_alike()
    for one, other in alike[:5]:
        logger.warning(
            "'%s' and '%s' sound like one person: put the clips of one into one folder.",
            one,
            other,
        )
    if len(alike) > 5:
        logger.warning("And %d more pairs of people sound alike.", len(alike) - 5)


COMMAND = Command(
    "calibrate.py",
    _DESCRIPTION,
    _EPILOG,
    (Action("--forget", Forget, forget), Action("clips", Calibrate, run)),
    stray="clips",
)
