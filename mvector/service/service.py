"""The service behind its API: one model, one library, and who may ask how much of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import TypeVar

from mvector.embedding.inference import Inference
from mvector.recognition.judge import OPERATING_POINT_OF
from mvector.recognition.predictor import MVectorPredictor
from mvector.service.allowances import Allowance
from mvector.service.caller import Caller
from mvector.service.diarization import diarize
from mvector.service.errors import RequestError, overloaded
from mvector.service.job_runner import JobRunner, Sparingly
from mvector.service.jobs import Jobs
from mvector.service.keys import KeyFile, Scope
from mvector.service.metrics import Metrics
from mvector.service.micro_batches import MicroBatches
from mvector.service.once import Once
from mvector.service.schemas import Enrolled, Purpose
from mvector.service.settings import ServiceSettings
from mvector.service.work_folder import WorkFolder
from mvector.speakers.audit import acting_for
from mvector.speakers.names import normalise_name

_T = TypeVar("_T")
_CLIPS_OF_A_JOB = 4  # computed at once; clips of requests wait for no more than these


class Service:
    """A model and a library, for many callers at once.

    Args:
        predictor: with a library; its clips are computed in micro-batches from now on.
        settings: the bounds.
        keys: who may ask; ``None``: everybody who reaches it.
        shared: what the processes of one service share; ``None``: there is this one alone.

    Raises:
        LibraryError: the library cannot be used, or is another model's.
    """

    def __init__(
        self,
        predictor: MVectorPredictor,
        settings: ServiceSettings,
        keys: KeyFile | None,
        shared: WorkFolder | None = None,
    ) -> None:
        self.predictor, self.settings, self.keys = predictor, settings, keys
        self.library = predictor.library
        self.library.require_model()
        self.metrics = Metrics()
        self._shared = shared or WorkFolder(Path(mkdtemp(prefix="mvector-")), is_own=True)
        self.enrolments = Once(self._shared, Enrolled)
        self._tries = Allowance(self._shared, "try", settings.max_tries, settings.tries_window_s)
        self._requests = Allowance(self._shared, "request", settings.requests_per_minute, 60.0)
        self._pool = ThreadPoolExecutor(settings.num_threads, thread_name_prefix="request")
        self._under_way = 0
        predictor.encoder.compute_through(self._in_batches)
        self.jobs = Jobs(self._shared, settings)
        recordings = predictor.with_limits(
            replace(predictor.encoder.listening.limits, max_duration_s=settings.max_recording_s)
        )
        self.runner = JobRunner(self.jobs, partial(diarize, recordings))
        recordings.encoder.compute_through(
            lambda inference: Sparingly(inference, _CLIPS_OF_A_JOB, self.runner.check)
        )

    @property
    def login_purpose(self) -> Purpose:
        """The strictest purpose of a verification that the model is calibrated for."""
        known, point = self.predictor.calibration, OPERATING_POINT_OF["login"]
        is_measured = known is not None and getattr(known, f"threshold_{point}") is not None
        return "login" if is_measured else "default"

    async def admit(self, token: str | None, address: str, request_id: str, scope: Scope) -> Caller:
        """Who asks, if they may.

        Raises:
            RequestError: there is no such key, it may not do this, or asks too often.
        """
        if self.keys is None and not self.settings.requests_per_minute:  # nothing is looked up
            return self._admitted(token, address, request_id, scope)
        return await self.aside(lambda: self._admitted(token, address, request_id, scope))

    def _admitted(self, token: str | None, address: str, request_id: str, scope: Scope) -> Caller:
        who = f"address {address}"
        if self.keys is not None:
            key = self.keys.find(token or "")
            if key is None:
                raise RequestError(
                    "Give a key that is valid: Authorization: Bearer mv_….",
                    code="key-invalid",
                    status=401,
                )
            if not key.may(scope):
                raise RequestError(
                    f"This key may {key.scope}, and this needs the scope {scope}.",
                    code="scope-too-small",
                    status=403,
                )
            who = f"key {key.id}"
        wait_s = self._requests.take(who)
        if wait_s:
            raise RequestError(
                f"More than {self.settings.requests_per_minute} requests in a minute; wait.",
                code="too-many-requests",
                status=429,
                retry_after_s=wait_s,
            )
        return Caller(who, request_id)

    async def aside(self, work: Callable[[], _T]) -> _T:
        """Something with the small database, as :meth:`WorkFolder.aside` does it."""
        return await self._shared.aside(work)

    async def run(self, caller: Caller, work: Callable[[], _T]) -> _T:
        """Do something in a thread; what it writes into the audit names the caller.

        Raises:
            RequestError: too much is under way already.
        """
        if self._under_way >= self.settings.max_waiting:
            raise overloaded()
        self._under_way += 1
        self.metrics.waiting.inc()
        try:
            return await self.compute(caller, work)
        finally:
            self._under_way -= 1
            self.metrics.waiting.dec()

    async def compute(self, caller: Caller, work: Callable[[], _T]) -> _T:
        """As :meth:`run`, for callers whose number is bounded otherwise."""

        def audited() -> _T:
            with acting_for(str(caller)):
                return work()

        return await asyncio.get_running_loop().run_in_executor(self._pool, audited)

    @asynccontextmanager
    async def one_try(self, name: str, same: Callable[[], bool | None]) -> AsyncIterator[None]:
        """Within the block, somebody tries to be verified as a person.

        The try is counted before it is one, as several may come at once. A success lets all be
        forgotten.

        Args:
            name: the person's.
            same: whether it was this person, when the block ends; ``None``: it was no try.

        Raises:
            RequestError: there were too many that failed.
        """
        who = normalise_name(name)
        wait_s = await self.aside(lambda: self._tries.take(who))
        if wait_s:
            raise RequestError(
                "This person failed to be verified too often; wait.",
                code="too-many-tries",
                status=429,
                retry_after_s=wait_s,
            )
        try:
            yield
        finally:
            succeeded = same()
            if succeeded is None:
                await self.aside(lambda: self._tries.give_back(who))
            elif succeeded:
                await self.aside(lambda: self._tries.forget(who))

    def close(self) -> None:
        """End what is under way, and close the library."""
        self.runner.close()
        self._pool.shutdown()
        self._batches.close()
        self.library.close()
        self._shared.close()

    def _in_batches(self, inference: Inference) -> Inference:
        self._batches = MicroBatches(
            inference, self.settings.batch_size, self.settings.batch_wait_s, self.metrics.batch
        )
        return self._batches
