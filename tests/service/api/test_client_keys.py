"""Models with `api_key: client`: each caller's key goes to its provider and nowhere else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.domain.arm import FREE, Arm
from service.domain.basics import Json
from service.domain.registration import ArmRegistration, Shadow
from service.providers.clients import build_provider_clients
from service.providers.simulator.simulator import SimulatedClient
from tests.fakes import FixedClock
from tests.keyed_upstream import TEXT, KeyedUpstream
from tests.service.world import World, error_of, opened

# LiteLLM loads its parts at their first use, and some of them warn.
pytestmark = pytest.mark.filterwarnings("ignore")
ALICE, BOB = "sk-alice-0f3c9d1e77", "sk-bob-5b2a8c4410"
WRONG, BROKE = "sk-wrong-9a9a9a9a9a", "sk-broke-1b1b1b1b1b"
OPERATORS, ADMIN = "sk-operator-7c7c7c7c", "the-admin-key-of-this-router"
ASKED = [{"role": "user", "content": "What is a bandit?"}]


@dataclass
class Keyed:
    """A router with models that take callers' keys at two providers, and one with a key of its own."""

    world: World
    openai: KeyedUpstream
    anthropic: KeyedUpstream
    house: KeyedUpstream

    async def ask(self, headers: dict[str, str], *, model: str = "auto", **more: object) -> httpx.Response:
        body = {"model": model, "messages": ASKED, **more}
        return await self.world.http.post("/v1/chat/completions", json=body, headers=headers)

    async def message(self, headers: dict[str, str], *, stream: bool = False) -> httpx.Response:
        body = {"model": "claude", "max_tokens": 9, "messages": ASKED, "stream": stream}
        return await self.world.http.post("/v1/messages", json=body, headers=headers)

    async def rejected(self, response: httpx.Response) -> dict[str, str]:
        """Why models could not answer, by their ids."""
        record: Json = await self.world.record(response.headers["x-request-id"])
        return {r["model"]: r["reason"] for r in record["rejected"]}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def arm(arm_id: str, provider: str, upstream: KeyedUpstream, **more: object) -> Arm:
    url = f"{upstream.origin}/v1" if provider == "openai" else upstream.origin
    made = Arm(arm_id, provider, arm_id, base_url=url, price=FREE, takes_client_key=True)
    return replace(made, **more)  # type: ignore[arg-type]


@pytest.fixture
async def keyed(tmp_path: Path) -> AsyncIterator[Keyed]:
    keys = {ALICE: 200, BOB: 200, BROKE: 429}
    async with (
        KeyedUpstream(keys) as openai,
        KeyedUpstream(keys) as anthropic,
        KeyedUpstream({OPERATORS: 200}) as house,
    ):
        arms = [
            arm("house", "openai", house, takes_client_key=False, api_key_env="OPERATORS_KEY"),
            arm("gpt", "openai", openai),
            arm("claude", "anthropic", anthropic),
        ]
        clock, secrets = FixedClock(), {"OPERATORS_KEY": OPERATORS}
        calling = build_provider_clients(secrets, clock, simulator=SimulatedClient())
        settings: dict[str, Any] = {"cache_enabled": True, "breaker_failures": 1, "admin_key": ADMIN}
        async with opened(tmp_path, arms, calling=calling, **settings) as world:
            yield Keyed(world, openai, anthropic, house)
        await calling.close()


@pytest.mark.parametrize("stream", [False, True])
async def test_two_callers_are_answered_with_their_own_keys(keyed: Keyed, stream: bool) -> None:
    for key in (ALICE, BOB):
        for answer in (
            await keyed.ask(bearer(key), model="gpt", stream=stream),
            await keyed.ask(bearer(key), model="claude", stream=stream),
            await keyed.message({"x-api-key": key}, stream=stream),
            await keyed.message(bearer(key), stream=stream),
        ):
            assert (answer.status_code, TEXT in answer.text) == (200, True), answer.text

    assert keyed.openai.seen == [("authorization", f"Bearer {key}") for key in (ALICE, BOB)]
    own = [
        [("x-api-key", key), ("x-api-key", key), ("authorization", f"Bearer {key}")] for key in (ALICE, BOB)
    ]
    assert keyed.anthropic.seen == [*own[0], *own[1]]
    assert {*keyed.openai.cookies, *keyed.anthropic.cookies} == {""}
    assert keyed.house.seen == []


@pytest.mark.parametrize("name", ["x-api-key", "x-goog-api-key"])
async def test_a_key_in_the_header_of_another_vendor_becomes_a_bearer_token(keyed: Keyed, name: str) -> None:
    answer = await keyed.ask({name: ALICE}, model="gpt")

    assert answer.status_code == 200
    assert keyed.openai.seen == [("authorization", f"Bearer {ALICE}")]


async def test_a_key_that_could_be_of_two_providers_goes_only_where_the_request_names_the_model(
    keyed: Keyed,
) -> None:
    chosen = await keyed.ask(bearer(ALICE))
    narrowed = await keyed.ask(bearer(ALICE), router={"models": ["gpt"]})

    assert (chosen.headers["x-router-model"], narrowed.headers["x-router-model"]) == ("house", "gpt")
    assert keyed.anthropic.seen == []
    reasons = await keyed.rejected(chosen)
    assert reasons.keys() == {"gpt", "claude"}
    assert all("the request must name the model" in reason for reason in reasons.values())


async def test_without_a_key_such_a_model_is_not_eligible_and_the_decision_says_why(keyed: Keyed) -> None:
    answer, named = await keyed.ask({}), await keyed.ask({}, model="gpt")

    assert answer.headers["x-router-model"] == "house"
    assert "needs the caller's own key" in (await keyed.rejected(answer))["gpt"]
    assert named.status_code == 400
    assert "needs the caller's own key" in error_of(named)["message"]


@pytest.mark.parametrize("key", [ADMIN, "a key with spaces", "kéy"])
async def test_the_admin_key_and_what_is_no_key_go_nowhere(keyed: Keyed, key: str) -> None:
    answer = await keyed.world.http.post(
        "/v1/chat/completions",
        json={"model": "gpt", "messages": ASKED},
        headers=[(b"authorization", f"Bearer {key}".encode())],
    )

    assert answer.status_code == 400
    assert keyed.openai.seen == []


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refused_key_is_told_to_its_caller_and_counts_against_nobody(
    keyed: Keyed, stream: bool
) -> None:
    chat = await keyed.ask(bearer(WRONG), model="gpt", stream=stream)
    message = await keyed.message({"x-api-key": WRONG}, stream=stream)

    assert (chat.status_code, error_of(chat)["code"]) == (401, "invalid_api_key")
    assert (message.status_code, message.json()["error"]["type"]) == (401, "authentication_error")
    assert WRONG not in chat.text + message.text
    assert (await keyed.ask(bearer(BOB), model="gpt")).status_code == 200
    record = await keyed.world.record(chat.headers["x-request-id"])
    assert record["feedback"] == []
    assert record["attempts"][0]["error_type"] == "CallersKeyRefused"


async def test_the_limits_of_one_callers_account_do_not_stop_the_others(keyed: Keyed) -> None:
    limited = await keyed.ask(bearer(BROKE), model="gpt")
    other = await keyed.ask(bearer(BOB), model="gpt")

    assert (limited.status_code, other.status_code) == (429, 200)


async def test_an_answer_that_a_callers_key_paid_for_is_not_given_to_another_caller(keyed: Keyed) -> None:
    answers = [await keyed.ask(bearer(key), model="gpt", temperature=0) for key in (ALICE, ALICE, BOB)]

    assert [answer.headers["x-router-decision"] for answer in answers] == ["pinned"] * 3


async def test_such_a_model_is_not_called_in_shadow_nor_for_calibration(keyed: Keyed) -> None:
    catalog = keyed.world.parts.catalog
    now = keyed.world.clock()
    shadow = ArmRegistration("gpt", now, now, state="shadow", shadow=Shadow(1.0, Decimal(1)))
    catalog.put(catalog.arms, {**catalog.registrations, "gpt": shadow})

    await keyed.ask(bearer(ALICE), router={"models": ["house", "claude"]})
    await keyed.world.background.drain(5.0)
    wish = {"models": ["claude"], "prompts": [{"prompt": "1+1", "expected": "2"}], "grader": "exact"}
    wanted = await keyed.world.http.post(
        "/admin/calibrations", json={**wish, "max_usd": 1}, headers=bearer(ADMIN)
    )

    assert keyed.openai.seen == []
    assert wanted.status_code == 400
    assert "claude is called with keys of callers only" in error_of(wanted)["message"]
