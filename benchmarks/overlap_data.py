"""What the overlap network is trained on: made-up conversations, and how many speak in each moment.

  python benchmarks/overlap_data.py --data DIR [DIR2 ...] --out OUT [--hours 30]

The folders are those of benchmarks/default_model_data.py, and only their training lists are read.
People take turns as in the public conversations of mvector/diarization/turn_taking.py, but fall in
more often, so that there is enough to learn from: dry, in simulated rooms, by telephone, in noise.
Written below --out: features.npy ``(frames, bins)`` float16, a frame every 10 ms, without
normalisation; and counts.npy ``(frames / 2,)`` uint8, people who speak at every second frame.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
from collections import defaultdict
from functools import partial
from pathlib import Path

import numpy as np
import torch
from common import print_machine
from default_model_clips import RATE, listed

from mvector.audio import read_audio
from mvector.config.augment_options import ReverbConf
from mvector.data.augmentation.codec import telephone_line
from mvector.data.augmentation.noise import add_noise
from mvector.data.augmentation.rooms import draw_room
from mvector.diarization.simulation import SpeechTape, draw_seat, speak
from mvector.diarization.turn_taking import STYLES, draw_turns
from mvector.diarization.turns import Turn
from mvector.errors import MVectorError
from mvector.features.featurizer import Featurizer
from mvector.features.kaldi import Fbank
from mvector.progress import progress_bar

NUM_BINS = 80
CONVERSATION_S = 60.0
CONVERSATIONS_OF_GROUP, PEOPLE_OF_GROUP = 8, 8  # of some people several, as reading them takes long
CLIPS_OF_PERSON = 8
WEIGHTS = {"librispeech": 4.0, "common_voice": 3.0, "speechocean762": 2.5, "aishell": 0.1}
SHARE_OF_ROOMS, SHARE_OF_TELEPHONES, SHARE_OF_NOISE = 0.55, 0.2, 0.6
SPREAD_DB, SNR_DB, FLOOR_DB = 7.0, (3.0, 25.0), (25.0, 50.0)

Person = tuple[str, list[str]]  # name, and paths of clips


def main() -> None:
    """Make conversations."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--hours", type=float, default=30.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print_machine()
    people = people_of(args.data)
    noises = sorted(map(str, (args.data[0] / "noise/train").rglob("*.*")))
    number = round(3600 * args.hours / CONVERSATION_S / CONVERSATIONS_OF_GROUP)
    make = partial(make_group, people, noises, args.seed)
    features, counts = [], []
    with (
        multiprocessing.get_context("spawn").Pool(args.workers) as pool,
        progress_bar(total=number, desc="Making", unit="group") as bar,
    ):
        for own_features, own_counts in pool.imap(make, range(number)):
            features.append(own_features)
            counts.append(own_counts)
            bar.update(1)
    args.out.mkdir(parents=True, exist_ok=True)
    np.save(args.out / "features.npy", np.concatenate(features))
    np.save(args.out / "counts.npy", np.concatenate(counts))
    shares = np.bincount(np.concatenate(counts), minlength=3) / sum(map(len, counts))
    print("share of the time in which 0, 1, ... people speak:", np.round(shares, 3))


def people_of(folders: list[Path]) -> dict[str, list[Person]]:
    """The people of each corpus that has weight, with the clips of the training lists."""
    clips: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for data in folders:
        for row in listed(data, "train.txt"):
            if row["corpus"] in WEIGHTS:
                clips[row["corpus"]][row["speaker"]].append(str(data / row["path"]))
    return {corpus: list(own.items()) for corpus, own in clips.items()}


def make_group(
    people: dict[str, list[Person]], noises: list[str], seed: int, number: int
) -> tuple[np.ndarray, np.ndarray]:
    """Features and counts of conversations among a few people of one corpus."""
    torch.set_num_threads(1)
    rng = np.random.default_rng([seed, number])
    weights = np.array([WEIGHTS[corpus] for corpus in people])
    corpus = rng.choice(list(people), p=weights / weights.sum())
    own = people[corpus]
    drawn = rng.permutation(len(own))[:PEOPLE_OF_GROUP]
    tapes = []
    for place in drawn:
        name, paths = own[place]
        some = [paths[k] for k in rng.permutation(len(paths))[:CLIPS_OF_PERSON]]
        try:
            tapes.append(SpeechTape(name, some, RATE, "silero"))
        except MVectorError:
            continue
    featurizer = Featurizer(Fbank(num_mel_bins=NUM_BINS), normalize_mean=False)
    features, counts = [], []
    for _ in range(CONVERSATIONS_OF_GROUP):
        track, turns = converse(tapes, noises, rng)
        values = featurizer(torch.from_numpy(track)[None])[0][0].numpy()
        values = values[: len(values) // 2 * 2]
        features.append(values.astype(np.float16))
        counts.append(count_at(turns, 0.02 * np.arange(len(values) // 2) + 0.0125))
    return np.concatenate(features), np.concatenate(counts)


def converse(
    tapes: list[SpeechTape], noises: list[str], rng: np.random.Generator
) -> tuple[np.ndarray, list[Turn]]:
    """A conversation of some of the people: its samples, and who speaks when."""
    style = STYLES["meeting" if rng.random() < 0.75 else "broadcast"]
    style = dataclasses.replace(
        style,
        interjections_per_s=style.interjections_per_s * float(rng.uniform(1.0, 4.0)),
        changes_s=tuple(np.array(style.changes_s) - rng.uniform(0.0, 2.0)),
    )
    number = min(int(rng.integers(2, 7)), len(tapes))
    chosen = [tapes[k] for k in rng.permutation(len(tapes))[:number]]
    plan = draw_turns(style, number, CONVERSATION_S, rng)
    track = np.zeros(round(CONVERSATION_S * RATE), np.float32)
    room = draw_room(ReverbConf(), rng) if rng.random() < SHARE_OF_ROOMS else None
    turns: list[Turn] = []
    for person, tape in enumerate(chosen):
        gain = 10.0 ** (rng.uniform(-SPREAD_DB, SPREAD_DB) / 20.0)
        response = None
        if room is not None:
            response = draw_seat(room, RATE, 0.6, rng)
        own = [turn for turn in plan if turn.person == person]
        turns += [speak(turn, str(person), tape, track, response, gain) for turn in own]
    surround(track, noises, rng)
    if rng.random() < SHARE_OF_TELEPHONES:
        track = telephone_line(track, RATE)
    return track * np.float32(0.7 / max(float(np.abs(track).max()), 1e-9)), turns


def surround(track: np.ndarray, noises: list[str], rng: np.random.Generator) -> None:
    """Hiss, and mostly a noise."""
    sounds = [(rng.standard_normal(len(track), np.float32), FLOOR_DB)]
    if rng.random() < SHARE_OF_NOISE:
        noise = read_audio(noises[int(rng.integers(len(noises)))], RATE)
        start = int(rng.integers(len(noise)))
        sounds.append((np.take(noise, np.arange(start, start + len(track)), mode="wrap"), SNR_DB))
    for sound, snr_db in sounds:
        track[:] = add_noise(track, sound, rng.uniform(*snr_db))


def count_at(turns: list[Turn], at_s: np.ndarray) -> np.ndarray:
    """How many people speak at some moments, ``(moments,)`` uint8."""
    counts = np.zeros(len(at_s), np.uint8)
    for turn in turns:
        counts += (at_s >= turn.start_s) & (at_s < turn.end_s)
    return counts


if __name__ == "__main__":
    main()
