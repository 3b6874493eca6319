"""``train.py``: a configuration and a list of clips become a model."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mvector.cli.common import (
    SettingOptions,
    bool_option,
    config_option,
    parse_count,
)
from mvector.cli.options import Action, Command, Condition, optional, required

if TYPE_CHECKING:
    from mvector.training.trainer import MVectorTrainer

DEFAULT_CONFIG = "ecapa_tdnn"

_EPILOG = """\
examples:
  python train.py --configs ecapa_tdnn
  python train.py --set train_conf.max_epoch=10 --set dataset_conf.dataLoader.batch_size=32
  python train.py --dry_run                   does it fit, and how long will it take?
  python train.py --resume_model models/EcapaTdnn_Fbank
  torchrun --standalone --nproc_per_node=2 train.py        on two GPUs, or in two processes
  visualdl --logdir log --language en         training curves in the browser

It needs the lists that create_data.py makes, and writes
  models/<Model>_<Feature>/best_model/      lowest EER on the trials; for eval.py and infer_*.py
  models/<Model>_<Feature>/last_model/      after the last epoch
  models/<Model>_<Feature>/checkpoints/     for --resume_model: after each epoch, every
                                            train_conf.save_interval batches, and when stopped
  models/<Model>_<Feature>/metrics.jsonl    training curves, and curves.png
  log/<Model>_<Feature>-<run id>/           the curves for VisualDL

Ctrl-C or SIGTERM: the run finishes its step, saves and stops; a second one stops it at once.
"""


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(SettingOptions):
    configs: str | None = config_option(f"{DEFAULT_CONFIG}, or that of the run resumed")
    augment_conf_path: str | None = optional(
        "augmentation, a file or augmentation, which comes along; takes the place of augment_conf",
        "FILE",
    )
    resume_model: str | None = optional(
        "run to continue where it stopped; auto: the one in save_model_path, if there is one", "DIR"
    )
    pretrained_model: str | None = optional("model folder to take backbone weights from", "DIR")
    seed: int | None = optional("the same as --set train_conf.seed=…", "NUMBER", parse_count)
    save_model_path: str | None = optional(
        "where models are written (default: models/, or the folder of the run resumed)", "DIR"
    )
    log_dir: str | None = optional(
        "where curves for VisualDL and TensorBoard are written (default: log/)", "DIR"
    )
    do_eval: bool = bool_option(True, "evaluate after each epoch (default True)")

    def conditions(self) -> tuple[Condition, ...]:
        augments, seeds = self.sets("augment_conf"), self.sets("train_conf.seed")
        begins = self.resume_model in (None, "auto")
        resumed = "with --resume_model: the run that goes on has its own weights"
        return (
            *super().conditions(),
            ("augment_conf_path", not augments, "with --set augment_conf, whose place it takes"),
            ("seed", not seeds, "with --set train_conf.seed, which is the same"),
            ("pretrained_model", begins, resumed),
        )


@dataclass(frozen=True, kw_only=True)
class DryRun(TrainingOptions):
    """Takes whatever a training takes: it is put before the training's own options."""

    dry_run: bool = required(
        "take a few steps, write nothing, tell memory, speed and the time that a run takes",
        action="store_true",
    )


def _make_trainer(args: TrainingOptions) -> MVectorTrainer:
    from mvector.config import load_config
    from mvector.training.checkpoint import load_checkpoint
    from mvector.training.trainer import MVectorTrainer

    if args.configs is None and args.resume_model in (None, "auto"):
        args = replace(args, configs=DEFAULT_CONFIG)
    seed = [] if args.seed is None else [f"train_conf.seed={args.seed}"]
    config = load_config(
        args.configs or load_checkpoint(str(args.resume_model))["config"], [*args.overrides, *seed]
    )
    return MVectorTrainer(config, args.use_gpu, args.augment_conf_path)


def _dry_run(args: DryRun) -> int:
    trainer = _make_trainer(args)
    found = trainer.dry_run(
        args.resume_model,
        args.pretrained_model,
        save_model_path=args.save_model_path,
        do_eval=args.do_eval,
    )
    if trainer.world.is_main:
        print(found)
    return 0


def _train(args: TrainingOptions) -> int:
    from mvector.training.stopping import TrainingStopped

    trainer = _make_trainer(args)
    try:
        trainer.train(
            save_model_path=args.save_model_path,
            log_dir=args.log_dir,
            resume_model=args.resume_model,
            pretrained_model=args.pretrained_model,
            do_eval=args.do_eval,
        )
    except TrainingStopped as stopped:
        print(stopped, file=sys.stderr)
        return 128 + stopped.signal_number
    return 0


COMMAND = Command(
    "train.py",
    "Train a speaker model from one YAML file and a list of clips.",
    _EPILOG,
    (Action("--dry_run", DryRun, _dry_run), Action("a training", TrainingOptions, _train)),
    shows_progress=True,
    stray="configs",
)
