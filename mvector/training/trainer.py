"""Training and evaluation of a speaker model, readable from top to bottom."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NoReturn

from mvector.compute.device import choose_device
from mvector.compute.distributed import World, any_rank, barrier, lost_process_errors, open_world
from mvector.config import Config, load_config, log_config, with_augmentation
from mvector.data.dataset import TrainingBatch
from mvector.embedding.encoder import SpeakerEncoder
from mvector.embedding.listening import Listening
from mvector.errors import ConfigError, DataError, MVectorError, count_of
from mvector.evaluation.back_end import BackEnd
from mvector.evaluation.run import VerificationResult
from mvector.models.folder import load_model_folder
from mvector.models.named import is_default_model, model_folder
from mvector.training.building import build_learner, require_learning
from mvector.training.learning_rate_finder import LearningRateCurve
from mvector.training.loggers import MetricLogger
from mvector.training.memory import out_of_memory_errors
from mvector.training.model_evaluation import (
    EpochEvaluation,
    check_epoch_evaluation,
    save_curves_of,
    trials_listening,
    verify_trials,
    write_calibration_of,
)
from mvector.training.pretrained import load_pretrained
from mvector.training.progress import Progress
from mvector.training.run import open_run
from mvector.training.run_folder import (
    AUTO,
    BEST_MODEL,
    LAST_MODEL,
    Folder,
    claim_run_folder,
    require_paths,
    run_to_resume,
)
from mvector.training.short_runs import DryRun, dry_run, learning_rate_test
from mvector.training.stopping import StopRequest, TrainingStopped

logger = logging.getLogger(__name__)


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
        configs: Folder | Mapping[str, Any] | Config,
        use_gpu: bool | None = None,
        data_augment_configs: Folder | Mapping[str, Any] | None = None,
    ) -> None:
        self.config = configs if isinstance(configs, Config) else load_config(configs)
        if data_augment_configs is not None:
            self.config = with_augmentation(self.config, data_augment_configs)
        self.device = choose_device(use_gpu)
        self.listening = Listening().with_duration(self.config.dataset_conf.eval_conf.max_duration)
        self._evaluate_epoch = EpochEvaluation(self.listening, self.config.dataset_conf)
        self.world = World()

    def train(
        self,
        save_model_path: Folder | None = None,
        log_dir: Folder | None = None,
        resume_model: Folder | None = None,
        pretrained_model: Folder | None = None,
        do_eval: bool = True,
    ) -> Path:
        """Train, and write ``<save_model_path>/<Model>_<Feature>/{best,last}_model``.

        SIGINT or SIGTERM stops the run after its current step, with all that resuming needs.

        Args:
            save_model_path: folder for model folders; ``None``: ``models/``, or the folder of the
                run to resume.
            log_dir: folder for curves of VisualDL and TensorBoard; ``None``: ``log/``, or that of
                the run to resume.
            resume_model: run to continue: its folder, a model folder in it, or ``auto`` for the
                run in ``save_model_path`` if there is one. Where ``save_model_path`` is another
                folder, it must hold no run, and the run goes on there.
            pretrained_model: model folder whose backbone weights a new run starts from.
            do_eval: evaluate after each epoch, if the configuration has trials; the best model is
                the one with the lowest EER. Otherwise it is the last.

        Returns:
            The folder of the best model.

        Raises:
            ConfigError: arguments or settings contradict each other.
            DataError: the list is missing, malformed or too small.
            CheckpointError: a folder cannot be written, is in use or holds another run, or the run
                to resume does not fit.
            DistributedError: another process of the run was lost.
            TrainingStopped: a signal stopped the run.
        """
        require_paths(save_model_path=save_model_path, log_dir=log_dir, resume_model=resume_model)
        require_paths(pretrained_model=pretrained_model)
        if pretrained_model is not None and resume_model not in (None, AUTO):
            raise ConfigError(
                "A run that is resumed has weights of its own; give either --resume_model or "
                "--pretrained_model."
            )
        with ExitStack() as lock, self._processes_joined():
            claimed = claim_run_folder(
                lock, self.world, self.config.model_name, save_model_path, resume_model
            )
            do_eval = check_epoch_evaluation(self.config, do_eval)
            require_learning(self.config, is_random=pretrained_model is None and not claimed[1])
            log_config(self.config)
            self._build()
            self.run = open_run(self.learner, self.data, claimed, log_dir=log_dir)
            if pretrained_model is not None and not self.run.is_resumed:
                load_pretrained(self.learner, pretrained_model, self.data)
            return self._train(do_eval)

    def _train(self, do_eval: bool) -> Path:
        run, max_epoch = self.run, self.config.train_conf.max_epoch
        if run.epoch >= max_epoch:
            done = count_of(run.epoch, "epoch")
            logger.info("The run has %s already; raise train_conf.max_epoch.", done)
        with run.recording() as curves, StopRequest() as stop:
            while run.epoch < max_epoch and not self._is_stale():
                self._train_epoch(curves, stop)
                self._end_epoch(curves, stop, do_eval=do_eval)
        run.raise_unsaved()
        if run.skipped:
            logger.warning(
                "%d of %d training clips could not be used and were left out.",
                len(run.skipped),
                len(self.data.clips),
            )
        logger.info("Best model: %s", run.folder / BEST_MODEL)
        return run.folder / BEST_MODEL

    @contextmanager
    def _processes_joined(self) -> Iterator[None]:
        """Be one of the processes of the run; a lost process or full memory is one sentence."""
        data, device = self.config.dataset_conf, self.device.type
        with out_of_memory_errors(data), open_world(device) as self.world, lost_process_errors():
            yield

    def _build(self) -> None:
        self.learner, self.data = build_learner(self.config, self.device, self.world)
        self.model = self.learner.model

    def dry_run(
        self,
        resume_model: Folder | None = None,
        pretrained_model: Folder | None = None,
        *,
        save_model_path: Folder | None = None,
        do_eval: bool = True,
    ) -> DryRun:
        """Take a few steps of what :meth:`train` with these arguments does, and write nothing.

        Does it fit, and how long will it take?

        Raises:
            CheckpointError, DataError, MVectorError: weights, list or memory do not fit.
        """
        require_paths(save_model_path=save_model_path, resume_model=resume_model)
        require_paths(pretrained_model=pretrained_model)
        source = run_to_resume(self.config.model_name, save_model_path, resume_model)
        with self._processes_joined():
            check_epoch_evaluation(self.config, do_eval)
            require_learning(self.config, is_random=pretrained_model is None and source is None)
            self._build()
            return dry_run(self.learner, self.data, source, pretrained_model)

    def find_learning_rate(
        self, *, min_lr: float = 1e-6, max_lr: float = 1.0, num_steps: int = 100
    ) -> LearningRateCurve:
        """Range test (Smith, 2017): the loss at 20 rates or more, from the first to the last.

        Raises:
            ConfigError: there is no range between the rates, or the loss is never finite.
            DataError: the list is missing, malformed or too small.
        """
        with self._processes_joined():
            self._build()
            return learning_rate_test(
                self.learner, self.data, min_lr=min_lr, max_lr=max_lr, num_steps=num_steps
            )

    def _train_epoch(self, curves: MetricLogger | None, stop: StopRequest) -> None:
        """Train to the end of the epoch, with checkpoints between steps where they are due."""
        run, conf, num_batches = self.run, self.config.train_conf, len(self.data.batches)
        progress = Progress(
            run.epoch,
            conf.max_epoch,
            num_batches,
            self.device,
            first_batch=run.next_batch,
            loss_parts=self.learner.loss_parts,
        )
        self.data.batches.set_position(run.epoch, run.next_batch)
        self.learner.begin_epoch(run.epoch)
        if run.next_batch == num_batches:
            return
        for batch in progress.batches(self.data.loader, show_bar=self.world.is_main):
            run.add_skipped(batch)
            epoch = run.epoch + run.next_batch / num_batches
            learning_rate = self.learner.set_schedules(epoch, run.step)
            run.next_batch += 1
            is_last = run.next_batch % conf.accumulate_batches == 0 or run.next_batch == num_batches
            self._learn(batch, is_last, progress)
            if run.next_batch % conf.log_interval == 0 or run.next_batch == num_batches:
                self.learner.count_bad_steps(run.where())
                progress.log(run.next_batch, learning_rate, self.learner.head.loss.margin, curves)
            if is_last and run.next_batch < num_batches:
                self._save_or_stop(stop, is_due=run.is_checkpoint_due())
        if not progress.num_clips:
            raise DataError(
                "No training clip could be used in a whole epoch; the first: "
                f"{next(iter(run.skipped.values()))}"
            )

    def _learn(self, batch: TrainingBatch, is_last: bool, progress: Progress) -> None:
        """Take a batch into the step of its group; the last one makes the step."""
        weight = self.learner.batch_weight(len(batch.labels))
        if weight is not None:
            result = self.learner.learn(batch, weight=weight, last=is_last)
            progress.add(len(batch.labels), result)
        if is_last:
            self.learner.update(self.run.where())

    def _save_or_stop(self, stop: StopRequest, *, is_due: bool) -> None:
        """Save if a checkpoint is due, or if any process was asked to stop, which then all do."""
        stopping = any_rank(bool(stop))
        if stopping or is_due:
            self.run.save_checkpoint()
        if stopping:
            self._stop(stop)

    def _stop(self, stop: StopRequest, *, together: bool = True) -> NoReturn:
        """Leave; ``together``: when all processes are here, as the first to end stops the rest."""
        if together:
            barrier()
        raise self.run.stopped_by(stop.signal_number or signal.SIGTERM)  # another process got it

    def _end_epoch(self, curves: MetricLogger | None, stop: StopRequest, *, do_eval: bool) -> None:
        """Evaluate, and save models and checkpoint; the epoch is not lost if evaluation fails."""
        run, average = self.run, self.learner.average
        self._save_or_stop(stop, is_due=do_eval)
        with nullcontext() if average is None else average.swapped_in():
            try:
                with stop.stopping_at_once(lambda: self._stop(stop, together=False)):
                    result = self._evaluate_epoch(self.model, self.device) if do_eval else None
            except TrainingStopped:
                raise
            except MVectorError:
                run.save_model(LAST_MODEL, self.listening, None)
                raise
            measured = result.calibration if result else None
            is_best = measured is None or run.add_evaluation(measured, curves)
            for name in (LAST_MODEL, BEST_MODEL) if is_best else (LAST_MODEL,):
                run.save_model(name, self.listening, measured)
        run.epoch, run.next_batch = run.epoch + 1, 0
        run.save_checkpoint()

    def _is_stale(self) -> bool:
        """Whether the best model is so old that training on is no use."""
        patience = self.config.train_conf.early_stop_epochs
        if patience is None or self.run.epochs_since_best < patience:
            return False
        stale = count_of(self.run.epochs_since_best, "epoch")
        logger.info("No better EER in %s: the run ends early.", stale)
        return True

    def evaluate(
        self,
        resume_model: Folder | None = None,
        save_image_path: Folder | None = None,
        *,
        write_calibration: bool = True,
        back_end: BackEnd | None = None,
        with_quality: bool = False,
        speakers: str | None = None,
    ) -> VerificationResult:
        """Measure a trained model on the configuration's trials.

        Args:
            resume_model: model folder; ``None`` is ``models/<Model>_<Feature>/best_model``.
            save_image_path: folder or file for a picture of the error curves.
            write_calibration: put thresholds and metrics into the model folder, if they are those
                of cosines, which all else compares, those there do not rest on more, and it is not
                the model in the box.
            back_end: what to score with; ``None`` is the cosine.
            with_quality: calibrate with speech duration and SNR of the clips too.
            speakers: file that says whose each clip of listed pairs is.

        Raises:
            CheckpointError: the model folder is missing or damaged.
            DataError: the lists are missing or malformed.
            EvaluationError: the trials allow no error rate.
        """
        require_paths(resume_model=resume_model, save_image_path=save_image_path)
        folder = model_folder(resume_model or f"models/{self.config.model_name}/best_model")
        model, info = load_model_folder(folder)
        self.model = model.to(self.device)
        data = self.config.dataset_conf
        listening = trials_listening(info, data)
        encoder = SpeakerEncoder(self.model, device=self.device, listening=listening)
        result = verify_trials(
            encoder, data, back_end=back_end, with_quality=with_quality, speakers=speakers
        )
        is_cosine = result.calibration.score_type == "cosine"
        if write_calibration and is_cosine and not is_default_model(folder):
            write_calibration_of(result, folder)
        if save_image_path is not None:
            save_curves_of(result, Path(save_image_path), model.name)
        return result
