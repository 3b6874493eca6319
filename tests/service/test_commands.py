"""``mvector serve`` and ``mvector keys``: what they refuse, what they tell, how they end."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import socket
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from error_codes import raises_code
from served import Clips, hand_to_another_model, served_process

from mvector.cli import run_script
from mvector.cli.serve import _listen, _predictor
from mvector.recognition.predictor import MVectorPredictor


def test_a_second_of_a_clip_costs_no_more_than_16_channels_at_48_khz(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mvector.cli.serve.make_predictor", lambda *more, limits: limits)
    asked: Any = SimpleNamespace(max_clip_seconds=300.0, max_body_mib=16, audio_db_path="db")
    limits: Any = _predictor(asked)
    for rate, channels in ((48_000, 16), (384_000, 2), (16_000, 1)):
        limits.check_layout(rate, channels, "a clip")
    with raises_code("audio-beyond-limits"):
        limits.check_layout(384_000, 3, "a clip")


def test_keys_are_added_listed_and_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = ["--keys", str(tmp_path / "keys.json")]
    assert run_script("keys", ["add", "the app", "--scope", "enrol", *file]) == 0
    token, told = capsys.readouterr().out.splitlines()
    assert told == "Keep it: it is shown this once."
    key_id = token.split("_")[1]
    assert run_script("keys", ["list", *file]) == 0
    line = capsys.readouterr().out
    assert line.startswith(f"{key_id}  enrol  20")
    assert line.endswith("  the app\n")
    assert run_script("keys", ["remove", key_id, "--json", *file]) == 0
    assert json.loads(capsys.readouterr().out) == {"removed": key_id}
    assert run_script("keys", ["remove", key_id, *file]) == 2
    assert f"There is no key '{key_id}' in " in capsys.readouterr().err
    assert run_script("keys", ["list", "--keys", str(tmp_path / "none.json")]) == 2
    assert "make a key by mvector keys add NAME --keys FILE." in capsys.readouterr().err


def test_a_service_that_cannot_be_is_refused_before_a_model_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for words, sentence in (
            (["--host", "0.0.0.0"], "Without keys the service answers this machine only"),
            (["--host", "example.org"], "Without keys the service answers this machine only"),
            (
                ["--port", port],
                f"port {port}: {os.strerror(errno.EADDRINUSE)}; choose another --port",
            ),
            (["--port", "99999"], "port 99999: bind(): port must be 0-65535; choose "),
            (["--keys", str(tmp_path / "none.json")], "none.json' does not exist; make a key by "),
        ):
            assert run_script("serve", [*words, "--model_path", "none"]) == 2
            assert sentence in capsys.readouterr().err


def test_small_answers_do_not_wait_for_the_client_to_note_the_ones_before() -> None:
    async def of_a_connection() -> int:
        made: asyncio.Future[socket.socket] = asyncio.get_running_loop().create_future()

        def made_by(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            made.set_result(writer.get_extra_info("socket"))

        with _listen("127.0.0.1", 0) as listening:
            async with await asyncio.start_server(made_by, sock=listening):
                with socket.create_connection(listening.getsockname()):
                    connection = await asyncio.wait_for(made, 60)
                    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    assert asyncio.run(of_a_connection())


def test_a_library_of_another_model_is_refused_before_anything_is_answered(
    tmp_path: Path,
    model: Path,
    clips: Clips,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("uvicorn.Server.run", lambda server, sockets: None)  # nor does it go on
    predictor = MVectorPredictor(model, threshold=0.9, audio_db_path=tmp_path)
    predictor.register(clips["a1"], "Ada")
    predictor.library.close()
    hand_to_another_model(tmp_path)
    words = ["--port", "0", "--model_path", str(model), "--audio_db_path", str(tmp_path)]
    assert run_script("serve", words) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert f"The people in '{tmp_path}' were enrolled with an earlier '" in told.err


def test_a_service_tells_where_it_is_and_ends_what_is_under_way(
    tmp_path: Path, model: Path, clips: Clips
) -> None:
    process = served_process(model, tmp_path)
    assert process.stdout is not None
    told = dict(process.stdout.readline().split(maxsplit=1) for _ in range(5))
    assert told["Model:"] == f"{model}\n"
    assert told["Library:"] == f"{tmp_path / 'db'} (0 enrolled)\n"
    address = told["Address:"].strip()
    assert told["Page:"] == f"{address}/\n"
    assert told["Documentation:"].startswith(f"{address}/v1/docs, ")
    host, port = address.removeprefix("http://").split(":")
    clip = clips["a1"]
    with socket.create_connection((host, int(port))) as connection:
        connection.settimeout(120)
        head = f"POST /v1/people/Ada/clips HTTP/1.1\r\nHost: {host}\r\nContent-Type: audio/wav\r\n"
        connection.sendall(f"{head}Content-Length: {len(clip)}\r\n\r\n".encode() + clip[:1000])
        with urllib.request.urlopen(f"{address}/v1/health", timeout=60) as answer:
            assert json.load(answer) == {"status": "ok"}
        process.send_signal(signal.SIGTERM)
        connection.sendall(clip[1000:])
        assert connection.recv(100).startswith(b"HTTP/1.1 201 ")
    _, warned = process.communicate(timeout=120)
    assert process.returncode in (143, -signal.SIGTERM)
    assert [path.name for path in (tmp_path / "home" / "service").iterdir()] == ["starting.lock"]
    assert warned.startswith("warning: There are no keys: every program of this machine may ")
    assert "Traceback" not in warned
