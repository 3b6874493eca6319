"""Who spoke when, measured: errors, names, people counted, time and memory, beside two baselines.

    python benchmarks/diarization.py SET [SET ...] [--model DIR] [--systems mvector spectral]

A SET is a folder of recordings with their RTTM beside them, as tools/simulate_meetings.py makes it
(its ``dev`` to choose settings, its ``test`` to report). With a ``library/`` in it, names are
measured too, and with a UEM file, only what that says is scored. Real excerpts do as well.

*live* is the same while it is spoken, turns with the labels that they were told with.

The baselines hear the same speech and the same windows, and lack all that comes behind:

- *threshold*: average linkage of the windows' cosines, cut at 0.5, and a turn for each window;
- *spectral*: spectral clustering of the same cosines, the number of people by the largest gap
  between eigenvalues (von Luxburg, *A tutorial on spectral clustering*, 2007).

With ``--hours``, the recordings of a set are one long one, one behind the other and again from the
beginning until it is so long: time and memory of long recordings.

Each system works on each set in a process of its own, whose peak memory is told, with interpreter
and model. The real-time factor is wall time over the duration of the recordings, with the model
loaded.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from common import print_machine

from mvector.audio import audio_info, audio_windows, read_audio
from mvector.diarization import Turn, read_rttm, read_uem
from mvector.diarization.error_rate import DiarizationErrors, score_recordings, total_errors
from mvector.diarization.hearing import Heard, hear
from mvector.diarization.live_hearing import STEP_S
from mvector.diarization.options import DiarizationOptions
from mvector.diarization.rttm import Regions, as_field
from mvector.diarization.voices import Voices
from mvector.embedding import SpeakerEncoder
from mvector.evaluation.reports.tables import percent
from mvector.models.named import model_folder
from mvector.recognition import diarizing
from mvector.recognition.predictor import MVectorPredictor
from mvector.speakers.names import person_of_folder

_THRESHOLD = 0.5
_MOST_PEOPLE = 10
_COLLAR_S = 0.25


@dataclass(frozen=True)
class RecordingSet:
    """Recordings by name, who speaks in them, and who is enrolled."""

    name: str
    paths: dict[str, str]
    reference: dict[str, list[Turn]]
    regions: dict[str, Regions] | None
    library: Path | None

    @classmethod
    def read(cls, folder: Path) -> RecordingSet:
        """What lies in a folder; turns of a recording that is not there are left out."""
        reference = read_rttm(folder)
        paths = {name: folder / f"{name}.wav" for name in reference}
        found = {name: str(path) for name, path in paths.items() if path.exists()}
        has_regions = any(folder.glob("*.uem"))
        regions = read_uem(folder) if has_regions else None
        library = folder / "library"
        return cls(
            "/".join(folder.parts[-2:]),
            {name: path for name, path in found.items() if regions is None or name in regions},
            {name: turns for name, turns in reference.items() if name in found},
            regions and {name: parts for name, parts in regions.items() if name in found},
            library if library.is_dir() else None,
        )

    @property
    def enrolled(self) -> list[str]:
        """Names as they stand in RTTM."""
        folders = () if self.library is None else self.library.iterdir()
        return [as_field(person_of_folder(folder)) for folder in folders if folder.is_dir()]


@dataclass(frozen=True)
class Result:
    """What a system found, and what it took."""

    turns: dict[str, list[Turn]]
    elapsed_s: float
    cpu_s: float
    clustering_s: float
    duration_s: float
    peak_bytes: int


def one_long(recordings: RecordingSet, hours: float, folder: Path) -> RecordingSet:
    """The recordings of a set one behind the other, until they last so many hours."""
    path, turns, end_s = folder / "long.wav", [], 0.0
    rate = audio_info(next(iter(recordings.paths.values()))).sample_rate
    with soundfile.SoundFile(path, "w", rate, 1, "PCM_16") as file:
        for name in cycle(recordings.paths):
            samples = read_audio(recordings.paths[name], rate)[
                : round((3600 * hours - end_s) * rate)
            ]
            file.write(samples)
            length_s = len(samples) / rate
            turns += [
                replace(turn, start_s=end_s + turn.start_s, end_s=end_s + min(turn.end_s, length_s))
                for turn in recordings.reference[name]
                if turn.start_s < length_s
            ]
            end_s += length_s
            if end_s >= 3600 * hours - 0.01:
                break
    name = f"{recordings.name}, {hours:g} h"
    return RecordingSet(name, {"long": str(path)}, {"long": turns}, None, recordings.library)


# ---- systems ------------------------------------------------------------------------------------


def cluster_by_threshold(units: np.ndarray) -> np.ndarray:
    """Labels of ``(windows, embd_dim)`` of length 1 by average linkage."""
    from sklearn.cluster import AgglomerativeClustering

    if len(units) < 2:
        return np.zeros(len(units), dtype=int)
    clustering = AgglomerativeClustering(
        n_clusters=None, distance_threshold=1 - _THRESHOLD, metric="cosine", linkage="average"
    )
    return clustering.fit_predict(units)


def cluster_by_spectrum(units: np.ndarray) -> np.ndarray:
    """Labels of ``(windows, embd_dim)`` of length 1 by spectral clustering."""
    from scipy.linalg import eigvalsh
    from sklearn.cluster import SpectralClustering

    if len(units) <= _MOST_PEOPLE:
        return np.zeros(len(units), dtype=int)
    affinity = np.clip(units @ units.T, 0.0, 1.0).astype(np.float64)
    degree = np.sqrt(affinity.sum(axis=1))
    laplacian = np.eye(len(units)) - affinity / degree[:, None] / degree
    smallest = eigvalsh(laplacian, subset_by_index=[0, _MOST_PEOPLE])
    num_people = int(np.argmax(np.diff(smallest))) + 1
    clustering = SpectralClustering(num_people, affinity="precomputed", random_state=0)
    return clustering.fit_predict(affinity)


def turns_of_windows(heard: Heard, labels: np.ndarray) -> list[Turn]:
    """A window speaks for what is nearer to its middle than to that of the next."""
    turns = []
    middles = heard.windows.mean(axis=1)
    borders = (middles[1:] + middles[:-1]) / 2
    starts = np.maximum(heard.windows[:, 0], np.r_[-np.inf, borders])
    ends = np.minimum(heard.windows[:, 1], np.r_[borders, np.inf])
    for start_s, end_s, label in zip(starts.tolist(), ends.tolist(), labels.tolist(), strict=True):
        if end_s > start_s:
            turns.append(Turn(start_s, end_s, f"Speaker {label + 1}"))
    return turns


def make_baseline(
    cluster: Callable[[np.ndarray], np.ndarray], model: Path, _: Path | None
) -> Callable[[str], list[Turn]]:
    """A system that knows no names, and has no use for a library."""
    encoder, usual = SpeakerEncoder.from_folder(model), DiarizationOptions()

    def diarize(path: str) -> list[Turn]:
        heard = hear(encoder, path, window_s=usual.window_s, hop_s=usual.hop_s)
        return turns_of_windows(heard, cluster(heard.units))

    return diarize


def make_mvector(model: Path, library: Path | None) -> Callable[[str], list[Turn]]:
    """The whole of it, as users have it."""
    predictor = MVectorPredictor(model, audio_db_path=library, use_gpu=False)
    return lambda path: list(predictor.diarize(path).turns)


def make_live(model: Path, library: Path | None) -> Callable[[str], list[Turn]]:
    """Turns as they end, by the labels that they were told with."""
    predictor = MVectorPredictor(model, audio_db_path=library, use_gpu=False)

    def diarize(path: str) -> list[Turn]:
        live = predictor.diarize_live()
        blocks = audio_windows(path, predictor.encoder.sample_rate, window_s=STEP_S)
        return [told.turn for block in blocks for told in live.hear(block)] + [
            told.turn for told in live.end()
        ]

    return diarize


SYSTEMS: dict[str, Callable[[Path, Path | None], Callable[[str], list[Turn]]]] = {
    "mvector": make_mvector,
    "live": make_live,
    "threshold": partial(make_baseline, cluster_by_threshold),
    "spectral": partial(make_baseline, cluster_by_spectrum),
}


# ---- measuring ----------------------------------------------------------------------------------


def measure(system: str, model: str, recordings: RecordingSet, warm_up: str) -> Result:
    """Diarize a set, in a process that has done nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        library = None
        if recordings.library is not None:  # a copy, as enrolling writes into it
            library = Path(shutil.copytree(recordings.library, Path(folder) / "library"))
        diarize = SYSTEMS[system](model_folder(model), library)
        diarize(warm_up)  # loads what is loaded when first used, and enrols
        clustering = _timed_clustering()
        start, start_cpu = time.perf_counter(), time.process_time()
        turns = {name: diarize(path) for name, path in recordings.paths.items()}
        elapsed_s, cpu_s = time.perf_counter() - start, time.process_time() - start_cpu
    duration_s = sum(audio_info(path).duration_s for path in recordings.paths.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = elapsed_s, cpu_s, sum(clustering)
    return Result(turns, *times, duration_s, peak if sys.platform == "darwin" else 1024 * peak)


def _timed_clustering() -> list[float]:
    """Seconds that dividing each recording into voices takes, as they come."""
    seconds: list[float] = []
    divide = diarizing.find_voices

    def timed(*args: Any, **options: Any) -> Voices:
        start = time.perf_counter()
        voices = divide(*args, **options)
        seconds.append(time.perf_counter() - start)
        return voices

    diarizing.find_voices = timed
    return seconds


def named_as_in_rttm(turns: dict[str, list[Turn]]) -> dict[str, list[Turn]]:
    """Turns by their label, with ``_`` for a space, as the reference has it."""
    return {
        name: [Turn(turn.start_s, turn.end_s, as_field(turn.label)) for turn in each]
        for name, each in turns.items()
    }


def score(
    recordings: RecordingSet, result: Result, collar_s: float, *, skip_overlap: bool = False
) -> DiarizationErrors:
    """Errors of all recordings together."""
    errors_of = score_recordings(
        recordings.reference,
        named_as_in_rttm(result.turns),
        recordings.regions,
        collar_s=collar_s,
        skip_overlap=skip_overlap,
        enrolled=recordings.enrolled,
    )
    return total_errors(errors_of.values())


def row(recordings: RecordingSet, system: str, result: Result) -> str:
    """Cells of the table."""
    errors = score(recordings, result, 0.0)
    with_collar = score(recordings, result, _COLLAR_S)
    alone = score(recordings, result, _COLLAR_S, skip_overlap=True)
    rates = [
        *(alone.error_rate, with_collar.error_rate, errors.error_rate),
        *(errors.miss_rate, errors.false_alarm_rate, errors.confusion_rate),
        *(errors.jaccard_error_rate, errors.named_error_rate, errors.named_strangers_rate),
    ]
    cells = [
        *(recordings.name, system, *map(percent, rates)),
        f"{errors.num_counts_right} of {errors.num_recordings}",
        f"{result.elapsed_s / result.duration_s:.4f}",
        f"{result.cpu_s / result.duration_s:.4f}",
        f"{result.clustering_s / result.elapsed_s:.1%}".replace("%", " %"),
        f"{result.peak_bytes / 1e6:,.0f} MB",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("sets", nargs="+", type=Path, metavar="SET")
    parser.add_argument("--model", default="box", help="model folder (default: the one in the box)")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--hours", type=float, metavar="H", help="one recording of so many hours")
    args = parser.parse_args()
    print_machine()
    collar = f"DER, collar {_COLLAR_S:g} s"
    header = [
        *("set", "system", f"{collar}, no overlap", collar, "DER", "missed", "false alarm"),
        *("confusion", "JER", "named error", "strangers named", "people right"),
        *("real-time factor", "of processor time", "clustering", "peak memory"),
    ]
    print(f"| {' | '.join(header)} |\n|{'---|' * len(header)}", flush=True)
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for folder in args.sets:
            recordings = RecordingSet.read(folder)
            first = next(iter(recordings.paths.values()))
            with tempfile.TemporaryDirectory() as long_folder:
                if args.hours:
                    recordings = one_long(recordings, args.hours, Path(long_folder))
                for system in args.systems:
                    result = pool.apply(measure, (system, args.model, recordings, first))
                    print(row(recordings, system, result), flush=True)


if __name__ == "__main__":
    main()
