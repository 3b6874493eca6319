"""How fast training data come: decoding, augmentation stage by stage, and the loader.

  python benchmarks/data.py --data DIR            print a table (about three minutes)

DIR holds lists/train.txt (lines 'path<TAB>speaker'; paths relative to DIR), noise/train and
rir/train. Clips of three seconds and more of that list are written as WAV and FLAC into a
temporary folder and packed; everything is measured on these copies, in crops of three seconds, on
one core unless the row says otherwise.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from mvector.audio import read_audio
from mvector.cli import run_script
from mvector.config import Config, load_config
from mvector.data import read_list, write_list
from mvector.data.loader import TrainingData
from mvector.data.samplers import SampleKey

RATE = 16000
CROP_S = 3.0
NUM_CLIPS = 400
HOUR_S = 3600


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, type=Path, help="folder of the corpora and lists")
    parser.add_argument("--seconds", type=float, default=4.0, help="for each row")
    args = parser.parse_args()
    torch.set_num_threads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, ", end="")
    print(f"torch {torch.__version__}, soundfile {soundfile.__version__}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        lists = copies(args.data, Path(folder))
        print("| stage, crops of 3 s, one core | utterances/s | ms |")
        print("|---|---|---|")
        for name, path in lists.items():
            report(f"{name}: decode and crop", samples(configure(path, {}), args.seconds))
        long_files(Path(folder), args.seconds)
        for name in ("FLAC files", "packed corpus"):
            for title, augment in augmentations(args.data).items():
                rate = samples(configure(lists[name], augment), args.seconds)
                report(f"{name}: crop {title}", rate)
        print("| **loader, batches of 64** | **utterances/s** | |")
        full = augmentations(args.data)["+ everything"]
        for name, num_workers in itertools.product(("FLAC files", "packed corpus"), (1, 2)):
            config = configure(lists[name], full, num_workers)
            workers = f"{num_workers} worker{'s' if num_workers > 1 else ''}"
            report(f"{name}: everything, {workers}", loader(config, args.seconds))


def copies(data: Path, folder: Path) -> dict[str, Path]:
    """The same clips as WAV, FLAC, Opus and packed; returns their lists."""
    source = read_list(data / "lists/train.txt", root=data)
    entries: dict[str, list[tuple[str, int]]] = {"WAV files": [], "FLAC files": []}
    for path, label in zip(source.paths, source.labels, strict=True):
        waveform = read_audio(path)
        if len(waveform) < 1.2 * CROP_S * RATE:
            continue
        number = len(entries["WAV files"])
        for kind, own in entries.items():
            target = folder / f"{number}.{kind[:4].strip().lower()}"
            soundfile.write(target, waveform, RATE, subtype="PCM_16")
            own.append((str(target), int(label)))
        if number + 1 == NUM_CLIPS:
            break
    lists = {}
    for kind, own in entries.items():
        lists[kind] = folder / f"{kind}.txt"
        write_list(lists[kind], own)
    lists["packed corpus"] = folder / "packed"
    arguments = [str(lists["FLAC files"]), str(lists["packed corpus"])]
    if run_script("pack_corpus", arguments):
        raise SystemExit("packing failed")
    return lists


def augmentations(data: Path) -> dict[str, dict[str, Any]]:
    """What is added to the crop, row by row; with prob 1 each, so that each is seen in full."""
    speed: dict[str, Any] = {"speed": {"prob": 1.0}}
    noise: dict[str, Any] = {"noise": {"prob": 1.0, "noise_dir": str(data / "noise/train")}}
    reverb: dict[str, Any] = {"reverb": {"prob": 1.0, "reverb_dir": str(data / "rir/train")}}
    everyday = {
        "speed": {"prob": 1.0},
        "noise": {**noise["noise"], "prob": 0.5},
        "reverb": {**reverb["reverb"], "prob": 0.5},
        "spec_aug": {"prob": 0.5},
    }
    return {
        "alone": {},
        "+ speed": speed,
        "+ noise": noise,
        "+ reverberation": reverb,
        "+ speed, noise and reverberation, each always": {**speed, **noise, **reverb},
        "+ everything": everyday,
    }


def configure(train_list: Path, augment: dict[str, Any], num_workers: int = 0) -> Config:
    """A training configuration over one of the lists."""
    return load_config(
        {
            "use_model": "EcapaTdnn",
            "dataset_conf": {
                "train_list": str(train_list),
                "max_duration": CROP_S,
                "dataLoader": {"batch_size": 64, "num_workers": num_workers},
            },
            "preprocess_conf": {"feature_method": "Fbank"},
            "loss_conf": {"use_loss": "AAMLoss"},
            "train_conf": {"max_epoch": 1},
            "augment_conf": augment,
        }
    )


def samples(config: Config, seconds: float) -> float:
    """Samples a second that the dataset makes in this process, one after the other."""
    data = TrainingData(config)
    dataset = data.loader.dataset
    rng = np.random.default_rng(0)
    keys = (SampleKey(0, place, int(rng.integers(len(data.clips)))) for place in itertools.count())
    return rate_of(lambda: dataset[next(keys)], seconds)


def long_files(folder: Path, seconds: float) -> None:
    """Random three seconds of a file of ten seconds and of one of an hour."""
    rng = np.random.default_rng(0)
    noise = (rng.normal(size=HOUR_S * RATE) * 0.1).astype(np.float32)
    for duration_s in (10, HOUR_S):
        path = folder / f"long_{duration_s}.flac"
        soundfile.write(path, noise[: duration_s * RATE], RATE, subtype="PCM_16")

        def crop(path: Path = path, spare_s: float = duration_s - CROP_S) -> None:
            read_audio(path, RATE, offset_s=rng.uniform(0, spare_s), duration_s=CROP_S)

        report(f"3 s of a FLAC file of {duration_s} s (noise)", rate_of(crop, seconds))


def loader(config: Config, seconds: float) -> float:
    """Samples a second that the workers deliver, after the first batches."""
    data = TrainingData(config)

    def endless() -> Iterator[int]:
        for epoch in itertools.count():
            data.batches.set_position(epoch)
            for batch in data.loader:
                yield len(batch.labels)

    batches = endless()
    for _ in range(6):
        next(batches)
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < 2 * seconds:
        count += next(batches)
    return count / (time.perf_counter() - started)


def rate_of(work: Callable[[], object], seconds: float) -> float:
    """Calls a second: the median of five stretches, after a first one that fills the caches."""
    rates = []
    for _ in range(6):
        count, started = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - started) < seconds / 6:
            work()
            count += 1
        rates.append(count / elapsed)
    return statistics.median(rates[1:])


def report(name: str, rate: float) -> None:
    """Print a row."""
    print(f"| {name} | {rate:,.0f} | {1000 / rate:.3f} |", flush=True)


if __name__ == "__main__":
    main()
