"""Everything about one request, in the shape of GET /requests/{request_id}."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from asyncpg import Record

from service.domain.basics import Json
from service.domain.explanation import for_clients
from service.domain.logged_explanation import with_draw
from service.store.connection.pool import Connection
from service.store.evidence.standing_feedback import StandingFeedback, event_of
from service.store.explanations import EXPLAINED, explanation_of
from service.store.log.neighbour_ids import with_ids

_DECISION = f"""
SELECT decision_id, tenant, request_id, body_digest, decided_at, dialect, stream, requested_model, kind,
    arm_id, propensity, holdout, n_chars, n_prompt_tokens, learn, session_id, task, degraded, query_text,
    tags, rule, tier, {EXPLAINED}
FROM decisions d
WHERE tenant = $1 AND request_id = $2
"""  # noqa: S608  # joins constants
_ATTEMPTS = """
SELECT attempt_id, position, arm_id, propensity, status, started_at, latency_s, ttft_s, prompt_tokens,
    cached_tokens, cache_write_tokens, completion_tokens, reasoning_tokens, usage_estimated, cost_usd,
    cost_source, finish_reason, error_type, error_message, upstream_status, notes, deployment
FROM attempts
WHERE decision_id = $1
ORDER BY position, started_at
"""
_OUTCOME = """
SELECT arm_id, kind, status, latency_s, ttft_s, overhead_s, prompt_tokens, cached_tokens,
    cache_write_tokens, completion_tokens, reasoning_tokens, usage_estimated, cost_usd, cost_source,
    finish_reason, answer_chars, answer_digest, answer_text, completed_at
FROM outcomes
WHERE decision_id = $1
"""
_SHADOW = """
SELECT arm_id, status, started_at, latency_s, NULL AS ttft_s, prompt_tokens, cached_tokens,
    cache_write_tokens, completion_tokens, reasoning_tokens, usage_estimated, cost_usd, cost_source,
    finish_reason, error_type, error_message, upstream_status, answer_text
FROM shadow_answers
WHERE decision_id = $1
ORDER BY started_at, arm_id
"""
_FEEDBACK = """
SELECT event_id, score, reward, weight, feedback_text, session_id, arm_id, received_at, signal, key_id, source
FROM feedback_events
WHERE decision_id = $1 AND reverted_by IS NULL
ORDER BY event_id
"""


async def request_record(connection: Connection, tenant: str, request_id: str) -> Json | None:
    """The record of one request; None: the request does not exist."""
    decision = await connection.fetchrow(_DECISION, tenant, request_id)
    if decision is None:
        return None
    explained = with_draw(explanation_of(decision), decision["arm_id"], decision["propensity"])
    explained = await with_ids(connection, decision, explained)
    attempts = await connection.fetch(_ATTEMPTS, decision["decision_id"])
    outcome = await connection.fetchrow(_OUTCOME, decision["decision_id"])
    shadows = await connection.fetch(_SHADOW, decision["decision_id"])
    events = await connection.fetch(_FEEDBACK, decision["decision_id"])
    feedback = [_event(row) for row in events if row["signal"] is None]
    return {
        **_decision(decision),
        **for_clients(explained),
        "model": decision["arm_id"] if outcome is None else outcome["arm_id"],
        "attempts": [_attempt(row) for row in attempts],
        "outcome": None if outcome is None else _outcome(outcome, attempts, decision["tags"] or []),
        "shadow": [_shadow(row) for row in shadows],
        "feedback": feedback,
        "signals": _signals(decision["learn"], events),
        "reward": feedback[-1]["reward"] if feedback else None,
    }


def _decision(row: Record) -> Json:
    return {
        "request_id": row["request_id"],
        "decision_id": str(row["decision_id"]),
        "tenant": row["tenant"],
        "decided_at": row["decided_at"].isoformat(),
        "dialect": row["dialect"],
        "stream": row["stream"],
        "requested_model": row["requested_model"],
        "decision": row["kind"],
        "chosen_model": row["arm_id"],
        "propensity": row["propensity"],
        "holdout": row["holdout"],
        "degraded": list(row["degraded"]),
        "learn": row["learn"],
        "session_id": row["session_id"],
        "task": row["task"],
        "tags": row["tags"] or [],
        "rule": row["rule"],
        "tier": row["tier"],
        "query": {
            "n_chars": row["n_chars"],
            "n_prompt_tokens": row["n_prompt_tokens"],
            "digest": row["body_digest"].hex(),
            "text": row["query_text"],
        },
    }


def _attempt(row: Record) -> Json:
    return {
        "attempt_id": str(row["attempt_id"]),
        "position": row["position"],
        "model": row["arm_id"],
        "deployment": row["deployment"],
        "propensity": row["propensity"],
        "status": row["status"],
        "started_at": row["started_at"].isoformat(),
        **_call(row),
        "error_type": row["error_type"],
        "error_message": row["error_message"],
        "upstream_status": row["upstream_status"],
        "notes": row["notes"],
    }


def _shadow(row: Record) -> Json:
    return {
        "model": row["arm_id"],
        "status": row["status"],
        "started_at": row["started_at"].isoformat(),
        **_call(row),
        "error_type": row["error_type"],
        "error_message": row["error_message"],
        "upstream_status": row["upstream_status"],
        "answer_text": row["answer_text"],
    }


def _outcome(row: Record, attempts: Sequence[Record], tags: Sequence[Json]) -> Json:
    """The outcome; its dollars are those of all calls and tags, and not known if those of one are not."""
    is_known = all(attempt["cost_source"] != "unknown" for attempt in attempts)
    is_known &= all(tag["cost_usd"] is not None for tag in tags)
    return {
        "model": row["arm_id"],
        "decision": row["kind"],
        "status": row["status"],
        **_call(row),
        "cost_usd": float(row["cost_usd"]) if is_known else None,
        "overhead_s": float(row["overhead_s"]),
        "answer_chars": row["answer_chars"],
        "answer_digest": None if row["answer_digest"] is None else row["answer_digest"].hex(),
        "answer_text": row["answer_text"],
        "completed_at": row["completed_at"].isoformat(),
    }


def _call(row: Record) -> Json:
    return {
        "latency_s": float(row["latency_s"]),
        "ttft_s": None if row["ttft_s"] is None else float(row["ttft_s"]),
        "usage": {
            "prompt_tokens": row["prompt_tokens"],
            "cached_tokens": row["cached_tokens"],
            "cache_write_tokens": row["cache_write_tokens"],
            "completion_tokens": row["completion_tokens"],
            "reasoning_tokens": row["reasoning_tokens"],
            "estimated": row["usage_estimated"],
        },
        "cost_usd": None if row["cost_source"] == "unknown" else float(row["cost_usd"]),
        "cost_source": row["cost_source"],
        "finish_reason": row["finish_reason"],
    }


def _event(row: Record) -> Json:
    return {
        "event_id": row["event_id"],
        "score": row["score"],
        "reward": None if row["reward"] is None else float(row["reward"]),
        "weight": None if row["weight"] is None else float(row["weight"]),
        "feedback_text": row["feedback_text"],
        "session_id": row["session_id"],
        "key_id": None if row["key_id"] is None else str(row["key_id"]),
        "source": row["source"],
        "model": row["arm_id"],
        "received_at": row["received_at"].isoformat(),
    }


def _signals(learns: bool, events: Sequence[Record]) -> list[Json]:
    """The implicit signals; each counts until its arm is scored."""
    standing = reduce(StandingFeedback.after, map(event_of, events), StandingFeedback())
    return [
        {
            "signal": row["signal"],
            "model": row["arm_id"],
            "weight": float(row["weight"]),
            "counts": learns and standing.scored(row["arm_id"]) is None,
            "received_at": row["received_at"].isoformat(),
        }
        for row in events
        if row["signal"] is not None
    ]
