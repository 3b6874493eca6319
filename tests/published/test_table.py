"""What the table of published models promises, and how its names are understood."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from small_settings import ROOT

from mvector.compat import SOURCES
from mvector.errors import CheckpointError
from mvector.models.description import read_description
from mvector.models.named import model_folder, model_name
from mvector.published import find_published, models_folder, published_models
from mvector.published.table import near_names

MODELS = published_models()


@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_the_table_is_of_a_family_that_is_imported(name: str) -> None:
    model = MODELS[name]
    assert model.family in SOURCES[model.source].families
    assert re.fullmatch(r"[a-z0-9-]+", name)
    assert bool(model.eer) == bool(model.eer_from)
    assert all(0 < rate < 20 for rate in model.eer.values())
    names = [file.name for file in model.files]
    assert len({*names}) == len(names)
    assert not {"/", "\\"} & {*"".join(names)}


def test_no_two_models_are_made_of_one_file() -> None:
    urls = [url for model in MODELS.values() for file in model.files for url in file.urls]
    assert len({*urls}) == len(urls)


def test_every_model_is_in_the_document() -> None:
    text = (ROOT / "docs" / "published_models.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([a-z0-9-]+)`", text, re.MULTILINE) == [*MODELS]
    for model in MODELS.values():
        for file in model.files:
            assert (file.sha256 or "") in text


def test_the_document_names_the_numbers_that_every_import_is_held_to() -> None:
    text = (ROOT / "docs" / "published_models.md").read_text(encoding="utf-8")
    section = text.split("## What stands behind an import")[1]
    rows = section.split("\n| `")[1:]
    golden = {path.name.split(".")[0] for path in (ROOT / "tests/models/golden").iterdir()}
    beginnings: list[str] = []
    for models, numbers, *_ in (f"`{row}".split(" | ") for row in rows):
        beginnings += re.findall(r"`([a-z0-9-]+)…?`", models)
        told = {*re.findall(r"`(\w+)`", numbers)}
        assert told
        assert told <= golden
    assert [name for name in MODELS if not name.startswith(tuple(beginnings))] == []
    assert golden <= {*re.findall(r"`(\w+)`", section)}  # with those that have no name


@pytest.mark.parametrize(
    "spelled", ["campplus-zh", "CAMPPLUS_ZH", "cam++-zh", "3dspeaker-campplus-zh"]
)
def test_a_name_is_found_in_any_spelling_that_means_the_same(spelled: str) -> None:
    assert find_published(spelled).name == "campplus-zh"


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("camplus-zh", ["campplus-zh"]),
        ("iic/speech_campplus_sv_zh-cn_16k-common", ["campplus-zh"]),
        ("Wespeaker/wespeaker-voxceleb-resnet293-LM", ["wespeaker-resnet293-lm"]),
        ("redimnet2_b7", ["redimnet2-b6"]),
        ("titanet", ["nemo-titanet-large", "nemo-titanet-small"]),
        ("wespeaker", ["wespeaker-resnet34", "wespeaker-resnet34-lm", "wespeaker-resnet152-lm"]),
        ("resnet293", ["wespeaker-resnet293-lm"]),
        ("cam++", ["campplus-zh", "campplus-zh-en", "campplus-voxceleb"]),
    ],
)
def test_the_nearest_names_are_told(typed: str, names: list[str]) -> None:
    assert {*names} <= {*near_names(typed)}
    with pytest.raises(CheckpointError, match=f"'{re.escape(typed)}' in the table") as caught:
        find_published(typed)
    assert all(name in str(caught.value) for name in names)
    assert caught.value.code == "model-not-found"


def test_a_name_stands_for_its_folder_unless_there_is_another_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = models_folder() / "campplus-zh"
    assert model_folder("campplus-zh") == here
    assert model_name(here) == "campplus-zh"
    assert model_folder(Path("campplus-zh")) == model_folder("./campplus-zh") == Path("campplus-zh")
    (tmp_path / "campplus-zh").mkdir()
    assert model_folder("campplus-zh") == Path("campplus-zh")
    assert model_name(here) != "campplus-zh"


def test_a_model_that_is_not_here_says_how_it_is_got() -> None:
    with pytest.raises(CheckpointError, match="'mvector models get campplus-zh'") as caught:
        read_description(model_folder("campplus-zh"))
    assert caught.value.code == "model-not-downloaded"
    with pytest.raises(CheckpointError, match="did you mean the published model 'campplus-zh'"):
        read_description(model_folder("camplus-zh"))
