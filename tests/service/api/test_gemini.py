"""Google's dialect over HTTP, with models that answer in OpenAI's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from service.domain.arm import Arm
from service.domain.basics import Json
from service.errors import ProviderBroken, ProviderError, ProviderOutOfCredit, ProviderRateLimited
from tests.fakes import ANY, Reply
from tests.service.world import ARMS, World, arm, opened

HI: Json = {"role": "user", "parts": [{"text": "Hi"}]}
GOOGLES = {"x-goog-api-key": "any"}
NAMES = ("auto", "large", "big", "texts")
SIGNATURE = 40 * "EqQB" + "+/8="
BROKEN = ProviderBroken("gone", status=500)
STREAM = "streamGenerateContent?alt=sse"
CALL: Json = {"id": "toolu_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
ADD: Json = {"functionDeclarations": [{"name": "add", "parameters": {"type": "OBJECT"}}]}


async def ask(
    world: World,
    method: str = "generateContent",
    *,
    model: str = "auto",
    version: str = "v1beta",
    headers: dict[str, str] | None = None,
    **body: Any,
) -> httpx.Response:
    path = f"/{version}/models/{model}:{method}"
    return await world.http.post(path, json={"contents": [HI], **body}, headers=headers)


def error_of(response: httpx.Response) -> Json:
    """The error, if the whole body is Google's envelope with the request's id."""
    body: Json = response.json()
    assert body.keys() == {"error"}
    error: Json = body["error"]
    assert error.keys() == {"code", "message", "status", "details"}
    assert error["code"] == response.status_code
    assert details_of(error)["RequestInfo"] == {"requestId": response.headers["X-Request-ID"]}
    return error


def details_of(error: Json) -> dict[str, Json]:
    return {
        detail["@type"].rpartition(".")[2]: {name: value for name, value in detail.items() if name != "@type"}
        for detail in error["details"]
    }


def events_of(response: httpx.Response) -> list[Json]:
    assert response.headers["content-type"].startswith("text/event-stream")
    return [
        orjson.loads(e.removeprefix("data: ")) for e in response.text.split("\n\n") if e.startswith("data")
    ]


def text_of(answers: list[Json]) -> str:
    parts = [part for answer in answers for part in answer["candidates"][0]["content"]["parts"]]
    return "".join(part.get("text", "") for part in parts)


# --- answers


@pytest.mark.parametrize("version", ["v1beta", "v1"])
async def test_a_request_is_answered_by_a_model_of_the_routers_choice(world: World, version: str) -> None:
    response = await ask(world, version=version, headers={"X-Request-ID": "r-1"})

    body = response.json()
    assert text_of([body]) == "Hello there."
    assert body["modelVersion"] == response.headers["X-Router-Model"] == world.model_client.called[0]
    assert body["usageMetadata"]["promptTokenCount"] == 100
    record = await world.record("r-1")
    assert (record["dialect"], record["outcome"]["status"]) == ("gemini", "ok")


async def test_a_stream_is_one_of_googles_chunks(world: World) -> None:
    response = await ask(world, STREAM)

    events = events_of(response)
    assert text_of(events) == "Hello there."
    assert events[-1]["candidates"][0]["finishReason"] == "STOP"
    assert events[-1]["usageMetadata"]["totalTokenCount"] == 150
    assert "[DONE]" not in response.text


async def test_a_stream_without_events_is_a_list(world: World) -> None:
    response = await ask(world, "streamGenerateContent")

    assert response.headers["content-type"] == "application/json"
    assert text_of(response.json()) == "Hello there."


@pytest.mark.parametrize("model", ["large", "big"])
async def test_the_path_names_the_model(world: World, model: str) -> None:
    response = await ask(world, model=model)

    assert response.headers["X-Router-Model"] == "large"


async def test_the_name_of_a_model_may_have_slashes_and_colons(tmp_path: Path) -> None:
    named = arm("vendor/model:free", "1.00")
    async with opened(tmp_path, [named, *ARMS]) as world:
        answered = await ask(world, model="vendor/model:free")
        listed = await world.http.get("/v1beta/models/vendor/model:free")

    assert answered.headers["X-Router-Model"] == "vendor/model:free"
    assert listed.json()["name"] == "models/vendor/model:free"


async def test_options_are_read_from_headers(world: World) -> None:
    response = await ask(world, STREAM, headers={"X-Router-Models": "large", "X-Router-Explain": "true"})

    assert response.headers["X-Router-Model"] == "large"
    assert events_of(response)[0]["router"]["candidates"][0]["model"] == "large"


async def test_feedback_finds_the_answer_by_its_request(world: World) -> None:
    answered = await ask(world)

    rated = await world.rate(answered.headers["X-Request-ID"], 0.9)

    assert rated.json()["status"] == "applied"


async def test_a_retry_is_another_attempt_of_the_same_decision(world: World) -> None:
    first = await ask(world, headers={"X-Request-ID": "r-1"})
    second = await ask(world, headers={"X-Request-ID": "r-1"})

    assert first.headers["X-Router-Model"] == second.headers["X-Router-Model"]
    assert len((await world.record("r-1"))["attempts"]) == 2


async def test_the_cache_answers_whole_and_streamed_requests(tmp_path: Path) -> None:
    async with opened(tmp_path, cache_enabled=True) as world:
        first, again, streamed = await ask(world), await ask(world), await ask(world, STREAM)

    kinds = [r.headers["X-Router-Decision"] == "cache" for r in (first, again, streamed)]
    assert kinds == [False, True, True]
    assert text_of(events_of(streamed)) == text_of([again.json()]) == text_of([first.json()])


async def test_what_no_model_was_sent_is_noted_in_the_record(world: World) -> None:
    await ask(world, headers={"X-Request-ID": "r-1"}, tools=[{"googleSearch": {}}])

    [attempt] = (await world.record("r-1"))["attempts"]
    assert attempt["notes"] == ["tool googleSearch is left out: no model is sent it"]


# --- functions


@pytest.mark.parametrize("method", ["generateContent", STREAM])
@pytest.mark.parametrize("keeps_ids", [True, False])
async def test_a_tool_loop_keeps_its_model_and_its_thinking(
    world: World, method: str, keeps_ids: bool
) -> None:
    thinking = {"reasoning_content": "Add them."}
    reply = Reply(
        words=(), message={"tool_calls": [{"index": 0, **CALL}], **thinking}, finish_reason="tool_calls"
    )
    world.model_client.will(ANY, reply)
    first = await ask(world, method, tools=[ADD])
    answers = events_of(first) if method == STREAM else [first.json()]
    parts = [p for a in answers for p in a["candidates"][0]["content"]["parts"] if "functionCall" in p]
    assert parts[0]["functionCall"] == {"id": "toolu_1", "name": "add", "args": {"a": 1}}
    if not keeps_ids:
        del parts[0]["functionCall"]["id"]
    result = {"functionResponse": {"name": "add", "response": {"sum": 1}}}

    second = await ask(
        world,
        method,
        tools=[ADD],
        contents=[HI, {"role": "model", "parts": parts}, {"role": "user", "parts": [result]}],
    )

    assert second.headers["X-Router-Model"] == first.headers["X-Router-Model"]
    _, body = world.model_client.calls[-1]
    _, answer, said = body["messages"]
    assert answer["reasoning_content"] == "Add them."
    assert answer["tool_calls"][0]["id"] == said["tool_call_id"]
    assert (said["tool_call_id"] == "toolu_1") is keeps_ids


@pytest.mark.parametrize("method", ["generateContent", STREAM])
@pytest.mark.parametrize(
    ("google", "field"),
    [
        (Arm("g", "openai", "gemini-3.8-flash", base_url="http://127.0.0.1:9/v1"), "extra_content"),
        (Arm("g", "litellm", "gemini/gemini-3.8-flash"), "provider_specific_fields"),
    ],
    ids=["direct", "litellm"],
)
async def test_googles_signature_comes_back_to_google_in_a_tool_loop(
    tmp_path: Path, method: str, google: Arm, field: str
) -> None:
    signed = {"index": 0, **CALL, "extra_content": {"google": {"thought_signature": SIGNATURE}}}
    async with opened(tmp_path, [google]) as world:
        reply = Reply(words=(), message={"tool_calls": [signed]}, finish_reason="tool_calls")
        world.model_client.will(ANY, reply)
        first = await ask(world, method, tools=[ADD])
        answers = events_of(first) if method == STREAM else [first.json()]
        [part] = [p for a in answers for p in a["candidates"][0]["content"]["parts"] if "functionCall" in p]
        result = {"functionResponse": {"id": "toolu_1", "name": "add", "response": {"sum": 1}}}
        turns = [HI, {"role": "model", "parts": [part]}, {"role": "user", "parts": [result]}]

        await ask(world, method, tools=[ADD], contents=turns)

    assert part["thoughtSignature"] == SIGNATURE
    _, body = world.model_client.calls[-1]
    assert SIGNATURE in orjson.dumps(body["messages"][1]["tool_calls"][0][field]).decode()


async def test_a_conversation_keeps_its_model(world: World) -> None:
    first = await ask(world, headers={"X-Router-Session-Id": "s-1"})
    turns = [HI, first.json()["candidates"][0]["content"], HI]

    for _ in range(5):
        again = await ask(world, contents=turns, headers={"X-Router-Session-Id": "s-1"})
        assert again.headers["X-Router-Model"] == first.headers["X-Router-Model"]


# --- errors


async def test_broken_rules_are_named_in_googles_envelope(world: World) -> None:
    response = await ask(world, generationConfig={"topP": 7})

    error = error_of(response)
    message = "generationConfig.topP: Input should be less than or equal to 1, got 7"
    assert (response.status_code, error["status"], error["message"]) == (400, "INVALID_ARGUMENT", message)
    violation = {"field": "generationConfig.topP", "description": message}
    assert details_of(error)["BadRequest"] == {"fieldViolations": [violation]}


@pytest.mark.parametrize(
    ("request_of", "status", "word"),
    [
        ({"model": "acme-0"}, 404, "NOT_FOUND"),
        ({"model": "acme-0", "version": "v1"}, 404, "NOT_FOUND"),
        ({"contents": [{"parts": [{"text": "x" * 1_000_000}]}]}, 400, "INVALID_ARGUMENT"),
        ({"headers": {"X-Request-ID": "a b"}}, 400, "INVALID_ARGUMENT"),
        ({"headers": {"Origin": "https://evil.example"}}, 403, "PERMISSION_DENIED"),
        ({"headers": {"Content-Length": "999999999"}}, 413, "INVALID_ARGUMENT"),
        ({"headers": {"Content-Type": "text/plain"}}, 415, "INVALID_ARGUMENT"),
    ],
    ids=range(7),
)
async def test_each_fault_has_googles_status(
    world: World, request_of: dict[str, Any], status: int, word: str
) -> None:
    response = await ask(world, **request_of)

    assert (response.status_code, error_of(response)["status"]) == (status, word)


@pytest.mark.parametrize(
    "path",
    [
        "/v1beta/models/auto:generateAnswer",
        "/v1/models/auto:predict",
        "/v1beta/models/auto",
        "/v1beta/cachedContents",
        "/v1beta/files",
        "/upload/v1beta/files",
        "/v1beta/models/auto:batchGenerateContent",
    ],
)
async def test_googles_other_paths_are_not_found(world: World, path: str) -> None:
    response = await world.http.post(path, json={})

    error = error_of(response)
    assert (response.status_code, error["status"]) == (404, "NOT_FOUND")
    assert "it offers /v1beta/models, /v1beta/models/{model}:generateContent" in error["message"]


@pytest.mark.parametrize("method", ["generateContent", STREAM])
@pytest.mark.parametrize(
    ("fault", "status", "wait"),
    [
        (BROKEN, 503, {"retryDelay": "1s"}),
        (ProviderRateLimited("wait", status=429, retry_after_s=7.5), 429, {"retryDelay": "7.5s"}),
        (ProviderOutOfCredit("pay", status=402), 429, None),
    ],
    ids=["broken", "limited", "unpaid"],
)
async def test_when_all_models_fail_the_status_tells_the_cause_and_the_wait(
    world: World, method: str, fault: ProviderError, status: int, wait: Json | None
) -> None:
    world.model_client.will(ANY, *[Reply(error=fault, words=())] * 3)

    response = await ask(world, method)

    error = error_of(response)
    assert (response.status_code, error["status"]) == (
        status,
        {503: "UNAVAILABLE", 429: "RESOURCE_EXHAUSTED"}[status],
    )
    assert details_of(error).get("RetryInfo") == wait


@pytest.mark.parametrize("method", ["generateContent", STREAM])
async def test_another_model_can_answer_before_the_first_content(world: World, method: str) -> None:
    world.model_client.will(ANY, Reply(error=BROKEN, words=()))

    response = await ask(world, method)

    assert (response.status_code, response.headers["X-Router-Decision"]) == (200, "fallback")


async def test_a_stream_that_breaks_off_ends_with_an_error(world: World) -> None:
    world.model_client.will(ANY, Reply(error=BROKEN))

    events = events_of(await ask(world, STREAM))

    assert text_of(events[:-1]) == "Hello there."
    assert events[-1]["error"]["status"] == "UNAVAILABLE"


async def test_a_key_is_accepted_in_the_header_and_in_the_url_and_is_not_logged(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    good = await ask(world, "generateContent?key=sk-in-url", headers={"x-goog-api-key": "sk-in-header"})
    bad = await ask(world, "generateContent?key=sk-in-url", generationConfig={"topP": 7})

    assert (good.status_code, bad.status_code) == (200, 400)
    written = "".join(capfd.readouterr())
    assert "sk-in" not in written + good.text + bad.text


# --- models and counting


@pytest.mark.parametrize("path", ["/v1beta/models", "/v1/models"])
async def test_models_are_listed_in_googles_form(world: World, path: str) -> None:
    body = (await world.http.get(path, headers=GOOGLES)).json()

    by_name = {model["name"]: model for model in body["models"]}
    assert {"models/auto", "models/small", "models/medium", "models/large", "models/embed"} <= by_name.keys()
    assert "nextPageToken" not in body
    assert by_name["models/small"]["inputTokenLimit"] == 4_000
    assert "generateContent" in by_name["models/small"]["supportedGenerationMethods"]
    assert by_name["models/embed"]["supportedGenerationMethods"] == ["embedContent", "batchEmbedContents"]


@pytest.mark.parametrize("path", ["/v1beta/models", "/v1/models"])
async def test_models_are_listed_in_pages(world: World, path: str) -> None:
    whole = (await world.http.get(path, headers=GOOGLES)).json()["models"]
    pages, token = [], ""
    while True:
        params: dict[str, str | int] = {"pageSize": 3, "pageToken": token}
        page = (await world.http.get(path, params=params, headers=GOOGLES)).json()
        pages.append(page["models"])
        if not (token := page.get("nextPageToken", "")):
            break

    assert [model for page in pages for model in page] == whole
    assert all(len(page) == 3 for page in pages[:-1])


@pytest.mark.parametrize("params", [{"pageSize": -1}, {"pageSize": "x"}, {"pageToken": "x"}])
async def test_a_page_that_does_not_exist_is_a_bad_request(world: World, params: dict[str, str]) -> None:
    response = await world.http.get("/v1beta/models", params=params)

    assert (response.status_code, error_of(response)["status"]) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize("path", ["/v1beta/models", "/v1/models"])
async def test_one_model_is_shown_by_its_id_or_its_alias(world: World, path: str) -> None:
    shown = [(await world.http.get(f"{path}/{name}", headers=GOOGLES)).json() for name in NAMES]
    unknown = await world.http.get("/v1beta/models/acme-0")

    assert [model["name"] for model in shown] == [
        "models/auto",
        "models/large",
        "models/large",
        "models/embed",
    ]
    assert (unknown.status_code, error_of(unknown)["status"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize("version", ["v1beta", "v1"])
async def test_tokens_are_counted_without_a_decision(world: World, version: str) -> None:
    response = await ask(world, "countTokens", version=version, contents=[{"parts": [{"text": "x" * 40}]}])

    assert response.json()["totalTokens"] == 10
    assert response.headers["X-Router-Token-Count"] == "estimate"
    assert world.model_client.calls == []


async def test_tokens_are_counted_by_the_models_tokenizer(tmp_path: Path) -> None:
    async with opened(tmp_path, [replace(ARMS[0], model="gpt-4o")]) as world:
        response = await ask(world, "countTokens", model="auto")

    assert response.headers["X-Router-Token-Count"] == "o200k_base"


async def test_counting_for_an_unknown_model_is_not_found(world: World) -> None:
    assert (await ask(world, "countTokens", model="acme-0")).status_code == 404


# --- embeddings


@pytest.mark.parametrize("version", ["v1beta", "v1"])
async def test_contents_are_embedded_by_the_model_in_the_path(world: World, version: str) -> None:
    contents = [{"parts": [{"text": text}]} for text in ("one", "two")]
    path = f"/{version}/models/embed"

    one = await world.http.post(f"{path}:embedContent", json={"content": contents[0]})
    many = await world.http.post(
        f"{path}:batchEmbedContents",
        json={"requests": [{"model": "models/embed", "content": content} for content in contents]},
    )

    vector = {"values": [1.0, 1.0, 1.0, 1.0]}
    assert one.json() == {"embedding": vector}
    assert many.json() == {"embeddings": [vector, vector]}
    assert one.headers["X-Router-Model"] == "embed"


@pytest.mark.parametrize(
    ("method", "body", "field"),
    [
        ("embedContent", {}, "content"),
        ("embedContent", {"content": {"parts": [{"text": ""}]}}, "content"),
        ("embedContent", {"content": HI, "outputDimensionality": 0}, "outputDimensionality"),
        (
            "embedContent",
            {"content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": "aGk="}}]}},
            "content.parts[0]",
        ),
        ("batchEmbedContents", {"requests": []}, "requests"),
        (
            "batchEmbedContents",
            {"requests": [{"content": HI}, {"content": {"parts": []}}]},
            "requests[1].content",
        ),
        (
            "batchEmbedContents",
            {"requests": [{"content": HI}, {"content": HI, "outputDimensionality": 2}]},
            "requests[0].outputDimensionality",
        ),
    ],
)
async def test_a_broken_rule_of_embeddings_is_named(
    world: World, method: str, body: Json, field: str
) -> None:
    response = await world.http.post(f"/v1beta/models/embed:{method}", json=body)

    error = error_of(response)
    assert (response.status_code, error["status"]) == (400, "INVALID_ARGUMENT")
    assert details_of(error)["BadRequest"]["fieldViolations"][0]["field"] == field


async def test_a_model_that_embeds_nothing_is_not_found(world: World) -> None:
    response = await world.http.post("/v1beta/models/large:embedContent", json={"content": HI})

    assert (response.status_code, error_of(response)["status"]) == (404, "NOT_FOUND")
