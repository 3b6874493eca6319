"""How fast a training step is, and what share of the machine's arithmetic it uses.

  python benchmarks/train_step.py                        EcapaTdnn in float32
  python benchmarks/train_step.py --backbones EcapaTdnn ResNet --dtypes float32 bfloat16 --compile
  python benchmarks/train_step.py --measures             what each measure brings, for EcapaTdnn
  python benchmarks/train_step.py --peer [--quick]       beside torch's layers; 1: an aim is missed
  python benchmarks/train_step.py --whole                a whole training beside its bare steps

A step is forward, loss, backward, clipping and optimizer, on a batch of features that lies ready.
Its arithmetic is taken to be three times that of the forward pass, counted from convolutions and
matrix products. The peak is the fastest of a few matrix products of the same type, timed in turns
with the step. Every row is measured in a process of its own; of the rounds, the fastest counts, as
whatever else the machine does only ever makes one slower.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from common import interleaved_times, pack_corpus, print_machine
from peers import compare_with_peers
from step_cases import (
    FILES,
    Case,
    configure,
    flop_of_utterance,
    ladder,
    peak_flop_per_s,
    prepare,
    products,
    take_step,
)

from mvector.data.lists import write_list
from mvector.demo.corpus import write_corpus
from mvector.training.step import BatchWeight
from mvector.training.trainer import MVectorTrainer

STEPS_A_TURN = {"cpu": 1, "cuda": 20}  # enough to be timed


@dataclass(frozen=True)
class Speed:
    """Utterances/s, and operations/s of the step and of the fastest matrix product."""

    utterances_per_s: float
    flop_per_s: float
    peak_flop_per_s: float

    def cells(self) -> str:
        """Of a table."""
        share = self.flop_per_s / self.peak_flop_per_s
        return (
            f"{self.utterances_per_s:.1f} | {self.flop_per_s / 1e9:.0f} | "
            f"{self.peak_flop_per_s / 1e9:.0f} | {100 * share:.0f} %"
        )


# ---- one row --------------------------------------------------------------------------------


def measure(case: Case) -> Speed:
    """Time one case; in a process of its own, as the measures cannot be taken back."""
    learner, batch = prepare(case)
    features, labels = learner.inputs(batch)

    def steps() -> None:
        for _ in range(STEPS_A_TURN[case.device]):
            take_step(learner, features, labels)

    flop = flop_of_utterance(learner, features, labels)
    of_products = {f"product {number}": task for number, task in enumerate(products(case))}
    seconds = fastest({"steps": steps, **of_products}, case, case.num_rounds)
    speed = case.batch_size * STEPS_A_TURN[case.device] / seconds["steps"]
    peak = peak_flop_per_s(case, [seconds[name] for name in of_products])
    return Speed(speed, flop * speed, peak)


def fastest(
    tasks: dict[str, Callable[[], object]], case: Case, num_rounds: int
) -> dict[str, float]:
    """Seconds of each task in its fastest round."""
    times = interleaved_times(tasks, num_rounds, case.device)
    return {name: min(values) for name, values in times.items()}


# ---- a whole training -----------------------------------------------------------------------


@dataclass(frozen=True)
class WholeTraining:
    """Utterances/s of bare steps, the same with features, and of a training; its wait for data."""

    bare: float
    with_features: float
    trained: float
    data_wait: float


def measure_whole(case: Case, num_batches: int, num_workers: int) -> WholeTraining:
    """Train on a packed corpus of synthetic speech; time bare steps before and after."""
    learner, batch = prepare(case)
    features, labels = learner.inputs(batch)
    num_steps = STEPS_A_TURN[case.device]

    def bare_steps() -> None:
        for _ in range(num_steps):
            take_step(learner, features, labels)

    def steps_with_features() -> None:
        for _ in range(num_steps):
            learner.learn(batch, weight=BatchWeight(), last=True)
            learner.update("the benchmark")

    tasks: dict[str, Callable[[], object]] = {"bare": bare_steps, "features": steps_with_features}
    before = fastest(tasks, case, case.num_rounds // 2)
    with TemporaryDirectory() as folder:
        packed = pack_synthetic_speech(Path(folder), num_batches * case.batch_size)
        settings = {
            "dataset_conf.train_list": str(packed),
            "dataset_conf.dataLoader.num_workers": num_workers,
            "train_conf.max_epoch": 1,
            "optimizer_conf.scheduler_args.warmup_epoch": 0,
            "train_conf.log_interval": num_steps,
        }
        trainer = MVectorTrainer(configure(case, settings), use_gpu=case.device == "cuda")
        best = trainer.train(folder, Path(folder) / "log", do_eval=False)
        text = (best.parent / "metrics.jsonl").read_text(encoding="utf-8")
    after = fastest(tasks, case, case.num_rounds // 2)
    points = [json.loads(line) for line in text.splitlines()]
    points = [point for point in points if "train/speed" in point][1:]  # the first warms up
    bare, with_features = (
        case.batch_size * num_steps / min(before[name], after[name]) for name in tasks
    )
    speed = max(point["train/speed"] for point in points)
    wait = statistics.mean(point["train/data_wait"] for point in points)
    return WholeTraining(bare, with_features, speed, wait)


def pack_synthetic_speech(folder: Path, num_clips: int) -> Path:
    """A packed corpus of few clips, each many times in it."""
    write_corpus(folder / "clips", num_speakers=16, clips_per_speaker=4, duration_s=(3.5, 5.0))
    own = [
        (str(path), int(path.parent.name.removeprefix("speaker_")))
        for path in sorted((folder / "clips").rglob("*.wav"))
    ]
    write_list(folder / "train.txt", [own[number % len(own)] for number in range(num_clips)])
    return pack_corpus(folder / "train.txt", folder / "packed", "--num_workers", "0")


# ---- tables ---------------------------------------------------------------------------------


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--backbones", nargs="+", default=["EcapaTdnn"], choices=list(FILES), metavar="NAME")
    add("--dtypes", nargs="+", default=["float32"], choices=["float32", "bfloat16", "float16"])
    add("--compile", action="store_true", help="compiled rows too")
    add("--measures", action="store_true", help="what each measure brings, for EcapaTdnn")
    add("--whole", action="store_true", help="a whole training beside its bare steps")
    add("--peer", action="store_true", help="our step in turn with torch's own layers")
    add("--quick", action="store_true", help="with --peer: batches of 4, 3 rounds")
    add("--device", default="cpu", choices=["cpu", "cuda"])
    add("--batch_size", type=int, default=32, help="(default: %(default)s)")
    add("--crop_s", type=float, default=3.0, help="seconds of a crop (default: %(default)s)")
    add("--rounds", type=int, default=9, help="timed steps of a row (default: %(default)s)")
    add("--batches", type=int, default=40, help="of the whole training (default: %(default)s)")
    add("--num_workers", type=int, default=2, help="of the whole training (default: %(default)s)")
    args = parser.parse_args()
    if args.quick:
        args.batch_size, args.rounds = 4, 3
    print_machine(args.device)
    print(f"batches of {args.batch_size} crops of {args.crop_s:g} s, {args.rounds} rounds\n")
    case = Case(
        device=args.device,
        batch_size=args.batch_size,
        crop_s=args.crop_s,
        num_rounds=args.rounds,
    )
    if args.peer:
        raise SystemExit(0 if compare_with_peers(case) else 1)
    if args.whole:
        print_whole(case, args)
        return
    print("| | type | utterances/s | GFLOP/s | of a matrix product | share |\n" + "|---" * 6 + "|")
    for dtype in args.dtypes:
        for name, row in rows(replace(case, dtype=dtype), args).items():
            print(f"| {name} | {dtype} | {apart(measure, row).cells()} |", flush=True)


def rows(case: Case, args: argparse.Namespace) -> dict[str, Case]:
    """The cases of a table, by the names of their rows."""
    if args.measures:
        return ladder(case)
    chosen = {name: replace(case, backbone=name) for name in args.backbones}
    if args.compile:
        compiled = {f"{name}, compiled": replace(c, is_compiled=True) for name, c in chosen.items()}
        chosen = dict(sorted({**chosen, **compiled}.items()))
    return chosen


def print_whole(case: Case, args: argparse.Namespace) -> None:
    """A whole training of each backbone and type beside its bare steps."""
    print("| | type | bare steps, utterances/s | with features | in training ", end="")
    print("| loop and loader cost | wait for data |\n" + "|---" * 7 + "|")
    for backbone in args.backbones:
        for dtype in args.dtypes:
            row = replace(case, backbone=backbone, dtype=dtype)
            whole = apart(measure_whole, row, args.batches, args.num_workers)
            cost = 1 - whole.trained / whole.with_features
            cells = [f"{v:.1f}" for v in (whole.bare, whole.with_features, whole.trained)]
            shares = f"{100 * cost:.1f} % | {100 * whole.data_wait:.1f} %"
            print(f"| {backbone} | {dtype} | {' | '.join(cells)} | {shares} |", flush=True)


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """The function's result, from a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


if __name__ == "__main__":
    main()
