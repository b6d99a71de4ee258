"""A calibration under way in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import structlog

from embeddings.encoder import EncoderError
from service.calibration.calibrator import CalibrationResult
from service.calibration.run import CalibrationProgress, OnProgress
from service.domain.calibration import Calibration, CalibrationState
from service.domain.ports import CalibrationStore, Clock
from service.errors import RouterError, StoreUnavailable

log = structlog.get_logger(__name__)

KEEP_EVERY_S = 1.0  # while it runs, and until its end is stored
CLOSE_TIMEOUT_S = 3.0

Work = Callable[[OnProgress], Awaitable[CalibrationResult]]


@dataclass(slots=True)
class RunningCalibration:
    """Runs a calibration, and stores how far it is.

    Args:
        calibration: as it is now.
    """

    calibration: Calibration
    store: CalibrationStore
    clock: Clock
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _task: asyncio.Task[None] | None = field(default=None, init=False)
    _is_stopped: bool = field(default=False, init=False)

    @property
    def is_running(self) -> bool:
        return self.calibration.state == "running"

    def start(self, work: Work, when_stored: Callable[[Calibration], None]) -> None:
        """Begin the work.

        Args:
            when_stored: called at the end, with the calibration as it was stored.
        """
        self._task = asyncio.create_task(self._run(work))
        self._task.add_done_callback(lambda _: when_stored(self.calibration))

    async def stop(self) -> None:
        """Stop the work for good, and wait until its end is stored."""
        self._is_stopped = True
        await self.interrupt()

    async def interrupt(self) -> None:
        """Stop the work because the process ends; the calibration can go on later."""
        assert self._task is not None
        self._task.cancel()
        _, late = await asyncio.wait([self._task], timeout=CLOSE_TIMEOUT_S)
        if late:  # PostgreSQL is away
            self._task.cancel()
            await asyncio.wait([self._task])

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until its end is stored; whether it is."""
        assert self._task is not None
        done, _ = await asyncio.wait([self._task], timeout=timeout_s)
        return bool(done)

    async def _run(self, work: Work) -> None:
        keeping = asyncio.create_task(self._keep_forever())
        try:
            result = await work(self._progressed)
        except asyncio.CancelledError:
            self._ended("stopped" if self._is_stopped else "interrupted")
        except (RouterError, EncoderError) as error:
            self._ended("failed", error=str(error))
        except Exception:
            log.exception("calibration_failed", calibration_id=str(self.calibration.calibration_id))
            self._ended("failed", error="internal error; the log has its cause")
        else:
            self._succeeded(result)
        finally:
            keeping.cancel()
            await asyncio.wait([keeping])  # else its write could come after the last one
        while not await self._keep():
            await self.sleep(KEEP_EVERY_S)

    def _progressed(self, progress: CalibrationProgress) -> None:
        self.calibration = replace(
            self.calibration,
            n_done=progress.n_done,
            n_total=progress.n_total,
            n_problems=progress.n_problems,
            spent_usd=progress.spent_usd,
        )

    def _succeeded(self, result: CalibrationResult) -> None:
        self.calibration = replace(self.calibration, rows=result.rows, report=result.report)
        if result.is_capped:
            self._ended("capped")
            return
        self.calibration = replace(self.calibration, prompts=None)
        self._ended("done")

    def _ended(self, state: CalibrationState, *, error: str | None = None) -> None:
        self.calibration = replace(self.calibration, state=state, error=error, ended_at=self.clock())

    async def _keep_forever(self) -> None:
        while True:
            await self.sleep(KEEP_EVERY_S)
            await self._keep()

    async def _keep(self) -> bool:
        """Store the calibration as it is now; whether PostgreSQL has it."""
        self.calibration = replace(self.calibration, updated_at=self.clock())
        try:
            is_to_stop = await self.store.keep(self.calibration)
        except StoreUnavailable as error:
            log.debug("calibration_not_stored", error=str(error))
            return False
        if is_to_stop and self.is_running and self._task is not None:
            self._is_stopped = True
            self._task.cancel()
        return True
