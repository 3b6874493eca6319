"""Embeddings in bfloat16 beside float32: how alike they are, and how fast.

  python benchmarks/half_inference.py [--models DIR ...]

Without models: the model in the box on the sample clips, and untrained ones of the published
configurations. Clips of 3 s, one by one and in batches, in turn.
"""

from __future__ import annotations

import argparse
from functools import partial

import numpy as np
import torch
from common import interleaved_times, print_machine
from step_cases import CONFIGS, FILES

from mvector.audio import read_audio
from mvector.config import load_config
from mvector.embedding import SpeakerEncoder
from mvector.embedding.inference import Precision
from mvector.export.checking import cosines
from mvector.models.folder import load_model_folder
from mvector.models.named import model_folder
from mvector.models.speaker_model import SpeakerModel

PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
BACKBONES = ("EcapaTdnn", "CAMPPlus", "ResNet", "ERes2Net")


def main() -> None:
    """Time, compare, print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=["box"], help="folders (default: box)")
    parser.add_argument("--batch_size", type=int, default=16, help="(default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    args = parser.parse_args()
    print_machine()
    models: dict[str, SpeakerModel] = {
        name: load_model_folder(model_folder(name))[0] for name in args.models
    }
    torch.manual_seed(0)
    for name in BACKBONES:
        config = load_config(CONFIGS / f"{FILES[name]}.yml")
        models[f"{name}, untrained"] = SpeakerModel.from_config(config).eval()
    paths = sorted((CONFIGS.parent / "dataset/samples").rglob("*.flac"))
    clips = [np.resize(read_audio(path), 48000) for path in paths]
    clips = (clips * args.batch_size)[: args.batch_size]
    print(
        "| model | clips/s one by one, float32 | bfloat16 | in batches | bfloat16 | least cosine |"
    )
    print("|---" * 6 + "|")
    for name, model in models.items():
        encoders = [SpeakerEncoder(model, device="cpu", precision=p) for p in PRECISIONS]
        run = [encoder._inference for encoder in encoders]
        tasks = {
            f"{p}, 1": partial(_embed, r, clips[:1]) for p, r in zip(PRECISIONS, run, strict=True)
        }
        tasks |= {p: partial(_embed, r, clips) for p, r in zip(PRECISIONS, run, strict=True)}
        seconds = {
            key: min(times) for key, times in interleaved_times({**tasks}, args.rounds).items()
        }
        one, other = (_embed(each, clips) for each in run)
        cosine = cosines(one, other).min()
        speeds = [1 / seconds[f"{p}, 1"] for p in PRECISIONS]
        speeds += [len(clips) / seconds[p] for p in PRECISIONS]
        print(f"| {name} | {' | '.join(f'{v:.1f}' for v in speeds)} | {cosine:.5f} |", flush=True)


def _embed(inference: object, clips: list[np.ndarray]) -> np.ndarray:
    with inference.evaluation_mode():  # type: ignore[attr-defined]
        return inference.begin(clips)()  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
