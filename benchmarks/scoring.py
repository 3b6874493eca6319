"""Trials per second of scoring and of error rates, against the machine's matrix product.

    python benchmarks/scoring.py                                 # 1,028 x 5,332 clips, 10^7 listed
    python benchmarks/scoring.py --only "streamed" --enroll 31623 --test 31623     # 10^9 pairs
    python benchmarks/scoring.py --only "read" --listed 10000000

Embeddings are drawn at random around one centre for each speaker. The peak is that of a square
float32 product in the same process; "share of peak" is the multiply-adds of the cosines alone, over
the whole time, against it. The seconds are the best of some runs, the memory is the highest of the
process. A list is read from the page cache, where it has just been written to.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mvector.evaluation import compute_eer, error_rates
from mvector.evaluation.costs import VOXCELEB
from mvector.evaluation.metrics import DetCurve
from mvector.evaluation.streaming import all_pairs_error_rates
from mvector.scoring import Cohort, all_pairs, cosine_scores, normalised_scores, read_trials
from mvector.scoring.trials import AllPairs, PairTrials


def best_seconds(task: Callable[[], object], num_runs: int) -> float:
    """Shortest of some runs."""
    seconds = []
    for _ in range(num_runs):
        start = time.perf_counter()
        task()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def embeddings(speakers: np.ndarray, dimensions: int, seed: int) -> np.ndarray:
    """Clips around one centre a speaker, float32 ``(clips, dimensions)``."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal(
        (speakers.max() + 1, dimensions), dtype=np.float32
    )
    return centres[speakers] + 2.0 * rng.standard_normal(
        (len(speakers), dimensions), dtype=np.float32
    )


def listed(num_clips: int, num_trials: int, num_speakers: int, seed: int) -> PairTrials:
    """Pairs of clips drawn at random; clip ``k`` is of speaker ``k % num_speakers``."""
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, num_clips, (2, num_trials), dtype=np.int32)
    is_target = rng.random(num_trials) < 0.1
    second[is_target] -= (second - first)[is_target] % num_speakers
    second %= num_clips
    labels = first % num_speakers == second % num_speakers
    paths = tuple(f"id{k % num_speakers:05d}/session/{k:06d}.wav" for k in range(num_clips))
    return PairTrials("a list", paths, first, second, labels)


def write_list(trials: PairTrials, path: Path) -> None:
    """A list ``label path path``."""
    with path.open("w", encoding="utf-8") as file:
        for start in range(0, len(trials), 1_000_000):
            part = slice(start, start + 1_000_000)
            file.writelines(
                f"{int(label)} {trials.paths[first]} {trials.paths[second]}\n"
                for label, first, second in zip(
                    trials.labels[part],
                    trials.enroll_index[part],
                    trials.test_index[part],
                    strict=True,
                )
            )


def operating_points(curve: DetCurve) -> list[float]:
    """EER, minDCFs and their thresholds."""
    points = [curve.min_dcf(cost.p_target, cost.c_miss, cost.c_fa) for cost in VOXCELEB]
    return [*curve.eer(), *(figure for p in points for figure in (p.min_dcf, p.threshold))]


def main() -> None:
    """Build the trials, time each row, print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--enroll", type=int, default=1028, help="enrolment clips of all pairs")
    parser.add_argument("--test", type=int, default=5332, help="test clips of all pairs")
    parser.add_argument("--listed", type=int, default=10_000_000, help="listed trials")
    parser.add_argument("--clips", type=int, default=5000, help="clips they are drawn from")
    parser.add_argument("--many_clips", type=int, default=100_000, help="the same, few pairs each")
    parser.add_argument("--cohort", type=int, default=6000, help="vectors of the cohort of AS-norm")
    parser.add_argument("--top_n", type=int, default=300, help="of them, those taken for each clip")
    parser.add_argument("--speakers", type=int, default=500)
    parser.add_argument("--dimensions", type=int, default=192)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="", help="rows whose name has this in it")
    args = parser.parse_args()
    square = np.random.default_rng(0).standard_normal((3072, 3072), dtype=np.float32)
    out = np.empty_like(square)
    peak = len(square) ** 3 / best_seconds(lambda: np.matmul(square, square, out=out), 5)
    print(
        f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, numpy {np.__version__}; "
        f"matrix product {2e-9 * peak:.0f} GFLOP/s = {peak / args.dimensions:.2e} cosines/s of "
        f"{args.dimensions} dimensions\n"
    )
    print(
        "| row | trials | seconds | trials/s | share of peak | memory, GiB |\n" + "|---" * 6 + "|"
    )
    for name, (num_trials, task) in rows(args).items():
        if args.only in name:
            run = task()
            seconds = best_seconds(run, args.runs)
            share = args.dimensions * num_trials / seconds / peak
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            print(
                f"| {name} | {num_trials:,} | {seconds:.2f} | {num_trials / seconds:.2e} "
                f"| {'–' if 'read' in name else f'{share:.1%}'} | {memory:.2f} |",
                flush=True,
            )


def rows(
    args: argparse.Namespace,
) -> dict[str, tuple[int, Callable[[], Callable[[], object]]]]:
    """Name of each row: number of trials, and what prepares the task and returns it."""

    def pairs() -> tuple[np.ndarray, np.ndarray, AllPairs]:
        enrolled, tested = (np.arange(n) % args.speakers for n in (args.enroll, args.test))
        trials = all_pairs(
            [f"e{k}" for k in range(args.enroll)],
            enrolled,
            [f"t{k}" for k in range(args.test)],
            tested,
        )
        enroll, test = (
            embeddings(speakers, args.dimensions, seed)
            for seed, speakers in ((1, enrolled), (2, tested))
        )
        return enroll, test, trials

    def clips_and_list(num_clips: int) -> tuple[np.ndarray, PairTrials]:
        trials = listed(num_clips, args.listed, args.speakers, 3)
        return embeddings(np.arange(num_clips) % args.speakers, args.dimensions, 4), trials

    def cosines() -> Callable[[], object]:
        enroll, test, trials = pairs()
        return lambda: cosine_scores(enroll, test, trials)

    def kept() -> Callable[[], object]:
        enroll, test, trials = pairs()
        return lambda: operating_points(
            error_rates(cosine_scores(enroll, test, trials), trials.labels)
        )

    def streamed() -> Callable[[], object]:
        enroll, test, trials = pairs()
        return lambda: operating_points(all_pairs_error_rates(enroll, test, trials))

    def of_list(num_clips: int) -> Callable[[], object]:
        clips, trials = clips_and_list(num_clips)
        return lambda: cosine_scores(clips, clips, trials)

    def cohort() -> Cohort:
        return Cohort.from_embeddings(embeddings(np.arange(args.cohort), args.dimensions, 5))

    def normed() -> Callable[[], object]:
        enroll, test, trials = pairs()
        others = cohort()
        return lambda: normalised_scores(enroll, test, trials, cohort=others, top_n=args.top_n)

    def normed_list() -> Callable[[], object]:
        clips, trials = clips_and_list(args.clips)
        others = cohort()
        return lambda: normalised_scores(clips, clips, trials, cohort=others, top_n=args.top_n)

    def of_list_and_eer() -> Callable[[], object]:
        clips, trials = clips_and_list(args.clips)
        return lambda: compute_eer(cosine_scores(clips, clips, trials), trials.labels)

    def reading() -> Callable[[], object]:
        trials = listed(args.clips, args.listed, args.speakers, 3)
        folder = tempfile.TemporaryDirectory()
        path = Path(folder.name, "trials.txt")
        write_list(trials, path)

        def read() -> None:
            again = read_trials(path)
            assert np.array_equal(again.labels, trials.labels), folder

        return read

    num_pairs = args.enroll * args.test
    return {
        "all pairs: cosines": (num_pairs, cosines),
        "all pairs: cosines, sort, EER, minDCF": (num_pairs, kept),
        "all pairs: streamed, EER, minDCF": (num_pairs, streamed),
        f"listed, {args.clips:,} clips: cosines": (args.listed, lambda: of_list(args.clips)),
        f"listed, {args.clips:,} clips: cosines, sort, EER": (args.listed, of_list_and_eer),
        f"listed, {args.many_clips:,} clips: cosines": (
            args.listed,
            lambda: of_list(args.many_clips),
        ),
        f"all pairs: AS-norm, {args.top_n} of {args.cohort:,}": (num_pairs, normed),
        f"listed, {args.clips:,} clips: AS-norm": (args.listed, normed_list),
        "read the list": (args.listed, reading),
    }


if __name__ == "__main__":
    main()
