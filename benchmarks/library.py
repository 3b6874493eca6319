"""The speaker library at 10^3 to 10^6 voiceprints: enrolment, opening, identification, recall.

    python benchmarks/library.py --folder DIR --make               # libraries of all sizes, once
    python benchmarks/library.py --folder DIR                      # measures them
    python benchmarks/library.py --folder DIR --sizes 1000000 --only identify
    python benchmarks/library.py --address postgresql://user@host/database --make   # as of folders

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
import zlib
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


def opened(place: Path | str, *, in_memory: bool = True) -> SpeakerLibrary:
    """The library, with its voiceprints in memory, or where they are searched by themselves."""
    library = SpeakerLibrary(place, NoEncoder(), audit=False)  # type: ignore[arg-type]
    index = library._identification._index
    if in_memory or index is None or not index.is_ready():
        library._identification.refresh()
    return library


def place_of(args: argparse.Namespace, name: str) -> Path | str:
    """A library's folder, or its address in the database."""
    if args.address is None:
        return Path(args.folder) / name
    schema = f"bench_{name.replace(' ', '_')}"
    return f"{args.address}{'&' if '?' in args.address else '?'}schema={schema}"


def clear(place: Path | str) -> None:
    """Delete what was there."""
    if isinstance(place, Path):
        shutil.rmtree(place, ignore_errors=True)
        return
    import psycopg

    from mvector.speakers.postgres_address import parse_address

    address = parse_address(place)
    with psycopg.connect(address.conninfo) as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {address.schema} CASCADE")


def seconds(task: Callable[[], object]) -> float:
    """How long something takes."""
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def make(place: Path | str, count: int, shape: str) -> None:
    """A library of embeddings without clips."""
    rng = np.random.default_rng(count)
    clear(place)
    start = time.perf_counter()
    with opened(place) as library:
        for first in range(0, count, CHUNK):
            number = min(CHUNK, count - first)
            names = [f"person {k}" for k in range(first, first + number)]
            library.register_embeddings(names, directions(rng, number, shape))
        took = time.perf_counter() - start
        library._identification.refresh()
    print(f"{shape} {count}: made at {count / took:,.0f} embeddings/s", flush=True)
    open_behind(place, f"{shape} {count}")


def open_behind(place: Path | str, name: str) -> None:
    """The opening behind the making, which makes what an opening makes."""
    took = seconds(lambda: opened(place, in_memory=False).close())
    print(f"{name}: opened behind it, with an index if one is made, in {took:.1f} s")


def fill(address: str, count: int, shape: str) -> None:
    """The same people in PostgreSQL, by COPY and without triggers: for millions."""
    import psycopg
    from pgvector.psycopg import register_vector

    from mvector.speakers.postgres_address import parse_address

    clear(address)
    opened(address).close()
    rng = np.random.default_rng(count)
    place = parse_address(address)
    start = time.perf_counter()
    with psycopg.connect(place.conninfo) as connection:
        register_vector(connection)
        connection.execute(f"SET search_path = {place.schema}, public")
        connection.execute("ALTER TABLE embeddings DISABLE TRIGGER USER")
        for first in range(0, count, CHUNK):
            number = min(CHUNK, count - first)
            vectors, ids = directions(rng, number, shape), range(first + 1, first + number + 1)
            blobs = [vector.tobytes() for vector in vectors]
            tables: dict[str, list[tuple[object, ...]]] = {
                "people (id, name, enrolled_at)": [(k, f"person {k - 1}", "") for k in ids],
                "clips (id, person, added_at)": [(k, k, "") for k in ids],
                "embeddings (clip, person, fingerprint, vector, checksum)": [
                    (k, k, NoEncoder.fingerprint, blob, zlib.crc32(blob))
                    for k, blob in zip(ids, blobs, strict=True)
                ],
                "voiceprints (person, fingerprint, voiceprint)": [
                    (k, NoEncoder.fingerprint, vector)
                    for k, vector in zip(ids, vectors, strict=True)
                ],
            }
            for table, rows in tables.items():
                with connection.cursor().copy(f"COPY {table} FROM STDIN") as copy:
                    for row in rows:
                        copy.write_row(row)
        for statement in (
            "INSERT INTO changes (person) SELECT id FROM people ORDER BY id",
            f"INSERT INTO meta VALUES ('model', '{NoEncoder.fingerprint}')",
            "INSERT INTO meta SELECT 'voiceprints', max(revision) FROM changes",
            "SELECT setval(pg_get_serial_sequence('people', 'id'), max(id)) FROM people",
            "SELECT setval(pg_get_serial_sequence('clips', 'id'), max(id)) FROM clips",
            "ALTER TABLE embeddings ENABLE TRIGGER USER",
        ):
            connection.execute(statement)
    print(f"{shape} {count}: filled in {time.perf_counter() - start:.0f} s", flush=True)
    open_behind(address, f"{shape} {count}")


def measure_enrolment(path: Path | str, num_clips: int = 200) -> None:
    """Clips of three seconds a second, each acknowledged before the next."""
    rng = np.random.default_rng(0)
    clips = 0.1 * rng.standard_normal((num_clips, 3 * RATE), dtype=np.float32)
    for keep_audio in (True, False):
        clear(path)
        with SpeakerLibrary(path, NoEncoder(), keep_audio=keep_audio) as library:  # type: ignore[arg-type]
            took = seconds(lambda: register_all(library, clips))
        kept = "with clips" if keep_audio else "embeddings only"
        print(f"enrolment, {kept}: {num_clips / took:.0f} /s", flush=True)


def register_all(library: SpeakerLibrary, clips: np.ndarray) -> None:
    """Register clips of as many people."""
    for number, clip in enumerate(clips):
        library.register(f"person {number}", (clip, RATE))


def measure_opening(name: str, folder: Path | str) -> None:
    """Opening until the first probe can be compared, with the matrix's file and without."""
    with_file = min(seconds(lambda: opened(folder, in_memory=False).close()) for _ in range(3))
    text = f"{name}: opened in {with_file:.2f} s"
    cache = Path(folder) / "voiceprints.cache"
    if cache.exists():
        aside = cache.rename(cache.with_suffix(".aside"))
        library: list[SpeakerLibrary] = []
        text += f", from the tables in {seconds(lambda: library.append(opened(folder))):.2f} s"
        aside.rename(cache)
        library[0]._store.close()  # without writing the file again
    print(text, flush=True)


def measure_identification(name: str, place: Path | str, shape: str, num_probes: int) -> None:
    """Latency of one probe after another, and recall of the index against the exact product."""
    rng = np.random.default_rng(1)
    with opened(place) as library:
        in_database, library._identification._index = library._identification._index, None
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
        search_module.EXACT_PEOPLE = limit
        tell(name, "exact", exact, exact)
        if in_database is None and len(matrix) > limit:
            first = seconds(lambda: library.identify_embedding(probes["stranger"][0]))
            print(f"{name}: index ready in {first:.1f} s")
            found = {kind: timed(library, vectors) for kind, vectors in probes.items()}
            tell(name, "index", found, exact)
    if in_database is not None and in_database.is_ready():
        with opened(place, in_memory=False) as library:
            found = {kind: timed(library, vectors) for kind, vectors in probes.items()}
            tell(name, "index of the database", found, exact)


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
    places = parser.add_mutually_exclusive_group(required=True)
    places.add_argument("--folder", type=Path, help="where the libraries are")
    places.add_argument("--address", help="of the database they are in, each in its own schema")
    add("--make", action="store_true", help="make the libraries instead of measuring them")
    add("--copy", action="store_true", help="with --make --address: by COPY, for millions")
    add("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    add("--shapes", nargs="+", choices=("round", "flat"), default=["round"])
    add("--only", choices=("enrol", "open", "identify"), help="measure one thing")
    add("--probes", type=int, default=300)
    args = parser.parse_args(arguments)
    print_machine()
    if not args.make and args.only in (None, "enrol"):
        measure_enrolment(place_of(args, "enrolment"))
    for shape in args.shapes:
        for count in args.sizes:
            name = f"{shape} {count}"
            place = place_of(args, name)
            if args.make and args.copy:
                fill(str(place), count, shape)
                continue
            if args.make:
                make(place, count, shape)
                continue
            if args.only in (None, "open"):
                measure_opening(name, place)
            if args.only in (None, "identify"):
                measure_identification(name, place, shape, args.probes)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"highest memory: {peak:.2f} GiB")


if __name__ == "__main__":
    main()
