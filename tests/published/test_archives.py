"""Archives of strangers are unpacked into their folder, in bounds, or not at all."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch
from error_codes import raises_code

from mvector.published.archives import is_archive, unpack


def zipped(file: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file


def tarred(file: Path, members: dict[str, bytes], kind: bytes = tarfile.REGTYPE) -> Path:
    with tarfile.open(file, "w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, len(data), "/etc/passwd"
            archive.addfile(info, io.BytesIO(data))
    return file


PACK = {"zip": zipped, "tar.gz": tarred}
MODEL = {"r34/avg_model.pt": b"weights", "r34/config.yaml": b"a: 1", "r34/README.md": b"read me"}


@pytest.mark.parametrize("kind", PACK)
def test_checkpoint_and_configuration_come_out_without_their_folder(
    kind: str, tmp_path: Path
) -> None:
    file = PACK[kind](tmp_path / f"m.{kind}", {**MODEL, "__MACOSX/._avg_model.pt": b""})
    unpack(file, tmp_path / "out")
    found = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert found == {"avg_model.pt": b"weights", "config.yaml": b"a: 1"}


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize(
    "name", ["../evil.pt", "/evil.pt", "a/../../evil.pt", "..\\evil.pt", "C:\\evil.pt", "a/.."]
)
def test_a_path_to_outside_condemns_the_archive(kind: str, name: str, tmp_path: Path) -> None:
    file = PACK[kind](tmp_path / f"m.{kind}", {**MODEL, name: b"x"})
    with raises_code("checkpoint-unsafe"):
        unpack(file, tmp_path / "in" / "out")
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_links_and_devices_condemn_the_archive(kind: bytes, tmp_path: Path) -> None:
    file = tarred(tmp_path / "m.tar", {"avg_model.pt": b""}, kind)
    with raises_code("checkpoint-unsafe"):
        unpack(file, tmp_path / "out")
    link = zipfile.ZipInfo("avg_model.pt")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with raises_code("checkpoint-unsafe"):
        unpack(tmp_path / "m.zip", tmp_path / "out")


@pytest.mark.parametrize("kind", PACK)
def test_a_bomb_does_not_go_off(kind: str, tmp_path: Path) -> None:
    file = PACK[kind](tmp_path / f"m.{kind}", {"avg_model.pt": bytes(20 << 20)})
    with raises_code("checkpoint-unsafe"):
        unpack(file, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_size_that_is_a_lie_is_found_while_it_is_written(tmp_path: Path) -> None:
    file = zipped(tmp_path / "m.zip", {"avg_model.pt": bytes(range(256)) * 1000})
    data = file.read_bytes()
    place = data.rindex(b"PK\x01\x02") + 24  # the size in the list of files at the end
    file.write_bytes(data[:place] + (5).to_bytes(4, "little") + data[place + 4 :])
    with raises_code("checkpoint-damaged"):
        unpack(file, tmp_path / "out")


@pytest.mark.parametrize("kind", PACK)
def test_which_of_two_files_is_meant_is_not_guessed(kind: str, tmp_path: Path) -> None:
    file = PACK[kind](tmp_path / f"m.{kind}", {"a/model.pt": b"1", "b/model.pt": b"2"})
    with raises_code("checkpoint-unsafe"):
        unpack(file, tmp_path / "out")


@pytest.mark.parametrize("kind", PACK)
def test_an_archive_that_is_cut_short_is_told(kind: str, tmp_path: Path) -> None:
    noise = torch.randint(256, (100_000,), dtype=torch.uint8).numpy().tobytes()
    file = PACK[kind](tmp_path / f"m.{kind}", {"a/model.pt": noise})
    file.write_bytes(file.read_bytes()[:-50_000])
    with raises_code("checkpoint-damaged"):
        unpack(file, tmp_path / "out")


def test_checkpoints_are_no_archives(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(2)}, tmp_path / "a.pt")
    tarred(tmp_path / "a.nemo", {"model_weights.ckpt": b""})
    assert not is_archive(tmp_path / "a.pt")
    assert not is_archive(tmp_path / "a.nemo")
    assert is_archive(zipped(tmp_path / "a.zip", MODEL))
    assert is_archive(tarred(tmp_path / "a.tar.gz", MODEL))


def test_a_compressed_file_that_ends_in_its_header_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(b"\x1f\x8b\x08\x00 gzip")
    assert not is_archive(tmp_path / "a.tar.gz")
