"""A whole service with fakes behind it: real parts, one application, a client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
from fastapi import FastAPI
from starlette.datastructures import State
from starlette.types import ASGIApp

from service.access.key_digests import KeyDigests
from service.app import create_app, in_front
from service.arms.configured import ArmList
from service.background import Background
from service.bootstrap.wire import wire
from service.domain.arm import Arm, Price
from service.domain.basics import Json
from service.domain.ports import KeyChecker, ModelClient, PriceLists
from service.domain.relayed_model import RelayedModel, RelayedModels
from service.oauth.logins import LoginDesk
from service.parts import Parts
from service.policies.classifier import Classifier
from service.relay.own_encoder import OwnEncoder
from service.settings.settings import Settings
from service.store.spool.spool import Spool
from service.store.spool.spooling_journal import SpoolingJournal
from tests.fakes import (
    FakeArmRegistry,
    FakeConversationStates,
    FakeDatabase,
    FakeEmbeddingClient,
    FakeEncoder,
    FakeEvidence,
    FakeForgottenDecisions,
    FakeJournal,
    FakeKeyChecker,
    FakeMemory,
    FakeModelClient,
    FakeModerationClient,
    FakeResponseStore,
    FakeShadowLog,
    FakeStore,
    FakeTokenizers,
    FixedClock,
)
from tests.fakes_answers import FakeAnswerStore
from tests.fakes_calibration import FakeCalibrationStore, FakeRequestBodies
from tests.fakes_keys import FakeApiKeyStore, FakeKeyTable
from tests.fakes_limits import FakeLedger
from tests.fakes_reports import FakeReports

SPOOL_BYTES = 1_000_000
ENVIRON = {"NEW_API_KEY": "a secret"}


def arm(
    arm_id: str, price: str, window: int = 100_000, *capabilities: str, provider: str = "openai", **more: Any
) -> Arm:
    """An arm whose answers cost four times as much as its prompts."""
    return Arm(
        arm_id,
        provider,
        f"upstream-{arm_id}",
        base_url="http://127.0.0.1:9/v1",
        price=Price(Decimal(price), 4 * Decimal(price)),
        context_window=window,
        capabilities=frozenset(capabilities),
        **more,
    )


SMALL = arm("small", "0.10", 4_000, "tools", aliases=("mini",))
MEDIUM = arm("medium", "0.50", 16_000, "tools", "json_schema")
LARGE = arm("large", "2.00", 100_000, "tools", "json_schema", "vision", aliases=("big",))
ARMS = (SMALL, MEDIUM, LARGE)
SMALL_SERVER, OTHER_SERVER = (
    Arm("embed", "openai", "upstream-embed", base_url=place, price=Price(Decimal("0.02"), Decimal(0)))
    for place in ("http://127.0.0.1:9/v1", "http://127.0.0.1:10/v1")
)
EMBEDDING_MODELS = (
    RelayedModel("embed", (SMALL_SERVER, OTHER_SERVER), ("texts",), dimensions=4, max_input_tokens=20),
    RelayedModel("router-minilm"),
    RelayedModel("unpriced", (Arm("unpriced", "openai", "unpriced", base_url="http://127.0.0.1:9/v1"),)),
)
# A model of the configuration that is not in use: an added model may send its key to the same server.
UNUSED = arm("unused", "1.00", api_key_env="NEW_API_KEY")


@dataclass(frozen=True, slots=True)
class World:
    """The parts that a test can inspect and switch off."""

    store: FakeStore
    ledger: FakeLedger
    memory: FakeMemory
    encoder: FakeEncoder
    model_client: FakeModelClient
    embedding_client: FakeEmbeddingClient
    moderation_client: FakeModerationClient
    tokenizers: FakeTokenizers
    clock: FixedClock
    background: Background
    parts: Parts
    http: httpx.AsyncClient

    async def ask(
        self,
        text: str = "What is a bandit?",
        *,
        request_id: str | None = None,
        headers: dict[str, str] | None = None,
        **body: object,
    ) -> httpx.Response:
        """POST a completion of one user message."""
        ids = {} if request_id is None else {"X-Request-ID": request_id}
        messages = [{"role": "user", "content": text}]
        return await self.http.post(
            "/v1/chat/completions", json={"messages": messages, **body}, headers={**ids, **(headers or {})}
        )

    async def rate(self, request_id: str, score: float, **more: object) -> httpx.Response:
        return await self.http.post("/feedback", json={"request_id": request_id, "score": score, **more})

    async def record(self, request_id: str) -> Json:
        """GET /requests/{request_id}, once the background tasks are done."""
        await self.background.drain(5.0)
        response = await self.http.get(f"/requests/{request_id}")
        assert response.status_code == 200, response.text
        record: Json = response.json()
        return record

    async def weigh(self, text: str, **router: object) -> dict[str, float]:
        """Every arm's probability for a text, by POST /v1/route."""
        body = {"messages": [{"role": "user", "content": text}], "router": router}
        response = await self.http.post("/v1/route", json=body)
        return {c["model"]: c["probability"] for c in response.json()["candidates"]}


def application(settings: Settings, parts: Parts) -> ASGIApp:
    """The application around these parts.

    FastAPI prepares each route at its first request, which takes longer than most tests: the routes are
    shared by all applications. State and middleware are each application's own.
    """
    app = copy(_prepared())
    app.state = State({"parts": parts})
    return in_front(app, settings)


@cache
def _prepared() -> FastAPI:
    """An application around parts takes nothing from the settings."""
    return create_app(Settings.model_validate({}), {})


@asynccontextmanager
async def opened(
    folder: Path,
    arms: Sequence[Arm] = ARMS,
    *,
    spool_bytes: int = SPOOL_BYTES,
    store: FakeStore | None = None,
    price_lists: PriceLists | None = None,
    key_checker: KeyChecker | None = None,
    moderation_models: tuple[RelayedModel, ...] = (),
    classifiers: Sequence[Classifier] = (),
    calling: ModelClient | None = None,
    logins: LoginDesk | None = None,
    key_table: FakeKeyTable | None = None,
    **knobs: Any,
) -> AsyncIterator[World]:
    """Open the service with these settings.

    Args:
        folder: the folder of its spool.
        spool_bytes: the size of its spool; 0: it cannot spool while the store is down.
        store: the store of another replica; None: its own.
        key_checker: what providers say of keys; None: they cannot be asked.
        moderation_models: those of the configuration.
        classifiers: what tags its requests.
        price_lists: where added arms find their providers' prices.
        calling: calls the models; None: the fake one.
        logins: at providers; None: there are none.
        key_table: the keys of another replica; None: there are none.
    """
    settings = Settings.model_validate({"data_dir": folder, "default_model": arms[0].arm_id, **knobs})
    store = FakeStore() if store is None else store
    clock, encoder, background = FixedClock(), FakeEncoder(), Background()
    memory, model_client, tokenizers = (
        FakeMemory(encoder=encoder.name),
        FakeModelClient(clock),
        FakeTokenizers(),
    )
    embedding_client, moderation_client = FakeEmbeddingClient(), FakeModerationClient()
    journal = SpoolingJournal(
        FakeJournal(store, store_texts=settings.store_texts), Spool(folder / "spool", spool_bytes)
    )
    key_table = key_table or FakeKeyTable()
    arm_registry, ledger = FakeArmRegistry(store), FakeLedger(store)
    parts = wire(
        settings,
        ArmList(tuple(arms), unused=(UNUSED,)),
        encoder=encoder,
        meanings=encoder,
        memory=memory,
        evidence=FakeEvidence(store),
        journal=journal,
        arm_registry=arm_registry,
        api_key_store=FakeApiKeyStore(key_table),
        key_digests=KeyDigests(["the-secret-of-this-test-with-32-characters"]),
        shadow_log=FakeShadowLog(store),
        ledger=ledger,
        conversation_states=FakeConversationStates(store),
        response_store=FakeResponseStore(store),
        answer_store=FakeAnswerStore(store),
        calibration_store=FakeCalibrationStore(store),
        request_bodies=FakeRequestBodies(store, settings.store_texts),
        forgotten_decisions=FakeForgottenDecisions(store),
        data_dir=folder,
        reports=FakeReports(store),
        database=FakeDatabase(store),
        environ=ENVIRON,
        price_lists=price_lists,
        key_checker=key_checker or FakeKeyChecker(),
        tokenizers=tokenizers,
        model_client=calling or model_client,
        logins=logins,
        relayed=RelayedModels(EMBEDDING_MODELS, moderation_models),
        embedding_client=embedding_client,
        moderation_client=moderation_client,
        own_encoder=OwnEncoder(encoder, lambda text: len(text.split()), 8, 100),
        background=background,
        rng=np.random.default_rng(0),
        clock=clock,
        sleep=clock.sleep,
        classifiers=classifiers,
    )
    app = application(settings, parts)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=("127.0.0.1", 1))
    await journal.start()
    await parts.keyring.start()
    await arm_registry.start([arm.arm_id for arm in arms], parts.lifecycle.follow)
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as http:
            yield World(
                store,
                ledger,
                memory,
                encoder,
                model_client,
                embedding_client,
                moderation_client,
                tokenizers,
                clock,
                background,
                parts,
                http,
            )
        await background.drain(5.0)
    finally:
        await parts.keyring.close()
        await journal.close()


def error_of(response: httpx.Response) -> Json:
    """The error, if the whole body is an OpenAI error envelope."""
    body: Json = response.json()
    assert body.keys() == {"error"}
    error: Json = body["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    return error


def events_of(response: httpx.Response) -> list[Json | str]:
    """The data of every server-sent event; `[DONE]` as a string."""
    assert response.headers["content-type"].startswith("text/event-stream")
    data = [event.removeprefix("data: ") for event in response.text.split("\n\n") if event]
    return [event if event == "[DONE]" else orjson.loads(event) for event in data]


def text_of(events: Sequence[Json | str]) -> str:
    """The text of the answer over all events."""
    choices = [c for event in events if isinstance(event, dict) for c in event.get("choices", [])]
    return "".join(choice["delta"].get("content") or "" for choice in choices)
