"""The main job on real speech: train EcapaTdnn, then measure it on speakers it has never heard.

  python benchmarks/real_speech.py --data DIR             train (about half an hour), then measure
  python benchmarks/real_speech.py --data DIR --model M   measure the model folder M only

DIR holds lists/train.txt (lines 'path<TAB>speaker'), lists/dev_*.trials (lines 'label path path'),
noise/train and rir/train; paths in the lists are relative to DIR. On each list of trials three
systems are measured: the trained model, the same network untrained, and the mean MFCC vector of a
clip, all compared by cosine.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from common import print_machine, timed_training

from mvector.audio import read_audio
from mvector.cli.running import set_up_logging
from mvector.config import Config, load_config
from mvector.embedding import SpeakerEncoder
from mvector.evaluation import Calibration, calibrate
from mvector.evaluation.run import verify_lists
from mvector.features import build_featurizer
from mvector.models.speaker_model import SpeakerModel
from mvector.scoring import cosine_scores, read_trials

CONFIG = Path(__file__).with_name("real_speech.yml")


def main() -> None:
    """Train, measure, print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, type=Path, help="folder of the corpora and lists")
    parser.add_argument("--model", type=Path, help="trained model folder; without it: train first")
    parser.add_argument("--out", type=Path, default=Path("models/real_speech"))
    args = parser.parse_args()
    set_up_logging(shows_progress=True)
    print_machine()
    config = configure(args.data)
    model = args.model or train(config, args.out)
    measure(config, model, args.data)


def configure(data: Path, settings: Sequence[str] = ()) -> Config:
    """The benchmark's configuration for a folder of data, with further settings."""
    return load_config(CONFIG, [*places(data), *settings])


def places(data: Path) -> list[str]:
    """Settings that say where lists, noises and rooms are."""
    return [
        f"dataset_conf.train_list={data}/lists/train.txt",
        f"dataset_conf.data_root={data}",
        f"augment_conf.noise.noise_dir={data}/noise/train",
        f"augment_conf.reverb.reverb_dir={data}/rir/train",
    ]


def train(config: Config, out: Path) -> Path:
    """Train and print wall time and speed."""
    done = timed_training(config, out, out / "log")
    print(f"training: {done.wall_s:.0f} s wall, {done.speed:.1f} utterances/s, all included")
    return done.folder


def measure(config: Config, folder: Path, data: Path) -> None:
    """EER and minDCF of the three systems on every list of trials, and the mean over the lists."""
    trained = SpeakerEncoder.from_folder(folder, "cpu")
    torch.manual_seed(config.train_conf.seed)
    untrained = SpeakerEncoder(SpeakerModel.from_config(config).eval(), device="cpu")
    print("| trials | target / non-target | trained EER / minDCF | untrained | MFCC mean |")
    print("|---|---|---|---|---|")
    figures = []
    for trials_list in sorted((data / "lists").glob("dev_*.trials")):
        results = [
            verify_lists(encoder, str(trials_list), root=str(data)).calibration
            for encoder in (trained, untrained)
        ]
        results.append(mfcc_baseline(trials_list, data))
        figures.append([value for r in results for value in (r.eer, r.min_dcf)])
        cells = " | ".join(f"{100 * r.eer:.2f} % / {r.min_dcf:.3f}" for r in results)
        counts = f"{results[0].num_target} / {results[0].num_nontarget}"
        print(f"| {trials_list.stem} | {counts} | {cells} |", flush=True)
    mean = np.mean(figures, axis=0)
    cells = " | ".join(f"{100 * mean[i]:.2f} % / {mean[i + 1]:.3f}" for i in (0, 2, 4))
    print(f"| **mean** | | {cells} |")


def mfcc_baseline(trials_list: Path, data: Path) -> Calibration:
    """Cosine of clips' mean MFCC vectors, the first coefficient (loudness) left out."""
    trials = read_trials(trials_list, str(data))
    featurizer = build_featurizer(
        {
            "feature_method": "MFCC",
            "method_args": {"n_mfcc": 30, "melkwargs": {"n_mels": 80}},
            "normalize_mean": False,
        }
    )
    means = []
    for path in trials.paths:
        features, _ = featurizer(torch.from_numpy(read_audio(path)).unsqueeze(0))
        means.append(features[0, :, 1:].mean(dim=0).numpy())
    vectors = np.stack(means)
    vectors -= vectors.mean(axis=0)
    scores = cosine_scores(vectors, vectors, trials)
    return calibrate(scores, trials.labels, description=str(trials_list))


if __name__ == "__main__":
    main()
