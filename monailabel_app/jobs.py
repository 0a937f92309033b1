"""Who has the device: inference requests that wait or run, how far they are, and their cancelling."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

import anyio.to_thread
from fastapi import HTTPException, Request

from anomalabel.errors import Cancelled, ConfigError

T = TypeVar("T")

POLL_SECONDS = 0.1
RETRY_SECONDS = 30


class Job:
    """One request; its numbers are written by the worker thread and read by the event loop.

    Args:
        withdrawn: asked beside `cancel` whether it is to stop; from both threads.
    """

    def __init__(self, withdrawn: Callable[[], bool] = lambda: False) -> None:
        self.running = False
        self.done = 0
        self.total = 0
        self._cancelled = threading.Event()
        self._withdrawn = withdrawn

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked it to stop."""
        return self._cancelled.is_set() or self._withdrawn()

    def cancel(self) -> None:
        """Ask it to stop at its next report of progress."""
        self._cancelled.set()

    def progress(self, done: int, total: int) -> None:
        """Take note of the progress.

        Raises:
            Cancelled: somebody asked the job to stop.
        """
        self.done, self.total = done, total
        if self.cancelled:
            raise Cancelled


class InferenceQueue:
    """One inference at a time for the device, the others wait, in the order they came, without holding a thread.

    Args:
        maximum_waiting: how many requests may wait behind one that runs; background work is no request.
        loop: the server's event loop.
    """

    def __init__(self, maximum_waiting: int, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._device = asyncio.Semaphore(1)
        self._maximum_waiting = maximum_waiting
        self._requests = 0
        self._named: dict[str, Job] = {}
        self._all: set[Job] = set()

    @property
    def requests(self) -> int:
        """How many requests wait or run; background work is none."""
        return self._requests

    def find(self, request_id: str) -> Job:
        """The job of a request id.

        Raises:
            HTTPException: 404, none of that id waits or runs.
        """
        if request_id not in self._named:
            raise HTTPException(404, f"No request '{request_id}' waits or runs.")
        return self._named[request_id]

    def cancel_all(self) -> None:
        """Ask every job to stop, as at shutdown."""
        for job in self._all:
            job.cancel()

    @contextmanager
    def register(self, request_id: str, withdrawn: Callable[[], bool] = lambda: False) -> Iterator[Job]:
        """A job, findable by its id while the block runs; asked to stop when the block is left.

        Args:
            request_id: chosen by the client; "" for a job that nobody asks about.
            withdrawn: see `Job`.

        Raises:
            ConfigError: another request of that id waits or runs.
        """
        if request_id in self._named:
            raise ConfigError(f"The request id '{request_id}' is in use.", "Choose a new one for each request.")
        job = Job(withdrawn)
        self._all.add(job)
        if request_id:
            self._named[request_id] = job
        try:
            yield job
        finally:
            job.cancel()
            self._all.discard(job)
            self._named.pop(request_id, None)

    async def run(self, job: Job, work: Callable[[], T]) -> T:
        """Wait for the device, then run `work` in a thread.

        Raises:
            Cancelled: the job was cancelled while it waited.
            HTTPException: 503, too many requests wait.
        """
        waiting = self._requests - 1
        if waiting >= self._maximum_waiting:
            raise HTTPException(
                503, f"{waiting} requests wait already. Try again later.", {"Retry-After": str(RETRY_SECONDS)}
            )
        self._requests += 1
        try:
            return await self._in_turn(job, work)
        finally:
            self._requests -= 1

    def submit_behind(self, work: Callable[[Job], T], withdrawn: Callable[[], bool]) -> Future[T]:
        """Wait for the device behind the requests that wait now, then run `work`; for threads of background work.

        A request that comes later waits for this one piece of background work at most.

        Args:
            work: runs in a thread, with its job.
            withdrawn: whether the background work was cancelled; asked every `POLL_SECONDS`, the result is `Cancelled`.

        Returns:
            its result; cancelled where the server ends first.
        """

        async def in_turn() -> T:
            with self.register("", withdrawn) as job:
                return await self._in_turn(job, lambda: work(job))

        return asyncio.run_coroutine_threadsafe(in_turn(), self._loop)

    async def _in_turn(self, job: Job, work: Callable[[], T]) -> T:
        async with self._turn(job):
            job.running = True
            return await anyio.to_thread.run_sync(work, abandon_on_cancel=True)

    @asynccontextmanager
    async def _turn(self, job: Job) -> AsyncIterator[None]:
        turn = asyncio.ensure_future(self._device.acquire())
        try:
            while not turn.done() and not job.cancelled:
                await asyncio.wait({turn}, timeout=POLL_SECONDS)
        finally:
            if not turn.done():
                turn.cancel()
        if not turn.done() or turn.cancelled():
            raise Cancelled
        try:
            yield
        finally:
            self._device.release()


async def cancel_on_disconnect(request: Request, job: Job) -> None:
    """Cancel the job once its client has gone; runs until then or until it is cancelled itself."""
    while not await request.is_disconnected():
        await asyncio.sleep(POLL_SECONDS)
    job.cancel()
