"""``simulate_meetings.py``: two sets of recordings, with turns, and libraries of clips."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mvector.cli import run_script
from mvector.diarization import read_rttm


@pytest.fixture(scope="module")
def clip_list(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Six people with three clips of a second of noise each, and one with two."""
    folder = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    lines = []
    for label in range(7):
        for number in range(3 if label < 6 else 2):
            path = folder / f"{label}_{number}.wav"
            soundfile.write(path, 0.1 * rng.standard_normal(8000), 8000)
            lines.append(f"{path}\t{label}\n")
    (folder / "people.txt").write_text("".join(lines))
    return str(folder / "people.txt")


def simulated(clip_list: str, out: Path, *more: str) -> int:
    words = [clip_list, "--out", str(out), "--num_recordings", "2", "--minutes", "0.1", "0.15"]
    words += ["--vad", "energy"]
    return run_script("simulate_meetings", [*words, *more])


def test_people_of_development_and_test_differ_and_some_are_in_the_library(
    clip_list: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert simulated(clip_list, tmp_path / "sets", "--num_people", "2", "3") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0][-4:] for line in lines] == ["/dev", "test"]
    assert "2 recordings, 0 min, of 3 people, 2 of them in library/" in lines[0]
    people = {}
    for part in ("dev", "test"):
        folder = tmp_path / "sets" / part
        turns = read_rttm(folder)
        assert set(turns) == {"meeting_00", "meeting_01"}
        for name in turns:
            info = soundfile.info(folder / f"{name}.wav")
            assert 6 <= info.duration <= 9
            assert max(turn.end_s for turn in turns[name]) <= info.duration + 1e-3
        spoken = {turn.speaker for each in turns.values() for turn in each}
        library = {path.name for path in (folder / "library").iterdir()}
        people[part] = spoken | library
        assert all(len(list((folder / "library" / name).iterdir())) == 1 for name in library)
    assert not people["dev"] & people["test"]
    assert people["dev"] | people["test"] <= {f"people_{label}" for label in range(6)}


def test_what_is_simulated_can_be_scored_by_name(
    clip_list: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert simulated(clip_list, tmp_path / "sets", "--kind", "stereo_call", "--enrolled", "1") == 0
    dev = tmp_path / "sets" / "dev"
    assert soundfile.info(dev / "stereo_call_00.wav").channels == 2
    capsys.readouterr()
    words = [str(dev), str(dev), "--enrolled", str(dev / "library"), "--json"]
    assert run_script("score_diarization", words) == 0
    total = json.loads(capsys.readouterr().out)["total"]
    assert (total["error_rate"], total["named_error_rate"]) == (0, 0)
    assert total["strangers_s"] == 0


def test_the_same_options_make_the_same_bytes(clip_list: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert simulated(clip_list, tmp_path / name, "--kind", "call", "--seed", "3") == 0
    files = [path for path in sorted((tmp_path / "a").rglob("*")) if path.is_file()]
    assert len(files) == 2 * (2 * 2 + 2)
    for path in files:
        other = tmp_path / "b" / path.relative_to(tmp_path / "a")
        assert path.read_bytes() == other.read_bytes(), path


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--num_people", "4", "5"], "The lists have 3 people with 3 clips or more"),
        (["--num_people", "3", "2"], "--num_people wants the smaller number first, not 3 2."),
        (["--enrolled", "2"], "--enrolled is a share from 0 to 1, not 2."),
        (["--noise_dir", "nowhere"], "'nowhere' has no audio"),
    ],
)
def test_what_cannot_be_made_is_one_sentence(
    more: list[str], sentence: str, clip_list: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert simulated(clip_list, tmp_path / "sets", *more) == 2
    assert f"simulate_meetings.py: error: {sentence}" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_clips_that_are_missing_are_left_out_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    names = [f"{label}_{number}" for label in range(4) for number in range(4)]
    for name in names:
        noise = np.random.default_rng(0).standard_normal(8000)
        soundfile.write(tmp_path / f"{name}.wav", 0.1 * noise, 8000)
    (tmp_path / "3_0.wav").unlink()  # for the library
    (tmp_path / "3_3.wav").unlink()  # for recordings
    lines = [f"{tmp_path}/{name}.wav\t{name[0]}\n" for name in names]
    (tmp_path / "people.txt").write_text("".join(lines))
    words = ("--kind", "call", "--enrolled", "1")
    assert simulated(str(tmp_path / "people.txt"), tmp_path / "sets", *words) == 0
    out, err = capsys.readouterr()
    assert ": 2 clips left out" in out
    assert all(f"{name}.wav' does not exist" in err for name in ("3_0", "3_3"))


def test_a_folder_that_is_there_is_left_as_it_is(
    clip_list: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "mine").mkdir()
    assert simulated(clip_list, tmp_path / "mine") == 2
    assert "is there already; choose another --out." in capsys.readouterr().err
