"""Shared by the tests of the stores: values, and a journal with its evidence."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import numpy as np

from service.domain.answer import Attempt, Outcome, Usage
from service.domain.decision import Candidate, Decision, LoggedPriorState, Neighbour, Rejection
from service.domain.feedback import Feedback, Reward
from service.domain.ports import Evidence, Journal
from service.domain.query import Native, Options, Query
from service.domain.tags import Tag
from service.learning.rewards import reward_of

NOW = datetime(2026, 7, 1, 12, 0, 0, 123_457, tzinfo=UTC)
TENANT = "default"
ENCODER = "minilm"


@dataclass(frozen=True)
class Stores:
    """A journal and its evidence."""

    journal: Journal
    evidence: Evidence


def a_query(request_id: str = "r1", *, tenant: str = TENANT, learn: bool = True, text: str = "Why?") -> Query:
    return Query(
        tenant=tenant,
        request_id=request_id,
        request_id_given=True,
        body={"messages": [{"role": "user", "content": text}]},
        text=text,
        body_digest=hashlib.sha256(text.encode("utf-8", "replace")).digest(),
        dialect="openai",
        requested_model=None,
        stream=False,
        n_prompt_tokens=2,
        max_output_tokens=None,
        options=Options(
            models=frozenset({"small", "large"}),
            exclude=frozenset({"tiny"}),
            require_data_use=frozenset({"no_training"}),
            max_cost_usd=Decimal("0.01"),
            session_id="s\0 1",
            task="triage/v2",
            learn=learn,
        ),
        received_at=NOW,
        native=Native({"messages": [{"role": "user", "content": text}]}, {}),
    )


def a_candidate(arm_id: str, probability: float) -> Candidate:
    return Candidate(
        arm_id=arm_id,
        probability=probability,
        prior_state=LoggedPriorState(0.8, 20.0, 3.0, 2.5, 0.4, 0.0001, 1.2, None, 0),
        predicted=(0.8, 0.81, 0.79, 0.8),
        alpha=4.0,
        beta=1.0,
        local_mass=0.5,
        bonus=0.0,
        expected_latency_s=1.5,
        expected_cost_usd=0.0002,
        quality=0.5,
        speed=0.1,
        cost=-0.05,
        budget=0.0,
        utility=0.55,
    )


def a_decision(request_id: str = "r1", *, arm_id: str = "small", **of_query: object) -> Decision:
    return Decision(
        decision_id=uuid4(),
        query=a_query(request_id, **of_query),  # type: ignore[arg-type]
        kind="exploit",
        arm_id=arm_id,
        propensity=0.7,
        uniform=0.25,
        candidates=(a_candidate("small", 0.7), a_candidate("large", 0.1 + 0.2)),
        rejected=(Rejection("tiny", "context too long"),),
        neighbours=(Neighbour(uuid4(), "r0", "small", 0.9, 60.0, 1.0, 1.0, 1.25, 2**-13, "triage/v2", 0),),
        n_rated=3.0,
        expert_weights=(0.5, 0.25, 0.25),
        ease=0.0,
        neighbour_ease=(),
        confidence=0.8,
        budget_price=0.0,
        encoder=ENCODER,
        context=np.array([-0.5, -0.5, 0.0, 0.0, 0.0, 0.0, 0.5, 0.5], dtype=np.float32),  # of length 1
        degraded=("memory",),
        decided_at=NOW,
        tags=(Tag("intent", "error", 0.9, Decimal("0.0001"), "linear"),),
        rule="errors",
        tier="complex",
    )


def without_context(decision: Decision) -> Decision:
    return replace(decision, encoder=None, context=None)


def an_attempt(decision: Decision, position: int = 0, **changes: object) -> Attempt:
    attempt = Attempt(
        attempt_id=uuid4(),
        decision_id=decision.decision_id,
        position=position,
        arm_id=decision.arm_id,
        propensity=0.7,
        status="ok",
        started_at=NOW,
        latency_s=1.25,
        ttft_s=0.25,
        usage=Usage(10, 2, 5, 1, cache_write_tokens=3, stated_cost_usd=Decimal("0.000123456")),
        cost_usd=Decimal("0.000123456"),
        finish_reason="stop",
        notes=("the stream ended without a finish reason",),
    )
    return replace(attempt, **changes)  # type: ignore[arg-type]


def an_outcome(decision: Decision, *, after_s: float = 2.0, **changes: object) -> Outcome:
    """An outcome of one call, or of several if `call_cost_usd` is the cost of the last one."""
    if "cost_usd" in changes:
        changes = {"call_cost_usd": changes["cost_usd"], **changes}
    outcome = Outcome(
        decision_id=decision.decision_id,
        tenant=decision.query.tenant,
        arm_id=decision.arm_id,
        kind=decision.kind,
        status="ok",
        latency_s=1.25,
        ttft_s=0.25,
        overhead_s=0.01,
        usage=Usage(10, 2, 5, 1, cache_write_tokens=3, stated_cost_usd=Decimal("0.000123456")),
        cost_usd=Decimal("0.000123456"),
        call_cost_usd=Decimal("0.000123456"),
        finish_reason="stop",
        answer_chars=7,
        answer_digest=b"\x00\xff",
        answer_text="Because",
        completed_at=NOW + timedelta(seconds=after_s),
    )
    return replace(outcome, **changes)  # type: ignore[arg-type]


def a_feedback(
    score: float | None, request_id: str = "r1", *, tenant: str = TENANT, text: str | None = None
) -> Feedback:
    return Feedback(tenant, request_id, score, text, NOW + timedelta(minutes=1))


def a_reward(value: str, weight: str = "1") -> Reward:
    return Reward(Decimal(value), Decimal(weight))


async def answered(stores: Stores, request_id: str = "r1", **changes: object) -> UUID:
    """Log a decision with its outcome; `changes` are of the decision."""
    decision = a_decision(request_id, **changes)  # type: ignore[arg-type]
    await stores.journal.log_decision(decision)
    await stores.journal.log_outcome(an_outcome(decision), [an_attempt(decision)])
    return decision.decision_id


async def rate(stores: Stores, score: float, request_id: str = "r1") -> None:
    feedback = a_feedback(score, request_id)
    await stores.evidence.learn(feedback, reward_of(feedback))
