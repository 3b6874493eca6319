"""``eval.py``: error rates and thresholds of a trained model."""

from __future__ import annotations

import argparse
import json
import time

from mvector.cli.common import add_config_options, log_arguments, parse_bool

_EPILOG = """\
examples:
  python eval.py --model_path models/EcapaTdnn_Fbank/best_model
  python eval.py --configs configs/ecapa_tdnn.yml --save_image_path log/
  python eval.py --set dataset_conf.trials_list=my_trials.txt    lines 'label path path'
  python eval.py --set dataset_conf.trials_list=trials.lst --set dataset_conf.enroll_list=enroll.lst
  torchrun --nproc_per_node 4 eval.py --cache embeddings/        shares the clips among processes

Each clip of trials_list is compared with each clip of enroll_list (lines 'path<TAB>label').
A trials_list of lines 'label path path' or 'path path target' needs no enroll_list; where it names
enrolment models, enroll_list says the clips of each (CN-Celeb's enroll.lst, Kaldi's wav.scp).
Thresholds are written into the model folder, where infer_contrast.py and infer_recognition.py find
them.
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
    return parser


def run(args: argparse.Namespace) -> int:
    """Evaluate and print one line of figures, then the thresholds."""
    from mvector.config import load_config
    from mvector.distributed import open_world
    from mvector.errors import ConfigError
    from mvector.models.folder import load_training_config
    from mvector.predict import find_model
    from mvector.trainer import MVectorTrainer

    log_arguments(args)
    folder = args.model_path or find_model(args.configs)
    source = args.configs or load_training_config(folder)
    if source is None:
        raise ConfigError(
            f"'{folder}' says nothing of its training lists; name a configuration with --configs."
        )
    trainer = MVectorTrainer(load_config(source, _overrides(args)), args.use_gpu)
    started = time.monotonic()
    with open_world(trainer.device.type) as world:
        result = trainer.evaluate(
            folder,
            args.save_image_path if world.is_main else None,
            write_calibration=args.write_calibration and world.is_main,
        )
    if not world.is_main:
        return 0
    measured = result.calibration
    print(
        f"Time: {time.monotonic() - started:.0f} s, threshold: {measured.threshold_eer:.4f}, "
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
    if args.write_calibration:
        print(f"Thresholds written to {folder}/model.yml")
    return 0


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
