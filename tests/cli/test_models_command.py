"""``mvector models``: what is there to be had, and what is known of it."""

from __future__ import annotations

import json

import pytest

from mvector.cli import run_script
from mvector.published import published_models


def printed(capsys: pytest.CaptureFixture, *words: str) -> str:
    assert run_script("models", [*words]) == 0
    return capsys.readouterr().out


def test_the_list_has_a_line_for_every_model(capsys: pytest.CaptureFixture) -> None:
    lines = printed(capsys).splitlines()
    assert lines[0].split()[:3] == ["name", "architecture", "params"]
    assert {line.split()[0] for line in lines[1:-3]} == {*published_models()}
    assert lines[-1].startswith("mvector models NAME tells more of one")


def test_models_for_a_language_come_by_their_error_rate(capsys: pytest.CaptureFixture) -> None:
    found = [
        json.loads(line) for line in printed(capsys, "--language", "zh", "--json").splitlines()
    ]
    rates = [model["eer"].get("CN-Celeb") for model in found]
    known = [rate for rate in rates if rate is not None]
    assert known == sorted(known) == rates[: len(known)]
    of_language = ["zh" in model["languages"] for model in found]
    assert of_language == sorted(of_language, reverse=True)  # before those of many languages
    assert all({"zh", "multi"} & {*model["languages"]} for model in found)


def test_a_language_that_no_model_is_for_is_told_with_those_there_are(
    capsys: pytest.CaptureFixture,
) -> None:
    assert run_script("models", ["--language", "tlh"]) == 2
    assert "for the language 'tlh' in the table; choose one of: en, multi, zh." in (
        capsys.readouterr().err
    )


def test_what_is_known_of_a_model_has_its_addresses_licence_and_sum(
    capsys: pytest.CaptureFixture,
) -> None:
    model = published_models()["campplus-zh"]
    text = printed(capsys, "campplus-zh")
    assert "no: mvector models get campplus-zh" in text
    for part in (model.licence, model.cite, "4.32 % on CN-Celeb", "28,036,335 bytes"):
        assert part in text
    assert str(model.files[0].sha256) in text
    assert all(url in text for url in model.files[0].urls)
    assert "sha256 not published" in printed(capsys, "campplus-zh-en")


def test_a_name_typed_wrong_is_told_with_the_nearest(capsys: pytest.CaptureFixture) -> None:
    for words in (["camplus-zh"], ["get", "camplus-zh"]):
        assert run_script("models", words) == 2
        assert "did you mean campplus-zh" in capsys.readouterr().err
