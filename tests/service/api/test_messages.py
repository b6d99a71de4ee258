"""The Anthropic dialect over HTTP, with models that answer in OpenAI's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from service.domain.basics import Json
from service.errors import (
    ProviderBroken,
    ProviderError,
    ProviderOutOfCredit,
    ProviderRateLimited,
    ProviderRejected,
    StoreUnavailable,
)
from tests.fakes import ANY, Reply
from tests.service.world import ARMS, World, arm, opened

HI = [{"role": "user", "content": "Hi"}]
BROKEN = ProviderBroken("gone", status=500)


async def ask(world: World, *, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    whole = {"model": "auto", "max_tokens": 50, "messages": HI, **body}
    return await world.http.post("/v1/messages", json=whole, headers=headers)


def error_of(response: httpx.Response) -> Json:
    """The error, if the whole body is an Anthropic error envelope that carries the request's id."""
    body: Json = response.json()
    assert body.keys() == {"type", "error", "request_id"}
    assert body["type"] == "error"
    assert body["request_id"] == response.headers["request-id"] == response.headers["X-Request-ID"]
    error: Json = body["error"]
    assert error.keys() == {"type", "message"}
    return error


def events_of(response: httpx.Response) -> list[Json]:
    assert response.headers["content-type"].startswith("text/event-stream")
    lines = [line for line in response.text.split("\n") if line.startswith("data: ")]
    return [orjson.loads(line.removeprefix("data: ")) for line in lines]


# --- answers


async def test_a_message_is_answered_by_a_model_of_the_routers_choice(world: World) -> None:
    response = await ask(world, headers={"X-Request-ID": "r-1"})

    body = response.json()
    assert body["content"] == [{"type": "text", "text": "Hello there."}]
    assert body["model"] == response.headers["X-Router-Model"] == world.model_client.called[0]
    assert body["usage"]["input_tokens"] == 100
    assert response.headers["request-id"] == response.headers["X-Request-ID"] == "r-1"
    record = await world.record("r-1")
    assert record["dialect"] == "anthropic"
    assert record["outcome"]["status"] == "ok"


async def test_the_model_is_called_in_openais_form(world: World) -> None:
    await ask(world, system="Be brief.", stop_sequences=["END"])

    _, body = world.model_client.calls[0]
    assert body["messages"] == [{"role": "system", "content": "Be brief."}, *HI]
    assert body["stop"] == ["END"]


async def test_a_stream_is_written_as_events_with_an_estimate_at_its_start(world: World) -> None:
    response = await ask(world, stream=True, messages=[{"role": "user", "content": "x" * 40}])

    events = events_of(response)
    assert [event["type"] for event in events] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert events[0]["message"]["usage"]["input_tokens"] == 10
    assert events[0]["message"]["model"] == response.headers["X-Router-Model"]
    assert events[-2]["usage"]["output_tokens"] == 50


async def test_feedback_finds_the_message_by_its_id(world: World) -> None:
    answered = await ask(world)

    rated = await world.rate(answered.headers["request-id"], 0.9)

    assert rated.json()["status"] == "applied"


async def test_options_are_read_from_the_body_and_from_headers(world: World) -> None:
    in_body = await ask(world, router={"models": ["large"], "explain": True})
    in_header = await ask(
        world, headers={"X-Router-Models": "large", "X-Router-Explain": "true"}, stream=True
    )

    assert [r.headers["X-Router-Model"] for r in (in_body, in_header)] == ["large", "large"]
    assert in_body.json()["router"]["candidates"][0]["model"] == "large"
    assert events_of(in_header)[0]["message"]["router"]["candidates"][0]["model"] == "large"


async def test_a_retry_is_another_attempt_of_the_same_decision(world: World) -> None:
    first = await ask(world, headers={"X-Request-ID": "r-1"})
    second = await ask(world, headers={"X-Request-ID": "r-1"})

    assert first.headers["X-Router-Model"] == second.headers["X-Router-Model"]
    assert len((await world.record("r-1"))["attempts"]) == 2


async def test_the_cache_answers_the_same_message_again_and_no_other(tmp_path: Path) -> None:
    async with opened(tmp_path, cache_enabled=True) as world:
        first = await ask(world)
        again = await ask(world)
        streamed = await ask(world, stream=True)
        thinking = await ask(world, thinking={"type": "adaptive"})

        assert again.json()["content"] == first.json()["content"]
        kinds = [r.headers["X-Router-Decision"] == "cache" for r in (first, again, streamed, thinking)]
        assert kinds == [False, True, True, False]
        texts = [e["delta"]["text"] for e in events_of(streamed) if e["type"] == "content_block_delta"]
        assert "".join(texts) == "Hello there."
        assert events_of(streamed)[-2]["usage"] == first.json()["usage"]


async def test_a_feature_that_only_claude_has_goes_to_claude_and_excludes_the_others(tmp_path: Path) -> None:
    search = {"type": "web_search_20250305", "name": "web_search"}
    claude = arm("claude", "1.00", provider="anthropic")
    async with opened(tmp_path, [*ARMS, claude]) as world:
        for _ in range(5):
            response = await ask(world, tools=[search])
            assert response.headers["X-Router-Model"] == "claude"

    async with opened(tmp_path) as world:
        response = await ask(world, tools=[search])
        assert response.status_code == 400
        assert "small: only anthropic models can do tool web_search_20250305" in response.text


# --- errors


async def test_broken_rules_are_named_in_anthropics_envelope(world: World) -> None:
    response = await world.http.post("/v1/messages", json={"messages": HI})

    assert response.status_code == 400
    assert error_of(response) == {
        "type": "invalid_request_error",
        "message": "max_tokens: field is required",
    }


@pytest.mark.parametrize(
    ("request_of", "status", "kind"),
    [
        ({"model": "acme-0"}, 404, "not_found_error"),
        ({"messages": [{"role": "user", "content": "x" * 1_000_000}]}, 400, "invalid_request_error"),
        ({"headers": {"X-Request-ID": "a b"}}, 400, "invalid_request_error"),
        ({"headers": {"Origin": "https://evil.example"}}, 403, "permission_error"),
        ({"headers": {"Content-Length": "999999999"}}, 413, "request_too_large"),
    ],
    ids=range(5),
)
async def test_each_fault_has_anthropics_status_and_type(
    world: World, request_of: dict[str, Any], status: int, kind: str
) -> None:
    response = await ask(world, **request_of)

    assert (response.status_code, error_of(response)["type"]) == (status, kind)


async def test_a_wrong_method_is_answered_in_the_envelope(world: World) -> None:
    response = await world.http.get("/v1/messages")

    assert (response.status_code, error_of(response)["type"]) == (405, "invalid_request_error")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/messages/batches",
        "/v1/messages/batches/b-1/cancel",
        "/v1/files",
        "/v1/files/f-1/content",
        "/v1/complete",
    ],
)
async def test_what_is_not_offered_is_not_found(world: World, path: str) -> None:
    response = await world.http.post(path, json={}, headers={"anthropic-version": "2023-06-01"})

    assert (response.status_code, error_of(response)["type"]) == (404, "not_found_error")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [
        (BROKEN, 529, "overloaded_error"),
        (ProviderRateLimited("wait", status=429, retry_after_s=7), 429, "rate_limit_error"),
        (ProviderOutOfCredit("pay", status=402), 402, "billing_error"),
    ],
    ids=["broken", "limited", "unpaid"],
)
async def test_when_all_models_fail_before_the_first_content_the_status_tells_the_cause(
    world: World, stream: bool, fault: ProviderError, status: int, kind: str
) -> None:
    world.model_client.will(ANY, *[Reply(error=fault, words=())] * 3)

    response = await ask(world, stream=stream)

    assert (response.status_code, error_of(response)["type"]) == (status, kind)
    assert response.headers.get("Retry-After") == {529: "1", 429: "7", 402: None}[status]


@pytest.mark.parametrize("stream", [False, True])
async def test_another_model_can_answer_before_the_first_content(world: World, stream: bool) -> None:
    world.model_client.will(ANY, Reply(error=BROKEN, words=()))

    response = await ask(world, stream=stream)

    assert response.status_code == 200
    assert response.headers["X-Router-Decision"] == "fallback"
    assert response.text.count("message_start") == 2 * stream  # the event's name, and its type


async def test_a_rejection_by_the_provider_is_passed_on_with_its_message(world: World) -> None:
    world.model_client.will(ANY, Reply(error=ProviderRejected("image is too big", status=413)))

    response = await ask(world)

    assert response.status_code == 413
    assert error_of(response) == {"type": "request_too_large", "message": "image is too big"}


async def test_a_stream_that_breaks_ends_in_an_error_event_and_no_stop(world: World) -> None:
    world.model_client.will(ANY, Reply(words=("Half an",), error=BROKEN))

    response = await ask(world, stream=True)

    events = events_of(response)
    assert events[-1]["type"] == "error"
    assert events[-1]["error"] == {"type": "api_error", "message": "gone"}
    assert not {"message_delta", "message_stop"} & {event["type"] for event in events}


async def test_a_bug_is_answered_in_the_envelope(world: World) -> None:
    world.parts.completion = None  # type: ignore[assignment]  # causes a bug

    response = await ask(world, headers={"X-Request-ID": "r-1"})

    assert response.status_code == 500
    assert response.json()["error"] == {"type": "api_error", "message": "internal error"}
    assert response.json()["request_id"] == response.headers["request-id"] == "r-1"


async def test_unavailable_is_overload(world: World) -> None:
    async def unavailable(query: object) -> None:
        raise StoreUnavailable("away", retry_after_s=3)

    world.parts.completion = type("Away", (), {"complete": staticmethod(unavailable)})()

    response = await ask(world)

    assert (response.status_code, response.headers["Retry-After"]) == (529, "3")


# --- the token count


async def test_tokens_are_counted_with_system_and_tools_and_leave_no_trace(world: World) -> None:
    tools = [{"name": "add", "input_schema": {"type": "object"}}]
    body = {"model": "auto", "messages": HI, "system": "x" * 400, "tools": tools}

    response = await world.http.post("/v1/messages/count_tokens", json=body)

    assert response.status_code == 200
    assert response.json() == {"input_tokens": -(-(402 + len(orjson.dumps(tools))) // 4)}
    assert response.headers["X-Router-Token-Count"] == "estimate"
    assert (world.model_client.calls, world.store.decisions) == ([], {})


async def test_an_unknown_model_has_no_count(world: World) -> None:
    response = await world.http.post("/v1/messages/count_tokens", json={"model": "acme-0", "messages": HI})

    assert (response.status_code, error_of(response)["type"]) == (404, "not_found_error")


# --- chat templates

MISTRAL_LIKE = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m['role'] == 'system' %}{{ raise_exception('no system prompts') }}{% endif %}"
    "{% if m.tool_calls %}{% for c in m.tool_calls %}CALL {{ c.function.arguments.a }} {% endfor %}"
    "{% else %}[{{ m['role'] }}] {{ m['content'] }} {% endif %}{% endfor %}"
    "{% if tools %}TOOLS {{ tools | tojson }}{% endif %}"
)


async def template(world: World, **body: Any) -> httpx.Response:
    return await world.http.post("/v1/messages/chat-template", json={"messages": HI, **body})


async def test_the_default_template_is_chatml(world: World) -> None:
    response = await template(
        world, system="Be brief.", messages=[*HI, {"role": "assistant", "content": "<b>"}, *HI]
    )

    assert response.json() == {
        "template": "chatml",
        "prompt": (
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
            "<|im_start|>assistant\n<b><|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
        ),
    }


async def test_a_models_own_template_is_used_by_its_name(tmp_path: Path) -> None:
    use = {"type": "tool_use", "id": "t", "name": "add", "input": {"a": 1}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": "3"}
    tools = [{"name": "ä", "input_schema": {}}]
    async with opened(tmp_path, [arm("own", "1", aliases=("o",), chat_template=MISTRAL_LIKE)]) as world:
        turns = [*HI, {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
        written = await template(world, model="o", messages=turns, tools=tools)
        refused = await template(world, model="own", system="Be brief.")

    assert written.json() == {
        "template": "own",
        "prompt": '[user] Hi CALL 1 [tool] 3 TOOLS [{"type": "function", '
        '"function": {"name": "ä", "parameters": {}}}]',
    }
    assert refused.status_code == 400
    assert "no system prompts" in error_of(refused)["message"]


async def test_text_of_the_client_is_never_compiled_as_a_template(world: World) -> None:
    text = "{{ 7 * 7 }}{% for x in ().__class__.__base__.__subclasses__() %}{% endfor %}"

    response = await template(world, messages=[{"role": "user", "content": text}], chat_template="{{ 1 }}")

    assert text in response.json()["prompt"]


async def test_a_template_cannot_leave_its_sandbox(tmp_path: Path) -> None:
    escape = "{{ messages.__class__.__base__.__subclasses__() }}"
    async with opened(tmp_path, [arm("own", "1", chat_template=escape)]) as world:
        response = await template(world, model="own")

    assert response.status_code == 400


# --- models


@pytest.mark.parametrize("header", ["anthropic-version", "x-api-key"])
async def test_models_are_listed_in_the_clients_dialect(world: World, header: str) -> None:
    listed = (await world.http.get("/v1/models", headers={header: "x"})).json()
    one = (await world.http.get("/v1/models/big", headers={header: "x"})).json()

    assert [model["id"] for model in listed["data"]] == ["auto", "claude-router", "small", "medium", "large"]
    assert (listed["first_id"], listed["last_id"], listed["has_more"]) == ("auto", "large", False)
    assert (one["id"], one["type"], one["max_input_tokens"]) == ("large", "model", 100_000)
    missing = await world.http.get("/v1/models/acme-0", headers={header: "x"})
    assert (missing.status_code, error_of(missing)["type"]) == (404, "not_found_error")
