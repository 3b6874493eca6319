"""Measuring a model on the trials that a configuration names."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from mvector.compute.distributed import current_world
from mvector.config import Config
from mvector.config.schema import DatasetConf
from mvector.embedding.cache import cache_folder
from mvector.embedding.encoder import SpeakerEncoder
from mvector.embedding.listening import Listening
from mvector.errors import CheckpointError, ConfigError, DataError
from mvector.evaluation.back_end import BackEnd
from mvector.evaluation.calibration import Calibration, score_suffix
from mvector.evaluation.plots import save_error_curves
from mvector.evaluation.run import VerificationResult, check_lists, metrics_of, verify_lists
from mvector.models.description import ModelInfo, read_model_info, update_model_folder

if TYPE_CHECKING:
    import torch

    from mvector.models.speaker_model import SpeakerModel

logger = logging.getLogger(__name__)


def check_epoch_evaluation(config: Config, do_eval: bool) -> bool:
    """Whether to evaluate after each epoch; what would fail then is refused before the first.

    Raises:
        ConfigError: a setting needs it, and there is none.
        DataError: a list is missing or malformed.
        EvaluationError: the trials allow no error rate, or clips are missing.
    """
    data = config.dataset_conf
    if do_eval and data.trials_list is not None:
        check_lists(
            data.trials_list,
            data.enroll_list,
            root=data.data_root,
            skip_missing=data.eval_conf.skip_missing,
        )
        return True
    needing = []
    if config.optimizer_conf.scheduler == "ReduceLROnPlateau":
        needing.append("optimizer_conf.scheduler ReduceLROnPlateau")
    if config.train_conf.early_stop_epochs is not None:
        needing.append(f"train_conf.early_stop_epochs {config.train_conf.early_stop_epochs}")
    if needing:
        need, it = ("needs", "it") if len(needing) == 1 else ("need", "them")
        raise ConfigError(
            f"{' and '.join(needing)} {need} an evaluation after each epoch; set "
            f"dataset_conf.trials_list and --do_eval True, or do without {it}."
        )
    if do_eval:
        logger.info(
            "dataset_conf.trials_list is not set: nothing is evaluated, and the best model is the "
            "last."
        )
    return False


def verify_trials(
    encoder: SpeakerEncoder,
    data: DatasetConf,
    *,
    back_end: BackEnd | None = None,
    with_quality: bool = False,
    speakers: str | None = None,
) -> VerificationResult:
    """Score the trials of a configuration; see :func:`mvector.evaluation.run.verify_lists`."""
    if data.trials_list is None:
        raise DataError(
            "There are no trials to evaluate on; set dataset_conf.trials_list (and "
            "enroll_list) in the configuration."
        )
    return verify_lists(
        encoder,
        data.trials_list,
        data.enroll_list,
        root=data.data_root,
        batch_size=data.eval_conf.batch_size,
        enrolment=data.eval_conf.enrolment,
        skip_missing=data.eval_conf.skip_missing,
        cache=data.eval_conf.cache,
        back_end=back_end,
        with_quality=with_quality,
        speakers=speakers,
        progress=current_world().is_main,
    )


def trials_listening(info: ModelInfo, data: DatasetConf) -> Listening:
    """How much of clips is heard: what the model's folder says, unless the configuration does."""
    return Listening.from_dict(info.listening).with_duration(data.eval_conf.max_duration)


def calibration_of(info: ModelInfo) -> Calibration | None:
    """What a model was calibrated by; ``None`` if it was not, or, with a warning, not readably."""
    try:
        return Calibration.from_dict(info.calibration) if info.calibration else None
    except CheckpointError as error:
        logger.warning("The calibration so far cannot be used: %s", error)
        return None


class EpochEvaluation:
    """Evaluates a model after each epoch; of the embeddings that are kept, the newest ones stay.

    Those of an epoch before are of weights that nobody has any more.
    """

    def __init__(self, listening: Listening, data: DatasetConf) -> None:
        self.listening, self.data = listening, data
        self._kept: Path | None = None

    def __call__(self, model: SpeakerModel, device: torch.device) -> VerificationResult:
        """As :func:`verify_trials`."""
        encoder = SpeakerEncoder(model, device=device, listening=self.listening)
        result = verify_trials(encoder, self.data)
        cache = self.data.eval_conf.cache
        if cache is not None and current_world().is_main:
            newest = cache_folder(cache, encoder.fingerprint)
            if self._kept not in (None, newest):
                shutil.rmtree(str(self._kept), ignore_errors=True)
            self._kept = newest
        return result


def write_calibration_of(
    result: VerificationResult, folder: Path, *, replace_better: bool = False
) -> bool:
    """Put thresholds and metrics into a model folder, and how much of clips they are of.

    A calibration there that rests on more stays, with a warning, unless ``replace_better``.

    Returns:
        Whether they were written.
    """
    earlier = None if replace_better else calibration_of(read_model_info(folder))
    reason = earlier.advantage_over(result.calibration) if earlier else None
    if reason is not None:
        logger.warning(
            "'%s/model.yml' keeps its calibration: %s. --write_calibration True replaces it.",
            folder,
            reason,
        )
        return False
    update_model_folder(
        folder,
        calibration=result.calibration.to_dict(),
        listening=result.listening.to_dict(),
        metrics=metrics_of(result.calibration),
    )
    return True


def save_curves_of(result: VerificationResult, path: Path, model_name: str) -> None:
    """Draw the error curves into a file, or into a folder under the name of the model."""
    score_type = result.calibration.score_type
    target = path if path.suffix else path / f"{model_name}{score_suffix(score_type)}.png"
    save_error_curves(result.curve, target, title=model_name, score_type=score_type)
    logger.info("Error curves: %s", target)
