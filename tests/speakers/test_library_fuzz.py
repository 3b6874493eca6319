"""Libraries whose files were changed at random: a clear error or a library, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stand_in import StandInEncoder, clip_of

from mvector.errors import LibraryError, MVectorError
from mvector.speakers import SpeakerLibrary

NAMES = ["Ada", "Bob", "王"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of three people, and what it exports."""
    folder = tmp_path_factory.mktemp("fuzz")
    encoder: Any = StandInEncoder()
    with SpeakerLibrary(folder / "db", encoder) as library:
        for number, name in enumerate(NAMES):
            library.register(name, clip_of(number))
        library.export(folder / "export.zip")
    return folder


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Bytes changed, a stretch zeroed, cut out or doubled, or the end missing."""
    changed = bytearray(data)
    start = int(rng.integers(len(changed)))
    stop = min(len(changed), start + int(rng.integers(1, 600)))
    kind = rng.integers(5)
    if kind == 0:
        for place in rng.integers(len(changed), size=rng.integers(1, 40)):
            changed[place] ^= int(rng.integers(1, 256))
    elif kind == 1:
        changed[start:stop] = bytes(stop - start)
    elif kind == 2:
        del changed[start:stop]
    elif kind == 3:
        changed[start:start] = changed[start:stop]
    else:
        del changed[start:]
    return bytes(changed)


def test_a_changed_database_is_refused_or_made_anew_and_no_clip_is_lost(
    made: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(5)
    encoder: Any = StandInEncoder()
    original = (made / "db/voiceprints.db").read_bytes()
    clips = sorted(path.relative_to(made / "db") for path in (made / "db").rglob("*.wav"))
    outcomes: set[str] = set()
    for turn in range(150):
        folder = Path(shutil.copytree(made / "db", tmp_path / str(turn)))
        for rest in folder.glob("voiceprints.db-*"):
            rest.unlink()
        (folder / "voiceprints.db").write_bytes(mutated(original, rng))
        try:
            with SpeakerLibrary(folder, encoder) as library:
                best = library.identify(clip_of(1))[0]
                outcomes.add("opened")
                assert -1.0 <= best.score <= 1.0
        except MVectorError:
            outcomes.add("refused")
        assert sorted(path.relative_to(folder) for path in folder.rglob("*.wav")) == clips
        shutil.rmtree(folder)
    assert "opened" in outcomes


def test_a_changed_export_is_refused_or_whole(made: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    encoder: Any = StandInEncoder()
    original = (made / "export.zip").read_bytes()
    refused = 0
    for turn in range(100):
        file, folder = tmp_path / f"{turn}.zip", tmp_path / str(turn)
        file.write_bytes(mutated(original, rng))
        try:
            library = SpeakerLibrary.import_file(file, folder, encoder)
        except LibraryError:
            refused += 1
            with SpeakerLibrary(folder, encoder) as empty:
                assert empty.names() == []
        else:
            with library:
                assert sorted(library.names()) == sorted(NAMES)
    assert refused
