"""The speaker library: folders people can read, voiceprints that survive, names that are data."""

from __future__ import annotations

import shutil
import sqlite3
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from error_codes import raises_code
from small_encoder import small_encoder, write_noise
from stand_in import clip_of, stored_clips, write_clip

from mvector.audio import read_audio
from mvector.errors import LibraryError
from mvector.speakers import SpeakerLibrary


@pytest.fixture
def library(encoder: Any, tmp_path: Path) -> SpeakerLibrary:
    library = SpeakerLibrary(tmp_path / "db", encoder)
    for k in range(4):
        library.register(f"Person {k}", clip_of(k))
    return library


def reopened(library: SpeakerLibrary, encoder: Any = None, **options: Any) -> SpeakerLibrary:
    library.close()
    return SpeakerLibrary(library.folder, encoder or library.encoder, **options)


# ---- enrolling and identifying --------------------------------------------------------------


def test_an_enrolled_voice_is_found(library: SpeakerLibrary) -> None:
    best, second = library.identify(clip_of(2), top_k=2)
    assert best.name == "Person 2"
    assert best.score > 0.999
    assert second.score < best.score


def test_the_score_is_the_cosine_to_the_mean_of_unit_vectors(
    library: SpeakerLibrary, encoder: Any
) -> None:
    library.register("Person 1", clip_of(1, take=1))
    probe = encoder.embed(clip_of(1, take=2)).astype(np.float64)
    units = []
    for clip in (library.folder / "Person 1").glob("*.wav"):
        vector = encoder.embed(clip).astype(np.float64)
        units.append(vector / np.linalg.norm(vector))
    mean = np.mean(units, axis=0)
    expected = probe @ mean / np.linalg.norm(probe) / np.linalg.norm(mean)
    found = {m.name: m.score for m in library.identify(clip_of(1, take=2), 4)}
    assert abs(found["Person 1"] - expected) < 1e-6


def test_identification_follows_every_change(library: SpeakerLibrary, encoder: Any) -> None:
    """The matrix in memory is brought up to date; here it is compared with one read anew."""
    rng = np.random.default_rng(0)
    other = SpeakerLibrary(library.folder, encoder)  # as another process
    for step in range(24):
        actor = library if rng.random() < 0.5 else other
        number = int(rng.integers(12))
        if rng.random() < 0.35 and f"Person {number}" in actor.names():
            actor.remove(f"Person {number}")
        else:
            actor.register(f"Person {number}", clip_of(number, take=step))
        probe = clip_of(int(rng.integers(12)), take=999)
        if not library.names():
            continue
        fresh = SpeakerLibrary(library.folder, encoder)
        expected = fresh.identify(probe, 20)
        for following in (library, other):
            found = following.identify(probe, 20)
            assert [match.name for match in found] == [match.name for match in expected]
            scores = np.array([[m.score for m in matches] for matches in (found, expected)])
            np.testing.assert_allclose(*scores, atol=1e-6)
        assert sorted(match.name for match in expected) == fresh.names()
        fresh.close()


def test_within_a_group_only_its_members_are_compared(library: SpeakerLibrary) -> None:
    library.set_groups("Person 1", ["staff", "night shift"])
    library.register("Person 2", clip_of(2, take=1), groups=["staff"])
    assert [m.name for m in library.identify(clip_of(1), 9, within=["night shift"])] == ["Person 1"]
    found = library.identify(clip_of(0), 9, within=["staff", "night shift"])
    assert {m.name for m in found} == {"Person 1", "Person 2"}
    everybody = {m.name: m.score for m in library.identify(clip_of(0), 9)}
    assert all(abs(match.score - everybody[match.name]) < 1e-6 for match in found)
    assert (library.num_people(), library.num_people(within=["staff"])) == (4, 2)
    with pytest.raises(
        LibraryError, match=r"Nobody is in the group 'guests'; there are 'night shift', 'staff'\."
    ):
        library.identify(clip_of(0), within=["guests"])
    with pytest.raises(LibraryError, match="list of names"):
        library.set_groups("Person 1", "staff")


def test_a_person_has_groups_and_metadata(library: SpeakerLibrary) -> None:
    library.register("Person 1", clip_of(1, 1), metadata={"id": 7, "язык": "ru"}, groups=["b", "a"])
    library.register("Person 1", clip_of(1, 2), metadata={"id": 8})
    person = reopened(library).people()[1]
    assert (person.name, person.num_clips, person.groups) == ("Person 1", 3, ("a", "b"))
    assert person.metadata == {"id": 8, "язык": "ru"}
    assert person.enrolled_at[:2] == "20"
    library.set_metadata("Person 1", {})
    assert library.people()[1].metadata == {}
    for bad in ({"x": {1}}, {"x": float("nan")}, {"x": "y" * 70_000}, [1]):
        with pytest.raises(LibraryError, match=r"[Mm]etadata"):
            library.set_metadata("Person 1", bad)  # type: ignore[arg-type]


def test_a_change_of_a_person_is_made_whole_or_not_at_all(library: SpeakerLibrary) -> None:
    library.change("Person 1", groups=["staff"], metadata={"id": 7})
    assert library.person("Person 1").groups == ("staff",)
    with raises_code("name-invalid"):
        library.change("Person 1", metadata={"id": 8}, groups=[""])
    library.change("Person 1", groups=[])
    person = library.person("Person 1")
    assert (person.groups, person.metadata) == ((), {"id": 7})


def test_people_are_listed_page_by_page(library: SpeakerLibrary) -> None:
    everybody = library.people()
    pages = [library.people(most=2)]
    while pages[-1]:
        pages.append(library.people(after=pages[-1][-1].name, most=2))
    assert [person for page in pages for person in page] == everybody
    assert library.person(everybody[-1].name) == everybody[-1]
    with raises_code("speaker-not-found"):
        library.person("Nobody")


def test_one_person_is_matched_whoever_is_more_alike(library: SpeakerLibrary, encoder: Any) -> None:
    embedding = encoder.embed(clip_of(0, 5))
    everybody = library.identify_embedding(embedding, 10)
    for match in everybody:
        alone = library.match_embedding(embedding, match.name)
        assert (alone.name, alone.quality) == (match.name, match.quality)
        assert alone.score == pytest.approx(match.score, abs=1e-6)
    with raises_code("speaker-not-found"):
        library.match_embedding(embedding, "Nobody")


def test_embeddings_alone_can_be_enrolled(library: SpeakerLibrary, encoder: Any) -> None:
    probe = encoder.embed(clip_of(9))
    library.register_embeddings(["Ida", "Joe", "Ida"], np.stack([probe, -probe, probe]))
    assert library.identify_embedding(probe)[0].name == "Ida"
    assert reopened(library).names()[:2] == ["Ida", "Joe"]
    for bad in (np.zeros(16), np.full(16, np.nan), np.ones(7)):
        with pytest.raises(LibraryError, match="The embedding"):
            library.register_embeddings(["Mallory"], bad[None])
    assert "Mallory" not in library.names()


# ---- the folders are the truth --------------------------------------------------------------


def test_a_library_is_opened_again_without_embedding_anything(
    library: SpeakerLibrary, encoder: Any
) -> None:
    heard = encoder.heard
    again = reopened(library)
    assert again.names() == [f"Person {k}" for k in range(4)]
    assert encoder.heard == heard


def test_clips_put_in_by_hand_are_enrolled_and_deleted_ones_are_gone(
    library: SpeakerLibrary,
) -> None:
    write_clip(library.folder / "Zoë" / "x.wav", 5)
    (library.folder / "Zoë" / "notes.txt").write_text("not a clip")
    shutil.rmtree(library.folder / "Person 0")
    again = reopened(library)
    assert again.names() == ["Person 1", "Person 2", "Person 3", "Zoë"]
    assert again.identify(clip_of(5))[0].name == "Zoë"


def test_a_changed_clip_is_embedded_again(library: SpeakerLibrary) -> None:
    (clip,) = (library.folder / "Person 0").glob("*.wav")
    library = reopened(library)
    clip.write_bytes(clip_of(6))  # as long as the clip before
    assert reopened(library).identify(clip_of(6))[0].score > 0.999


def test_a_clip_that_was_moved_copied_or_renamed_keeps_its_embedding(
    library: SpeakerLibrary, encoder: Any
) -> None:
    heard = encoder.heard
    library.set_metadata("Person 0", {"id": 1})
    (library.folder / "Person 0").rename(library.folder / "Ada")  # a person is renamed
    (clip,) = (library.folder / "Person 1").glob("*.wav")
    clip.rename(clip.with_name("first.wav"))
    (clip,) = (library.folder / "Person 3").glob("*.wav")
    shutil.copy(clip, library.folder / "Person 2" / "copy.wav")
    clip.rename(library.folder / "Person 1" / clip.name)  # to somebody else
    again = reopened(library)
    assert encoder.heard == heard
    assert {p.name: p.num_clips for p in again.people()} == {"Ada": 1, "Person 1": 2, "Person 2": 2}
    assert again.people()[0].metadata == {"id": 1}
    assert again.identify(clip_of(0))[0].name == "Ada"
    rebuilt = SpeakerLibrary(
        shutil.copytree(again.folder / "..", again.folder / "../../x") / "db", encoder
    )
    assert rebuilt.identify(clip_of(3), 9) == again.identify(clip_of(3), 9)


def test_hashes_are_computed_only_for_clips_that_changed(
    library: SpeakerLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mvector.speakers import folder_scan

    monkeypatch.setattr(folder_scan, "_CLOCK_TICK_NS", 0)
    hashed = []
    real = folder_scan.file_sha256
    monkeypatch.setattr(folder_scan, "file_sha256", lambda p: hashed.append(p.name) or real(p))
    time.sleep(0.02)
    library = reopened(library)
    assert len(hashed) == 4  # when they were stored, their times were not final yet
    hashed.clear()
    library = reopened(library)
    assert hashed == []
    (clip,) = (library.folder / "Person 1").glob("*.wav")
    clip.touch()
    reopened(library)
    assert hashed == [clip.name]


def test_a_bad_clip_in_a_folder_is_reported_and_not_fatal(
    library: SpeakerLibrary, caplog: pytest.LogCaptureFixture
) -> None:
    (library.folder / "Mallory").mkdir()
    (library.folder / "Mallory" / "x.wav").write_text("not audio")
    write_clip(library.folder / "Mallory" / "y.wav", 8)
    (library.folder / "a%00b").mkdir()
    write_clip(library.folder / "a%00b" / "z.wav", 8)
    again = reopened(library)
    assert "x.wav' is not audio" in caplog.text
    assert "control characters" in caplog.text
    assert again.names() == ["Mallory", *(f"Person {k}" for k in range(4))]
    assert len(again.reconcile().failures) == 2


def test_what_is_no_clip_does_not_block_the_library(library: SpeakerLibrary) -> None:
    (library.folder / "Person 0" / "folder.wav").mkdir()
    (library.folder / "Person 0" / "link.wav").symlink_to("nowhere.wav")
    (library.folder / ".Trash").mkdir()
    (library.folder / ".Trash" / "x.wav").write_text("x")
    assert reopened(library).names() == [f"Person {k}" for k in range(4)]


def test_clips_are_embedded_in_batches_and_each_batch_is_kept(
    library: SpeakerLibrary, encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mvector.speakers import reconciliation

    monkeypatch.setattr(reconciliation, "_CLIPS_AT_ONCE", 5)
    for k in range(12):
        write_clip(library.folder / f"New {k:02d}" / "x.wav", 20 + k)
    real, calls = encoder.embed_readable, []

    def interrupted(sources: list[Any], **options: object) -> Any:
        calls.append(len(sources))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(sources, **options)

    monkeypatch.setattr(encoder, "embed_readable", interrupted)
    with pytest.raises(KeyboardInterrupt):
        reopened(library)
    again = SpeakerLibrary(library.folder, encoder)
    assert calls == [5, 5, 2, 2]
    assert again.num_people() == 16


# ---- names ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "../../escape",
        "/etc/passwd",
        "a/b\\c",
        "..",
        "名前 with spaces",
        "名\u3000前 می\u200cخواهم 👩\u200d🚀",
        "100%.",
        "x" * 200,
        "名" * 200,
        'C:\\"<>|?*',
    ],
)
def test_any_name_is_data_and_never_a_path(encoder: Any, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "deep" / "db"
    library = SpeakerLibrary(folder, encoder)
    clip = library.register(name, clip_of(0))
    assert clip is not None
    assert clip.resolve().is_relative_to(folder.resolve())
    assert clip.parent.parent == folder
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["db"]
    (folder / "voiceprints.db").unlink()
    (folder / "voiceprints.db-wal").unlink()
    library = SpeakerLibrary(folder, encoder)  # from the folders alone
    assert library.names() == [name]
    assert library.remove(name) == 1
    assert not clip.exists()
    assert library.names() == []
    assert stored_clips(folder) == set()


def test_names_that_look_alike_are_one_person(encoder: Any, tmp_path: Path) -> None:
    library = SpeakerLibrary(tmp_path, encoder)
    library.register("Zoe\u0308", clip_of(0))
    library.register(" Zo\u00eb ", clip_of(0, take=1))
    assert library.names() == ["Zo\u00eb"]
    assert library.remove("Zoe\u0308") == 2


def test_refusals_are_one_sentence(encoder: Any, tmp_path: Path) -> None:
    library = SpeakerLibrary(tmp_path / "db", encoder)
    with pytest.raises(LibraryError, match="Nobody is enrolled"):
        library.identify(clip_of(0))
    with pytest.raises(LibraryError, match=r"'Bob' is not in the library.*nobody"):
        library.remove("Bob")
    for name in ("", "  ", "x" * 201):
        with pytest.raises(LibraryError, match="1 to 200 characters"):
            library.register(name, clip_of(0))
    for name in ("a\nb", "a\0b", "a\u2028b", "\ud800"):
        with pytest.raises(LibraryError, match="control characters"):
            library.register(name, clip_of(0))
    with pytest.raises(LibraryError, match="A name is text"):
        library.register(7, clip_of(0))  # type: ignore[arg-type]
    with raises_code("audio-not-found"):
        library.register("Bob", "gone.wav")
    assert not (tmp_path / "db" / "Bob").exists()
    (tmp_path / "file").touch()
    with pytest.raises(LibraryError, match="Cannot make the speaker library"):
        SpeakerLibrary(tmp_path / "file" / "db", encoder)


# ---- damage ---------------------------------------------------------------------------------


def test_a_damaged_database_is_made_anew_from_the_folders(
    library: SpeakerLibrary, encoder: Any
) -> None:
    long_name = "名" * 200
    library.register(long_name, clip_of(7))
    library.close()
    (library.folder / "voiceprints.db").write_text("this is no database, but a long text" * 99)
    again = SpeakerLibrary(library.folder, encoder)
    assert again.names() == [*(f"Person {k}" for k in range(4)), long_name]
    assert (library.folder / "voiceprints.damaged").is_file()


def test_a_damaged_database_without_clips_is_left_alone(encoder: Any, tmp_path: Path) -> None:
    with SpeakerLibrary(tmp_path, encoder, keep_audio=False) as library:
        assert library.register("Ada", clip_of(0)) is None
    (tmp_path / "voiceprints.db").write_bytes(b"damaged" * 999)
    with pytest.raises(LibraryError, match="nothing to make it anew from"):
        SpeakerLibrary(tmp_path, encoder)
    assert (tmp_path / "voiceprints.db").read_bytes() == b"damaged" * 999


@pytest.mark.parametrize("vector", ["x'00'", "zeroblob(64)", "'text'"])
def test_a_damaged_voiceprint_is_computed_anew(library: SpeakerLibrary, vector: str) -> None:
    with sqlite3.connect(library.folder / "voiceprints.db") as database:
        query = f"UPDATE embeddings SET vector = {vector} WHERE person = 3"
        database.execute(query)
    database.close()
    assert library.identify(clip_of(2))[0].score > 0.999  # the open library has noticed
    assert reopened(library).identify(clip_of(2))[0].name == "Person 2"


def test_whatever_bytes_change_a_library_opens_or_says_why_not(
    library: SpeakerLibrary, encoder: Any, tmp_path: Path
) -> None:
    """Thirty mutations of the database file; the folders stay whole."""
    library.close()
    whole = (library.folder / "voiceprints.db").read_bytes()
    rng = np.random.default_rng(1)
    told = 0
    for _ in range(30):
        mutated = np.frombuffer(whole, dtype=np.uint8).copy()
        for _ in range(int(rng.integers(1, 20))):
            start = int(rng.integers(len(mutated)) ** rng.uniform(0.3, 1.0))
            mutated[start : start + int(rng.integers(1, 30))] = rng.integers(256)
        cut = len(mutated) if rng.random() < 0.8 else int(rng.integers(len(mutated)))
        (library.folder / "voiceprints.db").write_bytes(mutated[:cut].tobytes())
        try:
            with SpeakerLibrary(library.folder, encoder) as again:
                assert again.names() == [f"Person {k}" for k in range(4)]
                assert again.identify(clip_of(2))[0].score > 0.999
        except LibraryError:
            told += 1
        for file in library.folder.glob("voiceprints.*"):
            file.unlink()
    assert told < 3


def test_a_database_of_the_first_format_is_taken_over(encoder: Any, tmp_path: Path) -> None:
    import hashlib

    clip = write_clip(tmp_path / "Ada" / "x.wav", 0)
    embedding = encoder.embed(clip).astype("<f4").tobytes()
    with sqlite3.connect(tmp_path / "voiceprints.db") as database:
        database.execute(
            "CREATE TABLE clips (file TEXT NOT NULL, name TEXT NOT NULL, sha256 TEXT NOT NULL, "
            "fingerprint TEXT NOT NULL, embedding BLOB NOT NULL, PRIMARY KEY (file, fingerprint))"
        )
        row = ("Ada/x.wav", "Ada", hashlib.sha256(clip.read_bytes()).hexdigest())
        row += (encoder.fingerprint, embedding)
        database.execute("INSERT INTO clips VALUES (?, ?, ?, ?, ?)", row)
    database.close()
    heard = encoder.heard
    with SpeakerLibrary(tmp_path, encoder) as library:
        assert encoder.heard == heard
        assert library.identify(clip_of(0))[0].score > 0.999


def test_a_library_works_with_a_real_encoder(tmp_path: Path) -> None:
    encoder = small_encoder()
    first, second, third = write_noise(tmp_path / "clips", 3)
    with SpeakerLibrary(tmp_path / "db", encoder) as library:
        library.register("Ada", first)
        shutil.copytree(tmp_path / "clips", tmp_path / "db" / "Bob")
        Path(tmp_path / "db" / "Bob" / Path(first).name).unlink()
        assert library.reconcile().num_embedded == 2
        assert library.identify(first)[0].score > 0.999
    other = small_encoder(seed=1)
    with SpeakerLibrary(tmp_path / "db", other) as library:
        assert library.reembed() == 3
        assert library.identify((read_audio(third, 16000), 16000))[0].name == "Bob"
        assert library.identify(second, 2)[1].name == "Ada"
