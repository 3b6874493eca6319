"""The commands of docs/recipes.md, on corpora of the same layout with a few synthetic voices."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import soundfile
from pages import SMALL, WARM_UP, blocks_in
from small_settings import ROOT, no_pictures

from mvector.cli import main


def sections() -> dict[str, list[str]]:
    """Commands that are to be run, of each corpus."""
    text = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    return {
        section.splitlines()[0]: [
            line
            for block in blocks_in(section)
            if block.language == "sh" and not block.mark
            for line in block.commands()
        ]
        for section in text.split("\n## ")[1:]
    }


def run_lines(lines: list[str]) -> list[str]:
    """Run commands, trainings with a tiny network; returns what was run."""
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "mvector", line
        if words[0] == "train":
            settings = [*SMALL, *([] if "large_margin" in line else [WARM_UP])]
            words += [word for setting in settings for word in ("--set", setting)]
        elif words[0] in ("create_data", "inspect_data", "pack_corpus"):
            words += ["--num_workers", "0"]
        too_little_is_told = 1 if "--calibrate" in words else 0
        with no_pictures():
            assert main(words) in {0, too_little_is_told}, line
    return [shlex.split(line)[1] for line in lines]


def copy_clips(voices: Path, speaker: int, names: list[str]) -> None:
    """Clips of a voice under other names, encoded as their suffixes say."""
    clips = sorted(sorted(path for path in voices.iterdir() if path.is_dir())[speaker].glob("*"))
    for clip, name in zip(clips, names, strict=False):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(name, *soundfile.read(clip))


@pytest.fixture(autouse=True)
def _in_a_new_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_cnceleb_from_lists_to_thresholds(voices: Path) -> None:
    first, second = "dataset/CN-Celeb_flac", "dataset/CN-Celeb2_flac"
    speakers = [(first, "id00000"), (first, "id00001"), (second, "id10000"), (second, "id10001")]
    for number, (corpus, name) in enumerate(speakers):
        clips = [f"{corpus}/data/{name}/singing-01-{k:03d}.flac" for k in range(6)]
        copy_clips(voices, number, clips)
    trials = ""
    for number, name in enumerate(("id00800", "id00801"), len(speakers)):
        tried = [f"{name}-speech-01-{k:03d}" for k in range(3)]
        clips = [f"{first}/eval/enroll/{name}-enroll.flac"]
        copy_clips(voices, number, clips + [f"{first}/eval/test/{clip}.flac" for clip in tried])
        for model in ("id00800", "id00801"):
            trials += "".join(f"{model}-enroll test/{t}.wav {int(model == name)}\n" for t in tried)
    for place, text in (
        ("dev/dev.lst", "id00000\nid00001\n"),
        ("eval/lists/trials.lst", trials),
        ("eval/lists/enroll.lst", "id00800-enroll enroll/id00800-enroll.wav\n"),
    ):
        Path(first, place).parent.mkdir(exist_ok=True)
        Path(first, place).write_text(text, encoding="utf-8")

    commands = run_lines(sections()["CN-Celeb"])
    assert commands == [
        *("create_data", "inspect_data", "pack_corpus", "train", "train", "train"),
        *("eval", "eval", "eval"),
    ]
    assert len(Path("dataset/trials_pairs.txt").read_text(encoding="utf-8").splitlines()) == 12
    figures = {path.name for path in Path("models").rglob("results*.json")}
    assert len(figures) == 2, figures  # of the cosine, and of AS-norm


def test_voxceleb_from_lists_to_a_training_that_fits(voices: Path) -> None:
    for number, (folder, name) in enumerate(
        [
            *(("vox1/dev/wav", "id10001"), ("vox1/test/wav", "id10270")),
            *(("vox1/test/wav", "id10271"), ("vox2/dev/aac", "id00012")),
            *(("vox2/dev/aac", "id00015"), ("vox2/dev/aac", "id00016")),
        ]
    ):
        copy_clips(voices, number, [f"vox/{folder}/{name}/video/{k:05d}.wav" for k in range(5)])
    short = ["1 id10270/video/00000.wav id10270/video/00001.wav"]
    short += ["0 id10270/video/00000.wav id10271/video/00001.wav"]
    every = [*short, "0 id10001/video/00000.wav id10271/video/00001.wav"]
    for name, lines in (("veri_test2", short), ("list_test_all2", every)):
        Path(f"{name}.txt").write_text("\n".join(lines), encoding="utf-8")
    Path("list_test_hard2.txt").write_text("\n".join(every), encoding="utf-8")

    assert run_lines(sections()["VoxCeleb"]) == ["create_data", "pack_corpus", "train"]
    train = Path("dataset/vox/train_list.txt").read_text(encoding="utf-8")
    assert train.count("\n") == 15
    assert "vox1" not in train  # all of VoxCeleb 1 is tested
    assert not Path("models/vox").exists()  # a dry run
