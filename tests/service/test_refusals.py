"""Requests that are wrong, hostile or too many: status and sentence, and the service lives."""

from __future__ import annotations

import io
import threading
from typing import Any

import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient
from served import Clips, Served, Serving, as_wav, enrol, hand_to_another_model, problem

from mvector.errors import LibraryError
from mvector.service.errors import RequestError
from mvector.service.keys import KeyFile
from mvector.speakers.stored_clips import ClipFiles


def bomb() -> bytes:
    """An hour of silence in few bytes."""
    stream = io.BytesIO()
    with soundfile.SoundFile(stream, "w", 8000, 1, "PCM_16", format="FLAC") as file:
        for _ in range(60):
            file.write(np.zeros(8000 * 60, np.int16))
    return stream.getvalue()


def test_what_is_wrong_with_a_clip_is_told(served: Served, clips: Clips) -> None:
    not_finite = as_wav(np.full(16000, np.nan, np.float32))
    wrong = {
        "audio-undecodable": clips["text"],
        "audio-silent": clips["silence"],
        "audio-not-finite": not_finite,
        "audio-beyond-limits": bomb(),
    }
    for code, clip in wrong.items():
        told = problem(served.client.post("/v1/embed", files={"file": clip}), 422, code)
        assert "'file'" in told["detail"]
        assert "AudioLimits" not in told["detail"]  # which is for callers in Python
    cut = served.client.post("/v1/embed", files={"file": clips["a1"][:20_000]})
    problem(cut, 422, "audio-undecodable")
    assert served.client.post("/v1/embed", files={"file": clips["a1"]}).status_code == 200


def test_a_service_is_not_ready_whose_library_another_model_took_over(
    served: Served, clips: Clips
) -> None:
    enrol(served.client, "Ada", clips["a1"])
    assert served.client.get("/v1/ready").status_code == 200
    hand_to_another_model(served.service.library.folder)
    told = problem(served.client.get("/v1/ready"), 409, "library-of-another-model")
    assert told["detail"] == "The people of the library were enrolled with another model."


@pytest.mark.parametrize(
    ("request_of", "status", "code", "words"),
    [
        ({"files": {"flie": b"x"}}, 400, "request-invalid", "no field 'flie'; send 'file'"),
        ({"data": {"file": "x"}}, 415, "content-type-unknown", "x-www-form-urlencoded"),
        ({"files": {"file": b""}}, 400, "request-invalid", "'file' holds nothing"),
        ({"files": [("file", b"x")] * 20}, 400, "request-invalid", ""),
        ({"files": [("file", b"x")] * 2}, 400, "request-invalid", "Send one clip"),
        ({"json": {"file": "%%%"}}, 400, "request-invalid", "file is not base64"),
        ({"json": {"file": "UklGRg==", "flie": 1}}, 400, "request-invalid", "flie: there is no"),
        ({"json": {"file": 5}}, 400, "request-invalid", "file"),
        ({"json": [1]}, 400, "request-invalid", ""),
        ({}, 415, "content-type-unknown", "no content type"),
    ],
)
def test_what_is_wrong_with_a_request_is_told(
    served: Served, request_of: dict[str, Any], status: int, code: str, words: str
) -> None:
    told = problem(served.client.post("/v1/embed", **request_of), status, code)
    assert words in told["detail"]


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b"--c\r\n\r\nx"),
        (
            "multipart/form-data; boundary=b",
            b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--",
        ),
        ("application/json", b"{"),
        ("application/json", b"\xff\xfe"),
        ("application/json", b"[" * 100_000),
    ],
)
def test_a_damaged_body_is_refused(served: Served, kind: str, content: bytes) -> None:
    answer = served.client.post("/v1/embed", content=content, headers={"content-type": kind})
    problem(answer, 400, "request-invalid")


def test_unknown_and_wrong_parameters_are_named(served: Served, clips: Clips) -> None:
    files = {"file": clips["a1"]}
    told = problem(served.client.post("/v1/identify?topk=2", files=files), 400, "request-invalid")
    assert told["detail"] == "Not valid: topk: there is no such field."
    told = problem(served.client.post("/v1/identify?top_k=0", files=files), 400, "request-invalid")
    assert told["detail"].startswith("Not valid: top_k: ")
    told = problem(
        served.client.patch("/v1/people/Ada", json={"group": []}), 400, "request-invalid"
    )
    assert told["detail"] == "Not valid: group: there is no such field."


def test_what_is_not_there_is_told_without_names_and_places(served: Served, clips: Clips) -> None:
    files = {"file": clips["a1"]}
    problem(served.client.post("/v1/identify", files=files), 409, "library-empty")
    enrol(served.client, "Secret name", clips["b1"])
    answers = [
        problem(served.client.get("/v1/people/Ada"), 404, "speaker-not-found"),
        problem(served.client.delete("/v1/people/Ada"), 404, "speaker-not-found"),
        problem(served.client.post("/v1/verify/Ada", files=files), 404, "speaker-not-found"),
        problem(served.client.get("/nothing"), 404, "no-such-path"),
        problem(served.client.put("/v1/compare"), 405, "no-such-method"),
        problem(served.client.post("/v1/identify?within=x", files=files), 422, "group-not-found"),
        problem(enrol(served.client, "x" * 300, clips["a1"]), 400, "name-invalid"),
    ]
    assert "Secret name" not in str(answers)
    assert str(served.service.library.folder) not in str(answers)


def test_a_failure_of_the_service_is_told_without_its_cause(
    served: Served, clips: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("/secret/place is broken")

    monkeypatch.setattr(served.service.library, "person", fail)
    told = problem(served.client.get("/v1/people/Ada"), 500, "internal")
    assert "secret" not in str(told)
    assert served.client.get("/v1/people").status_code == 200


# ---- bounds --------------------------------------------------------------------------------------


def test_a_body_is_bounded_before_it_is_read_and_while_it_comes(serving: Serving) -> None:
    client = serving(max_body_bytes=1000).client

    def pieces() -> Any:
        for _ in range(100):
            yield b"x" * 100

    kind = {"content-type": "audio/wav"}
    told = client.post("/v1/embed", content=b"x" * 1001, headers=kind)
    problem(told, 413, "body-too-large")
    problem(client.post("/v1/embed", content=pieces(), headers=kind), 413, "body-too-large")
    problem(client.post("/v1/embed", content=b"x" * 999, headers=kind), 422, "audio-undecodable")


def test_header_lines_are_bounded(client: TestClient) -> None:
    lines = {f"X-{number}": "y" for number in range(100)}
    told = client.get("/v1/health", headers=lines)
    assert "header lines; send 100 at most." in problem(told, 431, "request-invalid")["detail"]


def test_a_library_that_is_gone_is_told_and_used_again_when_it_is_back(
    served: Served, clips: Clips
) -> None:
    folder = served.service.library.folder
    folder.rename(folder.with_name("elsewhere"))
    told = problem(enrol(served.client, "Ada", clips["a1"]), 503, "library")
    assert str(folder) not in str(told)
    folder.with_name("elsewhere").rename(folder)
    assert enrol(served.client, "Ada", clips["a1"]).status_code == 201


def test_clips_that_cannot_be_kept_are_told_of_and_nobody_is_enrolled(
    served: Served, clips: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the bucket of a library does not answer."""

    def gone(*_: object) -> None:
        raise LibraryError("The clips in 's3://voices' are away.", code="clips-unreachable")

    with monkeypatch.context() as patched:
        patched.setattr(ClipFiles, "before_commit", gone)
        answer = enrol(served.client, "Ada", clips["a1"])
    assert "voices" not in str(problem(answer, 503, "clips-unreachable"))
    assert answer.headers["retry-after"]
    assert served.client.get("/v1/people").json()["people"] == []
    assert enrol(served.client, "Ada", clips["a1"]).status_code == 201


def test_what_is_too_much_at_once_is_told_to_come_again(serving: Serving, clips: Clips) -> None:
    served = serving(max_waiting=1)
    entered, leave = threading.Event(), threading.Event()

    def wait(name: str) -> None:
        entered.set()
        leave.wait(60)
        raise RequestError("Enough.")

    served.service.library.person = wait  # type: ignore[method-assign, assignment]
    slow = threading.Thread(target=served.client.get, args=("/v1/people/Ada",))
    slow.start()
    assert entered.wait(60)
    busy = served.client.post("/v1/embed", files={"file": clips["a1"]})
    problem(busy, 503, "overloaded")
    assert busy.headers["retry-after"] == "1"
    leave.set()
    slow.join()
    assert served.client.post("/v1/embed", files={"file": clips["a1"]}).status_code == 200


def test_requests_of_a_minute_are_bounded(serving: Serving) -> None:
    client = serving(requests_per_minute=2).client
    assert [client.get("/v1/people").status_code for _ in range(2)] == [200, 200]
    told = client.get("/v1/people")
    problem(told, 429, "too-many-requests")
    assert 50 <= int(told.headers["retry-after"]) <= 60
    assert client.get("/v1/health").status_code == 200


# ---- who may ask ---------------------------------------------------------------------------------


def test_each_route_asks_for_a_key_of_its_scope(
    serving: Serving, clips: Clips, tmp_path: Any
) -> None:
    file = KeyFile(tmp_path / "keys.json", must_exist=False)
    tokens = {scope: file.add(scope, scope) for scope in ("read", "enrol", "admin")}  # type: ignore[arg-type]
    served = serving(keys=KeyFile(tmp_path / "keys.json"))
    client = served.client

    def statuses(method: str, path: str, **more: Any) -> list[int]:
        given = [{}, *({"Authorization": f"Bearer {token}"} for token in tokens.values())]
        return [client.request(method, path, headers=h, **more).status_code for h in given]

    files = {"files": {"file": clips["a1"]}}
    assert statuses("POST", "/v1/people/Ada/clips", **files) == [401, 403, 201, 201]
    assert statuses("GET", "/v1/people") == [401, 200, 200, 200]
    assert statuses("POST", "/v1/identify", **files) == [401, 200, 200, 200]
    assert statuses("PATCH", "/v1/people/Ada", json={"groups": ["a"]}) == [401, 403, 403, 200]
    assert statuses("DELETE", "/v1/people/Ada") == [401, 403, 403, 200]
    assert statuses("GET", "/metrics") == [401, 200, 200, 200]
    assert statuses("GET", "/v1/health") == [200] * 4
    told = client.get("/v1/people", headers={"Authorization": "Bearer mv_0_x"})
    problem(told, 401, "key-invalid")
    assert told.headers["www-authenticate"] == "Bearer"
    key_id = tokens["enrol"].split("_")[1]
    assert any(entry.who.startswith(f"key {key_id} request ") for entry in served.audit())
    KeyFile(file.path).remove(key_id)
    left = client.get("/v1/people", headers={"Authorization": f"Bearer {tokens['enrol']}"})
    assert left.status_code == 401


def test_without_keys_pages_of_other_origins_are_not_answered(served: Served) -> None:
    for headers in (
        {"Host": "evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Host": "localhost:8000", "Origin": "http://localhost:9000"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "[::1"},
        {"Host": "127.0.0.1", "Origin": "http://[::1"},
    ):
        problem(served.client.get("/v1/people", headers=headers), 403, "not-local")
    for host in ("127.0.0.1:8000", "127.0.0.2:8000", "[::1]:8000", "localhost"):
        same = {"Host": host, "Origin": f"http://{host}"}
        assert served.client.get("/v1/people", headers=same).status_code == 200
    answer = served.client.get("/v1/people")
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
