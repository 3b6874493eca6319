"""Who spoke when, as a job: made, asked for, cancelled, bounded, and taken over from the dead."""

from __future__ import annotations

import io
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient
from onnx_stand_in import RATE
from served import Clips, Served, Serving, as_wav, enrol, problem

from mvector.service.caller import Caller
from mvector.service.errors import RequestError
from mvector.service.job_runner import JobRunner, Sparingly
from mvector.service.jobs import JobGoneError, Jobs, new_id
from mvector.service.keys import KeyFile
from mvector.service.settings import ServiceSettings
from mvector.service.work_folder import WorkFolder, new_work_folder

ADA, BOB = Caller("key ada", "r1"), Caller("key bob", "r2")


@pytest.fixture(scope="module")
def talk(clips: Clips) -> bytes:
    """Two people, one behind the other."""
    pause = np.zeros(RATE // 2, np.float32)
    parts = [soundfile.read(io.BytesIO(clips[name]), dtype="float32")[0] for name in ("a2", "b2")]
    return as_wav(np.concatenate([parts[0], pause, parts[1]]))


def ended(client: TestClient, answer: Any, **more: Any) -> dict[str, Any]:
    """A job when it is done or failed."""
    assert answer.status_code == 202, answer.text
    until = time.monotonic() + 120
    while time.monotonic() < until:
        job = client.get(answer.headers["location"], **more).json()
        if job["state"] not in ("queued", "running"):
            return dict(job)
        time.sleep(0.05)
    raise AssertionError("the job does not end")


def recordings(served: Served) -> list[Path]:
    return list(served.service.jobs.recording("x").parent.glob("*.recording"))


def test_a_recording_is_divided_behind_the_answer(
    served: Served, clips: Clips, talk: bytes
) -> None:
    client = served.client
    enrol(client, "Ada Lovelace", clips["a1"])
    query = {"num_speakers": 2, "name": "talk"}
    answer = client.post("/v1/diarize", params=query, files={"file": talk})
    assert answer.json()["state"] in ("queued", "running", "done")
    job = ended(client, answer)
    assert (job["state"], job["progress"], job["problem"]) == ("done", 1.0, None)
    result = job["result"]
    assert (result["recording"], result["duration_s"]) == ("talk", 4.5)
    assert [voice["name"] for voice in result["speakers"]] == ["Ada Lovelace", None]
    assert [turn["speaker"] for turn in result["turns"]] == ["Ada Lovelace", "Speaker 1"]
    assert result["speakers"][0]["quality"]["speech_s"] > 1
    assert "embedding" not in result["speakers"][0]
    assert recordings(served) == []
    assert served.audit()[0].action == "diarization"
    assert f"request {answer.headers['x-request-id']}, " in served.audit()[0].who

    place = answer.headers["location"]
    rttm = client.get(place, params={"format": "rttm"})
    assert rttm.text.startswith("SPEAKER talk 1 0.")
    assert "Ada_Lovelace" in rttm.text
    captions = client.get(place, headers={"Accept": "text/vtt"})
    assert captions.text.startswith("WEBVTT")
    assert captions.headers["content-type"].startswith("text/vtt")
    assert " --> " in client.get(place, params={"format": "srt"}).text
    assert client.delete(place).json()["state"] == "done"
    problem(client.get(place), 404, "job-not-found")


def test_a_recording_may_come_raw_or_as_base64_and_may_be_larger_than_a_clip(
    serving: Serving, talk: bytes
) -> None:
    import base64

    client = serving(max_body_bytes=len(talk) // 2, max_recording_bytes=len(talk)).client
    raw = client.post("/v1/diarize", content=talk, headers={"content-type": "audio/wav"})
    assert ended(client, raw)["state"] == "done"
    told = client.post("/v1/diarize", content=talk + b"x", headers={"content-type": "audio/wav"})
    problem(told, 413, "body-too-large")
    told = client.post("/v1/diarize", json={"file": base64.b64encode(talk).decode()})
    problem(told, 413, "body-too-large")
    short = base64.b64encode(talk[: len(talk) // 4]).decode()
    assert ended(client, client.post("/v1/diarize", json={"file": short}))["state"] == "failed"


def test_what_is_wrong_with_a_recording_is_told_at_once_or_by_the_job(
    serving: Serving, clips: Clips, talk: bytes
) -> None:
    served = serving(max_recording_s=3.0)
    client = served.client
    for request in (
        {"files": [("file", talk), ("file", talk)]},
        {"files": {"flie": talk}},
        {"files": {"file": b""}},
        {"params": {"num_speakers": 0}, "files": {"file": talk}},
        {"params": {"min_speakers": 3, "max_speakers": 2}, "files": {"file": talk}},
        {"params": {"num_speakers": 3, "max_speakers": 2}, "files": {"file": talk}},
    ):
        problem(client.post("/v1/diarize", **request), 400, "request-invalid")  # type: ignore[arg-type]
    problem(client.post("/v1/diarize"), 415, "content-type-unknown")
    long = ended(client, client.post("/v1/diarize", files={"file": talk}))
    assert (long["state"], long["problem"]["code"]) == ("failed", "audio-beyond-limits")
    text = client.post("/v1/diarize", files={"file": clips["text"]})
    told = ended(client, text)["problem"]
    assert told["detail"].startswith("'file' ")
    assert told["request_id"] == text.headers["x-request-id"]
    turns = client.get(text.headers["location"], params={"format": "rttm"})
    problem(turns, 409, "job-not-done")
    assert recordings(served) == []


def held(served: Served) -> threading.Event:
    """Let jobs of a service wait, and tell how far they are, until the event."""
    leave = threading.Event()

    def work(claimed: Any, note: Callable[[float | None], None]) -> dict[str, Any]:
        while not leave.wait(0.01):
            note(0.5)
        raise RequestError("Enough.")

    served.service.runner._work = work
    return leave


def test_a_job_is_cancelled_and_its_recording_deleted(serving: Serving, talk: bytes) -> None:
    served = serving(max_jobs_each=2)
    client, leave = served.client, held(served)
    first, second = (client.post("/v1/diarize", files={"file": talk}) for _ in range(2))
    while client.get(first.headers["location"]).json()["progress"] != 0.5:
        time.sleep(0.01)
    assert client.get(second.headers["location"]).json()["state"] == "queued"
    busy = client.post("/v1/diarize", files={"file": talk})
    problem(busy, 429, "too-many-jobs")
    assert busy.headers["retry-after"] == "10"
    assert "mvector_jobs 2.0" in client.get("/metrics").text
    assert len(recordings(served)) == 2
    assert client.delete(first.headers["location"]).json()["state"] == "running"
    problem(client.get(first.headers["location"]), 404, "job-not-found")
    while client.get(second.headers["location"]).json()["state"] != "running":
        time.sleep(0.01)
    assert len(recordings(served)) == 1
    leave.set()
    assert ended(client, second)["problem"]["detail"] == "Enough."


def test_a_job_is_seen_by_its_key_alone_and_all_keys_share_the_places(
    serving: Serving, talk: bytes, tmp_path: Path
) -> None:
    file = KeyFile(tmp_path / "keys.json", must_exist=False)
    ada, bob = ({"Authorization": f"Bearer {file.add(name, 'read')}"} for name in ("ada", "bob"))
    served = serving(keys=file, max_jobs=1)
    client, leave = served.client, held(served)
    assert client.post("/v1/diarize", files={"file": talk}).status_code == 401
    own = client.post("/v1/diarize", files={"file": talk}, headers=ada)
    problem(client.post("/v1/diarize", files={"file": talk}, headers=bob), 503, "overloaded")
    place = own.headers["location"]
    problem(client.get(place, headers=bob), 404, "job-not-found")
    problem(client.delete(place, headers=bob), 404, "job-not-found")
    leave.set()
    assert ended(client, own, headers=ada)["state"] == "failed"


def test_a_service_that_cannot_find_speech_says_so_at_once(
    served: Served, talk: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("service.diarization", "diarization.hearing"):
        monkeypatch.setattr(f"mvector.{place}.find_spec", lambda name: None)
    answer = served.client.post("/v1/diarize", files={"file": talk})
    problem(answer, 501, "diarization-unavailable")


# ---- several processes, and what a killed one leaves ---------------------------------------------


def submitted(jobs: Jobs, caller: Caller) -> str:
    job = new_id()
    jobs.reserve(caller, job)
    jobs.recording(job).write_bytes(b"x")
    jobs.submit(job, {"num_speakers": 2})
    return job


def test_another_process_does_what_a_dead_one_had_begun(tmp_path: Path) -> None:
    one, two = WorkFolder(tmp_path), WorkFolder(tmp_path)
    settings = ServiceSettings()
    jobs, others = Jobs(one, settings), Jobs(two, settings)
    first, second = (submitted(jobs, caller) for caller in (ADA, BOB))
    arriving = new_id()
    jobs.reserve(ADA, arriving)
    jobs.recording(arriving).write_bytes(b"half")
    for _ in range(3):
        claimed = jobs.claim()
        assert claimed is not None
        assert (claimed.id, claimed.options, claimed.is_hopeless) == (
            *(first, {"num_speakers": 2}),
            False,
        )
        others.tidy()
        assert others.get(ADA.who, first).state == "running"
        one.close()  # as the system does for a process that is killed
        others.tidy()
        assert others.get(ADA.who, first).state == "queued"
        assert not others.recording(arriving).exists()
        one = WorkFolder(tmp_path)
        jobs = Jobs(one, settings)
    claimed = others.claim()
    assert claimed is not None
    assert claimed.is_hopeless
    others.finish(first, "failed", {"code": "internal"})
    claimed = jobs.claim()
    assert claimed is not None
    assert (claimed.id, claimed.caller) == (second, BOB)
    others.finish(second, "done", {})  # it is not that process's
    assert jobs.get(BOB.who, second).state == "running"
    one.close()
    two.close()


def test_results_are_kept_for_a_while_and_not_too_many(tmp_path: Path) -> None:
    shared = WorkFolder(tmp_path)
    jobs = Jobs(shared, ServiceSettings(max_results=1, job_kept_s=100.0, max_jobs_each=9))
    ids = [submitted(jobs, caller) for caller in (ADA, ADA, BOB)]
    for job in ids:
        claimed = jobs.claim()
        assert claimed is not None
        jobs.finish(job, "done", {"turns": []})
    jobs.tidy()
    with pytest.raises(RequestError, match="no such job"):
        jobs.get(ADA.who, ids[0])
    assert jobs.get(ADA.who, ids[1]).answer == {"turns": []}
    with shared.transaction() as database:
        database.execute("UPDATE jobs SET at = at - 101 WHERE id = ?", (ids[1],))
    jobs.tidy()
    with pytest.raises(RequestError, match="no such job"):
        jobs.get(ADA.who, ids[1])
    assert jobs.get(BOB.who, ids[2]).state == "done"
    shared.close()


def test_nothing_of_a_result_is_left_in_the_files_of_the_database(tmp_path: Path) -> None:
    def is_left() -> bool:
        return any(b"a secret" in file.read_bytes() for file in tmp_path.glob("state.db*"))

    shared, other = WorkFolder(tmp_path), WorkFolder(tmp_path)
    jobs = Jobs(shared, ServiceSettings(job_kept_s=100.0))

    def finished() -> str:
        job = submitted(jobs, ADA)
        jobs.claim()
        jobs.finish(job, "done", {"note": "a secret " * 1000})
        assert is_left()
        return job

    jobs.remove(ADA.who, finished())
    assert not is_left()
    too_old = finished()
    with other.transaction() as database:
        database.execute("UPDATE jobs SET at = at - 101 WHERE id = ?", (too_old,))
    jobs.tidy()
    assert not is_left()
    shared.close()
    other.close()


def test_a_process_that_stops_puts_its_job_back(tmp_path: Path) -> None:
    shared = WorkFolder(tmp_path)
    jobs = Jobs(shared, ServiceSettings())
    begun = threading.Event()

    def work(claimed: Any, note: Callable[[float | None], None]) -> dict[str, Any]:
        while True:
            note(0.1)
            begun.set()

    job = submitted(jobs, ADA)
    runner = JobRunner(jobs, work)
    assert begun.wait(60)
    runner.close()
    assert jobs.get(ADA.who, job).state == "queued"
    assert jobs.recording(job).exists()
    shared.close()


def test_a_job_whose_end_cannot_be_written_down_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = WorkFolder(tmp_path)
    jobs = Jobs(shared, ServiceSettings())
    failures, finish = [sqlite3.OperationalError("database or disk is full")], jobs.finish

    def finish_later(*arguments: Any) -> None:
        if failures:
            raise failures.pop()
        finish(*arguments)

    monkeypatch.setattr(jobs, "finish", finish_later)
    monkeypatch.setattr("mvector.service.job_runner._LOOK_EVERY_S", 0.01)
    job = submitted(jobs, ADA)
    runner = JobRunner(jobs, lambda claimed, note: {"turns": []})
    until = time.monotonic() + 60
    while jobs.get(ADA.who, job).state != "done":
        assert time.monotonic() < until
        time.sleep(0.01)
    runner.close()
    shared.close()


def test_the_folder_of_a_killed_service_is_deleted_and_that_of_a_running_one_kept(
    tmp_path: Path,
) -> None:
    killed, lock = new_work_folder(tmp_path / "service")
    (killed / "x.recording").write_bytes(b"x")
    lock.release()  # as the system does
    running, lock = new_work_folder(tmp_path / "service")
    assert not killed.exists()
    other, other_lock = new_work_folder(tmp_path / "service")
    assert running.exists()
    assert other != running
    lock.release()
    other_lock.release()


def test_jobs_compute_a_few_clips_at_once_and_stop_between_them() -> None:
    sizes, stopped = [], threading.Event()

    class Inference:
        fingerprint = "x"

        def evaluation_mode(self) -> Any:
            raise NotImplementedError

        def begin(self, clips: list[np.ndarray]) -> Callable[[], np.ndarray]:
            sizes.append(len(clips))
            return lambda: np.stack([clip[:1] for clip in clips])

    def check() -> None:
        if stopped.is_set():
            raise JobGoneError

    sparingly = Sparingly(Inference(), 2, check)
    waiting = sparingly.begin([np.full(3, float(k)) for k in range(5)])
    assert sizes == []
    assert waiting()[:, 0].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert sizes == [2, 2, 1]
    stopped.set()
    with pytest.raises(JobGoneError):
        sparingly.begin([np.zeros(3)])()
