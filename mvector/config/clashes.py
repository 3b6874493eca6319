"""Settings that contradict each other, each pair with the sentence that says so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mvector.config.options import LOSS_ARGS, WarmupCosineArgs

if TYPE_CHECKING:
    from mvector.config.schema import Config


def clashes(config: Config) -> Iterator[str]:
    """A sentence for each contradiction."""
    yield from _of_lengths(config)
    yield from _of_batches(config)
    yield from _of_classifier(config)
    yield from _of_teacher(config)
    yield from _of_epochs(config)
    yield from _of_folders(config)


def _of_lengths(config: Config) -> Iterator[str]:
    data = config.dataset_conf
    eval_max_s = data.eval_conf.max_duration
    for least, least_s, most, most_s in (
        ("min_duration", data.min_duration, "max_duration", data.max_duration),
        ("min_duration", data.min_duration, "eval_conf.max_duration", eval_max_s),
        ("min_crop_duration", data.min_crop_duration, "max_duration", data.max_duration),
    ):
        if least_s is not None and most_s is not None and least_s > most_s:
            yield f"dataset_conf: {least} {least_s:g} s is longer than {most} {most_s:g} s"
    if data.min_crop_duration is not None and data.batch_sampler == "duration":
        yield (
            "dataset_conf: min_crop_duration does not go with batch_sampler 'duration', whose "
            "crops are as long as its clips"
        )


def _of_batches(config: Config) -> Iterator[str]:
    data, loss = config.dataset_conf, config.loss_conf.use_loss
    if data.batch_sampler == "speakers" and data.dataLoader.batch_size % data.sample_per_id:
        yield (
            "dataset_conf: batch_sampler 'speakers' does not go with batch_size "
            f"{data.dataLoader.batch_size}, which is not a multiple of sample_per_id "
            f"{data.sample_per_id}"
        )
    if not LOSS_ARGS[loss].needs_embeddings:
        return
    if data.batch_sampler != "speakers":
        yield (
            f"{loss} compares clips of one speaker in a batch; set "
            "dataset_conf.batch_sampler to speakers"
        )
    if config.augment_conf.speed.speed_perturb_3_class:
        yield (
            f"{loss} does not go with augment_conf.speed.speed_perturb_3_class True, which "
            "splits a speaker's clips; set it to False"
        )


def _of_classifier(config: Config) -> Iterator[str]:
    given, loss = config.model_conf.classifier.classifier_type, config.loss_conf.use_loss
    wanted = LOSS_ARGS[loss].classifier_type
    if given == "Linear" and wanted == "Cosine" and not LOSS_ARGS[loss].needs_embeddings:
        yield (
            f"model_conf.classifier.classifier_type Linear does not go with {loss}, which "
            "needs cosines; set it to Cosine"
        )
    if given == "Cosine" and wanted == "Linear":
        yield (
            f"model_conf.classifier.classifier_type Cosine does not go with {loss}, which has "
            "no scale: its softmax could never get sharp; set it to Linear"
        )
    if config.train_conf.classifier_from_means:
        for key, is_set in (
            ("model_conf.classifier.num_blocks above 0", config.model_conf.classifier.num_blocks),
            ("train_conf.classifier_sharding True", config.train_conf.classifier_sharding),
        ):
            if is_set:
                yield (
                    f"train_conf.classifier_from_means True does not go with {key}; set one of "
                    "them to its default"
                )
    if config.train_conf.classifier_sharding and config.dataset_conf.domains is not None:
        yield (
            "train_conf.classifier_sharding True does not go with dataset_conf.domains, whose "
            "softmax is small already; set one of them to its default"
        )
    if config.train_conf.classifier_sharding and config.model_conf.classifier.num_blocks:
        yield (
            "train_conf.classifier_sharding True does not go with "
            "model_conf.classifier.num_blocks above 0; set one of them to its default"
        )


def _of_teacher(config: Config) -> Iterator[str]:
    if config.loss_conf.teacher is None:
        return
    if config.augment_conf.speed.speed_perturb_3_class:
        yield (
            "loss_conf.teacher does not go with augment_conf.speed.speed_perturb_3_class True, "
            "whose faster and slower voices are people that the teacher has not heard; set it to "
            "False"
        )
    if config.train_conf.classifier_sharding:
        yield (
            "loss_conf.teacher does not go with train_conf.classifier_sharding True, whose loss is "
            "of all processes and not of each; set it to False"
        )
    if config.loss_conf.label_weight == 0 and config.train_conf.freeze_backbone_epochs:
        yield (
            "loss_conf.label_weight 0 does not go with train_conf.freeze_backbone_epochs "
            f"{config.train_conf.freeze_backbone_epochs}, in which nothing would learn; set it to 0"
        )


def _of_epochs(config: Config) -> Iterator[str]:
    conf, schedule = config.train_conf, config.optimizer_conf.scheduler_args
    if isinstance(schedule, WarmupCosineArgs) and schedule.warmup_epoch > conf.max_epoch:
        yield (
            f"optimizer_conf.scheduler_args.warmup_epoch {schedule.warmup_epoch:g} is longer than "
            f"the run of train_conf.max_epoch {conf.max_epoch}; lower it"
        )
    if conf.freeze_backbone_epochs > conf.max_epoch:
        yield (
            f"train_conf.freeze_backbone_epochs {conf.freeze_backbone_epochs} is longer than the "
            f"run of train_conf.max_epoch {conf.max_epoch}; lower it"
        )
    if config.loss_conf.use_margin_scheduler:
        margins = config.loss_conf.margin_scheduler_args
        if margins.initial_margin > margins.final_margin:
            yield (
                f"loss_conf.margin_scheduler_args: initial_margin {margins.initial_margin:g} is "
                f"above final_margin {margins.final_margin:g}, and the margin grows; lower it"
            )
        start, end = margins.epochs(conf.max_epoch)
        if not start < end <= conf.max_epoch:
            yield (
                "loss_conf.margin_scheduler_args: the margin would grow from epoch "
                f"{start:g} (increase_start_epoch, by default 30 % of max_epoch) to {end:g} "
                f"(fix_epoch, by default 70 %) of {conf.max_epoch}; give epochs that follow each "
                "other within the run"
            )


def _of_folders(config: Config) -> Iterator[str]:
    augment = config.augment_conf
    if augment.copies.prob > 0 and not augment.copies.folders:
        yield (
            f"augment_conf.copies.prob {augment.copies.prob:g} has nothing to take; give folders "
            "or set prob to 0"
        )
    for name, prob, folder in (
        ("noise", augment.noise.prob, augment.noise.noise_dir),
        ("babble", augment.babble.prob, augment.babble.babble_dir),
        ("reverb", augment.reverb.prob, augment.reverb.reverb_dir or augment.reverb.simulate),
    ):
        if prob > 0 and not folder:
            or_rooms = ", simulate: True" if name == "reverb" else ""
            yield (
                f"augment_conf.{name}.prob {prob:g} has nothing to take; give {name}_dir{or_rooms} "
                "or set prob to 0"
            )
