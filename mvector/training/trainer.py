"""Training and evaluation of a speaker model, readable from top to bottom."""

from __future__ import annotations

import logging
import math
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import torch
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from mvector.compute.device import choose_device
from mvector.compute.distributed import (
    World,
    any_rank,
    barrier,
    from_main,
    gather_objects,
    open_world,
    peer_errors,
)
from mvector.config import Config, config_to_dict, load_augment_config, load_config, log_config
from mvector.data.dataset import TrainingBatch
from mvector.data.loader import TrainingData
from mvector.embedding.encoder import SpeakerEncoder
from mvector.errors import CheckpointError, ConfigError, DataError, MVectorError
from mvector.evaluation import Calibration
from mvector.evaluation.back_end import BackEnd
from mvector.evaluation.run import VerificationResult, check_lists, verify_lists
from mvector.files import check_writable
from mvector.models.folder import load_model_folder, save_model_folder, update_model_folder
from mvector.models.speaker_model import SpeakerModel
from mvector.training import (
    CURVES,
    METRICS,
    Learner,
    MetricLogger,
    Progress,
    StopRequest,
    TrainingStopped,
    begin_story,
    compare_configuration,
    draw_curves,
    end_story,
    has_checkpoint,
    load_checkpoint,
    save_checkpoint,
    timed,
)
from mvector.training.learning_rate_finder import LearningRateCurve
from mvector.training.memory import keep_freed_memory
from mvector.training.short_runs import DryRun, dry_run, learning_rate_test
from mvector.version import __version__

logger = logging.getLogger(__name__)

ConfigSource: TypeAlias = "str | os.PathLike[str] | Mapping[str, Any] | Config"
Folder: TypeAlias = "str | os.PathLike[str]"
_NO_MEMORY = "can't allocate memory"  # in what torch raises on a CPU


class MVectorTrainer:
    """Trains and evaluates a speaker model; under ``torchrun``, one of its processes does.

    Args:
        configs: a YAML file, its content as a mapping, or a loaded configuration.
        use_gpu: ``True``, ``False``, or ``None`` for a GPU if there is one.
        data_augment_configs: a YAML file or mapping that takes the place of the configuration's
            ``augment_conf``.

    Raises:
        ConfigError: the configuration has mistakes.
        MVectorError: a GPU was asked for and there is none.
    """

    def __init__(
        self,
        configs: ConfigSource,
        use_gpu: bool | None = None,
        data_augment_configs: Folder | Mapping[str, Any] | None = None,
    ) -> None:
        self.config = configs if isinstance(configs, Config) else load_config(configs)
        if data_augment_configs is not None:
            augment = load_augment_config(data_augment_configs)
            self.config = self.config.model_copy(update={"augment_conf": augment})
        self.device = choose_device(use_gpu)
        self.world = World()
        self.best_eer = math.inf
        self.skipped: dict[str, str] = {}  # path -> reason

    # ---- training ---------------------------------------------------------------------------

    def train(
        self,
        save_model_path: Folder = "models/",
        log_dir: Folder = "log/",
        resume_model: Folder | None = None,
        pretrained_model: Folder | None = None,
        do_eval: bool = True,
    ) -> Path:
        """Train, and write ``<save_model_path>/<Model>_<Feature>/{best,last}_model``.

        SIGINT or SIGTERM stops the run after its current step, with all that resuming needs.

        Args:
            save_model_path: folder for model folders.
            log_dir: folder for training curves.
            resume_model: run to continue: its folder, a model folder in it, or ``auto`` for the
                run in ``save_model_path`` if there is one.
            pretrained_model: model folder whose backbone weights to start from.
            do_eval: evaluate after each epoch, if the configuration has trials; the best model is
                the one with the lowest EER. Otherwise it is the last.

        Returns:
            The folder of the best model.

        Raises:
            DataError: the list is missing, malformed or too small.
            CheckpointError: a folder cannot be written, or the run to resume does not fit.
            DistributedError: another process of the run was lost.
            TrainingStopped: a signal stopped the run.
        """
        with self._joined():
            return self._train(
                Path(log_dir), save_model_path, resume_model, pretrained_model, do_eval
            )

    def _train(
        self,
        log_dir: Path,
        save_model_path: Folder,
        resume_model: Folder | None,
        pretrained_model: Folder | None,
        do_eval: bool,
    ) -> Path:
        log_config(self.config)
        self._build()
        self.run_folder = Path(save_model_path) / self.model.name
        try:
            check_writable(self.run_folder)
        except OSError as error:
            raise CheckpointError(
                f"Cannot write models to '{self.run_folder}' ({error.strerror}); "
                "choose another --save_model_path."
            ) from error
        do_eval = do_eval and self.config.dataset_conf.trials_list is not None
        if do_eval:
            self._check_trials()
        elif self.config.optimizer_conf.scheduler == "ReduceLROnPlateau":
            raise ConfigError(
                "optimizer_conf.scheduler ReduceLROnPlateau needs an evaluation after each epoch; "
                "set dataset_conf.trials_list and --do_eval True, or choose another scheduler."
            )
        self._begin(resume_model, pretrained_model)
        max_epoch = self.config.train_conf.max_epoch
        if self.epoch >= max_epoch:
            logger.info("The run has its %d epochs already; raise train_conf.max_epoch.", max_epoch)
        with self._told(log_dir) as curves, StopRequest() as stop:
            while self.epoch < max_epoch and not self._is_stale():
                self._train_epoch(curves, stop)
                self._end_epoch(curves, stop, do_eval=do_eval)
        for unsaved in self.unsaved.values():
            raise unsaved
        if self.skipped:
            logger.warning(
                "%d of %d training clips could not be used and were left out.",
                len(self.skipped),
                len(self.data.clips),
            )
        logger.info("Best model: %s", self.run_folder / "best_model")
        return self.run_folder / "best_model"

    @contextmanager
    def _joined(self) -> Iterator[None]:
        """Be one of the processes of the run; a lost process or full memory is one sentence."""
        data = self.config.dataset_conf
        try:
            with open_world(self.device.type) as self.world, peer_errors():
                yield
        except RuntimeError as error:
            if not isinstance(error, torch.OutOfMemoryError) and _NO_MEMORY not in str(error):
                raise
            raise MVectorError(
                f"The memory does not suffice for batches of {data.dataLoader.batch_size} clips "
                f"of {data.max_duration:g} s; lower dataset_conf.dataLoader.batch_size (with "
                "train_conf.accumulate_batches the steps stay as large) or max_duration.",
                code="out-of-memory",
            ) from error

    def dry_run(self) -> DryRun:
        """Take a few steps without writing anything: does it fit, and how long will it take?

        Raises:
            DataError: the list is missing, malformed or too small.
            MVectorError: it does not fit.
        """
        with self._joined():
            self._build()
            return dry_run(self.learner, self.data, self.config.train_conf.max_epoch)

    def find_learning_rate(
        self, *, min_lr: float = 1e-6, max_lr: float = 1.0, num_steps: int = 100
    ) -> LearningRateCurve:
        """Range test (Smith, 2017): the loss at rates that grow from step to step.

        Args:
            min_lr: first rate.
            max_lr: last rate.
            num_steps: how many rates, at least 20.

        Raises:
            ConfigError: there is no range between the rates, or the loss is never finite.
            DataError: the list is missing, malformed or too small.
        """
        with self._joined():
            self._build()
            return learning_rate_test(
                self.learner, self.data, min_lr=min_lr, max_lr=max_lr, num_steps=num_steps
            )

    def _build(self) -> None:
        """Data, model and learner, as the configuration describes them."""
        conf = self.config.train_conf
        if self.device.type == "cpu":
            keep_freed_memory()
        torch.manual_seed(conf.seed)
        self.data = TrainingData(
            self.config,
            pin_memory=self.device.type == "cuda",
            rank=self.world.rank,
            world_size=self.world.size,
        )
        self.model = SpeakerModel.from_config(self.config).to(self.device)
        self.learner = Learner(
            self.config,
            self.model,
            self.data.num_classes,
            self.device,
            self.world,
            steps_in_epoch=len(self.data.batches) // conf.accumulate_batches,
        )
        self.epoch = self.next_batch = 0  # where the run stands
        self.epochs_since_best = 0
        self.unsaved: dict[str, CheckpointError] = {}  # what could not be written since
        logger.info(
            "Training clips: %d, speakers: %d, batches in an epoch: %d, device: %s%s",
            len(self.data.clips),
            self.data.num_speakers,
            len(self.data.batches),
            self.device,
            f", processes: {self.world.size}" if self.world.size > 1 else "",
        )

    @property
    def step(self) -> int:
        """Batches done in the whole run."""
        return self.epoch * len(self.data.batches) + self.next_batch

    def _begin(self, resume_model: Folder | None, pretrained_model: Folder | None) -> None:
        """Start anew, from a pretrained backbone, or where an earlier run stands."""
        if resume_model == "auto":
            resume_model = self.run_folder if has_checkpoint(self.run_folder) else None
        if resume_model is not None:
            self._resume(resume_model)
            if not (self.run_folder / "best_model").is_dir():  # it goes on in another folder
                self.best_eer, self.epochs_since_best = math.inf, 0
        elif has_checkpoint(self.run_folder):
            raise CheckpointError(
                f"'{self.run_folder}' holds an earlier run: continue it with --resume_model "
                f"'{self.run_folder}', or remove the folder, or choose another --save_model_path."
            )
        elif pretrained_model is not None:
            self.learner.load_pretrained(pretrained_model, len(self.data.clips))
        if any_rank(from_main(self.step) != self.step):
            raise CheckpointError(
                f"Not all processes find the same checkpoint in '{self.run_folder}'; give all "
                "hosts the same --save_model_path on a disk that they share."
            )
        self.saved_step = self.step

    @contextmanager
    def _told(self, log_dir: Path) -> Iterator[MetricLogger | None]:
        """While open, the run's story and curves are written, by the first process alone."""
        if not self.world.is_main:
            yield None
            return
        resume_step = self.step if self.step > 0 else None
        tensorboard = self.config.train_conf.tensorboard
        begin_story(self.run_folder, self.config, self.device, resume_step=resume_step)
        how = "finished"
        with ExitStack() as stack:
            stack.enter_context(logging_redirect_tqdm([logging.getLogger("mvector")]))
            try:
                yield stack.enter_context(
                    MetricLogger(log_dir, resume_step=resume_step, tensorboard=tensorboard)
                )
            except TrainingStopped as stopped:
                how = f"stopped by {signal.Signals(stopped.signal_number).name}"
                raise
            except BaseException as error:
                how = f"failed: {error or type(error).__name__}"
                raise
            finally:
                end_story(self.run_folder, how, step=self.step, best_eer=self.best_eer)
        draw_curves(log_dir / METRICS, self.run_folder / CURVES)

    def _train_epoch(self, curves: MetricLogger | None, stop: StopRequest) -> None:
        """Train from ``next_batch`` to the end of the epoch, saving on the way."""
        conf, num_batches = self.config.train_conf, len(self.data.batches)
        progress = Progress(
            self.epoch, conf.max_epoch, num_batches, self.device, first_batch=self.next_batch
        )
        self.data.batches.set_position(self.epoch, self.next_batch)
        self.learner.begin_epoch(self.epoch)
        if self.next_batch == num_batches:
            return
        bar = tqdm(
            self.data.loader,
            desc=f"Epoch {self.epoch + 1}/{conf.max_epoch}",
            unit="batch",
            initial=self.next_batch,
            total=num_batches,
            leave=False,
            disable=not (self.world.is_main and sys.stderr.isatty()),
        )
        for batch in timed(bar, progress.waited):
            self._note_skipped(batch)
            epoch = self.epoch + self.next_batch / num_batches
            learning_rate = self.learner.set_schedules(epoch, self.step)
            group = self.next_batch - self.next_batch % conf.accumulate_batches
            group_size = min(conf.accumulate_batches, num_batches - group)
            self.next_batch += 1
            is_last = self.next_batch == group + group_size
            self._learn(batch, group_size, is_last, progress)
            if self.next_batch % conf.log_interval == 0 or self.next_batch == num_batches:
                self.learner.count_bad_steps(self._where())
                progress.log(self.next_batch, learning_rate, self.learner.head.margin, curves)
            if is_last and self.next_batch < num_batches:
                self._save_on_the_way(stop)
        if not progress.num_clips:
            raise DataError(
                "No training clip could be used in a whole epoch; the first: "
                f"{next(iter(self.skipped.values()))}"
            )

    def _learn(
        self, batch: TrainingBatch, group_size: int, is_last: bool, progress: Progress
    ) -> None:
        """Take a batch into the step of its group, and do the step if it is the last of it."""
        weight = self.learner.weight_of(len(batch.labels))
        if weight:
            loss, num_correct = self.learner.learn(batch, weight=weight / group_size, last=is_last)
            progress.add(len(batch.labels), loss, num_correct)
        if is_last:
            self.learner.update(self._where())

    def _where(self) -> str:
        return f"epoch {self.epoch + 1}, batch {self.next_batch}"

    def _save_on_the_way(self, stop: StopRequest) -> None:
        interval = self.config.train_conf.save_interval
        stopping = any_rank(bool(stop))
        if stopping or (interval is not None and self.step - self.saved_step >= interval):
            self._save_checkpoint()
        if stopping:
            self._stop(stop)

    def _stop(self, stop: StopRequest, *, together: bool = True) -> NoReturn:
        """Leave; ``together``: when all processes are here, as the first to end stops the rest."""
        number = stop.signal_number or signal.SIGTERM  # another process got it
        if together:
            barrier()
        raise TrainingStopped(
            f"{signal.Signals(number).name} stopped the run in epoch {self.epoch + 1} after batch "
            f"{self.next_batch}; continue with --resume_model '{self.run_folder}'.",
            number,
        ) from self.unsaved.get("checkpoint")

    def _end_epoch(self, curves: MetricLogger | None, stop: StopRequest, *, do_eval: bool) -> None:
        """Evaluate, and save models and checkpoint; the epoch is not lost if evaluation fails."""
        stopping = any_rank(bool(stop))
        if do_eval or stopping:
            self._save_checkpoint()
        if stopping:
            self._stop(stop)
        average = self.learner.average
        with nullcontext() if average is None else average.swapped_in():
            try:
                with stop.at_once(lambda: self._stop(stop, together=False)):
                    result = self._verify() if do_eval else None
            except TrainingStopped:
                raise
            except MVectorError:
                self._save_model("last_model", None)
                raise
            is_best = result is None or self._note_result(result, curves)
            for name in ("last_model", "best_model") if is_best else ("last_model",):
                self._save_model(name, result)
        self.epoch, self.next_batch = self.epoch + 1, 0
        self._save_checkpoint()

    def _is_stale(self) -> bool:
        """Whether the best model is so old that training on is no use."""
        patience = self.config.train_conf.early_stop_epochs
        if patience is None or self.epochs_since_best < patience:
            return False
        logger.info("No better EER in %d epochs: the run ends early.", self.epochs_since_best)
        return True

    def _note_skipped(self, batch: TrainingBatch) -> None:
        for clip in batch.skipped:
            if clip.path not in self.skipped and len(self.skipped) < 5:
                logger.warning("Skipped: %s", clip.reason)
            self.skipped[clip.path] = clip.reason

    # ---- evaluation -------------------------------------------------------------------------

    def evaluate(
        self,
        resume_model: Folder | None = None,
        save_image_path: Folder | None = None,
        *,
        write_calibration: bool = True,
        back_end: BackEnd | None = None,
        with_quality: bool = False,
    ) -> VerificationResult:
        """Measure a trained model on the configuration's trials.

        Args:
            resume_model: model folder; ``None`` is ``models/<Model>_<Feature>/best_model``.
            save_image_path: folder or file for a picture of the error curves.
            write_calibration: put thresholds and metrics into the model folder, if they are those
                of cosines, which all else compares.
            back_end: what to score with; ``None`` is the cosine.
            with_quality: calibrate with speech duration and SNR of the clips too.

        Raises:
            CheckpointError: the model folder is missing or damaged.
            DataError: the lists are missing or malformed.
            EvaluationError: the trials allow no error rate.
        """
        folder = Path(resume_model or f"models/{self.config.model_name}/best_model")
        model, _ = load_model_folder(folder)
        self.model = model.to(self.device)
        result = self._verify(back_end, with_quality=with_quality)
        measured = result.calibration
        logger.info("EER: %.5f, MinDCF: %.5f", measured.eer, measured.min_dcf)
        if write_calibration and measured.score_type == "cosine":
            update_model_folder(
                folder, calibration=measured.to_dict(), metrics=metrics_of(measured)
            )
        if save_image_path is not None:
            from mvector.evaluation import save_error_curves

            target = Path(save_image_path)
            if not target.suffix:
                target = target / f"{model.name}.png"
            save_error_curves(
                result.curve, target, title=model.name, score_type=measured.score_type
            )
            logger.info("Error curves: %s", target)
        return result

    def _check_trials(self) -> None:
        """Refuse trials that cannot be evaluated on before an epoch is spent."""
        data = self.config.dataset_conf
        if data.trials_list is not None:
            check_lists(
                data.trials_list,
                data.enroll_list,
                root=data.data_root,
                skip_missing=data.eval_conf.skip_missing,
            )

    def _verify(
        self, back_end: BackEnd | None = None, *, with_quality: bool = False
    ) -> VerificationResult:
        data = self.config.dataset_conf
        if data.trials_list is None:
            raise DataError(
                "There are no trials to evaluate on; set dataset_conf.trials_list (and "
                "enroll_list) in the configuration."
            )
        return verify_lists(
            SpeakerEncoder(self.model, device=self.device),
            data.trials_list,
            data.enroll_list,
            root=data.data_root,
            batch_size=data.eval_conf.batch_size,
            max_duration_s=data.eval_conf.max_duration,
            enrolment=data.eval_conf.enrolment,
            skip_missing=data.eval_conf.skip_missing,
            cache=data.eval_conf.cache,
            back_end=back_end,
            with_quality=with_quality,
            progress=self.world.is_main and sys.stderr.isatty(),
        )

    # ---- saving and resuming ----------------------------------------------------------------

    def _note_result(self, result: VerificationResult, curves: MetricLogger | None) -> bool:
        """Log an epoch's evaluation; returns whether it is the best so far.

        Of models with the same EER, as on a short list of trials, the one trained longer is taken.
        """
        measured = result.calibration
        is_better, is_best = measured.eer < self.best_eer, measured.eer <= self.best_eer
        self.best_eer = min(measured.eer, self.best_eer)
        self.epochs_since_best = 0 if is_better else self.epochs_since_best + 1
        if self.learner.plateau.note(measured.eer):
            logger.info("The error rate stays: the learning rate is reduced.")
        logger.info(
            "Evaluation of epoch %d: EER: %.5f, MinDCF: %.5f, threshold: %.5f%s",
            self.epoch + 1,
            measured.eer,
            measured.min_dcf,
            measured.threshold_eer,
            " (best so far)" if is_best else "",
        )
        if curves is not None:
            values = {"eer": measured.eer, "min_dcf": measured.min_dcf}
            values["threshold"] = measured.threshold_eer
            curves.log(self.step, **{f"eval/{name}": value for name, value in values.items()})
        return is_best

    def _save_model(self, name: str, result: VerificationResult | None) -> None:
        if not self.world.is_main:
            return
        try:
            save_model_folder(
                self.run_folder / name,
                self.model,
                provenance={
                    "mvector": __version__,
                    "torch": str(torch.__version__),
                    "train_list": self.config.dataset_conf.train_list,
                    "num_speakers": self.data.num_speakers,
                    "num_clips": len(self.data.clips) - len(self.skipped),
                    "epochs": self.epoch + 1,
                },
                metrics=metrics_of(result.calibration) if result else None,
                calibration=result.calibration.to_dict() if result else None,
                training_config=config_to_dict(self.config),
            )
        except CheckpointError as error:
            self._note_unsaved(name, error)
        else:
            self.unsaved.pop(name, None)

    def _save_checkpoint(self) -> None:
        """Write what resuming needs; a full disk does not end the run."""
        state = self._state()  # all processes contribute
        if self.world.is_main:
            try:
                keep_last = self.config.train_conf.keep_last
                save_checkpoint(self.run_folder, state, keep_last=keep_last)
            except CheckpointError as error:
                self._note_unsaved("checkpoint", error)
            else:
                self.unsaved.pop("checkpoint", None)
        if from_main("checkpoint" not in self.unsaved):
            self.saved_step = self.step

    def _note_unsaved(self, name: str, error: CheckpointError) -> None:
        self.unsaved[name] = error
        logger.error("%s What was saved before stays; the run goes on.", error)

    def _state(self) -> dict[str, Any]:
        for skipped in gather_objects(self.skipped):
            self.skipped.update(skipped)
        return {
            "version": __version__,
            "config": config_to_dict(self.config),
            "step": self.step,
            "epoch": self.epoch,
            "next_batch": self.next_batch,
            "num_clips": len(self.data.clips),
            "num_batches": len(self.data.batches),
            "best_eer": self.best_eer,
            "epochs_since_best": self.epochs_since_best,
            "skipped": self.skipped,
            **self.learner.state_dict(),
        }

    def _resume(self, path: Folder) -> None:
        """Continue a run behind the last batch that its checkpoint knows."""
        state = load_checkpoint(path)
        compare_configuration(path, state.get("config") or {}, config_to_dict(self.config))
        try:
            self.learner.load_state_dict(state)
            self.best_eer = float(state["best_eer"])
            self.epochs_since_best = int(state["epochs_since_best"])
            self.skipped = dict(state["skipped"])
            self.epoch, self.next_batch = int(state["epoch"]), int(state["next_batch"])
            saved = (state["num_clips"], state["num_batches"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"The run in '{path}' does not fit this configuration and list: {error}"
            ) from error
        if self.next_batch and saved != (len(self.data.clips), len(self.data.batches)):
            raise CheckpointError(
                f"The run in '{path}' stands at batch {self.next_batch} of {saved[1]} over "
                f"{saved[0]} clips, and this configuration makes {len(self.data.batches)} of "
                f"{len(self.data.clips)}; restore the list, the batch size and the number of "
                "processes, or start a new run with --pretrained_model."
            )
        where = f"epoch {self.epoch + 1}, batch {self.next_batch + 1}"
        logger.info("Resumed from '%s' at %s.", path, where)


def metrics_of(measured: Calibration) -> dict[str, Any]:
    """What the model folder says was measured, beside the calibration."""
    return {
        "eer": measured.eer,
        "min_dcf": measured.min_dcf,
        "accuracy": measured.accuracy,
        "trials": measured.description,
    }
