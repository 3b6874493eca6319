"""What a second and a third clip of a person are worth to the verdicts of the model in the box.

  python benchmarks/default_model_enrolled.py --model M [--check LIST]

Judges as default_model_calibration.py does, with what it keeps below --cache: each corpus by a
calibration and strangers of all others, clips as they are and through every channel. Here people
are enrolled with one, two or three clips, as a library would keep them, and all clips that are left
of everybody are compared with everybody enrolled. LIST is that of default_model_calibration.py;
without it, the corpora that calibrate are left out in turn.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from common import print_machine
from default_model_calibration import hear_checked, parser_of
from verdict_trials import HeardClips

from mvector.evaluation.quality import SIDE_MEASURES, pair_quality
from mvector.recognition.judge import Judge
from mvector.recognition.verdict_rates import count_verdicts
from mvector.scoring.cohort import Cohort
from mvector.scoring.strangers import likeness

MOST_ENROLLED, LEAST_PEOPLE = 3, 8
LIKENESS = SIDE_MEASURES.index("likeness")


def main() -> None:
    """Print a table."""
    args = parser_of(__doc__).parse_args()
    print_machine()
    checked = hear_checked(args)
    columns = (
        "corpus | people | clips enrolled | strangers accepted | own voice refused | cannot tell: "
        "own, stranger"
    )
    print(f"\n| {columns} |\n|{'---|' * 6}")
    for corpus, calibration, cohort in checked.by_others():
        print_corpus(corpus, Judge(calibration, None, ""), checked.clips, cohort)


def print_corpus(corpus: str, judge: Judge, heard: HeardClips, cohort: Cohort) -> None:
    """Rows of a corpus, if enough people have clips left when three are enrolled."""
    enrolled, tested = divided(heard, corpus)
    if len(enrolled) < LEAST_PEOPLE:
        return
    for num_clips in range(1, MOST_ENROLLED + 1):
        clips = enrolled[:, :num_clips]
        pairs = channel_pairs(heard)
        every = [verdicts(judge, heard, cohort, clips, tested, channels) for channels in pairs]
        counts = np.sum(every, axis=0)
        _, wrong, untold = np.moveaxis(counts / counts[:, :1], 1, 0)
        print(
            f"| {corpus} | {len(enrolled)} | {num_clips} | {100 * wrong[0]:.1f} % | "
            f"{100 * wrong[1]:.1f} % | {100 * untold[1]:.0f} %, {100 * untold[0]:.0f} % |"
        )


def divided(heard: HeardClips, corpus: str) -> tuple[np.ndarray, np.ndarray]:
    """Positions of three clips each of the people who have more, and of all clips that are left."""
    by_speaker: dict[str, list[int]] = {}
    for place in heard.of_corpus(corpus).tolist():
        by_speaker.setdefault(heard.clips[place].speaker, []).append(place)
    enough = [places for places in by_speaker.values() if len(places) > MOST_ENROLLED]
    tested = [place for places in enough for place in places[MOST_ENROLLED:]]
    return np.array([places[:MOST_ENROLLED] for places in enough]), np.array(tested)


def channel_pairs(heard: HeardClips) -> Iterator[tuple[int, int]]:
    """Channels of enrolment and test: the same, or none at the enrolment."""
    for channel in range(len(heard.channels)):
        yield channel, channel
        if channel:
            yield 0, channel


def verdicts(
    judge: Judge,
    heard: HeardClips,
    cohort: Cohort,
    enrolled: np.ndarray,
    tested: np.ndarray,
    channels: tuple[int, int],
) -> np.ndarray:
    """What ``count_verdicts`` gives of everybody's clips, compared with everybody enrolled."""
    vectors = heard.embeddings[enrolled, channels[0]].mean(axis=1)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    quality = heard.measures[enrolled, channels[0]].mean(axis=1)
    quality[:, 0] *= enrolled.shape[1]  # speech in total, the mean of all else: as a library has it
    quality[:, LIKENESS] = likeness(vectors, cohort)
    clips = heard.embeddings[tested, channels[1]]
    measures = heard.measures[tested, channels[1]].copy()
    measures[:, LIKENESS] = likeness(clips, cohort)
    person, clip = (places.ravel() for places in np.indices((len(enrolled), len(tested))))
    speakers = np.array([heard.clips[place].speaker for place in enrolled[:, 0]])
    spoken = np.array([heard.clips[place].speaker for place in tested])
    return count_verdicts(
        judge,
        np.einsum("nd,nd->n", vectors[person], clips[clip], dtype=np.float64),
        speakers[person] == spoken[clip],
        pair_quality(quality[person], measures[clip]),
        np.minimum(quality[person, 0], measures[clip, 0]),
    )


if __name__ == "__main__":
    main()
