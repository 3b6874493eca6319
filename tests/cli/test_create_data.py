"""create_data: from a corpus on disk to train_list.txt, enroll_list.txt and trials_list.txt."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mvector.cli import run_script
from mvector.cli.create_data import COMMAND
from mvector.cli.options import OptionError, bind_options, build_parser
from mvector.corpus.checking import check_clips
from mvector.corpus.recipes.clip import Clip
from mvector.corpus.recipes.cnceleb import scan_cnceleb
from mvector.corpus.recipes.folder import scan_folder
from mvector.corpus.recipes.zhvoice import scan_zhvoice
from mvector.corpus.splitting import split_by_speaker
from mvector.data import read_list
from mvector.errors import DataError

RATE = 16000


def voice(duration_s: float = 0.6, seed: int = 0) -> np.ndarray:
    """A tone in noise: float32 ``(samples,)``."""
    time_s = np.arange(round(duration_s * RATE)) / RATE
    noise = np.random.default_rng(seed).normal(0.0, 0.01, len(time_s))
    return (0.2 * np.sin(2 * np.pi * 220 * time_s) + noise).astype(np.float32)


def put(path: Path, duration_s: float = 0.6) -> Path:
    """Encode a clip in the format of its suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    form = "OGG" if path.suffix.lower() == ".ogg" else path.suffix[1:].upper()
    soundfile.write(path, voice(duration_s), RATE, format=form)
    return path


def put_speakers(root: Path, num_speakers: int, num_clips: int) -> None:
    for speaker in range(num_speakers):
        for clip in range(num_clips):
            put(root / f"spk{speaker:02d}" / f"{clip}.wav")


def create(*options: str) -> int:
    """Run the command with one process and without the default of an output folder."""
    decodes = "--skip_check=True" not in options
    words = ["--num_workers=0", *options] if decodes else options
    action, chosen = bind_options(COMMAND, vars(build_parser(COMMAND).parse_args(words)))
    return action.run(chosen)


def by_path(name: str) -> dict[str, int]:
    clips = read_list(name)
    return dict(zip(clips.paths, clips.labels.tolist(), strict=True))


def parts_of(clips: list[Clip]) -> dict[str, set[str]]:
    """Speakers of each part."""
    return {
        part: {clip.speaker for clip in clips if clip.part == part}
        for part in ("train", "enroll", "trials")
    }


def made_up_clips(clips_per_speaker: dict[str, int]) -> list[Clip]:
    return [
        Clip(f"c/{speaker}/{number}.wav", speaker)
        for speaker, count in clips_per_speaker.items()
        for number in range(count)
    ]


@pytest.fixture(autouse=True)
def _in_a_fresh_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class TestFolderLayout:
    def test_the_speaker_is_the_folder_beneath_the_corpus_however_deep_the_clip_lies(self):
        put(Path("c/alice/1.wav"))
        put(Path("c/alice/phone/old/2.flac"))
        put(Path("c/bob/3.ogg"))
        found = {clip.path: clip.speaker for clip in scan_folder("c")}
        assert found == {
            "c/alice/1.wav": "alice",
            "c/alice/phone/old/2.flac": "alice",
            "c/bob/3.ogg": "bob",
        }

    def test_suffixes_are_compared_without_case_and_other_files_are_passed_over(self):
        put(Path("c/a/1.WAV"))
        put(Path("c/b/2.Flac"))
        Path("c/b/notes.txt").write_text("not a clip")
        assert [clip.path for clip in scan_folder("c")] == ["c/a/1.WAV", "c/b/2.Flac"]

    def test_hidden_files_and_folders_are_skipped(self):
        for name in ("a/1.wav", "a/._1.wav", "b/2.wav", ".trash/3.wav", "__MACOSX/a/4.wav"):
            put(Path("c") / name)
        assert [clip.path for clip in scan_folder("c")] == ["c/a/1.wav", "c/b/2.wav"]

    def test_clips_outside_speakers_folders_are_left_out_with_a_warning(self, caplog):
        for name in ("stray.wav", "a/1.wav", "b/2.wav"):
            put(Path("c") / name)
        assert len(scan_folder("c")) == 2
        assert "Left out: 1 clip directly in" in caplog.text

    def test_an_mp3_beside_a_wav_of_the_same_name_is_the_same_recording(self):
        for name in ("a/1.wav", "a/1.mp3", "a/2.mp3", "b/1.wav"):
            put(Path("c") / name)
        assert [clip.path for clip in scan_folder("c")] == ["c/a/1.wav", "c/a/2.mp3", "c/b/1.wav"]

    def test_links_are_followed_and_a_circle_of_links_ends(self):
        put(Path("elsewhere/1.wav"))
        put(Path("c/b/2.wav"))
        Path("c/a").symlink_to(Path("elsewhere").resolve())
        Path("c/b/up").symlink_to(Path("c").resolve())
        assert [(clip.path, clip.speaker) for clip in scan_folder("c")] == [
            ("c/a/1.wav", "a"),
            ("c/b/2.wav", "b"),
        ]

    def test_a_missing_folder_is_named(self):
        with pytest.raises(DataError, match="'nowhere' does not exist"):
            scan_folder("nowhere")

    def test_a_file_in_place_of_a_folder_is_named(self):
        Path("corpus.tar").write_bytes(b"x")
        with pytest.raises(DataError, match=r"'corpus.tar' is a file; unpack it"):
            scan_folder("corpus.tar")

    def test_without_audio_the_expected_layout_is_told(self):
        Path("c/a").mkdir(parents=True)
        with pytest.raises(DataError, match=r"expected c/<speaker>/<clip>\.wav"):
            scan_folder("c")

    def test_one_speaker_alone_is_refused(self):
        put(Path("c/train/alice/1.wav"))
        put(Path("c/train/bob/1.wav"))
        with pytest.raises(DataError, match="of one speaker, 'train'"):
            scan_folder("c")


class TestZhvoiceLayout:
    def test_the_speaker_is_the_parent_folder_within_its_sub_corpus(self):
        for name in ("zhaishell/S1/1.mp3", "zhaishell/test/S1/2.mp3", "zhstcmds/S1/1.mp3"):
            put(Path("zhvoice") / name)
        speakers = {clip.path: clip.speaker for clip in scan_zhvoice("zhvoice")}
        assert speakers["zhvoice/zhaishell/S1/1.mp3"] == "zhaishell/S1"
        assert speakers["zhvoice/zhaishell/test/S1/2.mp3"] == "zhaishell/S1"
        assert speakers["zhvoice/zhstcmds/S1/1.mp3"] == "zhstcmds/S1"

    def test_the_folder_that_holds_zhvoice_may_be_given(self):
        put(Path("dataset/zhvoice/zhaishell/S1/1.mp3"))
        put(Path("dataset/zhvoice/zhaishell/S2/1.mp3"))
        put(Path("dataset/other/x/1.mp3"))
        assert scan_zhvoice("dataset") == scan_zhvoice("dataset/zhvoice")

    def test_conversion_writes_16_khz_wav_with_the_same_sound_and_lists_it(self):
        put_mp3 = [
            put(Path(f"zhvoice/sub/S{n}/1.MP3" if n else "zhvoice/sub/S0/1.mp3")) for n in (0, 1)
        ]
        create("--dataset=zhvoice", "--path=zhvoice", "--convert_mp3=True", "--test_speakers=0")
        assert list(by_path("dataset/train_list.txt")) == [
            "zhvoice/sub/S0/1.wav",
            "zhvoice/sub/S1/1.wav",
        ]
        for source in put_mp3:
            info = soundfile.info(source.with_suffix(".wav"))
            assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
            expected, _ = soundfile.read(source, dtype="float32")
            converted, _ = soundfile.read(source.with_suffix(".wav"), dtype="float32")
            np.testing.assert_allclose(converted, expected, atol=1.0 / 32768)

    def test_a_second_conversion_takes_the_wavs_of_the_first(self):
        for speaker in ("S0", "S1"):
            put(Path(f"zhvoice/sub/{speaker}/1.mp3"))
        options = ("--dataset=zhvoice", "--path=zhvoice", "--convert_mp3=True", "--test_speakers=0")
        create(*options)
        first = Path("dataset/train_list.txt").read_bytes()
        written = Path("zhvoice/sub/S0/1.wav").stat().st_mtime_ns
        create(*options)
        assert Path("dataset/train_list.txt").read_bytes() == first
        assert Path("zhvoice/sub/S0/1.wav").stat().st_mtime_ns == written

    def test_no_wav_is_written_for_a_bad_mp3_and_none_unless_asked(self):
        put(Path("zhvoice/sub/S0/1.mp3"))
        put(Path("zhvoice/sub/S1/1.mp3"), duration_s=0.1)
        put(Path("zhvoice/sub/S2/1.mp3"))
        options = ("--dataset=zhvoice", "--path=zhvoice", "--test_speakers=0")
        create(*options)
        assert not list(Path("zhvoice").rglob("*.wav"))
        create(*options, "--convert_mp3=True")
        assert not Path("zhvoice/sub/S1/1.wav").exists()
        assert Path("zhvoice/sub/S2/1.wav").exists()

    def test_a_wav_that_cannot_be_written_stops_the_run(self):
        put(Path("zhvoice/sub/S0/1.mp3"))
        Path("zhvoice/sub/S0/1.wav").mkdir()
        with pytest.raises(DataError, match="--convert_mp3 needs"):
            check_clips([Clip("zhvoice/sub/S0/1.mp3", "S0")], convert_mp3=True, num_workers=0)


def put_cnceleb(root: Path, *, second: bool = True, dev_list: bool = True) -> None:
    """Speakers 0-2 train, 3 is in neither list, 800 and 801 test; CN-Celeb 2 adds 10000."""
    first = root / "CN-Celeb_flac"
    for name in ("id00000", "id00001", "id00002", "id00003", "id00800", "id00801"):
        put(first / f"data/{name}/singing-01-001.flac")
    if dev_list:
        (first / "dev").mkdir()
        (first / "dev/dev.lst").write_text("id00000\nid00001\nid00002\n\n")
    for name in ("id00800", "id00801"):
        put(first / f"eval/enroll/{name}-enroll.flac")
        put(first / f"eval/test/{name}-singing-01-001.flac")
        put(first / f"eval/test/{name}-vlog-02-003.flac")
    if second:
        put(root / "CN-Celeb2_flac/data/id10000/drama-01-001.flac")


class TestCnCeleb:
    def test_dev_speakers_and_all_of_the_second_part_train_and_the_eval_folders_test(self):
        put_cnceleb(Path("dataset"))
        create("--dataset=cnceleb", "--path=dataset")
        training = by_path("dataset/train_list.txt")
        assert training == {
            "dataset/CN-Celeb_flac/data/id00000/singing-01-001.flac": 0,
            "dataset/CN-Celeb_flac/data/id00001/singing-01-001.flac": 1,
            "dataset/CN-Celeb_flac/data/id00002/singing-01-001.flac": 2,
            "dataset/CN-Celeb2_flac/data/id10000/drama-01-001.flac": 3,
        }
        enrolled, trials = by_path("dataset/enroll_list.txt"), by_path("dataset/trials_list.txt")
        base = "dataset/CN-Celeb_flac/eval"
        assert enrolled == {
            f"{base}/enroll/id00800-enroll.flac": 0,
            f"{base}/enroll/id00801-enroll.flac": 1,
        }
        assert trials == {
            f"{base}/test/id00800-singing-01-001.flac": 0,
            f"{base}/test/id00800-vlog-02-003.flac": 0,
            f"{base}/test/id00801-singing-01-001.flac": 1,
            f"{base}/test/id00801-vlog-02-003.flac": 1,
        }

    def test_without_dev_list_everyone_outside_eval_trains(self):
        put_cnceleb(Path("dataset"), dev_list=False, second=False)
        parts = parts_of(scan_cnceleb("dataset"))
        assert parts["train"] == {"id00000", "id00001", "id00002", "id00003"}
        assert parts["enroll"] == parts["trials"] == {"id00800", "id00801"}

    def test_a_test_speaker_named_in_dev_list_still_does_not_train(self):
        put_cnceleb(Path("dataset"))
        Path("dataset/CN-Celeb_flac/dev/dev.lst").write_text("id00000\nid00800\n")
        assert parts_of(scan_cnceleb("dataset"))["train"] == {"id00000", "id10000"}

    def test_one_of_the_two_folders_may_be_given_itself(self):
        put_cnceleb(Path("dataset"))
        first = parts_of(scan_cnceleb("dataset/CN-Celeb_flac"))
        second = parts_of(scan_cnceleb("dataset/CN-Celeb2_flac"))
        assert first["train"] == {"id00000", "id00001", "id00002"}
        assert second == {"train": {"id10000"}, "enroll": set(), "trials": set()}

    @pytest.mark.parametrize("missing", ["data", "eval/enroll", "eval/test"])
    def test_a_half_unpacked_corpus_names_the_folder_it_lacks(self, missing):
        put_cnceleb(Path("dataset"))
        os.rename(f"dataset/CN-Celeb_flac/{missing}", "elsewhere")
        with pytest.raises(DataError, match=f"'.*CN-Celeb_flac/{missing}' is missing"):
            scan_cnceleb("dataset")

    @pytest.mark.parametrize("emptied", ["data", "eval/enroll", "eval/test"])
    def test_an_empty_folder_is_named_too(self, emptied):
        put_cnceleb(Path("dataset"))
        for clip in Path(f"dataset/CN-Celeb_flac/{emptied}").rglob("*.flac"):
            clip.unlink()
        with pytest.raises(DataError, match=f"No audio was found in '.*CN-Celeb_flac/{emptied}'"):
            scan_cnceleb("dataset")

    def test_training_speakers_without_clips_are_counted(self, caplog):
        put_cnceleb(Path("dataset"))
        with open("dataset/CN-Celeb_flac/dev/dev.lst", "a") as stream:
            stream.write("id00004\n")
        scan_cnceleb("dataset")
        assert "1 of the 4 speakers of dev.lst have no clips" in caplog.text
        assert "id00004" in caplog.text

    def test_an_archive_still_to_be_unpacked_is_named(self):
        Path("dataset").mkdir()
        Path("dataset/cn-celeb_v2.tar.gz").write_bytes(b"x")
        with pytest.raises(DataError, match=r"unpack 'cn-celeb_v2\.tar\.gz' first"):
            scan_cnceleb("dataset")

    def test_its_own_test_speakers_are_taken(self):
        with pytest.raises(OptionError, match="cnceleb, which comes with its own test speakers"):
            create("--dataset=cnceleb", "--path=dataset", "--test_speakers=2")


def put_bad(kind: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("this is not sound\n" * 50)
    elif kind == "truncated":
        put(path, duration_s=3.0)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "nan":
        waveform = voice()
        waveform[100] = np.nan
        soundfile.write(path, waveform, RATE, subtype="FLOAT")
    elif kind == "silent":
        soundfile.write(path, np.zeros(RATE, np.float32), RATE)
    elif kind == "short":
        put(path, duration_s=0.1)
    elif kind == "gone":
        path.symlink_to("/nonexistent/clip.wav")


BAD_KINDS = {
    "empty": ("wav", "empty file"),
    "text": ("wav", "not audio that can be decoded"),
    "truncated": ("flac", "damaged|cut short"),
    "nan": ("wav", "1 samples that are NaN"),
    "silent": ("wav", "is silent"),
    "short": ("wav", r"too short: .*0\.10 s, .*0\.5 s"),
    "gone": ("wav", "does not exist"),
}


class TestChecking:
    @pytest.mark.parametrize("kind", BAD_KINDS)
    def test_a_bad_clip_is_left_out_with_its_reason(self, kind):
        suffix, reason = BAD_KINDS[kind]
        put_bad(kind, Path(f"c/a/bad.{suffix}"))
        put(Path("c/a/good.wav"))
        put(Path("c/b/good.flac"))
        good, bad = check_clips(scan_folder("c"), num_workers=0)
        assert [clip.path for clip in good] == ["c/a/good.wav", "c/b/good.flac"]
        assert [clip.path for clip in bad] == [f"c/a/bad.{suffix}"]
        assert re.search(reason, bad[0].reason)

    def test_durations_are_those_of_the_decoded_clips(self):
        put(Path("c/a/1.wav"), duration_s=0.75)
        put(Path("c/b/1.flac"), duration_s=1.5)
        good, _ = check_clips(scan_folder("c"), num_workers=0)
        assert [clip.duration_s for clip in good] == [0.75, 1.5]

    def test_the_shortest_duration_is_the_users(self):
        put(Path("c/a/1.wav"), duration_s=0.6)
        put(Path("c/b/1.wav"), duration_s=0.9)
        good, bad = check_clips(scan_folder("c"), min_duration_s=0.8, num_workers=0)
        assert [clip.path for clip in good] == ["c/b/1.wav"]
        assert "at least 0.8 s" in bad[0].reason

    def test_a_tab_or_line_break_in_a_path_makes_the_clip_bad(self):
        put(Path("c/a/1.wav"))
        put(Path("c/b/tab\there.wav"))
        put(Path("c/b/line\nbreak.wav"))
        put(Path("c/b/2.wav"))
        create("--dataset=folder", "--path=c", "--test_speakers=0")
        assert list(by_path("dataset/train_list.txt")) == ["c/a/1.wav", "c/b/2.wav"]
        lines = Path("dataset/bad_clips.txt").read_text(encoding="utf-8").splitlines()
        assert [line.split("\t")[0] for line in lines] == [
            r"c/b/line\nbreak.wav",
            r"c/b/tab\there.wav",
        ]
        assert all("tab or a line break" in line for line in lines)

    def test_a_path_that_is_not_utf8_makes_the_clip_bad(self):
        clip = Clip("c/b/\udcff.wav", "b")
        put(Path("c/a/1.wav"))
        _, bad = check_clips([Clip("c/a/1.wav", "a"), clip], num_workers=0)
        assert "not valid UTF-8" in bad[0].reason

    def test_processes_give_the_same_result_in_the_same_order_as_none(self):
        put_speakers(Path("c"), num_speakers=12, num_clips=6)
        for number, kind in enumerate(BAD_KINDS):
            put_bad(kind, Path(f"c/spk{number:02d}/bad.{BAD_KINDS[kind][0]}"))
        clips = scan_folder("c")
        assert check_clips(clips, num_workers=3) == check_clips(clips, num_workers=0)

    def test_a_wav_that_a_process_cannot_write_stops_the_run(self):
        clips = [Clip(put(Path(f"c/a/{number}.mp3")).as_posix(), "a") for number in range(40)]
        Path("c/a/7.wav").mkdir()
        with pytest.raises(DataError, match="--convert_mp3 needs"):
            check_clips(clips, convert_mp3=True, num_workers=2)

    def test_five_bad_clips_are_logged_and_all_are_counted_and_listed(self, caplog):
        put_speakers(Path("c"), num_speakers=2, num_clips=1)
        for number in range(7):
            put_bad("silent", Path(f"c/spk00/bad{number}.wav"))
        create("--dataset=folder", "--path=c", "--test_speakers=0")
        assert "7 of 9 clips are bad" in caplog.text
        assert caplog.text.count("is silent") == 5
        lines = Path("dataset/bad_clips.txt").read_text().splitlines()
        assert lines[6].startswith("c/spk00/bad6.wav\tis silent")
        assert len(lines) == 7

    def test_a_list_of_bad_clips_does_not_outlive_them(self):
        put_speakers(Path("c"), num_speakers=2, num_clips=1)
        put_bad("empty", Path("c/spk00/bad.wav"))
        create("--dataset=folder", "--path=c", "--test_speakers=0")
        assert Path("dataset/bad_clips.txt").exists()
        Path("c/spk00/bad.wav").unlink()
        create("--dataset=folder", "--path=c", "--test_speakers=0")
        assert not Path("dataset/bad_clips.txt").exists()

    def test_a_corpus_of_bad_clips_alone_is_refused_with_the_first_reason(self):
        put_bad("silent", Path("c/a/1.wav"))
        put_bad("empty", Path("c/b/1.wav"))
        with pytest.raises(DataError, match=r"None of the 2 clips .* 'c/a/1.wav', is silent"):
            create("--dataset=folder", "--path=c")
        assert not list(Path("dataset").iterdir())

    def test_a_speaker_without_good_clips_is_dropped_and_labels_stay_contiguous(self, caplog):
        for name in ("a", "c", "d"):
            put(Path(f"c/{name}/1.wav"))
        put_bad("empty", Path("c/b/1.wav"))
        create("--dataset=folder", "--path=c", "--test_speakers=0")
        assert by_path("dataset/train_list.txt") == {
            "c/a/1.wav": 0,
            "c/c/1.wav": 1,
            "c/d/1.wav": 2,
        }
        assert "Left out: 1 speaker without a good clip: 'b'" in caplog.text

    def test_skipping_the_check_opens_no_clip(self, capsys):
        put(Path("c/a/1.wav"))
        put_bad("empty", Path("c/b/1.wav"))
        create("--dataset=folder", "--path=c", "--test_speakers=0", "--skip_check=True")
        assert len(by_path("dataset/train_list.txt")) == 2
        assert "unknown" in capsys.readouterr().out

    def test_conversion_cannot_go_without_the_check(self):
        with pytest.raises(OptionError, match="--convert_mp3 has no use with --skip_check"):
            create("--dataset=folder", "--path=c", "--skip_check=True", "--convert_mp3=True")


class TestSplit:
    CLIPS = made_up_clips({f"s{number:03d}": 3 + number % 4 for number in range(60)})

    def test_nobody_is_both_a_training_and_a_test_speaker_and_no_clip_is_lost(self):
        split = split_by_speaker(self.CLIPS)
        parts = parts_of(split)
        assert not parts["train"] & (parts["enroll"] | parts["trials"])
        assert parts["enroll"] == parts["trials"]
        assert {clip.path for clip in split} == {clip.path for clip in self.CLIPS}
        assert len(split) == len(self.CLIPS)

    def test_each_test_speaker_enrols_the_clips_asked_for_and_the_others_are_trials(self):
        split = split_by_speaker(self.CLIPS, enroll_clips=2)
        for speaker in parts_of(split)["enroll"]:
            own = [clip.part for clip in split if clip.speaker == speaker]
            total = sum(clip.speaker == speaker for clip in self.CLIPS)
            assert (own.count("enroll"), own.count("trials")) == (2, total - 2)

    def test_a_seed_gives_one_split_whatever_the_order_of_speakers_and_another_seed_another(self):
        first = split_by_speaker(self.CLIPS, seed=1)
        by_last_speaker = sorted(self.CLIPS, key=lambda clip: clip.speaker, reverse=True)
        assert split_by_speaker(by_last_speaker, seed=1) == first
        assert parts_of(split_by_speaker(self.CLIPS, seed=2)) != parts_of(first)

    def test_which_clips_are_enrolled_differs_between_speakers_and_seeds(self):
        enrolled = [
            {
                clip.speaker: os.path.basename(clip.path)
                for clip in split_by_speaker(self.CLIPS, test_speakers=58, seed=seed)
                if clip.part == "enroll"
            }
            for seed in (1, 2)
        ]
        assert len(set(enrolled[0].values())) > 1
        in_both = enrolled[0].keys() & enrolled[1].keys()
        assert any(enrolled[0][speaker] != enrolled[1][speaker] for speaker in in_both)

    @pytest.mark.parametrize(
        ("num_speakers", "num_test"),
        [(3, 0), (4, 2), (15, 2), (60, 6), (1999, 200), (2500, 200)],
    )
    def test_by_default_a_tenth_of_the_speakers_test_from_2_to_200(self, num_speakers, num_test):
        clips = made_up_clips({f"s{number}": 2 for number in range(num_speakers)})
        assert len(parts_of(split_by_speaker(clips))["trials"]) == num_test

    @pytest.mark.parametrize(("wanted", "num_test"), [(0, 0), (7, 7), (0.5, 30), (0.001, 2)])
    def test_a_number_or_a_share_of_speakers_is_honoured(self, wanted, num_test):
        parts = parts_of(split_by_speaker(self.CLIPS, test_speakers=wanted))
        assert len(parts["trials"]) == num_test
        assert len(parts["train"]) == 60 - num_test

    def test_speakers_with_too_few_clips_to_test_stay_in_training(self, caplog):
        caplog.set_level(logging.INFO)
        clips = made_up_clips({"a": 1, "b": 1, "c": 2, "d": 2, "e": 5})
        parts = parts_of(split_by_speaker(clips, test_speakers=3))
        assert parts == {"train": {"a", "b"}, "enroll": {"c", "d", "e"}, "trials": {"c", "d", "e"}}
        assert "2 speakers with fewer than 2 good clips" in caplog.text

    @pytest.mark.parametrize(
        ("wanted", "message"),
        [
            (1, "at least 2 are needed"),
            (4, "only 3 of 5 have the 2 good clips"),
            (0.9, "only 3 of 5 have the 2 good clips"),
        ],
    )
    def test_what_cannot_be_had_is_refused(self, wanted, message):
        clips = made_up_clips({"a": 1, "b": 1, "c": 2, "d": 2, "e": 5})
        with pytest.raises(DataError, match=message):
            split_by_speaker(clips, test_speakers=wanted)

    def test_two_speakers_must_be_left_for_training(self):
        clips = made_up_clips({"a": 2, "b": 2, "c": 2})
        with pytest.raises(DataError, match="at least 2 must be left"):
            split_by_speaker(clips, test_speakers=2)


class TestLists:
    def test_a_line_is_path_tab_label_in_utf8_with_nothing_else(self):
        put(Path("语音/张 三/一.wav"))
        put(Path("语音/Ζωή/b/2.flac"))
        create("--dataset=folder", "--path=语音", "--test_speakers=0")
        expected = "语音/Ζωή/b/2.flac\t0\n语音/张 三/一.wav\t1\n"
        assert Path("dataset/train_list.txt").read_bytes() == expected.encode("utf-8")

    @pytest.mark.parametrize("spelling", ["c", "./c/", "absolute"])
    def test_a_corpus_beneath_the_working_directory_is_listed_relative_to_it(self, spelling):
        put_speakers(Path("c"), num_speakers=2, num_clips=1)
        path = os.path.abspath("c") if spelling == "absolute" else spelling
        create("--dataset=folder", f"--path={path}", "--test_speakers=0")
        assert list(by_path("dataset/train_list.txt")) == ["c/spk00/0.wav", "c/spk01/0.wav"]

    def test_the_working_directory_itself_may_be_the_corpus(self):
        put_speakers(Path(), num_speakers=2, num_clips=1)
        create("--dataset=folder", "--path=.", "--test_speakers=0")
        assert list(by_path("dataset/train_list.txt")) == ["spk00/0.wav", "spk01/0.wav"]

    def test_a_corpus_elsewhere_is_listed_with_absolute_paths(self, monkeypatch):
        put_speakers(Path("c"), num_speakers=2, num_clips=1)
        Path("work").mkdir()
        corpus = Path("c").resolve()
        monkeypatch.chdir("work")
        create("--dataset=folder", "--path=../c", "--test_speakers=0")
        expected = [f"{corpus.as_posix()}/spk0{number}/0.wav" for number in (0, 1)]
        assert list(by_path("dataset/train_list.txt")) == expected

    def test_test_labels_count_from_0_and_agree_between_enrolment_and_trials(self):
        put_speakers(Path("c"), num_speakers=6, num_clips=3)
        create("--dataset=folder", "--path=c", "--test_speakers=3", "--output=lists/small")
        speakers: dict[int, set[str]] = {}
        for name in ("enroll", "trials"):
            for path, label in by_path(f"lists/small/{name}_list.txt").items():
                speakers.setdefault(label, set()).add(path.split("/")[1])
        assert sorted(speakers) == [0, 1, 2]
        assert all(len(names) == 1 for names in speakers.values())
        assert sorted(by_path("lists/small/train_list.txt").values()) == [0, 0, 0, 1, 1, 1, 2, 2, 2]

    def test_a_seed_gives_the_same_files_with_any_number_of_processes(self):
        put_speakers(Path("c"), num_speakers=8, num_clips=5)
        outputs = []
        for output, workers in (("one", "0"), ("two", "2")):
            options = ("--dataset=folder", "--path=c", "--seed=5", f"--num_workers={workers}")
            create(*options, f"--output={output}")
            outputs.append([path.read_bytes() for path in sorted(Path(output).iterdir())])
        assert len(outputs[0]) == 3
        assert outputs[0] == outputs[1]

    def test_the_seed_of_the_command_line_chooses_the_split(self):
        put_speakers(Path("c"), num_speakers=8, num_clips=3)
        trials = set()
        for seed in range(4):
            create("--dataset=folder", "--path=c", f"--seed={seed}")
            trials.add(Path("dataset/trials_list.txt").read_bytes())
        assert len(trials) > 1

    def test_lists_of_an_earlier_run_that_no_longer_fit_are_named(self, caplog):
        put_speakers(Path("c"), num_speakers=5, num_clips=2)
        create("--dataset=folder", "--path=c")
        create("--dataset=folder", "--path=c", "--test_speakers=0")
        assert caplog.text.count("is of an earlier run") == 2

    def test_an_output_that_is_a_file_is_refused_before_any_clip_is_read(self):
        Path("lists").write_text("a file")
        with pytest.raises(DataError, match="Cannot write lists to 'lists'"):
            create("--dataset=folder", "--path=nowhere", "--output=lists")


class TestCommand:
    def test_a_mistake_is_one_sentence_and_exit_code_2(self, capsys):
        options = ["--dataset", "folder", "--path", "nowhere"]
        assert run_script("create_data", options) == 2
        error = capsys.readouterr().err.strip().splitlines()
        assert error[-1].endswith("The corpus folder 'nowhere' does not exist; check the path.")
        assert "Traceback" not in "".join(error)

    @pytest.mark.parametrize(
        "option",
        [
            "--test_speakers=-1",
            "--test_speakers=1.5",
            "--test_speakers=many",
            "--enroll_clips=0",
            "--num_workers=-2",
            "--min_duration=-1",
            "--min_duration=nan",
            "--convert_mp3=perhaps",
            "--dataset=timit",
        ],
    )
    def test_an_impossible_option_is_refused_by_name(self, option):
        with pytest.raises(OptionError, match=f"^Argument {option.split('=')[0]}: "):
            build_parser(COMMAND).parse_args(["--dataset=folder", "--path=c", option])

    def test_help_shows_what_each_layout_looks_like(self, capsys):
        with pytest.raises(SystemExit):
            build_parser(COMMAND).parse_args(["--help"])
        text = capsys.readouterr().out
        for example in ("eval/enroll/id00800-enroll.flac", "zhvoice/zhaidatatang/", "alice/1.wav"):
            assert example in text

    def test_the_summary_counts_speakers_clips_and_hours_and_names_the_next_command(self, capsys):
        put_speakers(Path("c"), num_speakers=4, num_clips=3)
        put(Path("c/spk00/long.wav"), duration_s=36.0)
        put_bad("empty", Path("c/spk00/bad.wav"))
        create("--dataset=folder", "--path=c", "--test_speakers=0")
        lines = capsys.readouterr().out.splitlines()
        assert lines[1].split() == ["training", "4", "13", "0.01"]
        assert lines[4:] == [
            "Left out: 1 bad clip, listed in dataset/bad_clips.txt",
            "Written: dataset/train_list.txt",
            "Next: python train.py --do_eval False",
        ]
