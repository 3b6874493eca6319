"""``eval.py``: error rates and thresholds of a trained model."""

from __future__ import annotations

import argparse
import time

from mvector.cli.common import add_config_options, log_arguments, parse_bool

_EPILOG = """\
examples:
  python eval.py --model_path models/EcapaTdnn_Fbank/best_model
  python eval.py --configs configs/ecapa_tdnn.yml --save_image_path log/
  python eval.py --set dataset_conf.trials_list=my_trials.txt    lines 'label path path'

Each clip of trials_list is compared with each clip of enroll_list (lines 'path<TAB>label'); a
trials_list of lines 'label path path' needs no enroll_list. Thresholds are written into the model
folder, where infer_contrast.py and infer_recognition.py find them.
"""


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
    return parser


def run(args: argparse.Namespace) -> int:
    """Evaluate and print one line of figures, then the thresholds."""
    from mvector.config import load_config
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
    trainer = MVectorTrainer(load_config(source, args.overrides), args.use_gpu)
    started = time.monotonic()
    result = trainer.evaluate(
        folder, args.save_image_path, write_calibration=args.write_calibration
    )
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
    if args.write_calibration:
        print(f"Thresholds written to {folder}/model.yml")
    return 0
