"""Limits of tenants, models and keys, as clients meet them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from service.dialects.offered import DIALECTS
from service.domain.basics import Vector
from service.domain.limit import Measure
from service.domain.query import Query
from service.domain.relayed_model import RelayedModel
from service.domain.tags import Tag
from service.errors import ProviderBroken, StartupError
from tests.fakes import Reply
from tests.service.world import SMALL_SERVER, World, arm, error_of, opened

FAILS = Reply(words=(), error=ProviderBroken("it is broken", status=500))

Opened = Callable[..., AbstractAsyncContextManager[World]]


@pytest.fixture
def limited(tmp_path: Path) -> Opened:
    """Opens a world whose default tenant has these limits."""

    def open_world(
        models: dict[str, Any] | None = None, **of_tenant: Any
    ) -> AbstractAsyncContextManager[World]:
        tenants = {"default": of_tenant} if of_tenant else {}
        return opened(tmp_path, limits={"tenants": tenants, "models": models or {}})

    return open_world


async def spent(world: World, measure: Measure = "usd", kind: str = "tenant") -> Decimal:
    await world.background.drain(5.0)
    return sum(
        (
            used
            for (subject, of, _), used in world.ledger.used.items()
            if of == measure and subject.kind == kind
        ),
        Decimal(0),
    )


async def test_an_answer_counts_at_its_cost_and_not_at_its_worst_price(limited: Opened) -> None:
    async with limited(usd="1/day") as world:
        answer = await world.ask(model="small", max_tokens=1_000)

        assert answer.status_code == 200
        assert await spent(world) == Decimal(answer.headers["X-Router-Cost-Usd"])
        assert world.ledger.holds == {}


async def test_a_stream_counts_at_its_cost(limited: Opened) -> None:
    async with limited(usd="1/day") as world:
        answer = await world.ask(model="small", max_tokens=1_000, stream=True)

        assert answer.status_code == 200
        assert 0 < await spent(world) < Decimal("0.0001")
        assert world.ledger.holds == {}


async def test_a_call_that_nobody_billed_is_released(limited: Opened) -> None:
    async with limited(usd="1/day") as world:
        world.model_client.will("small", FAILS, FAILS, FAILS)

        answer = await world.ask(model="small", max_tokens=1_000)

        assert answer.status_code == 503
        assert await spent(world) == 0
        assert world.ledger.holds == {}


async def test_calls_under_way_hold_their_worst_price_so_that_together_they_pass_nothing(
    limited: Opened,
) -> None:
    async with limited(usd="0.01/day") as world:
        answers = await asyncio.gather(
            *(world.ask(f"Question {n}", model="large", max_tokens=500) for n in range(20))
        )

        statuses = [answer.status_code for answer in answers]
        assert set(statuses) == {200, 429}
        assert statuses.count(200) <= 2  # whose worst price is 0.004 each, and 0.001 for the prompt
        refused = answers[statuses.index(429)]
        assert error_of(refused)["code"] == "rate_limit_exceeded"  # what is under way may leave more
        assert refused.headers["Retry-After"] == "1"


async def test_a_spent_budget_is_an_insufficient_quota_that_no_client_tries_again(limited: Opened) -> None:
    async with limited(usd="0.001/day") as world:
        answer = await world.ask(model="large", max_tokens=1_000)

        assert answer.status_code == 429
        error = error_of(answer)
        assert (error["type"], error["code"]) == ("insufficient_quota", "insufficient_quota")
        assert "0.001 USD a day" in error["message"]
        assert "max_tokens" in error["message"]
        assert answer.headers["Retry-After"] == "30"
        assert answer.headers["Retry-After-Ms"] == "30000"
        assert answer.headers["X-Should-Retry"] == "false"
        assert world.model_client.calls == []


async def test_a_spent_budget_is_a_billing_error_in_anthropics_dialect(limited: Opened) -> None:
    async with limited(usd="0.001/day") as world:
        body = {"model": "large", "max_tokens": 1_000, "messages": [{"role": "user", "content": "Hi"}]}

        answer = await world.http.post("/v1/messages", json=body)

        assert answer.status_code == 402
        assert answer.json()["error"]["type"] == "billing_error"


async def test_a_document_that_the_provider_fetches_holds_what_it_may_cost(tmp_path: Path) -> None:
    claude = arm("claude", "3.00", 200_000, provider="anthropic")
    document = {"type": "document", "source": {"type": "url", "url": "https://a.example/b.pdf"}}
    async with opened(tmp_path, [claude], limits={"tenants": {"default": {"usd": "0.5/day"}}}) as world:
        statuses = []
        for content in ("What is this?", [document, {"type": "text", "text": "What is this?"}]):
            body = {"max_tokens": 10, "messages": [{"role": "user", "content": content}]}
            answer = await world.http.post("/v1/messages", json={"model": "claude", **body})
            statuses.append(answer.status_code)

    assert statuses == [200, 402]


async def test_before_a_budget_refuses_it_leaves_the_cheaper_models(limited: Opened) -> None:
    async with limited(usd="0.002/day") as world:  # `large` may cost 0.009, `medium` 0.0023, `small` 0.0005
        answers = [await world.ask(f"Question {n}", max_tokens=1_000) for n in range(12)]

        assert {answer.status_code for answer in answers} == {200}
        assert {answer.headers["X-Router-Model"] for answer in answers} == {"small"}


async def test_a_failed_call_falls_back_to_a_model_that_fits(limited: Opened) -> None:
    async with limited(usd="0.01/day") as world:
        world.model_client.will("large", *[FAILS] * 4)
        world.model_client.will("medium", *[FAILS] * 4)

        answers = [await world.ask(f"Question {n}", max_tokens=1_000) for n in range(4)]

        assert {answer.headers["X-Router-Model"] for answer in answers} == {"small"}


async def test_requests_a_minute_are_told_and_refused_with_the_time_to_come_back(limited: Opened) -> None:
    async with limited(requests="2/minute") as world:
        answers = [await world.ask(f"Question {n}") for n in range(4)]

        assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
        assert [a.headers["x-ratelimit-remaining-requests"] for a in answers] == ["1", "0", "0", "0"]
        assert answers[0].headers["x-ratelimit-limit-requests"] == "2"
        assert answers[0].headers["x-ratelimit-reset-requests"] == "30s"
        assert error_of(answers[2])["code"] == error_of(answers[3])["code"] == "rate_limit_exceeded"
        assert 0 < int(answers[3].headers["Retry-After"]) <= 30


async def test_a_used_up_rate_is_refused_without_asking_postgresql_again(limited: Opened) -> None:
    async with limited(requests="1/minute") as world:
        for n in range(2):
            await world.ask(f"Question {n}")
        n_calls, n_texts = world.ledger.n_calls, len(world.encoder.texts)

        answer = await world.ask("Another question")

        assert answer.status_code == 429
        assert (world.ledger.n_calls, len(world.encoder.texts)) == (n_calls, n_texts)


async def test_rates_have_anthropics_headers_in_its_dialect(limited: Opened) -> None:
    async with limited(requests="1/minute", tokens="1000/minute") as world:
        body = {"max_tokens": 10, "messages": [{"role": "user", "content": "Hi"}]}

        first = await world.http.post("/v1/messages", json={**body, "model": "small"})
        second = await world.http.post("/v1/messages", json={**body, "model": "small"})

        for answer in (first, second):
            assert answer.headers["anthropic-ratelimit-requests-limit"] == "1"
            assert answer.headers["anthropic-ratelimit-requests-remaining"] == "0"
            assert answer.headers["anthropic-ratelimit-requests-reset"].endswith("Z")
            assert answer.headers["anthropic-ratelimit-tokens-limit"] == "1000"
            assert "x-ratelimit-limit-requests" not in answer.headers
        assert second.status_code == 429
        assert second.json()["error"]["type"] == "rate_limit_error"


async def test_tokens_count_as_they_were_used(limited: Opened) -> None:
    async with limited(tokens="100000/day") as world:
        answer = await world.ask(max_tokens=1_000)

        usage = answer.json()["usage"]
        assert await spent(world, "tokens") == usage["total_tokens"]


async def test_a_full_model_is_passed_over_for_another_one(limited: Opened) -> None:
    async with limited({"small": {"requests": "1/day"}}) as world:
        answers = [await world.ask(f"Question {n}", router={"models": ["small", "medium"]}) for n in range(6)]

        used = [answer.headers["X-Router-Model"] for answer in answers]
        assert used.count("small") <= 1
        assert {answer.status_code for answer in answers} == {200}


async def test_a_full_model_that_a_client_names_is_refused(limited: Opened) -> None:
    async with limited({"mini": {"requests": "1/day"}}) as world:  # an alias of `small`
        answers = [await world.ask(f"Question {n}", model="small") for n in range(2)]

        assert [answer.status_code for answer in answers] == [200, 429]
        assert "the limit of model small" in error_of(answers[1])["message"]


async def test_embeddings_and_moderations_pass_the_same_admission(limited: Opened) -> None:
    async with limited(usd="0.0001/day", requests="2/day") as world:
        embedded = await world.http.post("/v1/embeddings", json={"model": "embed", "input": "A text"})
        also_google = await world.http.post(
            "/v1beta/models/embed:embedContent", json={"content": {"parts": [{"text": "A text"}]}}
        )
        refused = await world.http.post("/v1/embeddings", json={"model": "embed", "input": "A text"})

        assert embedded.status_code == also_google.status_code == 200
        assert embedded.headers["x-ratelimit-remaining-requests"] == "1"
        assert refused.status_code == 429
        assert await spent(world) == 2 * Decimal(embedded.headers["X-Router-Cost-Usd"]) > 0


MESSAGES = [{"role": "user", "content": "Hi"}]
CONTENTS = [{"parts": [{"text": "Hi"}]}]
BILLABLE: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": MESSAGES},
    "/chat/completions": {"messages": MESSAGES},
    "/v1/messages": {"model": "small", "max_tokens": 10, "messages": MESSAGES},
    "/v1/completions": {"prompt": "Hi"},
    "/completions": {"prompt": "Hi"},
    "/v1beta/models/{model:path}:generateContent": {"contents": CONTENTS},
    "/v1beta/models/{model:path}:streamGenerateContent": {"contents": CONTENTS},
    "/v1/models/{model:path}:generateContent": {"contents": CONTENTS},
    "/v1/models/{model:path}:streamGenerateContent": {"contents": CONTENTS},
    "/v1/chat": {"prompt": "Hi"},
    "/v1/responses": {"input": "Hi"},
    "/v1/embeddings": {"model": "embed", "input": "Hi"},
    "/v1beta/models/embed:batchEmbedContents": {
        "requests": [{"model": "models/embed", "content": CONTENTS[0]}]
    },
    "/v1/moderations": {"input": "Hi"},
}


def test_every_path_of_a_dialect_is_known_as_billable() -> None:
    assert {route.path for dialect in DIALECTS for route in dialect.routes} <= BILLABLE.keys()


@pytest.mark.parametrize("path", BILLABLE)
async def test_no_path_leads_past_a_limit(tmp_path: Path, path: str) -> None:
    limits = {"tenants": {"default": {"requests": "0/day"}}}
    moderated = (RelayedModel("judge", (SMALL_SERVER,)),)
    async with opened(tmp_path, limits=limits, moderation_models=moderated) as world:
        answer = await world.http.post(
            path.replace("{model:path}", "small"), json=BILLABLE[path], headers={"X-Request-ID": "r1"}
        )

        assert answer.status_code == 429, answer.text
        assert int(answer.headers["Retry-After"]) > 0
        assert world.model_client.calls == []


async def test_counting_tokens_and_weighing_models_hold_nothing(limited: Opened) -> None:
    async with limited(requests="1/day") as world:
        body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}]}

        counted = await world.http.post("/v1/messages/count_tokens", json=body)
        weighed = await world.http.post("/v1/route", json={"messages": body["messages"]})

        assert counted.status_code == weighed.status_code == 200
        assert world.ledger.n_calls == 0


async def test_without_limits_nobody_asks_for_any(limited: Opened) -> None:
    async with limited() as world:
        answer = await world.ask()

        assert answer.status_code == 200
        assert world.ledger.n_calls == 0
        assert not [name for name in answer.headers if "ratelimit" in name]


async def test_a_limited_caller_is_refused_while_postgresql_is_away(limited: Opened) -> None:
    async with limited(usd="1/day") as world:
        world.store.is_down = True

        answer = await world.ask()

        assert answer.status_code == 503
        assert "Retry-After" in answer.headers
        assert world.model_client.calls == []


async def test_what_could_not_be_settled_is_settled_once_postgresql_is_back(limited: Opened) -> None:
    async with limited(usd="1/day") as world:
        settling = asyncio.create_task(world.parts.meter.settle_forever())
        may_end = asyncio.Event()
        world.model_client.will("small", Reply(until=may_end))
        asking = asyncio.create_task(world.ask(model="small", max_tokens=1_000))
        await world.model_client.call_started.wait()
        world.store.is_down = True
        may_end.set()
        answer = await asking
        assert answer.status_code == 200
        assert len(world.ledger.holds) == 1
        world.store.is_down = False

        async with asyncio.timeout(60):
            while world.ledger.holds:  # noqa: ASYNC110  # the task tells nobody
                await asyncio.sleep(0.01)
        assert await spent(world) == Decimal(answer.headers["X-Router-Cost-Usd"])
        settling.cancel()


async def test_shares_of_a_limit_are_counted_in_the_metrics(limited: Opened) -> None:
    async with limited(requests="2/day") as world:
        for n in range(3):
            await world.ask(f"Question {n}")

        text = (await world.http.get("/metrics")).text
        for percent in ("50", "100"):
            assert (
                "router_limit_alerts_total{"
                f'measure="requests",of="tenant",percent="{percent}",period="day"}} 1.0'
            ) in text
        assert 'router_limit_refusals_total{measure="requests",of="tenant",period="day"} 1.0' in text


class PaidTags:
    """A classifier whose tag costs a cent."""

    name = "intent"

    async def tag(self, query: Query, context: Vector | None) -> Tag:
        return Tag(self.name, "error", 0.9, Decimal("0.01"), "paid")


async def test_what_the_router_spends_for_itself_is_charged_to_no_caller(tmp_path: Path) -> None:
    limits = {"tenants": {"default": {"usd": "1/day"}}}
    rules = {"rules": [{"name": "errors", "when": {"intent": "test"}, "models": ["small"]}]}
    shadow = {
        "id": "new",
        "provider": "openai",
        "model": "upstream-new",
        "base_url": "http://127.0.0.1:9/v1",
        "api_key_env": "NEW_API_KEY",
        "price": {"input": 1, "output": 4},
        "shadow": {"share": 1, "usd_per_day": 1},
    }
    async with opened(tmp_path, limits=limits, policies=rules, classifiers=[PaidTags()]) as world:
        assert (await world.http.post("/admin/models", json=shadow)).status_code == 201

        answer = await world.ask()

        tags_usd = Decimal("0.01")
        assert await spent(world) == Decimal(answer.headers["X-Router-Cost-Usd"]) - tags_usd > 0
        text = (await world.http.get("/metrics")).text
        assert 'router_own_cost_usd_total{purpose="tags"} 0.01' in text
        assert 'router_own_cost_usd_total{purpose="shadow"} 0.0003' in text


# --- keys


async def new_key(world: World, name: str, *, admin: str | None = None, **fields: Any) -> str:
    """Make a key; the first one needs no other."""
    headers = {} if admin is None else {"Authorization": f"Bearer {admin}"}
    made = await world.http.post("/admin/keys", json={"name": name, **fields}, headers=headers)
    assert made.status_code == 201, made.text
    key: str = made.json()["key"]
    return key


async def statuses_with(world: World, key: str, n: int) -> list[int]:
    headers = {"x-api-key": key}
    return [(await world.ask(f"Question {i}", headers=headers)).status_code for i in range(n)]


async def test_a_key_is_limited_and_others_are_not(limited: Opened) -> None:
    async with limited() as world:
        admin = await new_key(world, "operator", scopes=["admin"])
        ci = await new_key(
            world, "ci", admin=admin, limits={"requests": "2/day", "usd": ["1/day", "9/month"]}
        )
        web = await new_key(world, "web", admin=admin)

        assert await statuses_with(world, ci, 3) == [200, 200, 429]
        assert await statuses_with(world, web, 3) == [200, 200, 200]


async def test_a_key_without_limits_is_served_while_postgresql_is_away(limited: Opened) -> None:
    async with limited() as world:
        admin = await new_key(world, "operator", scopes=["admin"])
        free = await new_key(world, "web", admin=admin)
        ci = await new_key(world, "ci", admin=admin, limits={"usd": "1/day"})
        world.store.is_down = True

        assert await statuses_with(world, free, 1) == [200]
        assert await statuses_with(world, ci, 1) == [503]


async def test_keys_are_listed_with_their_limits(limited: Opened) -> None:
    async with limited() as world:
        admin = await new_key(world, "operator", scopes=["admin"], limits={"usd": "2.50/day"})

        listed = await world.http.get("/admin/keys", headers={"x-api-key": admin})

        assert [key["limits"] for key in listed.json()["data"]] == [{"usd": ["2.5/day"]}]


async def test_a_rotated_key_counts_with_the_one_that_it_replaces(limited: Opened) -> None:
    async with limited() as world:
        admin = await new_key(world, "operator", scopes=["admin"])
        old = await new_key(world, "ci", admin=admin, limits={"requests": "3/day"})
        assert await statuses_with(world, old, 2) == [200, 200]

        overlap = {"overlap_hours": 8_000}
        rotated = await world.http.post("/admin/keys/ci/rotate", json=overlap, headers={"x-api-key": admin})

        assert await statuses_with(world, rotated.json()["key"], 2) == [200, 429]
        assert await statuses_with(world, old, 1) == [429]


@pytest.mark.parametrize("limits", [{"usd": "5"}, {"usd": ["5/day", "6/day"]}, {"rpm": 60}])
async def test_a_limit_of_a_key_that_could_not_hold_is_rejected(
    limited: Opened, limits: dict[str, Any]
) -> None:
    async with limited() as world:
        answer = await world.http.post("/admin/keys", json={"name": "ci", "limits": limits})

        assert answer.status_code == 400
        assert str(error_of(answer)["param"]).startswith("limits")


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        ({"tenants": {"a": {"usd": "5"}}}, "limits.tenants.a.usd"),
        ({"tenants": {"a": {"usd": "5/week"}}}, "such as 5/day"),
        ({"tenants": {"a": {"usd": ["5/day", "6/day"]}}}, "one amount for each period"),
        ({"tenants": {"a": {"dollars": "5/day"}}}, "dollars"),
        ({"models": {"nobody": {"usd": "5/day"}}}, "limits.models.nobody is of no model in use"),
        (
            {"models": {"small": {"usd": "5/day"}, "mini": {"requests": "5/day"}}},
            "limits.models.mini is another name of small, which has limits here already",
        ),
    ],
)
async def test_a_limit_that_could_not_hold_stops_the_start(
    tmp_path: Path, limits: dict[str, Any], problem: str
) -> None:
    with pytest.raises((ValidationError, StartupError), match=problem.replace(".", r"[.\s]+")):
        async with opened(tmp_path, limits=limits):
            pass
