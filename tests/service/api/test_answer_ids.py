"""Feedback and records accept the id of the answer itself."""

from __future__ import annotations

from pathlib import Path

import httpx
import orjson
import pytest

from service.domain.basics import Json
from tests.fakes import ANY, Reply
from tests.service.world import World, events_of, opened

HI = [{"role": "user", "content": "Hi"}]
REQUESTS: dict[str, Json] = {
    "/v1/chat/completions": {"messages": HI},
    "/v1/completions": {"prompt": "Hi"},
    "/v1/messages": {"messages": HI, "max_tokens": 50},
    "/v1/responses": {"input": "Hi"},
}


async def ask(world: World, path: str, request_id: str, **fields: object) -> httpx.Response:
    body = {"model": "auto", **REQUESTS[path], **fields}
    return await world.http.post(path, json=body, headers={"X-Request-ID": request_id})


def id_in(response: httpx.Response) -> str:
    """The answer's own id: of a stream the one in its first event."""
    if not response.headers["content-type"].startswith("text/event-stream"):
        return str(response.json()["id"])
    data = next(line[6:] for line in response.text.splitlines() if line.startswith("data: {"))
    first = orjson.loads(data)
    return str((first.get("message") or first.get("response") or first)["id"])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", REQUESTS)
async def test_an_answers_own_id_names_its_request(world: World, path: str, stream: bool) -> None:
    answer_id = id_in(await ask(world, path, "r-1", stream=stream))
    await ask(world, path, "r-2", stream=stream)

    rated = await world.rate(answer_id, 1.0)
    record = await world.record(answer_id)
    numbers = (await world.http.get(f"/metrics/{answer_id}")).json()
    withdrawn = await world.http.delete(f"/feedback/{answer_id}")

    assert rated.status_code == 202
    assert rated.json()["request_id"] == "r-1"
    assert (record["request_id"], record["reward"]) == ("r-1", 1.0)
    assert numbers["request_id"] == "r-1"
    assert (withdrawn.status_code, withdrawn.json()["request_id"]) == (202, "r-1")


async def test_a_list_of_feedback_may_name_answers(world: World) -> None:
    answer_id = id_in(await ask(world, "/v1/chat/completions", "r-1"))
    scores = [{"request_id": answer_id, "score": 1.0}, {"request_id": "chatcmpl-unknown", "score": 0.0}]

    known, unknown = (await world.http.post("/feedback", json=scores)).json()

    assert (known["request_id"], unknown["status"]) == ("r-1", "unknown")


async def test_answers_with_one_id_of_their_providers_have_ids_of_their_own(world: World) -> None:
    ids = {id_in(await ask(world, "/v1/chat/completions", f"r-{n}")) for n in range(3)}

    assert len(ids) == 3  # the models of this test give every answer the same


async def test_a_retry_has_the_id_of_the_first_answer(world: World) -> None:
    ids = {id_in(await ask(world, "/v1/chat/completions", "r-1")) for _ in range(2)}

    assert len(ids) == 1


async def test_every_chunk_of_a_stream_has_one_id(world: World) -> None:
    response = await ask(world, "/v1/chat/completions", "r-1", stream=True)

    chunks = [event for event in events_of(response) if isinstance(event, dict)]
    assert {chunk["id"] for chunk in chunks} == {id_in(response)}


async def test_an_answer_from_the_cache_names_the_request_that_it_was_made_for(tmp_path: Path) -> None:
    async with opened(tmp_path, cache_enabled=True) as world:
        first, second = [
            await ask(world, "/v1/chat/completions", f"r-{n}", model="small", temperature=0) for n in (1, 2)
        ]
        record = await world.record(id_in(second))

    assert second.headers["X-Router-Decision"] == "cache"
    assert record["request_id"] == "r-1"
    assert id_in(first) == id_in(second)


async def test_an_id_of_no_answer_is_unknown(world: World) -> None:
    for unknown in ("chatcmpl-" + "0" * 32, "msg_01AbC", "resp_x", "0" * 32):
        assert (await world.rate(unknown, 1.0)).status_code == 404
        assert (await world.http.get(f"/requests/{unknown}")).status_code == 404


async def test_a_request_id_that_looks_like_an_answers_goes_first(world: World) -> None:
    answer_id = id_in(await ask(world, "/v1/chat/completions", "r-1"))
    await ask(world, "/v1/chat/completions", answer_id)

    assert (await world.record(answer_id))["request_id"] == answer_id


# --- the cost


@pytest.mark.parametrize("path", REQUESTS)
async def test_a_whole_answer_states_its_cost(world: World, path: str) -> None:
    response = await ask(world, path, "r-1", model="large")

    record = await world.record("r-1")
    assert float(response.headers["X-Router-Cost-Usd"]) == record["outcome"]["cost_usd"] > 0


async def test_the_cost_of_failed_calls_is_part_of_it(world: World) -> None:
    world.model_client.will(ANY, Reply(words=()), Reply())

    response = await ask(world, "/v1/chat/completions", "r-1")

    record = await world.record("r-1")
    assert len(record["attempts"]) == 2
    total = sum(attempt["cost_usd"] for attempt in record["attempts"])
    assert float(response.headers["X-Router-Cost-Usd"]) == pytest.approx(total)


async def test_an_answer_from_the_cache_costs_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path, cache_enabled=True) as world:
        for n in (1, 2):
            response = await ask(world, "/v1/chat/completions", f"r-{n}", model="small", temperature=0)

    assert response.headers["X-Router-Cost-Usd"] == "0"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/messages"])
async def test_a_stream_states_its_cost_at_its_end_when_asked(world: World, path: str) -> None:
    response = await ask(world, path, "r-1", model="large", stream=True, router={"cost": True})
    plain = await ask(world, path, "r-2", model="large", stream=True)

    record = await world.record("r-1")
    events = [orjson.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: {")]
    *_, totals = [event["router"] for event in events if "router" in event]
    assert totals == {
        "model": "large",
        "decision": "pinned",
        "decision_id": response.headers["X-Router-Decision-Id"],
        "request_id": "r-1",
        "difficulty": None,
        "cost_usd": record["outcome"]["cost_usd"],
        "latency_ms": 0.0,
    }
    assert '"router"' not in plain.text
    assert "X-Router-Cost-Usd" not in plain.headers


async def test_an_answer_whose_request_is_not_written_yet_is_not_unknown(world: World) -> None:
    world.store.is_read_only = True
    answer_id = id_in(await ask(world, "/v1/chat/completions", "r-1"))

    assert (await world.rate(answer_id, 1.0)).status_code == 503
    assert (await world.http.get(f"/requests/{answer_id}")).status_code == 503
    assert (await world.rate("msg_unknown", 1.0)).status_code == 503  # another replica may have it
