"""The outcome of a run, as the journal logs it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import TypedDict

from service.completion.model_call import texts_of
from service.completion.request_run import RequestRun
from service.conversations.answer_names import names_of_messages
from service.domain.answer import Outcome, Usage
from service.domain.basics import AttemptStatus
from service.domain.cached_answer import CachedAnswer


def outcome_of(run: RequestRun, status: AttemptStatus, now: datetime, *, store_texts: bool) -> Outcome:
    """The outcome of the run's last call, or of a run without a call."""
    if run.last is None or (final := run.attempt_of(run.last)) is None:
        return _without_call(run, status, now)
    called_s = sum(attempt.latency_s for attempt in run.attempts)
    return Outcome(
        decision_id=run.decision_id,
        tenant=run.query.tenant,
        arm_id=final.arm_id,
        kind=run.answered_kind,
        status=status,
        latency_s=final.latency_s,
        ttft_s=final.ttft_s,
        overhead_s=max(0.0, (now - run.query.received_at).total_seconds() - called_s),
        usage=final.usage,
        cost_usd=run.cost_usd,
        call_cost_usd=final.cost_usd,
        cost_source=final.cost_source,
        finish_reason=final.finish_reason,
        completed_at=now,
        price_version=run.last.arm.price_version,
        answer_id=run.last.native_id,
        conversation=run.conversation_after(now),
        answer_names=run.answer_names(status),
        **_answered(run.last.text, store_texts=store_texts),
    )


def outcome_of_cached_answer(
    run: RequestRun, cached: CachedAnswer, now: datetime, *, store_texts: bool
) -> Outcome:
    """The outcome of an answer from the cache, at no cost; its conversation is where the answer left it."""
    choices = cached.body["choices"]
    message = choices[0].get("message") or {}
    conversation, names = cached.conversation, names_of_messages(run.query, [c["message"] for c in choices])
    return replace(
        _without_call(run, "ok", now),
        finish_reason=choices[0].get("finish_reason"),
        conversation=None if conversation is None else replace(conversation, updated_at=now),
        answer_names=() if conversation is None else names,
        **_answered("".join(texts_of(message)), store_texts=store_texts),
    )


def _without_call(run: RequestRun, status: AttemptStatus, now: datetime) -> Outcome:
    return Outcome(
        decision_id=run.decision_id,
        tenant=run.query.tenant,
        arm_id=run.arm_id,
        kind=run.kind,
        status=status,
        latency_s=0.0,
        ttft_s=None,
        overhead_s=max(0.0, (now - run.query.received_at).total_seconds()),
        usage=Usage(),
        cost_usd=Decimal(0),
        call_cost_usd=Decimal(0),
        finish_reason=None,
        completed_at=now,
        **_answered("", store_texts=False),
    )


class _Answered(TypedDict):
    answer_chars: int
    answer_digest: bytes | None
    answer_text: str | None


def _answered(text: str, *, store_texts: bool) -> _Answered:
    """The logged fields of an answer's text."""
    return {
        "answer_chars": len(text),
        "answer_digest": hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() if text else None,
        "answer_text": text if store_texts and text else None,
    }
