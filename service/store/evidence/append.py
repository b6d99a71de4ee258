"""Append events to the log of one decision, and add them to sums and histories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from itertools import accumulate, pairwise

from asyncpg import Record

from service.store.connection.pool import Connection
from service.store.evidence.histories import RecordedFeedback, folded, lock_histories, save_histories
from service.store.evidence.histories import Versioned as VersionedHistory
from service.store.evidence.standing_feedback import Event, StandingFeedback, standing_feedback_of
from service.store.evidence.sums import Versioned as VersionedSums
from service.store.evidence.sums import add_sums, differences, standing_sums

_INSERT_EVENT = """
WITH event AS (
    INSERT INTO feedback_events
        (decision_id, tenant, score, reward, weight, feedback_text, arm_id, received_at, signal,
         session_id)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $10, $11)
    RETURNING event_id
), queued AS (
    INSERT INTO memory_queue (decision_id, tenant, event_id, queued_at)
    SELECT $1, $2, event_id, $8 FROM event WHERE $9
    ON CONFLICT (decision_id) DO UPDATE SET event_id = excluded.event_id
)
SELECT event_id, pg_notify('evidence', '') FROM event
"""


@dataclass(frozen=True, slots=True)
class Applied:
    """The changes that events made."""

    event_ids: list[int]
    sums: dict[str, VersionedSums]
    histories: dict[str, VersionedHistory]


async def append_events(
    connection: Connection,
    decision: Record,
    current: Record,
    events: Sequence[Event],
    received_at: datetime,
) -> Applied:
    """Append events of one locked decision, and add them to sums and histories if its `learn` is on.

    Args:
        decision: its row with tenant, decision_id, learn, has_context, decided_at, n_rated and candidates.
        current: its row of `verdicts`, with all arms that were ever scored for it in `arms_scored`.
    """
    before = standing_feedback_of(current)
    standing = list(accumulate(events, StandingFeedback.after, initial=before))
    learns, tenant = decision["learn"], decision["tenant"]
    recorded = _recorded(decision, current, events, standing)
    arms = {arm_id for feedback in recorded for arm_id in feedback.arms} if learns else set()
    histories = await lock_histories(connection, tenant, arms)
    event_ids = [await _insert_event(connection, decision, event, received_at) for event in events]
    if not learns:
        return Applied(event_ids, {}, {})
    learned = reduce(lambda so_far, feedback: so_far | folded(so_far, feedback), recorded, histories)
    return Applied(
        event_ids,
        histories=await save_histories(connection, tenant, learned),
        sums=await add_sums(
            connection, tenant, differences(standing_sums(before), standing_sums(standing[-1]))
        ),
    )


def _recorded(
    decision: Record, current: Record, events: Sequence[Event], standing: Sequence[StandingFeedback]
) -> list[RecordedFeedback]:
    """The events as histories need them; `standing` is the feedback before the first and after each."""
    return [
        RecordedFeedback(
            decided_at=decision["decided_at"],
            n_rated=decision["n_rated"],
            candidates=decision["candidates"],
            before=before,
            after=after,
            is_first=event.arm_id not in current["arms_scored"],
        )
        for event, (before, after) in zip(events, pairwise(standing), strict=True)
    ]


async def _insert_event(connection: Connection, decision: Record, event: Event, received_at: datetime) -> int:
    event_id: int = await connection.fetchval(
        _INSERT_EVENT,
        decision["decision_id"],
        decision["tenant"],
        event.score,
        None if event.reward is None else event.reward.value,
        None if event.reward is None else event.reward.weight,
        event.text,
        event.arm_id,
        received_at,
        decision["learn"] and decision["has_context"],
        event.signal,
        event.session_id,
    )
    return event_id
