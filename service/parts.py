"""What endpoints work with: the parts of the service, wired."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

import numpy as np

from bandit.budget import Pacer
from bandit.knobs import Knobs
from embeddings.encoder import EncoderError, TextEncoder
from service.arms.breaker import Breaker
from service.arms.catalog import Catalog
from service.arms.configured import ArmList, default_arm_id
from service.arms.lifecycle import Lifecycle
from service.background import Background
from service.completion.answer_cache import AnswerCache
from service.completion.completion import Completion
from service.completion.fallback import FallbackChain
from service.completion.request_run import RequestRun
from service.completion.shadow import Shadows
from service.conversations.affinity import ConversationAffinity
from service.domain.answer import Outcome
from service.domain.basics import Json
from service.domain.feedback import Signal
from service.domain.ports import (
    ArmRegistry,
    Clock,
    ConversationStates,
    Evidence,
    Journal,
    Memory,
    ModelClient,
    Reports,
    ShadowLog,
    Tokenizers,
)
from service.domain.tokens import TokenCounter
from service.errors import MemoryUnavailable, StoreUnavailable
from service.learning.implicit import ImplicitFeedback
from service.learning.learner import Learner
from service.learning.repeats import RecentQuestions
from service.routing.ease import EaseFitter
from service.routing.router import Router
from service.settings.settings import Settings
from service.telemetry import Metrics


class ObservableJournal(Journal, Protocol):
    """A journal that keeps what PostgreSQL cannot take now."""

    @property
    def n_spooled(self) -> int:
        """How many decisions and outcomes wait for PostgreSQL."""
        ...

    @property
    def n_refused(self) -> int:
        """How many were lost because there was no room for them."""
        ...

    async def drain(self) -> None:
        """Write what waits. Raises StoreUnavailable."""
        ...


class Pingable(Protocol):
    """Something that can be asked whether it is there. Raises StoreUnavailable."""

    async def ping(self) -> None: ...


@dataclass(slots=True)
class Parts:
    """What endpoints work with."""

    settings: Settings
    arms: ArmList
    catalog: Catalog
    router: Router
    completion: Completion
    tokens: TokenCounter
    learner: Learner
    lifecycle: Lifecycle
    journal: ObservableJournal
    reports: Reports
    database: Pingable
    memory: Memory
    encoder: TextEncoder
    metrics: Metrics
    started_at: int  # Unix time, seconds

    async def health(self) -> Json:
        """The state of every dependency; `degraded` when one is away, or the default model, or all rest."""
        dependencies = {
            "postgresql": await self._postgresql(),
            "qdrant": await self._qdrant(),
            "encoder": await self._encoder(),
        }
        arms, breaker, default_state = self.catalog.arms, self.catalog.breaker, self.catalog.default_state
        cooling_down = [{"model": a.arm_id, "reason": why} for a in arms if (why := breaker.open_reason(a))]
        are_there = all(d["status"] == "ok" for d in dependencies.values())
        healthy = are_there and default_state == "active" and len(cooling_down) < len(arms)
        return {
            "status": "ok" if healthy else "degraded",
            "simulated": self.arms.is_simulated,
            "models": [arm.arm_id for arm in self.catalog.arms],
            "default_model": self.catalog.default_arm_id,
            "default_model_state": default_state,
            "prior_sources": {arm.arm_id: arm.prior_source for arm in arms},
            "dependencies": dependencies,
            "resting_models": cooling_down,
        }

    async def _postgresql(self) -> Json:
        kind = "server" if self.settings.database_url else "embedded"
        waiting = {"spooled": self.journal.n_spooled, "lost": self.journal.n_refused}
        try:
            await self.database.ping()
        except StoreUnavailable as error:
            return {"status": "unavailable", "kind": kind, "error": str(error), **waiting}
        if not self.router.evidence.is_loaded:  # it just came back
            return {
                "status": "unavailable",
                "kind": kind,
                "error": "what was learned is yet to be read",
                **waiting,
            }
        return {"status": "ok", "kind": kind, **waiting}

    async def _qdrant(self) -> Json:
        kind = "server" if self.settings.qdrant_url else "embedded"
        try:
            async with asyncio.timeout(self.settings.memory_timeout_s):
                return {"status": "ok", "kind": kind, "points": await self.memory.count()}
        except (MemoryUnavailable, TimeoutError) as error:
            return {"status": "unavailable", "kind": kind, "error": str(error) or "no answer in time"}

    async def _encoder(self) -> Json:
        known = {"name": self.encoder.name, "dimension": self.encoder.dimension}
        never_seen = f"health at {self.router.clock().isoformat()}"  # else the cache would answer
        try:
            async with asyncio.timeout(self.settings.embedding_timeout_s):
                await self.encoder.encode(never_seen)
        except (EncoderError, TimeoutError) as error:
            return {"status": "unavailable", **known, "error": str(error) or "no answer in time"}
        return {"status": "ok", **known}


def wire(
    settings: Settings,
    arms: ArmList,
    *,
    encoder: TextEncoder,
    memory: Memory,
    evidence: Evidence,
    journal: ObservableJournal,
    arm_registry: ArmRegistry,
    shadow_log: ShadowLog,
    conversation_states: ConversationStates,
    reports: Reports,
    database: Pingable,
    environ: Mapping[str, str],
    tokenizers: Tokenizers,
    model_client: ModelClient,
    background: Background,
    rng: np.random.Generator,
    clock: Clock,
) -> Parts:
    """Connect what is open already; nothing starts and nothing is waited for."""
    metrics = Metrics()
    catalog = Catalog(
        arms.arms,
        default_arm_id(settings, arms.arms),
        breaker_of(settings, clock),
        required_data_use=frozenset(settings.required_data_use),
    )
    knobs = knobs_of(settings)
    pacer = Pacer(knobs.budget_usd_per_request)
    shadows = Shadows(catalog, model_client, shadow_log, background, rng, clock, settings.store_texts)

    def observe(run: RequestRun, outcome: Outcome) -> None:
        metrics.completed(run, outcome)
        shadows.consider(run, outcome)

    router = Router(
        catalog=catalog,
        encoder=encoder,
        memory=memory,
        evidence=evidence,
        ease_fitter=EaseFitter(evidence, encoder.name, background),
        affinity=ConversationAffinity(
            conversation_states, clock, settings.session_ttl_s, settings.session_switch_margin
        ),
        knobs=knobs,
        pacer=pacer,
        rng=rng,
        clock=clock,
        embedding_timeout_s=settings.embedding_timeout_s,
        memory_timeout_s=settings.memory_timeout_s,
        holdout_share=settings.holdout_share,
    )
    learner = Learner(evidence, memory, journal, encoder.name)
    implicit_feedback = ImplicitFeedback(
        learner,
        signal_weights(settings),
        RecentQuestions(settings.reask_window_s),
        on_learned=metrics.learned_signals,
        on_dropped=metrics.signals_dropped.inc,
    )
    completion = Completion(
        router=router,
        catalog=catalog,
        fallback=FallbackChain(
            catalog,
            rng,
            clock,
            settings.max_attempts,
            settings.request_deadline_s,
            escalates=settings.escalation,
        ),
        journal=journal,
        model_client=model_client,
        background=background,
        observe=observe,
        learn_implicitly=implicit_feedback.learn,
        clock=clock,
        store_texts=settings.store_texts,
        cache=cache_of(settings, clock),
        lookahead_s=settings.escalation_hold_s if settings.escalation else 0.0,
    )
    return Parts(
        settings=settings,
        arms=arms,
        catalog=catalog,
        router=router,
        completion=completion,
        tokens=TokenCounter(tokenizers),
        learner=learner,
        lifecycle=Lifecycle(arms.arms, catalog, arm_registry, pacer, environ, clock),
        journal=journal,
        reports=reports,
        database=database,
        memory=memory,
        encoder=encoder,
        metrics=metrics,
        started_at=int(clock().timestamp()),
    )


def breaker_of(settings: Settings, clock: Clock) -> Breaker:
    """The breaker of this process."""
    return Breaker(
        clock,
        failures_to_open=settings.breaker_failures,
        rest_s=settings.breaker_rest_s,
        long_rest_s=settings.breaker_long_rest_s,
    )


def signal_weights(settings: Settings) -> dict[Signal, Decimal]:
    """Of the signals that are switched on."""
    weights: dict[Signal, Decimal] = {
        "provider_error": settings.signal_provider_error_weight,
        "refusal": settings.signal_refusal_weight,
        "empty": settings.signal_empty_weight,
        "truncated": settings.signal_truncated_weight,
        "invalid_schema": settings.signal_invalid_schema_weight,
        "reask": settings.signal_reask_weight,
    }
    return {signal: weight for signal, weight in weights.items() if weight > 0}


def cache_of(settings: Settings, clock: Clock) -> AnswerCache | None:
    """The cache of answers, where it is switched on."""
    if not settings.cache_enabled:
        return None
    return AnswerCache(settings.cache_max_size, settings.cache_ttl_seconds, clock)


def knobs_of(settings: Settings) -> Knobs:
    """The learner's knobs among the settings."""
    budget = settings.budget_usd_per_request
    return Knobs(
        feedback_weight=settings.feedback_weight,
        latency_weight=settings.latency_weight,
        cost_weight=settings.cost_weight,
        exploration_rate=settings.exploration_rate,
        propensity_floor=settings.propensity_floor,
        similarity_threshold=settings.similarity_threshold,
        max_similar_requests=settings.max_similar_requests,
        recency_days=settings.recency_days,
        min_similar_requests=settings.min_similar_requests,
        min_confidence_score=settings.min_confidence_score,
        optimistic_prior=settings.optimistic_prior,
        exploration_bonus=settings.exploration_bonus,
        min_requests_for_global=settings.min_requests_for_global,
        budget_usd_per_request=None if budget is None else float(budget),
    )
