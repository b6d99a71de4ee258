"""Health, readiness, circuit breakers, the answer cache, Prometheus metrics."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime

from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, Response

from service.api.dependencies import PartsDep, TenantDep, caller_at
from service.api.json_response import JsonAnswer
from service.api.openapi import failures
from service.arms.refused_features import RefusedFeature
from service.cache.answer_cache import Uses
from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.key_check import KeyCheck
from service.domain.relayed_model import RelayedModel
from service.errors import BadRequest, Unavailable
from service.parts import Parts

endpoints = APIRouter(tags=["operations"])


@endpoints.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
async def root() -> Response:
    """What this server is, for clients that look whether somebody is there."""
    return JsonAnswer({"service": "LLM Router", "documentation": "/docs", "health": "/health"})


@endpoints.get("/health")
@endpoints.get("/v1/health", include_in_schema=False)
async def health(request: Request, parts: PartsDep) -> Response:
    """The state of every dependency. The response is always 200; the field `status` gives the state.

    Callers without the scope `read` get the status alone.
    """
    found = await parts.health()
    return JsonAnswer(found if "read" in caller_at(request).scopes else {"status": found["status"]})


@endpoints.get("/ready")
async def ready(parts: PartsDep) -> Response:
    """200 when the service is ready for traffic. An unavailable dependency only degrades it."""
    return JsonAnswer({"ready": True})


@endpoints.get("/metrics", response_class=PlainTextResponse)
async def metrics(parts: PartsDep) -> Response:
    """Metrics for Prometheus."""
    parts.metrics.tasks.set(len(asyncio.all_tasks()))
    return Response(parts.metrics.exposition(), media_type=parts.metrics.media_type)


@endpoints.get("/backends/status", responses=failures(BadRequest))
async def backends_status(parts: PartsDep, probe: bool = False) -> Response:
    """What every model can do, its circuit breaker and its key, in this process; replicas do not share it.

    With `probe=1` each provider is asked first whether it accepts its key, which costs nothing.
    """
    embedding, moderation = parts.embeddings.models, parts.moderations.models
    if probe:
        relayed = (arm for model in (*embedding, *moderation) for arm in model.deployments)
        await parts.keys.check((*relayed, *parts.catalog.arms))
    return JsonAnswer(
        {
            "scope": "process",
            "models": [_backend(parts, arm) for arm in parts.catalog.arms],
            "embedding_models": [_relayed(parts, model, "embeddings") for model in embedding],
            "moderation_models": [_relayed(parts, model, "moderations") for model in moderation],
        }
    )


@endpoints.get("/cache/stats")
async def cache_stats(parts: PartsDep, tenant: TenantDep) -> Response:
    """How often this replica's cache had an answer for the caller's tenant, and how many it keeps for it."""
    cache, settings = parts.completion.cache, parts.settings
    uses = Uses() if cache is None else cache.uses(tenant)
    hits, misses = uses.hits, uses.misses
    return JsonAnswer(
        {
            "enabled": cache is not None,
            "size": 0 if cache is None else cache.size(tenant),
            "max_size": settings.cache_max_size,
            "hits": hits,
            "misses": misses,
            "total_requests": hits + misses,
            "hit_rate": hits / (hits + misses) if hits + misses else 0.0,
            "ttl_seconds": settings.cache_ttl_seconds,
            "shared": settings.cache_shared,
            "shared_size": None if cache is None else await cache.n_shared(tenant),
            "semantic": settings.semantic_cache_enabled,
            "semantic_hits": uses.semantic_hits,
        }
    )


@endpoints.post("/cache/clear", responses=failures(Unavailable))
async def cache_clear(parts: PartsDep, tenant: TenantDep) -> Response:
    """Remove the tenant's answers from this replica's cache, and from the one that replicas share."""
    cache = parts.completion.cache
    return JsonAnswer({"cleared": 0 if cache is None else await cache.clear(tenant)})


def _backend(parts: Parts, arm: Arm) -> Json:
    """A model; one with several deployments is as available as the first of them that may be called."""
    return {
        "model": arm.arm_id,
        **_endpoint(parts, arm),
        "capabilities": sorted(arm.capabilities),
        "lacks": sorted(arm.lacks),
        "context_window": arm.context_window,
        "max_output_tokens": arm.max_output_tokens,
        "refused_features": [_refused(refused) for refused in parts.catalog.refused.of(arm)],
        "deployments": [
            {
                "deployment": deployment.name,
                **_endpoint(parts, arm.at(deployment)),
                "weight": deployment.weight,
                "under_way": parts.catalog.balancer.n_pending(deployment),
            }
            for deployment in arm.deployments
        ],
    }


def _relayed(parts: Parts, model: RelayedModel, capability: str) -> Json:
    """A model for embeddings or moderations; the router's own encoder has no deployments."""
    return {
        "model": model.model_id,
        "capabilities": [capability],
        "dimensions": model.dimensions,
        "max_input_tokens": model.max_input_tokens,
        "deployments": [_endpoint(parts, arm) for arm in model.deployments],
    }


def _endpoint(parts: Parts, arm: Arm) -> Json:
    breaker = parts.catalog.breaker
    state = breaker.state_of(arm)
    return {
        "provider": arm.provider,
        "upstream_model": arm.model,
        "state": state.condition,
        "open_reason": breaker.open_reason(arm),
        "since": _iso(state.since),
        "reopens_in_s": None if state.until is None else breaker.reopens_in_s(arm),
        "failures_in_a_row": state.n_failures,
        "last_errors": [
            {"error": last.error, "status": last.status, "at": _iso(last.at)} for last in state.last_errors
        ],
        "calls": dict(sum((Counter(breaker.state_of(one).counts) for one in arm.endpoints), Counter())),
        "key": _key(parts.keys.of(arm)),
        "login": _login(parts, arm),
    }


def _login(parts: Parts, arm: Arm) -> Json | None:
    """The login that the arm's key is from; None: its key is another."""
    if arm.auth is None:
        return None
    return {"provider": arm.auth, "problem": parts.catalog.logins.problem(arm.auth)}


def _refused(refused: RefusedFeature) -> Json:
    return {
        "feature": refused.name,
        "since": _iso(refused.since),
        "until": _iso(refused.until),
        "reason": refused.words,
    }


def _key(check: KeyCheck) -> Json:
    return {"state": check.state, "reason": check.reason, "checked_at": _iso(check.at)}


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
