"""Measure inference by both engines in one run: start, memory, latency, batches, backbones.

    python benchmarks/inference.py --part prepare --out DIR
    python benchmarks/inference.py --part start a.wav b.wav --models DIR/box
    python benchmarks/inference.py --part latency --models DIR/*
    python benchmarks/inference.py --part batch --models DIR/*
    python benchmarks/inference.py --part backbones

prepare: model folders with both weights and model.onnx, of --precision: the model in the box, and
ECAPA-TDNN with 512 channels, CAM++ and ResNet34 on Fbank of 80 bins, untrained, as speed does not
depend on the weights. start: wall and processor time of `infer_contrast.py` from the start of its
process to its end, and its peak memory; --python names another interpreter for onnx, such as one
without torch, whose packages are weighed too. latency: a clip of 3 s in one thread, alone and while
every core is busy with other work. batch: 64 clips of 3 s by two threads. backbones: waveform to
embedding by torch, of every backbone with its default size. Shares of the peak are of the products
of float32 matrices that the machine does in the same run. Medians throughout.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from common import cpu_name, interleaved_times
from torch.utils.flop_counter import FlopCounterMode

from mvector.embedding import SpeakerEncoder
from mvector.export import export_onnx
from mvector.features.front_end import FrontEnd
from mvector.models import BACKBONES
from mvector.models.engine import Engine
from mvector.models.folder import load_model_folder, save_model_folder
from mvector.models.named import DEFAULT_MODEL
from mvector.models.onnx_file import ONNX_FILE, OnnxPrecision
from mvector.models.speaker_model import SpeakerModel

ROOT = Path(__file__).resolve().parent.parent
RATE, CLIP_S = 16000, 3.0
FBANK = {
    "feature_method": "Fbank",
    "method_args": {"sample_frequency": RATE, "num_mel_bins": 80},
    "normalize_mean": True,
}
ZOO: dict[str, tuple[str, dict[str, object]]] = {
    "ecapa512": ("EcapaTdnn", {"channels": 512}),
    "campplus": ("CAMPPlus", {}),
    "resnet34": ("ResNet", {}),
}
ENGINES: tuple[Engine, ...] = ("torch", "onnx")


def prepare(args: argparse.Namespace) -> None:
    """Write the model folders."""
    for name in ("box", *ZOO):
        folder = Path(args.out) / (
            name if args.precision == "float32" else f"{name}-{args.precision}"
        )
        if name == "box":
            shutil.copytree(DEFAULT_MODEL, folder)
        else:
            save_model_folder(folder, random_model(*ZOO[name]))
        exported = export_onnx(
            load_model_folder(folder)[0], folder / ONNX_FILE, precision=args.precision
        )
        print(f"{folder}: {exported.num_bytes / 1e6:.1f} MB", flush=True)


def random_model(backbone: str, options: dict[str, object]) -> SpeakerModel:
    """An untrained model."""
    torch.manual_seed(0)
    return SpeakerModel(FrontEnd(RATE, FBANK), backbone, options).eval()


def noise(duration_s: float, seed: int = 0) -> tuple[np.ndarray, int]:
    """A clip whose content plays no part."""
    samples = 0.05 * np.random.default_rng(seed).normal(size=round(duration_s * RATE))
    return samples.astype(np.float32), RATE


def median_s(tasks: dict[str, Callable[[], object]], num_runs: int) -> dict[str, float]:
    """Medians of tasks that take turns, in seconds."""
    return {
        name: float(np.median(each)) for name, each in interleaved_times(tasks, num_runs).items()
    }


def peak_flops(threads: int) -> float:
    """Operations a second of products of large float32 matrices."""
    torch.set_num_threads(threads)
    matrix = torch.randn(1024, 1024)
    return 2.0 * 1024**3 / median_s({"": lambda: matrix @ matrix}, 15)[""]


def operations(model: SpeakerModel) -> int:
    """Of the products and convolutions for a clip."""
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        model(torch.randn(1, round(CLIP_S * RATE)))
    return counter.get_total_flops()


# ---- parts -------------------------------------------------------------------------------------


def measure_start(args: argparse.Namespace) -> None:
    """Process start to end, by engine."""
    (folder,) = args.models
    print(
        "| engine | wall | fastest | processor time | peak memory | packages |\n" + "|---" * 6 + "|"
    )
    for engine in ENGINES:
        python = args.python if engine == "onnx" else sys.executable
        words = [
            python,
            str(ROOT / "infer_contrast.py"),
            "--model_path",
            folder,
            "--engine",
            engine,
        ]
        runs = np.array(
            [timed_process([*words, *map(str, args.clips[:2])]) for _ in range(args.runs)]
        )
        wall, cpu, memory = np.median(runs, axis=0)
        print(
            f"| {engine} | {wall:.2f} s | {runs[:, 0].min():.2f} s | {cpu:.2f} s | "
            f"{memory / 1e6:.0f} MB | {size_of_packages(python) / 1e6:.0f} MB |"
        )


# In a small process of its own: the peak of a process is never less than that of its parent.
_TIMED = """
import os, subprocess, sys, time
started = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, status, used = os.wait4(process.pid, 0)
wall = time.perf_counter() - started
code = os.waitstatus_to_exitcode(status)
print(code, wall, used.ru_utime + used.ru_stime, 1024 * used.ru_maxrss)
"""


def timed_process(command: list[str]) -> tuple[float, float, float]:
    """Wall and processor seconds, and the peak of memory in bytes."""
    told = subprocess.run(
        [sys.executable, "-S", "-c", _TIMED, *command], capture_output=True, text=True, check=True
    )
    code, wall, cpu, memory = told.stdout.split()
    if int(code) not in (0, 1, 3):
        raise SystemExit(f"failed: {' '.join(command)}")
    return float(wall), float(cpu), float(memory)


def size_of_packages(python: str) -> int:
    """Bytes of all that is installed for an interpreter, but pip and setuptools."""
    code = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    run = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    own = ("pip", "setuptools", "pkg_resources", "_distutils_hack")
    folders = [path for path in Path(run.stdout.strip()).iterdir() if not path.name.startswith(own)]
    files = {file for path in folders for file in (path, *path.rglob("*")) if file.is_file()}
    return sum(file.stat().st_size for file in files)


_BUSY = """
import numpy as np
matrix = np.ones((200, 200))
while True:
    matrix @ matrix
"""


@contextmanager
def every_core_busy() -> Iterator[None]:
    """A process for each core that multiplies matrices."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", _BUSY]
    others = [subprocess.Popen(words, env=environment) for _ in range(os.cpu_count() or 1)]
    try:
        time.sleep(2.0)  # until they have imported
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def measure_latency(args: argparse.Namespace) -> None:
    """A clip in one thread, alone and beside other work."""
    peak = peak_flops(1)
    print(f"Products of matrices, one thread: {peak / 1e9:.0f} GFLOP/s")
    clip = noise(CLIP_S)
    print("| model | engine | alone | of torch | of the peak | every core busy | ratio |")
    print("|---" * 7 + "|")
    for folder in args.models:
        tasks: dict[str, Callable[[], object]] = {
            engine: partial(SpeakerEncoder.from_folder(folder, "cpu", engine=engine).embed, clip)
            for engine in ENGINES
        }
        count = operations(load_model_folder(folder)[0])
        alone = median_s(tasks, args.runs)
        with every_core_busy():
            busy = median_s(tasks, args.runs)
        for engine in ENGINES:
            share = 100 * count / alone[engine] / peak
            print(
                f"| {Path(folder).name} | {engine} | {1e3 * alone[engine]:.1f} ms | "
                f"{alone[engine] / alone['torch']:.2f} | {share:.0f} % | "
                f"{1e3 * busy[engine]:.1f} ms | {busy[engine] / alone[engine]:.1f} |",
                flush=True,
            )


def measure_batch(args: argparse.Namespace) -> None:
    """Clips a second, 64 of 3 s at once, two threads."""
    peak = peak_flops(2)
    os.environ["OMP_NUM_THREADS"] = "2"
    print(f"Products of matrices, two threads: {peak / 1e9:.0f} GFLOP/s")
    print("| model | torch | onnx | ratio | onnx, of the peak |\n|---|---|---|---|---|")
    clips = [noise(CLIP_S, seed) for seed in range(64)]
    for folder in args.models:
        encoders = {
            engine: SpeakerEncoder.from_folder(folder, "cpu", engine=engine) for engine in ENGINES
        }
        times = median_s(
            {name: partial(each.embed_batch, clips) for name, each in encoders.items()}, 3
        )
        rates = {engine: 64 / times[engine] for engine in ENGINES}
        share = 100 * operations(load_model_folder(folder)[0]) * rates["onnx"] / peak
        print(
            f"| {Path(folder).name} | {rates['torch']:.0f} clips/s | {rates['onnx']:.0f} clips/s | "
            f"{rates['onnx'] / rates['torch']:.2f} | {share:.0f} % |",
            flush=True,
        )


def measure_backbones(args: argparse.Namespace) -> None:
    """Waveform to embedding in torch by backbone, duration and threads."""
    print("| backbone | 3 s, 1 thread | 3 s, 2 threads | 10 s, 1 thread | 10 s, 2 threads |")
    print("|---" * 5 + "|")
    for backbone in BACKBONES:
        encoder, cells = SpeakerEncoder(random_model(backbone, {}), device="cpu"), []
        for duration_s in (3.0, 10.0):
            for threads in (1, 2):
                torch.set_num_threads(threads)
                task = partial(encoder.embed, noise(duration_s))
                cells.append(1e3 * median_s({"": task}, args.runs)[""])
        print(f"| {backbone} | {' | '.join(f'{cell:.0f} ms' for cell in cells)} |", flush=True)


PARTS = {
    "prepare": prepare,
    "start": measure_start,
    "latency": measure_latency,
    "batch": measure_batch,
    "backbones": measure_backbones,
}


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", required=True, choices=PARTS)
    parser.add_argument("--models", nargs="+", help="model folders, as --part prepare makes them")
    parser.add_argument("--out", help="folder for --part prepare")
    parser.add_argument("--precision", choices=get_args(OnnxPrecision), default="float32")
    parser.add_argument(
        "--python", default=sys.executable, help="interpreter for onnx, of the start"
    )
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("clips", nargs="*", type=Path)
    args = parser.parse_args()
    print(f"{cpu_name()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, ", end="")
    print(f"torch {torch.__version__}", flush=True)
    if args.part in ("start", "latency", "batch") and not args.models:
        parser.error(f"--part {args.part} needs --models")
    if args.part == "start" and (len(args.clips) < 2 or len(args.models) != 1):
        parser.error("--part start needs one of --models and two clips")
    PARTS[args.part](args)


if __name__ == "__main__":
    main()
