"""``tools/find_learning_rate.py``: which learning rates work for a configuration."""

from __future__ import annotations

import argparse

from mvector.cli.common import add_config_options, parse_count

_EPILOG = """\
examples:
  python tools/find_learning_rate.py --configs configs/ecapa_tdnn.yml
  python tools/find_learning_rate.py --set dataset_conf.dataLoader.batch_size=32 --out rates.png

A short training in which the learning rate grows from step to step: the loss first stays, then
falls, then explodes. The rate at which it falls most steeply is a good
optimizer_conf.learning_rate. Nothing of the training is kept.
"""


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="find_learning_rate.py",
        description="Range test: show at which learning rates the loss falls.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_config_options(parser, default="configs/ecapa_tdnn.yml")
    add = parser.add_argument
    add("--min_lr", type=float, default=1e-6, help="first rate (default: %(default)g)")
    add("--max_lr", type=float, default=1.0, help="last rate (default: %(default)g)")
    add("--num_steps", type=parse_count, default=100, help="rates tried (default: %(default)s)")
    add("--out", metavar="FILE", help="draw the curve into this file, such as rates.png")
    return parser


def run(args: argparse.Namespace) -> int:
    """Test, print and draw."""
    from mvector.config import load_config
    from mvector.training.trainer import MVectorTrainer

    config = load_config(args.configs or "configs/ecapa_tdnn.yml", args.overrides)
    trainer = MVectorTrainer(config, args.use_gpu)
    curve = trainer.find_learning_rate(
        min_lr=args.min_lr, max_lr=args.max_lr, num_steps=args.num_steps
    )
    print(curve.as_text())
    if args.out:
        curve.save_picture(args.out, title=config.model_name)
    return 0
