"""Training within domains: the file that names them, and batches of one domain each."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from mvector.config import load_config
from mvector.data.domains import Domains, read_domains
from mvector.data.lists import ClipList, read_list, write_list
from mvector.data.loader import TrainingData
from mvector.errors import DataError

LABELS = np.array([0, 1, 2, 4, 4, 2, 1, 0])  # nobody is speaker 3
WHOLE = "0\tradio\n1\tradio\n2\tphone\n4\tphone\n"


def domains_of(folder: Path, text: str) -> Domains:
    (folder / "domains.txt").write_text(text)
    clips = ClipList("train.txt", [f"{place}.wav" for place in range(8)], LABELS)
    return read_domains(folder / "domains.txt", clips, 5)


def test_every_speaker_has_the_domain_of_its_line(tmp_path: Path) -> None:
    domains = domains_of(tmp_path, f"\n{WHOLE}\r\n0\tradio\n")  # a line may be there twice
    assert domains.names == ("phone", "radio")
    assert domains.of_speaker.tolist() == [1, 1, 0, -1, 0]
    found = {name: clips.tolist() for name, clips in domains.clips(LABELS).items()}
    assert found == {"phone": [2, 3, 4, 5], "radio": [0, 1, 6, 7]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (WHOLE.replace("4\tphone\n", ""), "has no domain for speaker 4 of 'train.txt'; add a line"),
        ("", "has no domain for speakers 0, 1, 2, 4 of 'train.txt'"),
        (f"{WHOLE}3\tphone\n9\tphone\n", "a domain for speakers 3, 9, which 'train.txt' does not"),
        ("0\ta\n1\ta\n2\ta\n4\ta\n", "has one domain only, 'a'"),
        (WHOLE.replace("1\tradio", "1\tphone"), "domain 'radio' of .* has a single speaker"),
    ],
)
def test_domains_that_do_not_fit_the_list_are_refused(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(DataError, match=words) as caught:
        domains_of(tmp_path, text)
    assert caught.value.code == "domains-do-not-fit"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{WHOLE}1\tphone\n", "line 5: speaker 1 is in 'phone', and above in 'radio'"),
        (f"{WHOLE}Ann\tphone\n", "line 5: 'Ann\tphone' is no 'speaker number<TAB>domain'"),
        (f"{WHOLE}5 phone\n", "1 wrong line: line 5: '5 phone' is no"),
        ("-1\ta\n" * 7, "7 wrong lines: .*; and 2 more"),
        ("0\t\n", "line 1: '0\t' is no"),
    ],
)
def test_lines_that_are_wrong_are_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        domains_of(tmp_path, text)
    assert caught.value.code == "list-malformed"


def test_a_file_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"The list of domains '.*' does not exist"):
        read_domains(tmp_path / "none.txt", ClipList("l", ["a"], np.array([0])), 1)


# ---- batches --------------------------------------------------------------------------------


@pytest.fixture
def config(small_config: dict, tmp_path: Path) -> dict:
    """All speakers but two in one domain, those two, with fewer clips than a batch, in another."""
    clips = read_list(small_config["dataset_conf"]["train_list"])
    speakers = sorted(set(clips.labels.tolist()))
    few = [place for label in speakers[:2] for place in np.flatnonzero(clips.labels == label)[:3]]
    kept = sorted(few + np.flatnonzero(~np.isin(clips.labels, speakers[:2])).tolist())
    entries = [(clips.paths[place], int(clips.labels[place])) for place in kept]
    write_list(tmp_path / "train.txt", entries)
    lines = [f"{label}\t{'many' if label in speakers[2:] else 'few'}\n" for label in speakers]
    (tmp_path / "domains.txt").write_text("".join(lines))
    small_config["dataset_conf"].update(
        train_list=str(tmp_path / "train.txt"), domains=str(tmp_path / "domains.txt")
    )
    return small_config


def epoch_of(data: TrainingData, epoch: int) -> list[list[int]]:
    return [batch.clips.tolist() for batch in data.batches.plan.batches(epoch)]


@pytest.mark.parametrize(
    ("sampler", "world_size"),
    [("random", 1), ("random", 2), ("balanced", 1), ("speakers", 1), ("duration", 2)],
)
def test_every_batch_is_of_one_domain_and_every_domain_has_its_turn(
    config: dict, sampler: str, world_size: int
) -> None:
    config["dataset_conf"].update(batch_sampler=sampler, min_duration=0.3)
    config["dataset_conf"]["dataLoader"]["batch_size"] = 8 // world_size
    if sampler == "speakers":
        config["dataset_conf"]["sample_per_id"] = 2
    if sampler == "duration":
        config["dataset_conf"]["max_duration"] = 0.8
    data = TrainingData(load_config(config), world_size=world_size)
    seen = set()
    for epoch in (0, 1):
        batches = epoch_of(data, epoch)
        assert len(batches) == len(data.batches)
        for clips in batches:
            domains = {bool(label < 2) for label in data.clips.labels[clips]}
            assert len(domains) == 1
            assert len(clips) % world_size == 0
            seen |= domains
    assert seen == {True, False}
    assert epoch_of(data, 0) == epoch_of(
        TrainingData(load_config(config), world_size=world_size), 0
    )
    assert epoch_of(data, 0) != epoch_of(data, 1)


def test_every_clip_comes_once_an_epoch_and_a_small_domain_makes_a_small_batch(
    config: dict,
) -> None:
    config["dataset_conf"]["dataLoader"]["drop_last"] = False
    data = TrainingData(load_config(config))
    batches = epoch_of(data, 0)
    assert Counter(clip for clips in batches for clip in clips) == Counter(range(len(data.clips)))
    of_few = [clips for clips in batches if data.clips.labels[clips[0]] < 2]
    assert [len(clips) for clips in of_few] == [6]
    config["dataset_conf"]["dataLoader"]["drop_last"] = True  # leaves no domain out
    batches = epoch_of(TrainingData(load_config(config)), 0)
    assert sorted({len(clips) for clips in batches}) == [6, 8]


def test_batches_of_the_domains_come_in_random_order(config: dict) -> None:
    config["dataset_conf"]["dataLoader"]["batch_size"] = 2
    data = TrainingData(load_config(config))
    turns = [data.clips.labels[clips[0]] < 2 for clips in epoch_of(data, 0)]
    assert sum(turns) == 3
    assert turns != sorted(turns)
    assert turns != sorted(turns, reverse=True)


def test_speed_classes_are_of_the_domain_of_their_speaker(config: dict) -> None:
    config["augment_conf"] = {"speed": {"prob": 1.0, "speed_perturb_3_class": True}}
    data = TrainingData(load_config(config))
    of_class = data.domain_of_class
    assert of_class is not None
    assert len(of_class) == data.num_classes == 3 * data.num_speakers
    for batch in data.loader:
        assert len(set(of_class[batch.labels].tolist())) == 1
        assert len(set((batch.labels % data.num_speakers < 2).tolist())) == 1
    assert max(batch.labels.max() for batch in data.loader) >= data.num_speakers


def test_a_domain_too_small_for_its_plan_is_named(config: dict) -> None:
    config["dataset_conf"].update(batch_sampler="speakers", sample_per_id=2)
    with pytest.raises(DataError, match=r"domain 'few' of .* holds 2 speakers, fewer than the 4"):
        TrainingData(load_config(config), world_size=2)
