"""Each clip is heard once: by one process of several, and by one run of several."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from small_encoder import small_encoder, write_noise
from spawned_ranks import needs_gloo, run_ranks

from mvector.compute.distributed import World
from mvector.data import write_list
from mvector.data.packed import PackedClip, PackedCorpus
from mvector.data.packing import pack_corpus
from mvector.embedding import SpeakerEncoder, listening
from mvector.embedding.extraction import extract_embeddings
from mvector.embedding.listening import Listening
from mvector.errors import DataError


@pytest.fixture(scope="module")
def encoder() -> SpeakerEncoder:
    return small_encoder()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_noise(tmp_path_factory.mktemp("noise"), 11)


@pytest.fixture(scope="module")
def alone(encoder: SpeakerEncoder, clips: list[str]) -> np.ndarray:
    return np.stack([encoder.embed(clip) for clip in clips])


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the clips that are decoded."""
    names: list[str] = []
    decode = listening.audio_windows

    def note(source: Any, *args: Any, **options: Any) -> Iterator[np.ndarray]:
        names.append(str(source))
        return decode(source, *args, **options)

    monkeypatch.setattr(listening, "audio_windows", note)
    return names


def extract_in_rank(world: World, clips: list[str], cache: str | None) -> dict[str, Any]:
    encoder = small_encoder(seed=world.rank)  # rank 0's weights are to be used
    table = extract_embeddings(encoder, clips, batch_size=3, cache=cache)
    return {"embeddings": table.embeddings, "good": table.good, "failures": table.failures}


@needs_gloo
def test_two_processes_end_with_the_table_of_one(
    clips: list[str], alone: np.ndarray, tmp_path: Path
) -> None:
    listed = [*clips[:4], "gone.wav", *clips[4:], "lost.wav"]
    of_ranks = run_ranks(extract_in_rank, listed, str(tmp_path))
    for table in of_ranks:
        assert table["good"].tolist() == [0, 1, 2, 3, *range(5, 12)]
        assert [position for position, _ in table["failures"]] == [4, 12]
        assert "gone.wav" in table["failures"][0][1]
        np.testing.assert_allclose(table["embeddings"], alone, atol=1e-5)
    np.testing.assert_array_equal(of_ranks[0]["embeddings"], of_ranks[1]["embeddings"])
    assert len(list(tmp_path.glob("*/*.embeddings"))) == 2  # each did a part


@needs_gloo
def test_a_process_without_clips_of_its_own_waits_for_the_other(
    clips: list[str], alone: np.ndarray
) -> None:
    for table in run_ranks(extract_in_rank, clips[:1], None):
        assert table["good"].tolist() == [0]
        np.testing.assert_allclose(table["embeddings"], alone[:1], atol=1e-5)


def test_known_clips_are_not_heard_again(
    encoder: SpeakerEncoder,
    clips: list[str],
    alone: np.ndarray,
    tmp_path: Path,
    heard: list[str],
) -> None:
    extract_embeddings(encoder, clips[:6], cache=tmp_path)
    heard.clear()
    table = extract_embeddings(encoder, clips, cache=tmp_path)
    assert sorted(heard) == sorted(clips[6:])
    np.testing.assert_allclose(table.embeddings, alone, atol=1e-5)
    heard.clear()
    extract_embeddings(encoder, clips, cache=tmp_path)
    assert heard == []


def test_clips_of_a_packed_corpus_are_those_of_its_files_and_known_wherever_it_lies(
    encoder: SpeakerEncoder, clips: list[str], alone: np.ndarray, tmp_path: Path, heard: list[str]
) -> None:
    write_list(tmp_path / "list.txt", [(clip, 0) for clip in clips])
    pack_corpus(tmp_path / "list.txt", tmp_path / "packed", num_workers=0)
    corpus = PackedCorpus(tmp_path / "packed")
    packed = [PackedClip(corpus, row) for row in range(len(clips))]
    extract_embeddings(encoder, packed[:6], cache=tmp_path / "cache")
    table = extract_embeddings(encoder, packed, cache=tmp_path / "cache")
    np.testing.assert_allclose(table.embeddings, alone, atol=1e-5)
    assert len(heard) == len(clips)
    heard.clear()
    moved = PackedCorpus((tmp_path / "packed").rename(tmp_path / "moved"))
    again = [PackedClip(moved, row) for row in range(len(clips))]
    table = extract_embeddings(encoder, again, cache=tmp_path / "cache")
    assert heard == []
    np.testing.assert_allclose(table.embeddings, alone, atol=1e-5)


def test_a_moved_clip_is_known_by_its_content_and_a_changed_one_is_not(
    encoder: SpeakerEncoder, clips: list[str], tmp_path: Path, heard: list[str]
) -> None:
    first, second = (shutil.copy(clip, tmp_path / f"{k}.wav") for k, clip in enumerate(clips[:2]))
    before = extract_embeddings(encoder, [str(first), str(second)], cache=tmp_path / "cache")
    moved = first.rename(tmp_path / "moved.wav")
    samples, rate = soundfile.read(second)
    soundfile.write(second, samples[::-1], rate)  # of the same size
    os.utime(second, ns=(0, time.time_ns()))
    heard.clear()
    after = extract_embeddings(encoder, [str(moved), str(second)], cache=tmp_path / "cache")
    assert heard == [str(second)]
    np.testing.assert_array_equal(after.embeddings[0], before.embeddings[0])
    np.testing.assert_allclose(after.embeddings[1], encoder.embed(second), atol=1e-5)


def test_another_model_and_another_length_have_embeddings_of_their_own(
    encoder: SpeakerEncoder, clips: list[str], tmp_path: Path, heard: list[str]
) -> None:
    extract_embeddings(encoder, clips[:2], cache=tmp_path)
    shorter = SpeakerEncoder(encoder.model, None, "cpu", Listening(max_duration_s=0.55))
    samples, rate = soundfile.read(clips[0], dtype="float32")
    for other, num_samples in ((small_encoder(seed=1), len(samples)), (shorter, 0.55 * rate)):
        heard.clear()
        table = extract_embeddings(other, clips[:2], cache=tmp_path)
        assert len(heard) == 2
        expected = other.embed((samples[: round(num_samples)], rate))
        np.testing.assert_allclose(table.embeddings[0], expected, atol=1e-5)


@pytest.mark.parametrize("damage", ["cut off", "changed", "overwritten", "emptied"])
def test_damaged_embeddings_are_computed_again(
    encoder: SpeakerEncoder,
    clips: list[str],
    alone: np.ndarray,
    tmp_path: Path,
    damage: str,
    heard: list[str],
) -> None:
    extract_embeddings(encoder, clips, cache=tmp_path)
    (file,) = tmp_path.glob("*/*.embeddings")
    content = bytearray(file.read_bytes())
    record = len(content) // len(clips)
    if damage == "cut off":  # as kill -9 in the middle of a write leaves it
        content = content[: -record // 2]
    elif damage == "changed":
        content[3 * record + 50] ^= 1
    elif damage == "overwritten":
        content[: 2 * record] = bytes(2 * record)
    else:
        content.clear()
    file.write_bytes(content)
    heard.clear()
    table = extract_embeddings(encoder, clips, cache=tmp_path)
    again = {"cut off": 1, "changed": 1, "overwritten": 2, "emptied": len(clips)}
    assert len(heard) == again[damage]
    np.testing.assert_allclose(table.embeddings, alone, atol=1e-5)
    heard.clear()
    extract_embeddings(encoder, clips, cache=tmp_path)
    assert heard == []


def test_what_a_run_computed_before_it_was_cut_off_is_kept(
    encoder: SpeakerEncoder,
    clips: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    heard: list[str],
) -> None:
    forward, calls = encoder._inference.forward, []

    def forward_twice(batch: list[np.ndarray]) -> Any:
        calls.append(len(batch))
        if len(calls) > 2:
            raise KeyboardInterrupt
        return forward(batch)

    with monkeypatch.context() as cut_off:
        cut_off.setattr(encoder._inference, "forward", forward_twice)
        with pytest.raises(KeyboardInterrupt):
            extract_embeddings(encoder, clips, batch_size=3, cache=tmp_path)
    heard.clear()
    extract_embeddings(encoder, clips, batch_size=3, cache=tmp_path)
    assert len(heard) == len(clips) - 3  # of two batches, one had been fetched


def test_a_clip_that_was_mended_is_heard(
    encoder: SpeakerEncoder, clips: list[str], tmp_path: Path
) -> None:
    bad = tmp_path / "clip.wav"
    bad.write_bytes(b"no audio")
    assert extract_embeddings(encoder, [str(bad)], cache=tmp_path / "cache").failures
    shutil.copy(clips[0], bad)
    assert not extract_embeddings(encoder, [str(bad)], cache=tmp_path / "cache").failures


def test_several_files_are_heard_as_one_clip_without_those_that_are_bad(
    encoder: SpeakerEncoder, clips: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        table = extract_embeddings(
            encoder, [(clips[0], "gone.wav", clips[1]), ("gone.wav",)], cache=tmp_path
        )
    samples = np.concatenate([soundfile.read(clip, dtype="float32")[0] for clip in clips[:2]])
    np.testing.assert_allclose(table.embeddings[0], encoder.embed((samples, 16000)), atol=1e-5)
    assert table.good.tolist() == [0]
    assert "gone.wav" in table.failures[0][1]
    assert "Left out: 'gone.wav'" in caplog.text


def test_a_cache_that_cannot_be_written_is_refused_by_name(
    encoder: SpeakerEncoder, clips: list[str], tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DataError, match=r"Cannot write embeddings to '.*cache"):
        extract_embeddings(encoder, clips, cache=tmp_path / "cache")
