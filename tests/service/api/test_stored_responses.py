"""Responses that are read again, continued by their id, and deleted, with OpenAI's own client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.responses import Response

from service.domain.basics import DEFAULT_TENANT
from tests.fakes import ANY, FakeStore, Reply
from tests.service.api.test_responses import BROKEN, calling
from tests.service.dialects.responses.shared import WEATHER, result
from tests.service.world import World, opened


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path, store_texts=True) as world:
        yield world


def client_of(world: World) -> AsyncOpenAI:
    return AsyncOpenAI(
        base_url="http://127.0.0.1:8080/v1", api_key="anything", http_client=world.http, max_retries=0
    )


@pytest.fixture
def client(world: World) -> AsyncOpenAI:
    return client_of(world)


async def answered(client: AsyncOpenAI, *, streams: bool = False, **body: Any) -> Response:
    if not streams:
        response: Response = await client.responses.create(model="auto", **body)
        return response
    async with client.responses.stream(model="auto", **body) as stream:
        return await stream.get_final_response()


def said(world: World) -> list[tuple[str, Any]]:
    """The messages of the newest call of a model."""
    return [(message["role"], message["content"]) for message in world.model_client.calls[-1][1]["messages"]]


@pytest.mark.parametrize("streams", [False, True])
async def test_a_stored_response_is_read_again(client: AsyncOpenAI, streams: bool) -> None:
    first = await answered(client, streams=streams, input="Hi", metadata={"a": "b"})
    again = await client.responses.retrieve(first.id)

    assert (again.status, again.usage, again.tools) == (first.status, first.usage, first.tools)
    assert (again.id, again.output_text, again.metadata) == (first.id, "Hello there.", {"a": "b"})
    assert again.to_dict()["store"] is True


@pytest.mark.parametrize("streams", [False, True])
async def test_a_response_is_continued_by_its_id(client: AsyncOpenAI, world: World, streams: bool) -> None:
    first = await answered(client, streams=streams, input="One", instructions="Be brief.")
    second = await answered(client, streams=streams, input="Two", previous_response_id=first.id)
    third = await answered(
        client, streams=streams, input="Three", previous_response_id=second.id, instructions="Be kind."
    )

    assert third.previous_response_id == second.id
    assert said(world) == [
        ("system", "Be kind."),
        ("user", "One"),
        ("assistant", "Hello there."),
        ("user", "Two"),
        ("assistant", "Hello there."),
        ("user", "Three"),
    ]


async def test_two_responses_can_continue_one(client: AsyncOpenAI, world: World) -> None:
    first = await answered(client, input="One")
    for text in ("Left", "Right"):
        await answered(client, input=text, previous_response_id=first.id)

        assert said(world) == [("user", "One"), ("assistant", "Hello there."), ("user", text)]


@pytest.mark.parametrize("streams", [False, True])
async def test_a_loop_of_tools_sends_only_the_results(
    client: AsyncOpenAI, world: World, streams: bool
) -> None:
    world.model_client.will(ANY, calling())
    first = await answered(client, streams=streams, input="Weather?", tools=[WEATHER])
    await answered(client, streams=streams, input=[result()], tools=[WEATHER], previous_response_id=first.id)

    assert [role for role, _ in said(world)] == ["user", "assistant", "tool"]


async def test_a_continued_response_stays_in_its_conversation(client: AsyncOpenAI, world: World) -> None:
    first = await answered(client, input="One")
    raw = await client.responses.with_raw_response.create(
        model="auto", input="Two", previous_response_id=first.id
    )

    record = await world.record(raw.headers["X-Request-ID"])
    assert record["conversation"]["turn"] == 2
    assert record["conversation"]["previous_model"] == first.model


async def test_items_are_sent_by_their_ids(client: AsyncOpenAI, world: World) -> None:
    world.model_client.will(ANY, calling())
    first = await answered(client, input="Weather?", tools=[WEATHER])
    reference: Any = {"type": "item_reference", "id": first.output[0].id}
    await answered(client, input=[{"role": "user", "content": "Weather?"}, reference, result()])

    assert [role for role, _ in said(world)] == ["user", "assistant", "tool"]


async def test_the_input_is_listed_in_pages(client: AsyncOpenAI) -> None:
    first = await answered(client, input="One")
    image = {"type": "input_image", "image_url": "data:image/png;base64,AA=="}
    second = await answered(
        client, input=[{"role": "user", "content": [image]}], previous_response_id=first.id
    )

    page = await client.responses.input_items.list(second.id, order="asc", limit=2)
    assert [item.type for item in page.data] == ["message", "message"]
    assert page.has_more
    everything = [item async for item in client.responses.input_items.list(second.id, limit=1)]
    assert [item.role for item in everything] == ["user", "assistant", "user"]  # type: ignore[union-attr]
    assert len({item.id for item in everything}) == 3
    assert everything[-1].to_dict()["content"] == [{"type": "input_text", "text": "One"}]


@pytest.mark.parametrize("limit", [0, 101])
async def test_a_page_has_1_to_100_items(client: AsyncOpenAI, limit: int) -> None:
    first = await answered(client, input="One")

    with pytest.raises(openai.BadRequestError) as error:
        await client.responses.input_items.list(first.id, limit=limit)
    assert error.value.param == "limit"


async def test_an_item_that_is_not_listed_begins_no_page(client: AsyncOpenAI) -> None:
    first = await answered(client, input="One")

    with pytest.raises(openai.BadRequestError) as error:
        await client.responses.input_items.list(first.id, after="msg_unknown")
    assert error.value.param == "after"


async def test_a_deleted_response_is_gone(client: AsyncOpenAI) -> None:
    first = await answered(client, input="One")
    await client.responses.delete(first.id)

    for call in (client.responses.retrieve, client.responses.delete, client.responses.input_items.list):
        with pytest.raises(openai.NotFoundError) as error:
            await call(first.id)
        assert error.value.code == "response_not_found"


async def test_a_conversation_with_a_deleted_response_cannot_go_on(client: AsyncOpenAI) -> None:
    first = await answered(client, input="One")
    second = await answered(client, input="Two", previous_response_id=first.id)
    await client.responses.delete(first.id)

    with pytest.raises(openai.BadRequestError, match=first.id) as error:
        await answered(client, input="Three", previous_response_id=second.id)
    assert (error.value.code, error.value.param) == ("previous_response_not_found", "previous_response_id")


async def test_a_response_that_is_not_to_be_stored_is_not(client: AsyncOpenAI, world: World) -> None:
    first = await answered(client, input="One", store=False)

    assert first.to_dict()["store"] is False
    assert not world.store.responses
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(first.id)


async def test_a_failed_answer_is_not_stored(client: AsyncOpenAI, world: World) -> None:
    world.model_client.will(ANY, Reply(error=BROKEN))
    with pytest.raises(openai.APIError):
        await answered(client, streams=True, input="One")

    assert not world.store.responses


async def test_a_response_belongs_to_its_tenant(client: AsyncOpenAI, world: World) -> None:
    first = await answered(client, input="One")
    stored = world.store.responses.pop((DEFAULT_TENANT, first.id))
    world.store.responses["other", first.id] = stored

    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(first.id)


async def test_another_replica_continues_a_response(tmp_path: Path) -> None:
    store = FakeStore()
    async with opened(tmp_path / "a", store=store, store_texts=True) as one:
        first = await answered(client_of(one), input="One")
    async with opened(tmp_path / "b", store=store, store_texts=True) as other:
        await answered(client_of(other), input="Two", previous_response_id=first.id)

        assert said(other)[0] == ("user", "One")


@pytest.mark.parametrize("streams", [False, True])
async def test_while_the_store_is_away_the_answer_says_that_it_is_not_stored(
    client: AsyncOpenAI, world: World, streams: bool
) -> None:
    world.store.is_down = True
    response = await answered(client, streams=streams, input="One")

    assert response.output_text == "Hello there."
    assert response.to_dict()["store"] is False


async def test_while_the_store_is_away_nothing_is_continued(client: AsyncOpenAI, world: World) -> None:
    first = await answered(client, input="One")
    world.store.is_down = True

    with pytest.raises(openai.InternalServerError) as error:
        await answered(client, input="Two", previous_response_id=first.id)
    assert error.value.status_code == 503


async def test_a_retry_of_a_request_replaces_its_response(client: AsyncOpenAI, world: World) -> None:
    for _ in range(2):
        await answered(client, input="One", extra_headers={"X-Request-ID": "r-1"})

    assert len(world.store.responses) == 1


# --- without STORE_TEXTS


@pytest.fixture
async def forgetful(tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path / "forgetful") as world:
        yield world


async def test_without_stored_texts_nothing_is_continued_or_read(forgetful: World) -> None:
    client = client_of(forgetful)
    first = await answered(client, input="One")

    assert first.to_dict()["store"] is False
    assert not forgetful.store.responses
    with pytest.raises(openai.BadRequestError, match="STORE_TEXTS is off") as error:
        await answered(client, input="Two", previous_response_id=first.id)
    assert error.value.param == "previous_response_id"
    for call in (client.responses.retrieve, client.responses.delete, client.responses.input_items.list):
        with pytest.raises(openai.NotFoundError, match="STORE_TEXTS is off"):
            await call(first.id)


async def test_without_stored_texts_the_items_of_a_tool_loop_are_known_for_a_while(forgetful: World) -> None:
    client = client_of(forgetful)
    forgetful.model_client.will(ANY, calling())
    first = await answered(client, input="Weather?", tools=[WEATHER])
    reference: Any = {"type": "item_reference", "id": first.output[0].id}
    items: list[Any] = [{"role": "user", "content": "Weather?"}, reference, result()]
    await answered(client, input=items)

    assert [role for role, _ in said(forgetful)] == ["user", "assistant", "tool"]
    forgetful.clock.advance(3_601)
    with pytest.raises(openai.BadRequestError) as error:
        await answered(client, input=items)
    assert error.value.param == "input[1].id"


async def test_items_of_a_response_that_is_not_to_be_stored_are_not_known(forgetful: World) -> None:
    client = client_of(forgetful)
    first = await answered(client, input="One", store=False)

    with pytest.raises(openai.BadRequestError):
        await answered(client, input=[{"type": "item_reference", "id": first.output[0].id}])
