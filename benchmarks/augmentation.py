"""What augmentation is worth and costs: a model trained without and with it, on good and bad clips.

  python benchmarks/augmentation.py --data DIR                 train both, measure both
  python benchmarks/augmentation.py --data DIR --models A B    measure these two model folders
  python benchmarks/augmentation.py --costs                    what each takes for a crop of 2 s

DIR holds lists/train.txt (lines 'path<TAB>speaker'), lists/dev_*.trials (lines 'label path path'),
{noise,rir}/train for the training and {noise,rir}/dev, other recordings, to spoil the clips of the
trials with; paths in the lists are relative to DIR.
"""

from __future__ import annotations

import argparse
import time
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from common import print_machine, timed_training

from mvector.audio import read_audio
from mvector.cli.running import set_up_logging
from mvector.config import AugmentConf, Config, load_config
from mvector.config.augment_options import CODEC_KINDS
from mvector.data.augmentation.augmentor import WaveformAugmentor
from mvector.data.augmentation.noise import add_noise
from mvector.data.augmentation.reverb import add_reverb
from mvector.data.augmentation.speed import change_speed
from mvector.embedding import SpeakerEncoder
from mvector.evaluation.run import verify_lists
from mvector.scoring import read_trials

CONFIG = Path(__file__).with_name("real_speech.yml")
RATE = 16000
SNR_DB = (0.0, 15.0)  # of the spoilt trials

AUGMENTATIONS: dict[str, dict[str, Any]] = {
    "without": {
        section: {"prob": 0.0} for section in ("speed", "volume", "noise", "reverb", "spec_aug")
    },
    "with": {
        "speed": {"prob": 0.3},
        "noise": {"prob": 0.5, "min_snr_dB": 0, "max_snr_dB": 20},
        "reverb": {"prob": 0.4},
        "spec_aug": {
            "prob": 0.5,
            "freq_mask_ratio": 0.1,
            "n_freq_masks": 1,
            "time_mask_ratio": 0.1,
            "n_time_masks": 1,
        },
    },
}


def main() -> None:
    """Train, spoil the trials, measure, print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--costs", action="store_true", help="time each augmentation on a crop of 2 s, on one core")
    add("--data", type=Path, help="folder of the corpora and lists")
    add("--models", nargs=2, type=Path, help="model folders: without, with augmentation")
    add("--epochs", type=int, default=4, help="(default: %(default)s)")
    add("--channels", type=int, default=128, help="of EcapaTdnn (default: %(default)s)")
    add("--out", type=Path, default=Path("models/augmentation"), help="(default: %(default)s)")
    args = parser.parse_args()
    set_up_logging(shows_progress=True)
    if args.costs:
        measure_costs()
        return
    if args.data is None:
        parser.error("give --data or --costs")
    print_machine()
    folders = dict(zip(AUGMENTATIONS, args.models or (), strict=False))
    for name in AUGMENTATIONS:
        if name not in folders:
            folders[name] = train(configure(args, name), args.out / name)
    encoders = {name: SpeakerEncoder.from_folder(path, "cpu") for name, path in folders.items()}
    measure(encoders, args.data, args.out / "spoilt")


def measure_costs(num_runs: int = 25) -> None:
    """Milliseconds for each section of the configuration, and each kind of transmission.

    Processor time, median of all runs: whatever else the machine does counts little.
    """
    torch.set_num_threads(1)
    print_machine()
    paths = sorted((Path(__file__).parents[1] / "dataset/samples").rglob("*.flac"))
    speech = np.concatenate([read_audio(path, RATE) for path in paths])[: 2 * RATE]
    sections: dict[str, dict[str, Any]] = {
        name: {name: {"prob": 1.0}}
        for name in ("flip_splice", "equalizer", "volume", "clipping", "silence")
    }
    sections["room"] = {"reverb": {"prob": 1.0, "simulate": True, "num_rooms": 3}}
    no_kind = dict.fromkeys(CODEC_KINDS, 0.0)
    for kind in CODEC_KINDS:
        sections[f"codec: {kind}"] = {"codec": {"prob": 1.0, **no_kind, kind: 1.0}}
    tasks: dict[str, Callable[[], object]] = {
        "speed": lambda: change_speed(speech, 0.9),
        "noise": lambda: add_noise(speech, speech[::-1].copy(), 10.0),
    }
    for name, conf in sections.items():
        augmentor = WaveformAugmentor(AugmentConf.model_validate(conf), RATE)
        rng = np.random.default_rng(0)
        tasks[name] = partial(augmentor, speech, rng)
    print("| augmentation | ms for 2 s |\n|---|---|")
    for name, task in tasks.items():
        times_s = []
        for _ in range(num_runs):
            start = time.process_time()
            task()
            times_s.append(time.process_time() - start)
        print(f"| {name} | {1000 * float(np.median(times_s)):.2f} |", flush=True)


def configure(args: argparse.Namespace, name: str) -> Config:
    """The configuration of the main job, shortened, with one of the augmentations."""
    settings: dict[str, Any] = {
        "dataset_conf.train_list": f"{args.data}/lists/train.txt",
        "dataset_conf.data_root": str(args.data),
        "model_conf.backbone.channels": args.channels,
        "train_conf.max_epoch": args.epochs,
        "augment_conf": AUGMENTATIONS[name],
    }
    if AUGMENTATIONS[name]["noise"]["prob"]:
        settings["augment_conf.noise.noise_dir"] = f"{args.data}/noise/train"
        settings["augment_conf.reverb.reverb_dir"] = f"{args.data}/rir/train"
    return load_config(CONFIG, [f"{key}={value}" for key, value in settings.items()])


def train(config: Config, out: Path) -> Path:
    """Train and print wall time and speed."""
    done = timed_training(config, out, out / "log")
    print(f"{out.name}: {done.wall_s:.0f} s wall, {done.speed:.1f} utterances/s", flush=True)
    return done.folder


def measure(encoders: dict[str, SpeakerEncoder], data: Path, out: Path) -> None:
    """EER and minDCF on every list of trials: clean, noisy, reverberant, both."""
    names = " | ".join(f"{name}: EER / minDCF" for name in encoders)
    print(f"| trials | {names} |\n|---|" + "---|" * len(encoders))
    for condition, spoil in conditions(data).items():
        figures = []
        for trials_list in sorted((data / "lists").glob("dev_*.trials")):
            root = data if spoil is None else spoilt(trials_list, data, out / condition, spoil)
            results = [
                verify_lists(encoder, str(trials_list), root=str(root)).calibration
                for encoder in encoders.values()
            ]
            figures.append([value for r in results for value in (r.eer, r.min_dcf)])
            cells = [f"{100 * r.eer:.2f} % / {r.min_dcf:.3f}" for r in results]
            print(f"| {condition}: {trials_list.stem} | {' | '.join(cells)} |", flush=True)
        mean = np.mean(figures, axis=0)
        cells = [f"{100 * mean[i]:.2f} % / {mean[i + 1]:.3f}" for i in range(0, len(mean), 2)]
        print(f"| **{condition}: mean** | {' | '.join(cells)} |", flush=True)


Spoil = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def conditions(data: Path) -> dict[str, Spoil | None]:
    """What is done to the clips of the trials; the random numbers depend on a clip's path alone."""
    noises = [read_audio(path, RATE) for path in sorted((data / "noise/dev").rglob("*.flac"))]
    rooms = [read_audio(path, RATE) for path in sorted((data / "rir/dev").rglob("*.flac"))]

    def noisy(waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        noise = noises[rng.integers(len(noises))]
        start = int(rng.integers(max(1, len(noise) - len(waveform) + 1)))
        return add_noise(
            waveform, np.resize(noise[start:], len(waveform)), float(rng.uniform(*SNR_DB))
        )

    def reverberant(waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return add_reverb(waveform, rooms[rng.integers(len(rooms))])

    def both(waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return noisy(reverberant(waveform, rng), rng)

    return {"clean": None, "noisy": noisy, "reverberant": reverberant, "both": both}


def spoilt(trials_list: Path, data: Path, root: Path, spoil: Spoil) -> Path:
    """Write spoilt copies of a list's clips under a folder; returns the folder."""
    for path in read_trials(trials_list, str(data)).paths:
        name = Path(path).relative_to(data)
        target = root / name  # keeps its name; what it holds is found by content
        if target.exists():
            continue
        rng = np.random.default_rng(zlib.crc32(str(name).encode()))
        waveform = spoil(read_audio(path, RATE), rng)
        target.parent.mkdir(parents=True, exist_ok=True)
        peak = float(np.abs(waveform).max())
        soundfile.write(target, waveform / max(peak, 1.0), RATE, format="FLAC", subtype="PCM_16")
    return root


if __name__ == "__main__":
    main()
