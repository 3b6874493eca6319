"""Measure inference: start to first answer, latency, throughput, half precision, real-time factor.

    python benchmarks/inference.py --part start --model_path MODEL a.wav b.wav
    python benchmarks/inference.py --part latency
    python benchmarks/inference.py --part batch --model_path MODEL
    python benchmarks/inference.py --part precision --model_path MODEL a.wav b.wav ...
    python benchmarks/inference.py --part rtf
    python benchmarks/inference.py --part busy

start: wall time of `infer_contrast.py` from the start of its process to its end, and the time of
each phase in a process that does the same. latency: waveform to embedding, of every backbone with
its default size on Fbank of 80 bins, random weights. batch: clips of 3 s, one by one and in batches
of 16. precision: the model in bfloat16 (autocast) and with its linear layers in int8 (dynamic
quantisation), cosine to float32 and time. rtf: seconds of computing for a second of audio, in
chunks of 5 s on one thread, beside published figures. busy: a clip of 3 s on the model in the box,
while every core is busy with other work too. Medians throughout.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import cpu_name, interleaved_times

from mvector.embedding import SpeakerEncoder
from mvector.features.front_end import FrontEnd
from mvector.models import BACKBONES
from mvector.models.named import DEFAULT_MODEL
from mvector.models.speaker_model import SpeakerModel

RATE = 16000
FBANK = {
    "feature_method": "Fbank",
    "method_args": {"sample_frequency": RATE, "num_mel_bins": 80},
    "normalize_mean": True,
}
# Published for one thread of a CPU (not this one) and chunks of 5 s.
PUBLISHED_RTF = {"EcapaTdnn, 512 channels": 0.0184, "CAMPPlus": 0.0230}

_PHASES = """
import json, sys, time
marks = [("", time.perf_counter())]
def mark(name): marks.append((name, time.perf_counter()))
import numpy; mark("numpy")
import torch; mark("torch")
import mvector.predict; mark("mvector")
predictor = mvector.MVectorPredictor(sys.argv[1], threshold=0.5, use_gpu=False)
mark("model")
str(predictor.contrast(*sys.argv[2:]).decide()); mark("first answer")
str(predictor.contrast(*sys.argv[2:]).decide()); mark("second answer")
print(json.dumps({name: end - begin for (_, begin), (name, end) in zip(marks, marks[1:])}))
"""


def random_encoder(backbone: str, **options: object) -> SpeakerEncoder:
    """An untrained model: speed does not depend on the weights."""
    torch.manual_seed(0)
    return SpeakerEncoder(SpeakerModel(FrontEnd(RATE, FBANK), backbone, options), device="cpu")


def noise(duration_s: float, seed: int = 0) -> tuple[np.ndarray, int]:
    """A clip whose content plays no part."""
    samples = 0.05 * np.random.default_rng(seed).normal(size=round(duration_s * RATE))
    return samples.astype(np.float32), RATE


def median_ms(task: Callable[[], object], num_runs: int) -> float:
    """Median of some runs, in milliseconds."""
    return 1000.0 * float(np.median(interleaved_times({"": task}, num_runs)[""]))


def measure_start(args: argparse.Namespace) -> None:
    """Process start to first answer."""
    clips = [str(clip) for clip in args.clips[:2]]
    script = Path(__file__).resolve().parent.parent / "infer_contrast.py"
    options = ["--model_path", args.model_path, "--threshold", "0.5", "--use_gpu", "False"]
    command = [sys.executable, str(script), *options]
    command += ["--audio_path1", clips[0], "--audio_path2", clips[1]]
    walls, phases, bare = [], [], []
    for _ in range(args.runs):
        started = time.perf_counter()
        subprocess.run(command, capture_output=True)
        walls.append(time.perf_counter() - started)
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        bare.append(time.perf_counter() - started)
        run = subprocess.run(
            [sys.executable, "-c", _PHASES, args.model_path, *clips],
            capture_output=True,
            text=True,
            check=True,
        )
        phases.append(json.loads(run.stdout))
    print(f"process start to end: median {np.median(walls):.2f} s, fastest {min(walls):.2f} s")
    print(f"| python itself | {' | '.join(phases[0])} |\n{'|---' * (len(phases[0]) + 1)}|")
    cells = [float(np.median([phase[name] for phase in phases])) for name in phases[0]]
    print("| " + " | ".join(f"{seconds:.2f} s" for seconds in [np.median(bare), *cells]) + " |")


def measure_latency(args: argparse.Namespace) -> None:
    """Waveform to embedding by backbone, duration and threads."""
    print("| backbone | 3 s, 1 thread | 3 s, 2 threads | 10 s, 1 thread | 10 s, 2 threads |")
    print("|---" * 5 + "|")
    for backbone in args.backbones or BACKBONES:
        encoder, cells = random_encoder(backbone), []
        for duration_s in (3.0, 10.0):
            clip = noise(duration_s)
            for threads in (1, 2):
                torch.set_num_threads(threads)
                cells.append(median_ms(partial(encoder.embed, clip), args.runs))
        print(f"| {backbone} | {' | '.join(f'{cell:.0f} ms' for cell in cells)} |", flush=True)


def measure_batch(args: argparse.Namespace) -> None:
    """Clips of 3 s a second, alone and in batches."""
    encoder = SpeakerEncoder.from_folder(args.model_path, "cpu")
    clips = [noise(3.0, seed) for seed in range(64)]
    for threads in (1, 2):
        torch.set_num_threads(threads)
        alone = median_ms(lambda: [encoder.embed(clip) for clip in clips], 3)
        batch = median_ms(lambda: encoder.embed_batch(clips), 3)
        print(
            f"{threads} threads: one by one {64000 / alone:.1f} clips/s, in batches of 16 "
            f"{64000 / batch:.1f} clips/s"
        )


def measure_precision(args: argparse.Namespace) -> None:
    """Cosine to float32, and time, of bfloat16 and int8."""
    torch.set_num_threads(1)
    full = SpeakerEncoder.from_folder(args.model_path, "cpu")
    small = SpeakerEncoder.from_folder(args.model_path, "cpu")
    quantised = torch.ao.quantization.quantize_dynamic(
        small.model, {torch.nn.Linear}, dtype=torch.qint8
    )
    small = SpeakerEncoder(quantised, small.info, "cpu")

    def in_bfloat16(clip: object) -> np.ndarray:
        with torch.autocast("cpu", torch.bfloat16):
            return full.embed(clip)  # type: ignore[arg-type]

    ways: dict[str, Callable[[Any], np.ndarray]] = {
        "float32": full.embed,
        "bfloat16": in_bfloat16,
        "int8 (linear layers)": small.embed,
    }
    expected = np.stack([full.embed(clip) for clip in args.clips])
    print("| | lowest cosine to float32 | mean cosine | 3 s, 1 thread |\n|---|---|---|---|")
    for name, embed in ways.items():
        found = np.stack([embed(clip) for clip in args.clips])
        lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
        cosines = np.einsum("ij,ij->i", found, expected) / lengths
        took = median_ms(partial(embed, noise(3.0)), args.runs)
        print(f"| {name} | {cosines.min():.5f} | {cosines.mean():.5f} | {took:.0f} ms |")


def measure_rtf(args: argparse.Namespace) -> None:
    """Real-time factor in chunks of 5 s on one thread."""
    torch.set_num_threads(1)
    models = {
        "EcapaTdnn, 512 channels": random_encoder("EcapaTdnn", channels=512),
        "CAMPPlus": random_encoder("CAMPPlus"),
    }
    clip = noise(5.0)
    tasks: dict[str, Callable[[], object]] = {
        name: partial(encoder.embed, clip) for name, encoder in models.items()
    }
    times = interleaved_times(tasks, args.runs)
    print("| | real-time factor | published |\n|---|---|---|")
    for name, seconds in times.items():
        print(f"| {name} | {np.median(seconds) / 5.0:.4f} | {PUBLISHED_RTF[name]:.4f} |")


_BUSY = """
import numpy as np
matrix = np.ones((200, 200))
while True:
    matrix @ matrix
"""


def measure_busy(args: argparse.Namespace) -> None:
    """A clip on the model in the box, idle and beside a process for each core."""
    encoder = SpeakerEncoder.from_folder(DEFAULT_MODEL, "cpu")
    num_runs = max(30, args.runs)
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    print("| | idle | every core busy | ratio |\n|---|---|---|---|")
    for duration_s in (1.0, 3.0, 10.0):
        task = partial(encoder.embed, noise(duration_s))
        idle = median_ms(task, num_runs)
        command = [sys.executable, "-c", _BUSY]
        others = [subprocess.Popen(command, env=environment) for _ in range(os.cpu_count() or 1)]
        try:
            time.sleep(2.0)  # until they have imported
            busy = median_ms(task, num_runs)
        finally:
            for other in others:
                other.kill()
                other.wait()
        print(f"| {duration_s:g} s | {idle:.0f} ms | {busy:.0f} ms | {busy / idle:.1f} |")


PARTS = {
    "start": measure_start,
    "latency": measure_latency,
    "batch": measure_batch,
    "precision": measure_precision,
    "rtf": measure_rtf,
    "busy": measure_busy,
}


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", required=True, choices=PARTS)
    parser.add_argument("--model_path", help="model folder")
    parser.add_argument("--backbones", nargs="+", help="of these only")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("clips", nargs="*", type=Path)
    args = parser.parse_args()
    print(f"{cpu_name()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, ", end="")
    print(f"torch {torch.__version__}", flush=True)
    if args.part in ("start", "batch", "precision") and not args.model_path:
        parser.error(f"--part {args.part} needs --model_path")
    if args.part in ("start", "precision") and len(args.clips) < 2:
        parser.error(f"--part {args.part} needs clips")
    PARTS[args.part](args)


if __name__ == "__main__":
    main()
