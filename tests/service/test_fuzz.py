"""Requests drawn from the OpenAPI document: whatever they hold, the answer is a documented one."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from served import Clips, Served

hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed")
given, settings, st = hypothesis.given, hypothesis.settings, hypothesis.strategies

CASES = 60
_TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)


def operations(document: dict[str, Any]) -> list[tuple[str, str, list[str], set[str]]]:
    """Method, path, parameters and statuses of each operation."""
    return [
        (
            method,
            path,
            [own["name"] for own in operation.get("parameters", []) if own["in"] == "query"],
            set(operation["responses"]),
        )
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_every_answer_is_documented_and_none_is_a_failure_of_the_service(
    served: Served, clips: Clips
) -> None:
    served.client.post("/v1/people/Ada/clips", files={"file": clips["a1"]})
    known = operations(served.client.get("/v1/openapi.json").json())
    kinds = st.sampled_from(
        ["application/json", "audio/wav", "multipart/form-data; boundary=b", ""]
    )
    values = st.sampled_from(["", "1", "-1", "nan", "1e400", "login", "Ada", "\0"]) | _TEXT

    @settings(max_examples=CASES, deadline=None, derandomize=True, database=None)
    @given(data=st.data())
    def ask(data: Any) -> None:
        method, path, parameters, statuses = data.draw(st.sampled_from(known))
        name = data.draw(st.sampled_from(["Ada", "..", "a/b", "%", "\0"]) | _TEXT)
        names = st.sampled_from([*parameters, "unknown"])
        query = data.draw(st.dictionaries(names, values, max_size=3))
        request: dict[str, Any] = {"params": query}
        how = data.draw(st.sampled_from(["json", "content", "files", "nothing"]))
        if how == "json":
            fields = st.sampled_from(["file", "file1", "file2", "groups", "metadata", "x"])
            request["content"] = _dumps(data.draw(st.dictionaries(fields, _JSON) | _JSON))
            request["headers"] = {"content-type": "application/json"}
        elif how == "content":
            request["content"] = data.draw(st.binary(max_size=200))
            request["headers"] = {"content-type": data.draw(kinds)}
        elif how == "files":
            fields = st.sampled_from(["file", "file1", "file2", "x"])
            drawn = data.draw(st.dictionaries(fields, st.binary(max_size=100), max_size=3))
            request["files"] = {**drawn, "file": clips["a2"]} if data.draw(st.booleans()) else drawn
        place = re.sub(r"\{\w+\}", lambda _: quote(name, safe=""), path)
        answer = served.client.request(method, place, **request)
        status = str(answer.status_code)
        assert status in statuses or status[0] + "XX" in statuses or status in ("404", "405")
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["code"] != "internal"

    ask()
    assert served.client.get("/v1/ready").status_code == 200


def test_whatever_a_stream_begins_with_it_is_heard_or_refused_in_words(served: Served) -> None:
    fields = st.sampled_from(["rate", "key", "within", "person", "hop_s", "x"])
    values = st.sampled_from([16000, "16000", 1e400, -1, "", [], ["a"], None, {}]) | _JSON
    texts = st.dictionaries(fields, values, max_size=3).map(_dumps).map(bytes.decode) | _TEXT
    messages = texts | st.binary(max_size=50)

    @settings(max_examples=CASES, deadline=None, derandomize=True, database=None)
    @given(query=st.dictionaries(fields, _TEXT, max_size=2), sent=st.lists(messages, max_size=3))
    def stream(query: dict[str, str], sent: list[str | bytes]) -> None:
        place = f"ws://localhost/v1/stream?{urlencode(query)}"
        with served.client.websocket_connect(place) as socket:
            for message in [*sent, '{"type": "end"}', '{"type": "end"}']:
                if isinstance(message, str):
                    socket.send_text(message)
                else:
                    socket.send_bytes(message)
            told = socket.receive_json()
            while told["type"] not in ("end", "problem"):
                told = socket.receive_json()
            assert told["type"] == "end" or 400 <= told["status"] < 500, told

    stream()
    assert served.client.get("/v1/ready").status_code == 200


def _dumps(value: Any) -> bytes:
    import json

    return json.dumps(value).encode("utf-8", "surrogatepass")
