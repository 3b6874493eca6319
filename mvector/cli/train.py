"""``train.py``: a configuration and a list of clips become a model."""

from __future__ import annotations

import argparse
import sys

from mvector.cli.common import add_config_options, log_arguments, parse_bool, parse_count

DEFAULT_CONFIG = "configs/ecapa_tdnn.yml"

_EPILOG = """\
examples:
  python train.py --configs configs/ecapa_tdnn.yml
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


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="train.py",
        description="Train a speaker model from one YAML file and a list of clips.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_config_options(parser, default=f"{DEFAULT_CONFIG}, or that of the run resumed")
    add = parser.add_argument
    add(
        "--augment_conf_path",
        metavar="FILE",
        help="augmentation, such as configs/augmentation.yml; takes the place of augment_conf",
    )
    add(
        "--save_model_path",
        metavar="DIR",
        help="where models are written (default: models/, or the folder of the run resumed)",
    )
    add(
        "--log_dir",
        metavar="DIR",
        help="where curves for VisualDL and TensorBoard are written (default: log/)",
    )
    add(
        "--resume_model",
        metavar="DIR",
        help="run to continue where it stopped; auto: the one in save_model_path, if there is one",
    )
    add("--pretrained_model", metavar="DIR", help="model folder to take backbone weights from")
    add(
        "--do_eval",
        type=parse_bool,
        default=True,
        metavar="True|False",
        help="evaluate after each epoch (default True)",
    )
    add("--seed", type=parse_count, metavar="NUMBER", help="the same as --set train_conf.seed=…")
    add(
        "--dry_run",
        action="store_true",
        help="take a few steps, write nothing, tell memory, speed and the time that a run takes",
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Train."""
    from mvector.config import load_config
    from mvector.training import TrainingStopped, load_checkpoint
    from mvector.training.trainer import MVectorTrainer

    if args.configs is None and args.resume_model in (None, "auto"):
        args.configs = DEFAULT_CONFIG
    log_arguments(args)
    if args.seed is not None:
        args.overrides.append(f"train_conf.seed={args.seed}")
    config = load_config(
        args.configs or load_checkpoint(args.resume_model)["config"], args.overrides
    )
    trainer = MVectorTrainer(config, args.use_gpu, args.augment_conf_path)
    if args.dry_run:
        found = trainer.dry_run()
        if trainer.world.is_main:
            print(found)
        return 0
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
