"""One X-Request-ID for several bodies, as service meshes send it."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from service.errors import ProviderBroken
from tests.fakes import ANY, FakeStore, Reply
from tests.service.world import World, error_of, opened

REUSED = "X-Router-Reused-Request-Id"
DOWN = ProviderBroken("down", status=500)


async def message(world: World, text: str, request_id: str, **body: object) -> httpx.Response:
    """POST a message in Anthropic's dialect."""
    asked = {"max_tokens": 50, "messages": [{"role": "user", "content": text}], **body}
    return await world.http.post("/v1/messages", json=asked, headers={"X-Request-ID": request_id})


async def test_another_body_is_decided_under_an_id_of_its_own(world: World) -> None:
    first = await world.ask("One", request_id="mesh")
    second = await world.ask("Two", request_id="mesh")

    assert (first.status_code, second.status_code) == (200, 200)
    assert first.headers["X-Request-ID"] == "mesh"
    assert REUSED not in first.headers
    own = second.headers["X-Request-ID"]
    assert own.startswith("mesh-")
    assert second.headers["request-id"] == own
    assert second.headers[REUSED] == "mesh"
    assert first.headers["X-Router-Decision-Id"] != second.headers["X-Router-Decision-Id"]
    assert (await world.record(own))["decision_id"] == second.headers["X-Router-Decision-Id"]


async def test_each_body_is_retried_under_its_own_decision(world: World) -> None:
    answers = [await world.ask(text, request_id="mesh") for text in ("One", "Two", "Two", "One", "Two")]

    decisions = [answer.headers["X-Router-Decision-Id"] for answer in answers]
    assert decisions[0] == decisions[3]
    assert decisions[1] == decisions[2] == decisions[4] != decisions[0]
    own = answers[1].headers["X-Request-ID"]
    assert [answer.headers["X-Request-ID"] for answer in answers] == ["mesh", own, own, "mesh", own]
    assert len((await world.record(own))["attempts"]) == 3
    assert len((await world.record("mesh"))["attempts"]) == 2


async def test_every_replica_gives_a_body_the_same_id(tmp_path: Path) -> None:
    store = FakeStore()
    async with (
        opened(tmp_path / "one", store=store) as one,
        opened(tmp_path / "other", store=store) as other,
    ):
        await one.ask("One", request_id="mesh")
        second = await other.ask("Two", request_id="mesh")
        retried = await one.ask("Two", request_id="mesh")

    for header in ("X-Request-ID", "X-Router-Decision-Id", REUSED):
        assert second.headers[header] == retried.headers[header]


async def test_feedback_names_the_id_of_the_answer(world: World) -> None:
    await world.ask("One", request_id="mesh", model="small")
    second = await world.ask("Two", request_id="mesh", model="large")

    rated = (await world.rate(second.headers["X-Request-ID"], 0.25)).json()

    assert (rated["model"], rated["request_id"]) == ("large", second.headers["X-Request-ID"])
    assert (await world.record("mesh"))["feedback"] == []


@pytest.mark.parametrize("stream", [False, True])
async def test_both_dialects_and_streams_follow_the_rule(world: World, stream: bool) -> None:
    answers = [
        await world.ask("Hi", request_id="mesh", stream=stream),
        await world.ask("Hi", request_id="mesh", stream=not stream),
        await message(world, "Hi", "mesh", stream=stream),
        await message(world, "Hi", "mesh", stream=stream),
    ]

    assert [answer.status_code for answer in answers] == [200] * 4
    ids = [answer.headers["X-Request-ID"] for answer in answers]
    assert len(set(ids)) == 3
    assert ids[2] == ids[3]
    assert [answer.headers.get(REUSED) for answer in answers] == [None, "mesh", "mesh", "mesh"]
    for request_id in ids:
        assert (await world.record(request_id))["request_id"] == request_id


async def test_a_stream_that_starts_before_its_content_has_the_id_too(tmp_path: Path) -> None:
    async with opened(tmp_path, keepalive_after_s=0.001) as world:
        await world.ask("One", request_id="mesh")
        second = await world.ask("Two", request_id="mesh", stream=True)

    assert second.headers[REUSED] == "mesh"
    assert second.headers["X-Request-ID"] in {d.query.request_id for d in world.store.decisions.values()}


@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_names_the_id_of_its_decision(world: World, stream: bool) -> None:
    await world.ask("One", request_id="mesh")
    world.model_client.will(ANY, *[Reply(words=(), error=DOWN)] * 3)

    failed = await message(world, "Two", "mesh", stream=stream)

    assert failed.status_code == 529
    own = failed.headers["X-Request-ID"]
    assert failed.headers[REUSED] == "mesh"
    assert failed.json()["request_id"] == own
    assert (await world.record(own))["outcome"]["status"] == "failed"


async def test_a_stream_that_breaks_off_names_the_id_of_its_decision(world: World) -> None:
    await world.ask("One", request_id="mesh")
    world.model_client.will(ANY, Reply(error=DOWN))

    broken = await message(world, "Two", "mesh", stream=True)

    assert f'"request_id":"{broken.headers["X-Request-ID"]}"' in broken.text
    assert broken.headers["X-Request-ID"] != "mesh"


async def test_an_id_of_the_greatest_length_gets_one_that_is_no_longer(world: World) -> None:
    long_ids = ["x" * 127 + end for end in "ab"]
    for request_id in long_ids:
        await world.ask("One", request_id=request_id)

    seconds = [await world.ask("Two", request_id=request_id) for request_id in long_ids]

    ids = [second.headers["X-Request-ID"] for second in seconds]
    assert len(set(ids)) == 2
    assert all(len(request_id) <= 128 for request_id in ids)
    assert (await world.rate(ids[0], 1)).status_code == 202


async def test_the_rule_holds_while_the_store_is_down(world: World) -> None:
    world.store.is_down = True
    first = await world.ask("One", request_id="mesh")
    second = await world.ask("Two", request_id="mesh")
    retried = await world.ask("Two", request_id="mesh")

    assert first.headers["X-Request-ID"] == "mesh"
    assert second.headers["X-Request-ID"] == retried.headers["X-Request-ID"] != "mesh"
    assert second.headers["X-Router-Decision-Id"] == retried.headers["X-Router-Decision-Id"]


async def test_the_cache_answers_under_the_id_of_the_body(tmp_path: Path) -> None:
    async with opened(tmp_path, cache_enabled=True) as world:
        await world.ask("Two")
        await world.ask("One", request_id="mesh")
        second, again = [await world.ask("Two", request_id="mesh") for _ in range(2)]

    assert second.headers["X-Router-Decision"] == "cache"
    assert second.headers["X-Request-ID"] == again.headers["X-Request-ID"] != "mesh"
    assert second.headers["X-Router-Decision-Id"] == again.headers["X-Router-Decision-Id"]


# --- REUSED_REQUEST_ID=reject


async def test_another_body_is_a_conflict_if_the_operator_says_so(tmp_path: Path) -> None:
    async with opened(tmp_path, reused_request_id="reject") as world:
        await world.ask("Hi", request_id="r-1")
        answers = [
            await world.ask("Something else", request_id="r-1"),
            await world.ask("Hi", request_id="r-1", stream=True),
        ]
        retried = await world.ask("Hi", request_id="r-1")
        translated = await message(world, "Hi", "r-1")

    for answer in answers:
        assert answer.status_code == 409
        error = error_of(answer)
        assert (error["code"], error["param"]) == ("request_id_conflict", "X-Request-ID")
        assert "'r-1' was used before with another body" in error["message"]
        assert REUSED not in answer.headers
    assert (translated.status_code, translated.json()["error"]["type"]) == (409, "conflict_error")
    assert retried.status_code == 200
    assert len(world.model_client.calls) == 2
