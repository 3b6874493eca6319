"""``eval.py``: error rates and thresholds of a trained model."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mvector.cli.calibration_report import (
    calibration_lines,
    print_listening_change,
    write_calibration,
)
from mvector.cli.evaluate_options import EPILOG, Compare, Evaluate
from mvector.cli.options import Action, Command
from mvector.cli.running import is_main_process

if TYPE_CHECKING:
    from mvector.embedding.encoder import SpeakerEncoder
    from mvector.embedding.listening import Listening
    from mvector.evaluation import Calibration
    from mvector.evaluation.run import VerificationResult
    from mvector.models.description import ModelInfo
    from mvector.recognition.judge import Judge

logger = logging.getLogger(__name__)


def _compare(args: Compare) -> int:
    """Compare saved scores, and print and write how they differ."""
    from mvector.cli.evaluate_outputs import compare

    if is_main_process():
        print("\n".join(compare(args)))
    return 0


def _evaluate(args: Evaluate) -> int:
    """Evaluate, print the figures, and write what is asked for."""
    from mvector.cli.evaluate_outputs import Outputs
    from mvector.cli.train import DEFAULT_CONFIG
    from mvector.compute.distributed import open_world
    from mvector.config import load_config
    from mvector.embedding.encoder import SpeakerEncoder
    from mvector.embedding.listening import Listening
    from mvector.errors import ConfigError, needing_training_packages
    from mvector.models.description import load_training_config, read_model_info
    from mvector.models.engine import device_for
    from mvector.models.named import model_folder, model_name
    from mvector.recognition.model_choice import (
        check_thresholds_changeable,
        find_model,
        is_default_model,
    )
    from mvector.training.model_evaluation import (
        calibration_of,
        save_curves_of,
        trials_listening,
        verify_trials,
        write_calibration_of,
    )

    with needing_training_packages():  # before hours of work and not behind it
        import scipy  # noqa: F401
        import sklearn  # noqa: F401
    if not is_main_process():  # what all processes of torchrun would warn of alike
        logging.getLogger("mvector").setLevel(logging.ERROR)
    folder = model_folder(args.model_path or find_model(args.configs))
    info = read_model_info(folder)  # which says what is wrong with the folder
    in_box = is_default_model(folder)
    if in_box:  # its own lists are nobody else's, and its thresholds stay
        if args.write_calibration or (args.calibrate and args.write_calibration is None):
            check_thresholds_changeable(folder)
        args = replace(args, write_calibration=False, out=args.out or ".")
    writes = args.write_calibration is not False and not args.verdict
    source = args.configs or (DEFAULT_CONFIG if in_box else load_training_config(folder))
    if source is None:
        raise ConfigError(
            f"'{folder}' says nothing of its training lists; name a configuration with --configs."
        )
    data = load_config(source, args.settings()).dataset_conf
    back_end = args.back_end(data.train_list)
    back_end.check()
    outputs = Outputs(args, folder, data.data_root, back_end.score_type)
    before, listening = Listening.from_dict(info.listening), trials_listening(info, data)
    judge = None
    if args.verdict:
        judge = _make_judge(folder, info, listening, data.eval_conf.enrolment, args.purpose)
    started = time.monotonic()
    device = device_for(args.engine, args.use_gpu)
    with open_world(device) as world:
        encoder = SpeakerEncoder.from_folder(folder, device, listening, args.engine)
        result = verify_trials(
            encoder, data, back_end=back_end, with_quality=args.quality, speakers=args.speakers
        )
    if not world.is_main:
        return 0
    if args.save_image_path is not None:
        save_curves_of(result, Path(args.save_image_path), encoder.model.name)
    if args.enrolment is not None and result.enrolment is None:
        logger.warning(
            "--enrolment %s changes nothing: none of these trials enrols several clips.",
            args.enrolment,
        )
    _print_left_out(result, time.monotonic() - started)
    lists = [path for path in (data.trials_list, data.enroll_list) if path and os.path.exists(path)]
    lists += [] if args.speakers is None else [args.speakers]
    figures = outputs.measure(
        result,
        {
            "name": encoder.model.name,
            "title": "The model in the box" if in_box else model_name(folder),
            "folder": str(folder),
            "fingerprint": encoder.fingerprint,
        },
        lists=[*lists, *back_end.lists],
        earlier=_earlier_calibration(calibration_of(info), before, result),
    )
    figures["verdict"] = None if judge is None else _verdict_rates(judge, encoder, result)
    print("\n".join(outputs.write(figures, result.curve)))
    if args.calibrate:
        return _calibrate(args, folder, result, figures, before=before)
    if back_end.score_type != "cosine":
        print(
            f"{folder}/model.yml stays as it is: these thresholds are of {back_end.score_type} "
            "scores, and the other commands compare cosines"
        )
    elif writes and write_calibration_of(
        result, folder, replace_better=args.write_calibration is True
    ):
        print(f"Thresholds written to {folder}/model.yml")
        print_listening_change(before, result.listening)
    return 0


def _calibrate(
    args: Evaluate,
    folder: Path,
    result: VerificationResult,
    figures: dict[str, Any],
    *,
    before: Listening,
) -> int:
    """Say which threshold and how sure, and write the calibration if enough supports it."""
    from mvector.evaluation.held_out import HeldOutCheck
    from mvector.evaluation.run import metrics_of

    measured = result.calibration
    check = (figures["quality"] or figures)["held_out"]
    held_out = None if check is None else HeldOutCheck(**check)
    print("\n".join(["", *calibration_lines(measured, None, held_out)]))
    if args.write_calibration is False:
        print("Nothing is written into the model folder (--write_calibration False).")
        return 0
    metrics, now = metrics_of(measured), result.listening
    return write_calibration(folder, measured, metrics, before=before, now=now, force=args.force)


def _make_judge(
    folder: Path, info: ModelInfo, listening: Listening, enrolment: str, purpose: str | None
) -> Judge:
    """What decides with this model; refuses thresholds that are missing or do not fit."""
    from mvector.errors import EvaluationError
    from mvector.recognition.judge import Judge
    from mvector.recognition.model_choice import usable_calibration

    calibration = usable_calibration(info, listening, folder)
    judge = Judge(calibration, None, str(folder), purpose or "default")
    _ = judge.threshold  # without one there is no verdict: say so before working
    if enrolment == "concat":
        raise EvaluationError(
            "Quality is measured clip by clip, and 'concat' joins clips; enrol by mean instead."
        )
    return judge


def _verdict_rates(
    judge: Judge, encoder: SpeakerEncoder, result: VerificationResult
) -> dict[str, Any] | None:
    """How often the verdicts on these trials are wrong, for ``results.json``."""
    from mvector.evaluation.run import measure_trials
    from mvector.recognition.verdict_rates import verdict_rates

    if result.scores is None:
        logger.warning("The trials are too many to keep their scores: no verdicts.")
        return None
    quality = measure_trials(encoder, result.trials, result.likeness, progress=True)
    return verdict_rates(judge, result.scores, result.trials, quality).to_dict()


def _earlier_calibration(
    earlier: Calibration | None, listening: Listening, result: VerificationResult
) -> Calibration | None:
    """The model's calibration before the evaluation, if it can be judged on these trials."""
    measured = result.calibration
    if earlier is None or listening != result.listening:
        return None
    is_other = earlier.description != measured.description
    return earlier if is_other and earlier.score_type == measured.score_type else None


def _print_left_out(result: VerificationResult, elapsed_s: float) -> None:
    logger.info("Scored in %.0f s.", elapsed_s)
    if result.num_skipped:
        print(
            f"Clips skipped: {result.num_skipped}; trials left out because of them: "
            f"{result.num_trials_left_out}"
        )
    if result.num_self_trials:
        print(f"Trials left out that compare a clip with itself: {result.num_self_trials}")
    if result.enrolment is not None:
        print(f"Models of several clips were enrolled by {result.enrolment}")


COMMAND = Command(
    "eval.py",
    "Measure EER, minDCF and decision thresholds of a trained model.",
    EPILOG,
    (Action("--compare", Compare, _compare), Action("an evaluation", Evaluate, _evaluate)),
    stray="model_path",
)
