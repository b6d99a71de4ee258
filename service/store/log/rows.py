"""Decisions, attempts and outcomes as rows of their tables: columns by name, for JSON."""

from __future__ import annotations

from collections.abc import Iterator

from service.domain.answer import Attempt, Outcome, Usage
from service.domain.basics import Json
from service.domain.conversation import ConversationState
from service.domain.decision import Decision
from service.domain.explanation import tags_as_json
from service.domain.logged_explanation import packed
from service.store.connection.values import storable, to_half_bytes
from service.store.evidence.sums import nine_places_or_zero, six_places


def decision_row(decision: Decision, *, store_texts: bool) -> Json:
    query, explained = decision.query, packed(decision)
    return {
        "decision_id": decision.decision_id,
        "tenant": query.tenant,
        "request_id": query.request_id,
        "body_digest": query.body_digest,
        "decided_at": decision.decided_at,
        "dialect": query.dialect,
        "stream": query.stream,
        "requested_model": storable(query.requested_model),
        "kind": decision.kind,
        "arm_id": decision.arm_id,
        "propensity": decision.propensity,
        "encoder": decision.encoder,
        "context": None if decision.context is None else to_half_bytes(decision.context),
        "n_chars": len(query.text),
        "n_prompt_tokens": query.n_prompt_tokens,
        "learn": query.options.learn,
        "session_id": storable(query.options.session_id),
        "degraded": decision.degraded,
        "explanation": explained.rest,
        "weighed": explained.weighed,
        "recalled": explained.recalled,
        "query_text": storable(query.text) if store_texts else None,
        "holdout": decision.holdout,
        "task": query.options.task,
        "session_key": None if decision.conversation is None else query.turn.key,
        "tags": tags_as_json(decision.tags) or None,
        "rule": decision.rule,
        "tier": decision.tier,
    }


def state_of_decision(decision: Decision) -> Json | None:
    """The row of its conversation; None: it changes none, or one without a session id."""
    key, state = decision.query.turn.key, decision.conversation
    if key is None or state is None:
        return None
    return {**_state(decision.query.tenant, state), "key": key}


def states_named_by(outcome: Outcome) -> Iterator[Json]:
    """The rows of the conversation under the names that the answer gives it."""
    if outcome.conversation is not None:
        state = _state(outcome.tenant, outcome.conversation)
        for name in outcome.answer_names:
            yield {**state, "key": name}


def moved_state(outcome: Outcome) -> Json | None:
    """The row, without its key, of a conversation with a session id that the answer moved."""
    if outcome.conversation is None or outcome.answer_names:
        return None
    return _state(outcome.tenant, outcome.conversation)


def _state(tenant: str, state: ConversationState) -> Json:
    return {
        "tenant": tenant,
        "arm_id": state.arm_id,
        "vendor": state.vendor,
        "n_foreign": state.n_messages_of_other_vendors,
        "turns": state.turns,
        "holdout": state.holdout,
        "decision_id": state.decision_id,
        "updated_at": state.updated_at,
    }


def outcome_row(outcome: Outcome, *, store_texts: bool) -> Json:
    return {
        "decision_id": outcome.decision_id,
        "tenant": outcome.tenant,
        "arm_id": outcome.arm_id,
        "kind": outcome.kind,
        "status": outcome.status,
        "latency_s": six_places(outcome.latency_s),
        "ttft_s": None if outcome.ttft_s is None else six_places(outcome.ttft_s),
        "overhead_s": six_places(outcome.overhead_s),
        **_usage(outcome.usage),
        "cost_usd": nine_places_or_zero(outcome.cost_usd),
        "finish_reason": storable(outcome.finish_reason),
        "answer_chars": outcome.answer_chars,
        "answer_digest": outcome.answer_digest,
        "answer_text": storable(outcome.answer_text) if store_texts else None,
        "completed_at": outcome.completed_at,
        "price_version": outcome.price_version,
        "call_cost_usd": nine_places_or_zero(outcome.call_cost_usd),
        "cost_source": outcome.cost_source,
        "answer_id": storable(outcome.answer_id),
    }


def attempt_row(tenant: str, attempt: Attempt) -> Json:
    return {
        "attempt_id": attempt.attempt_id,
        "decision_id": attempt.decision_id,
        "tenant": tenant,
        "position": attempt.position,
        "arm_id": attempt.arm_id,
        "propensity": attempt.propensity,
        "status": attempt.status,
        "started_at": attempt.started_at,
        "latency_s": six_places(attempt.latency_s),
        "ttft_s": None if attempt.ttft_s is None else six_places(attempt.ttft_s),
        **_usage(attempt.usage),
        "cost_usd": nine_places_or_zero(attempt.cost_usd),
        "finish_reason": storable(attempt.finish_reason),
        "error_type": attempt.error_type,
        "error_message": storable(attempt.error_message),
        "upstream_status": attempt.upstream_status,
        "cost_source": attempt.cost_source,
        "notes": [storable(note) for note in attempt.notes],
        "deployment": attempt.deployment,
    }


def _usage(usage: Usage) -> Json:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "cached_tokens": usage.cached_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "completion_tokens": usage.completion_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "usage_estimated": usage.estimated,
    }
