"""What providers say when they refuse, in every form, through each adapter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from service.domain.arm import Arm
from service.errors import (
    ProviderBroken,
    ProviderError,
    ProviderOutOfCredit,
    ProviderRateLimited,
    ProviderRejected,
)
from service.providers.failures import failure_in
from service.providers.litellm import LiteLLMClient
from service.providers.openai_compatible import OpenAICompatibleClient
from service.providers.refusals import read
from tests.service.providers.scripted import (
    BODY,
    KEY,
    NOW,
    SECRETS,
    Upstream,
    answers,
    collected,
    event,
    streams,
)

ARM = Arm("a", "openai", "some-model")
SENTENCE = "Expected last role to be user"
OPENAI = {"error": {"message": SENTENCE, "type": "invalid_request_error", "param": None, "code": None}}

# form -> body; each says the sentence
BODIES: dict[str, Any] = {
    "OpenAI": OPENAI,
    "Google: a list around the envelope": [{"error": {"code": 400, "message": SENTENCE}}],
    "a list in the envelope": {"error": [{"message": SENTENCE}]},
    "OpenAI with null beside it": {"error": {"message": SENTENCE}, "detail": None, "message": ""},
    "Anthropic": {"type": "error", "error": {"type": "invalid_request_error", "message": SENTENCE}},
    "FastAPI: detail": {"detail": SENTENCE},
    "FastAPI: detail in a list": {"detail": [{"type": "value_error", "loc": ["body"], "msg": SENTENCE}]},
    "detail as an object": {"detail": {"error": {"message": SENTENCE}}},
    "Mistral": {"object": "error", "message": {"detail": [{"msg": SENTENCE, "loc": ["body"]}]}},
    "vLLM": {"object": "error", "message": SENTENCE, "type": "BadRequestError", "code": 400},
    "Cerebras": {"message": SENTENCE, "type": "invalid_request_error", "param": "p", "code": "wrong"},
    "Cohere": {"id": "1", "message": SENTENCE},
    "Ollama": {"error": SENTENCE},
    "TGI": {"error": SENTENCE, "error_type": "validation"},
    "Hugging Face": {"error": [SENTENCE]},
    "Bedrock": {"Message": SENTENCE},
    "Bedrock, with a type": {"__type": "com.amazon.coral.service#ValidationException", "message": SENTENCE},
    "a list of errors": {"errors": [{"message": SENTENCE}]},
    "errors as strings": {"errors": [SENTENCE]},
    "errors by field": {"errors": {"messages": [SENTENCE]}, "message": SENTENCE},
    "problem+json": {"type": "about:blank", "title": "Bad Request", "status": 400, "detail": SENTENCE},
    "only a title": {"title": SENTENCE, "status": 400},
    "Spring": {"status": 400, "error": "Bad Request", "message": SENTENCE, "path": "/v1"},
    "Azure's gateway": {"statusCode": 400, "message": SENTENCE},
    "Zhipu": {"error": {"code": "1214", "message": SENTENCE}},
    "Baidu": {"error_code": 336003, "error_msg": SENTENCE},
    "OpenRouter, raw JSON": {
        "error": {
            "message": "Provider returned error",
            "code": 400,
            "metadata": {"raw": orjson.dumps(OPENAI).decode(), "provider_name": "P"},
        }
    },
    "OpenRouter, raw text": {
        "error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": SENTENCE}}
    },
    "JSON in the message": {"error": {"message": orjson.dumps(OPENAI).decode(), "code": 400}},
    "JSON in the message, twice": {
        "error": {"message": orjson.dumps({"message": orjson.dumps(OPENAI).decode()}).decode()}
    },
    "LiteLLM's proxy": {
        "error": {
            "message": f"litellm.BadRequestError: OpenAIException - {SENTENCE}. "
            "Received Model Group=m\nAvailable Model Group Fallbacks=None",
            "type": None,
            "code": "400",
        }
    },
    "LiteLLM's proxy, with JSON": {
        "error": {"message": f"litellm.BadRequestError: AnthropicException - {orjson.dumps(OPENAI).decode()}"}
    },
    "LiteLLM's proxy, with printed bytes": {
        "error": {"message": f"litellm.BadRequestError: VertexAIException - {orjson.dumps(OPENAI)!r}"}
    },
    "OpenAI's library": {"error": {"message": f"Error code: 400 - {OPENAI!r}"}},
    "a JSON string": orjson.dumps(OPENAI).decode(),
    "plain text": SENTENCE.encode(),
    "plain text with a byte order mark": b"\xef\xbb\xbf" + SENTENCE.encode(),
    "an event": b"event: error\ndata: " + orjson.dumps(OPENAI) + b"\n\n",
    "XML": f'<?xml version="1"?><Error><Code>BadRequest</Code><Message>{SENTENCE}</Message></Error>'.encode(),
    "XML with a name space": f'<a:Error xmlns:a="u"><a:Message>{SENTENCE}</a:Message></a:Error>'.encode(),
    "HTML": f"<html><head><title>400 Bad Request</title></head><body><h1>Bad Request</h1>"
    f"<p>{SENTENCE}</p></body></html>".encode(),
    "a code page that is not UTF-8": b'{"error": {"message": "'
    + SENTENCE.encode("latin-1")
    + b'", "x": "\xfc"}}',
    "deep": {"error": {"error": {"error": {"message": SENTENCE}}}},
    "a null message beside a detail": {"error": {"message": None}, "detail": SENTENCE},
}
# bodies that say nothing a person could read
SILENT: dict[str, Any] = {
    "nothing": b"",
    "empty object": {},
    "empty list": [],
    "null": b"null",
    "a number": b"17",
    "the status in words": b"Bad Request",
    "the status on a page": b"<html><title>400 Bad Request</title><body><h1>Bad Request</h1></body>",
    "the status in JSON": {"error": "Bad Request", "statusCode": 400},
    "no more than that a provider failed": {"error": {"message": "Provider returned error", "code": 400}},
    "an object of Python": b"<Response [400 Bad Request]>",
    "compressed": bytes(range(128, 256)) * 4,
    "empty fields": {"error": {"message": "", "code": None}, "detail": []},
}


def failure(body: object, status: int = 400, headers: dict[str, str] | None = None) -> ProviderError:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return failure_in(ARM, raw, status, now=NOW, headers=headers or {}, secret=KEY)


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_readable_sentence_is_the_clients_and_never_blames_the_model(body: object, status: int) -> None:
    error = failure(body, status)

    assert isinstance(error, ProviderRejected)
    assert str(error).removesuffix(".") == SENTENCE
    assert error.status == status


@pytest.mark.parametrize("body", SILENT.values(), ids=SILENT)
def test_a_400_without_a_reason_does_not_blame_the_model_and_may_suit_another(body: object) -> None:
    error = failure(body)

    assert isinstance(error, ProviderRejected)
    assert str(error) == "some-model rejected the request without a reason (HTTP 400)"
    assert error.is_limit_of_one_model


@pytest.mark.parametrize("form", [form for form in BODIES if not isinstance(BODIES[form], bytes)])
def test_the_same_reader_serves_errors_in_place_of_an_answer(form: str) -> None:
    error = failure_in(ARM, BODIES[form], 200, now=NOW)

    assert SENTENCE in str(error)


@pytest.mark.parametrize(
    ("loc", "param"),
    [
        (["body", "messages", 0, "role"], "messages[0].role"),
        (["messages", 0], "messages[0]"),
        (["body", "logit_bias"], "logit_bias"),
    ],
)
def test_the_place_of_a_validation_error_is_named(loc: list[object], param: str) -> None:
    error = failure({"detail": [{"loc": loc, "msg": "Field required", "type": "missing"}]}, 422)

    assert isinstance(error, ProviderRejected)
    assert (str(error), error.param) == (f"{param}: Field required", param)


def test_all_faults_of_a_list_are_told() -> None:
    faults = [{"loc": ["body", name], "msg": "Field required"} for name in ("top_p", "messages")]

    assert str(failure({"detail": faults}, 422)) == "top_p: Field required; messages: Field required"


def test_code_and_param_are_kept() -> None:
    error = failure({"message": "no", "param": "request_body", "code": "wrong_api_format"})

    assert isinstance(error, ProviderRejected)
    assert (error.param, error.code) == ("request_body", "wrong_api_format")


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"__type": "x#ThrottlingException", "message": "Too many requests"}, ProviderRateLimited),
        (400, {"error": {"status": "RESOURCE_EXHAUSTED", "message": "Quota"}}, ProviderRateLimited),
        (400, {"__type": "UnrecognizedClientException", "message": "The token is invalid"}, ProviderBroken),
        (
            400,
            {"error": {"message": "API key not valid.", "details": [{"reason": "API_KEY_INVALID"}]}},
            ProviderBroken,
        ),
        (400, {"error": {"message": "API key not valid. Please pass a valid API key."}}, ProviderBroken),
        (400, {"error": {"message": "gone", "code": "model_decommissioned"}}, ProviderBroken),
        (400, {"message": "The provided model identifier is invalid."}, ProviderBroken),
        (400, {"error": {"message": "Model Not Exist"}}, ProviderBroken),
        (429, {"error": {"message": "no", "type": "exceeded_current_quota_error"}}, ProviderOutOfCredit),
        (402, {"error": {"message": "Insufficient Balance"}}, ProviderOutOfCredit),
        (200, {"error": {"message": "slow", "code": "429"}}, ProviderRateLimited),
        (200, {"error": {"message": "slow", "status": "RESOURCE_EXHAUSTED"}}, ProviderRateLimited),
        (200, {"error": {"message": "bad field", "type": "invalid_request_error"}}, ProviderRejected),
        (200, {"status": 500, "message": "boom"}, ProviderBroken),
        (200, {"error": "overloaded"}, ProviderBroken),
        (500, {"error": {"message": "bad field", "type": "invalid_request_error"}}, ProviderBroken),
        (503, {"error": {"message": "slow", "status": "RESOURCE_EXHAUSTED"}}, ProviderRateLimited),
        (500, {"error": {"message": "slow", "code": "429"}}, ProviderRateLimited),
    ],
)
def test_the_name_of_an_error_counts_where_the_status_says_too_little(
    status: int, body: object, kind: type[ProviderError]
) -> None:
    assert type(failure(body, status)) is kind


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_wrong_key_or_model_is_no_fault_of_the_client(status: int) -> None:
    error = failure({"error": {"message": f"no access with {KEY}"}}, status)

    assert type(error) is ProviderBroken
    assert KEY not in str(error)


@pytest.mark.parametrize("placeholder", ["k", "x", "none", "dummy", "EMPTY"])
def test_a_placeholder_for_a_key_is_not_masked(placeholder: str) -> None:
    sentence = f"thinking budget {placeholder} is not one of none, low"

    assert read({"error": {"message": sentence}}, secret=placeholder).sentence == sentence


@pytest.mark.parametrize(
    "quoted",
    [
        'Invalid value: {"error": {"type": "authentication_error", "code": 401, "message": "x"}}',
        "stop: got 'API key not valid', expected a list",
        "Invalid value 'model not found'",
        "the tool says: your credit balance is too low",
    ],
)
def test_what_a_client_wrote_never_blames_the_operator(quoted: str) -> None:
    assert isinstance(failure({"error": {"message": quoted}}), ProviderRejected)


def test_no_key_and_no_internals_are_told() -> None:
    message = f"bad key {KEY} and sk-proj-abcdefghijklmnop <openai.Stream object at 0x7f00aa> in the request"

    told = str(failure({"error": {"message": message}}))

    assert told == "bad key *** and *** in the request"


def test_a_long_sentence_is_cut() -> None:
    told = str(failure({"error": {"message": "word " * 10_000}}))

    assert len(told) == 500
    assert told.endswith("…")


@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b'{"error":' * 5_000, b"<p>" * 50_000, b"{" * 100_000, b"'" * 100_000, b"<" * 100_000],
)
def test_hostile_bodies_are_read(body: bytes) -> None:
    assert read(body).status is None


# --- waiting

WAITS: list[tuple[dict[str, str], Any, float | None]] = [
    ({"Retry-After": "39"}, {}, 39),
    ({"Retry-After": "39s"}, {}, 39),
    ({"Retry-After": "1.5"}, {}, 1.5),
    ({"RETRY-AFTER": "Fri, 20 Nov 2026 12:01:30 GMT"}, {}, 90),
    ({"Retry-After": "2026-11-20T12:00:40Z"}, {}, 40),
    ({"retry-after-ms": "1500"}, {}, 1.5),
    ({"retry-after-ms": "soon", "Retry-After": "3"}, {}, 3),
    ({"Retry-After": "9"}, {"error": {"message": "try again in 5s"}}, 9),
    ({"x-ratelimit-reset-requests": "1m30s"}, {}, 90),
    ({"x-ratelimit-reset-tokens": "6ms"}, {}, 0.006),
    ({"x-ratelimit-reset-requests": "2m59.56s", "x-ratelimit-reset-tokens": "7.66s"}, {}, 7.66),
    (
        {
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-requests": "30s",
            "x-ratelimit-remaining-tokens": "5000",
            "x-ratelimit-reset-tokens": "1s",
        },
        {},
        30,
    ),
    ({"X-RateLimit-Reset": "1795176030"}, {}, 30),
    ({"X-RateLimit-Reset": "1795176030000"}, {}, 30),
    ({"ratelimit-reset": "12"}, {}, 12),
    ({"RateLimit": "limit=9, remaining=0, reset=12"}, {}, 12),
    ({"RateLimit": '"default";r=0;t=12'}, {}, 12),
    ({"anthropic-ratelimit-requests-reset": "2026-11-20T12:00:20Z"}, {}, 20),
    ({"x-ratelimit-reset-requests": "1m"}, {"error": {"message": "Please try again in 20s."}}, 20),
    ({}, {"error": {"message": "Rate limit reached. Please try again in 20s. Visit x."}}, 20),
    ({}, {"error": {"message": "Please try again in 1m2.5s."}}, 62.5),
    ({}, {"error": {"message": "Please try again in 500ms."}}, 0.5),
    ({}, {"error": {"message": "Please retry after 43 seconds."}}, 43),
    ({}, {"error": {"message": "Please retry in 39.52s."}}, 39.52),
    ({}, {"error": {"message": "wait 2 minutes and 5 seconds before the next request"}}, 125),
    ({}, {"error": {"message": "请在 20 秒后重试"}}, 20),
    ({}, {"error": {"message": "Available again at 2026-11-20 12:00:30"}}, 30),
    ({}, b"Too many requests, retry after 8 seconds", 8),
    ({}, [{"error": {"details": [{"@type": "x.RetryInfo", "retryDelay": "39s"}]}}], 39),
    ({}, {"error": {"details": [{"retryDelay": {"seconds": 39, "nanos": 1}}]}}, 39),
    ({}, {"error": {"retry_after": 12}}, 12),
    ({}, {"retry_after_ms": 1200}, 1.2),
    ({}, {"retryAfterSeconds": "7"}, 7),
    ({}, {"error": {"resets_in_seconds": 100}}, 100),
    ({}, {"error": {"resets_at": 1795176030}}, 30),
    ({}, {"error": {"metadata": {"headers": {"X-RateLimit-Reset": "1795176005000"}}}}, 5),
    ({}, {"parameters": {"retry-after": "4"}}, 4),
    ({}, {"error": {"message": "Limit: 20 requests per 60 s. Try again later."}}, None),
    ({}, {"error": {"message": "slow down", "retry_after": None}}, None),
    ({}, {"retry_after": "soon"}, None),
    ({}, {"retry_after": True}, None),
    ({"Retry-After": "nan"}, {}, None),
    ({"Retry-After": "inf"}, {}, None),
    ({"Retry-After": ""}, {}, None),
    ({"Retry-After": "-5"}, {}, 0),
    ({"Retry-After": "99999"}, {}, 3600),
    ({}, {"error": {"message": "Please try again in 14h23m5s."}}, 3600),
    ({}, {"retry_after": 1e300}, 3600),
]


@pytest.mark.parametrize(("headers", "body", "wait_s"), WAITS)
def test_the_time_to_wait_is_read_in_every_spelling(
    headers: dict[str, str], body: object, wait_s: float | None
) -> None:
    assert datetime(2026, 11, 20, 12, tzinfo=UTC) == NOW

    error = failure(body, 429, headers)

    assert isinstance(error, ProviderRateLimited)
    assert error.retry_after_s == (None if wait_s is None else pytest.approx(wait_s))


# --- through the adapters


@pytest.fixture
async def openai_client() -> AsyncIterator[OpenAICompatibleClient]:
    client = OpenAICompatibleClient(SECRETS, lambda: NOW)
    yield client
    await client.close()


@pytest.fixture
async def litellm_client() -> AsyncIterator[LiteLLMClient]:
    client = LiteLLMClient(SECRETS, lambda: NOW)
    yield client
    await client.close()


PLAYED = {
    name: (status, body, headers)
    for name, status, body, headers in [
        ("a list", 400, BODIES["Google: a list around the envelope"], {}),
        ("a detail", 422, BODIES["FastAPI: detail in a list"], {}),
        ("plain text", 400, BODIES["plain text"], {}),
        ("OpenAI's", 400, OPENAI, {}),
        ("nothing", 400, b"", {}),
        ("overflow", 400, {"error": {"message": "prompt is too long: 9 tokens > 8 maximum"}}, {}),
        ("waiting, in the body", 429, [{"error": {"details": [{"retryDelay": "39s"}], "message": "no"}}], {}),
        ("waiting, in a header", 429, OPENAI, {"x-ratelimit-reset-tokens": "1m30s"}),
        ("a key", 400, {"error": {"message": f"bad {KEY}"}}, {}),
        ("wrong key", 401, OPENAI, {}),
        ("no such model", 404, OPENAI, {}),
        ("overloaded", 529, OPENAI, {}),
        ("a page", 502, BODIES["HTML"], {}),
    ]
}


@pytest.mark.filterwarnings("ignore")  # LiteLLM loads its parts at their first use, and some of them warn
@pytest.mark.parametrize("played", PLAYED.values(), ids=PLAYED)
@pytest.mark.parametrize("model", ["anthropic/claude-x", "gemini/gemini-x", "groq/llama-x", "cohere_chat/c"])
async def test_litellms_errors_are_as_clean_as_the_direct_ones(
    litellm_client: LiteLLMClient,
    openai_client: OpenAICompatibleClient,
    upstream: Upstream,
    model: str,
    played: tuple[int, Any, dict[str, str]],
) -> None:
    status, body, headers = played
    upstream.script = answers(body, status, headers)
    through, direct = upstream.arm("litellm", model, path=""), upstream.arm("openai", model)

    with pytest.raises(ProviderError) as expected:
        await openai_client.complete(direct, BODY, timeout_s=20)
    for call in (
        litellm_client.complete(through, BODY, timeout_s=20),
        collected(litellm_client.stream(through, BODY, timeout_s=20)),
    ):
        with pytest.raises(ProviderError) as raised:
            await asyncio.ensure_future(call)

        assert type(raised.value) is type(expected.value)
        assert vars(raised.value) == vars(expected.value)
        assert str(raised.value) == str(expected.value)


# Of these an event might be another thing than an error.
VAGUE = {"Cohere", "Bedrock", "only a title"}


@pytest.mark.parametrize("form", [f for f in BODIES if isinstance(BODIES[f], dict) and f not in VAGUE])
async def test_an_error_in_a_stream_is_read_by_the_same_reader(
    openai_client: OpenAICompatibleClient, upstream: Upstream, form: str
) -> None:
    upstream.script = streams(event(BODIES[form]))

    with pytest.raises(ProviderError, match=SENTENCE):
        await collected(openai_client.stream(upstream.arm(), BODY, timeout_s=5))
