"""Keys of callers over HTTP: how they are sent, refused, made, replaced and revoked, and what they narrow."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import structlog.testing

from service.access.key_desk import NewKey
from service.domain.caller import ALL_SCOPES, Scope
from service.domain.relayed_model import RelayedModel
from service.errors import ProviderBroken
from tests.fakes import Reply
from tests.fakes_keys import FakeKeyTable
from tests.service.world import SMALL_SERVER, World, error_of, opened

ADMIN = "the-admin-key-of-this-router"
ASKED = [{"role": "user", "content": "What is a bandit?"}]
CHAT = ("/v1/chat/completions", {"messages": ASKED})
MESSAGES = ("/v1/messages", {"model": "auto", "max_tokens": 9, "messages": ASKED})
GEMINI = ("/v1beta/models/auto:generateContent", {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]})


async def issue(world: World, *scopes: Scope, models: frozenset[str] | None = None, name: str = "app") -> str:
    wanted = NewKey(name, "default", frozenset(scopes or ALL_SCOPES), models)
    issued = await world.parts.key_desk.create(wanted)
    await world.parts.keyring.refresh()
    return issued.secret


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


# --- how a key is sent


@pytest.mark.parametrize("header", ["Authorization", "x-api-key", "x-goog-api-key", "X-Router-Key"])
@pytest.mark.parametrize(("path", "body"), [CHAT, MESSAGES, GEMINI])
async def test_every_dialect_takes_the_key_in_every_header(
    world: World, path: str, body: dict[str, object], header: str
) -> None:
    key = await issue(world)
    value = f"Bearer {key}" if header == "Authorization" else key

    answers = [
        (await world.http.post(path, json=body, headers={header: sent})).status_code
        for sent in (value, value[:-1])
    ]

    assert answers == [200, 401]


async def test_googles_clients_may_put_the_key_into_the_url_and_others_may_not(world: World) -> None:
    key = await issue(world)

    googles = await world.http.post(f"{GEMINI[0]}?key={key}", json=GEMINI[1])
    openais = await world.http.post(f"{CHAT[0]}?key={key}", json=CHAT[1])

    assert (googles.status_code, openais.status_code) == (200, 401)


async def test_a_key_for_a_provider_stands_beside_the_key_for_the_router(world: World) -> None:
    key = await issue(world)
    of_provider = bearer("sk-of-a-provider")

    alone = await world.ask(headers=of_provider)
    both = await world.ask(headers={**of_provider, "X-Router-Key": key})

    assert (alone.status_code, both.status_code) == (401, 200)


@pytest.mark.parametrize(
    ("path", "body", "place", "kind"),
    [
        (*CHAT, ("error", "code"), "invalid_api_key"),
        (*MESSAGES, ("error", "type"), "authentication_error"),
        (*GEMINI, ("error", "status"), "UNAUTHENTICATED"),
    ],
)
async def test_a_refusal_is_in_the_callers_dialect_and_has_no_part_of_the_key(
    world: World, path: str, body: dict[str, object], place: tuple[str, str], kind: str
) -> None:
    await issue(world)
    wrong = "rk-'; DROP TABLE api_keys; --"

    with structlog.testing.capture_logs() as lines:
        refused = await world.http.post(path, json=body, headers={"X-Router-Key": wrong})

    assert refused.status_code == 401
    assert refused.json()[place[0]][place[1]] == kind
    assert "DROP" not in refused.text
    assert "DROP" not in str(lines)


async def test_a_key_without_the_scope_is_told_what_it_has(world: World) -> None:
    key = await issue(world, "read", "feedback", name="reader")

    openais = await world.ask(headers=bearer(key))
    anthropics = await world.http.post(MESSAGES[0], json=MESSAGES[1], headers={"x-api-key": key})

    assert (openais.status_code, error_of(openais)["code"]) == (403, "scope_missing")
    assert error_of(openais)["message"] == (
        "the key 'reader' has not the scope 'inference'; it has: feedback, read"
    )
    assert (anthropics.status_code, anthropics.json()["error"]["type"]) == (403, "permission_error")


# --- who may call without one


async def test_the_first_key_closes_the_router_and_revoking_the_last_one_opens_it(world: World) -> None:
    statuses = [(await world.ask()).status_code]
    await issue(world)
    statuses.append((await world.ask()).status_code)
    await world.parts.key_desk.revoke("app")
    await world.parts.keyring.refresh()
    statuses.append((await world.ask()).status_code)

    assert statuses == [200, 401, 200]


async def test_an_expired_key_does_not_open_the_router(world: World) -> None:
    ending = NewKey("app", "default", ALL_SCOPES, None, timedelta(seconds=-1))
    issued = await world.parts.key_desk.create(ending)
    await world.parts.keyring.refresh()

    keyless, expired = await world.ask(), await world.ask(headers=bearer(issued.secret))

    assert (keyless.status_code, expired.status_code) == (401, 401)
    assert "the key 'app' expired at" in error_of(expired)["message"]


async def test_anonymous_callers_ask_rate_and_read_but_do_not_administer(tmp_path: Path) -> None:
    async with opened(tmp_path, allow_anonymous=True, host="0.0.0.0") as world:
        await issue(world)
        asked = await world.ask(request_id="one")
        rated = await world.rate("one", 1)
        read, administered = await world.http.get("/requests"), await world.http.get("/admin/keys")
        health = (await world.http.get("/health")).json()

    assert [r.status_code for r in (asked, rated, read, administered)] == [200, 202, 200, 401]
    assert any("ALLOW_ANONYMOUS" in warning for warning in health["warnings"])


async def test_the_admin_key_is_a_key_with_every_scope(tmp_path: Path) -> None:
    async with opened(tmp_path, admin_key=ADMIN, host="0.0.0.0") as world:
        keyless = await world.ask()
        asked = await world.ask(headers=bearer(ADMIN))
        made = await world.http.post("/admin/keys", json={"name": "app"}, headers={"x-api-key": ADMIN})

    assert [r.status_code for r in (keyless, asked, made)] == [401, 200, 201]


async def test_a_probe_without_a_key_learns_the_status_and_nothing_else(world: World) -> None:
    await issue(world)

    health, ready = await world.http.get("/health"), await world.http.get("/ready")

    assert health.json() == {"status": "ok"}
    assert ready.status_code == 200


async def test_before_the_keys_are_known_nobody_is_answered(tmp_path: Path) -> None:
    table = FakeKeyTable(is_away=True)
    async with opened(tmp_path, key_table=table) as world:
        unknown, keyed = await world.ask(), await world.ask(headers=bearer("rk-some-key"))
        table.is_away = False
        await world.parts.keyring.refresh()
        known = await world.ask()

    assert [r.status_code for r in (unknown, keyed, known)] == [503, 503, 200]
    assert unknown.headers["retry-after"]


async def test_before_the_keys_are_known_nobody_administers_without_one(tmp_path: Path) -> None:
    table = FakeKeyTable(is_away=True)
    async with opened(tmp_path, key_table=table, allow_anonymous=True) as world:
        asked = await world.ask()
        table.is_away = False  # and the router has not noticed it yet
        made = await world.http.post("/admin/keys", json={"name": "mine", "scopes": ["admin"]})
        await world.parts.keyring.refresh()
        known = await world.http.get("/admin/keys")

    assert [r.status_code for r in (asked, made, known)] == [200, 401, 200]


async def test_keys_hold_while_postgresql_is_away(tmp_path: Path) -> None:
    table = FakeKeyTable()
    async with opened(tmp_path, key_table=table) as world:
        key = await issue(world)
        table.is_away = True
        right, wrong = await world.ask(headers=bearer(key)), await world.ask(headers=bearer(key[:-1]))
        table.is_away = False

    assert (right.status_code, wrong.status_code) == (200, 401)


async def test_keys_of_another_secret_are_told(tmp_path: Path) -> None:
    table = FakeKeyTable()
    async with opened(tmp_path, key_table=table) as world:
        key = await issue(world)
        (known,) = table.keys.values()
        table.keys[known.key_id] = replace(known, secret_id="another", digest=b"another")
        await world.parts.keyring.refresh()
        refused, health = await world.ask(headers=bearer(key)), await world.parts.health()

    assert refused.status_code == 401
    assert "1 of its keys were made with another SECRET_KEY" in error_of(refused)["message"]
    assert any("another SECRET_KEY" in warning for warning in health["warnings"])


# --- what a key narrows


async def test_a_key_gets_its_models_whatever_the_request_names(tmp_path: Path) -> None:
    names = {"any-size": ["small", "large"]}
    async with opened(tmp_path, aliases=names, model_map={"gpt": "large"}) as world:
        key = bearer(await issue(world, models=frozenset({"mini"})))
        answered = {
            name: (await world.ask(headers=key, model=name)).headers.get("x-router-model")
            for name in ("auto", "any-size", "small", "mini")
        }
        refused = {
            name: (await world.ask(headers={**key, **more}, model=name)).status_code
            for name, more in [
                ("large", {}),
                ("gpt", {}),
                ("auto", {"X-Router-Force-Model": "large"}),
            ]
        }
        widened = await world.ask(headers=key, router={"models": ["small", "large"]})

    assert set(answered.values()) == {"small"}
    assert set(refused.values()) <= {400, 404}
    assert widened.headers["x-router-model"] == "small"


async def test_a_model_that_fails_is_not_replaced_by_one_that_the_key_is_not_for(world: World) -> None:
    key = bearer(await issue(world, models=frozenset({"small"})))
    world.model_client.will("small", *[Reply(error=ProviderBroken("500"))] * 5)

    answer = await world.ask(headers=key)

    assert answer.status_code >= 500
    assert set(world.model_client.called) == {"small"}


async def test_an_answer_of_another_model_is_not_found_in_the_cache(tmp_path: Path) -> None:
    async with opened(tmp_path, cache_enabled=True) as world:
        free, bound = (
            bearer(await issue(world)),
            bearer(await issue(world, models=frozenset({"small"}), name="bound")),
        )
        first = await world.ask(headers=free, model="auto", router={"exclude": ["small"]})
        second = await world.ask(headers=bound, model="auto", router={"exclude": ["small"]})

    assert first.headers["x-router-model"] != "small"
    assert second.status_code == 400


async def test_the_lists_of_models_have_those_of_the_key(world: World) -> None:
    key = bearer(await issue(world, models=frozenset({"big", "embed"})))

    openais = (await world.http.get("/v1/models", headers=key)).json()["data"]
    googles = (await world.http.get("/v1beta/models", headers=key)).json()["models"]
    one = [
        (await world.http.get(f"/v1/models/{name}", headers=key)).status_code
        for name in ("large", "big", "embed", "small", "router-minilm")
    ]

    ids = {model["id"] for model in openais}
    assert {"auto", "large", "embed"} <= ids
    assert ids.isdisjoint({"small", "medium", "router-minilm", "unpriced"})
    assert {model["name"].removeprefix("models/") for model in googles} == ids
    assert one == [200, 200, 200, 404, 404]


async def test_embeddings_are_of_the_models_of_the_key(world: World) -> None:
    key = bearer(await issue(world, models=frozenset({"embed"})))

    statuses = [
        (
            await world.http.post("/v1/embeddings", json={"model": name, "input": "soup"}, headers=key)
        ).status_code
        for name in ("embed", "router-minilm")
    ]

    assert statuses == [200, 404]


# --- /admin/keys


@pytest.fixture
async def managed(tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path, admin_key=ADMIN) as world:
        world.http.headers.update(bearer(ADMIN))
        yield world


async def test_a_key_is_shown_once_and_counts_at_once(managed: World) -> None:
    made = await managed.http.post(
        "/admin/keys", json={"name": "app", "tenant": "shop", "models": ["big"], "expires_in_days": 1}
    )
    listed = await managed.http.get("/admin/keys")
    asked = await managed.ask(headers=bearer(made.json()["key"]))

    assert made.json()["key"].startswith("rk-")
    assert made.headers["cache-control"] == "no-store"
    assert made.json()["key"] not in listed.text
    (shown,) = listed.json()["data"]
    assert {**shown, "key": made.json()["key"]} == made.json()
    assert (shown["tenant"], shown["scopes"], shown["models"], shown["state"]) == (
        "shop",
        ["feedback", "inference"],
        ["big"],
        "valid",
    )
    assert asked.headers["x-router-model"] == "large"


async def test_a_key_may_be_for_models_that_do_not_chat(tmp_path: Path) -> None:
    async with opened(tmp_path, moderation_models=(RelayedModel("judge", (SMALL_SERVER,)),)) as world:
        made = await world.http.post("/admin/keys", json={"name": "app", "models": ["embed", "judge", "big"]})

    assert made.status_code == 201


async def test_the_name_of_a_rotated_key_is_its_successors_once_the_old_one_has_expired(
    managed: World,
) -> None:
    await managed.http.post("/admin/keys", json={"name": "app"})
    new = (await managed.http.post("/admin/keys/app/rotate", json={"overlap_hours": 1})).json()
    managed.clock.advance(7200)

    revoked = await managed.http.delete("/admin/keys/app")

    assert (revoked.status_code, revoked.json()["id"]) == (200, new["id"])


async def test_a_rotated_key_and_its_successor_are_both_valid_for_the_overlap(managed: World) -> None:
    old = (await managed.http.post("/admin/keys", json={"name": "app", "models": ["big"]})).json()
    new = (await managed.http.post("/admin/keys/app/rotate", json={"overlap_hours": 1})).json()

    during = [(await managed.ask(headers=bearer(each["key"]))).status_code for each in (old, new)]
    ambiguous = await managed.http.delete("/admin/keys/app")
    revoked = await managed.http.delete(f"/admin/keys/{old['id']}")
    after = [(await managed.ask(headers=bearer(each["key"]))).status_code for each in (old, new)]

    assert (new["replaces"], new["models"], new["scopes"]) == (old["id"], ["big"], old["scopes"])
    assert during == [200, 200]
    assert (ambiguous.status_code, revoked.status_code) == (409, 200)
    assert after == [401, 200]


async def test_without_an_overlap_the_old_key_ends_at_once(managed: World) -> None:
    old = (await managed.http.post("/admin/keys", json={"name": "app"})).json()
    await managed.http.post("/admin/keys/app/rotate", json={"overlap_hours": 0})

    assert (await managed.ask(headers=bearer(old["key"]))).status_code == 401


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "name"),
        ({"name": "two words"}, "name"),
        ({"name": "app", "scopes": ["everything"]}, "scopes[0]"),
        ({"name": "app", "scopes": []}, "scopes"),
        ({"name": "app", "models": ["nobody"]}, "models"),
        ({"name": "app", "expires_in_days": 0}, "expires_in_days"),
        ({"name": "app", "budget": 1}, "budget"),
    ],
)
async def test_a_bad_key_is_refused_with_the_field(
    managed: World, body: dict[str, object], param: str
) -> None:
    refused = await managed.http.post("/admin/keys", json=body)

    assert refused.status_code in {400, 404}
    assert error_of(refused)["param"] == param


async def test_two_keys_do_not_share_a_name_and_unknown_ones_are_not_found(managed: World) -> None:
    await managed.http.post("/admin/keys", json={"name": "app"})

    again = await managed.http.post("/admin/keys", json={"name": "app"})
    unknown = await managed.http.delete("/admin/keys/nobody")

    assert (again.status_code, error_of(again)["code"]) == (409, "key_conflict")
    assert (unknown.status_code, error_of(unknown)["code"]) == (404, "key_not_found")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/admin/keys/{}"),
        ("POST", "/admin/keys/{}/rotate"),
        ("GET", "/v1/{}"),
        ("GET", "/v1/models/{}"),
    ],
)
async def test_a_key_in_a_path_is_neither_logged_nor_answered(managed: World, method: str, path: str) -> None:
    key = (await managed.http.post("/admin/keys", json={"name": "app"})).json()["key"]

    with structlog.testing.capture_logs() as lines:
        answer = await managed.http.request(method, path.format(key), headers=bearer(ADMIN))

    assert answer.status_code == 404
    assert "rk-" in str(lines)
    assert key[3:] not in answer.text + str(lines)


async def test_a_key_is_used_last_when_it_was(managed: World) -> None:
    made = (await managed.http.post("/admin/keys", json={"name": "app"})).json()
    await managed.ask(headers=bearer(made["key"]))
    await managed.parts.keyring.close()

    (shown,) = (await managed.http.get("/admin/keys")).json()["data"]

    assert shown["last_used_at"] is not None
