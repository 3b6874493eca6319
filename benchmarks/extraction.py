"""Extraction of short clips beside the bare model: how much of its speed is left.

  python benchmarks/extraction.py --data DIR

DIR holds lists/dev_speech_commands.txt (lines 'path<TAB>label', paths relative to DIR): words of
one second, as files of the corpus (Opus) and as WAV copies. The bare model has all clips decoded,
sorted and in batches of 16. On a CPU decoding takes its time from the same cores.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from common import interleaved_times, print_machine

from mvector.audio import read_audio, write_wav
from mvector.config import load_config
from mvector.data import read_list
from mvector.embedding import SpeakerEncoder
from mvector.embedding.extraction import extract_embeddings
from mvector.models.speaker_model import SpeakerModel

CONFIG = Path(__file__).parents[1] / "configs/ecapa_tdnn.yml"
BATCH_SIZE = 16


def main() -> None:
    """Measure, print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, type=Path, help="folder of the corpora and lists")
    parser.add_argument("--channels", nargs="+", type=int, default=[256, 512, 1024])
    args = parser.parse_args()
    print_machine()
    files = list(read_list(args.data / "lists/dev_speech_commands.txt", root=args.data).paths)
    with tempfile.TemporaryDirectory() as folder:
        copies = []
        for number, path in enumerate(files):
            copies.append(str(Path(folder) / f"{number}.wav"))
            write_wav(Path(copies[-1]), read_audio(path), 16000)
        print("| channels | bare, clips/s | from Opus | from WAV |\n|---|---|---|---|")
        for channels in args.channels:
            print_row(channels, files, copies)


def print_row(channels: int, files: Sequence[str], copies: Sequence[str]) -> None:
    """One width of EcapaTdnn, untrained."""
    config = load_config(CONFIG, [f"model_conf.backbone.channels={channels}"])
    encoder = SpeakerEncoder(SpeakerModel.from_config(config).eval(), device="cpu")
    clips = sorted((encoder.model.front_end.read_clip(path) for path in copies), key=len)
    tasks: dict[str, Callable[[], object]] = {
        "bare": lambda: bare(encoder, clips),
        "Opus": lambda: extract_embeddings(encoder, files),
        "WAV": lambda: extract_embeddings(encoder, copies),
    }
    times = {name: min(seconds) for name, seconds in interleaved_times(tasks, 2).items()}
    cells = [f"{len(files) / times['bare']:.0f}"]
    for name in ("Opus", "WAV"):
        share = 100 * times["bare"] / times[name]
        cells.append(f"{len(files) / times[name]:.0f} ({share:.0f} %)")
    print(f"| {channels} | {' | '.join(cells)} |", flush=True)


def bare(encoder: SpeakerEncoder, clips: list[np.ndarray]) -> None:
    """The model alone."""
    for start in range(0, len(clips), BATCH_SIZE):
        encoder._inference.begin(clips[start : start + BATCH_SIZE])()


if __name__ == "__main__":
    main()
