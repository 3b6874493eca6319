"""The rows of docs/model_card.md: error rates of several models, in every condition.

  PYTHONPATH=. python benchmarks/default_model_rows.py --data DIR NAME=FOLDER …

Lists and conditions are those of benchmarks/default_model.py, and DIR is the same folder. Cells are
EER / minDCF (p_target 0.01) of cosines: the mean of all lists by condition, then by list and of
longer clips, as they are. At last, how the last model differs from the others.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from common import print_machine
from default_model import (
    AS_THEY_ARE,
    cell_text,
    development_clips,
    figures_of,
    mean_figures,
    score_conditions,
    shorter_durations,
)

from mvector.embedding import SpeakerEncoder
from mvector.evaluation import bootstrap_difference
from mvector.scoring import PairTrials
from mvector.scoring.trial_speakers import trial_speakers


def main() -> None:
    """Measure all models in one go and print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, type=Path, help="folder of the corpora and lists")
    parser.add_argument("--clean_only", action="store_true", help="the clips as they are, only")
    parser.add_argument("models", nargs="+", metavar="NAME=FOLDER")
    args = parser.parse_args()
    for model in args.models:
        if "=" not in model:
            parser.error(f"'{model}' is no NAME=FOLDER.")
    print_machine()
    folders = dict(model.split("=", 1) for model in args.models)
    encoders = [SpeakerEncoder.from_folder(folder, "cpu") for folder in folders.values()]
    lists, waveforms = development_clips(args.data)
    labels = {name: trials.labels for name, trials in lists.items()}
    columns = selections(lists, waveforms)
    means: dict[str, list[str]] = {}
    clean: list[np.ndarray] = []
    scored = score_conditions(encoders, lists, waveforms, args.data, clean_only=args.clean_only)
    for condition, all_scores in scored:
        means[condition] = [
            cell_text(mean_figures(figures_of(scores[name], labels[name]) for name in lists))
            for scores in all_scores
        ]
        print(condition, means[condition], flush=True)
        if condition == AS_THEY_ARE:
            clean = [np.concatenate(list(scores.values())) for scores in all_scores]
    print_table(["model", *means], folders, list(zip(*means.values(), strict=True)))
    all_labels = np.concatenate(list(labels.values()))
    rows = [
        [cell_text(figures_of(scores[mask], all_labels[mask])) for mask in columns.values()]
        for scores in clean
    ]
    print_table(["model", *columns], folders, rows)
    if len(clean) == 1:
        return
    speakers = all_speakers(lists)
    rows = [
        [difference(clean[-1], scores, all_labels, speakers, mask) for mask in columns.values()]
        for scores in clean[:-1]
    ]
    names = list(folders)
    print(f"\nEER of {names[-1]} less that of the others, in points, as they are (95 %):")
    print_table(["model", *columns], names[:-1], rows)


def selections(
    lists: dict[str, PairTrials], waveforms: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Masks over the trials of all lists, one after the other."""
    of_list = np.concatenate([np.full(len(trials), name) for name, trials in lists.items()])
    shorter_s = np.concatenate([shorter_durations(each, waveforms) for each in lists.values()])
    return {
        **{name: of_list == name for name in lists},
        "2 s and more": shorter_s >= 2,
        "read, 4 s and more": (of_list == "librispeech") & (shorter_s >= 4),
    }


def all_speakers(lists: dict[str, PairTrials]) -> np.ndarray:
    """Speakers of both sides of all trials, ``(2, trials)``, other numbers in every list."""
    found, offset = [], 0
    for trials in lists.values():
        found.append(np.array(trial_speakers(trials)) + offset)
        offset = int(found[-1].max()) + 1
    return np.concatenate(found, axis=1)


def difference(
    scores: np.ndarray,
    other: np.ndarray,
    labels: np.ndarray,
    speakers: np.ndarray,
    mask: np.ndarray,
) -> str:
    """How much higher one EER is than the other, by drawing speakers."""
    chosen = (scores[mask], other[mask], labels[mask], speakers[0][mask], speakers[1][mask])
    eer = bootstrap_difference(*chosen).eer
    return f"{100 * eer.estimate:+.2f} ({100 * eer.low:+.2f} to {100 * eer.high:+.2f})"


def print_table(header: list[str], names: Iterable[str], rows: Sequence[Sequence[str]]) -> None:
    """A table in Markdown."""
    print(f"\n| {' | '.join(header)} |\n|{'---|' * len(header)}")
    for name, row in zip(names, rows, strict=True):
        print(f"| {name} | {' | '.join(row)} |")


if __name__ == "__main__":
    main()
