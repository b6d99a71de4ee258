"""Append events to the log of locked decisions, and add them to sums and histories."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from bandit.drift import ArmHistory
from service.domain.basics import EXACT
from service.domain.feedback import Pending, Reward
from service.store.connection.pool import Connection
from service.store.evidence.histories import Versioned as VersionedHistory
from service.store.evidence.histories import columns_of, folded
from service.store.evidence.locked import Arm, Locked, LockedDecision
from service.store.evidence.standing_feedback import Event
from service.store.evidence.sums import Versioned as VersionedSums
from service.store.evidence.sums import sums_of


@dataclass(frozen=True, slots=True)
class Written:
    """The changes that the events of a group made.

    Args:
        event_ids: of the events, in their order.
    """

    event_ids: Sequence[int] = ()
    sums: Mapping[Arm, VersionedSums] = field(default_factory=dict)
    histories: Mapping[Arm, VersionedHistory] = field(default_factory=dict)


class Group:
    """The events that a transaction appends to the decisions it has locked.

    Sums and histories change in the order of the events, which is the order of their numbers.
    """

    def __init__(self, locked: Locked) -> None:
        self.locked = locked
        self._events: list[tuple[LockedDecision, Event, datetime]] = []
        self._newest: dict[UUID, int] = {}  # the place of each decision's newest event
        self._histories: defaultdict[str, dict[str, ArmHistory]] = defaultdict(dict)  # by tenant
        for (tenant, arm_id), (_, history) in locked.histories.items():
            self._histories[tenant][arm_id] = history
        self._changed: set[Arm] = set()
        self._sums: defaultdict[Arm, tuple[Decimal, Decimal]] = defaultdict(lambda: (Decimal(0), Decimal(0)))

    def append(self, decision: LockedDecision, event: Event, received_at: datetime) -> int:
        """Append one event; returns its place among the group's events.

        Raises ValueError if it does not fit the arm's history; the group must not be written then.
        """
        before, recorded = decision.standing, decision.append(event)
        place = self._newest[decision.decision_id] = len(self._events)
        self._events.append((decision, event, received_at))
        if decision.learns:
            tenant = decision.tenant
            for arm_id, history in folded(self._histories[tenant], recorded).items():
                self._histories[tenant][arm_id] = history
                self._changed.add((tenant, arm_id))
            self._count(tenant, before.rewards(), Decimal(-1))
            self._count(tenant, decision.standing.rewards(), Decimal(1))
        return place

    def _count(self, tenant: str, rewards: Mapping[str, Reward], sign: Decimal) -> None:
        """Add rewards to the changes of the sums, or subtract them; exact in any order."""
        for arm_id, reward in rewards.items():
            n, reward_sum = self._sums[tenant, arm_id]
            weight = sign * reward.weight
            self._sums[tenant, arm_id] = EXACT.add(n, weight), EXACT.fma(weight, reward.value, reward_sum)

    def pending(self, decision: LockedDecision, written: Written) -> Pending | None:
        """What the memory must take over of a decision with events; None: nothing."""
        if not decision.is_for_memory:
            return None
        return decision.pending(written.event_ids[self._newest[decision.decision_id]])

    async def write(self, connection: Connection, sender: str) -> Written:
        """Write the events, sums and histories in one statement, the last of the transaction.

        Args:
            sender: the replica, as all others are notified of it.
        """
        if not self._events:
            return Written()
        histories = {arm: self._histories[arm[0]][arm[1]] for arm in sorted(self._changed)}
        sums = {arm: change for arm, change in sorted(self._sums.items()) if any(change)}
        rows = await connection.fetch(
            _WRITE,
            *_columns([_event_values(*event) for event in self._events], 12),
            list({d.decision_id for d, _, _ in self._events if d.is_for_memory}),
            *_columns([(*arm, *columns_of(history)) for arm, history in histories.items()], 21),
            *_columns([(*arm, *change) for arm, change in sums.items()], 4),
            sender,
        )
        return Written(
            event_ids=rows[0]["event_ids"],
            sums={
                (row["tenant"], row["arm_id"]): (row["version"], sums_of(row))
                for row in rows
                if row["arm_id"] is not None  # the only row, if no sums changed
            },
            histories={
                arm: (self.locked.histories[arm][0] + 1, history) for arm, history in histories.items()
            },
        )


def _event_values(decision: LockedDecision, event: Event, received_at: datetime) -> tuple[object, ...]:
    return (
        decision.decision_id,
        decision.tenant,
        event.score,
        None if event.reward is None else event.reward.value,
        None if event.reward is None else event.reward.weight,
        event.text,
        event.arm_id,
        received_at,
        event.signal,
        event.session_id,
        event.rater.key_id,
        event.rater.source,
    )


def _columns(rows: Sequence[tuple[object, ...]], n_columns: int) -> list[list[object]]:
    """The rows by column, also if there is no row."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(n_columns)]


# An arm's events have the order of their numbers, because its history is locked before they are numbered.
_WRITE = """
WITH event AS (
    INSERT INTO feedback_events
        (decision_id, tenant, score, reward, weight, feedback_text, arm_id, received_at, signal, session_id,
         key_id, source)
    SELECT decision_id, tenant, score, reward, weight, feedback_text, arm_id, received_at, signal, session_id,
        key_id, source
    FROM unnest($1::uuid[], $2::text[], $3::float8[], $4::numeric[], $5::numeric[], $6::text[], $7::text[],
        $8::timestamptz[], $9::text[], $10::text[], $11::uuid[], $12::text[]) WITH ORDINALITY AS e
        (decision_id, tenant, score, reward, weight, feedback_text, arm_id, received_at, signal, session_id,
         key_id, source, place)
    ORDER BY place
    RETURNING event_id, decision_id, tenant, received_at
), queued AS (
    INSERT INTO memory_queue (decision_id, tenant, event_id, queued_at)
    SELECT decision_id, tenant, max(event_id), max(received_at)
    FROM event
    WHERE decision_id = ANY ($13::uuid[])
    GROUP BY decision_id, tenant
    ORDER BY decision_id
    ON CONFLICT (decision_id) DO UPDATE SET event_id = excluded.event_id
), saved AS (
    UPDATE histories h
    SET started_at = c.started_at, n = c.n, reward_sum = c.reward_sum, n_changes = c.n_changes,
        n_predicted = c.n_predicted, squared_errors = c.squared_errors::float8[],
        rise_statistic = c.rise_statistic, rise_started_at = c.rise_started_at, rise_n = c.rise_n,
        rise_reward_sum = c.rise_reward_sum, fall_statistic = c.fall_statistic,
        fall_started_at = c.fall_started_at, fall_n = c.fall_n, fall_reward_sum = c.fall_reward_sum,
        newest = c.newest, n_rated = c.n_rated, is_fallen = c.is_fallen, fallen_at = c.fallen_at,
        raters = c.raters::json, version = h.version + 1, changed_in = pg_current_xact_id()
    FROM unnest($14::text[], $15::text[], $16::float8[], $17::float8[], $18::float8[], $19::bigint[],
        $20::float8[], $21::text[], $22::float8[], $23::float8[], $24::float8[], $25::float8[], $26::float8[],
        $27::float8[], $28::float8[], $29::float8[], $30::float8[], $31::float8[], $32::boolean[],
        $33::float8[], $34::text[]) AS c
        (tenant, arm_id, started_at, n, reward_sum, n_changes, n_predicted, squared_errors, rise_statistic,
         rise_started_at, rise_n, rise_reward_sum, fall_statistic, fall_started_at, fall_n, fall_reward_sum,
         newest, n_rated, is_fallen, fallen_at, raters)
    WHERE h.tenant = c.tenant AND h.arm_id = c.arm_id
)
SELECT ARRAY(SELECT event_id FROM event ORDER BY event_id) AS event_ids, e.tenant, e.arm_id, e.n,
    e.reward_sum, e.n_outcomes, e.latency_s_sum, e.cost_usd_sum, e.n_unpriced, e.cost_usd_squares,
    e.latency_s_squares, e.version
FROM pg_notify('evidence', $39) AS notified
LEFT JOIN add_rewards($35, $36, $37, $38) e ON true
"""
