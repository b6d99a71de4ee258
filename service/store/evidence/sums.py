"""The exact sums that outcomes and rewards add to an arm, and the table of the sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, localcontext
from typing import TypeVar

from asyncpg import Record

from service.domain.arm import ArmSums
from service.domain.basics import EXACT, AttemptStatus, CostSource, DecisionKind
from service.domain.feedback import Reward
from service.store.connection.pool import Connection
from service.store.evidence.standing_feedback import StandingFeedback

_SIX_PLACES = Decimal("0.000001")
_NINE_PLACES = Decimal("0.000000001")
_NEWEST = 2**31 - 1  # the newest price: no price change follows
_ALL_DIGITS = 20_000  # more than a NUMERIC has; each price change adds digits to sums of dollars

Key = TypeVar("Key")
Versioned = tuple[int, ArmSums]  # of two readings of one row, the one with the larger version is newer


@dataclass(frozen=True, slots=True)
class Billed:
    """The sums that an answer adds to its arm, in dollars as billed."""

    arm_id: str
    sums: ArmSums
    price_version: int


def six_places(value: float | Decimal) -> Decimal:
    """Seconds as stored: rounded once, before they are summed."""
    return Decimal(value).quantize(_SIX_PLACES)


def nine_places(value: Decimal) -> Decimal:
    """Dollars as stored."""
    return value.quantize(_NINE_PLACES)


def nine_places_or_zero(value: Decimal | None) -> Decimal:
    """Dollars as stored beside their source, which tells a cost that nobody knows from no cost."""
    return nine_places(Decimal(0) if value is None else value)


def outcome_sums(
    status: AttemptStatus, kind: DecisionKind, latency_s: Decimal, cost_usd: Decimal, source: CostSource
) -> ArmSums:
    """The sums of one outcome; zero unless the arm itself answered."""
    if status != "ok" or kind == "cache":
        return ArmSums()
    of_seconds = ArmSums(
        n_outcomes=1, latency_s_sum=latency_s, latency_s_squares=EXACT.multiply(latency_s, latency_s)
    )
    if source == "unknown":
        return replace(of_seconds, n_unpriced=1)
    return replace(of_seconds, cost_usd_sum=cost_usd, cost_usd_squares=EXACT.multiply(cost_usd, cost_usd))


def reward_sums(reward: Reward) -> ArmSums:
    """The sums of one rated answer."""
    return ArmSums(n=reward.weight, reward_sum=reward.weight * reward.value)


def standing_sums(feedback: StandingFeedback) -> dict[str, ArmSums]:
    """The sums of the standing feedback on one decision, by arm."""
    return {arm_id: reward_sums(reward) for arm_id, reward in feedback.rewards().items()}


def differences(before: Mapping[Key, ArmSums], after: Mapping[Key, ArmSums]) -> dict[Key, ArmSums]:
    """By key, `after - before` where it is not zero."""
    nothing = ArmSums()
    with localcontext(prec=_ALL_DIGITS):
        changes = {key: after.get(key, nothing) + -before.get(key, nothing) for key in {*before, *after}}
    return {key: change for key, change in changes.items() if change != nothing}


_ADD = """
UPDATE evidence
SET n = n + $3, reward_sum = reward_sum + $4, n_outcomes = n_outcomes + $5,
    latency_s_sum = latency_s_sum + $6, cost_usd_sum = cost_usd_sum + todays_usd($2, $8, $5 - $9, $7),
    n_unpriced = n_unpriced + $9,
    cost_usd_squares = cost_usd_squares + todays_usd_squares($2, $8, $5 - $9, $7, $10),
    latency_s_squares = latency_s_squares + $11,
    version = version + 1, changed_in = pg_current_xact_id()
WHERE tenant = $1 AND arm_id = $2
RETURNING arm_id, n, reward_sum, n_outcomes, latency_s_sum, cost_usd_sum, n_unpriced, cost_usd_squares,
    latency_s_squares, version
"""
_CREATE = """
INSERT INTO evidence
    (tenant, arm_id, n, reward_sum, n_outcomes, latency_s_sum, cost_usd_sum, version, changed_in)
VALUES ($1, $2, 0, 0, 0, 0, 0, 0, pg_current_xact_id())
ON CONFLICT (tenant, arm_id) DO NOTHING
"""


async def add_sums(
    connection: Connection, tenant: str, changes: Mapping[str, ArmSums]
) -> dict[str, Versioned]:
    """Add sums in today's prices to the arms' rows; return the new sums.

    The rows stay locked until the transaction ends. They are locked in order of arm ids, which prevents
    deadlocks. Call it last in a transaction, so that a busy arm's row is locked briefly.
    """
    return await add_billed(connection, tenant, [Billed(a, sums, _NEWEST) for a, sums in changes.items()])


async def add_billed(connection: Connection, tenant: str, answers: Sequence[Billed]) -> dict[str, Versioned]:
    """Add the sums of answers at the prices they were billed at; each arm's in the order given."""
    changed = {}
    for a in sorted(answers, key=lambda answer: answer.arm_id):
        s = a.sums
        values = (tenant, a.arm_id, s.n, s.reward_sum, s.n_outcomes, s.latency_s_sum, s.cost_usd_sum)
        added = (*values, a.price_version, s.n_unpriced, s.cost_usd_squares, s.latency_s_squares)
        row = await connection.fetchrow(_ADD, *added)
        if row is None:
            # Not an upsert: its CHECKs would test the change, which may be negative, instead of the sum.
            await connection.execute(_CREATE, tenant, a.arm_id)
            row = await connection.fetchrow(_ADD, *added)
        assert row is not None
        changed[a.arm_id] = (row["version"], sums_of(row))
    return changed


def sums_of(row: Record) -> ArmSums:
    """A row of `evidence`, or of a query with its columns."""
    return ArmSums(
        row["n"],
        row["reward_sum"],
        int(row["n_outcomes"]),
        row["latency_s_sum"],
        row["cost_usd_sum"],
        int(row["n_unpriced"]),
        row["cost_usd_squares"],
        row["latency_s_squares"],
    )
