"""A file comes whole or not at all, from whatever server, and what was begun goes on."""

from __future__ import annotations

import hashlib
import json
import urllib.request
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from error_codes import raises_code
from published_server import Loopback, content, download_directly, loopback, silence, status

from mvector.errors import CheckpointError
from mvector.published.addresses import addresses
from mvector.published.connections import NotGotError, Redirects
from mvector.published.downloading import Download, download
from mvector.published.table import PublishedFile

DATA = bytes(range(256)) * 400
SUM = hashlib.sha256(DATA).hexdigest()
FILE = PublishedFile(name="model.pt", urls=("https://models.example/m/model.pt?v=1",))


@pytest.fixture(autouse=True)
def in_no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    download_directly(monkeypatch)


@pytest.fixture
def server() -> Iterator[Loopback]:
    with loopback() as running:
        yield running


def got(
    folder: Path,
    *urls: str,
    sha256: str | None = SUM,
    num_bytes: int | None = None,
    timeout_s: float = 20.0,
) -> Download:
    file = FILE.model_copy(update={"num_bytes": num_bytes})
    return download(file, urls, folder, sha256=sha256, progress=False, timeout_s=timeout_s)


def test_a_file_comes_with_its_sum_and_leaves_nothing_beside_it(
    server: Loopback, tmp_path: Path
) -> None:
    url = server.on("/m", content(DATA))
    assert got(tmp_path, url) == Download(tmp_path / "model.pt", SUM, url)
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]
    assert (tmp_path / "model.pt").read_bytes() == DATA


@pytest.mark.parametrize("sha256", [SUM, None])
def test_behind_a_broken_connection_the_rest_is_asked_for(
    sha256: str | None, server: Loopback, tmp_path: Path
) -> None:
    url = server.on("/m", content(DATA, cut_at=1000), content(DATA, cut_at=70000), content(DATA))
    assert got(tmp_path, url, sha256=sha256).sha256 == SUM
    assert [asked for _, asked in server.asked] == [None, "bytes=1000-", "bytes=70000-"]


def test_what_an_earlier_run_has_begun_goes_on(server: Loopback, tmp_path: Path) -> None:
    url = server.on("/m", content(DATA, cut_at=1000))  # a server that never sends more
    with raises_code("download-failed"):
        got(tmp_path, url, sha256=None)
    assert (tmp_path / "model.pt.part").stat().st_size == 1000
    server.on("/m", content(DATA))
    server.asked.clear()
    assert got(tmp_path, url, sha256=None).sha256 == SUM
    assert server.asked == [("/m", "bytes=1000-")]


@pytest.mark.parametrize(
    "after", [content(DATA, tag='"2"'), content(DATA, ranges=False), content(DATA, tag=None)]
)
def test_pieces_of_two_versions_are_never_put_together(
    after: object, server: Loopback, tmp_path: Path
) -> None:
    url = server.on("/m", content(b"x" * len(DATA), cut_at=1000), after)
    assert got(tmp_path, url, sha256=None).sha256 == SUM


def test_a_version_is_never_noted_over_the_bytes_of_another(
    server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.on("/m", content(b"x" * len(DATA), cut_at=1000))
    with raises_code("download-failed"):
        got(tmp_path, url, sha256=None)
    server.on("/m", content(DATA, tag='"2"'))
    part = tmp_path / "model.pt.part"
    sizes = []
    dumps = json.dumps

    def note(*args: Any) -> str:
        sizes.append(part.stat().st_size)
        return dumps(*args)

    monkeypatch.setattr(json, "dumps", note)
    assert got(tmp_path, url, sha256=None).sha256 == SUM
    assert sizes == [0]


def test_without_a_version_and_a_sum_nothing_is_pieced_together(
    server: Loopback, tmp_path: Path
) -> None:
    url = server.on("/m", content(b"x" * 2000, tag=None, cut_at=1000), content(DATA, tag=None))
    assert got(tmp_path, url, sha256=None).sha256 == SUM
    assert [asked for _, asked in server.asked] == [None, None]


def test_a_file_that_was_whole_already_is_not_sent_again(server: Loopback, tmp_path: Path) -> None:
    url = server.on("/m", content(DATA))
    (tmp_path / "model.pt.part").write_bytes(DATA)
    note = {"url": url, "version": '"1"'}
    (tmp_path / "model.pt.part.json").write_text(json.dumps(note))
    assert got(tmp_path, url).sha256 == SUM
    assert server.asked == [("/m", f"bytes={len(DATA)}-")]


def test_a_place_that_has_another_file_is_told_and_the_next_one_is_asked(
    server: Loopback, tmp_path: Path
) -> None:
    lie, truth = server.on("/lie", content(DATA[::-1])), server.on("/truth", content(DATA))
    assert got(tmp_path, lie, truth).url == truth
    (tmp_path / "model.pt").unlink()
    with pytest.raises(CheckpointError, match=rf"/lie: the file there has the sha256 .* {SUM}"):
        got(tmp_path, lie)
    with raises_code("download-mismatch"):
        got(tmp_path, lie, server.on("/no", status(404)))
    assert not [*tmp_path.iterdir()]


def test_a_wrong_piece_from_one_place_does_not_spoil_the_file_of_another(
    server: Loopback, tmp_path: Path
) -> None:
    lie = server.on("/lie", content(DATA[::-1], cut_at=1000))
    truth = server.on("/truth", content(DATA))
    assert got(tmp_path, lie, truth).url == truth
    assert server.asked[-2:] == [("/truth", "bytes=1000-"), ("/truth", None)]


def test_redirections_are_followed(server: Loopback, tmp_path: Path) -> None:
    server.on("/far", content(DATA, cut_at=1000), content(DATA))
    assert got(tmp_path, server.on("/m", status(302, Location="/far"))).sha256 == SUM
    assert server.asked[-1] == ("/far", "bytes=1000-")
    loop = server.on("/loop", status(302, Location="/loop"))
    with raises_code("download-failed"):
        got(tmp_path, loop)


@pytest.mark.parametrize("target", ["http://models.example/m", "ftp://models.example/m"])
def test_an_encrypted_connection_leads_to_no_plain_one(target: str) -> None:
    request = urllib.request.Request("https://models.example/m")
    with pytest.raises(NotGotError, match="not encrypted"):
        Redirects().redirect_request(request, None, 302, "", Message(), target)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (status(404), "HTTP 404"),
        (status(503), "HTTP 503"),
        (silence(0.6), "says nothing for too long"),
        (content(b"<html>", kind="text/html; charset=utf-8"), "a web page"),
        (content(DATA, cut_at=5, ranges=False), "ended before the file did"),
        (content(DATA, length=len(DATA) + 5), f"has {len(DATA) + 5:,} bytes, and"),
        (content(DATA, length=len(DATA) - 5), f"has {len(DATA) - 5:,} bytes, and"),
        (content(DATA + DATA, knows_length=False), "are published"),
        (content(DATA + DATA), f"has {2 * len(DATA):,} bytes, and {len(DATA):,} are published"),
    ],
)
def test_what_no_file_is_made_of_is_told_by_its_address(
    answer: object, reason: str, server: Loopback, tmp_path: Path
) -> None:
    url = server.on("/m", answer)
    with pytest.raises(CheckpointError, match=rf"^{url}: .*{reason}") as caught:
        got(tmp_path, url, sha256=None, num_bytes=len(DATA), timeout_s=0.1)
    is_other = "bytes" in reason or "published" in reason
    assert caught.value.code == ("download-mismatch" if is_other else "download-failed")
    assert not (tmp_path / "model.pt").exists()


def test_a_length_that_is_too_long_is_no_end_of_the_file(server: Loopback, tmp_path: Path) -> None:
    url = server.on("/m", content(DATA, length=len(DATA) + 5))
    assert got(tmp_path, url).sha256 == SUM  # the server has no more when it is asked for the rest
    lying = server.on("/n", content(DATA, length=len(DATA) + 5, ranges=False))
    with pytest.raises(CheckpointError, match="ended before the file did"):
        got(tmp_path, lying)


def test_a_server_that_is_busy_for_a_while_is_asked_again(server: Loopback, tmp_path: Path) -> None:
    assert got(tmp_path, server.on("/m", status(503), status(429), content(DATA))).sha256 == SUM


def test_a_piece_from_another_place_of_the_file_is_refused(
    server: Loopback, tmp_path: Path
) -> None:
    lying = content(DATA, lies_about_start=True)
    url = server.on("/m", content(DATA, cut_at=1000), lying, content(DATA))
    assert got(tmp_path, url, sha256=None).sha256 == SUM
    assert [asked for _, asked in server.asked] == [None, "bytes=1000-", None]


def test_nobody_there_is_told_at_once(tmp_path: Path) -> None:
    with loopback() as gone:
        url = f"{gone.url}/m"
    with pytest.raises(CheckpointError, match="Connection refused"):
        got(tmp_path, url)


def test_the_proxy_of_the_environment_is_used(
    server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    url = "http://models.invalid/m"
    server.answers[url] = [content(DATA)]
    assert got(tmp_path, url).sha256 == SUM


# ---- where a file may be had --------------------------------------------------------------------

HUB = PublishedFile(
    name="a+b.pt", urls=("https://huggingface.co/o/r/resolve/main/a.pt", *FILE.urls)
)


def test_places_are_asked_in_the_order_of_the_table() -> None:
    assert addresses(HUB) == [*HUB.urls]


def test_a_mirror_of_hugging_face_takes_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://hf-mirror.com/")
    assert addresses(HUB) == ["https://hf-mirror.com/o/r/resolve/main/a.pt", *FILE.urls]


def test_a_mirror_has_the_same_paths_or_the_files_and_nobody_else_is_asked() -> None:
    assert addresses(HUB, "http://nas/hub/") == [
        "http://nas/hub/o/r/resolve/main/a.pt",
        "http://nas/hub/m/model.pt?v=1",
        "http://nas/hub/a%2Bb.pt",
    ]


@pytest.mark.parametrize("mirror", ["file:///models", "nas", "ftp://nas/x", "https://", ""])
def test_a_mirror_is_an_address(mirror: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with raises_code("usage"):
        addresses(HUB, mirror)
    if mirror:
        monkeypatch.setenv("HF_ENDPOINT", mirror)
        with raises_code("usage"):
            addresses(HUB)
