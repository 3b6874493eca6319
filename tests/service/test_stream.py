"""The stream: who speaks now, turns, a verdict once it is certain, and what ends it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
import soundfile
from onnx_stand_in import RATE
from served import Clips, Served, Serving, enrol
from starlette.testclient import WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from mvector.service.keys import KeyFile

Messages = list[dict[str, Any]]


def pcm(*clips: bytes) -> bytes:
    """The samples of clips, 16-bit little endian."""
    samples = [soundfile.read(io.BytesIO(clip), dtype="float32")[0] for clip in clips]
    return (np.concatenate(samples) * 32767).astype("<i2").tobytes()


SILENCE = bytes(2 * 2 * RATE)


@contextmanager
def streaming(served: Served, query: dict[str, Any], **more: Any) -> Iterator[WebSocketTestSession]:
    place = f"ws://localhost/v1/stream?{urlencode(query, doseq=True)}"
    with served.client.websocket_connect(place, **more) as socket:
        yield socket


def heard(served: Served, sound: bytes, piece: int = 8000, **query: Any) -> Messages:
    """All messages for a sound, which comes in pieces."""
    with streaming(served, {"rate": RATE, "window_s": 1, "hop_s": 0.5, **query}) as socket:
        for start in range(0, len(sound), piece):
            socket.send_bytes(sound[start : start + piece])
        socket.send_json({"type": "end"})
        messages = []
        while not messages or messages[-1]["type"] != "end":
            messages.append(socket.receive_json())
        return messages


def refused(socket: WebSocketTestSession) -> tuple[int, str, str]:
    """Close code, code and sentence of a stream that fails."""
    told = socket.receive_json()
    while told["type"] != "problem":
        told = socket.receive_json()
    with pytest.raises(WebSocketDisconnect) as closed:
        socket.receive_json()
    assert told["detail"].startswith(closed.value.reason)
    return closed.value.code, told["code"], told["detail"]


def of_type(messages: Messages, kind: str) -> Messages:
    return [message for message in messages if message["type"] == kind]


@pytest.fixture
def ada(served: Served, clips: Clips) -> Served:
    """A service that knows Ada."""
    enrol(served.client, "Ada", clips["a1"])
    return served


def test_who_speaks_is_told_with_turns_and_a_verdict(ada: Served, clips: Clips) -> None:
    sound = pcm(clips["a2"]) + SILENCE + pcm(clips["b2"])
    messages = heard(ada, sound, min_speech_s=0.5)
    assert messages[0] == {"type": "ready", "model": "0123456789abcdef", "turns": True}
    now = of_type(messages, "now")
    assert [one["time_s"] for one in now] == [0.5 * k for k in range(2, 13)]
    assert (now[0]["name"], now[0]["answer"], now[0]["speaking"]) == ("Ada", "same", True)
    silent = [one for one in now if not one["speaking"]]
    assert [one["time_s"] for one in silent] == [3.0, 3.5, 4.0]
    assert "name" not in silent[0]
    assert 2.5 < now[-1]["speech_s"] < 4.5
    (verdict,) = of_type(messages, "verdict")
    assert (verdict["name"], verdict["certain"]) == ("Ada", True)
    assert verdict["time_s"] <= 3.0
    assert verdict["quality"]["speech_s"] > 0.5
    first, *_, last = of_type(messages, "turn")
    assert (first["name"], first["speaker"]) == ("Ada", "Ada")
    assert first["start_s"] < 0.3
    assert 1.7 <= first["end_s"] <= 2.1
    assert first["told_s"] <= first["end_s"] + 1.1
    assert last["end_s"] == pytest.approx(6.0, abs=0.3)
    assert messages[-1] == {"type": "end", "time_s": 6.0}
    actions = [entry.action for entry in ada.audit()]
    assert {*actions[:-1]} == {"recognition", "watch"}
    assert " request " in ada.audit()[0].who


def test_pieces_of_any_size_and_other_rates_are_heard_alike(ada: Served, clips: Clips) -> None:
    sound = pcm(clips["a2"])
    odd, whole = (heard(ada, sound, piece) for piece in (3001, len(sound)))
    assert [one["score"] for one in of_type(odd, "now")] == pytest.approx(
        [one["score"] for one in of_type(whole, "now")], abs=1e-4
    )
    half = sound[: len(sound) // 4 * 4]
    slow = np.frombuffer(half, "<i2").reshape(-1, 2).mean(axis=1).astype("<i2").tobytes()
    (verdict,) = of_type(heard(ada, slow, rate=RATE // 2), "verdict")
    assert verdict["quality"]["duration_s"] <= 2.0


def test_turns_are_those_of_a_recording_at_any_rate(ada: Served, clips: Clips) -> None:
    sound = pcm(clips["a2"]) + SILENCE + pcm(clips["a2"])
    half = np.frombuffer(sound, "<i2").reshape(-1, 2).mean(axis=1).astype("<i2").tobytes()
    at_once, slow = (
        of_type(heard(ada, own, len(own), rate=rate), "turn")
        for own, rate in ((sound, RATE), (half, RATE // 2))
    )
    for found in (at_once, slow):
        places = [(one["start_s"], one["end_s"]) for one in found]
        np.testing.assert_allclose(places, [(0.0, 2.0), (4.0, 6.0)], atol=0.3)
        assert len({one["speaker"] for one in found}) == 1


def test_who_is_not_known_is_a_speaker_without_a_name(ada: Served, clips: Clips) -> None:
    (turn,) = of_type(heard(ada, pcm(clips["b2"])), "turn")
    assert (turn["name"], turn["speaker"], turn["score"]) == (None, "Speaker 1", None)
    assert turn["earlier"] is None


def test_without_anything_that_finds_speech_there_are_no_turns(
    ada: Served, clips: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mvector.service.streaming.finds_speech", lambda: False)
    messages = heard(ada, pcm(clips["a2"]) + SILENCE)
    assert messages[0]["turns"] is False
    assert {one["type"] for one in messages} == {"ready", "now", "verdict", "end"}


def test_a_short_stream_has_an_uncertain_verdict_at_its_end(ada: Served, clips: Clips) -> None:
    (verdict,) = of_type(heard(ada, pcm(clips["a2"])[:RATE]), "verdict")
    assert (verdict["certain"], verdict["name"]) == (False, "Ada")
    assert of_type(heard(ada, SILENCE), "verdict") == []


def test_a_person_is_verified_and_failures_count(serving: Serving, clips: Clips) -> None:
    served = serving(max_tries=1, tries_window_s=100.0)
    enrol(served.client, "Ada", clips["a1"])
    asked = {"person": "Ada", "min_speech_s": 0.5}
    assert of_type(heard(served, SILENCE, **asked), "verdict") == []  # is no try
    right = heard(served, pcm(clips["a2"]), **asked)
    (verdict,) = of_type(right, "verdict")
    assert (verdict["verified"], verdict["certain"], verdict["name"]) == (True, True, "Ada")
    assert "synthetic voices are not detected" in verdict["warning"]
    assert "name" not in of_type(right, "now")[0]
    assert (right[0]["turns"], of_type(right, "turn")) == (False, [])
    assert served.audit()[0].action == "verification: same"
    (verdict,) = of_type(heard(served, pcm(clips["b2"]), **asked), "verdict")
    assert verdict["verified"] is False
    with streaming(served, {"rate": RATE, **asked}) as socket:
        assert refused(socket)[:2] == (4429, "too-many-tries")


def test_a_key_comes_by_header_or_first_message_and_never_by_address(
    serving: Serving, clips: Clips, tmp_path: Path
) -> None:
    file = KeyFile(tmp_path / "keys.json", must_exist=False)
    token = file.add("the app", "enrol")
    served = serving(keys=file)
    headers = {"Authorization": f"Bearer {token}"}
    enrol(served.client, "Ada", clips["a1"], headers=headers)
    with streaming(served, {"rate": RATE}, headers=headers) as socket:
        assert socket.receive_json()["type"] == "ready"
    with streaming(served, {}) as socket:
        socket.send_json({"rate": RATE, "key": token, "within": []})
        assert socket.receive_json()["type"] == "ready"
    with streaming(served, {"rate": RATE}) as socket:
        socket.send_json({"key": "mv_0_x"})
        assert refused(socket)[:2] == (4401, "key-invalid")
    with streaming(served, {"rate": RATE}) as socket:
        socket.send_bytes(b"\0\0")
        assert refused(socket)[:2] == (4400, "request-invalid")
    with streaming(served, {"rate": RATE, "key": token}) as socket:
        assert "does not belong into an address" in refused(socket)[2]


def test_without_keys_pages_of_other_origins_cannot_stream(served: Served) -> None:
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "http://[::1"},
        {"Host": "evil.example"},
    ):
        with (
            pytest.raises(WebSocketDisconnect),
            streaming(served, {"rate": RATE}, headers=headers),
        ):
            raise AssertionError
    with streaming(served, {"rate": RATE}, headers={"Origin": "http://localhost"}) as socket:
        assert socket.receive_json()["type"] == "ready"


@pytest.mark.parametrize(
    ("query", "sent", "code", "words"),
    [
        ({"rate": 7}, None, 4400, "rate: "),
        ({"rate": RATE, "wndow_s": 1}, None, 4400, "wndow_s: there is no such field"),
        ({"rate": RATE, "hop_s": "nan"}, None, 4400, "hop_s: "),
        ({}, "{", 4400, "is no JSON"),
        ({}, "[" * 100_000, 4400, "is no JSON"),
        ({}, "[]", 4400, "is no JSON object"),
        ({}, '{"rate": "high"}', 4400, "rate: "),
        ({}, '{"window_s": 3}', 4400, "rate: "),
        ({"rate": RATE}, "more", 4400, "Send sound as binary messages"),
        ({"rate": RATE}, b"x" * ((1 << 20) + 1), 4413, "send shorter ones"),
        ({"rate": RATE, "window_s": 1, "within": "x"}, "sound", 4422, "group"),
        ({"rate": RATE, "window_s": 1, "person": "Bob"}, "sound", 4404, "Nobody of this name"),
    ],
)
def test_what_is_wrong_is_told_and_ends_the_stream(
    ada: Served, clips: Clips, query: dict[str, Any], sent: Any, code: int, words: str
) -> None:
    with streaming(ada, query) as socket:
        if sent == "sound":
            socket.send_bytes(pcm(clips["a2"]) + pcm(clips["a2"]))
        elif isinstance(sent, bytes):
            socket.send_bytes(sent)
        elif sent is not None:
            socket.send_text(sent)
        closed, _, sentence = refused(socket)
    assert closed == code
    assert words in sentence
    assert ada.client.get("/v1/ready").status_code == 200


def test_streams_are_bounded_in_number_length_and_idleness(serving: Serving) -> None:
    served = serving(max_streams=2, max_streams_each=1, stream_idle_s=0.3, max_stream_s=1.0)
    query = {"rate": RATE}
    with streaming(served, query) as first:
        assert first.receive_json()["type"] == "ready"
        assert "mvector_streams 1.0" in served.client.get("/metrics").text
        with streaming(served, query) as second:
            assert refused(second)[:2] == (4503, "overloaded")
        assert refused(first)[:2] == (4408, "stream-idle")
    with streaming(served, query) as socket:
        socket.send_bytes(SILENCE)
        assert refused(socket)[:2] == (4413, "stream-too-long")
    assert "mvector_streams 0.0" in served.client.get("/metrics").text


def test_who_has_shown_no_key_takes_no_stream(serving: Serving, tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json", must_exist=False)
    headers = {"Authorization": f"Bearer {file.add('the app', 'read')}"}
    served = serving(keys=file, max_streams=1)
    with streaming(served, {}), streaming(served, {"rate": RATE}) as second:
        assert refused(second)[:2] == (4503, "overloaded")  # nor may many of an address wait
        with streaming(served, {"rate": RATE}, headers=headers) as own:
            assert own.receive_json()["type"] == "ready"
