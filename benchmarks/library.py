"""The speaker library at 10^3 to 10^6 voiceprints: enrolment, opening, identification, recall.

    python benchmarks/library.py --folder DIR --make               # libraries of all sizes, once
    python benchmarks/library.py --folder DIR                      # measures them
    python benchmarks/library.py --folder DIR --sizes 1000000 --only identify

Voiceprints are drawn at random in 192 dimensions, once in all directions alike ("round") and once
with variances that fall as those of a trained model do ("flat"). A probe has a given cosine to the
voiceprint of somebody enrolled, or is a stranger's. Recall@1: how often the first match is that of
the exact product. No encoder is in any of the times: clips are "heard" by one that costs nothing.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
from common import print_machine

from mvector.embedding.listening import Listening
from mvector.speakers import SpeakerLibrary
from mvector.speakers import search as search_module

DIM = 192
CHUNK = 50_000
RATE = 16_000


class NoEncoder:
    """What a library asks of an encoder; the embedding is the clip's beginning."""

    embd_dim, sample_rate, info, listening, fingerprint = DIM, RATE, None, Listening(), "none"

    def embed(self, source: BinaryIO) -> np.ndarray:
        """The first samples."""
        samples, _ = soundfile.read(source, frames=DIM, dtype="float32")
        return np.asarray(samples)


def directions(rng: np.random.Generator, count: int, shape: str) -> np.ndarray:
    """Unit vectors ``(count, DIM)`` float32."""
    scale = np.ones(DIM) if shape == "round" else 1 / np.sqrt(1 + np.arange(DIM) / 8)
    vectors = rng.standard_normal((count, DIM), dtype=np.float32) * scale.astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def opened(folder: Path) -> SpeakerLibrary:
    """The library, with its voiceprints in memory."""
    library = SpeakerLibrary(folder, NoEncoder(), audit=False)  # type: ignore[arg-type]
    library._identification.refresh()
    return library


def seconds(task: Callable[[], object]) -> float:
    """How long something takes."""
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def make(folder: Path, count: int, shape: str) -> None:
    """A library of embeddings without clips."""
    rng = np.random.default_rng(count)
    shutil.rmtree(folder, ignore_errors=True)
    start = time.perf_counter()
    with opened(folder) as library:
        for first in range(0, count, CHUNK):
            number = min(CHUNK, count - first)
            names = [f"person {k}" for k in range(first, first + number)]
            library.register_embeddings(names, directions(rng, number, shape))
        took = time.perf_counter() - start
        library._identification.refresh()
    print(f"{shape} {count}: made at {count / took:,.0f} embeddings/s", flush=True)


def measure_enrolment(folder: Path, num_clips: int = 200) -> None:
    """Clips of three seconds a second, each acknowledged before the next."""
    rng = np.random.default_rng(0)
    clips = 0.1 * rng.standard_normal((num_clips, 3 * RATE), dtype=np.float32)
    for keep_audio in (True, False):
        path = folder / "enrolment"
        shutil.rmtree(path, ignore_errors=True)
        with SpeakerLibrary(path, NoEncoder(), keep_audio=keep_audio) as library:  # type: ignore[arg-type]
            took = seconds(lambda: register_all(library, clips))
        kept = "with clips" if keep_audio else "embeddings only"
        print(f"enrolment, {kept}: {num_clips / took:.0f} /s", flush=True)


def register_all(library: SpeakerLibrary, clips: np.ndarray) -> None:
    """Register clips of as many people."""
    for number, clip in enumerate(clips):
        library.register(f"person {number}", (clip, RATE))


def measure_opening(folder: Path) -> None:
    """Opening until the first probe can be compared, with the matrix's file and without."""
    with_file = min(seconds(lambda: opened(folder).close()) for _ in range(3))
    text = f"{folder.name}: opened in {with_file:.2f} s"
    cache = folder / "voiceprints.cache"
    if cache.exists():
        aside = cache.rename(cache.with_suffix(".aside"))
        library: list[SpeakerLibrary] = []
        text += f", from the tables in {seconds(lambda: library.append(opened(folder))):.2f} s"
        aside.rename(cache)
        library[0]._store.close()  # without writing the file again
    print(text, flush=True)


def measure_identification(folder: Path, shape: str, num_probes: int) -> None:
    """Latency of one probe after another, and recall of the index against the exact product."""
    rng = np.random.default_rng(1)
    with opened(folder) as library:
        matrix = library._identification.voiceprints.matrix
        probes = {"stranger": directions(rng, num_probes, shape)}
        for cosine in (0.7, 0.5):
            enrolled = matrix[rng.integers(0, len(matrix), num_probes)]
            noise = directions(rng, num_probes, shape)
            noise -= np.sum(noise * enrolled, axis=1, keepdims=True) * enrolled
            noise /= np.linalg.norm(noise, axis=1, keepdims=True)
            probes[f"cosine {cosine}"] = cosine * enrolled + np.sqrt(1 - cosine**2) * noise
        limit = search_module.EXACT_PEOPLE
        search_module.EXACT_PEOPLE = 10**9
        exact = {kind: timed(library, vectors) for kind, vectors in probes.items()}
        tell(folder.name, "exact", exact, exact)
        if len(matrix) > limit:
            search_module.EXACT_PEOPLE = limit
            first = seconds(lambda: library.identify_embedding(probes["stranger"][0]))
            print(f"{folder.name}: index ready in {first:.1f} s")
            found = {kind: timed(library, vectors) for kind, vectors in probes.items()}
            tell(folder.name, "index", found, exact)
            search_module.EXACT_PEOPLE = limit
    search_module.EXACT_PEOPLE = limit


def timed(library: SpeakerLibrary, probes: np.ndarray) -> tuple[list[str], np.ndarray]:
    """The first match of each probe, and the seconds each took."""
    names, times = [], []
    library.identify_embedding(probes[0])
    for probe in probes:
        start = time.perf_counter()
        names.append(library.identify_embedding(probe)[0].name)
        times.append(time.perf_counter() - start)
    return names, np.array(times)


def tell(
    name: str,
    how: str,
    found: dict[str, tuple[list[str], np.ndarray]],
    exact: dict[str, tuple[list[str], np.ndarray]],
) -> None:
    """Print a line for each kind of probe."""
    for kind, (names, times) in found.items():
        recall = np.mean([a == b for a, b in zip(names, exact[kind][0], strict=True)])
        p95 = 1e3 * np.percentile(times, 95)
        print(
            f"{name}, {how}, {kind}: {1e3 * np.median(times):.2f} ms (95 %: {p95:.2f}), recall@1 "
            f"{recall:.4f} of {len(names)}",
            flush=True,
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Make libraries, or measure them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--folder", type=Path, required=True, help="where the libraries are")
    add("--make", action="store_true", help="make the libraries instead of measuring them")
    add("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    add("--shapes", nargs="+", choices=("round", "flat"), default=["round"])
    add("--only", choices=("enrol", "open", "identify"), help="measure one thing")
    add("--probes", type=int, default=300)
    args = parser.parse_args(arguments)
    print_machine()
    if not args.make and args.only in (None, "enrol"):
        measure_enrolment(args.folder)
    for shape in args.shapes:
        for count in args.sizes:
            folder = args.folder / f"{shape} {count}"
            if args.make:
                make(folder, count, shape)
                continue
            if args.only in (None, "open"):
                measure_opening(folder)
            if args.only in (None, "identify"):
                measure_identification(folder, shape, args.probes)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"highest memory: {peak:.2f} GiB")


if __name__ == "__main__":
    main()
