"""Which model is used where none is named, and whether its thresholds hold."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mvector.embedding.listening import Listening
from mvector.errors import CheckpointError
from mvector.evaluation.calibration import Calibration
from mvector.files import recover_folder
from mvector.models.description import ModelInfo
from mvector.models.named import BOX, DEFAULT_MODEL, is_default_model, model_name
from mvector.recognition.adaptation import adapted_calibration_of

if TYPE_CHECKING:
    from mvector.config import Config

logger = logging.getLogger(__name__)

_MODELS = Path("models")


@dataclass(frozen=True)
class ModelChoice:
    """The model to use where none is named.

    Attributes:
        folder: the model.
        why: it is this one, in few words, and how to take another; empty where a configuration
            names it, and for the one in the box, which is used where there is no other.
    """

    folder: Path
    why: str = ""


def find_model(
    configs: str | os.PathLike[str] | Mapping[str, Any] | Config | None = None,
    *,
    library: str | os.PathLike[str] | None = None,
) -> Path:
    """The folder of :func:`choose_model`; which one, is logged where no configuration names it."""
    choice = choose_model(configs, library=library)
    if choice.why:
        logger.info("The model '%s' is used: %s.", model_name(choice.folder), choice.why)
    elif configs is None:
        logger.info("The model in the box is used: docs/model_card.md says what it is good for.")
    return choice.folder


def choose_model(
    configs: str | os.PathLike[str] | Mapping[str, Any] | Config | None = None,
    *,
    library: str | os.PathLike[str] | None = None,
) -> ModelChoice:
    """The model to use where none is named, and why.

    It is that of a configuration's training run; or else the one that the people of a library were
    enrolled with; the only one trained here; the one in the box.

    Raises:
        CheckpointError: several were trained here.
        LibraryError: the library's model is not to be found, or its path can be none.
    """
    if configs is not None:
        from mvector.config import Config, load_config

        config = configs if isinstance(configs, Config) else load_config(configs)
        return ModelChoice(_MODELS / config.model_name / "best_model")
    for cut_off in _MODELS.glob("*/best_model.old"):
        recover_folder(cut_off.with_name("best_model"))
    if library is not None:
        from mvector.speakers.model_memory import model_of_library

        others = (path.parent for path in sorted(_MODELS.glob("*/*/model.yml")))
        folder = model_of_library(library, others)
        if folder is not None:
            why = "the people were enrolled with it; --reembed takes another"
            return ModelChoice(folder, "" if is_default_model(folder) else why)
    trained = sorted(path.parent for path in _MODELS.glob("*/best_model/model.yml"))
    if len(trained) > 1:
        choices = ", ".join(f"'{path}'" for path in trained)
        raise CheckpointError(
            f"There are several models; choose one by --model_path: {choices}, or '{BOX}' for the "
            "one in the box.",
            code="model-ambiguous",
        )
    if trained:
        why = f"trained here; --model_path {BOX} takes the one in the box"
        return ModelChoice(trained[0], why)
    return ModelChoice(DEFAULT_MODEL)


def check_thresholds_changeable(path: str | os.PathLike[str]) -> None:
    """Refuse to change the thresholds of the model in the box, which others rely on.

    Raises:
        CheckpointError: the folder is that model's.
    """
    if is_default_model(path):
        raise CheckpointError(
            "The model in the box keeps its thresholds: tools/calibrate.py adapts it to clips of "
            "your people, and with --out DIR makes a copy, which --model_path then names."
        )


def usable_calibration(
    info: ModelInfo, listening: Listening, path: Path, *, adapted: bool = True
) -> Calibration | None:
    """A model's calibration, if it is one of cosines and of clips heard as ``listening`` says.

    For the model in the box, that which was adapted to the user's people takes its place, unless
    ``adapted`` is false.

    Raises:
        CheckpointError: the calibration is damaged.
    """
    if not info.calibration:
        return None
    calibration = adapted_calibration_of(info) if adapted else None
    calibration = calibration or Calibration.from_dict(info.calibration)
    measured_with = Listening.from_dict(info.listening)
    if calibration.score_type != "cosine":
        why = f"are those of {calibration.score_type} scores and are not used for cosines"
    elif listening != measured_with:
        why = f"were measured hearing {measured_with}, and are not used hearing {listening}"
    else:
        return calibration
    logger.warning(
        "The thresholds in '%s' %s; measure them with eval.py or tools/calibrate.py.", path, why
    )
    return None
