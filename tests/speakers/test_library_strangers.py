"""The other people of a library are strangers to a clip, and to the person it is compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stand_in import StandInEncoder

from mvector.scoring import strangers
from mvector.speakers import SpeakerLibrary


@pytest.fixture
def encoder() -> Any:
    return StandInEncoder(embd_dim=32)


def voices(count: int, seed: int = 0) -> np.ndarray:
    """Embeddings with something in common."""
    generator = np.random.default_rng(seed)
    return (generator.normal(size=(count, 32)) + 0.4).astype(np.float32)


def unit(vector: np.ndarray) -> np.ndarray:
    vector = vector.astype(np.float64)
    return vector / np.sqrt(vector @ vector)


def voiceprint(clips: np.ndarray) -> np.ndarray:
    return unit(np.mean([unit(clip) for clip in clips], axis=0))


def likeness(voice: np.ndarray, others: list[np.ndarray]) -> float:
    """The mean without the most alike tenth, and at least one."""
    cosines = sorted(float(unit(voice) @ unit(other)) for other in others)
    kept = cosines[: len(cosines) - max(1, len(cosines) // 10)]
    return sum(kept) / len(kept)


def test_a_match_knows_how_alike_both_sides_are_to_the_others(tmp_path: Path, encoder: Any) -> None:
    clips, probe = voices(24), voices(1, seed=1)[0]
    names = [f"p{k % 12:02d}" for k in range(24)]
    with SpeakerLibrary(tmp_path, encoder) as library:
        library.register_embeddings(names, clips)
        matches = library.identify_embedding(probe, 12)
    assert len(matches) == 12
    prints = {f"p{k:02d}": voiceprint(clips[[k, k + 12]]) for k in range(12)}
    for match in matches:
        others = [vector for name, vector in prints.items() if name != match.name]
        assert match.voiceprint is not None
        np.testing.assert_allclose(match.voiceprint, prints[match.name], atol=1e-6)
        assert match.own_likeness == pytest.approx(likeness(prints[match.name], others), abs=1e-6)
        assert match.clip_own_likeness == pytest.approx(likeness(probe, others), abs=1e-6)


@pytest.mark.parametrize(("num_people", "is_known"), [(1, False), (5, False), (6, True)])
def test_with_fewer_than_five_others_nothing_is_known(
    tmp_path: Path, encoder: Any, num_people: int, is_known: bool
) -> None:
    with SpeakerLibrary(tmp_path, encoder) as library:
        library.register_embeddings([f"p{k}" for k in range(num_people)], voices(num_people))
        (match,) = library.identify_embedding(voices(1, seed=1)[0])
    assert (match.own_likeness is not None) == is_known
    assert (match.clip_own_likeness is not None) == is_known


def test_groups_narrow_whom_to_find_and_not_who_is_a_stranger(tmp_path: Path, encoder: Any) -> None:
    with SpeakerLibrary(tmp_path, encoder) as library:
        library.register_embeddings([f"p{k}" for k in range(9)], voices(9))
        library.set_groups("p3", ["staff"])
        probe = voices(1, seed=1)[0]
        (within,) = library.identify_embedding(probe, within=["staff"])
        everybody = {match.name: match for match in library.identify_embedding(probe, 9)}
    one, other = (
        (match.score, match.own_likeness, match.clip_own_likeness)
        for match in (within, everybody[within.name])
    )
    assert None not in one
    assert one == pytest.approx(other, abs=1e-6)


def test_somebody_enrolled_under_two_names_is_no_stranger_to_themselves(
    tmp_path: Path, encoder: Any
) -> None:
    clips, probe = voices(9), voices(9)[0] + 0.1
    with SpeakerLibrary(tmp_path, encoder) as library:
        library.register_embeddings([f"p{k}" for k in range(9)], clips)
        (once,) = library.identify_embedding(probe)
        library.register_embeddings(["somebody else"], clips[:1] * 3.0)
        twice = library.identify_embedding(probe, 2)
    assert once.own_likeness is not None
    assert once.clip_own_likeness is not None
    others = list(clips[1:])
    for match in twice:
        # without the second name, and with all of those who are strangers
        expected = sum(float(unit(clips[0]) @ unit(other)) for other in others) / len(others)
        assert match.own_likeness == pytest.approx(expected, abs=1e-6)
        assert match.clip_own_likeness is not None
        assert abs(match.clip_own_likeness - once.clip_own_likeness) < 0.05


def test_strangers_follow_the_library(tmp_path: Path, encoder: Any) -> None:
    clips, probe = voices(14), voices(14)[0]
    names = [f"p{k:02d}" for k in range(14)]
    with SpeakerLibrary(tmp_path, encoder) as library:
        for start, end in ((0, 6), (6, 10), (10, 14)):
            library.register_embeddings(names[start:end], clips[start:end])
            match = library.identify_embedding(probe)[0]
            assert match.clip_own_likeness == pytest.approx(
                likeness(probe, list(clips[1:end])), abs=1e-6
            )
        library.remove("p05")
        left = [clips[k] for k in range(1, 14) if k != 5]
        match = library.identify_embedding(probe)[0]
        assert match.clip_own_likeness == pytest.approx(likeness(probe, left), abs=1e-6)
    with SpeakerLibrary(tmp_path, encoder, read_only=True) as again:
        assert again.identify_embedding(probe)[0] == match


def test_of_a_large_library_an_even_choice_are_the_strangers(
    tmp_path: Path, encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strangers, "MAX_OWN", 20)
    clips = voices(90)
    with SpeakerLibrary(tmp_path, encoder) as library:
        library.register_embeddings([f"p{k:02d}" for k in range(90)], clips)
        found = {match.name: match for match in library.identify_embedding(clips[45] + 0.1, 90)}
    chosen = [k * 90 // 20 for k in range(20)]
    assert 45 in chosen
    for k in (45, 46):
        others = [clips[other] for other in chosen if other != k]
        assert found[f"p{k}"].own_likeness == pytest.approx(likeness(clips[k], others), abs=1e-6)


def test_opposite_clips_have_no_voice_to_compare(tmp_path: Path, encoder: Any) -> None:
    clips = voices(8)
    with SpeakerLibrary(tmp_path, encoder) as library:
        library.register_embeddings(["odd", "odd"], np.stack([clips[7], -clips[7]]))
        library.register_embeddings([f"p{k}" for k in range(7)], clips[:7])
        found = {match.name: match for match in library.identify_embedding(clips[0], 8)}
    assert found["odd"].voiceprint is None
    assert found["odd"].own_likeness is None
    expected = likeness(clips[0], list(clips[1:7]))
    assert found["p0"].clip_own_likeness == pytest.approx(expected, abs=1e-6)
