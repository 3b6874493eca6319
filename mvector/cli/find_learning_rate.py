"""``tools/find_learning_rate.py``: which learning rates work for a configuration."""

from __future__ import annotations

from dataclasses import dataclass

from mvector.cli.common import SettingOptions, parse_count
from mvector.cli.options import Action, Command, option, optional
from mvector.cli.train import DEFAULT_CONFIG

_EPILOG = """\
examples:
  python tools/find_learning_rate.py --configs ecapa_tdnn
  python tools/find_learning_rate.py --set dataset_conf.dataLoader.batch_size=32 --out rates.png

A short training in which the learning rate grows from step to step: the loss first stays, then
falls, then explodes. The rate at which it falls most steeply is a good
optimizer_conf.learning_rate. Nothing of the training is kept.
"""


@dataclass(frozen=True, kw_only=True)
class RangeTest(SettingOptions):
    configs: str = option(DEFAULT_CONFIG, "configuration (default: %(default)s)", "FILE")
    min_lr: float = option(1e-6, "first rate (default: %(default)s)", parse=float)
    max_lr: float = option(1.0, "last rate (default: %(default)s)", parse=float)
    num_steps: int = option(100, "rates tried (default: %(default)s)", parse=parse_count)
    out: str | None = optional("draw the curve into this file, such as rates.png", "FILE")


def run(args: RangeTest) -> int:
    """Test, print and draw."""
    from mvector.config import load_config
    from mvector.training.trainer import MVectorTrainer

    config = load_config(args.configs, args.overrides)
    trainer = MVectorTrainer(config, args.use_gpu)
    curve = trainer.find_learning_rate(
        min_lr=args.min_lr, max_lr=args.max_lr, num_steps=args.num_steps
    )
    print(curve.as_text())
    if args.out:
        curve.save_picture(args.out, title=config.model_name)
    return 0


COMMAND = Command(
    "find_learning_rate.py",
    "Range test: show at which learning rates the loss falls.",
    _EPILOG,
    (Action("a range test", RangeTest, run),),
    stray="configs",
)
