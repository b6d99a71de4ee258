"""What two tenants of one router see of each other: nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from service.domain.basics import Json
from tests.service.world import World, application, opened
from tests.tenants import client_of, with_tenants

TEXT = "What is a bandit?"
CHAT = {"messages": [{"role": "user", "content": TEXT}]}


@dataclass(frozen=True, slots=True)
class Tenants:
    """Two tenants of one router."""

    world: World
    one: httpx.AsyncClient
    other: httpx.AsyncClient


@pytest.fixture
async def tenants(tmp_path: Path) -> AsyncIterator[Tenants]:
    async with opened(tmp_path, cache_enabled=True) as world:
        app = with_tenants(application(world.parts.settings, world.parts))
        async with client_of(app, "one") as one, client_of(app, "other") as other:
            yield Tenants(world, one, other)


async def ask(client: httpx.AsyncClient, request_id: str, **router: object) -> httpx.Response:
    body = {**CHAT, "router": router}
    answer = await client.post("/v1/chat/completions", json=body, headers={"X-Request-ID": request_id})
    assert answer.status_code == 200, answer.text
    return answer


async def get(client: httpx.AsyncClient, path: str) -> Json:
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    body: Json = answer.json()
    return body


async def test_one_request_id_names_a_request_of_each_tenant(tenants: Tenants) -> None:
    first, second = await ask(tenants.one, "r-1"), await ask(tenants.other, "r-1")
    await tenants.world.background.drain(5.0)

    records = [await get(client, "/requests/r-1") for client in (tenants.one, tenants.other)]
    assert [record["tenant"] for record in records] == ["one", "other"]
    ids = [answer.headers["X-Router-Decision-Id"] for answer in (first, second)]
    assert [record["decision_id"] for record in records] == ids
    assert ids[0] != ids[1]


async def test_an_answer_in_the_cache_is_its_tenants_own(tenants: Tenants) -> None:
    await ask(tenants.one, "r-1")

    assert (await ask(tenants.other, "r-2")).headers["X-Router-Decision"] != "cache"
    assert (await ask(tenants.one, "r-3")).headers["X-Router-Decision"] == "cache"


async def test_a_tenant_empties_its_own_answers_and_counts_its_own_hits(tenants: Tenants) -> None:
    for client in (tenants.one, tenants.other, tenants.other):
        await ask(client, f"r-{id(client)}-{client is tenants.other}")
    await ask(tenants.other, "r-again")

    cleared = (await tenants.one.post("/cache/clear")).json()

    assert cleared == {"cleared": 1}
    stats = await get(tenants.other, "/cache/stats")
    assert (stats["size"], stats["hits"], stats["misses"]) == (1, 1, 1)
    stats = await get(tenants.one, "/cache/stats")
    assert (stats["size"], stats["hits"], stats["misses"]) == (0, 0, 1)


async def test_the_evidence_of_a_model_is_the_tenants_own(tenants: Tenants) -> None:
    answered = await ask(tenants.one, "r-1")
    await tenants.world.background.drain(5.0)
    rated = await tenants.one.post("/feedback", json={"request_id": "r-1", "score": 1.0})
    assert rated.status_code == 202, rated.text

    model = answered.headers["X-Router-Model"]
    evidence = {}
    for name, client in (("one", tenants.one), ("other", tenants.other)):
        models = (await get(client, "/admin/models"))["data"]
        evidence[name] = {found["id"]: found["evidence"] for found in models}
    assert evidence["one"][model]["n_rated"] == 1
    assert set(evidence["other"].values()) == {None}


async def test_feedback_reaches_no_request_of_another_tenant(tenants: Tenants) -> None:
    answer = await ask(tenants.one, "r-1", session_id="s-1")
    await tenants.world.background.drain(5.0)

    for name in ({"request_id": "r-1"}, {"request_id": answer.json()["id"]}, {"session_id": "s-1"}):
        rated = await tenants.other.post("/feedback", json={**name, "score": 0.0})
        assert rated.status_code == 404, name
    assert (await get(tenants.one, "/requests/r-1"))["feedback"] == []


async def test_neighbours_are_requests_of_the_same_tenant(tenants: Tenants) -> None:
    for number in range(3):
        request_id = f"r-{number}"
        await tenants.one.post(
            "/v1/chat/completions",
            json={"messages": [{"role": "user", "content": f"{TEXT} {number}"}]},
            headers={"X-Request-ID": request_id},
        )
        await tenants.world.background.drain(5.0)
        await tenants.one.post("/feedback", json={"request_id": request_id, "score": 1.0})

    own = (await tenants.one.post("/v1/route", json=CHAT)).json()
    others = (await tenants.other.post("/v1/route", json=CHAT)).json()

    assert {neighbour["request_id"] for neighbour in own["neighbours"]} == {"r-0", "r-1", "r-2"}
    assert others["neighbours"] == []


async def test_a_calibration_of_another_tenant_is_not_named(tenants: Tenants) -> None:
    wish = {"prompts": [{"prompt": TEXT, "expected": "Hello"}], "max_usd": 1, "grader": "contains"}
    started = (await tenants.one.post("/admin/calibrations", json=wish)).json()

    refused = await tenants.other.post("/admin/calibrations", json=wish)

    assert refused.status_code == 409, refused.text
    assert started["id"] not in refused.text
    await tenants.world.parts.calibrations.wait()
    assert (await tenants.other.get(f"/admin/calibrations/{started['id']}")).status_code == 404


@pytest.mark.parametrize(("most", "added"), [(0.0, 0.0), (2.0, 2.0), (100.0, 3.0)])
async def test_a_new_tenant_starts_from_the_ratings_of_others_if_the_operator_wants_it(
    tmp_path: Path, most: float, added: float
) -> None:
    async with opened(tmp_path, pooled_prior_mass=most) as world:
        app = with_tenants(application(world.parts.settings, world.parts))
        async with client_of(app, "one") as one, client_of(app, "other") as other:
            for number in range(3):
                body = {"model": "small", "messages": [{"role": "user", "content": f"{TEXT} {number}"}]}
                await one.post("/v1/chat/completions", json=body, headers={"X-Request-ID": f"r-{number}"})
                await world.background.drain(5.0)
                await one.post("/feedback", json={"request_id": f"r-{number}", "score": 0.0})
            asked = await ask(other, "r-first")
            await world.background.drain(5.0)

            weighed = (await get(other, "/requests/r-first"))["candidates"]

    assert asked.status_code == 200
    priors = {candidate["model"]: candidate["prior_state"] for candidate in weighed}
    assert priors["small"]["prior_mass"] - priors["medium"]["prior_mass"] == pytest.approx(added)
    assert (priors["small"]["prior_mean"] < priors["medium"]["prior_mean"]) == (added > 0)
