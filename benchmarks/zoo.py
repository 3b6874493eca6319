"""Short trainings on real speech that show whether every part learns: one table each for
backbones, losses, poolings and features.

  python benchmarks/zoo.py --data DIR --table backbones            all rows of a table
  python benchmarks/zoo.py --data DIR --table losses --rows CELoss AAMLoss

DIR holds lists/train.txt (lines 'path<TAB>speaker'), lists/dev_an4.trials and
lists/dev_speech_commands.trials (lines 'label path path'); paths in the lists are relative to DIR.
Every row sees the same clips in the same order: the speakers of train.txt with the most clips, a
few clips of each, random crops of one second, no augmentation. Speakers of the trials are not
among them. Beside each trained network stands the same one before training.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from common import print_machine, timed_training

from mvector.config import Config, load_config
from mvector.data.lists import write_list
from mvector.embedding import SpeakerEncoder
from mvector.evaluation.run import verify_lists
from mvector.models.speaker_model import SpeakerModel

CONFIGS = Path(__file__).parents[1] / "configs"
TRIALS = ("dev_an4", "dev_speech_commands")
CROP_FRAMES = 98  # of one second

SMALL_ECAPA = {"model_conf.backbone.channels": 192}
NO_SCHEDULE = {"loss_conf.use_margin_scheduler": False, "loss_conf.margin_scheduler_args": {}}
PK_BATCHES = {"dataset_conf.batch_sampler": "speakers", "dataset_conf.sample_per_id": 4}
FBANK = {"num_mel_bins": 80}
MEL = {"n_fft": 512, "win_length": 400, "hop_length": 160}


def loss(name: str, **args: Any) -> dict[str, Any]:
    """The settings of a loss with its default arguments but for the ones given."""
    return {"loss_conf.use_loss": name, "loss_conf.args": args}


# row -> (configuration file, settings that differ from it)
TABLES: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    "backbones": {
        "EcapaTdnn": ("ecapa_tdnn", {}),
        "TDNN": ("tdnn", {}),
        "Res2Net": ("res2net", {}),
        "CAMPPlus": ("campplus", {}),
        "ResNetSE": ("resnet_se", {}),
        "ResNet34": ("resnet", {}),
        "ERes2Net": ("eres2net", {}),
        "ERes2NetV2": ("eres2net_v2", {}),
        "ERes2NetV2, 16 channels": ("eres2net_v2", {"model_conf.backbone.channels": 16}),
        "SimAMResNet34": ("simam_resnet", {}),
        "PreActResNet": ("preact_resnet", {}),
        "DFResNet": ("df_resnet", {}),
        "ReDimNet-B2": ("redimnet", {}),
        "ReDimNet2-B2": ("redimnet2", {}),
        "TitaNet": ("titanet", {}),
        "SimAMResNet34, 16 channels": ("simam_resnet", {"model_conf.backbone.channels": 16}),
        "PreActResNet, 32 channels": (
            "preact_resnet",
            {"model_conf.backbone.channels": [32, 32, 64, 64]},
        ),
        "DFResNet, 8 channels": ("df_resnet", {"model_conf.backbone.channels": 8}),
        "ReDimNet-B0": ("redimnet", {"model_conf.backbone.size": "B0"}),
        "ReDimNet2-B0": ("redimnet2", {"model_conf.backbone.size": "B0"}),
    },
    "losses": {
        "CELoss": ("ecapa_tdnn", {**loss("CELoss"), **NO_SCHEDULE}),
        "AAMLoss": ("ecapa_tdnn", loss("AAMLoss")),
        "AMLoss": ("ecapa_tdnn", loss("AMLoss")),
        "ARMLoss": ("ecapa_tdnn", loss("ARMLoss")),
        "SphereFace2 A": ("ecapa_tdnn", loss("SphereFace2", margin_type="A")),
        "SphereFace2 C": ("ecapa_tdnn", loss("SphereFace2", margin_type="C")),
        "SubCenterLoss": ("ecapa_tdnn", loss("SubCenterLoss")),
        "TripletAngularMarginLoss": (
            "ecapa_tdnn",
            {**loss("TripletAngularMarginLoss"), **NO_SCHEDULE, **PK_BATCHES},
        ),
    },
    "poolings": {
        name: ("ecapa_tdnn", {"model_conf.backbone.pooling_type": name})
        for name in ("TAP", "TSP", "TSTP", "SAP", "ASP", "MHASTP", "MQMHASTP")
    },
    "features": {
        "Fbank": ("ecapa_tdnn", {}),
        "MelSpectrogram": (
            "ecapa_tdnn",
            {
                "preprocess_conf.feature_method": "MelSpectrogram",
                "preprocess_conf.method_args": {**MEL, "n_mels": 80},
                "preprocess_conf.log_spectrum": True,
            },
        ),
        "Spectrogram": (
            "ecapa_tdnn",
            {
                "preprocess_conf.feature_method": "Spectrogram",
                "preprocess_conf.method_args": MEL,
                "preprocess_conf.log_spectrum": True,
            },
        ),
        "MFCC": (
            "ecapa_tdnn",
            {
                "preprocess_conf.feature_method": "MFCC",
                "preprocess_conf.method_args": {"n_mfcc": 40, "melkwargs": {**MEL, "n_mels": 80}},
            },
        ),
    },
}


def main() -> None:
    """Train and measure the rows of one table, each printed when it is done."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", required=True, type=Path, help="folder of the corpora and lists")
    add("--table", required=True, choices=sorted(TABLES))
    add("--rows", nargs="+", help="only these rows of the table")
    add("--speakers", type=int, default=100, help="training speakers (default: %(default)s)")
    add("--clips", type=int, default=8, help="clips of each (default: %(default)s)")
    add("--epochs", type=int, default=4, help="(default: %(default)s)")
    add("--out", type=Path, default=Path("models/zoo"), help="models (default: %(default)s)")
    args = parser.parse_args()
    table = TABLES[args.table]
    if unknown := set(args.rows or ()) - set(table):
        parser.error(f"the table {args.table} has no row {sorted(unknown)}; it has {list(table)}")
    print_machine()
    train_list = args.out / "train.txt"
    num_clips = choose_clips(args.data / "lists/train.txt", train_list, args.speakers, args.clips)
    print(f"{num_clips} clips of {args.speakers} speakers, {args.epochs} epochs")
    names = " | ".join(f"{name} EER / minDCF | untrained" for name in TRIALS)
    print(f"| | parameters | multiply-adds, 1 s | utterances/s | last accuracy | {names} |")
    print("|---|" + "---|" * (4 + 2 * len(TRIALS)), flush=True)
    for row in args.rows or table:
        file, settings = table[row]
        if args.table != "backbones":
            settings = {**SMALL_ECAPA, **settings}
        config = row_config(file, settings, args.data, train_list, args.epochs)
        print(f"| {row} | " + " | ".join(measure(config, args.data, args.out)) + " |", flush=True)


def choose_clips(source: Path, target: Path, num_speakers: int, clips_each: int) -> int:
    """Write the list of the speakers with the most clips, relabelled from 0; returns its length."""
    clips_of: dict[str, list[str]] = defaultdict(list)
    for line in source.read_text(encoding="utf-8").splitlines():
        path, label = line.split("\t")
        clips_of[label].append(path)
    chosen = sorted(clips_of.values(), key=len, reverse=True)[:num_speakers]
    entries = [(path, label) for label, own in enumerate(chosen) for path in own[:clips_each]]
    target.parent.mkdir(parents=True, exist_ok=True)
    write_list(target, entries)
    return len(entries)


def row_config(
    file: str, settings: dict[str, Any], data: Path, train_list: Path, epochs: int
) -> Config:
    """The configuration of a row: the published one of its backbone, but for a short training."""
    common = {
        "dataset_conf.train_list": str(train_list),
        "dataset_conf.data_root": str(data),
        "dataset_conf.max_duration": 1.0,
        "dataset_conf.min_duration": 0.3,
        "dataset_conf.dataLoader.batch_size": 32,
        "dataset_conf.dataLoader.num_workers": 0,
        "loss_conf.margin_scheduler_args": {"initial_margin": 0.0, "final_margin": 0.1},
        "optimizer_conf.scheduler_args": {"warmup_epoch": 1, "min_lr": 1e-5},
        "optimizer_conf.learning_rate": 0.001,
        "train_conf.max_epoch": epochs,
        "train_conf.seed": 1000,
    }
    overrides = {**common, **settings}
    return load_config(
        CONFIGS / f"{file}.yml", [f"{key}={value}" for key, value in overrides.items()]
    )


def measure(config: Config, data: Path, out: Path) -> list[str]:
    """Train one row; returns its cells."""
    torch.manual_seed(config.train_conf.seed)
    untrained = SpeakerModel.from_config(config).eval()
    cells = count(untrained)
    folder = out / untrained.name
    shutil.rmtree(folder, ignore_errors=True)
    done = timed_training(config, out, folder / "log")
    cells.append(f"{done.speed:.1f}")
    curves = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    cells.append(f"{100 * json.loads(curves[-1])['train/accuracy']:.1f} %")
    trained = SpeakerEncoder.from_folder(done.folder, "cpu")
    for trials in TRIALS:
        for encoder in (trained, SpeakerEncoder(untrained, device="cpu")):
            path = str(data / "lists" / f"{trials}.trials")
            result = verify_lists(encoder, path, root=str(data)).calibration
            cells.append(f"{100 * result.eer:.2f} % / {result.min_dcf:.3f}")
    return cells


def count(model: SpeakerModel) -> list[str]:
    """Parameters, and multiply-adds for a clip of one second."""
    from torchinfo import summary

    size = (1, CROP_FRAMES, model.featurizer.feature_dim)
    stats = summary(model.backbone, input_size=size, verbose=0)
    return [f"{stats.total_params:,}", f"{stats.total_mult_adds / 1e6:.0f} M"]


if __name__ == "__main__":
    main()
