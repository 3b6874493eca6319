"""Corpora that a file lists: Kaldi data folders, and tables."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpus_trees import (
    RATE,
    by_path,
    create,
    in_a_fresh_folder,  # noqa: F401
    lines_of,
    put,
)

from mvector.cli.options import OptionError
from mvector.corpus.recipes.kaldi import scan_kaldi
from mvector.corpus.recipes.table import scan_csv
from mvector.errors import DataError


def write(path: str, *lines: str, end: str = "\n") -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes("".join(line + end for line in lines).encode("utf-8"))


class TestKaldi:
    @pytest.mark.parametrize("end", ["\n", "\r\n"])
    def test_each_utterance_is_a_clip_of_its_speaker(self, end):
        put("wavs/a.wav")
        put("wavs/二 号.wav")
        write("data/train/wav.scp", "utt1 wavs/a.wav", "utt2 wavs/二 号.wav", end=end)
        write("data/train/utt2spk", "utt1 张三", "utt2 李四", end=end)
        create("--dataset=kaldi", "--path=data/train", "--test_speakers=0")
        assert by_path() == {"wavs/a.wav": 0, "wavs/二 号.wav": 1}
        assert {clip.path: clip.speaker for clip in scan_kaldi("data/train")[0]} == {
            "wavs/a.wav": "张三",
            "wavs/二 号.wav": "李四",
        }

    def test_relative_paths_may_start_in_a_folder_above_the_data_folder(self):
        put("s5/wavs/a.wav")
        write("s5/data/train/wav.scp", "utt1 wavs/a.wav")
        write("s5/data/train/utt2spk", "utt1 alice")
        clips, _ = scan_kaldi("s5/data/train")
        assert [clip.path for clip in clips] == ["s5/wavs/a.wav"]

    def test_unmatched_utterances_are_counted_and_left_out(self, caplog):
        put("a.wav")
        write("data/wav.scp", "utt1 a.wav", "utt2 a2.wav")
        write("data/utt2spk", "utt1 alice", "utt3 carol", "utt4 carol")
        assert [clip.speaker for clip in scan_kaldi("data")[0]] == ["alice"]
        assert "1 utterances of wav.scp are not in utt2spk and are left out: 'utt2'" in caplog.text
        assert "2 utterances of utt2spk are not in wav.scp" in caplog.text

    def test_a_command_is_refused_with_the_cure(self):
        write("data/wav.scp", "utt1 sph2pipe -f wav -p -c 1 a.sph |")
        write("data/utt2spk", "utt1 alice")
        with pytest.raises(DataError, match=r"'utt1' with a command \('sph2pipe.*wav-copy"):
            scan_kaldi("data")

    def test_an_archive_is_refused_with_the_cure(self):
        write("data/wav.scp", "utt1 raw/wav.ark:1234")
        write("data/utt2spk", "utt1 alice")
        with pytest.raises(DataError, match=r"from an archive"):
            scan_kaldi("data")

    @pytest.mark.parametrize(
        ("files", "message"),
        [
            (["data/utt2spk"], r"'.*data/wav\.scp' is missing"),
            (["data/wav.scp"], r"'.*data/utt2spk' is missing"),
            (["data/wav.scp", "data/spk2utt"], "spk2utt_to_utt2spk.pl"),
            (["data/train/wav.scp", "data/dev/wav.scp"], "one of its folders 'dev', 'train'"),
        ],
    )
    def test_a_missing_file_is_named(self, files, message):
        for file in files:
            write(file, "utt1 a")
        with pytest.raises(DataError, match=message):
            scan_kaldi("data")

    def test_a_malformed_line_is_named(self):
        write("data/wav.scp", "utt1 a.wav", "utt2")
        write("data/utt2spk", "utt1 alice")
        with pytest.raises(DataError, match=r"wav.scp', line 2: expected '<name> <path>'"):
            scan_kaldi("data")

    def test_a_first_recording_that_is_nowhere_is_named(self):
        write("data/wav.scp", "utt1 a.wav")
        write("data/utt2spk", "utt1 alice")
        with pytest.raises(DataError, match=r"'a.wav', was not found; run this in the folder"):
            scan_kaldi("data")

    def test_trials_of_utterances_become_pairs_and_their_speakers_do_not_train(self):
        names = [f"{speaker}-{number}" for speaker in "abcd" for number in (1, 2)]
        for name in names:
            put(f"wavs/{name}.wav")
        write("data/wav.scp", *(f"{name} wavs/{name}.wav" for name in names))
        write("data/utt2spk", *(f"{name} {name[0]}" for name in names))
        write("data/trials", "a-1 a-2 target", "a-1 b-1 nontarget")
        create("--dataset=kaldi", "--path=data", "--trials=data/trials")
        assert lines_of("dataset/trials_pairs_trials.txt") == [
            "1 wavs/a-1.wav wavs/a-2.wav",
            "0 wavs/a-1.wav wavs/b-1.wav",
        ]
        assert {path[5] for path in by_path()} == {"c", "d"}

    @pytest.mark.parametrize(("options", "num_training"), [((), 6), (("--test_speakers=2",), 4)])
    def test_beside_trials_more_test_speakers_are_set_aside_on_request_only(
        self, options, num_training
    ):
        names = [f"{speaker}-{number}" for speaker in "abcdefgh" for number in (1, 2)]
        for name in names:
            put(f"wavs/{name}.wav")
        write("data/wav.scp", *(f"{name} wavs/{name}.wav" for name in names))
        write("data/utt2spk", *(f"{name} {name[0]}" for name in names))
        write("data/trials", "a-1 a-2 target", "a-1 b-1 nontarget")
        create("--dataset=kaldi", "--path=data", "--trials=data/trials", *options)
        assert len(set(by_path().values())) == num_training
        assert Path("dataset/trials_list.txt").exists() == bool(options)
        assert not [path for path in by_path() if path[5] in "ab"]


class TestKaldiSegments:
    def put_folder(self, *segments: str, channels: int = 1, rate: int = RATE) -> np.ndarray:
        """A recording of 4 s, whose tone rises from second to second."""
        time_s = np.arange(rate) / rate
        mono = np.concatenate([0.2 * np.sin(2 * np.pi * f * time_s) for f in (200, 400, 600, 800)])
        samples = mono if channels == 1 else np.stack([mono, 0.5 * mono[::-1]], axis=1)
        put("rec.wav", samples.astype(np.float32), rate)
        write("data/wav.scp", "rec1 rec.wav")
        write("data/segments", *segments)
        speakers = {line.split()[0]: line.split()[0].split("-")[0] for line in segments}
        write("data/utt2spk", *(f"{name} {speaker}" for name, speaker in speakers.items()))
        return mono

    def run(self, *options: str) -> None:
        create("--dataset=kaldi", "--path=data", "--test_speakers=0", *options)

    def test_segments_are_cut_to_16_bit_flac_of_the_same_samples_and_listed(self):
        mono = self.put_folder("alice-1 rec1 0.5 1.25", "bob-1 rec1 2 4", "bob-2 rec1 1.5 -1")
        self.run()
        assert by_path() == {
            "dataset/segments/alice/alice-1.flac": 0,
            "dataset/segments/bob/bob-1.flac": 1,
            "dataset/segments/bob/bob-2.flac": 1,
        }
        for name, start_s, end_s in (
            ("alice/alice-1", 0.5, 1.25),
            ("bob/bob-1", 2, 4),
            ("bob/bob-2", 1.5, 4),
        ):
            path = f"dataset/segments/{name}.flac"
            info = soundfile.info(path)
            assert (info.format, info.subtype, info.samplerate) == ("FLAC", "PCM_16", 16000)
            samples, _ = soundfile.read(path, dtype="float32")
            expected = mono[round(start_s * RATE) : round(end_s * RATE)]
            np.testing.assert_allclose(samples, expected, atol=1.5 / 32768)

    def test_segments_of_another_rate_are_resampled(self):
        self.put_folder("alice-1 rec1 0 2", "bob-1 rec1 2 4", rate=44100)
        self.run()
        info = soundfile.info("dataset/segments/bob/bob-1.flac")
        assert (info.samplerate, info.frames) == (16000, 32000)

    def test_a_channel_may_be_chosen(self):
        mono = self.put_folder("alice-1 rec1 0 2 A", "bob-1 rec1 0 2 1", channels=2)
        self.run()
        first, _ = soundfile.read("dataset/segments/alice/alice-1.flac", dtype="float32")
        second, _ = soundfile.read("dataset/segments/bob/bob-1.flac", dtype="float32")
        np.testing.assert_allclose(first, mono[: 2 * RATE], atol=1.5 / 32768)
        np.testing.assert_allclose(second, 0.5 * mono[::-1][: 2 * RATE], atol=1.5 / 32768)

    @pytest.mark.parametrize(
        ("segment", "reason"),
        [
            ("x-1 rec1 2 1", "does not end after its start"),
            ("x-1 rec1 -2 1", "does not end after its start"),
            ("x-1 rec1 3 9", r"past the end of its recording, at 4\.00 s"),
            ("x-1 rec1 9 10", "ends before 9 s"),
            ("x-1 rec1 1 1.2", "too short"),
            ("x-1 rec1 0 2 3", "no channel 3: it has one channel, 0"),
        ],
    )
    def test_a_bad_segment_is_left_out_with_its_reason(self, segment, reason, caplog):
        self.put_folder("alice-1 rec1 0 1", "bob-1 rec1 1 2", segment)
        self.run()
        assert len(by_path()) == 2
        (line,) = lines_of("dataset/bad_clips.txt")
        assert line.startswith("rec.wav\t")
        assert re.search(reason, line)

    def test_an_end_a_little_past_the_recording_is_taken(self):
        self.put_folder("alice-1 rec1 0 2", "bob-1 rec1 2 4.3")
        self.run()
        assert soundfile.info("dataset/segments/bob/bob-1.flac").frames == 2 * RATE

    def test_names_that_could_be_paths_stay_in_their_folder(self):
        self.put_folder("../x/1 rec1 0 1", "bob-1 rec1 1 2")
        self.run()
        assert "dataset/segments/%2E.%2Fx%2F1/%2E.%2Fx%2F1.flac" in by_path()

    def test_recordings_that_are_not_listed_are_counted(self, caplog):
        self.put_folder("alice-1 rec1 0 1", "bob-1 rec1 1 2", "bob-2 rec9 1 2")
        self.run()
        assert "1 recordings of segments are not in wav.scp" in caplog.text

    def test_a_malformed_segment_is_named(self):
        self.put_folder("alice-1 rec1 0 1", "bob-1 rec1 one 2")
        with pytest.raises(
            DataError, match=r"segments', line 2: expected '<utterance> <recording>"
        ):
            scan_kaldi("data")

    def test_segments_cannot_go_unchecked(self):
        self.put_folder("alice-1 rec1 0 1", "bob-1 rec1 1 2")
        with pytest.raises(DataError, match=r"cannot go with --skip_check"):
            self.run("--skip_check=True")

    def test_a_second_run_gives_the_same_and_leaves_nothing_half_written(self):
        self.put_folder("alice-1 rec1 0 1", "bob-1 rec1 1 2")
        self.run()
        first = Path("dataset/train_list.txt").read_bytes()
        self.run()
        assert Path("dataset/train_list.txt").read_bytes() == first
        assert sorted(path.name for path in Path("dataset/segments").rglob("*.*")) == [
            "alice-1.flac",
            "bob-1.flac",
        ]


class TestTables:
    def put_clips(self, *names: str) -> None:
        for name in names:
            put(f"corpus/{name}")

    @pytest.mark.parametrize("end", ["\n", "\r\n"])
    @pytest.mark.parametrize("separator", [",", "\t", ";"])
    @pytest.mark.parametrize(
        ("header_path", "header_speaker"),
        [("path", "speaker"), ("File", "Speaker ID"), ("wav", "spk_id"), ("audio_path", "label")],
    )
    def test_usual_names_of_columns_and_separators_are_understood(
        self, header_path, header_speaker, separator, end
    ):
        self.put_clips("a.wav")
        rows = [("duration", header_speaker, header_path), ("0.6", "alice", "a.wav")]
        write("corpus/list.csv", *(separator.join(row) for row in rows), end=end)
        assert [(clip.path, clip.speaker) for clip in scan_csv("corpus/list.csv")] == [
            ("corpus/a.wav", "alice")
        ]

    def test_paths_start_in_the_folder_of_the_table_and_may_be_quoted(self):
        self.put_clips("语音/一, 二.wav", "b 2.flac")
        elsewhere = put("elsewhere/c.wav").resolve()
        write(
            "corpus/list.csv",
            "\ufeffpath,speaker",
            '"语音/一, 二.wav",张三',
            "b 2.flac,李四",
            f"{elsewhere},alice",
            "../elsewhere/c.wav,alice",
        )
        create("--dataset=csv", "--path=corpus/list.csv", "--test_speakers=0")
        assert by_path() == {
            "elsewhere/c.wav": 0,
            "corpus/语音/一, 二.wav": 1,
            "corpus/b 2.flac": 2,
        }

    def test_backslashes_of_windows_separate_folders(self):
        self.put_clips("x/a.wav")
        write("corpus/list.csv", "path,speaker", "x\\a.wav,alice")
        assert [clip.path for clip in scan_csv("corpus/list.csv")] == ["corpus/x/a.wav"]

    def test_common_voice_keeps_its_clips_in_a_folder_beside_the_table(self):
        self.put_clips("clips/common_voice_zh-CN_1.mp3")
        write(
            "corpus/validated.tsv", "client_id\tpath\tsentence", "f00\tcommon_voice_zh-CN_1.mp3\t好"
        )
        assert [(clip.path, clip.speaker) for clip in scan_csv("corpus/validated.tsv")] == [
            ("corpus/clips/common_voice_zh-CN_1.mp3", "f00")
        ]

    def test_columns_may_be_named(self):
        self.put_clips("a.wav", "b.wav")
        write("corpus/l.tsv", "who\twhat\tpath", "alice\ta.wav\tx", "bob\tb.wav\ty")
        options = ("--path_column=what", "--speaker_column=who", "--test_speakers=0")
        create("--dataset=csv", "--path=corpus/l.tsv", *options)
        assert by_path() == {"corpus/a.wav": 0, "corpus/b.wav": 1}

    def test_a_column_that_is_not_there_or_not_clear_is_told_with_those_that_are(self):
        write("l.csv", "who,what", "alice,a.wav")
        with pytest.raises(DataError, match=r"name one of 'who', 'what' with --path_column"):
            scan_csv("l.csv")
        with pytest.raises(DataError, match=r"no column 'wav' .* it has 'who', 'what'"):
            scan_csv("l.csv", path_column="wav")

    def put_split(self) -> None:
        rows = ["path,speaker,split"]
        for speaker, split in (("a", "train"), ("b", "Train"), ("c", "dev"), ("d", "test")):
            for number in (1, 2):
                self.put_clips(f"{speaker}{number}.wav")
                rows.append(f"{speaker}{number}.wav,{speaker},{split}")
        write("corpus/l.csv", *rows)

    def test_a_column_of_train_dev_and_test_divides_the_corpus(self):
        self.put_split()
        create("--dataset=csv", "--path=corpus/l.csv")
        assert {path[7] for path in by_path()} == {"a", "b"}
        for name in ("enroll", "trials"):
            assert [path[7] for path in by_path(f"dataset/{name}_list.txt")] == ["c", "d"]

    def test_that_column_may_be_left_out(self):
        self.put_split()
        options = ("--split_column=none", "--test_speakers=0")
        create("--dataset=csv", "--path=corpus/l.csv", *options)
        assert len(by_path()) == 8

    def test_where_everyone_is_in_both_halves_the_cure_is_told(self):
        self.put_clips("a1.wav", "a2.wav", "b1.wav", "b2.wav")
        rows = ["a1.wav,a,train", "a2.wav,a,test", "b1.wav,b,train", "b2.wav,b,test"]
        write("corpus/l.csv", "path,speaker,split", *rows)
        with pytest.raises(DataError, match=r"--split_column none"):
            create("--dataset=csv", "--path=corpus/l.csv")

    def test_an_unknown_split_is_named_with_its_line(self):
        self.put_clips("a.wav")
        write("corpus/l.csv", "path,speaker,part", "a.wav,a,train", "b.wav,b,holdout")
        with pytest.raises(DataError, match=r"line 3: the split 'holdout' is neither"):
            scan_csv("corpus/l.csv")

    def test_rows_that_are_incomplete_repeated_or_contested_are_counted(self, caplog):
        self.put_clips("a.wav", "b.wav", "c.wav")
        rows = ["a.wav,alice", "./a.wav,alice", ",bob", "c.wav", "", "b.wav,bob", "b.wav,carol"]
        write("corpus/l.csv", "path,speaker", *rows)
        assert [clip.path for clip in scan_csv("corpus/l.csv")] == ["corpus/a.wav"]
        assert "2 rows with an empty cell" in caplog.text
        assert "2 rows with a path given before" in caplog.text
        assert "1 clip given to more than one speaker" in caplog.text

    def test_missing_clips_are_bad_ones_but_not_all_may_be_missing(self):
        self.put_clips("a.wav", "b.wav")
        write("corpus/l.csv", "path,speaker", "a.wav,alice", "b.wav,bob", "c.wav,bob")
        create("--dataset=csv", "--path=corpus/l.csv", "--test_speakers=0")
        assert "does not exist" in lines_of("dataset/bad_clips.txt")[0]
        write("corpus/l.csv", "path,speaker", "x.wav,alice", "y.wav,bob")
        with pytest.raises(DataError, match=r"None of the 2 clips .* relative paths start from"):
            scan_csv("corpus/l.csv")

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (None, "does not exist"),
            (b"", "does not begin with a header"),
            ("path,speaker\n张.wav,a\n".encode("gbk"), "looks like GBK text; save it as UTF-8"),
            (b"path,speaker\n", "lists no clip"),
        ],
    )
    def test_a_file_that_is_no_such_table_is_refused(self, content, message):
        if content is not None:
            Path("l.csv").write_bytes(content)
        with pytest.raises(DataError, match=message):
            scan_csv("l.csv")

    def test_a_folder_in_place_of_a_table_is_refused(self):
        Path("corpus").mkdir()
        with pytest.raises(DataError, match=r"is a folder; give the CSV"):
            scan_csv("corpus")

    def test_options_of_tables_go_with_tables_only(self):
        with pytest.raises(OptionError, match=r"--path_column has no use without --dataset csv"):
            create("--dataset=folder", "--path=c", "--path_column=wav")
