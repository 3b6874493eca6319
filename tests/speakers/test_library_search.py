"""Search in large libraries: the index finds what the exact product finds, and caches never lie."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stand_in import StandInEncoder

from mvector.speakers import SpeakerLibrary, search, voiceprints
from mvector.speakers.search import top_indices

NUM_PEOPLE = 3000


@pytest.fixture
def encoder() -> Any:
    return StandInEncoder(embd_dim=32)


@pytest.fixture(autouse=True)
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """What happens to libraries of hundreds of thousands happens to one of two thousand."""
    monkeypatch.setattr(search, "EXACT_PEOPLE", 2000)
    monkeypatch.setattr(voiceprints, "_CACHED_PEOPLE", 100)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A library of people without clips, and their embeddings."""
    folder = tmp_path_factory.mktemp("search")
    vectors = np.random.default_rng(0).standard_normal((NUM_PEOPLE, 32)).astype(np.float32)
    encoder: Any = StandInEncoder(embd_dim=32)
    with SpeakerLibrary(folder, encoder) as library:
        library.register_embeddings([f"p{k:04d}" for k in range(NUM_PEOPLE)], vectors)
    return folder, vectors


@pytest.fixture
def folder(made: tuple[Path, np.ndarray], tmp_path: Path) -> Path:
    return Path(shutil.copytree(made[0], tmp_path / "db"))


def best_by_hand(vectors: np.ndarray, probe: np.ndarray) -> str:
    units = vectors.astype(np.float64) / np.linalg.norm(vectors, axis=1, keepdims=True)
    return f"p{int(np.argmax(units @ probe)):04d}"


def test_the_largest_are_those_of_a_full_sort() -> None:
    rng = np.random.default_rng(0)
    for size in (1, 5, 1024, 4097, 50_000):
        scores = rng.integers(0, size // 2 + 2, size).astype(np.float32)  # with equal ones
        for count in (1, 3, 64, 100):
            expected = np.argsort(-scores, kind="stable")[:count]
            np.testing.assert_array_equal(scores[top_indices(scores, count)], scores[expected])
            assert len(set(top_indices(scores, count).tolist())) == min(count, size)


def test_the_index_finds_who_is_nearest(
    folder: Path, made: tuple[Path, np.ndarray], encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faiss")
    monkeypatch.setattr(search, "_CANDIDATES", 300)
    vectors, rng = made[1], np.random.default_rng(1)
    with SpeakerLibrary(folder, encoder) as library:
        probes = vectors[rng.integers(0, NUM_PEOPLE, 200)] + rng.standard_normal((200, 32))
        found = [library.identify_embedding(probe)[0] for probe in probes]
        assert library._identification._search._index is not None
        right = [
            match.name == best_by_hand(vectors, p) for match, p in zip(found, probes, strict=True)
        ]
        assert np.mean(right) >= 0.99
        expected = vectors[int(found[0].name[1:])] @ probes[0]
        expected /= np.linalg.norm(vectors[int(found[0].name[1:])]) * np.linalg.norm(probes[0])
        assert abs(found[0].score - expected) < 1e-6  # scores are exact


def test_the_index_follows_changes_and_is_read_again(
    folder: Path, made: tuple[Path, np.ndarray], encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faiss")
    vectors = made[1]
    with SpeakerLibrary(folder, encoder) as library:
        library.identify_embedding(vectors[0])
        library.register_embeddings(["Zoë", "p0007", "p0007"], -vectors[[5, 7, 7]])
        assert library.identify_embedding(-vectors[5])[0].name == "Zoë"
        assert library.identify_embedding(-vectors[7])[0].score > 0.99
    built = search.Search._build_index
    monkeypatch.setattr(search.Search, "_build_index", lambda self: pytest.fail("made anew"))
    with SpeakerLibrary(folder, encoder) as library:
        assert library.identify_embedding(-vectors[5])[0].name == "Zoë"
        assert library._identification._search._index is not None
        assert library.remove("Zoë") == 1
        assert not (folder / "voiceprints.index").exists()
        assert library.identify_embedding(-vectors[5])[0].name != "Zoë"
    monkeypatch.setattr(search.Search, "_build_index", built)
    with SpeakerLibrary(folder, encoder) as library:
        assert library.identify_embedding(vectors[9])[0].name == "p0009"
        assert (folder / "voiceprints.index").exists()


def test_without_faiss_the_search_is_exact_and_says_so_once(
    folder: Path,
    made: tuple[Path, np.ndarray],
    encoder: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    caplog.set_level(logging.INFO, "mvector")
    with SpeakerLibrary(folder, encoder) as library:
        for k in range(3):
            assert library.identify_embedding(made[1][k])[0].name == f"p{k:04d}"
    # a record may reach caplog over two loggers
    told = {
        id(record) for record in caplog.records if "pip install faiss-cpu" in record.getMessage()
    }
    assert len(told) == 1


def test_the_matrix_on_disk_is_used_where_it_is_of_this_database(
    folder: Path, made: tuple[Path, np.ndarray], encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    SpeakerLibrary(folder, encoder).close()
    with SpeakerLibrary(folder, encoder) as library:
        library.identify_embedding(made[1][0])
    assert (folder / "voiceprints.cache").exists()
    read = voiceprints.Voiceprints._read
    reads = []
    monkeypatch.setattr(voiceprints.Voiceprints, "_read", lambda *a: reads.append(a[2]) or read(*a))
    with SpeakerLibrary(folder, encoder, audit=False) as library:
        library.register_embeddings(["Zoë"], -made[1][:1])
        assert library.identify_embedding(-made[1][0])[0].name == "Zoë"
    assert [bool(where) for where in reads] == [True]  # what is new, and nothing else


@pytest.mark.parametrize("trouble", ["flipped byte", "cut", "older database", "other library"])
def test_a_matrix_on_disk_that_is_not_of_this_database_is_never_trusted(
    folder: Path, made: tuple[Path, np.ndarray], encoder: Any, tmp_path: Path, trouble: str
) -> None:
    with SpeakerLibrary(folder, encoder) as library:
        library.identify_embedding(made[1][0])
    cache = folder / "voiceprints.cache"
    data = cache.read_bytes()
    if trouble == "flipped byte":
        cache.write_bytes(data[:-5000] + bytes([data[-5000] ^ 4]) + data[-4999:])
    elif trouble == "cut":
        cache.write_bytes(data[:-128])
    elif trouble == "older database":  # a backup put back, and another history since
        backup = shutil.copytree(folder, tmp_path / "backup")
        with SpeakerLibrary(folder, encoder) as library:
            library.register_embeddings([f"x{k}" for k in range(400)], np.ones((400, 32)))
            library.identify_embedding(made[1][0])
        shutil.copy(backup / "voiceprints.db", folder / "voiceprints.db")
        with SpeakerLibrary(folder, encoder) as library:
            library.register_embeddings([f"y{k}" for k in range(500)], -np.ones((500, 32)))
    else:
        rest = SpeakerLibrary(tmp_path / "other", encoder)
        rest.register_embeddings([f"z{k}" for k in range(NUM_PEOPLE)], -made[1])
        rest.identify_embedding(made[1][0])
        rest.close()
        shutil.copy(tmp_path / "other" / "voiceprints.cache", cache)
    with SpeakerLibrary(folder, encoder) as library:
        assert library.identify_embedding(made[1][3])[0].name == "p0003"
        best = library.identify_embedding(np.ones(32))[0]
        assert not best.name.startswith("x")
        if trouble == "older database":
            assert library.identify_embedding(-np.ones(32))[0].name.startswith("y")
