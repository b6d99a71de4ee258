"""The report of one request that callbacks get: its decision, cost, time, tokens and outcome; no texts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from service.completion.request_run import RequestRun
from service.domain.answer import Attempt, Outcome


@dataclass(frozen=True, slots=True)
class AttemptReport:
    """One call of a model."""

    model: str
    deployment: str | None  # of the model, if it has several
    status: str  # ok, failed or cancelled
    propensity: float  # probability with which this model was called
    latency_s: float
    cost_usd: Decimal | None  # None: nobody knows it
    error: str | None  # class of the error
    upstream_status: int | None  # HTTP status of the provider's error


@dataclass(frozen=True, slots=True)
class RequestReport:
    """One request that was answered or abandoned."""

    request_id: str
    decision_id: str
    tenant: str
    dialect: str  # openai, anthropic, ...
    stream: bool
    requested_model: str | None  # None: the router chose
    task: str | None
    chosen_model: str  # of the decision
    model: str  # that answered, or was called last
    decision: str  # exploit, explore, default, pinned, cache, fallback, escalated, ...
    propensity: float  # probability of the decision's model
    status: str  # ok, failed or cancelled
    finish_reason: str | None
    latency_s: float  # of the call that answered
    ttft_s: float | None  # time to the first content; None: no stream
    overhead_s: float  # the router's own time, without the calls
    cost_usd: Decimal | None  # of all calls, US dollars; None: that of one is not known
    prompt_tokens: int  # with cached ones
    cached_tokens: int
    completion_tokens: int  # with reasoning
    reasoning_tokens: int
    tokens_estimated: bool  # the provider reported none
    attempts: tuple[AttemptReport, ...]
    degraded: tuple[str, ...]  # dependencies that were missing
    completed_at: datetime  # UTC


def report_of(run: RequestRun, outcome: Outcome) -> RequestReport:
    """The report of a run with its outcome."""
    query, usage = run.query, outcome.usage
    return RequestReport(
        request_id=query.request_id,
        decision_id=str(run.decision_id),
        tenant=query.tenant,
        dialect=query.dialect,
        stream=query.stream,
        requested_model=query.requested_model,
        task=query.options.task,
        chosen_model=run.arm_id,
        model=outcome.arm_id,
        decision=outcome.kind,
        propensity=run.propensity,
        status=outcome.status,
        finish_reason=outcome.finish_reason,
        latency_s=outcome.latency_s,
        ttft_s=outcome.ttft_s,
        overhead_s=outcome.overhead_s,
        cost_usd=outcome.cost_usd,
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=usage.cached_tokens,
        completion_tokens=usage.completion_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        tokens_estimated=usage.estimated,
        attempts=tuple(map(_attempt, run.attempts)),
        degraded=tuple(dict.fromkeys(run.degraded)),
        completed_at=outcome.completed_at,
    )


def _attempt(attempt: Attempt) -> AttemptReport:
    return AttemptReport(
        model=attempt.arm_id,
        deployment=attempt.deployment,
        status=attempt.status,
        propensity=attempt.propensity,
        latency_s=attempt.latency_s,
        cost_usd=attempt.cost_usd,
        error=attempt.error_type,
        upstream_status=attempt.upstream_status,
    )
