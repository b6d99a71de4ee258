"""The calibrations of a running router: started, followed and stopped over HTTP, one at a time."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

from service.calibration.calibrator import CalibrationJob, Calibrator
from service.calibration.estimate import ArmEstimate
from service.calibration.journal import CallJournal, open_journal
from service.calibration.kept_prompts import prompt_as_json, prompt_from_json
from service.calibration.running import RunningCalibration, Work
from service.calibration.wish import Wish, judge_of
from service.calibration.wish_checker import WishChecker
from service.domain.calibration import Calibration
from service.domain.ports import CalibrationStore, Clock
from service.errors import (
    CalibrationConflict,
    StartupError,
    StoreUnavailable,
    Unavailable,
    UnknownCalibration,
)

MAX_LISTED = 100
STORED_TIMEOUT_S = 3.0  # for the end of a calibration
SILENT_S = 60.0  # after which a calibration of another router counts as interrupted


@dataclass(slots=True)
class Calibrations:
    """Starts, shows and stops calibrations.

    PostgreSQL has what became of each. What was paid for stands in a journal of its own in the folder of the
    router, where the calibration can go on after the router died.

    Args:
        folder: of the journals.
    """

    store: CalibrationStore
    checker: WishChecker
    calibrator: Calibrator
    folder: Path
    clock: Clock
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _running: dict[UUID, RunningCalibration] = field(default_factory=dict, init=False)
    _starting: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def start(self, tenant: str, wish: Wish) -> Calibration:
        """Start a calibration, or go on with one of the same wish that is not done.

        Raises:
            BadRequest: the wish breaks a rule.
            CalibrationConflict: another calibration runs.
            Unavailable, EncoderError: nothing was started.
        """
        async with self._starting:
            await self._wait_for_stored_ends()
            self._require_none_running(tenant)
            wish = self.checker.checked(wish)
            before = await self.store.unfinished(tenant, wish.digest)
            if before is not None:
                self._require_resumable(self._as_seen(before))
                return await self._go_on(replace(before, options=wish.options, max_usd=wish.max_usd))
            return await self._go_on(await self._new(tenant, wish))

    async def estimate(self, tenant: str, wish: Wish) -> Sequence[ArmEstimate]:
        """What each model would cost. Raises as `start` does, whether or not a calibration runs."""
        new = await self._new(tenant, self.checker.checked(wish))
        return await asyncio.to_thread(self.calibrator.estimate, self._job(new))

    async def resume(self, tenant: str, calibration_id: UUID, max_usd: Decimal | None) -> Calibration:
        """Go on with a calibration that is not done; no answer is paid for again.

        Args:
            max_usd: the most dollars, with those spent already; None: as before.

        Raises:
            UnknownCalibration: there is none of this id.
            CalibrationConflict: it is done, or a calibration runs, or its journal is not here.
            Unavailable: nothing was started.
        """
        async with self._starting:
            await self._wait_for_stored_ends()
            self._require_none_running(tenant)
            calibration = await self.find(tenant, calibration_id)
            self._require_resumable(calibration)
            if max_usd is not None:
                calibration = replace(calibration, max_usd=max_usd)
            return await self._go_on(calibration)

    async def find(self, tenant: str, calibration_id: UUID) -> Calibration:
        """The calibration of this id, as it is now. Raises UnknownCalibration, StoreUnavailable."""
        if (running := self._running.get(calibration_id)) and running.calibration.tenant == tenant:
            return running.calibration
        found = await self.store.find(tenant, calibration_id)
        if found is None:
            raise UnknownCalibration(f"no calibration has the id {calibration_id}", param="calibration_id")
        return self._as_seen(found)

    async def newest(self, tenant: str) -> Sequence[Calibration]:
        """The newest calibrations without their reports. Raises StoreUnavailable."""
        return [self._as_seen(found) for found in await self.store.newest(tenant, MAX_LISTED)]

    async def stop(self, tenant: str, calibration_id: UUID) -> Calibration:
        """Stop a calibration that runs, which can go on later; delete any other.

        Raises:
            UnknownCalibration: there is none of this id.
            StoreUnavailable: nothing was done.
        """
        async with self._starting:  # else one could go on while its journal is deleted
            await self._wait_for_stored_ends()
            calibration = await self.find(tenant, calibration_id)
            if (running := self._running.get(calibration_id)) is not None:
                if running.is_running:
                    await running.stop()
                return running.calibration
            if calibration.state == "running":  # another process runs it, and stops within a second or two
                await self.store.request_stop(tenant, calibration_id)
                return calibration
            await self.store.delete(tenant, calibration_id)
            self._path(calibration_id).unlink(missing_ok=True)
            return calibration

    async def wait(self) -> None:
        """Wait until the calibrations that run here have ended and their ends are stored."""
        for running in list(self._running.values()):
            await running.wait()

    async def close(self) -> None:
        """Interrupt what runs, because the process ends."""
        for running in list(self._running.values()):
            await running.interrupt()

    async def _wait_for_stored_ends(self) -> None:
        """Wait for those that have ended: until the end is stored, each keeps its journal open.

        Raises:
            StoreUnavailable: it takes too long.
        """
        for running in list(self._running.values()):
            if not running.is_running and not await running.wait(STORED_TIMEOUT_S):
                raise StoreUnavailable("the end of an earlier calibration is not stored yet")

    def _require_none_running(self, tenant: str) -> None:
        for calibration_id, running in self._running.items():
            if running.is_running:
                is_own = running.calibration.tenant == tenant
                which = f"calibration {calibration_id}" if is_own else "a calibration of another tenant"
                raise CalibrationConflict(f"{which} runs; one runs at a time")

    def _require_resumable(self, calibration: Calibration) -> None:
        calibration_id = calibration.calibration_id
        if calibration.state == "running":
            raise CalibrationConflict(f"calibration {calibration_id} runs in another process")
        if calibration.state == "done":
            raise CalibrationConflict(f"calibration {calibration_id} is done")
        if not self._path(calibration_id).exists():
            raise CalibrationConflict(
                f"calibration {calibration_id} is not done, and its journal is in the DATA_DIR of another "
                "router: go on with it there, or delete it"
            )

    async def _new(self, tenant: str, wish: Wish) -> Calibration:
        prompts = await self.checker.prompts(tenant, wish)
        now = self.clock()
        return Calibration(
            calibration_id=uuid4(),
            tenant=tenant,
            options=wish.options,
            options_digest=wish.digest,
            prompts=[prompt_as_json(prompt) for prompt in prompts],
            n_total=0,
            max_usd=wish.max_usd,
            started_at=now,
            updated_at=now,
        )

    async def _go_on(self, calibration: Calibration) -> Calibration:
        """Run a calibration, from its beginning or from where it was."""
        job = self._job(calibration)
        is_new = not self._path(calibration.calibration_id).exists()
        with ExitStack() as stack:
            journal = self._open_journal(calibration.calibration_id, stack)
            calibration = replace(
                calibration,
                state="running",
                n_done=0,
                n_problems=0,
                n_total=len(job.prompts) * len(job.arms),
                spent_usd=max(calibration.spent_usd, journal.spent_usd),
                rows={},
                error=None,
                report=None,
                updated_at=self.clock(),
                ended_at=None,
            )
            try:
                await self.store.keep(calibration)
            except StoreUnavailable:
                if is_new:
                    self._path(calibration.calibration_id).unlink()
                raise
            job = replace(job, spent_usd=calibration.spent_usd)
            self._run(calibration, partial(self.calibrator.run, job, journal), stack.pop_all())
        return calibration

    def _job(self, calibration: Calibration) -> CalibrationJob:
        options = calibration.options
        return CalibrationJob(
            tenant=calibration.tenant,
            prompts=[prompt_from_json(prompt) for prompt in calibration.prompts or ()],
            arms=self.checker.arms(() if options["models"] == "all" else options["models"]),
            grader=self.checker.grader(options["grader"], judge_of(options)),
            max_usd=calibration.max_usd,
            spent_usd=calibration.spent_usd,
            is_imported=options["import"],
            max_answer_tokens=options["max_answer_tokens"],
            concurrency=options["concurrency"],
        )

    def _run(self, calibration: Calibration, work: Work, closing: ExitStack) -> None:
        """Begin the work.

        Args:
            closing: closes the journal, which is deleted if nothing is left to ask.
        """
        calibration_id = calibration.calibration_id
        running = RunningCalibration(calibration, self.store, self.clock, self.sleep)
        self._running[calibration_id] = running

        def stored(ended: Calibration) -> None:
            closing.close()
            del self._running[calibration_id]
            if ended.state == "done":
                self._path(calibration_id).unlink(missing_ok=True)

        running.start(work, stored)

    def _open_journal(self, calibration_id: UUID, stack: ExitStack) -> CallJournal:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            return stack.enter_context(open_journal(self._path(calibration_id)))
        except OSError as error:
            raise Unavailable(f"DATA_DIR: cannot write {self.folder}: {error.strerror}") from error
        except StartupError as error:
            raise Unavailable(str(error)) from error

    def _as_seen(self, calibration: Calibration) -> Calibration:
        """The stored calibration as it is now; if no process runs it any more, it is interrupted."""
        if (running := self._running.get(calibration.calibration_id)) is not None:
            return replace(running.calibration, report=calibration.report)
        if calibration.state != "running":
            return calibration
        path = self._path(calibration.calibration_id)
        silent_s = (self.clock() - calibration.updated_at).total_seconds()
        is_alive = is_locked(path) if path.exists() else silent_s < SILENT_S
        return calibration if is_alive else replace(calibration, state="interrupted")

    def _path(self, calibration_id: UUID) -> Path:
        return self.folder / f"{calibration_id}.journal"


def is_locked(path: Path) -> bool:
    """Whether a process writes the journal; the lock ends with its process."""
    file = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False
