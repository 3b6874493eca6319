"""Whether training in bfloat16 costs accuracy: real speech, the same trainings in both precisions.

  python benchmarks/half_precision.py --data DIR

DIR is laid out as for ``real_speech.py``. A small EcapaTdnn is trained with several seeds, each in
float32 and with ``enable_amp`` in bfloat16, on the same list, and measured on the same trials. What
two seeds of one precision differ by is the noise that a difference of the precisions is held to.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from common import pack_corpus, print_machine, timed_training
from real_speech import configure

from mvector.embedding import SpeakerEncoder
from mvector.evaluation.run import verify_lists

PRECISIONS = {"float32": "False", "bfloat16": "True"}  # and train_conf.enable_amp
NO_AUGMENTATION = [
    f"augment_conf.{name}.prob=0" for name in ("speed", "volume", "noise", "reverb", "spec_aug")
]


def main() -> None:
    """Train, measure, print a table and what the precisions differ by."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", required=True, type=Path, help="folder of the corpora and lists")
    add("--seeds", nargs="+", type=int, default=[1, 2, 3], help="(default: 1 2 3)")
    add("--channels", type=int, default=64, help="of EcapaTdnn (default: %(default)s)")
    add(
        "--every",
        metavar="N",
        type=int,
        default=3,
        help="take each n-th clip (default: %(default)s)",
    )
    add("--epochs", type=int, default=4, help="(default: %(default)s)")
    add("--num_workers", type=int, default=0, help="(default: %(default)s)")
    add("--out", type=Path, default=Path("models/half_precision"), help="(default: %(default)s)")
    args = parser.parse_args()
    print_machine()
    corpus = pack(args.data, args.every, args.out)
    lists = sorted((args.data / "lists").glob("dev_*.trials"))
    print(f"{args.channels} channels, {args.epochs} epochs\n")
    print(
        f"| seed | precision | {' | '.join(path.stem[4:] for path in lists)} | mean EER / minDCF |"
    )
    print("|---" * (len(lists) + 3) + "|", flush=True)
    means: dict[str, list[float]] = {name: [] for name in PRECISIONS}
    for seed in args.seeds:
        for name in PRECISIONS:
            folder = train(args, corpus, name, seed)
            encoder = SpeakerEncoder.from_folder(folder, "cpu", engine="torch")
            rates = np.array([rates_of(encoder, path, args.data) for path in lists])
            means[name].append(float(rates[:, 0].mean()))
            cells = [f"{100 * eer:.2f} %" for eer in rates[:, 0]]
            mean = f"**{100 * means[name][-1]:.2f} %** / {rates[:, 1].mean():.3f}"
            print(f"| {seed} | {name} | {' | '.join(cells)} | {mean} |", flush=True)
    for name, values in means.items():
        spread = 100 * float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
        print(f"{name}: mean EER {100 * np.mean(values):.2f} %, deviation of seeds {spread:.2f}")


def pack(data: Path, every: int, out: Path) -> Path:
    """A packed corpus of each so many-th clip of the training list."""
    out.mkdir(parents=True, exist_ok=True)
    lines = (data / "lists/train.txt").read_text(encoding="utf-8").splitlines()[::every]
    (out / "train.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if not (out / "packed").exists():
        options = ["--data_root", str(data), "--num_workers", "0", "--min_duration", "0.3"]
        pack_corpus(out / "train.txt", out / "packed", *options)
    print(f"{len(lines)} clips")
    return out / "packed"


def train(args: argparse.Namespace, corpus: Path, precision: str, seed: int) -> Path:
    """The folder of a trained model."""
    settings = [
        *NO_AUGMENTATION,
        f"dataset_conf.train_list={corpus}",
        f"train_conf.enable_amp={PRECISIONS[precision]}",
        f"train_conf.amp_dtype={'bfloat16' if precision == 'bfloat16' else 'auto'}",
        f"train_conf.seed={seed}",
        f"train_conf.max_epoch={args.epochs}",
        f"model_conf.backbone.channels={args.channels}",
        f"dataset_conf.dataLoader.num_workers={args.num_workers}",
    ]
    out = args.out / f"{precision}_{seed}"
    return timed_training(configure(args.data, settings), out, out / "log").folder


def rates_of(encoder: SpeakerEncoder, trials: Path, data: Path) -> tuple[float, float]:
    """EER and minDCF of a list of trials."""
    result = verify_lists(encoder, str(trials), root=str(data)).calibration
    return result.eer, result.min_dcf


if __name__ == "__main__":
    main()
