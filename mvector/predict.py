"""The three-line interface: load a model, compare clips, recognise people."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mvector.audio import AudioSource
from mvector.config import Config, load_config
from mvector.device import choose_device
from mvector.errors import CheckpointError, LibraryError, MVectorError
from mvector.evaluation import Calibration
from mvector.files import recover_folder
from mvector.speakers.encoder import SpeakerEncoder
from mvector.speakers.library import SpeakerLibrary

logger = logging.getLogger(__name__)

_MODELS = Path("models")


@dataclass(frozen=True)
class Decision:
    """What a score means.

    Attributes:
        score: cosine similarity in [-1, 1].
        threshold: scores at or above it are the same person.
        threshold_source: where the threshold comes from, in words.
        same: the verdict.
        llr: natural-log likelihood ratio, or ``None`` for a model without calibration.
        inconclusive: the likelihood ratio is less than ten to one either way; ``None`` for a model
            without calibration.
    """

    score: float
    threshold: float
    threshold_source: str
    same: bool
    llr: float | None
    inconclusive: bool | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


class MVectorPredictor:
    """Embeds, compares and recognises with a trained model.

    Args:
        model_path: model folder; ``None`` takes ``models/<Model>_<Feature>/best_model`` of
            ``configs``, or the only model under ``models/``.
        configs: configuration that names the model where ``model_path`` does not. The front end
            always comes from the model folder.
        threshold: takes the place of the model's calibrated one.
        audio_db_path: folder of the speaker library; opened when first needed.
        use_gpu: ``True``, ``False``, or ``None`` for a GPU if there is one.

    Raises:
        CheckpointError: there is no such model, or several to choose from.
    """

    def __init__(
        self,
        model_path: str | os.PathLike[str] | None = None,
        *,
        configs: str | os.PathLike[str] | Mapping[str, Any] | Config | None = None,
        threshold: float | None = None,
        audio_db_path: str | os.PathLike[str] | None = None,
        use_gpu: bool | None = None,
    ) -> None:
        self.model_path = Path(model_path) if model_path else find_model(configs)
        self.encoder = SpeakerEncoder.from_folder(self.model_path, choose_device(use_gpu))
        info = self.encoder.info
        self.calibration = _of_cosines(info.calibration if info else None, self.model_path)
        if threshold is not None and not -1.0 <= threshold <= 1.0:
            raise MVectorError(
                f"The threshold {threshold:g} is not a cosine: it must lie between -1 and 1."
            )
        self._given_threshold = threshold
        self._audio_db_path = audio_db_path
        self._library: SpeakerLibrary | None = None

    def predict(self, audio: AudioSource) -> np.ndarray:
        """Embedding of a clip: float32 of shape ``(embd_dim,)``.

        Raises:
            AudioError: the clip cannot be decoded, is too short or silent.
        """
        return self.encoder.embed(audio)

    def predict_batch(
        self, audios: Sequence[AudioSource], *, batch_size: int = 16, progress: bool = False
    ) -> np.ndarray:
        """Embeddings of clips of any lengths: float32 of shape ``(clips, embd_dim)``.

        Raises:
            AudioError: a clip cannot be used; the message names the first one.
        """
        return self.encoder.embed_batch(audios, batch_size=batch_size, progress=progress)

    def contrast(self, audio1: AudioSource, audio2: AudioSource) -> float:
        """Cosine similarity of two clips' embeddings, in [-1, 1].

        Raises:
            AudioError: a clip cannot be used.
        """
        first, second = self.predict(audio1), self.predict(audio2)
        cosine = float(first @ second / (np.linalg.norm(first) * np.linalg.norm(second)))
        return max(-1.0, min(1.0, cosine))

    @property
    def threshold(self) -> float:
        """Scores at or above it are the same person.

        Raises:
            MVectorError: none was given and the model has no calibration.
        """
        if self._given_threshold is not None:
            return self._given_threshold
        if self.calibration is None:
            raise MVectorError(
                f"The model '{self.model_path}' has no calibrated threshold: measure one with "
                f"eval.py --model_path '{self.model_path}', or give --threshold."
            )
        return self.calibration.threshold_eer

    @property
    def threshold_source(self) -> str:
        """Where the threshold comes from, in words."""
        if self._given_threshold is not None or self.calibration is None:
            return "given by the caller"
        return f"equal error rate on {self.calibration.description}"

    def decide(self, score: float) -> Decision:
        """Turn a cosine into a verdict.

        Raises:
            MVectorError: there is no threshold.
        """
        same, source = score >= self.threshold, self.threshold_source
        if self.calibration is None:
            return Decision(score, self.threshold, source, same, None)
        llr, inconclusive = self.calibration.llr(score), self.calibration.is_inconclusive(score)
        return Decision(score, self.threshold, source, same, llr, inconclusive)

    # ---- the speaker library ----------------------------------------------------------------

    @property
    def library(self) -> SpeakerLibrary:
        """The speaker library, opened on first use.

        Raises:
            LibraryError: no folder was given.
        """
        if self._library is None:
            if self._audio_db_path is None:
                raise LibraryError("There is no speaker library: give audio_db_path.")
            self._library = SpeakerLibrary(self._audio_db_path, self.encoder)
        return self._library

    def register(self, audio: AudioSource, user_name: str) -> Path:
        """Enrol a clip of a person; returns the stored clip.

        Raises:
            AudioError: the clip cannot be used.
            LibraryError: the name or the library cannot be used.
        """
        return self.library.register(user_name, audio)

    def recognition(self, audio: AudioSource) -> tuple[str | None, float]:
        """Who is speaking: the name, ``None`` for nobody enrolled, and the best score.

        Raises:
            AudioError: the clip cannot be used.
            LibraryError: nobody is enrolled.
            MVectorError: there is no threshold.
        """
        threshold = self.threshold
        best = self.library.identify(audio)[0]
        return (best.name if best.score >= threshold else None), best.score

    def get_users(self) -> list[str]:
        """Who is enrolled, in alphabetical order."""
        return self.library.names()

    def remove_user(self, user_name: str) -> int:
        """Forget a person, voiceprints and clips; returns the number of clips removed.

        Raises:
            LibraryError: there is nobody of that name.
        """
        return self.library.remove(user_name)


def _of_cosines(measured: Mapping[str, Any] | None, path: Path) -> Calibration | None:
    """A model's calibration, if it is one of the scores that are compared with it here."""
    if not measured:
        return None
    calibration = Calibration.from_dict(measured)
    if calibration.score_type == "cosine":
        return calibration
    logger.warning(
        "The thresholds in '%s' are those of %s scores and are not used for cosines; measure them "
        "with eval.py.",
        path,
        calibration.score_type,
    )
    return None


def find_model(
    configs: str | os.PathLike[str] | Mapping[str, Any] | Config | None = None,
) -> Path:
    """The model folder that a configuration's training run wrote, or the only one there is.

    Raises:
        CheckpointError: there is none, or several to choose from.
    """
    if configs is not None:
        config = configs if isinstance(configs, Config) else load_config(configs)
        return _MODELS / config.model_name / "best_model"
    for cut_off in _MODELS.glob("*/best_model.old"):
        recover_folder(cut_off.with_name("best_model"))
    found = sorted(path.parent for path in _MODELS.glob("*/best_model/model.yml"))
    if len(found) == 1:
        return found[0]
    if found:
        choices = ", ".join(f"'{path}'" for path in found)
        raise CheckpointError(f"There are several models; choose one by --model_path: {choices}.")
    raise CheckpointError(
        f"There is no trained model under '{_MODELS}/'; train one with train.py, or give "
        "--model_path."
    )
