"""What one outcome and one reward add to an arm's sums, exactly; and the table that holds the sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import TypeVar

from asyncpg import Record

from service.domain.arm import ArmSums
from service.domain.basics import AttemptStatus, DecisionKind
from service.domain.feedback import Reward
from service.store.connection.pool import Connection
from service.store.evidence.standing_feedback import StandingFeedback

_SIX_PLACES = Decimal("0.000001")
_NINE_PLACES = Decimal("0.000000001")
_NEWEST = 2**31 - 1  # no change of a price comes after it
_ALL_DIGITS = 20_000  # more than a NUMERIC has; each change of a price makes sums of dollars longer

Key = TypeVar("Key")
Versioned = tuple[int, ArmSums]  # of two readings of one row, the one with the larger version is newer


@dataclass(frozen=True, slots=True)
class Billed:
    """What an answer adds to its arm's sums, with dollars as they were billed."""

    arm_id: str
    sums: ArmSums
    price_version: int


def six_places(value: float | Decimal) -> Decimal:
    """Seconds, as they are stored: rounded once, before anything is summed."""
    return Decimal(value).quantize(_SIX_PLACES)


def nine_places(value: Decimal) -> Decimal:
    """Dollars, as they are stored."""
    return value.quantize(_NINE_PLACES)


def outcome_sums(status: AttemptStatus, kind: DecisionKind, latency_s: Decimal, cost_usd: Decimal) -> ArmSums:
    """What an outcome says of its arm: nothing, unless the arm itself answered."""
    if status != "ok" or kind == "cache":
        return ArmSums()
    return ArmSums(n_outcomes=1, latency_s_sum=latency_s, cost_usd_sum=cost_usd)


def reward_sums(reward: Reward) -> ArmSums:
    """What a rated answer says of its arm."""
    return ArmSums(n=reward.weight, reward_sum=reward.weight * reward.value)


def standing_sums(verdict: StandingFeedback) -> dict[str, ArmSums]:
    """What all that was said of one decision says of its arms."""
    return {arm_id: reward_sums(reward) for arm_id, reward in verdict.rewards().items()}


def differences(before: Mapping[Key, ArmSums], after: Mapping[Key, ArmSums]) -> dict[Key, ArmSums]:
    """By key, what must be added to come from `before` to `after`."""
    nothing = ArmSums()
    with localcontext(prec=_ALL_DIGITS):
        changes = {key: after.get(key, nothing) + -before.get(key, nothing) for key in {*before, *after}}
    return {key: change for key, change in changes.items() if change != nothing}


_ADD = """
UPDATE evidence
SET n = n + $3, reward_sum = reward_sum + $4, n_outcomes = n_outcomes + $5,
    latency_s_sum = latency_s_sum + $6, cost_usd_sum = cost_usd_sum + todays_usd($2, $8, $5, $7),
    version = version + 1, changed_in = pg_current_xact_id()
WHERE tenant = $1 AND arm_id = $2
RETURNING arm_id, n, reward_sum, n_outcomes, latency_s_sum, cost_usd_sum, version
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
    """Add sums in today's prices to the arms' rows; return them as they are then.

    Rows stay locked until the transaction ends. Arms go in order of their ids, so that no two
    transactions wait for each other; call it last, so that a busy arm's row is held briefly.
    """
    return await add_billed(connection, tenant, [Billed(a, sums, _NEWEST) for a, sums in changes.items()])


async def add_billed(connection: Connection, tenant: str, answers: Sequence[Billed]) -> dict[str, Versioned]:
    """The same of answers in the prices they were billed at, an arm's in the order given."""
    changed = {}
    for a in sorted(answers, key=lambda answer: answer.arm_id):
        s = a.sums
        values = (tenant, a.arm_id, s.n, s.reward_sum, s.n_outcomes, s.latency_s_sum, s.cost_usd_sum)
        row = await connection.fetchrow(_ADD, *values, a.price_version)
        if row is None:
            # Not an upsert: its CHECKs would see the difference, which may be negative, not the sum.
            await connection.execute(_CREATE, tenant, a.arm_id)
            row = await connection.fetchrow(_ADD, *values, a.price_version)
        assert row is not None
        changed[a.arm_id] = (row["version"], sums_of(row))
    return changed


def sums_of(row: Record) -> ArmSums:
    """A row of `evidence`, or of a query with its columns."""
    return ArmSums(
        row["n"], row["reward_sum"], int(row["n_outcomes"]), row["latency_s_sum"], row["cost_usd_sum"]
    )
