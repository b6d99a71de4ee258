"""The log of decisions, attempts and outcomes in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

from asyncpg import Record

from service.domain.answer import Attempt, Outcome
from service.domain.answer_ids import decision_named_by
from service.domain.arm import ArmSums
from service.domain.basics import Json
from service.domain.conversation import ConversationStep
from service.domain.decision import Decision, LoggedDecision
from service.domain.explanation import explanation, in_current_words_of_conversation, tags_as_json
from service.errors import RequestConflict, UnknownRequest
from service.store.connection.pool import Connection, Database
from service.store.connection.values import storable, to_bytes
from service.store.evidence.snapshot import Snapshot
from service.store.evidence.sums import Billed, add_billed, nine_places_or_zero, outcome_sums, six_places
from service.store.log.conversations import move_conversation
from service.store.log.record import request_record
from service.store.log.request_bodies import body_to_store


class PostgresJournal:
    """A Journal.

    Args:
        store_texts: whether the texts of queries and answers are written.
        snapshot: of the evidence; it shows logged outcomes at once, before its next poll.
    """

    is_degraded = False

    def __init__(
        self, database: Database, *, store_texts: bool = False, snapshot: Snapshot | None = None
    ) -> None:
        self._database = database
        self._store_texts = store_texts
        self._snapshot = Snapshot() if snapshot is None else snapshot

    async def find(self, tenant: str, request_id: str) -> LoggedDecision | None:
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_FIND, tenant, request_id)
        return None if row is None else _logged(row)

    async def log_decision(self, decision: Decision) -> None:
        async with self._database.connection() as connection:
            first = await connection.fetchval(
                _INSERT_DECISION,
                *_decision_values(decision, self._text(decision.query.text)),
                body_to_store(decision.query) if self._store_texts else None,
                *_policy_values(decision),
            )
            if first is None:  # the request id was logged before
                query = decision.query
                first = await connection.fetchval(_FIRST_DECISION, query.tenant, query.request_id)
        if first != decision.decision_id:
            raise RequestConflict(
                f"X-Request-ID {decision.query.request_id!r} was used before", param="X-Request-ID"
            )

    async def log_outcome(self, outcome: Outcome, attempts: Sequence[Attempt]) -> None:
        async with self._database.transaction() as connection:
            learns = await connection.fetchval(_LOCK_DECISION, outcome.decision_id, outcome.tenant)
            if learns is None:
                raise UnknownRequest(f"no decision {outcome.decision_id} was logged")
            before = await connection.fetchrow(
                _INSERT_OUTCOME, *_outcome_values(outcome, self._text(outcome.answer_text))
            )
            if outcome.answer_id is not None:
                await connection.execute(_KEEP_ANSWER_ID, outcome.decision_id, storable(outcome.answer_id))
            await move_conversation(connection, outcome)
            if attempts:
                await _insert_attempts(connection, outcome.tenant, attempts)
            changes = _evidence_changes(before, outcome) if learns else []
            changed = await add_billed(connection, outcome.tenant, changes)
        self._snapshot.put(outcome.tenant, changed)

    async def request_named_by(self, tenant: str, answer_id: str) -> str | None:
        decision_id = decision_named_by(answer_id)
        async with self._database.connection() as connection:
            rows = await connection.fetch(_NAMED_BY_ANSWER, tenant, storable(answer_id), decision_id)
        return rows[0]["request_id"] if len(rows) == 1 else None

    async def record(self, tenant: str, request_id: str) -> Json | None:
        async with self._database.connection() as connection:
            return await request_record(connection, tenant, request_id)

    def _text(self, text: str | None) -> str | None:
        return storable(text) if self._store_texts else None


_FIND = """
SELECT decision_id, body_digest, arm_id, propensity, kind, explanation -> 'candidates' AS candidates,
    coalesce(explanation -> 'conversation', explanation -> 'session') AS conversation,
    (SELECT count(*) FROM attempts a WHERE a.decision_id = d.decision_id) AS n_attempts
FROM decisions d
WHERE tenant = $1 AND request_id = $2
"""


def _logged(row: Record) -> LoggedDecision:
    return LoggedDecision(
        decision_id=row["decision_id"],
        body_digest=row["body_digest"],
        arm_id=row["arm_id"],
        propensity=row["propensity"],
        kind=row["kind"],
        n_attempts=row["n_attempts"],
        probabilities=tuple((c["arm_id"], c["probability"]) for c in row["candidates"]),
        step=_step(row["conversation"]),
    )


def _step(logged: Json | None) -> ConversationStep | None:
    return ConversationStep(**in_current_words_of_conversation(logged)) if logged else None


# Inserts the decision, its body and the state of its conversation.
# A decision from the spool replaces no newer state.
_INSERT_DECISION = """
WITH decided AS (
    INSERT INTO decisions
        (decision_id, tenant, request_id, body_digest, decided_at, dialect, stream, requested_model, kind,
         arm_id, propensity, encoder, context, n_chars, n_prompt_tokens, learn, session_id, degraded,
         explanation, query_text, holdout, task, session_key, tags, rule, tier)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
        $22, $23, $29, $30, $31)
    ON CONFLICT DO NOTHING
    RETURNING decision_id, tenant, session_key, arm_id, decided_at
), pinned AS (
    INSERT INTO sessions AS s
        (tenant, key, arm_id, vendor, n_foreign, turns, holdout, decision_id, updated_at)
    SELECT tenant, session_key, arm_id, $24::text, $25::integer, $26::integer, $27::boolean, decision_id,
        decided_at
    FROM decided
    WHERE session_key IS NOT NULL
    ON CONFLICT (tenant, key) DO UPDATE SET
        arm_id = excluded.arm_id, vendor = excluded.vendor, n_foreign = excluded.n_foreign,
        turns = excluded.turns, holdout = excluded.holdout, decision_id = excluded.decision_id,
        updated_at = excluded.updated_at
    WHERE s.updated_at <= excluded.updated_at
), kept AS (
    INSERT INTO request_bodies (decision_id, body, stored_at)
    SELECT decision_id, $28::json, decided_at FROM decided WHERE $28 IS NOT NULL
)
SELECT decision_id FROM decided
"""


def _decision_values(decision: Decision, text: str | None) -> tuple[object, ...]:
    query = decision.query
    return (
        decision.decision_id,
        query.tenant,
        query.request_id,
        query.body_digest,
        decision.decided_at,
        query.dialect,
        query.stream,
        storable(query.requested_model),
        decision.kind,
        decision.arm_id,
        decision.propensity,
        decision.encoder,
        None if decision.context is None else to_bytes(decision.context),
        len(query.text),
        query.n_prompt_tokens,
        query.options.learn,
        storable(query.options.session_id),
        list(decision.degraded),
        explanation(decision),
        text,
        decision.holdout,
        query.options.task,
        *_conversation_values(decision),
    )


def _conversation_values(decision: Decision) -> tuple[object, ...]:
    """The key, vendor, n_foreign, turns and holdout of its conversation; NULL if it changes none."""
    step = decision.step
    if step is None or not decision.query.turn.moves_conversation:
        return (None,) * 5
    return decision.query.turn.key, step.vendor, step.n_messages_of_other_vendors, step.turn, step.holdout


def _policy_values(decision: Decision) -> tuple[object, ...]:
    """The tags, the rule and the tier; NULL where there is none."""
    return tags_as_json(decision.tags) or None, decision.rule, decision.tier


_FIRST_DECISION = "SELECT decision_id FROM decisions WHERE tenant = $1 AND request_id = $2"

# The lock makes transactions that change a decision's share of the evidence run one after the other.
_LOCK_DECISION = """
SELECT learn FROM decisions WHERE decision_id = $1 AND tenant = $2 FOR NO KEY UPDATE
"""

# Returns the outcome before. The outcome completed last counts, in whatever order they are written. A rated
# decision is queued, so that the memory gets the new numbers. The answer names a conversation without a
# session id, so that its next request finds the state.
_KEEP_ANSWER_ID = "UPDATE outcomes SET answer_id = $2 WHERE decision_id = $1"

# Providers might give one id to two answers: then it names neither.
_NAMED_BY_ANSWER = """
SELECT request_id FROM decisions WHERE decision_id = $3 AND tenant = $1
UNION
SELECT d.request_id FROM outcomes o JOIN decisions d ON d.decision_id = o.decision_id
WHERE o.tenant = $1 AND o.answer_id = $2
LIMIT 2
"""

_INSERT_OUTCOME = """
WITH before AS (
    SELECT arm_id, kind, status, latency_s, coalesce(call_cost_usd, cost_usd) AS call_cost_usd, cost_source,
        completed_at, price_version
    FROM outcomes WHERE decision_id = $1
), written AS (
    INSERT INTO outcomes
        (decision_id, tenant, arm_id, kind, status, latency_s, ttft_s, overhead_s, prompt_tokens,
         cached_tokens, completion_tokens, reasoning_tokens, usage_estimated, cost_usd, finish_reason,
         answer_chars, answer_digest, answer_text, completed_at, price_version, cache_write_tokens,
         call_cost_usd, cost_source)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
        $22, $23)
    ON CONFLICT (decision_id) DO UPDATE SET
        arm_id = excluded.arm_id, kind = excluded.kind, status = excluded.status,
        latency_s = excluded.latency_s, ttft_s = excluded.ttft_s, overhead_s = excluded.overhead_s,
        prompt_tokens = excluded.prompt_tokens, cached_tokens = excluded.cached_tokens,
        completion_tokens = excluded.completion_tokens, reasoning_tokens = excluded.reasoning_tokens,
        usage_estimated = excluded.usage_estimated, cost_usd = excluded.cost_usd,
        finish_reason = excluded.finish_reason, answer_chars = excluded.answer_chars,
        answer_digest = excluded.answer_digest, answer_text = excluded.answer_text,
        completed_at = excluded.completed_at, price_version = excluded.price_version,
        cache_write_tokens = excluded.cache_write_tokens, call_cost_usd = excluded.call_cost_usd,
        cost_source = excluded.cost_source
    WHERE outcomes.completed_at <= excluded.completed_at
), rated AS (
    INSERT INTO memory_queue (decision_id, tenant, event_id, queued_at)
    SELECT d.decision_id, d.tenant, e.event_id, $19
    FROM decisions d
    JOIN LATERAL (
        SELECT event_id FROM feedback_events WHERE decision_id = $1 ORDER BY event_id DESC LIMIT 1
    ) e ON true
    WHERE d.decision_id = $1 AND d.learn AND d.context IS NOT NULL
    ON CONFLICT (decision_id) DO NOTHING
), named AS (
    INSERT INTO sessions AS s
        (tenant, key, arm_id, vendor, n_foreign, turns, holdout, decision_id, updated_at)
    SELECT $2, key, $25::text, $26::text, $27::integer, $28::integer, $29::boolean, $1, $30::timestamptz
    FROM unnest($24::bytea[]) AS key
    ON CONFLICT (tenant, key) DO UPDATE SET
        arm_id = excluded.arm_id, vendor = excluded.vendor, n_foreign = excluded.n_foreign,
        turns = excluded.turns, holdout = excluded.holdout, decision_id = excluded.decision_id,
        updated_at = excluded.updated_at
    WHERE s.updated_at <= excluded.updated_at
)
SELECT * FROM before
"""


def _outcome_values(outcome: Outcome, text: str | None) -> tuple[object, ...]:
    return (
        outcome.decision_id,
        outcome.tenant,
        outcome.arm_id,
        outcome.kind,
        outcome.status,
        six_places(outcome.latency_s),
        None if outcome.ttft_s is None else six_places(outcome.ttft_s),
        six_places(outcome.overhead_s),
        outcome.usage.prompt_tokens,
        outcome.usage.cached_tokens,
        outcome.usage.completion_tokens,
        outcome.usage.reasoning_tokens,
        outcome.usage.estimated,
        nine_places_or_zero(outcome.cost_usd),
        storable(outcome.finish_reason),
        outcome.answer_chars,
        outcome.answer_digest,
        text,
        outcome.completed_at,
        outcome.price_version,
        outcome.usage.cache_write_tokens,
        nine_places_or_zero(outcome.call_cost_usd),
        outcome.cost_source,
        *_answer_names(outcome),
    )


def _answer_names(outcome: Outcome) -> tuple[object, ...]:
    """The names by the answer, and the state of the conversation; the same order for every transaction."""
    conversation = outcome.conversation
    if conversation is None or not outcome.answer_names:
        return ([], *(None,) * 6)
    return (
        sorted(outcome.answer_names),
        conversation.arm_id,
        conversation.vendor,
        conversation.n_messages_of_other_vendors,
        conversation.turns,
        conversation.holdout,
        conversation.updated_at,
    )


_INSERT_ATTEMPT = """
INSERT INTO attempts
    (attempt_id, decision_id, tenant, position, arm_id, propensity, status, started_at, latency_s, ttft_s,
     prompt_tokens, cached_tokens, completion_tokens, reasoning_tokens, usage_estimated, cost_usd,
     finish_reason, error_type, error_message, upstream_status, cache_write_tokens, cost_source, notes,
     deployment)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22,
     $23, $24)
ON CONFLICT (attempt_id) DO NOTHING
"""


def _attempt_values(tenant: str, attempt: Attempt) -> tuple[object, ...]:
    return (
        attempt.attempt_id,
        attempt.decision_id,
        tenant,
        attempt.position,
        attempt.arm_id,
        attempt.propensity,
        attempt.status,
        attempt.started_at,
        six_places(attempt.latency_s),
        None if attempt.ttft_s is None else six_places(attempt.ttft_s),
        attempt.usage.prompt_tokens,
        attempt.usage.cached_tokens,
        attempt.usage.completion_tokens,
        attempt.usage.reasoning_tokens,
        attempt.usage.estimated,
        nine_places_or_zero(attempt.cost_usd),
        storable(attempt.finish_reason),
        attempt.error_type,
        storable(attempt.error_message),
        attempt.upstream_status,
        attempt.usage.cache_write_tokens,
        attempt.cost_source,
        [storable(note) for note in attempt.notes],
        attempt.deployment,
    )


async def _insert_attempts(connection: Connection, tenant: str, attempts: Sequence[Attempt]) -> None:
    rows = [_attempt_values(tenant, attempt) for attempt in attempts]
    if len(rows) == 1:  # the usual case; executemany takes two more round trips
        await connection.execute(_INSERT_ATTEMPT, *rows[0])
        return
    await connection.executemany(_INSERT_ATTEMPT, rows)


def _evidence_changes(before: Record | None, outcome: Outcome) -> list[Billed]:
    """Subtract the sums of the outcome before, and add those of this one."""
    if before is not None and before["completed_at"] > outcome.completed_at:
        return []
    new = outcome_sums(
        outcome.status,
        outcome.kind,
        six_places(outcome.latency_s),
        nine_places_or_zero(outcome.call_cost_usd),
        outcome.cost_source,
    )
    changes = [] if before is None else [_subtracted(before)]
    changes.append(Billed(outcome.arm_id, new, outcome.price_version))
    return [change for change in changes if change.sums != ArmSums()]


def _subtracted(before: Record) -> Billed:
    old = outcome_sums(
        before["status"],
        before["kind"],
        before["latency_s"],
        before["call_cost_usd"],
        before["cost_source"],
    )
    return Billed(before["arm_id"], -old, before["price_version"])
