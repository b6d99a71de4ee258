"""Connects the opened parts; starts nothing and waits for nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path

import numpy as np

from bandit.budget import Pacer
from bandit.knobs import Knobs
from embeddings.encoder import TextEncoder
from service.access.key_desk import KeyDesk
from service.access.key_digests import KeyDigests
from service.access.key_store import ApiKeyStore
from service.access.keyring import Keyring
from service.arms.breaker import Breaker
from service.arms.call_keys import NoLogins
from service.arms.catalog import Catalog
from service.arms.checked_keys import CheckedKeys
from service.arms.configured import ArmList, default_arm_id
from service.arms.fallback_order import FallbackOrder
from service.arms.key_bindings import KeyBindings
from service.arms.lifecycle import Lifecycle
from service.arms.overriding import Overriding
from service.arms.refused_features import RefusedFeatures
from service.arms.requested_names import RequestedNames
from service.background import Background
from service.bootstrap.access import key_copy
from service.cache.answer_cache import AnswerCache
from service.cache.semantic import Semantic
from service.calibration.calibrations import Calibrations
from service.calibration.calibrator import Calibrator
from service.calibration.sampling import LogSampler, RequestBodies
from service.calibration.wish_checker import WishChecker
from service.callbacks.callbacks import Callbacks
from service.callbacks.functions import functions_named
from service.completion.completion import Completion
from service.completion.escalation import Escalation
from service.completion.fallback import FallbackChain
from service.completion.logged_texts import log_texts
from service.completion.metering import Metering
from service.completion.request_run import RequestRun
from service.completion.shadow import Shadows
from service.completion.untried_arms import UntriedArms
from service.conversations.affinity import ConversationAffinity
from service.conversations.stored_responses import RecentItems, StoredResponses
from service.domain.answer import Outcome
from service.domain.feedback import Signal
from service.domain.forgotten import ForgottenDecisions
from service.domain.limit import Ledger
from service.domain.ports import (
    AnswerStore,
    ArmRegistry,
    CalibrationStore,
    Clock,
    ConversationStates,
    EmbeddingClient,
    Evidence,
    KeyChecker,
    Memory,
    ModelClient,
    ModerationClient,
    PriceLists,
    Reports,
    ResponseStore,
    ShadowLog,
    Tokenizers,
)
from service.domain.relayed_model import RelayedModels
from service.domain.tokens import TokenCounter
from service.learning.complaints import RecentAnswers
from service.learning.forgetting import Forgetting
from service.learning.implicit import ImplicitFeedback
from service.learning.late_contexts import LateContexts
from service.learning.learner import Learner
from service.learning.repeats import RecentQuestions
from service.meter.configured import limits_of_models
from service.meter.meter import Meter
from service.oauth.logins import LoginDesk
from service.parts import ObservableJournal, Parts, Pingable
from service.policies.classifier import Classifier
from service.policies.configured import policies_of
from service.relay.deployments import Deployments
from service.relay.embeddings import EmbeddingService
from service.relay.moderations import ModerationService
from service.relay.own_encoder import OwnEncoder
from service.routing.ease import EaseFitter
from service.routing.router import Router
from service.settings.settings import Settings
from service.telemetry import Metrics


def wire(
    settings: Settings,
    arms: ArmList,
    *,
    encoder: TextEncoder,
    meanings: TextEncoder,
    memory: Memory,
    evidence: Evidence,
    journal: ObservableJournal,
    arm_registry: ArmRegistry,
    api_key_store: ApiKeyStore,
    key_digests: KeyDigests,
    shadow_log: ShadowLog,
    ledger: Ledger,
    conversation_states: ConversationStates,
    response_store: ResponseStore,
    answer_store: AnswerStore,
    calibration_store: CalibrationStore,
    request_bodies: RequestBodies,
    forgotten_decisions: ForgottenDecisions,
    reports: Reports,
    database: Pingable,
    environ: Mapping[str, str],
    price_lists: PriceLists | None,
    key_checker: KeyChecker,
    tokenizers: Tokenizers,
    model_client: ModelClient,
    relayed: RelayedModels,
    embedding_client: EmbeddingClient,
    moderation_client: ModerationClient,
    own_encoder: OwnEncoder | None,
    background: Background,
    data_dir: Path,
    rng: np.random.Generator,
    clock: Clock,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    classifiers: Sequence[Classifier] = (),
    logins: LoginDesk | None = None,
) -> Parts:
    """Connect the opened parts; start nothing and wait for nothing."""
    metrics = Metrics()
    catalog = Catalog(
        arms.arms,
        default_arm_id(settings, arms.arms),
        breaker_of(settings, clock),
        required_data_use=frozenset(settings.required_data_use),
        refused=RefusedFeatures(clock, remember_s=settings.refused_feature_s),
        names=RequestedNames.of(settings, arms.arms, environ),
        overriding=Overriding.of(settings, arms.arms, environ),
        logins=NoLogins() if logins is None else logins.keeper,
        fallback_order=FallbackOrder.of(settings, arms.arms, environ),
    )
    knobs = knobs_of(settings)
    pacer = Pacer(knobs.budget_usd_per_request)
    shadows = Shadows(
        catalog,
        model_client,
        shadow_log,
        background,
        rng,
        clock,
        settings.request_deadline_s,
        settings.store_texts,
        partial(metrics.spent_by_router, "shadow"),
    )
    meter = Meter(
        ledger,
        of_tenants=settings.limits.of_tenants,
        of_models=limits_of_models(
            settings, (*arms.arms, *arms.unused), (*relayed.embedding, *relayed.moderation), environ
        ),
        on_passed=metrics.limit_passed,
        on_refused=metrics.limit_refused,
    )
    callbacks = Callbacks(functions_named(settings.callbacks, environ), metrics.called_back)

    def observe(run: RequestRun, outcome: Outcome) -> None:
        metrics.completed(outcome, run.attempts, run.degraded)
        for tag in () if run.decision is None else run.decision.tags:
            metrics.spent_by_router("tags", tag.cost_usd)
        shadows.consider(run, outcome)
        callbacks.completed(run, outcome)
        if settings.log_texts:
            log_texts(run, outcome)

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
        pooled_prior_mass=settings.pooled_prior_mass,
        policies=policies_of(settings, arms.arms, environ, classifiers),
    )
    escalation = Escalation(
        settings.escalation,
        settings.escalation_hold_s,
        router.policies,
        router.preview,
        settings.policies.min_token_probability,
    )
    late_contexts = LateContexts(
        encoder,
        evidence,
        are_spooled=lambda: journal.is_degraded,
        timeout_s=settings.embedding_timeout_s,
        on_dropped=metrics.contexts_dropped.inc,
    )
    learner = Learner(
        evidence,
        memory,
        journal,
        encoder.name,
        late_contexts=late_contexts,
        retention_days=settings.retention_days,
    )
    recent_questions, recent_answers = RecentQuestions(settings.reask_window_s), RecentAnswers()
    recent_items = RecentItems(clock)
    cache = cache_of(settings, clock, meanings, answer_store)
    implicit_feedback = ImplicitFeedback(
        learner,
        signal_weights(settings),
        recent_questions,
        recent_answers,
        on_learned=metrics.learned_signals,
        on_dropped=metrics.signals_dropped.inc,
    )
    completion = Completion(
        router=router,
        catalog=catalog,
        fallback=FallbackChain(
            catalog,
            UntriedArms(catalog, rng, clock),
            Metering(meter, catalog, settings.llm_max_tokens),
            rng,
            clock,
            settings.max_attempts,
            settings.request_deadline_s,
            escalation,
            sleep,
            settings.llm_max_tokens,
        ),
        journal=journal,
        model_client=model_client,
        background=background,
        observe=observe,
        learn_implicitly=implicit_feedback.learn,
        keep_text=late_contexts.keep,
        clock=clock,
        store_texts=settings.store_texts,
        cache=cache,
        allows_reused_request_ids=settings.reused_request_id == "new",
    )
    deployments = Deployments(catalog.breaker, clock, settings.request_deadline_s)
    keyring = Keyring(api_key_store, key_digests, clock, key_copy(settings, data_dir))
    return Parts(
        settings=settings,
        arms=arms,
        catalog=catalog,
        keys=CheckedKeys(key_checker, catalog.breaker),
        keyring=keyring,
        key_desk=KeyDesk(api_key_store, key_digests, clock, keyring),
        router=router,
        completion=completion,
        tokens=TokenCounter(tokenizers),
        embeddings=EmbeddingService(
            relayed.embedding,
            embedding_client,
            own_encoder,
            deployments,
            meter,
            partial(metrics.relayed, "embeddings"),
        ),
        moderations=ModerationService(
            relayed.moderation,
            moderation_client,
            deployments,
            meter,
            partial(metrics.relayed, "moderations"),
        ),
        meter=meter,
        learner=learner,
        forgetting=Forgetting(
            forgotten_decisions,
            memory,
            drop_copies=(
                recent_questions.clear,
                recent_answers.clear,
                recent_items.clear,
                *(() if cache is None else (cache.clear_local,)),
            ),
            drop_texts=late_contexts.forget,
            drop_lines=journal.drop_forgotten,
        ),
        calibrations=Calibrations(
            store=calibration_store,
            checker=WishChecker(
                catalog=catalog,
                sampler=LogSampler(request_bodies, encoder, settings.store_texts),
                clock=clock,
                data_use=frozenset(settings.required_data_use),
                runs_code=settings.admin_runs_code,
            ),
            calibrator=Calibrator(
                catalog=catalog,
                model_client=model_client,
                journal=journal,
                evidence=evidence,
                encoder=encoder,
                clock=clock,
                rng=rng,
                timeout_s=settings.request_deadline_s,
                default_temperature=settings.llm_temperature,
                data_use=frozenset(settings.required_data_use),
            ),
            folder=data_dir / "calibrations",
            clock=clock,
        ),
        lifecycle=Lifecycle(
            arms.arms,
            KeyBindings.of((*arms.arms, *arms.unused), () if logins is None else logins.providers),
            catalog,
            arm_registry,
            pacer,
            environ,
            clock,
            price_lists,
        ),
        journal=journal,
        responses=StoredResponses(
            response_store, clock, settings.store_texts, settings.response_ttl_s, recent_items
        ),
        reports=reports,
        database=database,
        memory=memory,
        encoder=encoder,
        metrics=metrics,
        callbacks=callbacks,
        started_at=int(clock().timestamp()),
        logins=logins,
    )


def breaker_of(settings: Settings, clock: Clock) -> Breaker:
    """The circuit breaker of this process."""
    return Breaker(
        clock,
        failures_to_open=settings.breaker_failures,
        rest_s=settings.breaker_rest_s,
        long_rest_s=settings.breaker_long_rest_s,
    )


def signal_weights(settings: Settings) -> dict[Signal, Decimal]:
    """The weights of the signals that are switched on."""
    weights: dict[Signal, Decimal] = {
        "provider_error": settings.signal_provider_error_weight,
        "refusal": settings.signal_refusal_weight,
        "empty": settings.signal_empty_weight,
        "truncated": settings.signal_truncated_weight,
        "invalid_schema": settings.signal_invalid_schema_weight,
        "reask": settings.signal_reask_weight,
        "complaint": settings.signal_complaint_weight,
    }
    return {signal: weight for signal, weight in weights.items() if weight > 0}


def cache_of(
    settings: Settings, clock: Clock, encoder: TextEncoder, answer_store: AnswerStore
) -> AnswerCache | None:
    """The answer cache; None: it is switched off."""
    if not settings.cache_enabled:
        return None
    rules = Semantic(settings.semantic_cache_threshold, settings.semantic_cache_max_temperature)
    return AnswerCache(
        max_size=settings.cache_max_size,
        ttl_s=settings.cache_ttl_seconds,
        clock=clock,
        encoder=encoder,
        embedding_timeout_s=settings.embedding_timeout_s,
        store=answer_store if settings.cache_shared else None,
        semantic=rules if settings.semantic_cache_enabled else None,
    )


def knobs_of(settings: Settings) -> Knobs:
    """The settings that choose and learn."""
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
