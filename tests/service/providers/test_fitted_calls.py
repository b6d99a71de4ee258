"""Every shape of request on models of every generation: nothing that can be fitted is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import orjson
import pytest
from aiohttp import web

from service.arms.breaker import Breaker
from service.arms.catalog import Catalog
from service.arms.eligibility import limited
from service.arms.price_table import listed
from service.dialects.chat.dialect import CHAT
from service.dialects.dialect import Dialect
from service.dialects.messages.dialect import MESSAGES
from service.dialects.received import Received
from service.dialects.responses.dialect import RESPONSES
from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.query import Query
from service.providers.clients import ProviderClients, build_provider_clients
from service.providers.simulator.simulator import SimulatedClient
from tests.clients.upstream import chat, messages
from tests.clients.upstream.refusals import refusal
from tests.clients.upstream.script import reply
from tests.service.providers.scripted import EVENT_STREAM, NOW, SECRETS, Upstream

# LiteLLM loads its parts at their first use, and some of them warn.
pytestmark = pytest.mark.filterwarnings("ignore")

CLAUDES = ["claude-haiku-4-5", "claude-sonnet-4-5", "claude-opus-4-5", "claude-opus-4-8"]
OTHERS = ["gpt-4.1", "gpt-4o-mini", "gpt-5.4", "qwen3-32b"]

HI: Json = {"role": "user", "content": "Say hi."}
SCHEMA: Json = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
BARE: Json = {"type": "object"}
CLEAR = {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}
MARK = {"cache_control": {"type": "ephemeral"}}
SYSTEM = [
    {"type": "text", "text": "You are an agent.", **MARK},
    {"type": "text", "text": "Be brief.", **MARK},
]
AGENT: Json = {
    "model": "auto",
    "max_tokens": 32_000,
    "system": SYSTEM,
    "messages": [{"role": "user", "content": [{"type": "text", "text": "Read a.txt.", **MARK}]}],
    "tools": [
        {"name": "Read", "description": "Reads.", "input_schema": SCHEMA},
        {"name": "Stop", "input_schema": BARE},
        {"name": "Pick", "input_schema": {"type": "object", "oneOf": [SCHEMA, BARE]}},
    ],
    "metadata": {"user_id": "u"},
    "stream": True,
}
USED: Json = {"type": "tool_use", "id": "toolu_01", "name": "Read", "input": {"city": "a"}}
FOUND: Json = {"type": "tool_reference", "tool_name": "Stop"}
LOOP: list[Json] = [
    HI,
    {"role": "assistant", "content": [{"type": "text", "text": "I read."}, USED]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_01", "content": [FOUND]}]},
    {"role": "system", "content": "The file has changed."},
    {"role": "assistant", "content": "Done."},
    {"role": "user", "content": [{"type": "text", "text": str(i), **MARK} for i in range(4)]},
]
ADAPTIVE: Json = {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}
BUDGET: Json = {"thinking": {"type": "enabled", "budget_tokens": 4_000}}
AGENTS: dict[str, Json] = {
    "adaptive": {
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "high"},
        "context_management": CLEAR,
    },
    "shown": {"thinking": {"type": "adaptive", "display": "updates"}, "output_config": {"effort": "max"}},
    "64,000 tokens": {
        "max_tokens": 64_000,
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "high"},
    },
    "a budget": {"thinking": {"type": "enabled", "budget_tokens": 31_999}, "context_management": CLEAR},
    "a budget and sampling": {
        "thinking": {"type": "enabled", "budget_tokens": 4_000},
        "temperature": 0.2,
        "top_p": 0.9,
    },
    "a budget and a forced tool": {**BUDGET, "tool_choice": {"type": "tool", "name": "Read"}},
    "adaptive and a forced tool": {"thinking": {"type": "adaptive"}, "tool_choice": {"type": "any"}},
    "a side call": {"thinking": {"type": "disabled"}, "temperature": 1, "tools": None},
    "an effort alone": {"output_config": {"effort": "xhigh"}, "tool_choice": {"type": "auto"}},
    "a loop": {"messages": LOOP, **ADAPTIVE},
    "sampling": {"temperature": 0, "top_p": 0.95, "stop_sequences": ["END"]},
    "few tokens": {"max_tokens": 500, "thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
}
FUNCTIONS: list[Json] = [
    {
        "type": "function",
        "function": {"name": "read", "description": "Reads.", "parameters": SCHEMA, "strict": True},
    },
    {"type": "function", "function": {"name": "stop", "parameters": BARE}},
    {"type": "function", "function": {"name": "mcp__" + "a_long_name_of_a_server__" * 3 + "tool"}},
]
SDKS: dict[str, Json] = {
    "plain": {},
    "neutral values": {
        "frequency_penalty": 0,
        "presence_penalty": 0,
        "logprobs": False,
        "top_logprobs": 0,
        "logit_bias": {},
        "modalities": ["text"],
        "n": 1,
        "stop": [],
        "tools": [],
        "seed": None,
    },
    "an agent": {
        "max_tokens": 32_000,
        "tools": FUNCTIONS,
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning_effort": "high",
        "temperature": 0,
        "top_p": 0.95,
    },
    "a forced tool": {
        "tools": FUNCTIONS,
        "tool_choice": "required",
        "reasoning_effort": "medium",
        "max_tokens": 900,
    },
    "an effort": {"reasoning_effort": "minimal", "verbosity": "low", "max_completion_tokens": 64_000},
    "bookkeeping": {"seed": 7, "user": "u", "store": False, "metadata": {"a": "b"}, "service_tier": "auto"},
    "json": {"response_format": {"type": "json_object"}},
    "stops": {"stop": ["\n", "Observation:"], "temperature": 0.1},
    "developer": {
        "messages": [
            {
                "role": "developer",
                "content": [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}],
            },
            HI,
        ]
    },
    "openrouter": {"reasoning": {"effort": "high"}},
}
CODEX: Json = {
    "model": "auto",
    "instructions": "You are an agent.",
    "input": [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Say hi."}]},
    ],
    "tools": [{"type": "function", "name": "shell", "parameters": SCHEMA, "strict": False}],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "reasoning": {"effort": "high", "summary": "auto"},
    "store": False,
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": "k",
    "stream": True,
}


def shape(base: Json, change: Json) -> Json:
    return {name: value for name, value in {**base, **change}.items() if name == "seed" or value is not None}


SHAPES: dict[str, tuple[Dialect, Json]] = {
    **{f"agent: {name}": (MESSAGES, shape(AGENT, change)) for name, change in AGENTS.items()},
    **{f"sdk: {name}": (CHAT, shape({"messages": [HI]}, change)) for name, change in SDKS.items()},
    "codex": (RESPONSES, CODEX),
}


async def refusing(request: web.Request) -> web.StreamResponse:
    """Refuse what the model's vendor refuses, and answer the rest."""
    body = orjson.loads(await request.read())
    dialect = messages if request.path.endswith("/messages") else chat
    if (refused := refusal(body["model"], body)) is not None:
        return web.json_response(dialect.error(refused.status, refused), status=refused.status)
    if not body.get("stream"):
        return web.json_response(dialect.whole(body, reply(dialect.asked(body)), "1"))
    response = web.StreamResponse(headers=EVENT_STREAM)
    await response.prepare(request)
    for event in dialect.events(body, reply(dialect.asked(body)), "1"):
        await response.write(event)
    return response


@pytest.fixture
async def clients() -> AsyncIterator[ProviderClients]:
    clients = build_provider_clients(SECRETS, lambda: NOW, simulator=SimulatedClient())
    yield clients
    await clients.close()


def arm_of(model: str, upstream: Upstream) -> Arm:
    provider, path = ("anthropic", "") if model in CLAUDES else ("openai", "/v1")
    limit = listed(Arm("a", provider, model)).max_output_tokens
    return replace(upstream.arm(provider, model, path), max_output_tokens=limit)


def asked(dialect: Dialect, body: Json) -> Query:
    received = Received({}, "t", "r-1", True, datetime(2026, 11, 30, tzinfo=UTC))
    return dialect.read_query(orjson.dumps(body), received)


async def answered(clients: ProviderClients, arm: Arm, query: Query) -> None:
    arm = limited(arm, query)
    if not query.stream:
        await clients.complete(arm, query.body, timeout_s=20, native=query.native)
        return
    async for _ in clients.stream(arm, query.body, timeout_s=20, native=query.native):
        pass


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("model", [*CLAUDES, *OTHERS])
async def test_a_request_fits_every_model_at_the_first_try(
    clients: ProviderClients, upstream: Upstream, model: str, name: str
) -> None:
    upstream.script = refusing
    arm, query = arm_of(model, upstream), asked(*SHAPES[name])

    assert Catalog((arm,), arm.arm_id, Breaker(lambda: NOW)).reason_against(arm, query) is None
    await answered(clients, arm, query)

    assert [refusal(model, body) for body in upstream.bodies] == [None]
