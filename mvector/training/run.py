"""One training run: where it stands, and all that it leaves in its folder."""

from __future__ import annotations

import logging
import math
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from tqdm.contrib.logging import logging_redirect_tqdm

from mvector.compute.distributed import any_rank, from_main, gather_objects
from mvector.config import config_to_dict
from mvector.data.dataset import TrainingBatch
from mvector.data.loader import TrainingData
from mvector.embedding.listening import Listening
from mvector.errors import CheckpointError
from mvector.evaluation import Calibration
from mvector.evaluation.run import metrics_of
from mvector.models.folder import save_model_folder
from mvector.training.checkpoint import (
    changes_at_resume,
    newest_checkpoint,
    require_same_batches,
    run_folder_of,
    save_checkpoint,
)
from mvector.training.fitting import why_no_resume
from mvector.training.learner import Learner
from mvector.training.loggers import CURVES, METRICS, MetricLogger, copy_metrics, draw_curves
from mvector.training.run_folder import BEST_MODEL, Claimed, Folder, new_run_id
from mvector.training.run_record import last_recorded, record_run
from mvector.training.stopping import TrainingStopped
from mvector.version import __version__

logger = logging.getLogger(__name__)


def open_run(
    learner: Learner, data: TrainingData, claimed: Claimed, *, log_dir: Folder | None = None
) -> TrainingRun:
    """Begin a run, or go on with one.

    Args:
        learner: what the run changes; takes over what a resumed run had learned.
        data: what it trains on.
        claimed: its folder and where it goes on from, as
            :func:`mvector.training.run_folder.claim_run_folder` gives them.
        log_dir: for VisualDL and TensorBoard; ``None``: that of the run so far, or ``log/``.

    Raises:
        CheckpointError: the run to resume is damaged, or does not fit.
    """
    folder, source = claimed
    run = TrainingRun(learner, data, folder)
    if source is not None:
        run._resume(source)
    if any_rank(from_main(run.step) != run.step):
        raise CheckpointError(
            f"Not all processes find the same checkpoint in '{folder}'; give all hosts the "
            "same --save_model_path on a disk that they share."
        )
    run.run_id = from_main(run.run_id or new_run_id())
    if log_dir is not None:
        run.log_dir = Path(log_dir)
    return run


class TrainingRun:
    """A run of one or several processes, made by :func:`open_run`.

    The first process alone writes. Every process must call the methods that save, in the same
    order. A full disk costs what could not be written, and not the run.

    Attributes:
        folder: holds ``checkpoints``, ``best_model``, ``last_model``, ``metrics.jsonl``, its
            picture, ``config.yml`` and ``environment.json``.
        run_id: the run's identity, in its checkpoints and models.
        log_dir: for VisualDL and TensorBoard, in a folder of the run's own.
        is_resumed: whether the run goes on from a checkpoint.
        epoch, next_batch: epochs done, and batches done in the epoch under way.
        best_eer, epochs_since_best: lowest error rate so far, and evaluations since then.
        skipped: clips that could not be used, with the reason.
    """

    def __init__(self, learner: Learner, data: TrainingData, folder: Path) -> None:
        self._learner, self._data = learner, data
        self._config, self._is_main = learner.config, learner.world.is_main
        self.folder, self.run_id, self.log_dir = folder, "", Path("log")
        self.is_resumed = False
        self.epoch = self.next_batch = 0
        self.best_eer, self.epochs_since_best = math.inf, 0
        self.skipped: dict[str, str] = {}
        self._saved_step = 0
        self._unsaved: dict[str, CheckpointError] = {}  # what could not be written since
        self._origin: Path | None = None  # folder of another run, which goes on here as this one
        self._start_details: dict[str, Any] = {}  # for environment.json

    @property
    def step(self) -> int:
        """Batches done in the whole run."""
        return self.epoch * len(self._data.batches) + self.next_batch

    def where(self) -> str:
        """The batch done last, in words."""
        if self.next_batch == 0:
            return f"epoch {self.epoch}"
        return f"epoch {self.epoch + 1}, batch {self.next_batch}"

    def add_skipped(self, batch: TrainingBatch) -> None:
        """Count the clips of a batch that could not be used, and warn of the first."""
        for clip in batch.skipped:
            if clip.path not in self.skipped and len(self.skipped) < 5:
                logger.warning("Skipped: %s", clip.reason)
            self.skipped[clip.path] = clip.reason

    def add_evaluation(self, measured: Calibration, curves: MetricLogger | None) -> bool:
        """Log an epoch's evaluation; returns whether it is the best so far.

        Of models with the same EER, as on a short list of trials, the one trained longer is taken.
        """
        is_better, is_best = measured.eer < self.best_eer, measured.eer <= self.best_eer
        self.best_eer = min(measured.eer, self.best_eer)
        self.epochs_since_best = 0 if is_better else self.epochs_since_best + 1
        if self._learner.plateau.add_error_rate(measured.eer):
            logger.info("The error rate stays: the learning rate is reduced.")
        logger.info(
            "Evaluation of epoch %d: EER: %.2f %%, minDCF: %.4f, threshold: %.4f%s",
            self.epoch + 1,
            100.0 * measured.eer,
            measured.min_dcf,
            measured.threshold_eer,
            " (best so far)" if is_best else "",
        )
        if curves is not None:
            values = {"eer": measured.eer, "min_dcf": measured.min_dcf}
            values["threshold"] = measured.threshold_eer
            curves.log(self.step, **{f"eval/{name}": value for name, value in values.items()})
        return is_best

    def is_checkpoint_due(self) -> bool:
        """Whether ``train_conf.save_interval`` asks for a checkpoint."""
        interval = self._config.train_conf.save_interval
        return interval is not None and self.step - self._saved_step >= interval

    def save_checkpoint(self) -> None:
        """Write what resuming needs."""
        for skipped in gather_objects(self.skipped):
            self.skipped.update(skipped)
        state = {
            "version": __version__,
            "run_id": self.run_id,
            "config": config_to_dict(self._config),
            "step": self.step,
            "epoch": self.epoch,
            "next_batch": self.next_batch,
            "num_clips": len(self._data.clips),
            "num_batches": len(self._data.batches),
            "best_eer": self.best_eer,
            "epochs_since_best": self.epochs_since_best,
            "skipped": self.skipped,
            **self._learner.state_dict(),  # all processes contribute
        }
        keep_last = self._config.train_conf.keep_last
        self._write("checkpoint", lambda: save_checkpoint(self.folder, state, keep_last=keep_last))
        if from_main("checkpoint" not in self._unsaved):
            self._saved_step = self.step

    def save_model(self, name: str, listening: Listening, measured: Calibration | None) -> None:
        """Write ``best_model`` or ``last_model``, what was measured, and on how much of clips."""
        provenance = {
            "mvector": __version__,
            "torch": str(torch.__version__),
            "run_id": self.run_id,
            "train_list": self._config.dataset_conf.train_list,
            "num_speakers": self._data.num_speakers,
            "num_clips": len(self._data.clips) - len(self.skipped),
            "epochs": self.epoch + 1,
        }
        self._write(
            name,
            lambda: save_model_folder(
                self.folder / name,
                self._learner.model,
                provenance=provenance,
                metrics=metrics_of(measured) if measured else None,
                calibration=measured.to_dict() if measured else None,
                listening=listening.to_dict(),
                training_config=config_to_dict(self._config),
            ),
        )

    def _write(self, what: str, write: Callable[[], object]) -> None:
        if not self._is_main:
            return
        try:
            write()
        except CheckpointError as error:
            self._unsaved[what] = error
            goes_on = "; the run goes on" if self.epoch < self._config.train_conf.max_epoch else ""
            logger.error("%s What was saved before stays%s.", error, goes_on)
        else:
            self._unsaved.pop(what, None)

    def raise_unsaved(self) -> None:
        """Raise the error of what could not be written to the end."""
        for error in self._unsaved.values():
            raise error

    def stopped_by(self, signal_number: int) -> TrainingStopped:
        """What to raise when a signal ends the run here."""
        return TrainingStopped(
            f"{signal.Signals(signal_number).name} stopped the run in epoch {self.epoch + 1} after "
            f"batch {self.next_batch}; continue with --resume_model '{self.folder}'.",
            signal_number,
        )

    @contextmanager
    def recording(self) -> Iterator[MetricLogger | None]:
        """While open, curves and ``environment.json`` are written, by the first process alone."""
        if not self._is_main:
            yield None
            return
        with (
            logging_redirect_tqdm([logging.getLogger("mvector")]),
            record_run(
                self.folder,
                self._config,
                self._learner.device,
                goes_on=self.is_resumed and self._origin is None,
                started={
                    "run_id": self.run_id,
                    "log_dir": str(self.log_dir),
                    **self._start_details,
                },
                ended=lambda: {"step": self.step, "best_eer": self.best_eer},
            ),
            self._open_curves() as curves,
        ):
            yield curves
        draw_curves(self.folder / METRICS, self.folder / CURVES)

    def _open_curves(self) -> MetricLogger:
        if self._origin is not None:
            copy_metrics(self._origin / METRICS, self.folder / METRICS)
        return MetricLogger(
            self.folder / METRICS,
            self.log_dir / f"{self.folder.name}-{self.run_id}",
            resume_step=self.step if self.is_resumed else None,
            tensorboard=self._config.train_conf.tensorboard,
        )

    def _resume(self, path: Path) -> None:
        """Go on behind the last batch that a checkpoint knows.

        In another folder it becomes a run with an identity and a best model of its own.
        """
        file, state = newest_checkpoint(path)
        changes = changes_at_resume(path, state.get("config") or {}, config_to_dict(self._config))
        for line in changes:
            logger.warning("Unlike before the stop: %s", line)
        try:
            self._learner.load_state_dict(state)
            self.best_eer = float(state["best_eer"])
            self.epochs_since_best = int(state["epochs_since_best"])
            self.skipped = dict(state["skipped"])
            self.epoch, self.next_batch = int(state["epoch"]), int(state["next_batch"])
            require_same_batches(path, state, len(self._data.clips), len(self._data.batches))
        except (KeyError, RuntimeError, ValueError) as error:
            num_speakers = self._data.num_speakers
            raise CheckpointError(
                f"The run in '{path}' does not fit this configuration and list "
                f"({why_no_resume(error, state.get('network'), self._learner, num_speakers)}); "
                "restore them, or start a new run with --pretrained_model."
            ) from error
        origin = run_folder_of(file) or file.parent
        if origin.resolve() == self.folder.resolve():
            self.run_id = str(state.get("run_id", ""))  # earlier versions wrote none
            self.log_dir = Path(last_recorded(origin, "log_dir") or self.log_dir)
        else:
            self._origin = origin
            self._start_details["resumed_from"] = {
                "folder": str(origin),
                "run_id": state.get("run_id"),
            }
        if not (self.folder / BEST_MODEL).is_dir():
            self.best_eer, self.epochs_since_best = math.inf, 0
            if self._origin is not None:
                logger.warning(
                    "The best model so far stays in '%s'; that of '%s' is chosen among the epochs "
                    "to come.",
                    origin,
                    self.folder,
                )
        self.is_resumed, self._saved_step = True, self.step
        self._start_details |= {"resumed_at_step": self.step, "changed_settings": changes}
        logger.info("Resumed from '%s' behind %s.", file, self.where())
