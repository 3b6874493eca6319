"""Clips in any format are found, and what is none is told of."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
from corpus_trees import (
    RATE,
    by_path,
    create,
    in_a_fresh_folder,  # noqa: F401
    put,
    voice,
)

from mvector.corpus.recipes.folder import scan_folder
from mvector.errors import DataError


def write_as(path: str, kind: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as stream:
        soundfile.write(stream, voice(), RATE, format=kind)


def test_a_corpus_may_be_in_any_format_or_without_suffixes() -> None:
    kinds = {
        "ada/1.aif": "AIFF",
        "ada/2.caf": "CAF",
        "ada/3.W64": "W64",
        "bob/1.sph": "NIST",
        "bob/2.snd": "AU",
        "bob/3": "FLAC",
        "eve/1.voc": "VOC",
        "eve/2": "WAV",
    }
    for name, kind in kinds.items():
        write_as(f"corpus/{name}", kind)
    create("--dataset=folder", "--path=corpus", "--test_speakers=0")
    assert {*by_path()} == {f"corpus/{name}" for name in kinds}


def test_files_passed_over_and_speakers_lost_are_named(caplog: pytest.LogCaptureFixture) -> None:
    for name in ("ada/1.wav", "eve/1.wav"):
        put(f"corpus/{name}")
    for name in ("ada/1.txt", "ada/2.xyz", "bob/1.xyz", "bob/2.xyz", "README"):
        Path("corpus", name).parent.mkdir(exist_ok=True)
        Path("corpus", name).write_text("no audio")
    create("--dataset=folder", "--path=corpus", "--test_speakers=0")
    (message,) = [m for m in caplog.messages if m.startswith("Passed over")]
    assert message.endswith(
        "corpus': 3 files of no known audio format ('ada/2.xyz', 'bob/1.xyz', 'bob/2.xyz') and 2 "
        "files such as texts and hidden ones. No clip is found of 'bob'."
    )


def test_a_path_that_ends_in_a_slash_is_shown_with_one() -> None:
    put("corpus/ada/1.wav")
    with pytest.raises(DataError, match=r"expected corpus/<speaker>/<clip>.wav"):
        scan_folder("corpus/")


def test_a_wav_that_was_cut_off_is_a_bad_clip() -> None:
    for name in ("ada/1.wav", "bob/1.wav", "bob/2.wav"):
        put(f"corpus/{name}", voice(2.0))
    whole = Path("corpus/bob/2.wav").read_bytes()
    Path("corpus/bob/2.wav").write_bytes(whole[: len(whole) // 2])
    create("--dataset=folder", "--path=corpus", "--test_speakers=0")
    assert {*by_path()} == {"corpus/ada/1.wav", "corpus/bob/1.wav"}
    assert "cut short: its header promises 2.00 s" in Path("dataset/bad_clips.txt").read_text()
