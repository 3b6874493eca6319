"""Long work that is done behind the answer: what waits, what is done, and for whom."""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mvector.service.caller import Caller
from mvector.service.errors import RequestError, overloaded
from mvector.service.schemas import State
from mvector.service.settings import ServiceSettings
from mvector.service.work_folder import WorkFolder

_AGAIN_S = 10.0  # after which it is worth another try
_MOST_STARTS = 3  # a recording that ends its process so often is not tried again
_UNFINISHED = "('arriving', 'queued', 'running')"
_FINISHED = "('done', 'failed')"


@dataclass(frozen=True)
class Job:
    """A job as its owner sees it.

    Attributes:
        id: cannot be guessed.
        state: where it is.
        progress: how much is done, from 0 to 1; ``None``: not known.
        answer: of one that is done, its result; of a failed one, why.
    """

    id: str
    state: State
    progress: float | None
    answer: dict[str, Any] | None


@dataclass(frozen=True)
class Claimed:
    """A job that this process works on.

    Attributes:
        id: of the job.
        caller: who made it.
        recording: the file.
        options: what was asked.
        is_hopeless: it has ended its process too often.
    """

    id: str
    caller: Caller
    recording: Path
    options: dict[str, Any]
    is_hopeless: bool


class JobGoneError(Exception):
    """Nobody wants the result any more, or this process is to stop."""


def new_id() -> str:
    """An id for a job, which cannot be guessed."""
    return secrets.token_hex(16)


class Jobs:
    """Jobs of all processes of a service. A job belongs to who made it, and nobody else sees it.

    A job exists as long as its row does: to remove the row is to cancel it, and the recording goes
    with it.
    """

    def __init__(self, shared: WorkFolder, settings: ServiceSettings) -> None:
        self._shared, self._settings = shared, settings

    def reserve(self, caller: Caller, job: str) -> None:
        """Keep a place for a recording that is about to arrive, as a job of a new id.

        Raises:
            RequestError: there are too many, of this caller or of all.
        """
        with self._shared.transaction() as database:
            query = f"SELECT count(*), total(who = ?) FROM jobs WHERE state IN {_UNFINISHED}"
            of_all, own = database.execute(query, (caller.who,)).fetchone()
            if own >= self._settings.max_jobs_each:
                raise RequestError(
                    f"{own:.0f} recordings of yours are not done yet; wait, or cancel one.",
                    code="too-many-jobs",
                    status=429,
                    retry_after_s=_AGAIN_S,
                )
            if of_all >= self._settings.max_jobs:
                raise overloaded(_AGAIN_S)
            database.execute(
                "INSERT INTO jobs (id, who, request_id, state, at, worker) "
                "VALUES (?, ?, ?, 'arriving', ?, ?)",
                (job, caller.who, caller.request_id, time.time(), self._shared.worker),
            )

    def recording(self, job: str) -> Path:
        """Where the recording of a job lies."""
        return self._shared.folder / f"{job}.recording"

    def submit(self, job: str, options: dict[str, Any]) -> None:
        """Let a job be done, whose recording is there."""
        with self._shared.transaction() as database:
            database.execute(
                "UPDATE jobs SET state = 'queued', worker = NULL, options = ? WHERE id = ?",
                (json.dumps(options), job),
            )

    def get(self, who: str, job: str) -> Job:
        """A job of a caller.

        Raises:
            RequestError: it has none of this id.
        """
        with self._shared.transaction() as database:
            query = "SELECT state, progress, answer FROM jobs WHERE id = ? AND who = ?"
            row = database.execute(query, (job, who)).fetchone()
        if row is None or row[0] == "arriving":
            raise RequestError(
                "There is no such job of yours: results are kept for a while only.",
                code="job-not-found",
                status=404,
            )
        return Job(job, row[0], row[1], None if row[2] is None else json.loads(row[2]))

    def remove(self, who: str, job: str) -> Job:
        """Cancel a job, or forget its result; gives what it was.

        Raises:
            RequestError: there is none of this id.
        """
        found = self.get(who, job)
        self.drop(job)
        return found

    def drop(self, job: str) -> None:
        """Leave nothing of a job."""
        with self._shared.transaction() as database:
            database.execute("DELETE FROM jobs WHERE id = ?", (job,))
        self._delete_recording(job)
        with suppress(sqlite3.OperationalError):  # such as a full disk; tidy() comes again
            self._shared.erase_deleted()

    def count(self) -> int:
        """How many are not done yet."""
        with self._shared.transaction() as database:
            query = f"SELECT count(*) FROM jobs WHERE state IN {_UNFINISHED}"
            return int(database.execute(query).fetchone()[0])

    # ---- for who does them -------------------------------------------------------------------

    def claim(self) -> Claimed | None:
        """The job that has waited longest, from now on this process's."""
        with self._shared.transaction() as database:
            row = database.execute(
                "SELECT id, who, request_id, options, starts FROM jobs WHERE state = 'queued' "
                "ORDER BY at LIMIT 1"
            ).fetchone()
            if row is None:
                return None
            job, who, request_id, options, starts = row
            database.execute(
                "UPDATE jobs SET state = 'running', worker = ?, starts = starts + 1, progress = 0 "
                "WHERE id = ?",
                (self._shared.worker, job),
            )
        caller, recording = Caller(who, request_id), self.recording(job)
        return Claimed(job, caller, recording, json.loads(options), starts >= _MOST_STARTS)

    def note(self, job: str, progress: float | None) -> None:
        """Tell how far it is.

        Raises:
            JobGoneError: it was cancelled.
        """
        with self._shared.transaction() as database:
            query = "UPDATE jobs SET progress = ? WHERE id = ? AND worker = ?"
            if not database.execute(query, (progress, job, self._shared.worker)).rowcount:
                raise JobGoneError

    def finish(self, job: str, state: State, answer: dict[str, Any]) -> None:
        """Keep the answer of a job of this process, unless it was cancelled; its recording goes."""
        text = json.dumps(answer, ensure_ascii=False)
        with self._shared.transaction() as database:
            database.execute(
                "UPDATE jobs SET state = ?, answer = ?, progress = ?, worker = NULL, at = ? "
                "WHERE id = ? AND worker = ?",
                (state, text, float(state == "done"), time.time(), job, self._shared.worker),
            )
        self._delete_recording(job)

    def put_back(self) -> None:
        """Let any process do what this one does no more, if there is a job that has not ended."""
        with self._shared.transaction() as database:
            _put_back(database, self._shared.worker)

    def tidy(self) -> None:
        """Put back what dead processes worked on, and forget what is too old."""
        with self._shared.transaction() as database:
            query = "SELECT DISTINCT worker FROM jobs WHERE worker IS NOT NULL"
            workers = [worker for (worker,) in database.execute(query)]
            for worker in workers:
                if not self._shared.is_alive(worker):
                    query = "DELETE FROM jobs WHERE worker = ? AND state = 'arriving'"
                    database.execute(query, (worker,))
                    _put_back(database, worker)
            oldest = time.time() - self._settings.job_kept_s
            database.execute(f"DELETE FROM jobs WHERE state IN {_FINISHED} AND at < ?", (oldest,))
            database.execute(
                "DELETE FROM jobs WHERE id IN (SELECT id FROM (SELECT id, row_number() OVER "
                f"(PARTITION BY who ORDER BY at DESC) AS place FROM jobs WHERE state IN {_FINISHED}"
                ") WHERE place > ?)",
                (self._settings.max_results,),
            )
            kept = {job for (job,) in database.execute("SELECT id FROM jobs")}
            for file in self._shared.folder.glob("*.recording"):
                if file.stem not in kept:
                    self._delete_recording(file.stem)
        self._shared.erase_deleted()

    def _delete_recording(self, job: str) -> None:
        with suppress(PermissionError):  # Windows keeps what is open; tidy() comes again
            self.recording(job).unlink(missing_ok=True)


def _put_back(database: sqlite3.Connection, worker: str) -> None:
    database.execute(
        "UPDATE jobs SET state = 'queued', worker = NULL, progress = NULL "
        "WHERE worker = ? AND state = 'running'",
        (worker,),
    )
