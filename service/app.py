"""Builds the HTTP application around the parts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from service.api import (
    admin,
    calibrations,
    embeddings,
    errors,
    feedback,
    gemini,
    generation,
    keys,
    mcp,
    messages,
    models,
    moderations,
    oauth,
    openapi,
    ops,
    records,
    request_list,
    responses,
    stats,
)
from service.api.admission import Admission
from service.api.callers import Callers
from service.api.dependencies import json_only
from service.api.entrance import Entrance
from service.api.hosts import Hosts
from service.api.hot_routes import HotRoutes
from service.api.origins import Origins
from service.api.scopes import authorised, guard
from service.bootstrap.open import open_parts
from service.dialects.embeddings import EmbeddingsBody
from service.dialects.gemini.embeddings import BatchEmbedContentsRequest, EmbedContentRequest
from service.dialects.gemini.requests import GeminiCountTokensRequest
from service.dialects.messages.requests import CountTokensRequest
from service.dialects.moderations import ModerationBody
from service.dialects.offered import DIALECTS
from service.errors import ForbiddenHost, ForbiddenOrigin, KeyRequired, ScopeMissing
from service.parts import Parts
from service.settings.settings import Settings

EXPOSED_HEADERS = (
    "X-Request-ID",
    "X-Router-Reused-Request-Id",
    "X-Router-Model",
    "X-Router-Decision",
    "X-Router-Decision-Id",
    "X-Router-Side-Call",
    "X-Router-Model-Substituted",
    "X-Router-Simulated",
    "X-Router-Degraded",
    "X-Router-Token-Count",
    "X-Router-Cost-Usd",
    "X-Router-Latency-Ms",
    "Retry-After",
    "Retry-After-Ms",
)


def create_app(
    settings: Settings,
    environ: Mapping[str, str],
    parts: Parts | None = None,
    *,
    on_start: Callable[[], None] = lambda: None,
) -> FastAPI:
    """Build the HTTP application; a server calls what is `in_front` of it.

    Args:
        environ: environment variables, which hold the keys of the providers.
        parts: parts that the calling code has built and closes; None: the application builds them when
            it starts and closes them when it ends.
        on_start: called when the application has built its parts.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if parts is not None:
            yield
            return
        async with open_parts(settings, environ) as built:
            app.state.parts = built
            on_start()
            yield

    app = FastAPIOffline(  # its /docs loads nothing from other servers
        title="LLM Router",
        version="0.1.0",
        description="Chooses a model for each request and learns from feedback which is worth its price.",
        lifespan=lifespan,
        dependencies=[Depends(authorised)],
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # the router has its own
    )
    for route in app.routes:
        if not isinstance(route, APIRoute):  # /openapi.json, and the files of /docs
            guard(route)
    if parts is not None:
        app.state.parts = parts
    errors.install(app)
    for module in (
        generation,
        responses,
        messages,
        models,
        gemini,
        embeddings,
        moderations,
        feedback,
        records,
        request_list,
        stats,
        ops,
        admin,
        keys,
        calibrations,
        mcp,
        oauth,
    ):
        app.include_router(
            module.endpoints,
            dependencies=[Depends(json_only)],
            responses=openapi.failures(KeyRequired, ScopeMissing, ForbiddenHost, ForbiddenOrigin),
        )
    openapi.install(
        app,
        [
            *(dialect.request_model for dialect in DIALECTS),
            EmbeddingsBody,
            ModerationBody,
            CountTokensRequest,
            GeminiCountTokensRequest,
            EmbedContentRequest,
            BatchEmbedContentsRequest,
            feedback.FeedbackRequest,
            feedback.ConversationFeedbackRequest,
            admin.NewModel,
            admin.ModelChange,
            keys.NewApiKey,
            keys.Rotation,
            calibrations.NewCalibration,
            calibrations.ResumedCalibration,
            oauth.LoginRequest,
        ],
    )
    return app


def in_front(app: FastAPI, settings: Settings) -> ASGIApp:
    """What a server calls: the way in, which answers most requests itself, and behind it the framework.

    A foreign page learns nothing, not even by its preflight.
    """
    paths = [route.path for dialect in DIALECTS for route in dialect.routes]
    answers: ASGIApp = HotRoutes(app, generation.HOT | responses.HOT | feedback.HOT)
    answers = Admission(answers, paths)
    if settings.cors_origins:
        answers = CORSMiddleware(
            answers,
            allow_origins=settings.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=EXPOSED_HEADERS,
        )
    origins = Origins(frozenset(settings.cors_origins))
    return Entrance(app, answers, Hosts.of(settings), origins, Callers(settings))
