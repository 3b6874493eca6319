"""What the model in the box is trained on: benchmarks/default_model_*.py write it."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from small_settings import ROOT

from mvector.data.packed import PackedCorpus

Run = Callable[..., None]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a script of benchmarks/ in this process."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))

    def call(name: str, *arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        __import__(name).main()

    return call


def write_noise(path: Path, duration_s: float, rate: int = 16000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(path.name))
    soundfile.write(path, rng.normal(scale=0.1, size=round(duration_s * rate)), rate)


def write_folder(
    folder: Path, recordings: list[tuple[str, str, str, float]], calibration: set[str]
) -> None:
    """Recordings (corpus, speaker, session, duration) and their lists."""
    lists = folder / "lists"
    lists.mkdir(parents=True)
    rows = []
    for number, (corpus, speaker, session, duration_s) in enumerate(recordings):
        path = f"{corpus}/{speaker}/{folder.name}_{session}_{number}.wav"
        write_noise(folder / path, duration_s)
        rows.append([path, corpus, speaker, "", session, duration_s])
    with open(lists / "metadata.csv", "w", encoding="utf-8", newline="") as stream:
        header = ["path", "corpus", "speaker", "gender", "session", "duration_s"]
        csv.writer(stream).writerows([header, *rows])
    (lists / "train.txt").write_text("".join(f"{row[0]}\t0\n" for row in rows))
    if calibration:
        kept = "".join(f"{row[0]}\t0\n" for row in rows if row[2] in calibration)
        (lists / "calibration.txt").write_text(kept)


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Words of six people, four of whom are drawn; sentences of two of them and of one more."""
    pool, more = tmp_path / "pool", tmp_path / "more"
    words = [("words", speaker, "s0", 1.5) for speaker in "abcdef" for _ in range(2)]
    write_folder(pool, words, set())
    chapters = [("books", "reader", session, 3.0) for session in ("s1", "s2") for _ in range(2)]
    both = [("words", speaker, "s0", 3.0) for speaker in "abcdef"]
    sentences = [("books", "writer", "s0", 3.0)]
    write_folder(more, [*chapters, *both, *sentences], {"reader"})
    return [pool, more]


def test_several_folders_make_one_corpus_in_which_a_person_has_one_label(
    tmp_path: Path, folders: list[Path], run: Run
) -> None:
    out = tmp_path / "out"
    run("default_model_data", "--data", *folders, "--out", out)
    corpus = PackedCorpus(out / "train")
    people = defaultdict(set)
    for path, label in zip(corpus.paths, corpus.labels.tolist(), strict=True):
        people[label].add(tuple(path.split("_")[:2]))
    assert all(len(names) == 1 for names in people.values())
    # Two of six speakers of words, four being kept for calibration; a joined clip and a longer one.
    assert np.bincount(corpus.labels).tolist() == [2, 2, 1]
    domains = dict(line.split("\t") for line in (out / "domains.txt").read_text().splitlines())
    assert domains == {str(label): next(iter(names))[0] for label, names in people.items()}
    described = json.loads((out / "data.json").read_text())
    assert described["training"]["by_corpus"]["words"] == {
        "speakers": 2,
        "clips": 4,
        "hours": round(4 * 3 / 3600, 2),
    }


def test_who_calibrates_is_not_trained_on_and_meets_itself_in_another_session(
    tmp_path: Path, folders: list[Path], run: Run
) -> None:
    out = tmp_path / "out"
    run("default_model_data", "--data", *folders, "--out", out)
    trials = [line.split() for line in (out / "calibration.trials").read_text().splitlines()]
    heard = {tuple(Path(path).stem.split("_")[:3]) for _, *pair in trials for path in pair}
    trained = {tuple(path.split("_")[:2]) for path in PackedCorpus(out / "train").paths}
    assert not {name[:2] for name in heard} & trained
    assert len({name[:2] for name in heard}) == 5
    books = [pair for label, *pair in trials if label == "1" and "books" in pair[0]]
    assert len(books) == 4  # two clips of one chapter with two of the other
    assert all("_s1_" in first and "_s2_" in second for first, second in books)
    assert all((out / path).exists() for _, *pair in trials for path in pair)


def test_corpora_left_out_are_neither_trained_on_nor_calibrated_with(
    tmp_path: Path, folders: list[Path], run: Run
) -> None:
    out = tmp_path / "out"
    run("default_model_data", "--data", *folders, "--leave_out", "words", "--out", out)
    assert (out / "domains.txt").read_text() == "0\tbooks\n"
    assert "words" not in (out / "calibration.trials").read_text()
    with pytest.raises(SystemExit, match="--leave_out poems: no such corpus"):
        run("default_model_data", "--data", *folders, "--leave_out", "poems", "--out", out)


def test_copies_at_other_speeds_are_other_people_and_only_in_the_training(
    tmp_path: Path, folders: list[Path], run: Run
) -> None:
    plain, out = tmp_path / "plain", tmp_path / "out"
    run("default_model_data", "--data", *folders, "--out", plain)
    run("default_model_data", "--data", *folders, "--speed_copies", "--out", out)
    before, after = PackedCorpus(plain / "train"), PackedCorpus(out / "train")
    originals = {str(path): n for n, path in enumerate(before.paths)}
    copies = [n for n, path in enumerate(after.paths) if str(path).startswith("speed")]
    assert copies
    assert len(after) == len(before) + len(copies)
    for n in copies:
        speed, name = str(after.paths[n]).split("/", 1)
        assert speed in ("speed0.9", "speed1.1")
        assert after.labels[n] > before.labels.max()
        expected = before.num_samples[originals[name]] / float(speed[5:])
        assert abs(after.num_samples[n] - expected) <= 1
    trials = "calibration.trials"
    assert (out / trials).read_bytes() == (plain / trials).read_bytes()


@pytest.mark.parametrize(
    ("num_aishell", "others", "domains"),
    [
        (2, ["dspspeech20", "books"], {"dspspeech20", "books"}),
        (10, ["dspspeech20", "books"], {"dspspeech20", "books", "aishell"}),
        (2, ["books"], {"books", "aishell"}),
    ],
)
def test_a_corpus_of_a_few_people_joins_another_of_their_language(
    run: Run, num_aishell: int, others: list[str], domains: set[str]
) -> None:
    from default_model_data import domains_of

    people = [*((corpus, "a") for corpus in others)]
    people += [("aishell", str(n)) for n in range(num_aishell)]
    lines = domains_of({key: label for label, key in enumerate(people)}).splitlines()
    assert [line.split("\t")[0] for line in lines] == [str(n) for n in range(len(people))]
    assert [line.split("\t")[1] for line in lines[: len(others)]] == others
    assert {line.split("\t")[1] for line in lines} == domains


def test_common_voice_becomes_a_folder_whose_speakers_are_beginnings_of_client_ids(
    tmp_path: Path, run: Run
) -> None:
    clone, out = tmp_path / "clone", tmp_path / "out"
    ada, bob = "b" * 24 + "1", "a" * 30
    clips = {  # language: client, name, gender, seconds
        "cs": [(ada, "cs_2", "female", 1.5), (bob, "cs_1", "male", 0.5), (bob, "cs_0", "", 2.0)],
        "zh-HK": [(ada, "hk_0", "female", 21.0), (ada, "hk_1", "female", 3.0)],
    }
    for language, rows in clips.items():
        (clone / language).mkdir(parents=True)
        lines = ["client_id\tpath\tsentence\tgender"]
        for client, name, gender, duration_s in rows:
            write_noise(clone / language / "clips" / f"{name}.mp3", duration_s)
            lines.append(f'{client}\t{name}.mp3\tHe said "no.\t{gender}')
        (clone / language / "validated.tsv").write_text("\n".join(lines) + "\n")
    for _ in range(2):  # a second time over the first
        run("default_model_common_voice", "--clone", clone, "--out", out)
    with open(out / "lists/metadata.csv", encoding="utf-8", newline="") as stream:
        table = [list(row.values()) for row in csv.DictReader(stream)]
    assert [row[:5] for row in table] == [
        ["cs/clips/cs_0.mp3", "common_voice", "a" * 24, "", "cs_0"],
        ["cs/clips/cs_2.mp3", "common_voice", "b" * 24, "F", "cs_2"],
        ["zh-HK/clips/hk_1.mp3", "common_voice", "b" * 24, "F", "hk_1"],
    ]
    assert [float(row[5]) for row in table] == pytest.approx([2.0, 1.5, 3.0], abs=0.1)
    assert (out / "lists/train.txt").read_text().split() == [
        *("cs/clips/cs_0.mp3", "0", "cs/clips/cs_2.mp3", "1", "zh-HK/clips/hk_1.mp3", "1")
    ]
    assert all(soundfile.info(out / row[0]).samplerate == 16000 for row in table)


@pytest.fixture
def clones(tmp_path: Path) -> dict[str, Path]:
    """Four repositories in the layout of the real ones, with a few short clips."""
    ocean = tmp_path / "clones/speechocean762"
    people = [(f"{n:04d}", "mf"[n % 2], 8 + 12 * (n // 2 % 2)) for n in range(16)]
    for speaker, _, _ in people:
        for number in range(3):
            write_noise(ocean / f"WAVE/SPEAKER{speaker}/{speaker}{number:05d}.WAV", 0.1, 8000)
    for part, half in (("train", people[:8]), ("test", people[8:])):
        (ocean / part).mkdir()
        (ocean / part / "spk2gender").write_text("".join(f"{s}\t{g}\n" for s, g, _ in half))
        (ocean / part / "spk2age").write_text("".join(f"{s}\t{age}\n" for s, _, age in half))
    test_clean, parser = tmp_path / "clones/test_clean", tmp_path / "clones/parser"
    for reader, chapters in (("1", ("10", "11")), ("2", ("20",)), ("3", ("30", "31"))):
        for chapter in chapters:
            write_noise(
                test_clean / f"test-clean/{reader}/{chapter}/{reader}-{chapter}-0000.flac", 0.1
            )
    (test_clean / "SPEAKERS.TXT").write_text(
        ";ID |SEX| SUBSET\n1 | F | x\n2 | M | x\n3 | M | x\n4 | F | x\n"
    )
    write_noise(parser / "audio/4/40/4-40-0000.flac", 0.1)
    write_noise(parser / "phonemes/AA/4-40-0000.flac", 0.1)
    aishell = tmp_path / "clones/aishell"
    write_noise(aishell / "AISHELL_Sample_data/BAC009S0150W0001.wav", 0.1)
    return {"speechocean762": ocean, "test_clean": test_clean, "parser": parser, "aishell": aishell}


def test_clones_become_lists_whose_parts_share_nobody(
    tmp_path: Path, clones: dict[str, Path], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import default_model_more

    groups = [(age_group, gender) for age_group in ("child", "adult") for gender in "FM"]
    monkeypatch.setattr(default_model_more, "DEVELOPMENT", dict.fromkeys(groups, 2))
    monkeypatch.setattr(default_model_more, "CALIBRATION", 1)
    out = tmp_path / "out"
    clone_options = [part for name, path in clones.items() for part in (f"--{name}", path)]
    run("default_model_more", *clone_options, "--out", out)
    with open(out / "lists/metadata.csv", encoding="utf-8", newline="") as stream:
        known = {row["path"]: row for row in csv.DictReader(stream)}
    assert len(known) == 16 * 3 + 5 + 1 + 1
    assert all(soundfile.info(out / path).samplerate == 16000 for path in known)
    assert all(float(row["duration_s"]) == pytest.approx(0.1, abs=0.01) for row in known.values())

    def speakers(name: str) -> set[tuple[str, str]]:
        lines = (out / "lists" / name).read_text().splitlines()
        rows = [known[line.split("\t")[0]] for line in lines]
        return {(row["corpus"], row["speaker"]) for row in rows}

    ages = {(row["corpus"], row["age"], row["age_group"]) for row in known.values()}
    assert ages == {
        ("speechocean762", "8", "child"),
        ("speechocean762", "20", "adult"),
        ("librispeech", "", ""),
        ("aishell", "", ""),
    }

    train, calibration = speakers("train.txt"), speakers("calibration.txt")
    development = speakers("dev_speechocean762.txt")
    assert len(development) == 8
    assert not development & train
    assert len(train | development) == 16 + 3 + 1 + 1
    # One of each group, and the readers of several chapters.
    assert calibration < train
    assert {key for key in calibration if key[0] == "librispeech"} == {
        ("librispeech", "1"),
        ("librispeech", "3"),
    }
    assert len(calibration) == 4 + 2

    trials = [
        line.split() for line in (out / "lists/dev_speechocean762.trials").read_text().splitlines()
    ]
    assert sum(label == "1" for label, _, _ in trials) == 8 * 3
    assert sum(label == "0" for label, _, _ in trials) == 4 * 3 * 3
    for label, *pair in trials:
        first, second = (known[path] for path in pair)
        assert (label == "1") == (first["speaker"] == second["speaker"])
        assert (first["gender"], first["age"]) == (second["gender"], second["age"])


def test_the_recipe_names_commands_and_configurations_that_are_there() -> None:
    recipe = (ROOT / "benchmarks/train_default_model.sh").read_text(encoding="utf-8")
    commands = set(re.findall(r"(?:benchmarks|tools)/\w+\.py", recipe))
    configs = {f"configs/{name}" for name in re.findall(r"default_model\w*\.yml", recipe)}
    assert len(commands) >= 6
    assert len(configs) == 3
    assert [name for name in commands | configs if not (ROOT / name).exists()] == []
