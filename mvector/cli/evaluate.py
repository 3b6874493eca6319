"""``eval.py``: error rates and thresholds of a trained model."""

from __future__ import annotations

import argparse
import json
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mvector.cli.calibration_report import calibration_lines, too_little, written_line
from mvector.cli.common import log_arguments
from mvector.cli.evaluate_options import back_end_of, build_parser, check_calibration

if TYPE_CHECKING:
    from mvector.evaluation import Calibration
    from mvector.evaluation.run import VerificationResult

__all__ = ["build_parser", "run"]

logger = logging.getLogger(__name__)


def run(args: argparse.Namespace) -> int:
    """Evaluate, print the figures, and write what is asked for; or compare scores.

    Returns:
        The exit code: 1 if a calibration was asked for and too little was measured for it.

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
    from mvector.cli.evaluate_outputs import RESULTS, Outputs
    from mvector.cli.train import DEFAULT_CONFIG
    from mvector.compute.distributed import open_world
    from mvector.config import load_config
    from mvector.errors import ConfigError
    from mvector.models.folder import load_training_config, read_model_info
    from mvector.recognition.model_choice import check_changeable, find_model, is_default
    from mvector.training.trainer import MVectorTrainer

    log_arguments(args)
    folder = Path(args.model_path or find_model(args.configs))
    if is_default(folder):  # its own lists are nobody else's, and its thresholds stay
        if args.calibrate and args.write_calibration:
            check_changeable(folder)
        args.write_calibration = False
        args.out = args.out or RESULTS
    source = args.configs or (
        DEFAULT_CONFIG if is_default(folder) else load_training_config(folder)
    )
    if source is None:
        raise ConfigError(
            f"'{folder}' says nothing of its training lists; name a configuration with --configs."
        )
    trainer = MVectorTrainer(load_config(source, _overrides(args)), args.use_gpu)
    data = trainer.config.dataset_conf
    back_end = back_end_of(args, data.train_list)
    check_calibration(args, back_end.score_type)
    back_end.check()
    outputs = Outputs(args, folder, data.data_root)
    info = read_model_info(folder)
    started = time.monotonic()
    with open_world(trainer.device.type) as world:
        result = trainer.evaluate(
            folder,
            args.save_image_path if world.is_main else None,
            write_calibration=args.write_calibration and not args.calibrate and world.is_main,
            back_end=back_end,
            with_quality=args.quality,
        )
    if not world.is_main:
        return 0
    _print_summary(result, time.monotonic() - started)
    lists = [path for path in (data.trials_list, data.enroll_list) if path and os.path.exists(path)]
    figures = outputs.measure(
        result,
        {"name": trainer.model.name, "folder": str(folder), "fingerprint": info.fingerprint},
        lists=[*lists, *back_end.lists],
        earlier=_earlier(info.calibration, result.calibration),
    )
    print("\n".join(outputs.write(figures, result.curve)))
    if args.calibrate:
        return _calibrate(args, folder, result.calibration, figures)
    if back_end.score_type != "cosine":
        print(
            f"{folder}/model.yml stays as it is: these thresholds are of {back_end.score_type} "
            "scores, and the other commands compare cosines"
        )
    elif args.write_calibration:
        print(f"Thresholds written to {folder}/model.yml")
    return 0


def _calibrate(
    args: argparse.Namespace, folder: Path, measured: Calibration, figures: dict[str, Any]
) -> int:
    """Say which threshold and how sure, and write the calibration if enough supports it."""
    from mvector.evaluation import HeldOutCheck, Interval
    from mvector.evaluation.run import metrics_of
    from mvector.models.folder import update_model_folder

    eer, check = figures["eer"], (figures["quality"] or figures)["held_out"]
    interval = None if eer["low"] is None else Interval(eer["value"], eer["low"], eer["high"])
    held_out = None if check is None else HeldOutCheck(**check)
    print("\n".join(["", *calibration_lines(measured, interval, held_out)]))
    if not args.write_calibration:
        print("Nothing is written into the model folder (--write_calibration False).")
        return 0
    doubt = too_little(measured)
    if doubt and not args.force:
        print(doubt)
        return 1
    update_model_folder(folder, calibration=measured.to_dict(), metrics=metrics_of(measured))
    print(written_line(folder, measured))
    return 0


def _earlier(values: dict[str, Any] | None, measured: Calibration) -> Calibration | None:
    """The model's calibration before the evaluation, if it can be judged on these trials."""
    from mvector.errors import CheckpointError
    from mvector.evaluation import Calibration

    if values is None:
        return None
    try:
        before = Calibration.from_dict(values)
    except CheckpointError as error:
        logger.warning("The calibration so far cannot be used: %s", error)
        return None
    is_other = before.description != measured.description
    return before if is_other and before.score_type == measured.score_type else None


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
