"""A library opens with the model that its people were enrolled with."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from error_codes import raises_code
from small_model import RATE, small_model, speech

from mvector import MVectorPredictor
from mvector.audio import write_wav
from mvector.cli import run_script
from mvector.embedding import SpeakerEncoder
from mvector.errors import LibraryError
from mvector.models.named import DEFAULT_MODEL
from mvector.published import models_folder
from mvector.recognition.model_choice import find_model
from mvector.speakers import SpeakerLibrary

FIRST, SECOND = Path("models/First/best_model"), Path("models/Second/best_model")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place with a model, a library of one person made with it, and a clip of the person."""
    folder = tmp_path_factory.mktemp("made")
    small_model(folder / FIRST, seed=0)
    small_model(folder / "second", seed=1)
    write_wav(folder / "ada.wav", speech(0), RATE)
    predictor = MVectorPredictor(folder / FIRST, use_gpu=False, audio_db_path=folder / "audio_db")
    predictor.register(folder / "ada.wav", "Ada")
    predictor.library.close()
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, to work in: models and library were moved together."""
    place = tmp_path / "moved"
    shutil.copytree(made, place)
    monkeypatch.chdir(place)
    return place


def opened(**options: object) -> MVectorPredictor:
    return MVectorPredictor(use_gpu=False, audio_db_path="audio_db", **options)  # type: ignore[arg-type]


def train_another() -> None:
    SECOND.parent.mkdir()
    shutil.copytree("second", SECOND)


def test_another_model_trained_here_changes_nothing_for_a_library(place: Path) -> None:
    train_another()
    assert run_script("recognition", ["--identify", "ada.wav", "--use_gpu", "False"]) == 0
    predictor = opened()
    assert predictor.model_path.resolve() == (place / FIRST).resolve()
    assert predictor.recognition("ada.wav").candidates[0].name == "Ada"
    with raises_code("model-ambiguous"):  # where no library says which
        MVectorPredictor(use_gpu=False)


@pytest.mark.parametrize("moved", ["models", "library", "away"])
def test_a_model_is_found_where_it_was_or_by_its_fingerprint(
    made: Path, place: Path, moved: str
) -> None:
    train_another()
    library = "audio_db"
    if moved == "library":  # by the model's own path, which is that of the first place
        shutil.rmtree("models")
        expected = made / FIRST
    elif moved == "models":  # within models/
        FIRST.rename("models/First/last_model")
        with sqlite3.connect("audio_db/voiceprints.db") as database:
            database.execute("DELETE FROM meta WHERE key = 'model_place'")
        database.close()
        expected = Path("models/First/last_model")
    else:  # the library alone, elsewhere
        library = "deep/down/db"
        shutil.move("audio_db", library)
        shutil.rmtree("models")
        expected = made / FIRST
    predictor = MVectorPredictor(use_gpu=False, audio_db_path=library)
    assert predictor.model_path.resolve() == expected.resolve()
    assert predictor.recognition("ada.wav").candidates[0].name == "Ada"


def test_a_library_that_does_not_know_its_models_place_learns_it(place: Path) -> None:
    """As those of earlier versions, which kept the fingerprint alone."""
    with sqlite3.connect("audio_db/voiceprints.db") as database:
        database.execute("DELETE FROM meta WHERE key = 'model_place'")
    database.close()
    shutil.move("models", "elsewhere")
    encoder = SpeakerEncoder.from_folder("elsewhere/First/best_model", "cpu")
    SpeakerLibrary("audio_db", encoder).close()
    assert opened().model_path.resolve() == (place / "elsewhere/First/best_model").resolve()


@pytest.fixture
def alone(place: Path) -> Path:
    """The model's first place is forgotten, as on another machine."""
    with sqlite3.connect("audio_db/voiceprints.db") as database:
        value = "json_set(value, '$.path', '/nowhere')"
        database.execute(f"UPDATE meta SET value = {value} WHERE key = 'model_place'")
    database.close()
    return place


def test_a_model_that_is_gone_is_one_sentence_with_the_options(
    alone: Path, capsys: pytest.CaptureFixture
) -> None:
    shutil.rmtree("models")
    with pytest.raises(LibraryError, match=r"^[^\n]*not there any more: .*--model_path.*--reembed"):
        opened()
    assert run_script("recognition", ["--identify", "ada.wav"]) == 2
    assert f"'{FIRST}'" in capsys.readouterr().err
    assert run_script("recognition", ["--list"]) == 0
    assert capsys.readouterr().out == "Ada\n"
    assert run_script("recognition", ["--reembed", "--use_gpu", "False"]) == 0  # with the box
    assert opened().model_path == DEFAULT_MODEL


def test_a_model_that_was_trained_on_is_another_and_says_so(alone: Path) -> None:
    shutil.rmtree(FIRST)
    shutil.copytree("second", FIRST)
    with pytest.raises(LibraryError, match=rf"'{FIRST}'.*holds another model now") as caught:
        opened()
    assert caught.value.code == "library-model-missing"
    shutil.copytree(alone / "second", "kept")
    assert opened(model_path="second").model_path == Path("second")  # one that is named is taken


def test_a_model_that_is_named_and_not_the_librarys_says_which_option_to_give(place: Path) -> None:
    for option in ("second", "box"):
        predictor = opened(model_path=option)
        with pytest.raises(LibraryError) as caught:
            predictor.recognition("ada.wav")
        assert caught.value.code == "library-of-another-model"
        assert f"give --model_path '{FIRST}'" in str(caught.value)
        assert f"by --reembed --model_path '{option}'." in str(caught.value)


def test_the_model_in_the_box_is_remembered_by_its_name(
    tmp_path: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    opened(model_path="box").register(made / "ada.wav", "Ada")
    shutil.copytree(made / "models", "models")
    assert find_model() == FIRST
    assert opened().model_path == DEFAULT_MODEL
    other = opened(model_path=FIRST)
    with pytest.raises(LibraryError, match=r"another model, 'box' \(.*give --model_path 'box', or"):
        other.recognition(made / "ada.wav")
    assert str(made) not in (tmp_path / "audio_db/voiceprints.db").read_bytes().decode("latin-1")


def test_of_another_version_the_model_in_the_box_is_told_to_compute_anew(
    tmp_path: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    opened(model_path="box").register(made / "ada.wav", "Ada")
    with contextlib.closing(sqlite3.connect("audio_db/voiceprints.db")) as database, database:
        database.execute("UPDATE meta SET value = '0123456789abcdef' WHERE key = 'model'")
    with pytest.raises(LibraryError, match=r"an earlier 'box' .*: compute their voiceprints anew"):
        opened(model_path="box").recognition(made / "ada.wav")


def test_a_published_model_is_remembered_by_its_name_wherever_it_lies(
    tmp_path: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MVECTOR_HOME", str(tmp_path / "home"))
    shutil.copytree(made / "second", models_folder() / "campplus-zh")
    opened(model_path="campplus-zh").register(made / "ada.wav", "Ada")
    (tmp_path / "home").rename("another_home")
    with pytest.raises(LibraryError, match="with the model 'campplus-zh' "):
        opened()
    monkeypatch.setenv("MVECTOR_HOME", str(tmp_path / "another_home"))
    assert opened().model_path == models_folder() / "campplus-zh"


def test_reembedding_takes_the_library_over_for_good(place: Path) -> None:
    words = ["--reembed", "--model_path", "second", "--use_gpu", "False"]
    assert run_script("recognition", words) == 0
    assert opened().model_path.resolve() == (place / "second").resolve()


def test_an_imported_library_finds_its_model(place: Path) -> None:
    train_another()
    assert run_script("recognition", ["--export", "people.mvlib"]) == 0
    assert run_script("recognition", ["--import", "people.mvlib", "--audio_db_path", "new"]) == 0
    predictor = MVectorPredictor(use_gpu=False, audio_db_path="new")
    assert predictor.model_path == FIRST
    assert predictor.recognition("ada.wav").candidates[0].name == "Ada"


def test_a_library_without_people_has_no_model(place: Path) -> None:
    with SpeakerLibrary("audio_db", None) as library:
        library.remove("Ada")
    train_another()
    opened(model_path="second").register("ada.wav", "Ada")
    assert opened().model_path.resolve() == (place / "second").resolve()
    assert os.listdir("audio_db/Ada")


def test_what_is_refused_makes_no_library(place: Path) -> None:
    shutil.rmtree("audio_db")
    Path("bad.wav").write_text("no audio")
    predictor = opened(model_path=FIRST)
    for code, ask in (
        ("audio-undecodable", lambda: predictor.register("bad.wav", "Ada")),
        ("name-invalid", lambda: predictor.register("ada.wav", "a\nb")),
        ("library-not-found", lambda: predictor.recognition("ada.wav")),
        ("library-not-found", predictor.get_users),
        ("library-not-found", lambda: predictor.remove_user("Ada")),
    ):
        with raises_code(code):
            ask()
    assert not Path("audio_db").exists()
    assert predictor.register("ada.wav", "Ada").clip
