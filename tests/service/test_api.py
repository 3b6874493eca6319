"""What the service answers, by the ways that clips can be sent."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from fastapi.testclient import TestClient
from served import THRESHOLD, Clips, Served, Serving, enrol, problem

from mvector.version import __version__

# ---- questions -----------------------------------------------------------------------------------


def test_two_clips_are_compared_as_the_predictor_compares_them(
    served: Served, clips: Clips
) -> None:
    files = {"file1": clips["a1"], "file2": clips["a2"]}
    answer = served.client.post("/v1/compare", files=files).json()
    score = served.service.predictor.contrast(clips["a1"], clips["a2"])
    assert answer["score"] == pytest.approx(score, abs=1e-6)
    assert (answer["answer"], answer["threshold"]) == ("same", THRESHOLD)
    assert answer["threshold_source"] == "given"
    assert [own["duration_s"] for own in answer["quality"]] == [2.0, 2.0]
    files["file2"] = clips["b1"]
    assert served.client.post("/v1/compare", files=files).json()["answer"] == "different"


def test_a_clip_may_come_as_multipart_raw_or_base64(client: TestClient, clips: Clips) -> None:
    text = base64.b64encode(clips["a1"]).decode()
    answers = [
        client.post("/v1/embed", files={"file": clips["a1"]}),
        client.post("/v1/embed", content=clips["a1"], headers={"content-type": "audio/wav"}),
        client.post("/v1/embed", json={"file": text}),
    ]
    assert [answer.status_code for answer in answers] == [200] * 3
    first, *others = [answer.json() for answer in answers]
    assert len(first["embedding"]) == 16
    assert others == [first, first]
    plain = client.post("/v1/embed?quality=false", files={"file": clips["a1"]}).json()
    assert plain == {**first, "quality": None}
    both = {"file1": text, "file2": text}
    assert client.post("/v1/compare", json=both).json()["score"] == pytest.approx(1.0)


def test_people_are_enrolled_recognised_listed_changed_and_forgotten(
    client: TestClient, clips: Clips
) -> None:
    answer = enrol(client, "Ada", clips["a1"], params={"groups": ["staff"]})
    assert answer.status_code == 201
    assert answer.json()["enrolled"][0]["clip"] == 1
    enrol(client, "Bob", clips["b1"])

    found = client.post("/v1/identify", params={"top_k": 2}, files={"file": clips["a2"]}).json()
    assert (found["name"], found["num_people"]) == ("Ada", 2)
    assert [one["name"] for one in found["candidates"]] == ["Ada", "Bob"]
    within = {"params": {"within": "staff"}, "files": {"file": clips["b2"]}}
    stranger = client.post("/v1/identify", **within).json()
    assert (stranger["name"], stranger["answer"]) == (None, "different")

    change = {"groups": ["guests"], "metadata": {"id": 7}}
    assert client.patch("/v1/people/Ada", json=change).json()["metadata"] == {"id": 7}
    person = client.get("/v1/people/Ada").json()
    assert (person["groups"], person["num_clips"]) == (["guests"], 1)
    page = client.get("/v1/people", params={"limit": 1}).json()
    assert ([one["name"] for one in page["people"]], page["next_after"]) == (["Ada"], "Ada")
    rest = client.get("/v1/people", params={"after": "Ada", "limit": 5}).json()
    assert ([one["name"] for one in rest["people"]], rest["next_after"]) == (["Bob"], None)

    assert client.delete("/v1/people/Ada").json() == {"name": "Ada", "num_clips": 1}
    problem(client.get("/v1/people/Ada"), 404, "speaker-not-found")
    assert client.get("/v1/ready").json()["num_people"] == 1


def test_a_person_is_verified(client: TestClient, clips: Clips) -> None:
    enrol(client, "Ada", clips["a1"])
    files = [("file", clips["a2"]), ("file", clips["a1"])]
    answer = client.post("/v1/verify/Ada", files=files).json()
    assert (answer["verified"], answer["num_clips"]) == (True, 2)
    assert "synthetic voices are not detected" in answer["warning"]
    other = client.post("/v1/verify/Ada", files={"file": clips["b1"]}).json()
    assert (other["verified"], other["answer"]) == (False, "different")


def test_a_login_can_ask_for_more_than_a_clip(client: TestClient, clips: Clips) -> None:
    enrol(client, "Ada", clips["a1"])
    files = {"file": clips["a2"]}
    few = client.post("/v1/verify/Ada", params={"min_clips": 2}, files=files)
    problem(few, 422, "too-few-clips")
    little = client.post("/v1/verify/Ada", params={"min_speech_s": 60}, files=files)
    assert "60 s are asked for" in problem(little, 422, "audio-too-little-speech")["detail"]


def test_tries_are_counted_until_one_succeeds(serving: Serving, clips: Clips) -> None:
    client = serving(max_tries=2, tries_window_s=100.0).client
    enrol(client, "Ada", clips["a1"])

    def verify(clip: str) -> Any:
        return client.post("/v1/verify/Ada", files={"file": clips[clip]})

    assert [verify(clip).status_code for clip in ("b1", "silence", "a2")] == [200, 422, 200]
    assert [verify("b1").status_code for _ in range(2)] == [200, 200]
    told = verify("a2")
    problem(told, 429, "too-many-tries")
    assert 90 <= int(told.headers["retry-after"]) <= 100


# ---- enrolment -----------------------------------------------------------------------------------


def test_clips_of_bad_quality_are_refused_with_reasons(served: Served, clips: Clips) -> None:
    told = problem(enrol(served.client, "Ada", clips["blip"]), 422, "audio-too-bad")
    assert told["reasons"][0].startswith("only 0.")
    assert "Record it again" in told["cure"]
    assert served.service.library.names() == []
    some = enrol(served.client, "Ada", clips["blip"], clips["a1"], clips["text"])
    assert some.status_code == 201
    assert [one["clip"] for one in some.json()["enrolled"]] == [2]
    refused = {one["clip"]: one["code"] for one in some.json()["refused"]}
    assert refused == {1: "audio-too-bad", 3: "audio-undecodable"}
    none = enrol(served.client, "Bob", clips["blip"], clips["text"])
    assert "1: only 0." in problem(none, 422, "clips-refused")["detail"]


def test_a_request_sent_again_enrols_once(served: Served, clips: Clips) -> None:
    again = {"headers": {"Idempotency-Key": "7f3a"}}
    first, second = (enrol(served.client, "Ada", clips["a1"], **again) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert served.service.library.person("Ada").num_clips == 1
    other = enrol(served.client, "Ada", clips["a2"], **again)
    problem(other, 422, "idempotency-key-reused")
    failed = {"headers": {"Idempotency-Key": "8"}}
    assert enrol(served.client, "Ada", clips["text"], **failed).status_code == 422
    assert enrol(served.client, "Ada", clips["a2"], **failed).status_code == 201


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "x/clips", "艾达", "C:\\x", "-rf"])
def test_a_name_is_data(served: Served, clips: Clips, name: str) -> None:
    from urllib.parse import quote

    path = f"/v1/people/{quote(name, safe='')}"
    answer = served.client.post(f"{path}/clips", files={"file": clips["a1"]})
    assert answer.json()["name"] == name
    assert served.client.get(path).json()["name"] == name
    stored = list(served.service.library.folder.rglob("*.wav"))
    assert [file.parent.parent for file in stored] == [served.service.library.folder]
    assert served.client.delete(path).json()["num_clips"] == 1


# ---- what stands around --------------------------------------------------------------------------


def test_the_audit_names_the_request(served: Served, clips: Clips) -> None:
    enrol(served.client, "Ada", clips["a1"], headers={"X-Request-ID": "call-1"})
    found = served.client.post(
        "/v1/identify", files={"file": clips["a2"]}, headers={"X-Request-ID": "call-2"}
    )
    assert found.headers["x-request-id"] == "call-2"
    served.client.post("/v1/verify/Ada", files={"file": clips["a2"]})
    verified, asked, enrolled = served.audit()
    assert enrolled.who.startswith("address testclient request call-1, ")
    assert (asked.action, asked.name) == ("recognition", "Ada")
    assert " request call-2, " in asked.who
    assert verified.action == "verification: same"


def test_metrics_count_by_route_and_hold_no_name(client: TestClient, clips: Clips) -> None:
    enrol(client, "Ada", clips["a1"])
    text = client.get("/metrics").text
    assert 'mvector_requests_total{route="/v1/people/{name:path}/clips",status="201"} 1.0' in text
    assert "mvector_clips_total 1.0" in text
    assert "mvector_batch_clips_count 1.0" in text
    assert "Ada" not in text


def test_health_is_told(client: TestClient) -> None:
    assert client.get("/v1/health").json() == {"status": "ok"}
    ready = client.get("/v1/ready").json()
    assert (ready["model"], ready["num_people"]) == ("0123456789abcdef", 0)


def test_the_openapi_document_describes_each_route_with_an_example(client: TestClient) -> None:
    document = client.get("/v1/openapi.json").json()
    assert document["info"]["version"] == __version__
    assert set(document["paths"]) == {
        *("/v1/compare", "/v1/identify", "/v1/verify/{name}", "/v1/embed", "/v1/people"),
        *("/v1/people/{name}", "/v1/people/{name}/clips", "/v1/diarize", "/v1/jobs/{job_id}"),
        *("/v1/health", "/v1/ready", "/metrics"),
    }
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation["description"] or operation["summary"]
            if path not in ("/metrics", "/v1/health"):
                good = next(answer for k, answer in operation["responses"].items() if k < "4")
                assert good["content"]["application/json"]["example"], path
            assert "HTTPValidationError" not in str(operation)
    form = document["paths"]["/v1/compare"]["post"]["requestBody"]["content"]
    assert set(form["multipart/form-data"]["schema"]["properties"]) == {"file1", "file2"}


def test_the_page_to_read_has_every_path_and_no_script(client: TestClient) -> None:
    answer = client.get("/v1/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    document = client.get("/v1/openapi.json").json()
    for path, operations in document["paths"].items():
        for method in operations:
            assert f"<h2>{method.upper()} {path}</h2>" in answer.text
    assert "top_k, in the query" in answer.text
    assert "&quot;answer&quot;: &quot;same&quot;" in answer.text
    assert "<script" not in answer.text
