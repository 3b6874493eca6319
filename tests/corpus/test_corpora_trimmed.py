"""``--do_vad``: clips without their silence, written anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpus_trees import RATE, by_path, create, in_a_fresh_folder, lines_of, put  # noqa: F401

from mvector.cli.options import OptionError
from mvector.corpus.checking import check_clips
from mvector.corpus.cutting import cut_targets
from mvector.corpus.recipes.clip import Clip
from mvector.corpus.recipes.folder import scan_folder
from mvector.errors import DataError, MissingDependencyError

pytest.importorskip("librosa", reason="librosa, the energy detector, is not installed")


def with_pauses(speech_s: float, pause_s: float = 1.0) -> np.ndarray:
    """A pause, a sound, a pause: float32 ``(samples,)``."""
    rng = np.random.default_rng(0)
    pause = np.zeros(round(pause_s * RATE))
    sound = rng.normal(0.0, 0.2, round(speech_s * RATE)).clip(-1, 1)
    return np.concatenate([pause, sound, pause]).astype(np.float32)


def trim(*options: str) -> None:
    create("--dataset=folder", "--path=c", "--test_speakers=0", "--do_vad=energy", *options)


def test_speech_alone_is_written_as_16_khz_flac_at_the_same_place_and_listed():
    put("c/alice/phone/1.wav", with_pauses(1.0))
    put("c/bob b/二.flac", with_pauses(2.0))
    trim()
    assert by_path() == {
        "dataset/trimmed/alice/phone/1.flac": 0,
        "dataset/trimmed/bob b/二.flac": 1,
    }
    for path, speech_s in zip(by_path(), (1.0, 2.0), strict=True):
        info = soundfile.info(path)
        assert (info.format, info.subtype, info.samplerate) == ("FLAC", "PCM_16", 16000)
        assert info.duration == pytest.approx(speech_s, abs=0.25)
    assert soundfile.info("c/alice/phone/1.wav").duration == 3.0


def test_a_clip_with_too_little_speech_is_bad_and_not_written():
    put("c/alice/1.wav", with_pauses(1.0))
    put("c/bob/1.wav", with_pauses(1.0))
    put("c/bob/2.wav", with_pauses(0.2))
    trim("--min_duration=0.8")
    (line,) = lines_of("dataset/bad_clips.txt")
    assert line.startswith("c/bob/2.wav\tholds only 0.")
    assert "of speech, found by --do_vad energy, and at least 0.8 s are needed" in line
    assert not Path("dataset/trimmed/bob/2.flac").exists()


def test_durations_are_those_of_the_trimmed_clips(capsys):
    put("c/alice/1.wav", with_pauses(18.0, pause_s=30.0))
    put("c/bob/1.wav", with_pauses(18.0, pause_s=30.0))
    trim()
    assert capsys.readouterr().out.splitlines()[1].split() == ["training", "2", "2", "0.01"]


def test_clips_that_differ_in_their_suffix_alone_do_not_overwrite_one_another():
    put("c/a/1.wav", with_pauses(1.0))
    put("c/a/1.flac", with_pauses(2.0))
    put("c/b/1.wav", with_pauses(1.0))
    trim()
    assert set(by_path()) == {
        "dataset/trimmed/a/1.wav.flac",
        "dataset/trimmed/a/1.flac.flac",
        "dataset/trimmed/b/1.flac",
    }


def test_clips_outside_the_corpus_folder_keep_their_whole_path():
    elsewhere = put("elsewhere/1.wav", with_pauses(1.0)).resolve()
    (target,) = cut_targets([Clip(elsewhere.as_posix(), "a")], "c", "out", trim=True)
    assert target == f"out/trimmed{elsewhere.with_suffix('.flac').as_posix()}"


def test_an_output_within_the_corpus_is_not_taken_for_clips_by_the_next_run():
    put("c/alice/1.wav", with_pauses(1.0))
    put("c/bob/1.wav", with_pauses(1.0))
    trim("--output=c")
    first = by_path("c/train_list.txt")
    trim("--output=c")
    assert (
        by_path("c/train_list.txt")
        == first
        == {
            "c/trimmed/alice/1.flac": 0,
            "c/trimmed/bob/1.flac": 1,
        }
    )


def test_segments_are_cut_and_trimmed_at_once():
    put("rec.wav", np.concatenate([with_pauses(1.0), with_pauses(1.0)]))
    Path("data").mkdir()
    Path("data/wav.scp").write_text("rec rec.wav\n")
    Path("data/segments").write_text("a-1 rec 0 3\nb-1 rec 3 6\n")
    Path("data/utt2spk").write_text("a-1 a\nb-1 b\n")
    create("--dataset=kaldi", "--path=data", "--test_speakers=0", "--do_vad=energy")
    assert by_path() == {"dataset/trimmed/a/a-1.flac": 0, "dataset/trimmed/b/b-1.flac": 1}
    assert soundfile.info("dataset/trimmed/a/a-1.flac").duration == pytest.approx(1.0, abs=0.25)
    assert not Path("dataset/segments").exists()


def test_published_trials_name_the_trimmed_clips():
    for number in (1, 2):
        for speaker in ("id10270", "id10001", "id10002"):
            put(f"vox/wav/{speaker}/v/0000{number}.wav", with_pauses(1.0))
    Path("o.txt").write_text("1 id10270/v/00001.wav id10270/v/00002.wav\n")
    create("--dataset=voxceleb", "--path=vox", "--trials=o.txt", "--do_vad=energy")
    trimmed = "dataset/trimmed/wav/id10270/v"
    assert lines_of("dataset/trials_pairs_o.txt") == [
        f"1 {trimmed}/00001.flac {trimmed}/00002.flac"
    ]


def test_processes_give_the_same_as_none():
    for number in range(40):
        put(f"c/spk{number % 2}/{number}.wav", with_pauses(0.3 if number % 7 == 0 else 1.0))
    clips = scan_folder("c")
    targets = cut_targets(clips, "c", "out", trim=True)
    runs = [
        check_clips(clips, targets=targets, vad="energy", min_duration_s=0.8, num_workers=workers)
        for workers in (0, 2)
    ]
    assert runs[0] == runs[1]
    assert len(runs[0][1]) == 6


def test_a_detector_that_is_not_installed_is_told_before_any_clip_is_read(monkeypatch):
    put("c/alice/1.wav", with_pauses(1.0))

    def missing(*_: object, **__: object) -> None:
        raise MissingDependencyError("The silero VAD needs silero-vad: pip install it.")

    monkeypatch.setattr("mvector.audio.vad.trim_silence", missing)
    with pytest.raises(MissingDependencyError):
        create("--dataset=folder", "--path=c", "--do_vad=silero")


def test_a_file_that_cannot_be_written_stops_the_run():
    put("c/alice/1.wav", with_pauses(1.0))
    put("c/bob/1.wav", with_pauses(1.0))
    Path("dataset/trimmed").mkdir(parents=True)
    Path("dataset/trimmed/bob").write_text("in the way")
    with pytest.raises(DataError, match=r"Cannot write 'dataset/trimmed/bob/1\.flac'"):
        trim()


@pytest.mark.parametrize("option", ["--skip_check=True", "--convert_mp3=True"])
def test_options_that_do_not_go_together_are_refused(option):
    with pytest.raises(OptionError, match="--do_vad"):
        create("--dataset=folder", "--path=c", "--do_vad=energy", option)
