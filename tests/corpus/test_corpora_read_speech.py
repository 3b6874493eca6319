"""Corpora of read speech, made for recognition and synthesis: AISHELL-1, AISHELL-3, LibriSpeech."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpus_trees import by_path, create, in_a_fresh_folder, put  # noqa: F401

from mvector.corpus.recipes.aishell import scan_aishell1, scan_aishell3
from mvector.corpus.recipes.librispeech import scan_librispeech
from mvector.errors import DataError


def speakers(clips) -> dict[str, str]:
    return {clip.speaker: clip.part for clip in clips}


class TestAishell1:
    def put_corpus(self, root: str = "data_aishell") -> None:
        for part, speaker in (
            ("train", "S0002"),
            ("train", "S0003"),
            ("dev", "S0724"),
            ("test", "S0764"),
        ):
            for number in (121, 122):
                put(f"{root}/wav/{part}/{speaker}/BAC009{speaker}W0{number}.wav")
        Path(root, "transcript").mkdir()

    def test_train_trains_and_the_speakers_of_dev_and_test_are_test_speakers(self):
        self.put_corpus()
        create("--dataset=aishell1", "--path=data_aishell")
        assert by_path() == {
            f"data_aishell/wav/train/{name}/BAC009{name}W0{number}.wav": label
            for label, name in enumerate(("S0002", "S0003"))
            for number in (121, 122)
        }
        for name in ("enroll", "trials"):
            tested = by_path(f"dataset/{name}_list.txt")
            assert [path.split("/")[3] for path in tested] == ["S0724", "S0764"]
            assert list(tested.values()) == [0, 1]

    @pytest.mark.parametrize("path", [".", "data_aishell", "data_aishell/wav"])
    def test_any_of_its_folders_may_be_given(self, path):
        self.put_corpus()
        assert speakers(scan_aishell1(path)) == {
            "S0002": "train",
            "S0003": "train",
            "S0724": "test",
            "S0764": "test",
        }

    def test_speakers_left_packed_are_refused_with_the_command_that_unpacks_them(self):
        for name in ("S0002", "S0003"):
            Path("data_aishell/wav").mkdir(parents=True, exist_ok=True)
            Path(f"data_aishell/wav/{name}.tar.gz").write_bytes(b"x")
        with pytest.raises(DataError, match=r"2 speakers .* still packed .*do tar xzf \$f; done"):
            scan_aishell1("data_aishell")

    def test_some_speakers_left_packed_are_counted(self, caplog):
        self.put_corpus()
        for name in ("S0002", "S0004"):  # the archive of S0002 was kept after unpacking
            Path(f"data_aishell/wav/{name}.tar.gz").write_bytes(b"x")
        scan_aishell1("data_aishell")
        assert "1 speakers of AISHELL-1 are still packed" in caplog.text
        assert "S0004.tar.gz" in caplog.text

    def test_a_missing_part_is_named(self):
        self.put_corpus()
        Path("data_aishell/wav/dev").rename("elsewhere")
        with pytest.raises(DataError, match=r"folder '.*data_aishell/wav/dev' is missing"):
            scan_aishell1("data_aishell")

    def test_the_archive_still_to_be_unpacked_is_named(self):
        Path("data_aishell.tgz").write_bytes(b"x")
        with pytest.raises(
            DataError, match=r"expected data_aishell/wav.*unpack 'data_aishell.tgz'"
        ):
            scan_aishell1(".")


class TestAishell3:
    def put_corpus(self, root: str = "data_aishell3") -> None:
        for name in ("SSB0005", "SSB0009", "SSB0011", "SSB0012"):
            put(f"{root}/train/wav/{name}/{name}0001.wav")
        for name in ("SSB0005", "SSB0016"):
            put(f"{root}/test/wav/{name}/{name}0999.wav")

    def test_the_halves_share_speakers_and_are_split_anew_by_speaker(self):
        self.put_corpus()
        create("--dataset=aishell3", "--path=data_aishell3", "--test_speakers=0")
        labels = by_path()
        assert len(labels) == 6
        assert len(set(labels.values())) == 5
        assert (
            labels["data_aishell3/train/wav/SSB0005/SSB00050001.wav"]
            == labels["data_aishell3/test/wav/SSB0005/SSB00050999.wav"]
        )

    def test_the_folder_above_may_be_given(self):
        self.put_corpus()
        assert scan_aishell3(".") == scan_aishell3("data_aishell3")

    def test_a_half_unpacked_corpus_names_the_folder_and_the_archive(self):
        self.put_corpus()
        Path("data_aishell3/test").rename("elsewhere")
        Path("data_aishell3/data_aishell3.tgz").write_bytes(b"x")
        with pytest.raises(DataError, match=r"folder '.*data_aishell3/test/wav' is missing"):
            scan_aishell3("data_aishell3")

    def test_an_empty_half_is_named(self):
        self.put_corpus()
        for file in Path("data_aishell3/test").rglob("*.wav"):
            file.unlink()
        with pytest.raises(DataError, match=r"speakers' folders of '.*/test/wav'; expected test/"):
            scan_aishell3("data_aishell3")


class TestLibriSpeech:
    def put_corpus(self, root: str = "LibriSpeech") -> None:
        for subset, speaker, chapter in (
            ("train-clean-100", "19", "198"),
            ("train-clean-100", "19", "227"),
            ("train-other-500", "20", "205"),
            ("dev-clean", "84", "121123"),
            ("test-other", "367", "130732"),
        ):
            for number in (0, 1):
                put(f"{root}/{subset}/{speaker}/{chapter}/{speaker}-{chapter}-000{number}.flac")
            Path(f"{root}/{subset}/{speaker}/{chapter}/{speaker}-{chapter}.trans.txt").touch()
        Path(root, "SPEAKERS.TXT").touch()

    def test_the_speaker_is_above_the_chapter_and_dev_and_test_subsets_are_tests(self):
        self.put_corpus()
        create("--dataset=librispeech", "--path=LibriSpeech")
        labels = {tuple(path.split("/")[1:4]): label for path, label in by_path().items()}
        assert labels == {
            ("train-clean-100", "19", "198"): 0,
            ("train-clean-100", "19", "227"): 0,
            ("train-other-500", "20", "205"): 1,
        }
        assert {path.split("/")[2] for path in by_path("dataset/trials_list.txt")} == {"84", "367"}

    @pytest.mark.parametrize("path", [".", "LibriSpeech"])
    def test_the_folder_above_may_be_given(self, path):
        self.put_corpus()
        assert len(scan_librispeech(path)) == 10

    def test_one_subset_may_be_given(self):
        self.put_corpus()
        assert speakers(scan_librispeech("LibriSpeech/train-clean-100")) == {"19": "train"}

    def test_test_subsets_alone_are_split_by_speaker(self, caplog):
        for speaker in range(6):
            for number in range(2):
                put(f"LibriSpeech/dev-clean/{speaker}/1/{speaker}-1-{number}.flac")
        create("--dataset=librispeech", "--path=LibriSpeech")
        assert "all are split anew" in caplog.text
        assert len(set(by_path().values())) == 4
        assert len(by_path("dataset/enroll_list.txt")) == 2

    def test_an_option_without_effect_is_told(self, caplog):
        self.put_corpus()
        create("--dataset=librispeech", "--path=LibriSpeech", "--test_speakers=2")
        assert "--test_speakers has no effect" in caplog.text

    def test_an_archive_still_to_be_unpacked_is_named(self):
        Path("train-clean-100.tar.gz").write_bytes(b"x")
        with pytest.raises(DataError, match=r"expected LibriSpeech/.*unpack 'train-clean-100.tar"):
            scan_librispeech(".")

    def test_an_empty_subset_is_named(self):
        self.put_corpus()
        Path("LibriSpeech/train-clean-360").mkdir()
        with pytest.raises(DataError, match=r"expected train-clean-360/<speaker>"):
            scan_librispeech("LibriSpeech")
