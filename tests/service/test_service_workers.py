"""Several processes as one service: what they share, and one of them that is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
import urllib.error
import urllib.request
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import pytest
from served import Clips, Served, Serving, enrol, problem, served_process

from mvector.service.allowances import Allowance
from mvector.service.caller import Caller
from mvector.service.errors import RequestError
from mvector.service.once import Once
from mvector.service.schemas import Removed
from mvector.service.work_folder import WorkFolder

ADA = Caller("key ada", "r1")


def test_events_are_counted_for_all_processes_together(tmp_path: Path) -> None:
    one, two = WorkFolder(tmp_path), WorkFolder(tmp_path)
    first, second = (Allowance(shared, "try", 2, 100.0) for shared in (one, two))
    assert [first.take("Ada"), second.take("Ada")] == [0, 0]
    assert 90 < first.take("Ada") <= 100
    second.forget("Ada")
    assert first.take("Ada") == 0
    one.close()
    two.close()


def test_the_event_loop_never_waits_for_the_database(
    served: Served, clips: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow disk would stop every client."""
    asked: list[str] = []
    transaction = WorkFolder.transaction

    def noted(shared: WorkFolder) -> AbstractContextManager[Any]:
        asked.append(threading.current_thread().name)
        with suppress(RuntimeError):
            asyncio.get_running_loop()
            asked.append("the event loop")
        return transaction(shared)

    monkeypatch.setattr(WorkFolder, "transaction", noted)
    client = served.client
    assert enrol(client, "Ada", clips["a1"], headers={"Idempotency-Key": "k"}).status_code == 201
    for clip in ("a2", "b1", "text"):  # a success, a failure and no try
        client.post("/v1/verify/Ada", files={"file": clips[clip]})
    job = client.post("/v1/diarize", files={"file": clips["a1"]}).headers["location"]
    assert client.get(job).status_code == client.delete(job).status_code == 200
    assert client.get("/metrics").status_code == 200
    with client.websocket_connect("ws://localhost/v1/stream?rate=16000&person=Ada") as socket:
        socket.receive_json()
    assert len(asked) > 12
    assert "the event loop" not in asked


def test_what_was_asked_of_the_database_is_done_though_nobody_waits_any_more(
    tmp_path: Path,
) -> None:
    """So that what is asked next, such as to drop it, comes behind it."""
    shared, done, leave = WorkFolder(tmp_path, is_own=True), list[str](), threading.Event()

    async def ask() -> None:
        first = asyncio.ensure_future(shared.aside(lambda: leave.wait(60)))
        second = asyncio.ensure_future(shared.aside(lambda: done.append("reserved")))
        await asyncio.sleep(0)
        second.cancel()
        leave.set()
        await shared.aside(lambda: done.append("dropped"))
        assert first.done()

    asyncio.run(ask())
    assert done == ["reserved", "dropped"]
    shared.close()


def test_a_request_is_done_once_whichever_process_gets_it(tmp_path: Path) -> None:
    one, two = WorkFolder(tmp_path), WorkFolder(tmp_path)
    here, there = Once(one, Removed), Once(two, Removed)
    done: list[list[Caller]] = []

    async def work(before: list[Caller]) -> Removed:
        done.append(before)
        await asyncio.sleep(0.2)
        return Removed(name="Ada", num_clips=len(done))

    async def fail(before: list[Caller]) -> Removed:
        raise RequestError("No.")

    async def ask() -> None:
        both = (once.do(ADA, "k", "digest", work) for once in (here, there))
        answers = await asyncio.gather(*both)
        assert answers[0] == answers[1] == Removed(name="Ada", num_clips=1)
        assert done == [[]]
        with pytest.raises(RequestError, match="other content"):
            await there.do(ADA, "k", "another", work)
        with pytest.raises(RequestError, match="No"):
            await here.do(ADA, "k2", "digest", fail)
        assert (await there.do(ADA, "k2", "digest", work)).num_clips == 2

    asyncio.run(ask())
    one.close()
    two.close()


def test_a_request_whose_process_was_killed_is_done_by_another_one(tmp_path: Path) -> None:
    async def never(before: list[Caller]) -> Removed:
        begun.set()
        await asyncio.sleep(600)
        raise AssertionError

    async def work(before: list[Caller]) -> Removed:
        assert before == [ADA]
        return Removed(name="Ada", num_clips=1)

    begun = asyncio.Event()

    async def ask() -> None:
        killed, other = WorkFolder(tmp_path), WorkFolder(tmp_path)
        lost = asyncio.ensure_future(Once(killed, Removed).do(ADA, "k", "digest", never))
        await begun.wait()
        killed._alive.release()  # as the system does
        again = Caller(ADA.who, "r2")
        assert (await Once(other, Removed).do(again, "k", "digest", work)).num_clips == 1
        lost.cancel()
        other.close()

    asyncio.run(ask())


def test_clips_that_a_killed_process_enrolled_are_not_enrolled_again(
    served: Served, clips: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are counted, and the audit is not read for it, which may be long."""
    monkeypatch.setattr(served.service.library, "audit_log", None)

    def ask(request_id: str) -> list[int]:
        headers = {"Idempotency-Key": "k", "X-Request-ID": request_id}
        answer = enrol(
            served.client, "Ada", clips["blip"], clips["a1"], clips["a2"], headers=headers
        )
        assert answer.status_code == 201
        assert [one["clip"] for one in answer.json()["refused"]] == [1]
        return [one["clip"] for one in answer.json()["enrolled"]]

    assert ask("r1") == [2, 3]
    with served.service._shared.transaction() as database:  # as if it had not come to answering
        database.execute("UPDATE answers SET answer = NULL, worker = 'dead'")
    assert ask("r2") == [2, 3]
    assert served.service.library.person("Ada").num_clips == 2
    assert ask("r3") == [2, 3]


def test_enrolments_of_a_client_with_one_request_id_are_told_apart(
    served: Served, clips: Clips
) -> None:
    """A killed one that is sent again must not take the clips of an earlier one for its own."""
    for clip in ("a1", "a2"):
        headers = {"Idempotency-Key": clip, "X-Request-ID": "always"}
        answer = enrol(served.client, "Ada", clips[clip], headers=headers)
        assert answer.headers["X-Request-ID"] == "always"
    entries = served.service.library.audit_log(10)
    who = {entry.who.partition(", ")[0] for entry in entries if entry.action == "register"}
    assert len(who) == 2
    assert all(" request always." in one for one in who)


def test_requests_of_a_minute_are_counted_together(serving: Serving, tmp_path: Path) -> None:
    one, two = WorkFolder(tmp_path), WorkFolder(tmp_path)
    first, second = (serving(shared=own, requests_per_minute=1) for own in (one, two))
    assert first.client.get("/v1/people").status_code == 200
    problem(second.client.get("/v1/people"), 429, "too-many-requests")


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="asks /proc for the processes")
def test_a_killed_process_is_started_again_and_nothing_acknowledged_is_lost(
    tmp_path: Path, model: Path, clips: Clips
) -> None:
    service = served_process(model, tmp_path, "--workers", "2")
    assert service.stdout is not None
    address = service.stdout.readline().split()[1]

    def workers() -> list[int]:
        """Ids of the processes that answer."""
        file = Path(f"/proc/{service.pid}/task/{service.pid}/children")
        found = [int(pid) for pid in file.read_text().split()]
        return [pid for pid in found if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    def ask(path: str, data: bytes | None = None, **headers: str) -> str:
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(f"{address}{path}", data, headers)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return str(answer.read().decode())

    try:
        ask("/v1/ready")
        enrolled = 0
        for _ in range(2):
            before = workers()
            assert len(before) == 2
            ask(f"/v1/people/Person%20{enrolled}/clips", clips["a1"], Content_Type="audio/wav")
            enrolled += 1
            os.kill(before[0], signal.SIGKILL)
            until = time.monotonic() + 120
            while before[0] in workers() or len(workers()) < 2:
                assert time.monotonic() < until
                time.sleep(0.1)
        for _ in range(4):
            assert ask("/v1/people").count("Person") == enrolled
        assert 'route="/v1/people",status="200"} 4.0' in ask("/metrics")
    finally:
        service.send_signal(signal.SIGTERM)
        _, warned = service.communicate(timeout=120)
    assert warned.count("\n") == 1, warned  # that there are no keys
    assert [path.name for path in (tmp_path / "home" / "service").iterdir()] == ["starting.lock"]
