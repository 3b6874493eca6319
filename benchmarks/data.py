"""How fast training data come: decoding, augmentation stage by stage, and the loader.

  python benchmarks/data.py --data DIR                          print all tables
  python benchmarks/data.py --data DIR --only packed loader     some of them
  python benchmarks/data.py --data DIR --list_lines 1000000     a long list with bad paths instead

DIR holds lists/train.txt (lines 'path<TAB>speaker'; paths relative to DIR), noise/train and
rir/train. Clips of 3.6 seconds and more of that list are written as WAV and FLAC into a temporary
folder and packed; everything is measured on these copies, in crops of three seconds. "The usual
way" is benchmarks/usual_way.py on the same files. Stages are timed in turns, by the CPU time of one
core, once all noises are decoded; the loader by the clock.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from common import pack_corpus, print_machine
from usual_way import UsualWay

from mvector.audio import audio_info, read_audio
from mvector.config import Config, load_config
from mvector.data import read_list, write_list
from mvector.data.dataset import TrainingClips
from mvector.data.loader import TrainingData
from mvector.data.samplers import SampleKey

RATE = 16000
CROP_S = 3.0
NUM_CLIPS = 400
HOUR_S = 3600
TABLES = ("files", "long", "packed", "loader")
BAD_SHARE = 100  # one line in so many names a file that is not there


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, type=Path, help="folder of the corpora and lists")
    parser.add_argument("--seconds", type=float, default=4.0, help="for each row")
    parser.add_argument("--only", nargs="+", choices=TABLES, default=TABLES, help="which tables")
    parser.add_argument("--copies", type=Path, help="keep the copies here, for the next run")
    parser.add_argument("--list_lines", type=int, help="length of a list to run the loader over")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print_machine()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.copies or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        lists = copies(args.data, folder)
        if args.list_lines:
            long_list(lists["WAV files"], args.list_lines, args.seconds)
            return
        if "files" in args.only:
            stages(lists, ("WAV files", "FLAC files"), args.data, args.seconds)
        if "long" in args.only:
            long_files(folder, args.seconds)
        if "packed" in args.only:
            stages(lists, ("packed corpus",), args.data, args.seconds)
        if "loader" in args.only:
            loaders(lists, args.data, args.seconds)


def copies(data: Path, folder: Path) -> dict[str, Path]:
    """The same clips as WAV, FLAC and packed; returns their lists."""
    lists = {kind: folder / f"{kind}.txt" for kind in ("WAV files", "FLAC files")}
    lists["packed corpus"] = folder / "packed"
    if lists["packed corpus"].exists():
        return lists
    source = read_list(data / "lists/train.txt", root=data)
    entries: dict[str, list[tuple[str, int]]] = {"WAV files": [], "FLAC files": []}
    for path, label in zip(source.paths, source.labels, strict=True):
        if audio_info(path).duration_s < 1.2 * CROP_S:
            continue
        waveform = read_audio(path, RATE)
        number = len(entries["WAV files"])
        for kind, own in entries.items():
            target = folder / f"{number}.{kind[:4].strip().lower()}"
            soundfile.write(target, waveform, RATE, subtype="PCM_16")
            own.append((str(target), int(label)))
        if number + 1 == NUM_CLIPS:
            break
    for kind, own in entries.items():
        write_list(lists[kind], own)
    pack_corpus(lists["FLAC files"], lists["packed corpus"])
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


def stages(lists: dict[str, Path], kinds: tuple[str, ...], data: Path, seconds: float) -> None:
    """Each augmentation by itself and all together, beside the usual way on the same clips."""
    tasks: dict[str, Callable[[], object]] = {}
    for title, augment in augmentations(data).items():
        for kind in kinds:
            config = configure(lists[kind], augment)
            tasks[f"{kind}: crop {title}"] = sampler(config)
            usual = read_list(lists["WAV files" if kind == "packed corpus" else kind]).paths
            way = UsualWay(usual, config.augment_conf, RATE, CROP_S)
            tasks[f"{kind}, usual: crop {title}"] = random_keys(way, len(usual))
    rates = cpu_rates(tasks, seconds)
    print("| stage, crops of 3 s | utterances/s a core | ms | the usual way | |")
    print("|---|---|---|---|---|")
    for kind, title in itertools.product(kinds, augmentations(data)):
        ours, usual_rate = rates[f"{kind}: crop {title}"], rates[f"{kind}, usual: crop {title}"]
        print(f"| {kind}: crop {title} | {ours:,.0f} | {1000 / ours:.3f} ", end="")
        print(f"| {usual_rate:,.0f} | {ours / usual_rate:.1f} x |", flush=True)


def random_keys(way: UsualWay, num_clips: int) -> Callable[[], object]:
    """Calls with places in the epoch and random clips."""
    clips = np.random.default_rng(0).integers(num_clips, size=100_000).tolist()
    places = itertools.count()

    def work() -> object:
        place = next(places)
        return way(place, clips[place % len(clips)])

    return work


def sampler(config: Config) -> Callable[[], object]:
    """Makes the samples of a training data set, one after the other, noises being decoded."""
    dataset = TrainingData(config).loader.dataset
    assert isinstance(dataset, TrainingClips)
    noises = dataset.augmentor._noises
    for index in range(len(noises or ())):
        assert noises is not None
        noises.read_stretch(index, 1, 0.0)
    clips = np.random.default_rng(0).integers(len(dataset), size=100_000).tolist()
    places = itertools.count()

    def work() -> object:
        place = next(places)
        return dataset[SampleKey(0, place, clips[place % len(clips)])]

    return work


def cpu_rates(tasks: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Calls a second of CPU time: the median of twenty rounds in which each task has its turn."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for work in tasks.values():
        for _ in range(50):
            work()
    for _ in range(20):
        for name, work in tasks.items():
            count, started = 0, time.process_time()
            while (elapsed := time.process_time() - started) < seconds / 20:
                for _ in range(5):
                    work()
                count += 5
            times[name].append(elapsed / count)
    return {name: 1.0 / statistics.median(own) for name, own in times.items()}


def long_files(folder: Path, seconds: float) -> None:
    """Random three seconds of a file of ten seconds and of one of an hour."""
    rng = np.random.default_rng(0)
    noise = (rng.normal(size=HOUR_S * RATE) * 0.1).astype(np.float32)
    tasks: dict[str, Callable[[], object]] = {}
    for duration_s in (10, HOUR_S):
        path = folder / f"long_{duration_s}.flac"
        soundfile.write(path, noise[: duration_s * RATE], RATE, subtype="PCM_16")

        def crop(path: Path = path, spare_s: float = duration_s - CROP_S) -> None:
            read_audio(path, RATE, offset_s=rng.uniform(0, spare_s), duration_s=CROP_S)

        tasks[f"3 s of a FLAC file of {duration_s} s (noise)"] = crop
    for name, rate in cpu_rates(tasks, seconds).items():
        print(f"| {name} | {rate:,.0f} | {1000 / rate:.3f} | | |", flush=True)


def loaders(lists: dict[str, Path], data: Path, seconds: float) -> None:
    """What the workers deliver, by the clock."""
    print("| loader, batches of 64 | utterances/s |")
    print("|---|---|")
    full = augmentations(data)["+ everything"]
    for name, num_workers in itertools.product(("FLAC files", "packed corpus"), (1, 2)):
        loader = TrainingData(configure(lists[name], full, num_workers))
        batches = endless(loader)
        for _ in range(60):
            next(batches)  # noises are decoded
        count, started = 0, time.perf_counter()
        while time.perf_counter() - started < 2 * seconds:
            count += next(batches)
        rate = count / (time.perf_counter() - started)
        print(f"| {name}: everything, {num_workers} worker(s) | {rate:,.0f} |", flush=True)


def endless(data: TrainingData) -> Iterator[int]:
    """Sizes of the batches of one epoch after another."""
    for epoch in itertools.count():
        data.batches.set_position(epoch)
        for batch in data.loader:
            yield len(batch.labels)


def long_list(clips: Path, num_lines: int, seconds: float) -> None:
    """The beginning of an epoch over a long list, two workers, one path in a hundred bad."""
    good = read_list(clips)
    entries = [
        ("missing.wav" if line % BAD_SHARE == 0 else good.paths[line % len(good)], line % 2)
        for line in range(num_lines)
    ]
    path = clips.with_name("long.txt")
    write_list(path, entries)
    del entries
    before, started = memory_mb(), time.perf_counter()
    data = TrainingData(configure(path, {}, num_workers=2))
    opened_s, batches = time.perf_counter() - started, iter(data.loader)
    first = next(batches)
    first_s = time.perf_counter() - started
    used, skipped, begun = len(first.labels), len(first.skipped), time.perf_counter()
    while time.perf_counter() - begun < seconds:
        batch = next(batches)
        used, skipped = used + len(batch.labels), skipped + len(batch.skipped)
    print(f"{num_lines:,} lines opened in {opened_s:.1f} s, first batch after {first_s:.1f} s")
    print(f"{used:,} used and {skipped:,} skipped ({100 * skipped / (used + skipped):.2f} %)")
    workers = [memory_mb(str(child.pid)) for child in multiprocessing.active_children()]
    shares = ", ".join(f"{mb:,.0f}" for mb in workers)
    print(f"memory in MB: {before:,.0f} before, {memory_mb():,.0f} then; workers {shares}")


def memory_mb(process: str = "self") -> float:
    """Memory of a process, what it shares with others divided among them (Linux)."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1000


if __name__ == "__main__":
    main()
