"""Training and evaluation of a speaker model, readable from top to bottom."""

from __future__ import annotations

import logging
import math
import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import nn
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from mvector.config import Config, config_to_dict, load_augment_config, load_config, log_config
from mvector.data.augmentation import mask_features
from mvector.data.dataset import TrainingBatch
from mvector.data.loader import TrainingData
from mvector.device import choose_device
from mvector.errors import CheckpointError, DataError, MVectorError
from mvector.files import check_writable
from mvector.losses import SpeakerClassifier, build_loss, scheduled_margin
from mvector.models.folder import load_model_folder, save_model_folder, update_model_folder
from mvector.models.speaker_model import SpeakerModel
from mvector.speakers.encoder import SpeakerEncoder
from mvector.training import (
    CHECKPOINT,
    FIXED_IN_A_RUN,
    MetricLogger,
    Progress,
    build_optimizer,
    changed_settings,
    learning_rate_at,
    load_checkpoint,
    log_summary,
    save_checkpoint,
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

        Args:
            save_model_path: folder for model folders.
            log_dir: folder for training curves.
            resume_model: run to continue: its folder, or a model folder in it.
            pretrained_model: model folder whose backbone weights to start from.
            do_eval: evaluate after each epoch, if the configuration has trials; the best model is
                the one with the lowest EER. Otherwise it is the last.

        Returns:
            The folder of the best model.

        Raises:
            DataError: the list is missing, malformed or too small.
            CheckpointError: a folder cannot be written, or the run to resume does not fit.
        """
        log_config(self.config)
        self._build()
        run_folder = Path(save_model_path) / self.model.name
        try:
            check_writable(run_folder)
        except OSError as error:
            raise CheckpointError(
                f"Cannot write models to '{run_folder}' ({error.strerror}); "
                "choose another --save_model_path."
            ) from error
        do_eval = do_eval and self.config.dataset_conf.trials_list is not None
        if do_eval:
            self._check_trials()
        first_epoch = 0
        if resume_model is not None:
            first_epoch = self._resume(resume_model)
            if not (run_folder / "best_model").is_dir():  # a run that goes on in another folder
                self.best_eer = math.inf
        elif (run_folder / CHECKPOINT).exists():
            raise CheckpointError(
                f"'{run_folder}' holds an earlier run: continue it with --resume_model "
                f"'{run_folder}', or remove the folder, or choose another --save_model_path."
            )
        if pretrained_model is not None and resume_model is None:
            self._load_pretrained(pretrained_model)
        max_epoch = self.config.train_conf.max_epoch
        with ExitStack() as stack:
            curves = stack.enter_context(MetricLogger(log_dir, append=first_epoch > 0))
            stack.enter_context(logging_redirect_tqdm([logging.getLogger("mvector")]))
            for epoch in range(first_epoch, max_epoch):
                self._train_epoch(epoch, curves)
                try:
                    result = self._verify() if do_eval else None
                except MVectorError:  # the epoch is not lost, and the best model stays
                    self._save_epoch(run_folder, epoch, None, is_best=False)
                    raise
                is_best = result is None or self._note_result(epoch, result, curves)
                self._save_epoch(run_folder, epoch, result, is_best=is_best)
        if first_epoch >= max_epoch:
            logger.info("The run has its %d epochs already; raise train_conf.max_epoch.", max_epoch)
        if self.skipped:
            logger.warning(
                "%d of %d training clips could not be used and were left out.",
                len(self.skipped),
                len(self.data.clips),
            )
        logger.info("Best model: %s", run_folder / "best_model")
        return run_folder / "best_model"

    def _build(self) -> None:
        """Data, model, classifier, loss and optimizer, as the configuration describes them."""
        torch.manual_seed(self.config.train_conf.seed)
        self.data = TrainingData(self.config, pin_memory=self.device.type == "cuda")
        self.model = SpeakerModel.from_config(self.config).to(self.device)
        self.loss = build_loss(self.config.loss_conf).to(self.device)
        self.classifier = self._build_classifier().to(self.device)
        self.network = nn.Sequential(self.model.backbone, self.classifier)
        self.optimizer = build_optimizer(
            [*self.network.parameters(), *self.loss.parameters()], self.config.optimizer_conf
        )
        log_summary(self.network, self.model.featurizer.feature_dim)
        logger.info(
            "Training clips: %d, speakers: %d, batches in an epoch: %d, device: %s",
            len(self.data.clips),
            self.data.num_speakers,
            len(self.data.batches),
            self.device,
        )

    def _build_classifier(self) -> nn.Module:
        if self.loss.needs_embeddings:
            return nn.Identity()
        conf = self.config.model_conf.classifier
        return SpeakerClassifier(
            self.model.embd_dim,
            self.data.num_classes * self.loss.num_centers,
            classifier_type=self.config.classifier_type,
            num_blocks=conf.num_blocks,
            inter_dim=conf.inter_dim,
        )

    def _train_epoch(self, epoch: int, curves: MetricLogger) -> None:
        conf, num_batches = self.config.train_conf, len(self.data.batches)
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=conf.enable_amp)
        progress = Progress(epoch, conf.max_epoch, num_batches, self.device)
        self.data.batches.set_position(epoch)
        self.network.train()
        bar = tqdm(
            self.data.loader,
            desc=f"Epoch {epoch + 1}/{conf.max_epoch}",
            unit="batch",
            leave=False,
            disable=not sys.stderr.isatty(),
        )
        for number, batch in enumerate(bar, start=1):
            self._note_skipped(batch)
            learning_rate = self._set_schedules(epoch + (number - 1) / num_batches)
            if len(batch.labels) >= 2:  # batch normalisation cannot work on a single clip
                with autocast:
                    loss, num_right = self._forward(batch)
                self.optimizer.zero_grad(set_to_none=True)
                loss.backward()
                self.optimizer.step()
                progress.add(len(batch.labels), loss, num_right)
            if number % conf.log_interval == 0 or number == num_batches:
                margin = float(getattr(self.loss, "margin", 0.0))
                progress.log(number, learning_rate, margin, curves)
        if not progress.num_clips:
            raise DataError(
                "No training clip could be used in a whole epoch; the first: "
                f"{next(iter(self.skipped.values()))}"
            )

    def _forward(self, batch: TrainingBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean loss of a batch, and how many of its clips are classified correctly."""
        inputs = batch.inputs.to(self.device, non_blocking=True)
        labels = batch.labels.to(self.device, non_blocking=True)
        if inputs.dim() == 3:  # cached features
            features = self.model.featurizer.normalise(inputs)
        else:
            features, _ = self.model.features(inputs)
        spec_aug = self.config.augment_conf.spec_aug
        if spec_aug.prob > 0:
            features = mask_features(features, batch.mask_draws, spec_aug)
        outputs = self.network(features)
        return self.loss(outputs, labels), self.loss.count_correct(outputs, labels)

    def _set_schedules(self, epoch: float) -> float:
        """Set learning rate and margin for a point of the run; both follow from it alone."""
        max_epoch = self.config.train_conf.max_epoch
        learning_rate = learning_rate_at(epoch, self.config.optimizer_conf, max_epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        if self.config.loss_conf.use_margin_scheduler:
            args = self.config.loss_conf.margin_scheduler_args.model_dump()
            self.loss.set_margin(scheduled_margin(epoch, max_epoch=max_epoch, **args))
        return learning_rate

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

    def _note_result(self, epoch: int, result: VerificationResult, curves: MetricLogger) -> bool:
        """Log an epoch's evaluation; returns whether it is the best so far."""
        measured = result.calibration
        is_best = measured.eer < self.best_eer
        self.best_eer = min(measured.eer, self.best_eer)
        logger.info(
            "Evaluation of epoch %d: EER: %.5f, MinDCF: %.5f, threshold: %.5f%s",
            epoch + 1,
            measured.eer,
            measured.min_dcf,
            measured.threshold_eer,
            " (best so far)" if is_best else "",
        )
        step = (epoch + 1) * len(self.data.batches)
        curves.log(step, **{"eval/eer": measured.eer, "eval/min_dcf": measured.min_dcf})
        return is_best

    def _save_epoch(
        self, run_folder: Path, epoch: int, result: VerificationResult | None, *, is_best: bool
    ) -> None:
        for name in ("last_model", "best_model") if is_best else ("last_model",):
            save_model_folder(
                run_folder / name,
                self.model,
                provenance={
                    "mvector": __version__,
                    "torch": str(torch.__version__),
                    "train_list": self.config.dataset_conf.train_list,
                    "num_speakers": self.data.num_speakers,
                    "num_clips": len(self.data.clips) - len(self.skipped),
                    "epochs": epoch + 1,
                },
                metrics=_metrics(result) if result else None,
                calibration=result.calibration.to_dict() if result else None,
                training_config=config_to_dict(self.config),
            )
        save_checkpoint(run_folder, self._state(epoch + 1))

    def _state(self, num_epochs: int) -> dict[str, Any]:
        return {
            "version": __version__,
            "config": config_to_dict(self.config),
            "epoch": num_epochs,
            "best_eer": self.best_eer,
            "backbone": self.model.backbone.state_dict(),
            "classifier": self.classifier.state_dict(),
            "loss": self.loss.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "torch_rng": torch.get_rng_state(),
        }

    def _resume(self, path: Folder) -> int:
        """Continue a run after its last finished epoch; returns the first epoch still to do."""
        state = load_checkpoint(path)
        self._compare_configuration(path, state.get("config") or {})
        try:
            self.model.backbone.load_state_dict(state["backbone"])
            self.classifier.load_state_dict(state["classifier"])
            self.loss.load_state_dict(state["loss"])
            self.optimizer.load_state_dict(state["optimizer"])
            torch.set_rng_state(state["torch_rng"])
            self.best_eer = float(state["best_eer"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"The run in '{path}' does not fit this configuration and list: {error}"
            ) from error
        logger.info("Resumed from '%s' after epoch %d.", path, state["epoch"])
        return int(state["epoch"])

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
