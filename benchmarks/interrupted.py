"""A run that is stopped once and killed once, beside the same run left alone.

  python benchmarks/interrupted.py --data DIR --epochs 8        about an hour on two cores

Both runs train at the same time, each on one thread, with evaluation after every epoch. One of them
gets SIGTERM behind a third of its batches and SIGKILL behind two thirds, and is started again each
time by the same command, with another number of loader workers. At the end the weights of the two
are compared, and one is measured on speakers that it has never heard. DIR is as for real_speech.py.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from common import print_machine
from real_speech import CONFIG, configure, measure, places
from safetensors.numpy import load_file

from mvector.config import Config
from mvector.training.loggers import METRICS, read_metrics

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = ("train_conf.enable_amp=true", "train_conf.save_interval=20")


def main() -> None:
    """Train twice, compare, measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, type=Path, help="folder of the corpora and lists")
    parser.add_argument("--out", type=Path, default=Path("models/interrupted"))
    parser.add_argument("--epochs", type=int, default=8, help="(default: %(default)s)")
    args = parser.parse_args()
    print_machine()
    config = configure(args.data, settings(args.data, args.epochs))
    folders = {name: args.out / name for name in ("whole", "interrupted")}
    commands = {name: command(args.data, folder, args.epochs) for name, folder in folders.items()}
    whole = start(commands["whole"], folders["whole"])
    since = time.monotonic()
    num_batches = interrupt(commands["interrupted"], folders["interrupted"], config)
    assert whole.wait() == 0, f"the run failed: see {folders['whole'] / 'out.txt'}"
    print(f"{num_batches} batches in each run; {time.monotonic() - since:.0f} s for both together")
    compare(*(folder / config.model_name for folder in folders.values()))
    for name, folder in folders.items():
        report(name, folder / config.model_name)
    measure(config, folders["interrupted"] / config.model_name / "last_model", args.data)


def settings(data: Path, epochs: int) -> list[str]:
    """What differs from ``real_speech.yml``."""
    trials = f"dataset_conf.trials_list={data}/lists/dev_an4.trials"
    return [*SETTINGS, trials, f"train_conf.max_epoch={epochs}"]


def command(data: Path, folder: Path, epochs: int) -> list[str]:
    """One command that begins the run and continues it."""
    words = [sys.executable, str(ROOT / "train.py"), "--configs", str(CONFIG)]
    words += ["--save_model_path", str(folder), "--log_dir", str(folder / "log")]
    words += ["--resume_model", "auto", "--use_gpu", "False"]
    for setting in (*places(data), *settings(data, epochs)):
        words += ["--set", setting]
    return words


def start(words: list[str], folder: Path) -> subprocess.Popen[bytes]:
    """Start a run on one thread; what it says goes into ``out.txt``."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with open(folder / "out.txt", "ab") as log:
        return subprocess.Popen(words, env=environment, stdout=log, stderr=log)


def interrupt(words: list[str], folder: Path, config: Config) -> int:
    """Run to the end, with a stop and a kill on the way; returns the number of batches."""
    run = folder / config.model_name
    process, num_batches = start(words, folder), 0
    for share, number in ((1 / 3, signal.SIGTERM), (2 / 3, signal.SIGKILL)):
        while process.poll() is None and (not num_batches or newest(run) < share * num_batches):
            time.sleep(0.2)
            num_batches = num_batches or total_batches(folder, config)
        assert process.poll() is None, f"the run failed: see {folder / 'out.txt'}"
        process.send_signal(number)
        code = process.wait()
        print(f"{number.name} behind batch {newest(run)}: exit code {code}", flush=True)
        process = start([*words, "--set", "dataset_conf.dataLoader.num_workers=2"], folder)
    assert process.wait() == 0, f"the run failed: see {folder / 'out.txt'}"
    return num_batches


def newest(run: Path) -> int:
    """Batches that the newest checkpoint of a run knows."""
    return max((int(f.stem.split("_")[1]) for f in run.glob("checkpoints/step_*.pt")), default=0)


def total_batches(folder: Path, config: Config) -> int:
    """Batches of the whole run, as its log says; 0 as long as it does not."""
    for line in (folder / "out.txt").read_text().splitlines():
        if "batches in an epoch: " in line:
            in_epoch = line.split("batches in an epoch: ")[1].split(",")[0]
            return int(in_epoch) * config.train_conf.max_epoch
    return 0


def compare(first: Path, second: Path) -> None:
    """Print whether two runs ended with the same models, bit for bit."""
    for name in ("best_model", "last_model"):
        weights = [load_file(run / name / "model.safetensors") for run in (first, second)]
        differing = [
            key for key in weights[0] if weights[0][key].tobytes() != weights[1][key].tobytes()
        ]
        verdict = f"{len(differing)} differ" if differing else "all equal bit for bit"
        print(f"{name}: {len(weights[0])} tensors, {verdict}")


def report(name: str, run: Path) -> None:
    """Print what the curves tell: speed, wait for data, error rate after each epoch."""
    points = read_metrics(run / METRICS)
    speeds = [point["train/speed"] for point in points if "train/speed" in point]
    waits = [point["train/data_wait"] for point in points if "train/data_wait" in point]
    rates = [f"{100 * point['eval/eer']:.2f}" for point in points if "eval/eer" in point]
    print(
        f"{name}: {sum(speeds) / len(speeds):.1f} utterances/s, wait for data "
        f"{100 * sum(waits) / len(waits):.1f} %, EER on an4 by epoch: {json.dumps(rates)}"
    )


if __name__ == "__main__":
    main()
