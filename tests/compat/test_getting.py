"""A published model by its name: downloaded once, trusted no further than its sum, and imported."""

from __future__ import annotations

import errno
import hashlib
import json
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from error_codes import raises_code
from filelock import FileLock
from published_server import Loopback, content, download_directly, loopback
from small_model import speech

from mvector import MVectorPredictor
from mvector.cli import run_script
from mvector.compat import SOURCES, GotModel, export_checkpoint, get_published, save_state
from mvector.compat.source import Hints
from mvector.errors import CheckpointError, MVectorError
from mvector.home import data_home
from mvector.models.description import read_model_info
from mvector.models.named import model_folder
from mvector.models.speaker_model import SpeakerModel
from mvector.published import published_models

NAME = "wespeaker-resnet34"  # of whose files no sum is published
PINNED = "campplus-zh"
get = partial(get_published, exports=False)
ZIP = "voxceleb_resnet34.zip"


def checkpoint(file: Path, seed: int = 0, embd_dim: int = 256) -> Path:
    """A file as WeSpeaker publishes them, of a ResNet with few channels."""
    torch.manual_seed(seed)
    options = {"depth": 34, "channels": 2, "embd_dim": embd_dim, "pooling_eps": 1e-7}
    model = SpeakerModel(SOURCES["wespeaker"].front_end(80, 16000, Hints()), "ResNet", options)
    save_state(export_checkpoint(model, "wespeaker"), file)
    return file


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("published") / "avg_model.pt")


@pytest.fixture
def server(published: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """A mirror that has the file by its name."""
    download_directly(monkeypatch)
    with loopback() as running:
        running.on("/avg_model.pt", content(published.read_bytes()))
        yield running


def sum_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def downloads() -> set[str]:
    return {path.name for path in (data_home() / "downloads" / NAME).iterdir()}


def test_a_model_is_got_once_and_then_its_name_is_enough(server: Loopback, published: Path) -> None:
    got = get(NAME, mirror=server.url)
    assert (got.sha256, got.trust) == (sum_of(published), "first seen")
    assert got.origin == f"{server.url}/avg_model.pt"
    assert got.folder == model_folder(NAME)
    told = read_model_info(NAME).provenance["published"]
    assert told["sha256"] == got.sha256
    assert told["licence"] == published_models()[NAME].licence
    assert downloads() == {"lock", "seen.json"}  # the file itself is of no more use
    num_asked = len(server.asked)
    again = get(NAME, mirror=server.url)
    assert again == GotModel(got.model, got.folder, got.fingerprint)
    assert len(server.asked) == num_asked
    assert MVectorPredictor(NAME, use_gpu=False).encoder.fingerprint == got.fingerprint


def test_a_threshold_is_asked_for_and_none_of_the_authors_is_taken(server: Loopback) -> None:
    assert read_model_info(get(NAME, mirror=server.url).folder).calibration is None
    clips = [(speech(voice, 1.0), 16000) for voice in range(2)]
    score = MVectorPredictor(NAME, use_gpu=False).contrast(*clips)
    with pytest.raises(MVectorError, match=f"'{NAME}' has no calibrated threshold: measure one"):
        score.decide()
    predictor = MVectorPredictor(NAME, use_gpu=False, threshold=float(score) + 0.01)
    assert predictor.contrast(*clips).decide().answer == "different"


def test_where_no_sum_is_published_the_first_download_decides(
    server: Loopback, tmp_path: Path
) -> None:
    first = get(NAME, mirror=server.url, out=tmp_path / "first")
    again = get(NAME, mirror=server.url, out=tmp_path / "again")
    assert (again.sha256, again.trust) == (first.sha256, "seen before")
    other = checkpoint(tmp_path / "avg_model.pt", seed=1)
    server.on("/avg_model.pt", content(other.read_bytes(), tag='"2"'))
    with raises_code("download-mismatch"):
        get(NAME, mirror=server.url)
    with raises_code("download-mismatch"):
        get(NAME, file=other)
    trusted = get(NAME, mirror=server.url, sha256=sum_of(other).upper())
    assert trusted.trust == "given"
    with raises_code("download-mismatch"):
        get(NAME, sha256=first.sha256)  # the one that is here is another


def test_a_file_of_another_size_than_the_published_one_is_taken_by_its_sum(
    server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned = published_models()[NAME].model_copy(deep=True)
    file = pinned.files[0].model_copy(update={"num_bytes": 5, "sha256": "0" * 64})
    pinned = pinned.model_copy(update={"files": (file,)})
    monkeypatch.setattr("mvector.compat.getting.find_published", lambda name: pinned)
    mine = checkpoint(tmp_path / "avg_model.pt", seed=2)
    server.on("/avg_model.pt", content(mine.read_bytes()))
    with pytest.raises(CheckpointError, match=r"and 5 are published.*--sha256 SUM takes"):
        get(NAME, mirror=server.url)
    assert get(NAME, mirror=server.url, sha256=sum_of(mine)).trust == "given"


def test_a_published_sum_is_insisted_on(server: Loopback, tmp_path: Path) -> None:
    server.on("/campplus_cn_common.bin", content(b"x" * 28036335))
    with raises_code("download-mismatch"):
        get(PINNED, mirror=server.url)
    (tmp_path / "mine.bin").write_bytes(b"x")
    with raises_code("download-mismatch"):
        get(PINNED, file=tmp_path / "mine.bin")
    assert not model_folder(PINNED).exists()


def test_an_archive_is_unpacked_where_the_file_alone_is_not_to_be_had(
    server: Loopback, published: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / ZIP, "w") as archive:
        archive.write(published, "voxceleb_resnet34/avg_model.pt")
        archive.writestr("voxceleb_resnet34/config.yaml", "model_args: {embed_dim: 256}\n")
    server.answers = {f"/{ZIP}": [content((tmp_path / ZIP).read_bytes())]}
    got = get(NAME, mirror=server.url)
    assert got.origin == f"{server.url}/{ZIP}"
    assert read_model_info(NAME).provenance["read_beside"] == "config.yaml"
    by_hand = get(NAME, file=tmp_path / ZIP, out=tmp_path / "by_hand")
    assert (by_hand.fingerprint, by_hand.trust) == (got.fingerprint, "seen before")


def test_another_model_than_the_table_describes_is_refused_and_not_remembered(
    server: Loopback, tmp_path: Path
) -> None:
    other = checkpoint(tmp_path / "avg_model.pt", embd_dim=128)
    server.on("/avg_model.pt", content(other.read_bytes()))
    with raises_code("download-mismatch"):
        get(NAME, mirror=server.url)
    assert downloads() == {"lock"}
    assert not model_folder(NAME).exists()


def test_what_is_no_model_is_told_by_its_address(server: Loopback) -> None:
    server.on("/avg_model.pt", content(b"<html>log in</html>"))
    with pytest.raises(CheckpointError, match=f"'{server.url}/avg_model.pt' is a page of a web"):
        get(NAME, mirror=server.url)


class Executed:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('executed')",)


def test_nothing_that_is_downloaded_is_executed(server: Loopback, tmp_path: Path) -> None:
    torch.save({"state_dict": Executed()}, tmp_path / "avg_model.pt")
    server.on("/avg_model.pt", content((tmp_path / "avg_model.pt").read_bytes()))
    with raises_code("checkpoint-unsafe"):
        get(NAME, mirror=server.url)
    assert downloads() == {"lock"}


def get_at_once(server: Loopback, people: int) -> None:
    """So many get one model at the same time: all have it, and one of them downloaded it."""
    got: list[GotModel] = []
    threads = [
        threading.Thread(target=lambda: got.append(get(NAME, mirror=server.url)))
        for _ in range(people)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({each.fingerprint for each in got}) == 1
    assert len(got) == people
    assert [path for path, _ in server.asked].count("/avg_model.pt") == 1


def test_of_those_who_get_one_model_at_once_one_downloads_it(server: Loopback) -> None:
    get_at_once(server, people=3)


def test_on_a_disk_without_locks_one_downloads_all_the_same(
    server: Loopback, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class NoLock(FileLock):
        def acquire(self, *args: object, **kwargs: object) -> NoReturn:
            raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("mvector.published.locking.FileLock", NoLock)
    get_at_once(server, people=2)
    assert "is on a disk without locks (No locks available)" in caplog.text
    assert downloads() == {"seen.json"}


def test_a_folder_that_cannot_be_written_to_is_told_and_out_does_without(
    server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = get(NAME, mirror=server.url)

    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr("mvector.compat.getting.check_writable", refuse)
    assert get(NAME).fingerprint == here.fingerprint  # it is there, and only read
    out = get(NAME, mirror=server.url, out=tmp_path / "out")
    assert out.fingerprint == here.fingerprint
    with pytest.raises(Exception, match="Permission denied; choose another folder by --out DIR"):
        get("wespeaker-resnet34-lm", mirror=server.url)


def test_without_a_network_the_ways_out_are_told(server: Loopback) -> None:
    server.answers.clear()
    with pytest.raises(Exception, match=r"HTTP 404.* --mirror URL.* --from FILE") as caught:
        get(NAME, mirror=server.url)
    assert caught.value.code == "download-failed"  # type: ignore[attr-defined]


@pytest.mark.parametrize("sha256", ["", "abc", "g" * 64])
def test_a_sum_has_64_digits(sha256: str) -> None:
    with raises_code("usage"):
        get(NAME, sha256=sha256)


# ---- the command --------------------------------------------------------------------------------


def test_the_command_says_what_was_got_and_what_is_missing(
    published: Path, capsys: pytest.CaptureFixture
) -> None:
    assert run_script("models", ["get", NAME, "--from", str(published)]) == 0
    out = capsys.readouterr().out
    assert f"sha256 {sum_of(published)}, seen for the first time" in out
    assert "Licence:    CC BY 4.0" in out
    assert "Cite:       Wang" in out
    assert f"mvector calibrate --clips DIR --model_path {NAME}" in out
    if find_spec("onnx") is not None:
        assert "Runs:       without PyTorch, too" in out
        predictor = MVectorPredictor(NAME, engine="onnx")
        assert predictor.predict(speech(0)).shape == (256,)
    assert run_script("models", [NAME]) == 0
    assert f"Here:       {model_folder(NAME)}" in capsys.readouterr().out
    assert run_script("models", ["get", NAME, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["trust"] is None
    with raises_code("model-not-downloaded"):
        MVectorPredictor("wespeaker-resnet34-lm", use_gpu=False)
