"""Runs a blocking encoder in a thread of its own, off the event loop."""

import asyncio
import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field

from embeddings.encoder import Encoder, EncoderBusy, EncoderError, EncoderUnavailable, Vector


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    text: str
    vector: Future[Vector] = field(default_factory=Future)


class BatchingEncoder:
    """Encodes the waiting texts, up to `max_batch` at a time, in one worker thread.

    A batch starts at once, even with a single text. The calling code limits its wait (`asyncio.timeout`); a
    text that is cancelled before its batch starts is not encoded.
    """

    def __init__(self, encoder: Encoder, *, max_batch: int = 16, max_waiting: int = 512) -> None:
        if max_batch < 1 or max_waiting < 1:
            raise ValueError(f"max_batch and max_waiting must be positive, got {max_batch} and {max_waiting}")
        self.name = encoder.name
        self.dimension = encoder.dimension
        self._encoder = encoder
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._waiting: deque[_Job] = deque()
        self._is_closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="encoder", daemon=True)
        self._thread.start()

    def cached(self, text: str) -> None:  # it keeps no vectors
        return None

    async def encode(self, text: str) -> Vector:
        job = _Job(text)
        with self._changed:
            if self._is_closed:
                raise EncoderUnavailable("the encoder is closed")
            if len(self._waiting) >= self._max_waiting:
                raise EncoderBusy(f"{len(self._waiting)} texts already wait for the encoder")
            self._waiting.append(job)
            self._changed.notify()
        return await asyncio.wrap_future(job.vector)

    async def close(self) -> None:
        """End the thread after its current batch; texts that still wait fail."""
        with self._changed:
            self._is_closed = True
            waiting = list(self._waiting)
            self._waiting.clear()
            self._changed.notify()
        _fail(_not_cancelled(waiting), "the encoder is closed", None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        while batch := self._next_batch():
            if jobs := _not_cancelled(batch):
                self._answer(jobs)

    def _next_batch(self) -> list[_Job]:
        """Wait for jobs; return an empty list once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            return [self._waiting.popleft() for _ in range(min(self._max_batch, len(self._waiting)))]

    def _answer(self, jobs: list[_Job]) -> None:
        try:
            vectors = self._encoder.encode([job.text for job in jobs])
            if vectors.shape != (len(jobs), self.dimension):
                raise EncoderUnavailable(f"{self.name} gave {vectors.shape} numbers for {len(jobs)} texts")
        except BaseException as error:  # a panic in native code is no Exception, and must not end the thread
            # Only messages of our own errors are passed on: others may quote the text.
            reason = str(error) if isinstance(error, EncoderError) else type(error).__name__
            _fail(jobs, f"{self.name} failed: {reason}", error)
            return
        for job, vector in zip(jobs, vectors, strict=True):
            job.vector.set_result(vector.copy())  # a view would keep the whole batch alive


def _not_cancelled(jobs: list[_Job]) -> list[_Job]:
    """Return the jobs that were not cancelled; from now on they cannot be."""
    return [job for job in jobs if job.vector.set_running_or_notify_cancel()]


def _fail(jobs: list[_Job], message: str, cause: BaseException | None) -> None:
    for job in jobs:
        failure = EncoderUnavailable(message)  # one for each job: the traceback of a shared one would grow
        failure.__cause__ = cause
        job.vector.set_exception(failure)
