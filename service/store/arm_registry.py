"""The arms' runtime settings: rows in PostgreSQL, with a copy in this replica."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import structlog
from asyncpg import Record

from service.domain.arm import Price
from service.domain.registration import ArmFigures, ArmRegistration, PriceChange, Shadow
from service.errors import StoreUnavailable
from service.store.connection.follow import Follower
from service.store.connection.pool import Connection, Database
from service.store.evidence.sums import sums_of

log = structlog.get_logger(__name__)

Decide = Callable[[Mapping[str, ArmRegistration]], ArmRegistration]


class PostgresArmRegistry:
    """An ArmRegistry. Between `start` and `close` its copy follows the changes of other replicas.

    While PostgreSQL is unavailable the copy stays as it is.
    """

    def __init__(self, database: Database, *, poll_every_s: float = 3.0) -> None:
        self._database = database
        self._known: dict[str, ArmRegistration] = {}
        self._seen_until = 0  # as in PostgresEvidence
        self._refreshing = asyncio.Lock()  # applies readings in the order in which they were made
        self._configured: Sequence[str] | None = None  # arm ids to register
        self._on_change: Callable[[Mapping[str, ArmRegistration]], None] | None = None
        self._follower = Follower(database, "arms", self.refresh, poll_every_s=poll_every_s)

    @property
    def known(self) -> Mapping[str, ArmRegistration]:
        """By arm id, as of the last refresh."""
        return self._known

    async def start(
        self, configured: Sequence[str], on_change: Callable[[Mapping[str, ArmRegistration]], None]
    ) -> None:
        """Register the configured arms, and pass all registrations to `on_change` now and after every change.

        Args:
            configured: arm ids; an id that is new becomes a newcomer if other arms have ratings.
        """
        self._configured, self._on_change = configured, on_change
        await self._follower.start()

    async def close(self) -> None:
        await self._follower.close()

    async def refresh(self) -> None:
        """Fetch the arms that changed since the last refresh. Raises StoreUnavailable."""
        async with self._refreshing, self._database.connection() as connection:
            if self._configured is not None:
                await connection.execute(_REGISTER, self._configured)
                self._configured = None
            rows = await connection.fetch(_CHANGED, self._seen_until)
            self._seen_until = rows[0]["seen_until"]
            changed = {row["arm_id"]: _registration(row) for row in rows if row["arm_id"] is not None}
            if changed:
                self._known = {**self._known, **changed}
                if self._on_change is not None:
                    self._on_change(self._known)

    async def change(self, decide: Decide) -> ArmRegistration:
        async with self._database.transaction() as connection:
            await connection.execute(_ONE_AT_A_TIME)
            known = {
                row["arm_id"]: _registration(row)
                for row in await connection.fetch(_CHANGED, 0)
                if row["arm_id"]
            }
            registration = decide(known)
            await connection.execute(_WRITE, *_values(registration))
            before = known.get(registration.arm_id)
            n_before = 0 if before is None else len(before.price_changes)
            for version, change in enumerate(registration.price_changes[n_before:], n_before + 1):
                await _reprice(connection, registration.arm_id, version, change)
        try:
            await self.refresh()
        except StoreUnavailable:
            log.warning("models_not_refreshed")  # the change is committed; a later refresh fetches it
        return registration

    async def figures(self, tenant: str) -> Mapping[str, ArmFigures]:
        async with self._database.as_tenant(tenant, readonly=True) as connection:
            return {row["arm_id"]: _figures(row) for row in await connection.fetch(_FIGURES, tenant)}


# A new arm is a newcomer if other arms have ratings. An arm with evidence of its own is not new: it is older
# than the table.
_REGISTER = """
INSERT INTO arms (arm_id, state, is_newcomer, added_at, changed_at, changed_in)
SELECT arm_id, 'active',
    EXISTS (SELECT FROM evidence WHERE n > 0)
        AND NOT EXISTS (SELECT FROM evidence e WHERE e.arm_id = c.arm_id),
    now(), now(), pg_current_xact_id()
FROM unnest($1::text[]) AS c (arm_id)
ORDER BY arm_id
ON CONFLICT (arm_id) DO NOTHING
"""

# At least one row, with the oldest transaction still running, as in `evidence.py`.
_CHANGED = """
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS seen_until,
    a.arm_id, a.entry, a.price_input_usd_per_mtok, a.price_output_usd_per_mtok,
    a.price_cached_input_usd_per_mtok, a.price_cache_write_usd_per_mtok, a.state, a.shadow_share,
    a.shadow_usd_per_day, a.is_newcomer, a.reason, a.added_at, a.changed_at, p.times, p.factors, p.added_usds
FROM (VALUES (1)) AS always (one)
LEFT JOIN arms a ON a.changed_in >= $1::bigint::text::xid8
LEFT JOIN LATERAL (
    SELECT array_agg(changed_at ORDER BY version) AS times,
        array_agg(factor ORDER BY version) AS factors,
        array_agg(added_usd ORDER BY version) AS added_usds
    FROM price_changes
    WHERE arm_id = a.arm_id
) p ON true
"""

_ONE_AT_A_TIME = "LOCK TABLE arms IN SHARE ROW EXCLUSIVE MODE"

_WRITE = """
INSERT INTO arms
    (arm_id, entry, price_input_usd_per_mtok, price_output_usd_per_mtok, price_cached_input_usd_per_mtok,
     price_cache_write_usd_per_mtok, state, shadow_share, shadow_usd_per_day, is_newcomer, reason, added_at,
     changed_at, changed_in)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, pg_current_xact_id())
ON CONFLICT (arm_id) DO UPDATE SET
    price_input_usd_per_mtok = excluded.price_input_usd_per_mtok,
    price_output_usd_per_mtok = excluded.price_output_usd_per_mtok,
    price_cached_input_usd_per_mtok = excluded.price_cached_input_usd_per_mtok,
    price_cache_write_usd_per_mtok = excluded.price_cache_write_usd_per_mtok,
    state = excluded.state, shadow_share = excluded.shadow_share,
    shadow_usd_per_day = excluded.shadow_usd_per_day, reason = excluded.reason,
    changed_at = excluded.changed_at, changed_in = excluded.changed_in
RETURNING pg_notify('arms', '')
"""

# Answers are written before they change a sum. So each answer is either in the sums that are converted here,
# or is written after this transaction and then converted to today's prices on its own.
_BLOCK_ANSWERS = "LOCK TABLE outcomes, shadow_answers IN SHARE ROW EXCLUSIVE MODE"
_INSERT_PRICE_CHANGE = """
INSERT INTO price_changes (arm_id, version, changed_at, factor, added_usd) VALUES ($1, $2, $3, $4, $5)
"""
# Converts the sums from the prices before this version; of the changes, it is the last one written.
_REPRICE = """
UPDATE evidence
SET cost_usd_sum = todays_usd($1, $2 - 1, n_outcomes - n_unpriced, cost_usd_sum),
    cost_usd_squares =
        todays_usd_squares($1, $2 - 1, n_outcomes - n_unpriced, cost_usd_sum, cost_usd_squares),
    version = version + 1, changed_in = pg_current_xact_id()
WHERE arm_id = $1
RETURNING pg_notify('evidence', '')
"""

_FIGURES = """
WITH learned AS (
    SELECT arm_id, n, reward_sum, n_outcomes, latency_s_sum, cost_usd_sum, n_unpriced, cost_usd_squares,
        latency_s_squares
    FROM evidence
    WHERE tenant = $1
), shadowed AS (
    SELECT arm_id, count(*) AS calls, count(*) FILTER (WHERE status = 'failed') AS errors,
        count(*) FILTER (WHERE cost_source = 'unknown') AS unpriced, sum(cost_usd) AS usd,
        avg(latency_s) FILTER (WHERE status = 'ok') AS latency_s
    FROM shadow_answers
    WHERE tenant = $1
    GROUP BY arm_id
)
SELECT arm_id, coalesce(n, 0) AS n, coalesce(reward_sum, 0) AS reward_sum,
    coalesce(n_outcomes, 0) AS n_outcomes, coalesce(latency_s_sum, 0) AS latency_s_sum,
    coalesce(cost_usd_sum, 0) AS cost_usd_sum, coalesce(n_unpriced, 0) AS n_unpriced,
    coalesce(cost_usd_squares, 0) AS cost_usd_squares, coalesce(latency_s_squares, 0) AS latency_s_squares,
    coalesce(unpriced, 0) AS unpriced, coalesce(calls, 0) AS calls, coalesce(errors, 0) AS errors,
    coalesce(usd, 0) AS usd, latency_s
FROM learned FULL JOIN shadowed USING (arm_id)
"""


async def _reprice(connection: Connection, arm_id: str, version: int, change: PriceChange) -> None:
    await connection.execute(_BLOCK_ANSWERS)
    values = (arm_id, version, change.changed_at, change.factor, change.added_usd)
    await connection.execute(_INSERT_PRICE_CHANGE, *values)
    await connection.execute(_REPRICE, arm_id, version)


def _values(registration: ArmRegistration) -> tuple[object, ...]:
    price, shadow = registration.price, registration.shadow
    return (
        registration.arm_id,
        registration.entry,
        None if price is None else price.input,
        None if price is None else price.output,
        None if price is None else price.cached_input,
        None if price is None else price.cache_write,
        registration.state,
        None if shadow is None else shadow.share,
        None if shadow is None else shadow.usd_per_day,
        registration.is_newcomer,
        registration.reason,
        registration.added_at,
        registration.changed_at,
    )


def _registration(row: Record) -> ArmRegistration:
    share = row["shadow_share"]
    return ArmRegistration(
        arm_id=row["arm_id"],
        added_at=row["added_at"],
        changed_at=row["changed_at"],
        state=row["state"],
        entry=row["entry"],
        price=_price(row),
        shadow=None if share is None else Shadow(share, row["shadow_usd_per_day"]),
        is_newcomer=row["is_newcomer"],
        reason=row["reason"],
        price_changes=_price_changes(row),
    )


def _price(row: Record) -> Price | None:
    if row["price_input_usd_per_mtok"] is None:
        return None
    return Price(
        row["price_input_usd_per_mtok"],
        row["price_output_usd_per_mtok"],
        row["price_cached_input_usd_per_mtok"],
        row["price_cache_write_usd_per_mtok"],
    )


def _price_changes(row: Record) -> tuple[PriceChange, ...]:
    columns = (row["times"] or (), row["factors"] or (), row["added_usds"] or ())
    return tuple(PriceChange(*values) for values in zip(*columns, strict=True))


def _figures(row: Record) -> ArmFigures:
    latency_s = row["latency_s"]
    return ArmFigures(
        sums=sums_of(row),
        n_shadow_calls=row["calls"],
        n_shadow_errors=row["errors"],
        n_shadow_unpriced=row["unpriced"],
        shadow_usd=row["usd"],
        shadow_latency_s=None if latency_s is None else float(latency_s),
    )
