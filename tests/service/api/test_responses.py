"""The Responses dialect over HTTP, with OpenAI's own client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.responses import Response
from pydantic import BaseModel

from service.errors import ProviderBroken, ProviderRateLimited, ProviderRejected
from tests.fakes import ANY, Reply
from tests.service.dialects.responses.shared import WEATHER, result
from tests.service.world import World, arm, opened

BROKEN = ProviderBroken("gone", status=500)
PNG = "data:image/png;base64,iVBORw0KGgo="


@pytest.fixture
async def client(world: World) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(
        base_url="http://127.0.0.1:8080/v1", api_key="anything", http_client=world.http, max_retries=0
    ) as client:
        yield client


def calling(name: str = "weather", arguments: str = '{"city":"Oslo"}', call_id: str = "call_1") -> Reply:
    call = {
        "index": 0,
        "id": call_id,
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }
    return Reply(words=(), message={"content": None, "tool_calls": [call]}, finish_reason="tool_calls")


async def post(world: World, path: str = "/v1/responses", **body: Any) -> Any:
    return await world.http.post(path, json={"model": "auto", "input": "Hi", **body})


# --- answers


async def test_a_response_reads_like_openais(client: AsyncOpenAI) -> None:
    response = await client.responses.create(model="auto", input="Hi")

    assert response.output_text == "Hello there."
    assert (response.status, response.object, response.model) == ("completed", "response", "small")
    assert response.id.startswith("resp_")
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens) == (100, 50)
    Response.model_validate(response.model_dump(mode="json"))


@pytest.mark.parametrize("path", ["/v1/responses", "/responses"])
async def test_the_headers_are_those_of_every_answer(world: World, path: str) -> None:
    response = await world.http.post(path, json={"input": "Hi"}, headers={"X-Request-ID": "r-1"})

    assert response.headers["X-Router-Model"] == response.json()["model"]
    assert response.headers["X-Request-ID"] == "r-1"
    assert (await world.record("r-1"))["dialect"] == "responses"


async def test_a_stream_gives_the_same_response(client: AsyncOpenAI) -> None:
    async with client.responses.stream(model="auto", input="Hi") as stream:
        texts = [event.delta async for event in stream if event.type == "response.output_text.delta"]
        response = await stream.get_final_response()

    assert texts == ["Hello", " there."]
    assert response.output_text == "Hello there."
    assert response.status == "completed"


async def test_structured_output_is_parsed(client: AsyncOpenAI, world: World) -> None:
    class City(BaseModel):
        name: str

    world.model_client.will(ANY, Reply(words=('{"name":', '"Oslo"}')))
    response = await client.responses.parse(model="auto", input="Which city?", text_format=City)

    assert response.output_parsed == City(name="Oslo")
    sent = world.model_client.calls[0][1]["response_format"]
    assert (sent["type"], sent["json_schema"]["name"]) == ("json_schema", "City")


async def test_an_image_goes_to_a_model_that_sees(client: AsyncOpenAI, world: World) -> None:
    image: Any = {"type": "input_image", "image_url": PNG, "detail": "auto"}
    await client.responses.create(model="auto", input=[{"role": "user", "content": [image]}])

    assert world.model_client.called == ["large"]


@pytest.mark.parametrize("streams", [False, True])
async def test_a_loop_of_tools(client: AsyncOpenAI, world: World, streams: bool) -> None:
    world.model_client.will(ANY, calling(), Reply(words=("21 degrees.",)))
    items: list[Any] = [{"role": "user", "content": "Weather in Oslo?"}]
    for _ in range(2):
        response = await answered(client, streams, input=items, tools=[WEATHER])
        items += response.output
        for item in response.output:
            if item.type == "function_call":
                items.append({"type": "function_call_output", "call_id": item.call_id, "output": "21"})

    assert response.output_text == "21 degrees."
    roles = [message["role"] for message in world.model_client.calls[1][1]["messages"]]
    assert roles == ["user", "assistant", "tool"]


async def test_a_tool_of_the_input_is_called_as_the_tool_that_it_is(world: World) -> None:
    tool = {"type": "custom", "name": "patch"}
    world.model_client.will(ANY, calling("patch", '{"input":"x"}'))
    items = [{"type": "additional_tools", "tools": [tool]}, {"role": "user", "content": "Hi"}]
    item = (await post(world, input=items)).json()["output"][0]

    assert (item["type"], item["input"]) == ("custom_tool_call", "x")


async def answered(client: AsyncOpenAI, streams: bool, **body: Any) -> Response:
    if not streams:
        response: Response = await client.responses.create(model="auto", **body)
        return response
    async with client.responses.stream(model="auto", **body) as stream:
        return await stream.get_final_response()


@pytest.mark.parametrize("streams", [False, True])
async def test_reasoning_comes_back_to_its_model_in_a_loop(
    client: AsyncOpenAI, world: World, streams: bool
) -> None:
    call = calling()
    thinking = Reply(
        words=(), message={"reasoning_content": "Hm.", **(call.message or {})}, finish_reason="tool_calls"
    )
    world.model_client.will(ANY, thinking, Reply())
    first = await answered(client, streams, input="Weather?", tools=[WEATHER], store=False)
    items: list[Any] = [{"role": "user", "content": "Weather?"}, *first.output]
    items.append({"type": "function_call_output", "call_id": "call_1", "output": "21"})
    await answered(client, streams, input=items, tools=[WEATHER], store=False)

    assert first.output[0].type == "reasoning"
    assert world.model_client.calls[1][1]["messages"][1]["reasoning_content"] == "Hm."


async def test_reasoning_goes_to_no_other_vendor_in_a_conversation_that_nobody_knows(tmp_path: Path) -> None:
    arms = [replace(arm(name, "1", 100_000, "tools"), model=name) for name in ("claude-haiku-4-5", "gpt-4.1")]
    async with opened(tmp_path / "one", arms) as one:
        message = {"reasoning_content": "Hm.", "thinking_blocks": [{"type": "thinking", "signature": "s"}]}
        reply = Reply(words=(), message=message | (calling().message or {}), finish_reason="tool_calls")
        one.model_client.will(ANY, reply)
        body = {"model": "claude-haiku-4-5", "input": "Weather?", "tools": [WEATHER]}
        first = (await one.http.post("/v1/responses", json=body)).json()
    items = [{"role": "user", "content": "Weather?"}, *first["output"], result()]
    async with opened(tmp_path / "other", arms) as other:
        for model in ("gpt-4.1", "claude-haiku-4-5"):
            await other.http.post("/v1/responses", json={**body, "model": model, "input": items})
        foreign, own = (call[1]["messages"][1] for call in other.model_client.calls)

    assert foreign.keys() == {"role", "content", "tool_calls"}
    assert own.keys() == {"role", "content", "tool_calls", "reasoning_content", "thinking_blocks"}


@pytest.mark.parametrize("path", ["/v1/responses/input_tokens", "/responses/input_tokens"])
async def test_the_tokens_of_a_request_are_counted_without_a_model(world: World, path: str) -> None:
    response = await world.http.post(path, json={"input": "How many?", "tools": [WEATHER]})

    assert response.json() == {"object": "response.input_tokens", "input_tokens": 50}
    assert response.headers["X-Router-Token-Count"] == "estimate"
    assert world.model_client.calls == []


async def test_openais_client_counts_tokens(client: AsyncOpenAI) -> None:
    assert (await client.responses.input_tokens.count(model="auto", input="How many?")).input_tokens > 0


async def test_a_stream_states_its_cost_in_the_last_event(client: AsyncOpenAI) -> None:
    options = {"router": {"cost": True, "explain": True}}
    async with client.responses.stream(model="auto", input="Hi", extra_body=options) as stream:
        response = await stream.get_final_response()

    router = response.to_dict()["router"]
    assert isinstance(router, dict)
    assert router["cost_usd"] > 0
    assert router["candidates"]


# --- failures


async def test_another_model_answers_for_one_that_fails(client: AsyncOpenAI, world: World) -> None:
    world.model_client.will("small", Reply(words=(), error=BROKEN))
    world.model_client.will("medium", Reply(words=(), error=BROKEN))
    async with client.responses.stream(model="auto", input="Hi") as stream:
        response = await stream.get_final_response()

    assert response.model == "large"


async def test_a_failure_in_mid_stream_raises(client: AsyncOpenAI, world: World) -> None:
    world.model_client.will(ANY, Reply(words=("Hel", "lo"), error=BROKEN))

    with pytest.raises(openai.APIError, match="gone"):
        async with client.responses.stream(model="auto", input="Hi") as stream:
            await stream.until_done()


async def test_a_failure_in_mid_stream_ends_with_a_failed_response(world: World) -> None:
    world.model_client.will(ANY, Reply(words=("Hel", "lo"), error=BROKEN))
    response = await post(world, stream=True)

    names = [line for line in response.text.split("\n") if line.startswith("event: ")]
    assert names[-2:] == ["event: error", "event: response.failed"]


async def test_a_rate_limit_raises_what_openai_raises(client: AsyncOpenAI, world: World) -> None:
    limited = ProviderRateLimited("slow down", status=429, retry_after_s=3)
    world.model_client.will(ANY, *[Reply(words=(), error=limited)] * 9)

    with pytest.raises(openai.RateLimitError) as error:
        await client.responses.create(model="auto", input="Hi")

    assert error.value.code == "rate_limit_exceeded"
    assert "retry-after" in error.value.response.headers


async def test_a_faulty_item_raises_what_openai_raises(client: AsyncOpenAI) -> None:
    faulty: Any = [{"role": "user", "content": [{"type": "nope"}]}]
    with pytest.raises(openai.BadRequestError) as error:
        await client.responses.create(model="auto", input=faulty)

    assert error.value.param == "input[0].content[0].type"
    assert error.value.type == "invalid_request_error"


async def test_an_unknown_model_raises_what_openai_raises(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as error:
        await client.responses.create(model="nonsense-0", input="Hi")

    assert error.value.code == "model_not_found"


@pytest.mark.parametrize("overflow", ["router", "provider"])
async def test_a_prompt_that_is_too_long_fails_in_a_stream_as_openais_does(
    world: World, client: AsyncOpenAI, overflow: str
) -> None:
    """Codex shortens its prompt only if the failed response says so; it takes a 400 for the end."""
    text = "Hi" if overflow == "provider" else "word " * 500_000
    too_long = ProviderRejected("too long", status=400, code="context_length_exceeded")
    world.model_client.will(ANY, *[Reply(words=(), error=too_long)] * 9)
    response = await post(world, stream=True, input=text)

    assert response.status_code == 200
    events = [line for line in response.text.split("\n") if line.startswith("event: ")]
    assert events[-2:] == ["event: error", "event: response.failed"]
    assert response.text.count('"code":"context_length_exceeded"') >= 2
    with pytest.raises(openai.BadRequestError) as error:
        await client.responses.create(model="auto", input=text)
    assert error.value.code == "context_length_exceeded"


# --- real clients


async def test_the_request_of_codex(world: World) -> None:
    function = {"type": "function", "description": "d", "strict": False, "parameters": WEATHER["parameters"]}
    body = {
        "model": "auto",
        "stream": True,
        "instructions": "You are Codex.",
        "input": [
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Rules."}]},
            {
                "type": "message",
                "role": "developer",
                "content": [{"type": "input_text", "text": "A."}, {"type": "input_text", "text": "B."}],
            },
            {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "<environment_context/>"}],
            },
            {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "List the files."}],
            },
        ],
        "tools": [
            {**function, "name": "exec_command"},
            {
                "type": "namespace",
                "name": "agents",
                "description": "d",
                "tools": [{**function, "name": "wait"}],
            },
            {"type": "web_search", "external_web_access": False},
        ],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"summary": "auto"},
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "019a0000-0000-7000-8000-000000000000",
        "client_metadata": {"session_id": "s", "turn_id": "t"},
    }
    world.model_client.will(ANY, calling("agents__wait", "{}"))
    response = await world.http.post("/v1/responses", json=body, headers={"X-Request-ID": "codex"})

    assert response.status_code == 200
    assert '"namespace":"agents"' in response.text
    sent = world.model_client.calls[0][1]
    assert [m["role"] for m in sent["messages"]] == ["system", "developer", "developer", "user", "user"]
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["exec_command", "agents__wait"]
    record = await world.record("codex")
    assert record["query"]["text"] is None or "List the files." in record["query"]["text"]
    assert "left out: web_search" in record["attempts"][0]["notes"]
