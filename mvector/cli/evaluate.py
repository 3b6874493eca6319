"""``eval.py``: error rates and thresholds of a trained model."""

from __future__ import annotations

import argparse
import json
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mvector.cli.common import add_config_options, log_arguments, parse_bool, parse_count

if TYPE_CHECKING:
    from mvector.evaluation import Calibration
    from mvector.verification import VerificationResult

logger = logging.getLogger(__name__)

_EPILOG = """\
examples:
  python eval.py --model_path models/EcapaTdnn_Fbank/best_model
  python eval.py --configs configs/ecapa_tdnn.yml --save_image_path log/
  python eval.py --set dataset_conf.trials_list=my_trials.txt    lines 'label path path'
  python eval.py --set dataset_conf.trials_list=trials.lst --set dataset_conf.enroll_list=enroll.lst
  torchrun --nproc_per_node 4 eval.py --cache embeddings/        shares the clips among processes
  python eval.py --report report/ --metadata clips.csv --by gender,session,duration
  python eval.py --model_path models/A/best_model --save_scores a.npz     the same for B, and then
  python eval.py --compare a.npz b.npz --report comparison/

Each clip of trials_list is compared with each clip of enroll_list (lines 'path<TAB>label').
A trials_list of lines 'label path path' or 'path path target' needs no enroll_list; where it names
enrolment models, enroll_list says the clips of each (CN-Celeb's enroll.lst, Kaldi's wav.scp).
Thresholds are written into the model folder, where infer_contrast.py and infer_recognition.py find
them, and all figures into results.json beside it. The table shows minDCF with the cost of deciding
by the calibrated log-likelihood ratio (actual), and the misses and false acceptances that each
threshold rests on.
"""

_ENROLMENT = """\
how models of several clips are enrolled: mean of unit vectors (mean, the default), mean of
embeddings (raw-mean), highest score (max), mean of the N highest scores (top-N, such as top-3), or
all clips heard as one (concat)"""


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="eval.py",
        description="Measure EER, minDCF and decision thresholds of a trained model.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_config_options(parser, default="the one saved beside the model")
    add = parser.add_argument
    add(
        "--model_path",
        "--resume_model",
        metavar="DIR",
        help="model folder (default: the one the configuration trains, or the only one there is)",
    )
    add(
        "--save_image_path",
        metavar="PATH",
        help="folder or .png file for a picture of FNR and FPR over the threshold",
    )
    add(
        "--write_calibration",
        type=parse_bool,
        default=True,
        metavar="True|False",
        help="write thresholds into the model folder (default True)",
    )
    add("--enrolment", metavar="WAY", help=_ENROLMENT)
    add(
        "--skip_missing",
        action="store_true",
        help="leave out trials of clips that do not exist, and count them",
    )
    add(
        "--cache",
        metavar="DIR",
        help="keep embeddings here: a run that was cut off goes on, another one starts from them",
    )
    _add_outputs(parser)
    return parser


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("what to write and print").add_argument
    add(
        "--out",
        metavar="FILE",
        help="file or folder for all figures (default: results.json beside the model folder)",
    )
    add("--save_scores", metavar="FILE", help="write scores, labels and trials here (npz)")
    add(
        "--report",
        metavar="DIR",
        help="folder for a page with curves, breakdown and worst trials (report.html), and for "
        "its pictures",
    )
    add(
        "--by",
        metavar="COLUMNS",
        help="error rates by columns of --metadata, such as gender,language, or by duration of "
        "the shorter clip (default: duration if there is a --report)",
    )
    add(
        "--metadata",
        metavar="FILE",
        help="csv or tsv with a line for each clip, names of columns in the first: path, ...",
    )
    add(
        "--bootstrap",
        type=parse_count,
        metavar="N",
        help="draw the speakers so often for intervals; 0 gives none (default: 1000, less for "
        "very many trials)",
    )
    add(
        "--compare",
        nargs="+",
        metavar="SCORES",
        help="compare files of --save_scores with the first of them, instead of evaluating",
    )


def run(args: argparse.Namespace) -> int:
    """Evaluate, print the figures, and write what is asked for; or compare scores.

    Raises:
        MVectorError: the model, the lists or an option cannot be used.
    """
    if args.compare is not None:
        from mvector.cli.evaluate_outputs import compare

        if os.environ.get("RANK", "0") == "0":
            print("\n".join(compare(args)))
        return 0
    return _evaluate(args)


def _evaluate(args: argparse.Namespace) -> int:
    from mvector.cli.evaluate_outputs import Outputs
    from mvector.config import load_config
    from mvector.distributed import open_world
    from mvector.errors import ConfigError
    from mvector.models.folder import fingerprint_of, load_training_config
    from mvector.predict import find_model
    from mvector.trainer import MVectorTrainer

    log_arguments(args)
    folder = Path(args.model_path or find_model(args.configs))
    source = args.configs or load_training_config(folder)
    if source is None:
        raise ConfigError(
            f"'{folder}' says nothing of its training lists; name a configuration with --configs."
        )
    trainer = MVectorTrainer(load_config(source, _overrides(args)), args.use_gpu)
    data = trainer.config.dataset_conf
    outputs = Outputs(args, folder, data.data_root)
    before = _calibration_of(folder)
    started = time.monotonic()
    with open_world(trainer.device.type) as world:
        result = trainer.evaluate(
            folder,
            args.save_image_path if world.is_main else None,
            write_calibration=args.write_calibration and world.is_main,
        )
    if not world.is_main:
        return 0
    _print_summary(result, time.monotonic() - started)
    is_other = before is not None and before.description != result.calibration.description
    lines = outputs.write(
        result,
        name=trainer.model.name,
        fingerprint=fingerprint_of(trainer.model),
        lists=[
            path for path in (data.trials_list, data.enroll_list) if path and os.path.exists(path)
        ],
        earlier=before if is_other else None,
    )
    print("\n".join(lines))
    if args.write_calibration:
        print(f"Thresholds written to {folder}/model.yml")
    return 0


def _calibration_of(folder: Path) -> Calibration | None:
    """What the model folder says before the evaluation."""
    from mvector.errors import CheckpointError
    from mvector.evaluation import Calibration
    from mvector.models.folder import load_model_folder

    _, info = load_model_folder(folder)
    try:
        return None if info.calibration is None else Calibration.from_dict(info.calibration)
    except CheckpointError as error:
        logger.warning("The calibration so far cannot be used: %s", error)
        return None


def _print_summary(result: VerificationResult, elapsed_s: float) -> None:
    measured = result.calibration
    print(
        f"Time: {elapsed_s:.0f} s, threshold: {measured.threshold_eer:.4f}, "
        f"EER: {measured.eer:.5f}, MinDCF: {measured.min_dcf:.5f}"
    )
    print(
        f"Best accuracy: {measured.accuracy:.5f} at threshold "
        f"{measured.threshold_best_accuracy:.4f}; {measured.num_target} target and "
        f"{measured.num_nontarget} non-target trials; {result.num_skipped} clips skipped"
    )
    if result.num_trials_left_out:
        print(f"Trials left out because of skipped clips: {result.num_trials_left_out}")
    if result.enrolment is not None:
        print(f"Models of several clips were enrolled by {result.enrolment}")


def _overrides(args: argparse.Namespace) -> list[str]:
    """The options that stand for settings of ``dataset_conf.eval_conf``, behind ``--set``."""
    options = {
        "enrolment": args.enrolment,
        "skip_missing": args.skip_missing or None,
        "cache": args.cache,
    }
    settings = [
        f"dataset_conf.eval_conf.{key}={json.dumps(value)}"
        for key, value in options.items()
        if value is not None
    ]
    return [*args.overrides, *settings]
