"""Forget requests: in batches, beside a service that goes on answering."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import TypeVar
from uuid import UUID, uuid4

import asyncpg
import structlog

from service.domain.arm import ArmSums
from service.domain.forgotten import Forgotten, Selection
from service.errors import StoreBusy, StoreUnavailable
from service.store.connection.pool import Connection, Database
from service.store.evidence.rebuild import outcome_sums_of, refold_histories
from service.store.evidence.retired import forget_retired
from service.store.evidence.standing_feedback import standing_feedback_of
from service.store.evidence.sums import add_sums, standing_sums
from service.store.forgetting.kin import (
    BEGIN_DELETING,
    count_kin,
    count_unanswered,
    delete_calibrations,
    delete_kin,
    delete_orphans,
    lock_next,
)

log = structlog.get_logger(__name__)

T = TypeVar("T")
_ORPHANS = 10_000
_ATTEMPTS = 6  # of a transaction that waits too long for a lock, or in a deadlock
_FOLD_TIMEOUT_S = 3600.0


class PostgresForgetting:
    """Deletes requests with all their rows. Raises StoreUnavailable; then some may be deleted: repeat it.

    Args:
        batch: decisions deleted in one transaction; feedback waits no longer than for so many.
    """

    def __init__(self, database: Database, *, batch: int = 200) -> None:
        self._database = database
        self._batch_size = batch

    async def count(self, selection: Selection) -> Forgotten:
        """What `forget` would delete."""
        async with self._database.transaction(at_one_moment=True) as connection:
            counts = await count_kin(connection, selection)
            return Forgotten(
                UUID(int=0), selection.selector, counts, await count_unanswered(connection, selection)
            )

    async def forget(self, selection: Selection, now: datetime) -> Forgotten:
        """Delete the selected requests, and take back what they taught.

        Each batch is one transaction, in which the sums of evidence follow. The histories follow at the end,
        one tenant after the other, since they depend on the order of all events. An interrupted deletion
        leaves that to the next one.
        """
        forgotten_id = uuid4()
        await self._write(_BEGIN, forgotten_id, selection.selector, selection.digest(forgotten_id),
                          selection.decided_before, now)  # fmt: skip
        counts: Counter[str] = Counter()
        rated: set[str] = set()  # tenants whose feedback was deleted
        last = UUID(int=0)
        while (
            ended := await _retried(partial(self._batch, selection, last, forgotten_id, counts, rated))
        ) is not None:
            last = ended
        await self._delete_others(selection, counts)
        n_unanswered = await self._unanswered(selection)
        await self._refold(rated, forgotten_id)
        counts = +counts
        await self._write(_END, forgotten_id, dict(counts))
        log.info("requests_forgotten", forgotten_id=str(forgotten_id), selector=selection.selector, **counts)
        return Forgotten(forgotten_id, selection.selector, counts, n_unanswered)

    async def _batch(
        self, selection: Selection, after: UUID, forgotten_id: UUID, counts: Counter[str], rated: set[str]
    ) -> UUID | None:
        """Delete a batch; returns the last decision of it, or None."""
        async with self._database.transaction() as connection:
            await connection.execute(BEGIN_DELETING)
            decision_ids = await lock_next(connection, selection, after, self._batch_size)
            if not decision_ids:
                return None
            sums, tenants = await _taught(connection, decision_ids)
            await connection.execute(_BURY, decision_ids)
            deleted = await delete_kin(connection, decision_ids)
            total = counts + Counter(deleted)
            await connection.execute(_COUNTED, forgotten_id, dict(total))
            for tenant, of_tenant in sorted(sums.items()):
                await add_sums(connection, tenant, {arm_id: -taught for arm_id, taught in of_tenant.items()})
            await connection.execute(_NOTIFY)
        counts.update(deleted)
        rated |= tenants
        return decision_ids[-1]

    async def _delete_others(self, selection: Selection, counts: Counter[str]) -> None:
        """Delete what belongs to the selection, but to no decision."""
        if counts["decisions"]:
            n = _ORPHANS
            while n == _ORPHANS:
                n = await _retried(partial(self._delete_orphans, selection.tenant))
                counts["sessions"] += n
        if selection.selector == "tenant":
            counts.update(await _retried(partial(self._delete_of_tenant, selection)))

    async def _delete_orphans(self, tenant: str | None) -> int:
        async with self._database.transaction() as connection:
            await connection.execute(BEGIN_DELETING)
            return await delete_orphans(connection, tenant, _ORPHANS)

    async def _delete_of_tenant(self, selection: Selection) -> dict[str, int]:
        assert selection.tenant is not None
        async with self._database.transaction() as connection:
            await connection.execute(BEGIN_DELETING)
            n_calibrations = await delete_calibrations(connection, selection)
            retired = await forget_retired(connection, selection.tenant, selection.decided_before)
            for (tenant, arm_id), sums in retired:
                await add_sums(connection, tenant, {arm_id: -sums})
            await connection.execute(_NOTIFY)
        return {"calibrations": n_calibrations, "retired_outcomes": len(retired)}

    async def _unanswered(self, selection: Selection) -> int:
        async with self._database.connection() as connection:
            return await count_unanswered(connection, selection)

    async def _refold(self, tenants: set[str], forgotten_id: UUID) -> None:
        """Bring the histories to what the remaining events give; of all tenants, if one was interrupted."""
        async with self._database.connection() as connection:
            interrupted = await connection.fetchval(_INTERRUPTED, forgotten_id)
            if interrupted:
                tenants = {row["tenant"] for row in await connection.fetch(_TENANTS)}
        for tenant in sorted(tenants):
            await _retried(partial(self._refold_tenant, tenant))
        if interrupted:
            await self._write(_RESUMED, forgotten_id)

    async def _refold_tenant(self, tenant: str) -> None:
        async with self._database.transaction(timeout_s=_FOLD_TIMEOUT_S) as connection:
            await refold_histories(connection, tenant)
            await connection.execute(_NOTIFY)

    async def _write(self, statement: str, *values: object) -> None:
        async with self._database.connection() as connection:
            await connection.execute(statement, *values)


async def _retried(transaction: Callable[[], Awaitable[T]]) -> T:
    """Run a transaction, again if others hold its rows for long or PostgreSQL ends a deadlock with it."""
    for attempt in range(_ATTEMPTS):
        try:
            return await transaction()
        except (asyncpg.LockNotAvailableError, StoreUnavailable) as error:
            log.debug("batch_not_forgotten", attempt=attempt, error=str(error))
            await asyncio.sleep(0.1 * 2**attempt)
    raise StoreBusy("the requests are locked by others; some are deleted: run it again")


_BEGIN = """
INSERT INTO forgotten (forgotten_id, selector, digest, decided_before, counts, started_at)
VALUES ($1, $2, $3, $4, '{}', $5)
"""
_COUNTED = "UPDATE forgotten SET counts = $2 WHERE forgotten_id = $1"
_END = "UPDATE forgotten SET counts = $2, finished_at = greatest(now(), started_at) WHERE forgotten_id = $1"
_INTERRUPTED = "SELECT EXISTS (SELECT FROM forgotten WHERE finished_at IS NULL AND forgotten_id <> $1)"
_RESUMED = "UPDATE forgotten SET finished_at = now() WHERE finished_at IS NULL AND forgotten_id <> $1"
_TENANTS = "SELECT DISTINCT tenant FROM histories"
# The id of an imported outcome is the same at each import: what was deleted may have come back.
_BURY = """
INSERT INTO forgotten_decisions (decision_id, forgotten_at) SELECT unnest($1::uuid[]), now()
ON CONFLICT (decision_id) DO UPDATE SET forgotten_at = excluded.forgotten_at, n_removals = 0
"""
_NOTIFY = "SELECT pg_notify('evidence', 'forgotten')"

_STANDING = """
SELECT d.tenant, v.arm_id, v.reward, v.weight, v.signal_arms, v.signal_weights
FROM decisions d
JOIN verdicts v ON v.decision_id = d.decision_id
WHERE d.decision_id = ANY($1) AND d.learn
    AND EXISTS (SELECT FROM feedback_events f WHERE f.decision_id = d.decision_id)
"""


async def _taught(
    connection: Connection, decision_ids: Sequence[UUID]
) -> tuple[dict[str, dict[str, ArmSums]], set[str]]:
    """What decisions added to the sums, by tenant and arm, and the tenants whose feedback is among it."""
    taught: defaultdict[str, dict[str, ArmSums]] = defaultdict(dict)
    rated = await connection.fetch(_STANDING, decision_ids)
    for row in rated:
        for arm_id, sums in standing_sums(standing_feedback_of(row)).items():
            of_tenant = taught[row["tenant"]]
            of_tenant[arm_id] = of_tenant.get(arm_id, ArmSums()) + sums
    for (tenant, arm_id), sums in (await outcome_sums_of(connection, decision_ids)).items():
        taught[tenant][arm_id] = taught[tenant].get(arm_id, ArmSums()) + sums
    return taught, {row["tenant"] for row in rated}
