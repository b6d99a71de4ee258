"""The calibrations of running routers in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import orjson
from asyncpg import Record

from service.domain.basics import Json
from service.domain.calibration import Calibration
from service.store.connection.pool import Database
from service.store.connection.values import storable


class PostgresCalibrationStore:
    """A CalibrationStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, calibration: Calibration) -> bool:
        async with self._database.as_tenant(calibration.tenant) as connection:
            return bool(await connection.fetchval(_KEEP, *_values(calibration)))

    async def request_stop(self, tenant: str, calibration_id: UUID) -> None:
        async with self._database.as_tenant(tenant) as connection:
            await connection.execute(_REQUEST_STOP, tenant, calibration_id)

    async def find(self, tenant: str, calibration_id: UUID) -> Calibration | None:
        async with self._database.as_tenant(tenant) as connection:
            row = await connection.fetchrow(_FIND, tenant, calibration_id)
        return None if row is None else _calibration(row)

    async def unfinished(self, tenant: str, options_digest: bytes) -> Calibration | None:
        async with self._database.as_tenant(tenant) as connection:
            row = await connection.fetchrow(_UNFINISHED, tenant, options_digest)
        return None if row is None else _calibration(row)

    async def newest(self, tenant: str, limit: int) -> Sequence[Calibration]:
        async with self._database.as_tenant(tenant) as connection:
            rows = await connection.fetch(_NEWEST, tenant, limit)
        return [_calibration(row) for row in rows]

    async def delete(self, tenant: str, calibration_id: UUID) -> None:
        async with self._database.as_tenant(tenant) as connection:
            await connection.execute(_DELETE, tenant, calibration_id)


_KEEP = """
INSERT INTO calibrations
    (calibration_id, tenant, options, options_digest, prompts, state, n_done, n_total, n_problems, spent_usd,
     max_usd, rows, error, report, started_at, updated_at, ended_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
ON CONFLICT (calibration_id) DO UPDATE SET
    prompts = excluded.prompts, state = excluded.state, n_done = excluded.n_done, n_total = excluded.n_total,
    n_problems = excluded.n_problems, spent_usd = excluded.spent_usd, max_usd = excluded.max_usd,
    rows = excluded.rows, error = excluded.error, report = excluded.report, updated_at = excluded.updated_at,
    ended_at = excluded.ended_at, options = excluded.options,
    stop_requested = calibrations.stop_requested AND excluded.state = 'running'
WHERE calibrations.tenant = excluded.tenant
RETURNING stop_requested
"""

_REQUEST_STOP = "UPDATE calibrations SET stop_requested = true WHERE tenant = $1 AND calibration_id = $2"

_FIND = "SELECT * FROM calibrations WHERE tenant = $1 AND calibration_id = $2"

_UNFINISHED = """
SELECT * FROM calibrations
WHERE tenant = $1 AND options_digest = $2 AND state <> 'done'
ORDER BY started_at DESC
LIMIT 1
"""

# A list shows neither prompts nor reports, which are large.
_NEWEST = """
SELECT calibration_id, tenant, options, options_digest, NULL AS prompts, state, n_done, n_total, n_problems,
    spent_usd, max_usd, rows, error, NULL AS report, started_at, updated_at, ended_at
FROM calibrations
WHERE tenant = $1
ORDER BY started_at DESC
LIMIT $2
"""

_DELETE = "DELETE FROM calibrations WHERE tenant = $1 AND calibration_id = $2"


def _values(calibration: Calibration) -> tuple[object, ...]:
    return (
        calibration.calibration_id,
        calibration.tenant,
        _written(calibration.options),
        calibration.options_digest,
        _written(calibration.prompts),
        calibration.state,
        calibration.n_done,
        calibration.n_total,
        calibration.n_problems,
        calibration.spent_usd,
        calibration.max_usd,
        _written(calibration.rows),
        storable(calibration.error),
        _written(calibration.report),
        calibration.started_at,
        calibration.updated_at,
        calibration.ended_at,
    )


def _written(value: object) -> str | None:
    return None if value is None else orjson.dumps(value).decode()


def _read(text: str | None) -> Json | None:
    return None if text is None else orjson.loads(text)


def _calibration(row: Record) -> Calibration:
    return Calibration(
        calibration_id=row["calibration_id"],
        tenant=row["tenant"],
        options=orjson.loads(row["options"]),
        options_digest=row["options_digest"],
        prompts=None if row["prompts"] is None else orjson.loads(row["prompts"]),
        n_total=row["n_total"],
        max_usd=row["max_usd"],
        started_at=row["started_at"],
        updated_at=row["updated_at"],
        state=row["state"],
        n_done=row["n_done"],
        n_problems=row["n_problems"],
        spent_usd=row["spent_usd"],
        rows=orjson.loads(row["rows"]),
        error=row["error"],
        report=_read(row["report"]),
        ended_at=row["ended_at"],
    )
