"""docs/service.md: its lines are run against a service that listens."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
from served import Clips, Served, Serving, listening
from small_settings import ROOT

from mvector.service.app import build_app
from mvector.service.keys import KeyFile

TEXT = (ROOT / "docs" / "service.md").read_text(encoding="utf-8")
SHELL, JOB = [block for block in re.findall(r"```sh\n(.*?)```", TEXT, re.S) if "curl" in block]
PYTHON, STREAM = re.findall(r"```python\n(.*?)```", TEXT, re.S)


@pytest.fixture
def place(tmp_path: Path, clips: Clips, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the clips that the document names, entered."""
    for name, clip in {"ada1": "a1", "ada2": "a2", "clip": "a2", "meeting": "a1"}.items():
        (tmp_path / f"{name}.wav").write_bytes(clips[clip])
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def token(place: Path) -> str:
    return KeyFile("keys.json", must_exist=False).add("the app", "admin")


@pytest.fixture
def address(serving: Serving, token: str) -> Iterator[str]:
    """Where a service listens."""
    served: Served = serving(keys=KeyFile("keys.json"))
    with listening(build_app(served.service), lifespan="off") as address:
        yield address


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
def test_each_curl_line_gets_an_answer(address: str, token: str) -> None:
    script = SHELL.replace("http://127.0.0.1:8000", address)
    assert script.count("\ncurl") == 12
    # --json came in curl 7.82
    script = script.replace("--json", "-H 'Content-Type: application/json' --data")
    script = script.replace("\ncurl", "\necho; curl")
    run = subprocess.run(
        ["sh", "-e", "-c", script], env={"TOKEN": token}, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr
    compared, enrolled, found, verified, embedded, people, one, changed, removed = (
        json.loads(line) for line in run.stdout.strip().splitlines()[:9]
    )
    assert compared["answer"] == "same"
    assert len(enrolled["enrolled"]) == 2
    assert found["name"] == "Ada"
    assert verified["verified"] is True
    assert len(embedded["embedding"]) == 16
    assert people["people"] == [one]
    assert (one["metadata"], changed["metadata"]) == ({}, {"id": 7})
    assert removed["num_clips"] == 2


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
def test_a_job_is_asked_for_until_it_is_done(address: str, token: str) -> None:
    script = JOB.replace("http://127.0.0.1:8000", address).replace("speakers=2", "speakers=1")
    run = subprocess.run(
        ["sh", "-e", "-c", script], env={"TOKEN": token}, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr
    done, *captions, removed = run.stdout.strip().splitlines()
    assert json.loads(done)["result"]["recording"] == "meeting"
    assert "Speaker 1" in captions
    assert json.loads(removed)["state"] == "done"


def test_the_python_client_works_as_it_stands(
    address: str, token: str, capsys: pytest.CaptureFixture[str], place: Path
) -> None:
    code = PYTHON.replace("http://127.0.0.1:8000", address).replace("mv_…", token)
    exec(code, {})
    assert capsys.readouterr().out == "Ada Lovelace\n"
    (place / "ada1.wav").write_bytes(b"This is no audio.")
    with pytest.raises(SystemExit, match=r"^audio-undecodable: 'file' .*Export or record it again"):
        exec(code, {})


def test_the_streaming_client_works_as_it_stands(
    address: str, token: str, capsys: pytest.CaptureFixture[str], place: Path
) -> None:
    ask: dict[str, object] = {}
    code = PYTHON.replace("http://127.0.0.1:8000", address).replace("mv_…", token)
    exec(code, ask)  # enrols Ada Lovelace
    samples, rate = soundfile.read(place / "clip.wav")
    soundfile.write(place / "clip.wav", samples, rate, subtype="PCM_16")
    capsys.readouterr()
    where = address.removeprefix("http://")
    exec(STREAM.replace("127.0.0.1:8000", where).replace("mv_…", token), {})
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["type"] for one in told] == ["ready", "now", "turn", "verdict", "end"]
    assert (told[1]["name"], told[3]["certain"]) == ("Ada Lovelace", False)


def test_hostile_connections_cost_the_service_nothing(address: str) -> None:
    """Half a request, ten thousand header lines, and what is not HTTP."""
    host, port = address.removeprefix("http://").split(":")
    head = b"POST /v1/embed HTTP/1.1\r\nHost: localhost\r\n"
    for sent in (
        head + b"Content-Length: 1000\r\nContent-Type: audio/wav\r\n\r\nRIFF",
        head + b"".join(b"X-%d: y\r\n" % k for k in range(10_000)) + b"\r\n",
        head + b"Content-Length: 2147483648\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
    ):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(60)
            answer = b""
            while more := _receive(connection):
                answer += more
        assert not answer or re.match(rb"HTTP/1.1 4\d\d ", answer), answer[:200]
    until = time.monotonic() + 60
    assert subprocess.run(["curl", "-sf", f"{address}/v1/health"]).returncode == 0
    assert time.monotonic() < until


def test_a_client_that_never_comes_to_a_request_is_left(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mvector.service.connection._LOOK_EVERY_S", 0.2)
    host, port = address.removeprefix("http://").split(":")
    with (
        socket.create_connection((host, int(port))) as silent,
        socket.create_connection((host, int(port))) as slow,
    ):
        for connection in (silent, slow):
            connection.settimeout(60)
        slow.sendall(b"GET /v1/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        answer = b""
        while not answer.endswith(b'{"status":"ok"}'):
            answer += slow.recv(1000)
        slow.sendall(b"GET /v1/health HTTP/1.1\r\nX: ")
        assert [silent.recv(10), slow.recv(10)] == [b"", b""]


def _receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(1 << 16)
    except ConnectionError:
        return b""
