"""The tools, called by the official client."""

from __future__ import annotations

import asyncio
import json

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from tests.fakes import ANY, Reply
from tests.service.mcp_server.connected import TRANSPORTS, Transport, called, connected, refused
from tests.service.world import World

each_transport = pytest.mark.parametrize("transport", TRANSPORTS)
TOOLS = {"complete", "route", "feedback", "explain", "stats", "models"}


@each_transport
async def test_every_transport_offers_every_tool_with_the_schemas_of_its_arguments_and_its_result(
    world: World, transport: Transport
) -> None:
    async with connected(world, transport) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}

    assert tools.keys() == TOOLS
    assert all(tool.description and tool.output_schema for tool in tools.values())
    router = tools["complete"].input_schema["$defs"]["RouterOptions"]["properties"]
    assert {"models", "max_cost_usd", "task", "learn"} <= router.keys()


@each_transport
async def test_an_answer_names_its_request_and_its_cost(world: World, transport: Transport) -> None:
    async with connected(world, transport) as client:
        answer = await called(
            client,
            "complete",
            prompt="Hi",
            system="Be brief.",
            model="small",
            max_tokens=9,
            request_id="mine-1",
        )

    record = await world.record("mine-1")
    assert (answer["request_id"], answer["model"], answer["text"]) == ("mine-1", "small", "Hello there.")
    assert (answer["decision"], answer["decision_id"]) == ("pinned", record["decision_id"])
    assert answer["cost_usd"] == record["outcome"]["cost_usd"]
    (_, sent), *_ = world.model_client.calls
    assert [message["role"] for message in sent["messages"]] == ["system", "user"]
    assert sent["max_tokens"] == 9


@each_transport
async def test_progress_brings_the_text_while_it_comes(world: World, transport: Transport) -> None:
    world.model_client.will(ANY, Reply(("One", " two", " three")))
    seen: list[tuple[float, str | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, message))

    async with connected(world, transport) as client:
        result = await client.call_tool("complete", {"prompt": "Count"}, progress_callback=note)

    assert seen == [(3, "One"), (7, " two"), (13, " three")]
    assert result.structured_content is not None
    assert result.structured_content["text"] == "One two three"
    record = await world.record(result.structured_content["request_id"])
    assert record["stream"]
    assert result.structured_content["cost_usd"] == record["outcome"]["cost_usd"]


@pytest.mark.parametrize("wants_progress", [False, True])
@each_transport
async def test_a_cancelled_call_cancels_the_call_of_the_model(
    world: World, transport: Transport, wants_progress: bool
) -> None:
    world.model_client.will(ANY, Reply(until=asyncio.Event()))

    async with connected(world, transport) as client:
        calling = asyncio.create_task(_complete(client, wants_progress))
        await world.model_client.call_started.wait()
        calling.cancel()
        await asyncio.wait({calling})
        while not world.model_client.cancelled:
            await client.list_tools()

    assert world.model_client.cancelled == world.model_client.called


async def _complete(client: Client, wants_progress: bool) -> None:
    async def ignore(progress: float, total: float | None, message: str | None) -> None: ...

    await client.call_tool("complete", {"prompt": "Hi"}, progress_callback=ignore if wants_progress else None)


async def test_a_rating_is_learned_and_explained(world: World) -> None:
    async with connected(world) as client:
        answer = await called(client, "complete", messages=[{"role": "user", "content": "Hi"}])
        request_id = answer["request_id"]
        await world.record(request_id)
        taught = await called(client, "feedback", request_id=request_id, score=0.25, text="wrong")
        explained = await called(client, "explain", request_id=request_id)

    assert (taught["status"], taught["model"]) == ("applied", answer["model"])
    assert (await world.record(request_id))["feedback"][0]["feedback_text"] == "wrong"
    assert explained["numbers"]["reward"] == 0.25
    assert explained["model"] in explained["why"]
    assert "reward of 0.25" in explained["why"]
    assert sum(each["probability"] for each in explained["candidates"]) == pytest.approx(1)


async def test_a_preview_calls_no_model(world: World) -> None:
    async with connected(world) as client:
        decided = await called(client, "route", prompt="Hi", router={"models": ["large"]})

    assert decided["model"] == "large"
    assert [left["model"] for left in decided["rejected"]] == ["small", "medium"]
    assert "small: not among router.models" in decided["why"]
    assert world.model_client.calls == []


async def test_models_and_stats_are_those_of_the_api(world: World) -> None:
    async with connected(world) as client:
        models = await called(client, "models")
        stats = await called(client, "stats", days=3, baseline="large")

    assert models["names"][0] == "auto"
    assert [each["model"] for each in models["models"]] == ["small", "medium", "large"]
    assert stats["savings"]["assumed"]["baseline"] == "large"


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        ("complete", {}, "prompt: give prompt or messages, and not both"),
        (
            "complete",
            {"prompt": "x", "max_tokens": 0},
            "max_tokens: Input should be greater than or equal to 1, got 0",
        ),
        (
            "complete",
            {"prompt": "x", "max_token": 5},
            "max_token: is no argument of complete, which has prompt, ",
        ),
        (
            "complete",
            {"prompt": "x", "router": {"learn": 7}},
            "router.learn: Input should be a valid boolean",
        ),
        ("complete", {"messages": [{"role": "fool"}]}, "messages[0].role: Input should be 'system', "),
        ("complete", {"prompt": "x", "request_id": "a b"}, "X-Request-ID must be 1 to 128 visible ASCII"),
        ("route", {"prompt": "x", "router": {"models": ["nobody"]}}, "model 'nobody' does not exist"),
        (
            "feedback",
            {"request_id": "x", "score": 2},
            "score: Input should be less than or equal to 1, got 2",
        ),
        ("feedback", {"request_id": "nobody", "score": 1}, "'nobody' does not exist"),
        ("feedback", {"score": 1}, "request_id: field is required"),
        ("explain", {"request_id": "nobody/../x"}, "request 'nobody/../x' does not exist"),
        ("stats", {"days": 0}, "days: Input should be greater than or equal to 1, got 0"),
        ("stats", {"baseline": "nobody"}, "baseline"),
        ("fly", {}, "Unknown tool: fly"),
    ],
)
async def test_a_fault_names_the_field_and_its_rule(
    world: World, tool: str, arguments: dict[str, object], message: str
) -> None:
    async with connected(world) as client:
        assert message in await refused(client, tool, **arguments)


async def test_a_missing_dependency_is_an_error_that_says_when_to_try_again(world: World) -> None:
    world.store.is_down = True

    async with connected(world) as client:
        message = await refused(client, "feedback", request_id="x", score=1)

    assert "HTTP 503; try again in 2 s" in message


async def test_a_resource_is_the_record_of_a_request(world: World) -> None:
    async with connected(world) as client:
        answer = await called(client, "complete", prompt="Hi", request_id="mine/1")
        record = await world.record("mine/1")
        (content,) = (await client.read_resource("router://requests/mine%2F1")).contents
        with pytest.raises(MCPError, match="request 'nobody' does not exist"):
            await client.read_resource("router://requests/nobody")

    assert answer["request_id"] == "mine/1"
    assert content.mime_type == "application/json"
    assert json.loads(content.text) == record  # type: ignore[union-attr]


@each_transport
async def test_the_newest_decisions_are_a_resource(world: World, transport: Transport) -> None:
    async with connected(world, transport) as client:
        for name in ("first", "second"):
            await called(client, "complete", prompt="Hi", request_id=name)
            world.clock.advance(1)
        await world.background.drain(5)
        (listed,) = (await client.list_resources()).resources
        lists = [json.loads(await text_of(client, f"{listed.uri}{query}")) for query in ("", "?limit=1")]
        with pytest.raises(MCPError, match="limit"):
            await client.read_resource(f"{listed.uri}?limit=many")

    shown = [[each["request_id"] for each in each_list["requests"]] for each_list in lists]
    assert shown == [["second", "first"], ["second"]]


async def text_of(client: Client, uri: str) -> str:
    (content,) = (await client.read_resource(uri)).contents
    return content.text  # type: ignore[union-attr]


@each_transport
async def test_options_in_headers_of_the_client_count_for_its_calls(
    world: World, transport: Transport
) -> None:
    async with connected(world, transport, headers={"X-Router-Task": "triage"}) as client:
        answer = await called(client, "complete", prompt="Hi")

    assert (await world.record(answer["request_id"]))["task"] == "triage"
