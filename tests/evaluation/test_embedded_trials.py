"""Trials on real files: missing and bad clips, models of several clips, what the result says."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from error_codes import raises_code
from small_encoder import small_encoder, write_noise
from spawned_ranks import needs_gloo, run_ranks

from mvector.audio import read_audio
from mvector.audio.clip_report import measure_clip
from mvector.compute.distributed import World
from mvector.embedding import SpeakerEncoder
from mvector.embedding.listening import Listening
from mvector.errors import EvaluationError
from mvector.evaluation.quality import clip_measures, pair_quality
from mvector.evaluation.run import check_lists, verify_lists
from mvector.scoring import PairTrials

Write = Callable[..., str]


@pytest.fixture(scope="module")
def encoder() -> SpeakerEncoder:
    return small_encoder()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``a.wav`` … ``h.wav``, and ``bad.wav``, which is no audio."""
    folder = tmp_path_factory.mktemp("corpus 语料")
    for name, path in zip("abcdefgh", write_noise(folder, 8), strict=True):
        Path(path).rename(folder / f"{name}.wav")
    (folder / "bad.wav").write_bytes(b"no audio")
    return folder


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_list(text: str, name: str = "trials.txt") -> str:
        (tmp_path / name).write_text(text, encoding="utf-8", newline="")
        return str(tmp_path / name)

    return write_list


def cosine(encoder: SpeakerEncoder, corpus: Path, one: str, other: str) -> float:
    left, right = (
        encoder.embed(corpus / f"{name}.wav").astype(np.float64) for name in (one, other)
    )
    return float(left @ right / np.linalg.norm(left) / np.linalg.norm(right))


PAIRS = "1 a.wav b.wav\n0 a.wav c.wav\n1 c.wav d.wav\n0 b.wav d.wav\n"


def test_scores_stand_in_the_order_of_the_list(
    encoder: SpeakerEncoder, corpus: Path, write: Write
) -> None:
    result = verify_lists(encoder, write(PAIRS.replace("\n", "\r\n")), root=str(corpus))
    expected = [cosine(encoder, corpus, *pair) for pair in ("ab", "ac", "cd", "bd")]
    np.testing.assert_allclose(result.scores, expected, atol=1e-5)
    assert result.labels.tolist() == [True, False, True, False]
    assert (result.num_skipped, result.num_trials_left_out) == (0, 0)
    assert result.enrolment is None


def test_every_missing_clip_is_listed(encoder: SpeakerEncoder, corpus: Path, write: Write) -> None:
    trials = write(PAIRS + "0 gone.wav a.wav\n1 lost one.wav\n0 b.wav lost\n")
    for refuse in (
        lambda: check_lists(trials, None, root=str(corpus)),
        lambda: verify_lists(encoder, trials, root=str(corpus)),
    ):
        with pytest.raises(EvaluationError, match=r"3 of the 7 clips of .*trials\.txt") as caught:
            refuse()
        listed = [line.strip() for line in str(caught.value).splitlines()[1:]]
        assert listed == [str(corpus / name) for name in ("gone.wav", "lost", "one.wav")]
        assert "--skip_missing" in str(caught.value)


def test_missing_and_bad_clips_are_left_out_with_their_trials_and_counted(
    encoder: SpeakerEncoder, corpus: Path, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    trials = write("0 gone.wav a.wav\n" + PAIRS + "1 bad.wav a.wav\n0 b.wav bad.wav\n")
    check_lists(trials, None, root=str(corpus), skip_missing=True)
    with caplog.at_level(logging.WARNING):
        result = verify_lists(encoder, trials, root=str(corpus), skip_missing=True)
    expected = [cosine(encoder, corpus, *pair) for pair in ("ab", "ac", "cd", "bd")]
    np.testing.assert_allclose(result.scores, expected, atol=1e-5)
    assert (result.num_skipped, result.num_trials_left_out) == (2, 3)
    assert "2 of 6 clips could not be used" in caplog.text
    assert "3 of 7 trials are left out" in caplog.text


def test_missing_clips_of_all_pairs_are_listed_too(
    encoder: SpeakerEncoder, corpus: Path, write: Write
) -> None:
    enroll = write("a.wav\t0\nc.wav\t1\ngone.wav\t2\n", "enroll.txt")
    trials = write("b.wav\t0\nd.wav\t1\n")
    with pytest.raises(EvaluationError, match=r"1 of the 5 clips of .*enroll\.txt x .*\n  .*gone"):
        verify_lists(encoder, trials, enroll, root=str(corpus))
    result = verify_lists(encoder, trials, enroll, root=str(corpus), skip_missing=True)
    expected = [cosine(encoder, corpus, *pair) for pair in ("ba", "bc", "da", "dc")]
    np.testing.assert_allclose(result.scores, expected, atol=1e-5)
    assert (result.num_skipped, result.num_trials_left_out) == (1, 2)


def test_a_wrong_root_is_told_from_a_missing_clip(corpus: Path, write: Write) -> None:
    with pytest.raises(EvaluationError, match=r"None of the 4 clips of .* exists.*data_root"):
        check_lists(write(PAIRS), None, root=str(corpus / "elsewhere"))


def test_trials_of_one_kind_after_leaving_out_are_refused(
    encoder: SpeakerEncoder, corpus: Path, write: Write
) -> None:
    trials = write("1 a.wav b.wav\n0 a.wav bad.wav\n")
    with raises_code("trials-of-one-kind"):
        verify_lists(encoder, trials, root=str(corpus))


def test_a_clip_with_an_embedding_of_nan_is_left_out(
    encoder: SpeakerEncoder,
    corpus: Path,
    write: Write,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    forward, size = encoder._inference.forward, len(soundfile.read(corpus / "d.wav")[0])

    def forward_to_nan(clips: list[np.ndarray]) -> Any:
        is_d = torch.tensor([len(clip) == size for clip in clips])
        return torch.where(is_d[:, None], torch.nan, forward(clips))

    monkeypatch.setattr(encoder._inference, "forward", forward_to_nan)
    result = verify_lists(encoder, write(PAIRS), root=str(corpus))
    assert len(result.scores) == 2
    assert result.num_skipped == 1
    assert "d.wav' gives an embedding that is zero or not finite" in caplog.text


def test_a_list_that_says_wav_finds_flac(
    encoder: SpeakerEncoder, corpus: Path, write: Write, tmp_path: Path
) -> None:
    for name in "abcd":
        samples, rate = soundfile.read(corpus / f"{name}.wav")
        soundfile.write(tmp_path / f"{name}.flac", samples, rate)
    result = verify_lists(encoder, write(PAIRS), root=str(tmp_path))
    np.testing.assert_allclose(result.scores[0], cosine(encoder, corpus, "a", "b"), atol=1e-5)


MODELS = "m1 a.wav b.wav\nm2 c.wav bad.wav\nm3 bad.wav bad.wav\n"
OF_MODELS = "m1 e.wav 1\nm2 e.wav 0\nm3 f.wav 0\nm1 f.wav 0\nm2 f.wav 1\n"


@pytest.mark.parametrize("measures", [False, True])
def test_all_pairs_of_lists_that_say_wav_find_flac(
    encoder: SpeakerEncoder, corpus: Path, tmp_path: Path, write: Write, measures: bool
) -> None:
    for name in "abcd":
        samples, rate = soundfile.read(corpus / f"{name}.wav")
        soundfile.write(tmp_path / f"{name}.flac", samples, rate)
    clips = write("a.wav\t0\nb.wav\t0\nc.wav\t1\nd.flac\t1\n", "clips.txt")

    result = verify_lists(encoder, clips, clips, root=str(tmp_path), with_quality=measures)

    assert len(result.trials) == 12
    assert {Path(path).name for path in result.trials.test_paths} == {
        f"{name}.flac" for name in "abcd"
    }
    assert (result.quality is not None) == measures


@pytest.mark.parametrize("enrolment", ["mean", "concat"])
def test_speakers_are_those_of_the_trials_that_are_left(
    encoder: SpeakerEncoder, corpus: Path, write: Write, enrolment: str
) -> None:
    models = write("m a.wav b.wav\nn c.wav\n", "models.txt")
    trials = write("m d.wav 1\nn d.wav 0\nn bad.wav 0\nm e.wav 0\n")
    people = {"Ann": "abd", "Bob": "c", "Carl": ["bad"], "Dora": "e"}
    lines = [f"{clip}.wav\t{name}\n" for name, clips in people.items() for clip in clips]
    who = write("".join(lines), "who.txt")

    result = verify_lists(
        encoder, trials, models, root=str(corpus), enrolment=enrolment, speakers=who
    )

    enrolled, tested = (
        side[index]
        for side, index in zip(
            (result.speakers.enrolled, result.speakers.tested), result.trials.indices(), strict=True
        )
    )
    np.testing.assert_array_equal(enrolled == tested, result.labels)
    assert result.speakers.num_speakers == 3  # nothing is left of Carl
    assert result.speakers.source == who


def test_lists_of_clips_say_themselves_whose_each_is(
    encoder: SpeakerEncoder, corpus: Path, write: Write
) -> None:
    clips = write("a.wav\t0\nb.wav\t0\nc.wav\t1\nd.wav\t1\n", "clips.txt")
    who = write("a.wav\tAnn\n", "who.txt")

    with raises_code("trial-speakers"):
        verify_lists(encoder, clips, clips, root=str(corpus), speakers=who)


def test_a_clip_against_itself_is_no_trial(
    encoder: SpeakerEncoder, corpus: Path, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    twice = "1\ta.wav\ta.wav\n1\ta.wav\t./a.flac\n"
    trials, plain = write(twice + PAIRS), write(PAIRS, "plain.txt")

    with caplog.at_level(logging.WARNING):
        result = verify_lists(encoder, trials, root=str(corpus))

    np.testing.assert_array_equal(
        result.scores, verify_lists(encoder, plain, root=str(corpus)).scores
    )
    assert (result.num_self_trials, result.num_trials_left_out) == (2, 0)
    assert "2 of 6 trials compare a clip with itself and are left out" in caplog.text


def test_a_model_is_not_tested_with_a_clip_it_was_enrolled_with(
    encoder: SpeakerEncoder, corpus: Path, write: Write
) -> None:
    models = write("m a.wav b.wav\nn c.wav\n", "models.txt")
    trials = write("m a.wav 1\nm d.wav 1\nn a.wav 0\nn c.wav 1\n")

    result = verify_lists(encoder, trials, models, root=str(corpus))

    assert (len(result.trials), result.num_self_trials) == (2, 2)


def test_targets_that_are_all_clips_with_themselves_are_no_targets(
    corpus: Path, write: Write
) -> None:
    with raises_code("trials-of-one-kind"):
        check_lists(write("1 a.wav a.wav\n0 a.wav b.wav\n"), None, root=str(corpus))


@pytest.mark.parametrize("enrolment", ["mean", "max", "concat"])
def test_a_model_without_a_usable_clip_is_left_out_with_its_trials(
    encoder: SpeakerEncoder,
    corpus: Path,
    write: Write,
    enrolment: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    models = write(MODELS, "enroll.lst")
    with caplog.at_level(logging.WARNING):
        result = verify_lists(
            encoder, write(OF_MODELS), models, root=str(corpus), enrolment=enrolment
        )
    assert result.labels.tolist() == [True, False, False, True]
    assert result.num_trials_left_out == 1
    np.testing.assert_allclose(result.scores[1], cosine(encoder, corpus, "c", "e"), atol=1e-5)
    ways = {"mean": "mean of unit", "max": "highest", "concat": "one behind the other"}
    assert ways[enrolment] in (result.enrolment or "")
    assert ways[enrolment] in result.calibration.description
    assert "1 of 5 trials are left out" in caplog.text
    assert enrolment == "concat" or "1 of 3 enrolment models have no usable clip" in caplog.text


def test_joined_audio_is_one_recording(encoder: SpeakerEncoder, corpus: Path, write: Write) -> None:
    models = write(MODELS, "enroll.lst")
    result = verify_lists(encoder, write(OF_MODELS), models, root=str(corpus), enrolment="concat")
    samples = [soundfile.read(corpus / f"{name}.wav", dtype="float32")[0] for name in "ab"]
    left = encoder.embed((np.concatenate(samples), 16000)).astype(np.float64)
    right = encoder.embed(corpus / "e.wav").astype(np.float64)
    expected = left @ right / np.linalg.norm(left) / np.linalg.norm(right)
    np.testing.assert_allclose(result.scores[0], expected, atol=1e-5)


def measure_in_rank(world: World, trials: str, root: str) -> Any:
    listening = Listening(max_duration_s=0.8)
    encoder = SpeakerEncoder(small_encoder().model, None, "cpu", listening)
    result = verify_lists(encoder, trials, root=root, with_quality=True)
    assert result.listening == listening
    return result.quality


@needs_gloo
def test_quality_is_measured_on_what_is_heard_by_all_processes_together(
    tmp_path: Path, write: Write
) -> None:
    generator = np.random.default_rng(0)
    measured = {}
    for number, name in enumerate("abcd"):
        is_on = np.arange(32000) % 8000 < 2000 + 1000 * number
        clip = generator.normal(size=32000) * np.where(is_on, 0.1, 0.01 * (number + 1))
        soundfile.write(tmp_path / f"{name}.wav", clip, 16000)
        heard = read_audio(tmp_path / f"{name}.wav", duration_s=0.8)
        measured[name] = clip_measures([measure_clip(heard, 16000)])[0]
        assert measured[name][:2].all()
    enrolled, tested = (np.stack([measured[name] for name in side]) for side in ("aacb", "bcdd"))
    for quality in run_ranks(measure_in_rank, write(PAIRS), str(tmp_path)):
        np.testing.assert_allclose(quality, pair_quality(enrolled, tested), atol=1e-9)


def verify_in_rank(world: World, trials: str, models: str, root: str) -> Any:
    result = verify_lists(small_encoder(), trials, models, root=root, batch_size=2)
    assert isinstance(result.trials, PairTrials)
    return result.scores, result.calibration, result.num_skipped, result.trials.paths


@needs_gloo
def test_every_process_ends_with_the_result_of_one(
    encoder: SpeakerEncoder, corpus: Path, write: Write
) -> None:
    lists = (write(OF_MODELS), write(MODELS, "enroll.lst"), str(corpus))
    first, second = run_ranks(verify_in_rank, *lists)
    alone = verify_lists(encoder, lists[0], lists[1], root=lists[2])
    np.testing.assert_array_equal(first[0], second[0])
    assert first[1:] == second[1:]
    np.testing.assert_allclose(first[0], alone.scores, atol=1e-5)
    assert first[1].num_target == 2
    assert first[2] == alone.num_skipped == 1
