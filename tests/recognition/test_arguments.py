"""Whatever the predictor is given by mistake, one sentence comes back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mvector import MVectorPredictor
from mvector.audio import ChannelOf
from mvector.errors import MVectorError

SAMPLES = np.random.default_rng(0).uniform(-0.1, 0.1, 32000).astype(np.float32)

NEW: dict[str, tuple[dict[str, Any], str]] = {
    "a number for a model": ({"model_path": 5}, "model_path is 5; give the path of a model folder"),
    "bytes for a model": ({"model_path": b"a"}, "model_path is b'a'; give the path"),
    "an empty name for a model": ({"model_path": ""}, "model_path is ''; give the path of a model"),
    "a word for a GPU": ({"use_gpu": "yes"}, "use_gpu is 'yes'; give True, False or None"),
    "a list for a model": ({"model_path": ["a"]}, r"model_path is \['a'\]; give the path"),
    "a number for a library": ({"audio_db_path": 5}, "audio_db_path is 5; give the path"),
    "a number for a configuration": ({"configs": 5}, "a YAML file or a mapping; this is int"),
    "text for a threshold": ({"threshold": "0.5"}, "threshold '0.5' is not a cosine"),
    "text for a listening": ({"listening": "all"}, "listening is 'all'; give a Listening"),
    "a number for limits": ({"limits": 60}, "limits is 60; give AudioLimits"),
    "a number for quality": ({"quality": 1}, "quality is 1; give QualityLimits"),
    "a number for options": ({"library_options": 1}, "library_options is 1; give a dict"),
}


@pytest.mark.parametrize("kind", NEW)
def test_a_predictor_is_made_of_what_it_names(kind: str, trained_model: Path) -> None:
    given, words = NEW[kind]
    options = given if "configs" in given else {"model_path": trained_model, **given}
    with pytest.raises(MVectorError, match=words):
        MVectorPredictor(**options)


@pytest.fixture(scope="module")
def predictor(trained_model: Path, tmp_path_factory: pytest.TempPathFactory) -> MVectorPredictor:
    predictor = MVectorPredictor(
        trained_model, audio_db_path=tmp_path_factory.mktemp("db") / "db", use_gpu=False
    )
    predictor.register(SAMPLES, "Ada", force=True)
    return predictor


CALLS: dict[str, tuple[Callable[[MVectorPredictor], Any], str]] = {
    "a name for a rate": (lambda p: p.predict((SAMPLES, "a")), "has the rate 'a'"),
    "no clip": (lambda p: p.predict(()), r"is a tuple \(\)"),
    "one clip for many": (lambda p: p.predict_batch("a.wav"), "audios is 'a.wav'; give a list"),
    "bytes for many": (lambda p: p.predict_batch(b"RIFF"), "audios is b'RIFF'; give a list"),
    "samples for many": (lambda p: p.predict_batch(SAMPLES), r"audios is array\(.*; give a list"),
    "nothing for many": (lambda p: p.predict_batch(None), "audios is None; give a list"),
    "no batch": (lambda p: p.predict_batch([SAMPLES], batch_size=0), "batch_size is 0; give"),
    "text for top_k": (lambda p: p.recognition(SAMPLES, top_k="3"), "top_k is '3'; give a whole"),
    "half a top_k": (lambda p: p.recognition(SAMPLES, top_k=1.5), r"top_k is 1\.5; give a whole"),
    "a number for groups": (lambda p: p.recognition(SAMPLES, within=5), "within is 5; give a list"),
    "text for a threshold": (
        lambda p: p.recognition(SAMPLES, threshold="0.5"),
        "threshold '0.5' is not a cosine",
    ),
    "text for a rate": (
        lambda p: p.predict(SAMPLES, sample_rate="8k"),
        "sample_rate is '8k'; give",
    ),
    "no rate": (lambda p: p.contrast(SAMPLES, SAMPLES, sample_rate=0), "sample_rate is 0; give a"),
    "text for a score": (lambda p: p.decide("high"), "score is 'high'; give a cosine"),
    "nobody": (lambda p: p.remove_user(None), "A name is text; this one is NoneType"),
    "a number": (lambda p: p.remove_user(5), "A name is text; this one is int"),
    "a person in a group of 5": (
        lambda p: p.register(SAMPLES, "Bob", force=True, groups=5),
        "Groups are a list of names; this is int",
    ),
}


@pytest.mark.parametrize("kind", CALLS)
def test_a_call_by_mistake_is_one_sentence(kind: str, predictor: MVectorPredictor) -> None:
    call, words = CALLS[kind]
    with pytest.raises(MVectorError, match=words) as caught:
        call(predictor)
    assert "\n" not in str(caught.value)
    assert predictor.get_users() == ["Ada"]


def test_rows_of_samples_are_a_batch(predictor: MVectorPredictor) -> None:
    table = predictor.predict_batch(np.stack([SAMPLES, SAMPLES]))
    np.testing.assert_array_equal(table[0], table[1])


def test_keywords_of_1_x_are_taken(predictor: MVectorPredictor) -> None:
    embedding = predictor.predict(audio_data=SAMPLES)
    assert embedding.shape == (predictor.encoder.embd_dim,)
    assert predictor.contrast(audio_data1=SAMPLES, audio_data2=SAMPLES) == pytest.approx(1.0)
    assert predictor.register(user_name="Bob", audio_data=SAMPLES, force=True).name == "Bob"
    answer = predictor.recognition(audio_data=SAMPLES, threshold=0.9, sample_rate=16000)
    assert answer.candidates[0].name in ("Ada", "Bob")
    predictor.remove_user("Bob")


def test_sample_rate_is_that_of_samples_which_tell_none(predictor: MVectorPredictor) -> None:
    rate, channels = 8000, np.stack([SAMPLES, -SAMPLES[::-1]], axis=1)
    with_rate = predictor.predict((SAMPLES, rate))
    assert not np.allclose(with_rate, predictor.predict(SAMPLES), atol=1e-3)
    for clip in (SAMPLES, torch.from_numpy(SAMPLES), (SAMPLES, rate), ChannelOf(channels, 0)):
        np.testing.assert_array_equal(predictor.predict(clip, sample_rate=rate), with_rate)
    np.testing.assert_array_equal(predictor.predict((SAMPLES, rate), sample_rate=16000), with_rate)
    batch = predictor.predict_batch([SAMPLES], sample_rate=rate)
    np.testing.assert_allclose(batch[0], with_rate, atol=1e-5)
    score = predictor.contrast(SAMPLES, (SAMPLES, rate), sample_rate=rate)
    assert score == pytest.approx(1.0)
