"""Corpora that are published with trials: CN-Celeb, VoxCeleb, 3D-Speaker."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from corpus_trees import by_path, create, in_a_fresh_folder, lines_of, put  # noqa: F401

from mvector.cli.options import OptionError
from mvector.corpus.recipes.three_d_speaker import scan_3dspeaker
from mvector.corpus.recipes.voxceleb import scan_voxceleb
from mvector.errors import DataError, MissingDependencyError
from mvector.scoring.trial_lists import is_trials_file, read_trials


def parts_of(clips) -> dict[str, str]:
    return {clip.path: clip.part for clip in clips}


class TestCnCelebTrials:
    BASE = "dataset/CN-Celeb_flac/eval"

    @pytest.fixture(autouse=True)
    def _corpus(self) -> None:
        for name in ("id00000", "id00001", "id00800", "id00801"):
            put(f"dataset/CN-Celeb_flac/data/{name}/singing-01-001.flac")
        for name in ("id00800", "id00801"):
            put(f"{self.BASE}/enroll/{name}-enroll.flac")
            put(f"{self.BASE}/test/{name}-singing-01-001.flac")
        Path("dataset/CN-Celeb_flac/dev").mkdir()
        Path("dataset/CN-Celeb_flac/dev/dev.lst").write_bytes(b"id00000\r\nid00001\r\n")
        Path(f"{self.BASE}/lists").mkdir()

    def put_lists(self, trials: str, end: str = "\n") -> None:
        # The lists name wav files, as in the first release, whatever the audio is.
        enroll = ["id00800-enroll enroll/id00800-enroll.wav"]
        enroll += ["id00801-enroll enroll/id00801-enroll.wav", ""]
        Path(f"{self.BASE}/lists/enroll.lst").write_text(end.join(enroll), newline="")
        Path(f"{self.BASE}/lists/trials.lst").write_text(trials.replace("\n", end), newline="")

    @pytest.mark.parametrize("end", ["\n", "\r\n"])
    def test_published_trials_become_pairs_of_our_paths_beside_the_all_pairs_lists(self, end):
        self.put_lists(
            "id00800-enroll test/id00800-singing-01-001.wav 1\n"
            "id00801-enroll test/id00800-singing-01-001.wav 0\n",
            end,
        )
        create("--dataset=cnceleb", "--path=dataset")
        enrolled, tried = f"{self.BASE}/enroll", f"{self.BASE}/test/id00800-singing-01-001.flac"
        assert lines_of("dataset/trials_pairs.txt") == [
            f"1 {enrolled}/id00800-enroll.flac {tried}",
            f"0 {enrolled}/id00801-enroll.flac {tried}",
        ]
        assert len(by_path("dataset/enroll_list.txt")) == len(by_path("dataset/trials_list.txt"))
        assert is_trials_file("dataset/trials_pairs.txt")

    def test_trials_of_a_bad_clip_and_of_a_missing_one_are_left_out_and_counted(self, caplog):
        Path(f"{self.BASE}/test/id00801-singing-01-001.flac").write_bytes(b"")
        self.put_lists(
            "id00800-enroll test/id00800-singing-01-001.wav 1\n"
            "id00800-enroll test/id00801-singing-01-001.wav 0\n"
            "id00800-enroll test/id00999-vlog-01-001.wav 0\n"
        )
        put(f"{self.BASE}/test/id00801-vlog-01-001.flac")
        create("--dataset=cnceleb", "--path=dataset")
        assert len(lines_of("dataset/trials_pairs.txt")) == 1
        assert "2 of the 3 trials" in caplog.text
        bad = dict(line.split("\t") for line in lines_of("dataset/bad_clips.txt"))
        assert "is not in the corpus" in bad["test/id00999-vlog-01-001.wav"]
        assert "empty file" in bad[f"{self.BASE}/test/id00801-singing-01-001.flac"]

    def test_without_the_lists_no_pairs_are_written(self):
        create("--dataset=cnceleb", "--path=dataset")
        assert not Path("dataset/trials_pairs.txt").exists()

    def test_a_malformed_trial_is_named_with_its_line(self):
        self.put_lists("id00800-enroll test/id00800-singing-01-001.wav 1\nid00800-enroll 1\n")
        with pytest.raises(DataError, match=r"trials.lst', line 2: expected a trial"):
            create("--dataset=cnceleb", "--path=dataset")


VOX1 = [("id10001", "1zcIwhmdeo4"), ("id10002", "6WO410QOeuo"), ("id10270", "5r0dWxy17C8")]
VOX2 = [("id00012", "21Uxsk56VDQ"), ("id00015", "0fijmz4vTVU")]


def put_voxceleb(root: str = "data", *, suffix: str = ".wav") -> None:
    """Both corpora as unpacked from the published archives, two clips of each speaker."""
    for number in (1, 2):
        for speaker, video in VOX1:
            half = "test" if speaker == "id10270" else "dev"
            put(f"{root}/vox1/{half}/wav/{speaker}/{video}/0000{number}.wav")
        for speaker, video in VOX2:
            put(f"{root}/vox2/dev/aac/{speaker}/{video}/0000{number}{suffix}")
        put(f"{root}/vox2/test/aac/id00017/01dfn2spqyE/0000{number}{suffix}")


class TestVoxCelebLayouts:
    def test_dev_folders_train_and_test_folders_test(self):
        put_voxceleb()
        create("--dataset=voxceleb", "--path=data")
        assert {path.split("/")[4] for path in by_path()} == {
            "id10001",
            "id10002",
            "id00012",
            "id00015",
        }
        enrolled, tried = by_path("dataset/enroll_list.txt"), by_path("dataset/trials_list.txt")
        for own in (enrolled, tried):
            assert {path.split("/")[4]: label for path, label in own.items()} == {
                "id00017": 0,
                "id10270": 1,
            }
        assert not enrolled.keys() & tried.keys()

    @pytest.mark.parametrize(
        ("train", "test"),
        [
            ("vox1_dev_wav/wav", "vox1_test_wav/wav"),
            ("VoxCeleb1/train/wav", "VoxCeleb1/test/wav"),
            ("voxceleb1/wav", "voxceleb1/wav"),  # both archives unpacked into one folder
            ("voxceleb1", "voxceleb1"),
            (".", "."),
        ],
    )
    def test_the_layouts_that_people_have(self, train, test):
        for speaker, video in VOX1:
            place = test if speaker == "id10270" else train
            put(f"data/{place}/{speaker}/{video}/00001.wav")
        clips, _ = scan_voxceleb("data")
        assert {clip.speaker: clip.part for clip in clips} == {
            "id10001": "train",
            "id10002": "train",
            "id10270": "test",
        }

    def test_m4a_is_decoded_and_listed(self):
        put_voxceleb(suffix=".m4a")
        create("--dataset=voxceleb", "--path=data")
        assert "data/vox2/dev/aac/id00012/21Uxsk56VDQ/00001.m4a" in by_path()
        assert not Path("dataset/bad_clips.txt").exists()

    def test_without_pyav_m4a_clips_are_bad_and_the_cure_is_told(self, monkeypatch, caplog):
        put_voxceleb()
        put("data/vox2/dev/aac/id00015/0fijmz4vTVU/00003.wav").rename(
            "data/vox2/dev/aac/id00015/0fijmz4vTVU/00003.m4a"
        )
        path = Path("data/vox2/dev/aac/id00015/0fijmz4vTVU/00003.m4a")
        path.write_bytes(b"\x00\x00\x00\x18ftypM4A " + bytes(100))
        monkeypatch.setitem(sys.modules, "av", None)
        create("--dataset=voxceleb", "--path=data")
        assert "pip install av" in caplog.text

    def test_without_pyav_a_corpus_of_m4a_is_refused(self, monkeypatch):
        for speaker, video in VOX2:
            put(f"vox2/{speaker}/{video}/1.wav").rename(f"vox2/{speaker}/{video}/1.m4a")
        monkeypatch.setitem(sys.modules, "av", None)
        with pytest.raises(MissingDependencyError, match=r"2 of 2 clips.*pip install av"):
            create("--dataset=voxceleb", "--path=vox2")

    def test_a_clip_in_several_formats_counts_once_and_wav_is_preferred(self):
        for name in ("aac/{}.m4a", "wav/{}.flac", "wav/{}.wav", "mp4/{}.mp4"):
            path = Path("vox2/dev") / name.format("id00012/21Uxsk56VDQ/00001")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"not decoded by the scan")
        clips, _ = scan_voxceleb("vox2")
        assert [clip.path for clip in clips] == ["vox2/dev/wav/id00012/21Uxsk56VDQ/00001.wav"]

    def test_hidden_files_upper_case_suffixes_and_files_outside_speakers_folders(self, caplog):
        put("vox1/wav/id10001/v/00001.WAV")
        put("vox1/wav/id10001/v/._00002.wav")
        put("vox1/wav/noise/00003.wav")
        clips, _ = scan_voxceleb("vox1")
        assert [clip.path for clip in clips] == ["vox1/wav/id10001/v/00001.WAV"]
        assert "1 files are left out" in caplog.text

    def test_clips_of_cnceleb_whose_speakers_are_named_alike_are_not_taken(self):
        put_voxceleb()
        put("data/CN-Celeb_flac/data/id00012/speech-01-001.flac")
        clips, _ = scan_voxceleb("data")
        assert not [clip for clip in clips if "CN-Celeb" in clip.path]

    def test_a_working_folder_named_after_a_test_makes_nobody_a_test_speaker(self):
        put("test_voxceleb/wav/id10001/v/00001.wav")
        clips, _ = scan_voxceleb("test_voxceleb")
        assert [clip.part for clip in clips] == ["train"]

    def test_a_speaker_in_both_halves_tests_and_does_not_train(self, caplog):
        put_voxceleb()
        put("data/vox1/dev/wav/id10270/5r0dWxy17C8/00009.wav")
        put("data/vox2/dev/aac/id00017/xxxxxxxxxxx/00009.wav")
        create("--dataset=voxceleb", "--path=data")
        assert not [path for path in by_path() if "id00017" in path or "id10270" in path]
        assert (
            "In training and test: 1 speaker ('id00017'); left out of training: 1 clip."
            in caplog.text
        )

    def test_pieces_of_archives_are_to_be_joined_and_unpacked(self):
        Path("data").mkdir()
        for piece in ("vox1_dev_wav_partaa", "vox1_dev_wav_partab", "vox1_test_wav.zip"):
            Path("data", piece).write_bytes(b"x")
        with pytest.raises(DataError, match=r"join the pieces with cat and unpack 'vox1_dev_wav_p"):
            scan_voxceleb("data")

    def test_without_any_clip_the_expected_layout_is_told(self):
        put("data/alice/1.wav")
        with pytest.raises(DataError, match=r"expected <part>/wav/id10270/.*: check the path"):
            scan_voxceleb("data")


ID = {speaker: f"{speaker}/{video}" for speaker, video in VOX1}


class TestVoxCelebTrials:
    def put_trials(self, name: str, *lines: str) -> str:
        Path(name).write_bytes("".join(f"{line}\r\n" for line in lines).encode())
        return f"--trials={name}"

    def test_vox1_o_is_rewritten_to_our_paths_and_its_speakers_do_not_train(self):
        put_voxceleb()
        option = self.put_trials(
            "veri_test2.txt",
            f"1 {ID['id10270']}/00001.wav {ID['id10270']}/00002.wav",
            f"0 {ID['id10270']}/00001.wav {ID['id10002']}/00002.wav",
        )
        create("--dataset=voxceleb", "--path=data", option)
        trials = read_trials("dataset/trials_pairs_veri_test2.txt")
        assert trials.labels.tolist() == [True, False]
        assert all(Path(path).is_file() for path in trials.paths)
        assert not [path for path in by_path() if "id10270" in path or "id10002" in path]
        assert [path for path in by_path() if "id10001" in path]

    def test_trials_find_clips_in_another_format(self):
        put_voxceleb()
        Path("data/vox1").rename("data/old")
        for speaker, video in VOX1:
            put(f"data/vox1/wav/{speaker}/{video}/00001.flac")
        for file in Path("data/old").rglob("*.wav"):
            file.unlink()
        option = self.put_trials("o.txt", f"0 {ID['id10270']}/00001.wav {ID['id10002']}/00001.wav")
        create("--dataset=voxceleb", "--path=data", option, "--test_speakers=0")
        assert lines_of("dataset/trials_pairs_o.txt") == [
            f"0 data/vox1/wav/{ID['id10270']}/00001.flac data/vox1/wav/{ID['id10002']}/00001.flac"
        ]

    def test_with_vox1_e_or_h_nobody_of_voxceleb_1_trains_and_the_log_says_so(self, caplog):
        put_voxceleb()
        put("data/vox1/dev/wav/id10003/xxxxxxxxxxx/00001.wav")  # not named, as some are not by H
        others = [f"0 {ID['id10001']}/00001.wav id{n}/v/00001.wav" for n in range(10004, 11190)]
        option = self.put_trials(
            "list_test_hard2.txt",
            f"1 {ID['id10001']}/00001.wav {ID['id10001']}/00002.wav",
            f"0 {ID['id10270']}/00001.wav {ID['id10002']}/00001.wav",
            *others,
        )
        create("--dataset=voxceleb", "--path=data", option)
        assert {path.split("/")[1] for path in by_path()} == {"vox2"}
        assert "all 4 speakers of VoxCeleb 1 are test speakers" in caplog.text

    def test_each_file_of_trials_gives_a_list_of_its_own(self):
        put_voxceleb()
        options = [
            self.put_trials(name, f"1 {ID['id10270']}/00001.wav {ID['id10270']}/00002.wav")
            for name in ("o.txt", "h.txt")
        ]
        create("--dataset=voxceleb", "--path=data", *options)
        assert lines_of("dataset/trials_pairs_o.txt") == lines_of("dataset/trials_pairs_h.txt")
        Path("elsewhere").mkdir()
        Path("o.txt").rename("elsewhere/h.txt")
        with pytest.raises(DataError, match="Two files of trials are named 'h'"):
            create("--dataset=voxceleb", "--path=data", options[1], "--trials=elsewhere/h.txt")

    def test_missing_clips_are_counted_and_listed_and_their_trials_left_out(self, caplog):
        put_voxceleb()
        option = self.put_trials(
            "o.txt",
            f"1 {ID['id10270']}/00001.wav {ID['id10270']}/00002.wav",
            f"0 {ID['id10270']}/00001.wav id10309/0cYFdtyWVds/00001.wav",
        )
        create("--dataset=voxceleb", "--path=data", option)
        assert len(lines_of("dataset/trials_pairs_o.txt")) == 1
        assert "1 of the 3 clips that 'o.txt' names are not in the corpus" in caplog.text
        assert lines_of("dataset/bad_clips.txt") == [
            "id10309/0cYFdtyWVds/00001.wav\tis named in 'o.txt' and is not in the corpus."
        ]

    def test_paths_with_spaces_are_separated_by_tabs(self):
        put_voxceleb("my data")
        option = self.put_trials("o.txt", f"1 {ID['id10270']}/00001.wav {ID['id10270']}/00002.wav")
        create("--dataset=voxceleb", "--path=my data", option)
        trials = read_trials("dataset/trials_pairs_o.txt")
        assert all(Path(path).is_file() for path in trials.paths)

    def test_the_test_half_alone_is_enough_to_evaluate_on(self, caplog, capsys):
        for number in (1, 2):
            put(f"vox1_test_wav/wav/{ID['id10270']}/0000{number}.wav")
            put(f"vox1_test_wav/wav/id10271/1gtz-CUIygI/0000{number}.wav")
        option = self.put_trials(
            "o.txt",
            f"1 {ID['id10270']}/00001.wav {ID['id10270']}/00002.wav",
            f"0 {ID['id10270']}/00001.wav id10271/1gtz-CUIygI/00002.wav",
        )
        create("--dataset=voxceleb", "--path=vox1_test_wav", option)
        assert len(lines_of("dataset/trials_pairs_o.txt")) == 2
        assert not Path("dataset/train_list.txt").exists()
        assert "no training list is written" in caplog.text
        assert "Next: python eval.py" in capsys.readouterr().out

    def test_trials_of_another_corpus_are_refused(self):
        put_voxceleb()
        option = self.put_trials("o.txt", "1 a/1.wav a/2.wav")
        with pytest.raises(DataError, match=r"None of the 2 clips that 'o.txt' names"):
            create("--dataset=voxceleb", "--path=data", option)

    def test_a_missing_file_of_trials_is_named(self):
        put_voxceleb()
        with pytest.raises(DataError, match=r"'nowhere\.txt' does not exist"):
            create("--dataset=voxceleb", "--path=data", "--trials=nowhere.txt")

    def test_trials_go_with_corpora_that_name_their_clips(self):
        with pytest.raises(OptionError, match="--trials has no use without --dataset 3dspeaker"):
            create("--dataset=folder", "--path=c", "--trials=o.txt")


def utterance(speaker: int, number: int, device: int = 1) -> str:
    return (
        f"3D_SPK_{speaker:05d}/3D_SPK_{speaker:05d}_{number:03d}"
        f"_Device{device:02d}_Distance00_Dialect00"
    )


class Test3DSpeaker:
    def put_corpus(self, root: str = "3dspeaker") -> None:
        for number in (1, 2):
            for speaker in (1, 2, 3):
                put(f"{root}/train/{utterance(speaker, number)}.wav")
            for speaker in (4, 5):
                put(f"{root}/test/{utterance(speaker, number)}.wav")

    def put_trials(self, root: str = "3dspeaker") -> None:
        names = {key: utterance(*key).split("/")[1] for key in ((4, 1), (4, 2), (5, 1))}
        Path(root, "files").mkdir()
        Path(root, "files/trials_cross_device").write_text(
            f"{names[4, 1]} {names[4, 2]} target\n{names[4, 1]} {names[5, 1]} nontarget\n"
        )
        Path(root, "files/test_utt2spk").write_text(f"{names[4, 1]} 3D_SPK_00004\n")

    def test_train_trains_test_tests_and_the_trials_of_files_become_pairs(self):
        self.put_corpus()
        self.put_trials()
        create("--dataset=3dspeaker", "--path=3dspeaker")
        assert sorted(set(by_path().values())) == [0, 1, 2]
        assert all(path.startswith("3dspeaker/train/") for path in by_path())
        assert all(
            path.startswith("3dspeaker/test/") for path in by_path("dataset/enroll_list.txt")
        )
        first = f"3dspeaker/test/{utterance(4, 1)}.wav"
        assert lines_of("dataset/trials_pairs_trials_cross_device.txt") == [
            f"1 {first} 3dspeaker/test/{utterance(4, 2)}.wav",
            f"0 {first} 3dspeaker/test/{utterance(5, 1)}.wav",
        ]

    def test_the_folder_above_may_be_given_and_archives_unpacked_one_folder_too_deep(self):
        self.put_corpus("data/3D-Speaker")
        Path("data/3D-Speaker/train").rename("data/inner")
        Path("data/3D-Speaker/train").mkdir()
        Path("data/inner").rename("data/3D-Speaker/train/train")
        clips, _ = scan_3dspeaker("data")
        assert {clip.speaker for clip in clips if clip.part == "train"} == {
            "3D_SPK_00001",
            "3D_SPK_00002",
            "3D_SPK_00003",
        }

    def test_without_its_test_folder_speakers_are_set_aside_and_the_folder_is_named(self, caplog):
        self.put_corpus()
        for file in Path("3dspeaker/test").rglob("*.wav"):
            put(str(file).replace("/test/", "/train/"))
        Path("3dspeaker/test").rename("elsewhere")
        Path("3dspeaker/test.tar.gz").write_bytes(b"x")
        create("--dataset=3dspeaker", "--path=3dspeaker")
        assert "3dspeaker/test' is missing; unpack 'test.tar.gz' first" in caplog.text
        assert len(set(by_path("dataset/trials_list.txt").values())) == 2

    def test_packed_archives_are_named(self):
        Path("3dspeaker").mkdir()
        for piece in ("train.tar.gz-part-a", "train.tar.gz-part-b", "test.tar.gz"):
            Path("3dspeaker", piece).write_bytes(b"x")
        with pytest.raises(
            DataError, match=r"expected train/3D_SPK.*join the pieces.*'test.tar.gz'"
        ):
            scan_3dspeaker("3dspeaker")
