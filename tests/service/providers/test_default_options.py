from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.query import Native
from service.errors import ProviderRejected
from service.providers.anthropic import AnthropicClient
from service.providers.clients import ProviderClients
from service.providers.default_options import DefaultOptions
from service.providers.openai_compatible import OpenAICompatibleClient
from tests.service.providers.scripted import (
    BODY,
    NOW,
    SECRETS,
    Script,
    Upstream,
    answers,
    chunk_body,
    collected,
    completion,
    event,
    refuses,
    streams,
)
from tests.service.providers.test_addresses import MESSAGE

ARM = Arm("a", "openai", "m")
DEFAULTS: dict[str, Any] = {"temperature": 0.2, "max_tokens": 100}


def clients(**defaults: Any) -> ProviderClients:
    openai = OpenAICompatibleClient(SECRETS, lambda: NOW)
    native = AnthropicClient(SECRETS, lambda: NOW)
    options = DefaultOptions(**(defaults or DEFAULTS))
    return ProviderClients({"openai": openai, "anthropic": openai}, {"anthropic": native}, options)


def sent(upstream: Upstream) -> list[Json]:
    """The options of each request that the server received."""
    names = ("temperature", "max_tokens", "max_completion_tokens")
    return [{name: body[name] for name in names if name in body} for body in upstream.bodies]


def refusing(*names: str, script: Script) -> Script:
    """Refuse the first of the options that a request has, as OpenAI does."""

    async def answer(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        for name in names:
            if name in body:
                message = f"Unsupported value: '{name}' does not support 0.2 with this model."
                return await refuses(400, message, param=name, code="unsupported_value")(request)
        return await script(request)

    return answer


@pytest.mark.parametrize(
    ("given", "filled"),
    [
        ({}, DEFAULTS),
        ({"temperature": 0}, {"temperature": 0, "max_tokens": 100}),
        ({"temperature": None, "max_tokens": None}, DEFAULTS),
        ({"max_tokens": 7}, {"temperature": 0.2, "max_tokens": 7}),
        ({"max_completion_tokens": 7}, {"temperature": 0.2, "max_completion_tokens": 7}),
        ({"top_p": 0.5}, {"top_p": 0.5, "max_tokens": 100}),
        ({"reasoning_effort": "low"}, {"reasoning_effort": "low", "max_tokens": 100}),
        ({"thinking": {"type": "enabled"}}, {"thinking": {"type": "enabled"}, "max_tokens": 100}),
    ],
)
def test_options_that_a_request_gives_are_kept(given: Json, filled: Json) -> None:
    assert DefaultOptions(**DEFAULTS).filled(ARM, given) == filled


def test_the_limit_of_a_model_is_not_exceeded() -> None:
    small = replace(ARM, max_output_tokens=50)

    assert DefaultOptions(max_tokens=100).filled(small, {}) == {"max_tokens": 50}


def test_without_defaults_a_request_is_the_same_object() -> None:
    native = Native(BODY, {})

    assert DefaultOptions().filled(ARM, BODY) is BODY
    assert DefaultOptions().filled_native(ARM, native) is native


async def test_a_whole_answer_and_a_stream_are_asked_with_the_defaults(upstream: Upstream) -> None:
    client = clients()

    upstream.script = answers(completion("hi"))
    await client.complete(upstream.arm(), BODY, timeout_s=30)
    upstream.script = streams(event(chunk_body("hi", finish_reason="stop")), b"data: [DONE]\n\n")
    await collected(client.stream(upstream.arm(), BODY, timeout_s=30))
    await client.close()

    assert sent(upstream) == [DEFAULTS, DEFAULTS]


async def test_a_native_request_gets_the_default_temperature(upstream: Upstream) -> None:
    upstream.script = answers(MESSAGE)
    client = clients()
    native = Native({**BODY, "max_tokens": 5}, {})

    await client.complete(upstream.arm("anthropic", path=""), BODY, timeout_s=30, native=native)
    await client.close()

    assert sent(upstream) == [{"temperature": 0.2, "max_tokens": 5}]


async def test_a_model_that_refuses_an_option_is_asked_without_it_from_then_on(upstream: Upstream) -> None:
    upstream.script = refusing("temperature", script=answers(completion("hi")))
    client, arm = clients(), upstream.arm()

    await client.complete(arm, BODY, timeout_s=30)
    await client.complete(arm, BODY, timeout_s=30)
    await client.close()

    assert sent(upstream) == [DEFAULTS, {"max_tokens": 100}, {"max_tokens": 100}]


async def test_a_stream_of_such_a_model_begins_again(upstream: Upstream) -> None:
    whole = streams(event(chunk_body("hi", finish_reason="stop")), b"data: [DONE]\n\n")
    upstream.script = refusing("temperature", script=whole)
    client = clients()

    chunks = await collected(client.stream(upstream.arm(), BODY, timeout_s=30))
    await client.close()

    assert chunks
    assert sent(upstream) == [DEFAULTS, {"max_tokens": 100}]


async def test_what_the_caller_gave_is_refused_to_the_caller(upstream: Upstream) -> None:
    upstream.script = refusing("temperature", script=answers(completion("hi")))
    client = clients()

    with pytest.raises(ProviderRejected, match="temperature"):
        await client.complete(upstream.arm(), {**BODY, "temperature": 2}, timeout_s=30)
    await client.close()

    assert len(upstream.bodies) == 1


async def test_another_refusal_is_not_the_options_fault(upstream: Upstream) -> None:
    upstream.script = refuses(400, "the message is too strange", param="messages")
    client = clients()

    with pytest.raises(ProviderRejected, match="strange"):
        await client.complete(upstream.arm(), BODY, timeout_s=30)
    await client.close()

    assert len(upstream.bodies) == 1


async def test_the_defaults_of_a_model_come_before_those_of_all(upstream: Upstream) -> None:
    upstream.script = answers(completion())
    arm = replace(upstream.arm(), default_temperature=0.9, default_max_tokens=7)
    client = clients()

    for asked in (arm, replace(arm, default_temperature=None, default_max_tokens=7), upstream.arm()):
        await client.complete(asked, BODY, timeout_s=5)
    await client.complete(arm, {**BODY, "temperature": 0.0, "max_tokens": 3}, timeout_s=5)
    await client.close()

    assert [(options["temperature"], options["max_tokens"]) for options in sent(upstream)] == [
        (0.9, 7),
        (0.2, 7),
        (0.2, 100),
        (0.0, 3),
    ]
