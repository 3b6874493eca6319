"""The speaker library: folders people can read, voiceprints that survive, names that are data."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import torch

from mvector.errors import AudioError, LibraryError
from mvector.speakers import SpeakerEncoder, SpeakerLibrary


@pytest.fixture(scope="module")
def encoder(trained_model: Path) -> SpeakerEncoder:
    return SpeakerEncoder.from_folder(trained_model, "cpu")


@pytest.fixture
def library(encoder: SpeakerEncoder, voices: Path, tmp_path: Path) -> SpeakerLibrary:
    library = SpeakerLibrary(tmp_path / "db", encoder)
    for k in range(4):
        library.register(f"Person {k}", voices / f"speaker_00{k}" / "clip_00.wav")
    return library


def test_an_enrolled_voice_is_found(library: SpeakerLibrary, voices: Path) -> None:
    best, second = library.identify(voices / "speaker_002" / "clip_00.wav", top_k=2)
    assert best.name == "Person 2"
    assert best.score > 0.99
    assert second.score < best.score


def test_the_score_is_the_cosine_to_the_mean_of_unit_vectors(
    library: SpeakerLibrary, encoder: SpeakerEncoder, voices: Path
) -> None:
    library.register("Person 1", voices / "speaker_001" / "clip_01.wav")
    probe = encoder.embed(voices / "speaker_001" / "clip_02.wav").astype(np.float64)
    units = []
    for clip in (library.folder / "Person 1").glob("*.wav"):
        vector = encoder.embed(clip).astype(np.float64)
        units.append(vector / np.linalg.norm(vector))
    mean = np.mean(units, axis=0)
    expected = probe @ mean / np.linalg.norm(probe) / np.linalg.norm(mean)
    found = {m.name: m.score for m in library.identify(voices / "speaker_001/clip_02.wav", 4)}
    assert abs(found["Person 1"] - expected) < 1e-6


def test_a_library_is_opened_again_without_embedding_anything(
    library: SpeakerLibrary, encoder: SpeakerEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder, "embed_readable", lambda *_, **__: pytest.fail("embedded again"))
    again = SpeakerLibrary(library.folder, encoder)
    assert again.names() == [f"Person {k}" for k in range(4)]


def test_clips_put_in_by_hand_are_enrolled_and_deleted_ones_are_gone(
    library: SpeakerLibrary, encoder: SpeakerEncoder, voices: Path
) -> None:
    (library.folder / "Zoë").mkdir()
    shutil.copy(voices / "speaker_005" / "clip_00.wav", library.folder / "Zoë" / "x.wav")
    shutil.rmtree(library.folder / "Person 0")
    (library.folder / "Zoë" / "notes.txt").write_text("not a clip")
    again = SpeakerLibrary(library.folder, encoder)
    assert again.names() == ["Person 1", "Person 2", "Person 3", "Zoë"]
    assert again.identify(voices / "speaker_005" / "clip_00.wav")[0].name == "Zoë"


def test_a_changed_clip_is_embedded_again(
    library: SpeakerLibrary, encoder: SpeakerEncoder, voices: Path
) -> None:
    (clip,) = (library.folder / "Person 0").glob("*.wav")
    shutil.copy(voices / "speaker_006" / "clip_00.wav", clip)
    again = SpeakerLibrary(library.folder, encoder)
    assert again.identify(voices / "speaker_006" / "clip_00.wav")[0].name == "Person 0"


def test_a_bad_clip_in_a_folder_is_reported_and_not_fatal(
    library: SpeakerLibrary,
    encoder: SpeakerEncoder,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import logging

    monkeypatch.setattr(logging.getLogger("mvector"), "propagate", True)
    (library.folder / "Mallory").mkdir()
    (library.folder / "Mallory" / "x.wav").write_text("not audio")
    assert "Mallory" not in SpeakerLibrary(library.folder, encoder).names()
    assert "x.wav' is not audio" in caplog.text


def test_voiceprints_of_another_model_are_never_compared(
    library: SpeakerLibrary, trained_model: Path, voices: Path
) -> None:
    other = SpeakerEncoder.from_folder(trained_model, "cpu")
    with torch.no_grad():
        other.model.backbone.embedding.weight.mul_(-1.0)  # type: ignore[union-attr, operator]
    again = SpeakerLibrary(library.folder, other)
    assert again.fingerprint != library.fingerprint
    match = again.identify(voices / "speaker_003" / "clip_00.wav")[0]
    assert match.name == "Person 3"
    assert match.score > 0.99


@pytest.mark.parametrize(
    "name",
    [
        "../../escape",
        "/etc/passwd",
        "a/b\\c",
        "..",
        "名前 with spaces",
        "100%.",
        "x" * 200,
        "名" * 200,
        'C:\\"<>|?*',
    ],
)
def test_any_name_is_data_and_never_a_path(
    encoder: SpeakerEncoder, voices: Path, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "deep" / "db"
    library = SpeakerLibrary(folder, encoder)
    clip = library.register(name, voices / "speaker_000" / "clip_00.wav")
    assert clip.resolve().is_relative_to(folder.resolve())
    assert clip.parent.parent == folder
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["db"]
    assert SpeakerLibrary(folder, encoder).names() == [name]
    assert library.remove(name) == 1
    assert not clip.exists()
    assert library.names() == []


def test_names_that_look_alike_are_one_person(
    encoder: SpeakerEncoder, voices: Path, tmp_path: Path
) -> None:
    library = SpeakerLibrary(tmp_path, encoder)
    library.register("Zoe\u0308", voices / "speaker_000" / "clip_00.wav")
    library.register(" Zo\u00eb ", voices / "speaker_000" / "clip_01.wav")
    assert library.names() == ["Zo\u00eb"]


def test_refusals_are_one_sentence(encoder: SpeakerEncoder, voices: Path, tmp_path: Path) -> None:
    clip = voices / "speaker_000" / "clip_00.wav"
    library = SpeakerLibrary(tmp_path / "db", encoder)
    with pytest.raises(LibraryError, match="Nobody is enrolled"):
        library.identify(clip)
    with pytest.raises(LibraryError, match=r"'Bob' is not in the library .*nobody"):
        library.remove("Bob")
    for name in ("", "  ", "x" * 201):
        with pytest.raises(LibraryError, match="1 to 200 characters"):
            library.register(name, clip)
    with pytest.raises(LibraryError, match="control characters"):
        library.register("a\nb", clip)
    with pytest.raises(AudioError, match="does not exist"):
        library.register("Bob", "gone.wav")
    assert not (tmp_path / "db" / "Bob").exists()
    (tmp_path / "file").touch()
    with pytest.raises(LibraryError, match="Cannot make the speaker library"):
        SpeakerLibrary(tmp_path / "file" / "db", encoder)


def test_a_damaged_database_is_made_anew_from_the_folders(
    library: SpeakerLibrary, encoder: SpeakerEncoder
) -> None:
    long_name = "名" * 200
    (clip,) = (library.folder / "Person 3").glob("*.wav")
    library.register(long_name, clip)
    for file in library.folder.glob("voiceprints.db*"):
        file.unlink()
    (library.folder / "voiceprints.db").write_text("this is no database, but a long text" * 99)
    again = SpeakerLibrary(library.folder, encoder)
    assert again.names() == [*(f"Person {k}" for k in range(4)), long_name]
    assert (library.folder / "voiceprints.damaged").is_file()


def test_a_damaged_voiceprint_is_computed_anew(
    library: SpeakerLibrary, encoder: SpeakerEncoder, voices: Path
) -> None:
    with sqlite3.connect(library.folder / "voiceprints.db") as database:
        database.execute("UPDATE clips SET embedding = x'00' WHERE name = 'Person 2'")
    again = SpeakerLibrary(library.folder, encoder)
    assert again.identify(voices / "speaker_002" / "clip_00.wav")[0].name == "Person 2"


def test_what_is_no_clip_does_not_block_the_library(
    library: SpeakerLibrary, encoder: SpeakerEncoder
) -> None:
    (library.folder / "Person 0" / "folder.wav").mkdir()
    (library.folder / "Person 0" / "link.wav").symlink_to("nowhere.wav")
    (library.folder / ".Trash").mkdir()
    (library.folder / ".Trash" / "x.wav").write_text("x")
    assert SpeakerLibrary(library.folder, encoder).names() == [f"Person {k}" for k in range(4)]


def test_two_models_can_use_one_library(
    library: SpeakerLibrary, trained_model: Path, voices: Path
) -> None:
    other = SpeakerEncoder.from_folder(trained_model, "cpu")
    with torch.no_grad():
        other.model.backbone.embedding.weight.mul_(-1.0)  # type: ignore[union-attr, operator]
    SpeakerLibrary(library.folder, other)
    library.register("Person 4", voices / "speaker_004" / "clip_00.wav")
    assert library.identify(voices / "speaker_001" / "clip_00.wav")[0].name == "Person 1"


def test_a_registration_that_fails_leaves_nothing(
    library: SpeakerLibrary, voices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise sqlite3.OperationalError("disk full")

    monkeypatch.setattr(library, "_insert", broken)
    with pytest.raises(LibraryError, match="disk full"):
        library.register("Person 9", voices / "speaker_004" / "clip_00.wav")
    assert not list((library.folder / "Person 9").glob("*.wav"))
    assert "Person 9" not in library.names()
