"""Totals and lists of a tenant's requests, read from the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import fields
from datetime import datetime

import asyncpg

from service.domain.logged_requests import Place, RequestFilter, RequestSummary
from service.domain.traffic import Group, TrafficTotals
from service.errors import StoreUnavailable
from service.store.connection.pool import Connection, Database
from service.store.log.request_list import request_summaries

_TOTALS = [field.name for field in fields(TrafficTotals)]


class PostgresReports:
    """A Reports. Counts one report at a time, so that enough connections are left for requests.

    Args:
        timeout_s: limit of the wait for another report, and of the count.
    """

    def __init__(self, database: Database, *, timeout_s: float = 10.0) -> None:
        self._database = database
        self._timeout_s = timeout_s
        self._one_at_a_time = asyncio.Lock()

    async def traffic(self, tenant: str, since: datetime, until: datetime) -> dict[Group, TrafficTotals]:
        async with self._turn(), self._reading(tenant) as connection:
            rows = await connection.fetch(_TRAFFIC, tenant, since, until, timeout=self._client_timeout_s)
        return {
            Group(row["day"], row["arm_id"], row["kind"], row["holdout"], row["is_priced"]): TrafficTotals(
                *(row[n] for n in _TOTALS)
            )
            for row in rows
        }

    async def requests(
        self, tenant: str, wanted: RequestFilter, limit: int, after: Place | None = None
    ) -> list[RequestSummary]:
        async with self._turn(), self._reading(tenant) as connection:
            return await request_summaries(
                connection, tenant, wanted, limit, after, timeout_s=self._client_timeout_s
            )

    @property
    def _client_timeout_s(self) -> float:
        """The server cancels first: if the client did, the pool would treat the server as unavailable."""
        return 2 * self._timeout_s

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._one_at_a_time.acquire()
        except TimeoutError as error:
            raise StoreUnavailable("other reports are being counted") from error
        try:
            yield
        finally:
            self._one_at_a_time.release()

    @asynccontextmanager
    async def _reading(self, tenant: str) -> AsyncIterator[Connection]:
        async with self._database.as_tenant(tenant, readonly=True) as connection:
            await connection.execute(_STATEMENT_TIMEOUT, f"{self._timeout_s}s")
            try:
                yield connection
            except asyncpg.QueryCanceledError as error:
                message = f"counting took longer than {self._timeout_s:g} s: ask for fewer days"
                raise StoreUnavailable(message) from error


_STATEMENT_TIMEOUT = "SELECT set_config('statement_timeout', $1, true)"  # until the end of the transaction

# The newest feedback of a request is its rating; implicit signals are not. Imported requests are excluded;
# the condition on the dialect is written as in the index.
_TRAFFIC = """
SELECT (d.decided_at AT TIME ZONE 'UTC')::date AS day,
    coalesce(o.arm_id, d.arm_id) AS arm_id,
    coalesce(o.kind, d.kind) AS kind,
    d.holdout,
    coalesce(a.n_unpriced, 0) = 0 AS is_priced,
    count(*) AS n_requests,
    count(*) FILTER (WHERE o.status = 'ok') AS n_ok,
    count(*) FILTER (WHERE o.status = 'failed') AS n_failed,
    count(*) FILTER (WHERE o.status = 'cancelled') AS n_cancelled,
    count(*) FILTER (WHERE a.n_unpriced > 0) AS n_unpriced,
    coalesce(sum(a.cost_usd), 0) AS cost_usd,
    coalesce(sum(a.cost_usd * a.cost_usd), 0) AS cost_usd_squares,
    coalesce(sum(o.prompt_tokens), 0) AS prompt_tokens,
    coalesce(sum(o.cached_tokens), 0) AS cached_tokens,
    coalesce(sum(o.cache_write_tokens), 0) AS cache_write_tokens,
    coalesce(sum(o.completion_tokens), 0) AS completion_tokens,
    coalesce(sum(o.reasoning_tokens), 0) AS reasoning_tokens,
    count(*) FILTER (WHERE o.status = 'ok' AND o.kind <> 'cache') AS n_timed,
    coalesce(sum(o.latency_s) FILTER (WHERE o.status = 'ok' AND o.kind <> 'cache'), 0) AS latency_s,
    count(o.ttft_s) FILTER (WHERE o.status = 'ok' AND o.kind <> 'cache') AS n_streamed,
    coalesce(sum(o.ttft_s) FILTER (WHERE o.status = 'ok' AND o.kind <> 'cache'), 0) AS ttft_s,
    count(f.reward) AS n_rated,
    coalesce(sum(f.reward), 0) AS reward,
    coalesce(sum(f.reward * f.reward), 0) AS reward_squares
FROM decisions d
LEFT JOIN outcomes o ON o.decision_id = d.decision_id
LEFT JOIN LATERAL (
    SELECT sum(cost_usd) AS cost_usd, count(*) FILTER (WHERE cost_source = 'unknown') AS n_unpriced
    FROM attempts
    WHERE decision_id = d.decision_id
) a ON true
LEFT JOIN LATERAL (
    SELECT reward
    FROM feedback_events
    WHERE decision_id = d.decision_id AND signal IS NULL AND reverted_by IS NULL
    ORDER BY event_id DESC
    LIMIT 1
) f ON true
WHERE d.tenant = $1 AND d.decided_at >= $2 AND d.decided_at < $3 AND d.dialect <> 'import'
GROUP BY 1, 2, 3, 4, 5
"""
