"""Clips of a library in PostgreSQL that are not there: in a bucket, or a folder of all servers."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from error_codes import raises_code
from postgres_server import PASSWORD
from processes import forked
from s3_server import object_names, running_s3
from stand_in import StandInEncoder, clip_of, stored_clips
from test_library_contract import check_whole

from mvector.errors import LibraryError
from mvector.speakers import SpeakerLibrary, objects
from mvector.speakers.clip_objects import ClipObjects
from mvector.speakers.objects import Objects
from mvector.speakers.postgres_address import parse_address


def objects_of(library: SpeakerLibrary) -> Objects:
    clips = library._context.clips
    assert isinstance(clips, ClipObjects)
    return clips._objects


def killed(place: str, work: Callable[[SpeakerLibrary], object]) -> None:
    """Do something with a library in a process of its own, which is killed by it."""

    def until_killed() -> None:
        with SpeakerLibrary(place, StandInEncoder()) as library:  # type: ignore[arg-type]
            work(library)

    assert os.WTERMSIG(os.waitpid(forked(until_killed), 0)[1]) == signal.SIGKILL


# ---- one place for all servers --------------------------------------------------------------


def test_the_place_is_decided_once_and_need_not_be_named_again(
    postgres: str, bucket: str, encoder: Any
) -> None:
    with SpeakerLibrary(f"{postgres}&clips={bucket}", encoder) as library:
        library.register("Ada", clip_of(0))
        assert library._store.rows("SELECT count(*) FROM audio") == [(0,)]
    for address in (postgres, f"{postgres}&clips={bucket}/"):
        with SpeakerLibrary(address, encoder) as library:
            library.register("Ada", clip_of(0, 1))
            assert library.names() == ["Ada"]
    with SpeakerLibrary(postgres, None, read_only=True) as library:
        (first, *_) = library._store.rows("SELECT file FROM clips ORDER BY id")[0]
        assert library._context.clips.read(first)
    assert len(object_names(bucket)) == 3


def test_another_place_than_the_first_one_is_refused(
    postgres: str, bucket: str, encoder: Any, tmp_path: Path
) -> None:
    other = f"{bucket}/more"
    SpeakerLibrary(f"{postgres}&clips={bucket}", None).close()
    for place in (other, str(tmp_path)):
        with pytest.raises(LibraryError, match=f"keeps its clips in '{bucket}': leave clips= out"):
            SpeakerLibrary(f"{postgres}&clips={place}", encoder)
    assert not list(tmp_path.iterdir())
    SpeakerLibrary(f"{postgres}_rows", None).close()
    with pytest.raises(LibraryError, match="keeps its clips in its database"):
        SpeakerLibrary(f"{postgres}_rows&clips={bucket}", encoder)


def test_two_libraries_in_one_bucket_leave_each_other_alone(
    postgres: str, bucket: str, encoder: Any
) -> None:
    places = [f"{postgres}{end}&clips={bucket}" for end in ("", "_b")]
    for number, place in enumerate(places):
        with SpeakerLibrary(place, encoder) as library:
            library.register("Ada", clip_of(number))
    with SpeakerLibrary(places[0], encoder) as library:
        assert library.reconcile().num_collected == 0
        library.remove("Ada")
    assert [check_whole(place, encoder) for place in places] == [{}, {"Ada": 1}]


@pytest.mark.parametrize(
    "clips",
    [
        "s3://",
        "s3://B/x",
        "s3://bucket/../x",
        "s3://bucket/a//b",
        f"s3://key:{PASSWORD}@bucket/x",
        f"s3://bucket/x%3Fsecret={PASSWORD}",
        f"gs://{PASSWORD}/x",
    ],
)
def test_what_is_no_place_is_refused_without_repeating_it(clips: str) -> None:
    with pytest.raises(LibraryError, match="is no place for clips: write s3://bucket") as raised:
        parse_address(f"postgresql://h/d?clips={clips}")
    assert PASSWORD not in str(raised.value)


# ---- kills ----------------------------------------------------------------------------------


def test_killed_between_object_and_row_nobody_is_enrolled_and_the_object_is_deleted(
    postgres_and_bucket: str, bucket: str, encoder: Any
) -> None:
    SpeakerLibrary(postgres_and_bucket, encoder).close()

    def register(library: SpeakerLibrary) -> None:
        ours = objects_of(library)
        put = ours.put

        def put_and_die(written: dict[str, bytes]) -> None:
            put(written)
            os.kill(os.getpid(), signal.SIGKILL)

        ours.put = put_and_die  # type: ignore[method-assign, assignment]
        library.register("Ada", clip_of(0))

    killed(postgres_and_bucket, register)
    assert len(object_names(bucket)) == 1
    assert check_whole(postgres_and_bucket, encoder) == {}
    assert object_names(bucket) == set()


def test_killed_behind_a_removal_the_next_opening_deletes_the_object(
    postgres_and_bucket: str, bucket: str, encoder: Any
) -> None:
    with SpeakerLibrary(postgres_and_bucket, encoder) as library:
        library.register("Ada", clip_of(0))

    def remove(library: SpeakerLibrary) -> None:
        objects_of(library).delete = lambda _: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign, assignment, misc]
        library.remove("Ada")

    killed(postgres_and_bucket, remove)
    assert len(object_names(bucket)) == 1
    assert check_whole(postgres_and_bucket, encoder) == {}
    assert object_names(bucket) == set()


def test_what_another_process_is_about_to_enrol_is_no_leftover(
    postgres_and_bucket: str, encoder: Any
) -> None:
    """It is on the list of removals, and written, but not committed yet."""
    library = SpeakerLibrary(postgres_and_bucket, encoder)
    ours, other = objects_of(library), SpeakerLibrary(postgres_and_bucket, encoder)
    put = ours.put

    def put_and_look(written: dict[str, bytes]) -> None:
        put(written)
        with (
            raises_code("library-unwritable"),  # for it waits for whoever is about to enrol
            pytest.MonkeyPatch.context() as patched,
        ):
            transaction = other._store.transaction
            patched.setattr(other._store, "transaction", lambda: transaction(wait_s=0.05))
            other._context.apply_committed_changes()

    ours.put = put_and_look  # type: ignore[method-assign, assignment]
    library.register("Ada", clip_of(0))
    assert check_whole(postgres_and_bucket, encoder) == {"Ada": 1}


def test_reconciling_collects_objects_that_no_row_and_no_list_knows(
    postgres_and_bucket: str, bucket: str, encoder: Any
) -> None:
    with SpeakerLibrary(postgres_and_bucket, encoder) as library:
        library.register("Ada", clip_of(0))
        objects_of(library).put({f"{'0' * 32}.wav": b"lost", "by hand.txt": b"not ours"})
        found = library.reconcile()
        assert (found.num_collected, len(object_names(bucket))) == (1, 2)
        objects_of(library).delete(["by hand.txt"])
    assert check_whole(postgres_and_bucket, encoder) == {"Ada": 1}


# ---- a store that is not there --------------------------------------------------------------


def test_a_missing_bucket_is_told_when_the_library_is_made(
    postgres: str, bucket: str, encoder: Any
) -> None:
    with pytest.raises(LibraryError, match="bucket does not exist") as raised:
        SpeakerLibrary(f"{postgres}&clips=s3://there-is-none", encoder)
    assert raised.value.code == "clips-unreachable"
    with SpeakerLibrary(f"{postgres}&clips={bucket}", encoder) as library:  # the mistake is mended
        library.register("Ada", clip_of(0))


def test_without_credentials_people_are_recognised_and_not_enrolled(
    postgres_and_bucket: str, encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SpeakerLibrary(postgres_and_bucket, encoder) as library:
        library.register("Ada", clip_of(0))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with SpeakerLibrary(postgres_and_bucket, encoder) as library:
        assert library.identify(clip_of(0))[0].name == "Ada"
        with pytest.raises(LibraryError, match=r"(?i)credentials") as raised:
            library.register("Bob", clip_of(1))
        assert raised.value.code == "clips-unreachable"
        assert library.names() == ["Ada"]


def test_an_object_store_that_goes_away_and_comes_back(
    postgres: str, bucket: str, encoder: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place = f"{postgres}&clips={bucket}"
    with running_s3() as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        library = SpeakerLibrary(place, encoder)
        library.register("Ada", clip_of(0))
        library.register("Bob", clip_of(1))
    with raises_code("clips-unreachable"):
        library.register("Eve", clip_of(2))
    with raises_code("clips-unreachable"):
        library.export(tmp_path / "people.mvlib")
    assert not list(tmp_path.iterdir())
    assert library.remove("Bob") == 1  # at once for everybody, and its object later
    assert library.identify(clip_of(0))[0].name == "Ada"
    assert library.names() == ["Ada"]
    with running_s3(int(endpoint.rpartition(":")[2])):
        assert len(object_names(bucket)) == 2
        library.register("Eve", clip_of(2))
        assert check_whole(place, encoder) == {"Ada": 1, "Eve": 1}


def test_an_object_store_that_never_answers_is_given_up(
    postgres_and_bucket: str, encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = SpeakerLibrary(postgres_and_bucket, encoder)
    library.register("Ada", clip_of(0))
    with socket.create_server(("127.0.0.1", 0)) as silent, monkeypatch.context() as patched:
        patched.setattr(objects, "_WAIT_S", 0.5)
        patched.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        objects_of(library)._opened.clear()
        with pytest.raises(LibraryError, match="no answer in time") as raised:
            library.register("Bob", clip_of(1))
    assert raised.value.code == "clips-unreachable"
    assert library.names() == ["Ada"]
    objects_of(library)._opened.clear()
    assert check_whole(postgres_and_bucket, encoder) == {"Ada": 1}


def test_another_models_voiceprints_are_not_given_up_for_clips_that_cannot_be_reached(
    postgres_and_bucket: str, encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SpeakerLibrary(postgres_and_bucket, encoder) as library:
        library.register("Ada", clip_of(0))
    other: Any = StandInEncoder(seed=1)
    with monkeypatch.context() as patched:
        patched.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        with (
            SpeakerLibrary(postgres_and_bucket, other) as library,
            raises_code("clips-unreachable"),
        ):
            library.reembed()
    with SpeakerLibrary(postgres_and_bucket, other) as library:
        assert library.reembed() == 1


def test_an_object_store_that_does_not_know_the_library_gets_no_clips(
    postgres: str, bucket: str, encoder: Any
) -> None:
    """As where the endpoint of one server is another one's."""
    with SpeakerLibrary(f"{postgres}&clips={bucket}", encoder) as library:
        library.register("Ada", clip_of(0))
        objects_of(library).delete(["voiceprints.library"])
    with SpeakerLibrary(postgres, encoder) as library:
        with raises_code("clips-unreachable"):
            library.register("Bob", clip_of(1))
        assert library.names() == ["Ada"]
    assert len(object_names(bucket)) == 1


def test_many_clips_of_one_transaction_are_all_there(
    postgres_and_bucket: str, encoder: Any, tmp_path: Path
) -> None:
    clips = []
    for k in range(40):
        (tmp_path / f"{k}.wav").write_bytes(clip_of(k % 3, k))
        clips.append((f"Person {k % 3}", tmp_path / f"{k}.wav"))
    with SpeakerLibrary(postgres_and_bucket, encoder) as library:
        assert library.register_files(clips) == []
    counts = check_whole(postgres_and_bucket, encoder)
    assert counts == {"Person 0": 14, "Person 1": 13, "Person 2": 13}


# ---- a folder of all servers ----------------------------------------------------------------


def test_a_folder_that_is_not_mounted_gets_no_clips_and_loses_none(
    postgres: str, encoder: Any, tmp_path: Path
) -> None:
    folder, away = tmp_path / "clips", tmp_path / "away"
    folder.mkdir()
    place = f"{postgres}&clips={folder}"
    library = SpeakerLibrary(place, encoder)
    library.register("Ada", clip_of(0))
    library.register("Bob", clip_of(1))
    folder.rename(away)
    folder.mkdir()  # as a mount point is
    for refused in (
        lambda: library.register("Eve", clip_of(2)),
        lambda: library.export(tmp_path / "people.mvlib"),
    ):
        with raises_code("clips-unreachable"):
            refused()
    assert library.remove("Bob") == 1
    assert library.identify(clip_of(0))[0].name == "Ada"
    folder.rmdir()
    away.rename(folder)
    assert check_whole(place, encoder) == {"Ada": 1}
    assert len(stored_clips(folder)) == 1


def test_a_folder_that_is_missing_or_another_librarys_is_refused(
    postgres: str, encoder: Any, tmp_path: Path
) -> None:
    with pytest.raises(LibraryError, match="is no folder: make it first"):
        SpeakerLibrary(f"{postgres}&clips={tmp_path / 'none'}", encoder)
    SpeakerLibrary(f"{postgres}&clips={tmp_path}", encoder).close()
    with pytest.raises(LibraryError, match="holds the clips of another library"):
        SpeakerLibrary(f"{postgres}_b&clips={tmp_path}", encoder)
