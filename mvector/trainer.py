"""Training and evaluation of a speaker model, readable from top to bottom."""

from __future__ import annotations

import logging
import math
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any, NoReturn, TypeAlias, cast

import torch
from torch import nn
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from mvector.config import Config, config_to_dict, load_augment_config, load_config, log_config
from mvector.data.augmentation import mask_features
from mvector.data.dataset import TrainingBatch
from mvector.data.loader import TrainingData
from mvector.device import choose_autocast_dtype, choose_device
from mvector.errors import CheckpointError, ConfigError, DataError, MVectorError
from mvector.files import check_writable
from mvector.losses import SpeakerClassifier, build_loss, scheduled_margin
from mvector.losses.base import SpeakerLoss
from mvector.models.folder import load_model_folder, save_model_folder, update_model_folder
from mvector.models.speaker_model import SpeakerModel
from mvector.speakers.encoder import SpeakerEncoder
from mvector.training import (
    CURVES,
    FIXED_IN_A_RUN,
    METRICS,
    ClassifierHead,
    ExponentialAverage,
    MetricLogger,
    NanGuard,
    Plateau,
    Progress,
    StopRequest,
    TrainingNetwork,
    TrainingStopped,
    TrainStep,
    begin_story,
    build_optimizer,
    changed_settings,
    draw_curves,
    end_story,
    has_checkpoint,
    learning_rate_at,
    load_checkpoint,
    load_optimizer_state,
    log_summary,
    save_checkpoint,
    set_learning_rate,
    timed,
)
from mvector.verification import VerificationResult, check_lists, verify_lists
from mvector.version import __version__

logger = logging.getLogger(__name__)

ConfigSource: TypeAlias = "str | os.PathLike[str] | Mapping[str, Any] | Config"
Folder: TypeAlias = "str | os.PathLike[str]"


class MVectorTrainer:
    """Trains and evaluates a speaker model.

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
            TrainingStopped: a signal stopped the run.
        """
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
        with ExitStack() as stack:
            resume_step = self.step if self.step > 0 else None
            curves = stack.enter_context(
                MetricLogger(
                    log_dir,
                    resume_step=resume_step,
                    tensorboard=self.config.train_conf.tensorboard,
                )
            )
            begin_story(self.run_folder, self.config, self.device, resume_step=resume_step)
            stack.enter_context(logging_redirect_tqdm([logging.getLogger("mvector")]))
            stop = stack.enter_context(StopRequest())
            while self.epoch < max_epoch and not self._is_stale():
                self._train_epoch(curves, stop)
                self._end_epoch(curves, stop, do_eval=do_eval)
        draw_curves(Path(log_dir) / METRICS, self.run_folder / CURVES)
        end_story(self.run_folder, "finished", step=self.step, best_eer=self.best_eer)
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

    def _build(self) -> None:
        """Data, model, head and optimizer, as the configuration describes them."""
        conf = self.config.train_conf
        torch.manual_seed(conf.seed)
        self.data = TrainingData(self.config, pin_memory=self.device.type == "cuda")
        self.model = SpeakerModel.from_config(self.config).to(self.device)
        loss = build_loss(self.config.loss_conf)
        self.head = ClassifierHead(self._build_classifier(loss), loss).to(self.device)
        self.network = TrainingNetwork(self.model.backbone, self.head)
        self.optimizer = build_optimizer(
            self.model.backbone.parameters(), self.head.parameters(), self.config.optimizer_conf
        )
        self.plateau = Plateau(self.config.optimizer_conf)
        self.average = (
            None
            if conf.ema_decay is None
            else ExponentialAverage(self.model.backbone, conf.ema_decay)
        )
        half_epoch = len(self.data.batches) // conf.accumulate_batches // 2
        self.nan_guard = NanGuard(min(conf.max_bad_steps, max(half_epoch, 2)))
        self.train_step = TrainStep(
            cast("nn.Module", torch.compile(self.network)) if conf.use_compile else self.network,
            self.optimizer,
            device=self.device,
            autocast_dtype=choose_autocast_dtype(self.device, conf.enable_amp, conf.amp_dtype),
            max_grad_norm=conf.max_grad_norm,
        )
        layers = nn.Sequential(self.model.backbone, self.head.classifier)
        log_summary(layers, self.model.featurizer.feature_dim)
        self.epoch = self.next_batch = 0  # where the run stands
        self.epochs_since_best = self.steps_unasked = 0
        self.unsaved: dict[str, CheckpointError] = {}  # what could not be written since
        logger.info(
            "Training clips: %d, speakers: %d, batches in an epoch: %d, device: %s",
            len(self.data.clips),
            self.data.num_speakers,
            len(self.data.batches),
            self.device,
        )

    def _build_classifier(self, loss: SpeakerLoss) -> nn.Module:
        if loss.needs_embeddings:
            return nn.Identity()
        conf = self.config.model_conf.classifier
        return SpeakerClassifier(
            self.model.embd_dim,
            self.data.num_classes * loss.num_centers,
            classifier_type=self.config.classifier_type,
            num_blocks=conf.num_blocks,
            inter_dim=conf.inter_dim,
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
            self._load_pretrained(pretrained_model)
        self.saved_step = self.step

    def _train_epoch(self, curves: MetricLogger, stop: StopRequest) -> None:
        """Train from ``next_batch`` to the end of the epoch, saving on the way."""
        conf, num_batches = self.config.train_conf, len(self.data.batches)
        progress = Progress(
            self.epoch, conf.max_epoch, num_batches, self.device, first_batch=self.next_batch
        )
        self.data.batches.set_position(self.epoch, self.next_batch)
        self.network.freeze_backbone(self.epoch < conf.freeze_backbone_epochs)
        self.network.train()
        if self.next_batch == num_batches:
            return
        bar = tqdm(
            self.data.loader,
            desc=f"Epoch {self.epoch + 1}/{conf.max_epoch}",
            unit="batch",
            initial=self.next_batch,
            total=num_batches,
            leave=False,
            disable=not sys.stderr.isatty(),
        )
        for batch in timed(bar, progress.waited):
            self._note_skipped(batch)
            learning_rate = self._set_schedules(self.epoch + self.next_batch / num_batches)
            group = self.next_batch - self.next_batch % conf.accumulate_batches
            group_size = min(conf.accumulate_batches, num_batches - group)
            self.next_batch += 1
            is_last = self.next_batch == group + group_size
            if len(batch.labels) >= 2:  # batch normalisation cannot work on a single clip
                features, labels = self._inputs(batch)
                loss, num_correct = self.train_step.accumulate(
                    features, labels, share=1.0 / group_size, last=is_last
                )
                progress.add(len(labels), loss, num_correct)
            if is_last:
                self._update()
            if self.next_batch % conf.log_interval == 0 or self.next_batch == num_batches:
                self._check_unasked()
                progress.log(self.next_batch, learning_rate, self.head.margin, curves)
            if is_last and self.next_batch < num_batches:
                self._save_on_the_way(stop)
        if not progress.num_clips:
            raise DataError(
                "No training clip could be used in a whole epoch; the first: "
                f"{next(iter(self.skipped.values()))}"
            )

    def _inputs(self, batch: TrainingBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Features, masked where so configured, and labels of a batch, on the device."""
        inputs = batch.inputs.to(self.device, non_blocking=True)
        labels = batch.labels.to(self.device, non_blocking=True)
        if inputs.dim() == 3:  # cached features
            features = self.model.featurizer.normalise(inputs)
        else:
            features, _ = self.model.features(inputs)
        spec_aug = self.config.augment_conf.spec_aug
        if spec_aug.prob > 0:
            features = mask_features(features, batch.mask_draws, spec_aug)
        return features, labels

    def _set_schedules(self, epoch: float) -> float:
        """Set learning rate and margin for a point of the run; both follow from it alone."""
        max_epoch = self.config.train_conf.max_epoch
        learning_rate = learning_rate_at(
            epoch, self.config.optimizer_conf, max_epoch, self.plateau.num_reductions
        )
        set_learning_rate(self.optimizer, learning_rate)
        if self.config.loss_conf.use_margin_scheduler:
            args = self.config.loss_conf.margin_scheduler_args.model_dump()
            self.head.set_margin(scheduled_margin(epoch, max_epoch=max_epoch, **args))
        return learning_rate

    def _update(self) -> None:
        """The optimizer's step; one with bad gradients is left out, and too many end the run."""
        was_finite = self.train_step.update()
        if was_finite is None:
            self.steps_unasked += 1
        else:
            self.nan_guard.check(was_finite, self._where())
        if self.average is not None and was_finite is not False:
            self.average.update()

    def _check_unasked(self) -> None:
        """Count the bad steps that were left out on a GPU, where each was not asked about."""
        if self.steps_unasked:
            num_bad = int(self.train_step.num_bad) - self.nan_guard.num_total
            self.nan_guard.check_many(num_bad, self.steps_unasked, self._where())
            self.steps_unasked = 0

    def _where(self) -> str:
        return f"epoch {self.epoch + 1}, batch {self.next_batch}"

    def _save_on_the_way(self, stop: StopRequest) -> None:
        interval = self.config.train_conf.save_interval
        if stop or (interval is not None and self.step - self.saved_step >= interval):
            self._save_checkpoint()
        if stop:
            self._stop(stop)

    def _stop(self, stop: StopRequest) -> NoReturn:
        name = signal.Signals(stop.signal_number).name
        end_story(self.run_folder, f"stopped by {name}", step=self.step)
        raise TrainingStopped(
            f"{name} stopped the run in epoch {self.epoch + 1} after batch {self.next_batch}; "
            f"continue with --resume_model '{self.run_folder}'.",
            stop.signal_number,
        ) from self.unsaved.get("checkpoint")

    def _end_epoch(self, curves: MetricLogger, stop: StopRequest, *, do_eval: bool) -> None:
        """Evaluate, and save models and checkpoint; the epoch is not lost if evaluation fails."""
        if do_eval or stop:
            self._save_checkpoint()
        if stop:
            self._stop(stop)
        with nullcontext() if self.average is None else self.average.swapped_in():
            try:
                with stop.at_once(lambda: self._stop(stop)):
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
    ) -> VerificationResult:
        """Measure a trained model on the configuration's trials.

        Args:
            resume_model: model folder; ``None`` is ``models/<Model>_<Feature>/best_model``.
            save_image_path: folder or file for a picture of the error curves.
            write_calibration: put thresholds and metrics into the model folder.

        Raises:
            CheckpointError: the model folder is missing or damaged.
            DataError: the lists are missing or malformed.
            EvaluationError: the trials allow no error rate.
        """
        folder = Path(resume_model or f"models/{self.config.model_name}/best_model")
        model, _ = load_model_folder(folder)
        self.model = model.to(self.device)
        result = self._verify()
        measured = result.calibration
        logger.info("EER: %.5f, MinDCF: %.5f", measured.eer, measured.min_dcf)
        if write_calibration:
            update_model_folder(
                folder, calibration=result.calibration.to_dict(), metrics=_metrics(result)
            )
        if save_image_path is not None:
            from mvector.evaluation import save_error_curves

            target = Path(save_image_path)
            if not target.suffix:
                target = target / f"{model.name}.png"
            save_error_curves(result.scores, result.labels, target, title=model.name)
            logger.info("Error curves: %s", target)
        return result

    def _check_trials(self) -> None:
        """Refuse trials that cannot be evaluated on before an epoch is spent."""
        data = self.config.dataset_conf
        if data.trials_list is not None:
            check_lists(data.trials_list, data.enroll_list, root=data.data_root)

    def _verify(self) -> VerificationResult:
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
            progress=sys.stderr.isatty(),
        )

    # ---- saving and resuming ----------------------------------------------------------------

    def _note_result(self, result: VerificationResult, curves: MetricLogger) -> bool:
        """Log an epoch's evaluation; returns whether it is the best so far.

        Of models with the same EER, as on a short list of trials, the one trained longer is taken.
        """
        measured = result.calibration
        is_better, is_best = measured.eer < self.best_eer, measured.eer <= self.best_eer
        self.best_eer = min(measured.eer, self.best_eer)
        self.epochs_since_best = 0 if is_better else self.epochs_since_best + 1
        if self.plateau.note(measured.eer):
            logger.info("The error rate stays: the learning rate is reduced.")
        logger.info(
            "Evaluation of epoch %d: EER: %.5f, MinDCF: %.5f, threshold: %.5f%s",
            self.epoch + 1,
            measured.eer,
            measured.min_dcf,
            measured.threshold_eer,
            " (best so far)" if is_best else "",
        )
        values = {"eer": measured.eer, "min_dcf": measured.min_dcf}
        values["threshold"] = measured.threshold_eer
        curves.log(self.step, **{f"eval/{name}": value for name, value in values.items()})
        return is_best

    def _save_model(self, name: str, result: VerificationResult | None) -> None:
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
                metrics=_metrics(result) if result else None,
                calibration=result.calibration.to_dict() if result else None,
                training_config=config_to_dict(self.config),
            )
        except CheckpointError as error:
            self._note_unsaved(name, error)
        else:
            self.unsaved.pop(name, None)

    def _save_checkpoint(self) -> None:
        """Write what resuming needs; a full disk does not end the run."""
        try:
            keep_last = self.config.train_conf.keep_last
            save_checkpoint(self.run_folder, self._state(), keep_last=keep_last)
        except CheckpointError as error:
            self._note_unsaved("checkpoint", error)
        else:
            self.unsaved.pop("checkpoint", None)
            self.saved_step = self.step

    def _note_unsaved(self, name: str, error: CheckpointError) -> None:
        self.unsaved[name] = error
        logger.error("%s What was saved before stays; the run goes on.", error)

    def _state(self) -> dict[str, Any]:
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
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "train_step": self.train_step.state_dict(),
            "plateau": self.plateau.state_dict(),
            "nan_guard": self.nan_guard.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "torch_rng": torch.get_rng_state(),
        }

    def _resume(self, path: Folder) -> None:
        """Continue a run behind the last batch that its checkpoint knows."""
        state = load_checkpoint(path)
        self._compare_configuration(path, state.get("config") or {})
        try:
            self.network.load_state_dict(state["network"])
            load_optimizer_state(self.optimizer, state["optimizer"])
            self.train_step.load_state_dict(state["train_step"])
            self.plateau.load_state_dict(state["plateau"])
            self.nan_guard.load_state_dict(state["nan_guard"])
            if self.average is not None and state["average"] is not None:
                self.average.load_state_dict(state["average"])
            torch.set_rng_state(state["torch_rng"])
            self.best_eer = float(state["best_eer"])
            self.epochs_since_best = int(state["epochs_since_best"])
            self.skipped = dict(state["skipped"])
            self.epoch, self.next_batch = int(state["epoch"]), int(state["next_batch"])
            same_batches = (state["num_clips"], state["num_batches"]) == (
                len(self.data.clips),
                len(self.data.batches),
            )
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"The run in '{path}' does not fit this configuration and list: {error}"
            ) from error
        if self.next_batch and not same_batches:
            raise CheckpointError(
                f"The run in '{path}' stands at batch {self.next_batch} of {state['num_batches']} "
                f"over {state['num_clips']} clips, and this configuration makes "
                f"{len(self.data.batches)} of {len(self.data.clips)}; restore the list and the "
                "batch size, or start a new run with --pretrained_model."
            )
        where = f"epoch {self.epoch + 1}, batch {self.next_batch + 1}"
        logger.info("Resumed from '%s' at %s.", path, where)

    def _compare_configuration(self, path: Folder, saved: dict[str, Any]) -> None:
        """Refuse to continue another model or another course of random numbers; tell the rest."""
        differing = changed_settings(saved, config_to_dict(self.config))
        fixed = [line for line in differing if line.startswith(FIXED_IN_A_RUN)]
        if fixed:
            raise CheckpointError(
                f"The run in '{path}' cannot be continued with another configuration: "
                f"{'; '.join(fixed)}; give its own --configs, or start a new run."
            )
        for line in differing:
            logger.warning("Unlike before the stop: %s", line)

    def _load_pretrained(self, path: Folder) -> None:
        """Start from another model's backbone; the classifier starts anew."""
        pretrained, _ = load_model_folder(Path(path))
        try:
            self.model.backbone.load_state_dict(pretrained.backbone.state_dict())
        except RuntimeError as error:
            raise CheckpointError(
                f"The model in '{path}' does not fit model_conf.backbone: {error}"
            ) from error
        if pretrained.front_end != self.model.front_end:
            logger.warning("The model in '%s' was trained with another front end.", path)
        logger.info("Backbone weights taken from '%s'.", path)


def _metrics(result: VerificationResult) -> dict[str, Any]:
    measured = result.calibration
    return {
        "eer": measured.eer,
        "min_dcf": measured.min_dcf,
        "accuracy": measured.accuracy,
        "trials": measured.description,
    }
