"""What silence, noise and an offset in a clip do to its embedding, and to error rates.

    PYTHONPATH=. python benchmarks/silence.py --data DIR
    PYTHONPATH=. python benchmarks/silence.py --data DIR --model_path M --drop_silence True --eer

Clips of the development lists, equally many of each, are embedded as they are and with three
seconds of something before, behind or in the middle of them; the cosine tells whether that is the
same voice still. Cells: median (lowest). With ``--eer``, then the EER of each list with all of its
clips as they are. ``--drop_silence`` hears with that front end, whatever the model folder says.

DIR holds lists/dev_*.trials (lines 'label path path'); paths in the lists are relative to DIR.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from common import print_machine
from default_model import RATE, rowwise_cosines

from mvector.audio import read_audio
from mvector.embedding import SpeakerEncoder
from mvector.evaluation import compute_eer
from mvector.recognition.model_choice import DEFAULT_MODEL
from mvector.scoring import PairTrials, cosine_scores, read_trials

SECONDS = 3.0
PLACES: dict[str, Callable[[int], int]] = {
    "before": lambda length: 0,
    "behind": lambda length: length,
    "in the middle": lambda length: length // 2,
}
Change = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, type=Path, help="folder of the corpora and lists")
    parser.add_argument("--model_path", type=Path, default=DEFAULT_MODEL, help="model folder")
    parser.add_argument("--drop_silence", choices=("True", "False"), help="in the model's place")
    parser.add_argument("--eer", action="store_true", help="error rates of the lists, too")
    parser.add_argument("--num_clips", type=int, default=60, help="of all lists together")
    args = parser.parse_args()
    print_machine()
    encoder = SpeakerEncoder.from_folder(args.model_path, "cpu")
    if args.drop_silence:
        front_end = encoder.model.front_end
        encoder.model.front_end = replace(front_end, drop_silence=args.drop_silence == "True")
    print(f"drop_silence: {encoder.model.front_end.drop_silence}\n")
    lists = {
        path.stem.removeprefix("dev_"): read_trials(path, str(args.data))
        for path in sorted((args.data / "lists").glob("dev_*.trials"))
    }
    rng = np.random.default_rng(0)
    chosen = [
        read_audio(path, RATE)
        for trials in lists.values()
        for path in rng.permutation(trials.paths)[: args.num_clips // len(lists)]
    ]
    print_cosines(encoder, chosen)
    if args.eer:
        print(f"\n| EER | {' | '.join(lists)} |\n|---|{'---|' * len(lists)}")
        rates = [f"{100 * equal_error_rate(encoder, trials):.2f} %" for trials in lists.values()]
        print(f"| as they are | {' | '.join(rates)} |")


def equal_error_rate(encoder: SpeakerEncoder, trials: PairTrials) -> float:
    """Of the cosines of single clips."""
    embeddings = encoder.embed_batch(list(trials.paths))
    scores = np.asarray(cosine_scores(embeddings, embeddings, trials), dtype=np.float64)
    return compute_eer(scores, trials.labels)[0]


def print_cosines(encoder: SpeakerEncoder, clips: Sequence[np.ndarray]) -> None:
    """The table of cosines between clips as they are and with something in them."""
    plain = encoder.embed_batch([(clip, RATE) for clip in clips])
    print(f"| {len(clips)} clips with | {' | '.join(PLACES)} |\n|---|{'---|' * len(PLACES)}")
    for name, sound in stretches().items():
        cells = []
        for place in PLACES.values():
            changed = [np.insert(clip, place(len(clip)), sound) for clip in clips]
            cells.append(cosine_cell(encoder, plain, changed))
        print(f"| {SECONDS:g} s of {name} | {' | '.join(cells)} |", flush=True)
    for offset in (0.01, 0.3):
        cell = cosine_cell(encoder, plain, [clip + np.float32(offset) for clip in clips])
        print(f"| an offset of {offset:g}, everywhere | {' | '.join([cell] * len(PLACES))} |")


def cosine_cell(encoder: SpeakerEncoder, plain: np.ndarray, changed: Sequence[np.ndarray]) -> str:
    """Median and lowest cosine to the embeddings of the same clips as they are."""
    found = encoder.embed_batch([(clip.astype(np.float32), RATE) for clip in changed])
    cosines = rowwise_cosines(found, plain)
    return f"{np.median(cosines):.4f} ({cosines.min():.4f})"


def stretches() -> dict[str, np.ndarray]:
    """What is put into clips, by name."""
    rng, count = np.random.default_rng(1), round(SECONDS * RATE)
    noise = rng.normal(size=count)
    return {
        "zeros": np.zeros(count),
        "a constant 0.1": np.full(count, 0.1),
        "dither of one 16-bit step": rng.integers(-1, 2, count) / 32768,
        "noise at -70 dB": 10 ** (-70 / 20) * noise,
    }


if __name__ == "__main__":
    main()
