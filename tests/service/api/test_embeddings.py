"""POST /v1/embeddings: the vectors of the model that the request names, and of no other."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.dialects.embeddings import MAX_INPUTS
from service.domain.embedding import EmbeddingRequest
from service.errors import (
    ContextTooLong,
    ProviderBroken,
    ProviderOutOfCredit,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
)
from service.relay.own_encoder import OwnEncoder
from tests.fakes import FakeEncoder
from tests.service.world import OTHER_SERVER, SMALL_SERVER, World, error_of, opened


async def embed(world: World, given: object = "one two", **body: Any) -> httpx.Response:
    return await world.http.post("/v1/embeddings", json={"model": "embed", "input": given, **body})


# --- the answer


async def test_the_answer_has_openais_form_and_states_its_cost(world: World) -> None:
    response = await embed(world, ["one", "two"])

    assert response.status_code == 200
    assert response.json() == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": [1.0, 1.0, 1.0, 1.0]} for index in (0, 1)
        ],
        "model": "embed",
        "usage": {"prompt_tokens": 20, "total_tokens": 20},
    }
    assert response.headers["X-Router-Model"] == "embed"
    assert response.headers["X-Router-Cost-Usd"] == "0.0000004"
    assert response.headers["X-Request-ID"]


async def test_an_alias_means_its_model_and_the_path_needs_no_v1(world: World) -> None:
    by_alias = await world.http.post("/embeddings", json={"model": "texts", "input": "one"})

    assert by_alias.status_code == 200
    assert by_alias.json()["model"] == "embed"


async def test_vectors_come_as_base64_of_float32_if_asked(world: World) -> None:
    for model in ("embed", "router-minilm"):
        as_floats = (await embed(world, model=model)).json()["data"][0]["embedding"]
        as_text = (await embed(world, model=model, encoding_format="base64")).json()["data"][0]["embedding"]

        assert np.frombuffer(b64decode(as_text), "<f4").tolist() == pytest.approx(as_floats)


async def test_the_cost_is_absent_if_nobody_knows_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        response = await embed(world, model="unpriced")
        metrics = (await world.http.get("/metrics")).text

    assert response.status_code == 200
    assert "X-Router-Cost-Usd" not in response.headers
    assert 'router_calls_of_unknown_cost_total{model="unpriced"} 1.0' in metrics


async def test_tokens_and_dollars_are_counted(world: World) -> None:
    await embed(world)
    world.embedding_client.errors = [ProviderBroken("down"), ProviderBroken("down")]
    await embed(world)

    lines = (await world.http.get("/metrics")).text.splitlines()

    assert 'router_relayed_requests_total{model="embed",status="ok",what="embeddings"} 1.0' in lines
    assert (
        'router_relayed_requests_total{model="embed",status="AllArmsFailed",what="embeddings"} 1.0' in lines
    )
    assert 'router_tokens_total{kind="prompt",model="embed"} 10.0' in lines
    assert 'router_cost_usd_total{model="embed"} 2e-07' in lines


# --- which model


@pytest.mark.parametrize("model", ["text-embedding-3-small", "large", "big", "EMBED", "router-minilm-2"])
async def test_an_unknown_name_never_gets_the_vectors_of_another_model(world: World, model: str) -> None:
    response = await embed(world, model=model)

    error = error_of(response)
    assert (response.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")
    assert repr(model) in error["message"]
    assert "embed" in error["message"]
    assert "router-minilm" in error["message"]
    assert world.embedding_client.called == []
    assert world.encoder.texts == []


@pytest.mark.parametrize("model", ["auto", "router/auto"])
async def test_the_router_does_not_choose_among_embedding_models(world: World, model: str) -> None:
    response = await embed(world, model=model)

    assert response.status_code == 404
    assert "cannot be compared" in error_of(response)["message"]


async def test_an_embedding_model_answers_no_chat(world: World) -> None:
    response = await world.ask(model="embed")

    assert (response.status_code, error_of(response)["code"]) == (404, "model_not_found")


# --- failing deployments


@pytest.mark.parametrize(
    "error",
    [
        ProviderBroken("500", status=500),
        ProviderBroken("wrong key", status=401),
        ProviderTimeout("late"),
        ProviderRateLimited("slow down", status=429),
        ProviderOutOfCredit("no credit", status=402),
    ],
)
async def test_the_next_deployment_of_the_same_model_answers(world: World, error: Any) -> None:
    world.embedding_client.errors = [error]

    response = await embed(world)

    assert response.status_code == 200
    assert world.embedding_client.called == [SMALL_SERVER, OTHER_SERVER]


async def test_a_rejected_request_is_the_clients_and_goes_to_no_other_deployment(world: World) -> None:
    rejection = ProviderRejected("input is too long", status=400, param="input", code="too_long")
    world.embedding_client.errors = [rejection]

    response = await embed(world)

    assert response.status_code == 400
    assert error_of(response) == {
        "message": "input is too long",
        "type": "invalid_request_error",
        "param": "input",
        "code": "too_long",
    }
    assert world.embedding_client.called == [SMALL_SERVER]


async def test_a_deployment_that_cools_down_comes_last(world: World) -> None:
    world.embedding_client.errors = [ProviderBroken("down")] * 3
    for _ in range(3):
        world.embedding_client.errors = [ProviderBroken("down")]
        await embed(world)
    world.embedding_client.called.clear()

    await embed(world)

    assert world.embedding_client.called == [OTHER_SERVER]


async def test_nobody_calls_a_provider_that_asked_to_wait(world: World) -> None:
    limited = ProviderRateLimited("slow down", status=429, retry_after_s=30)
    world.embedding_client.errors = [limited, limited]
    first = await embed(world)
    world.embedding_client.called.clear()

    second = await embed(world)

    for response in (first, second):
        assert (response.status_code, error_of(response)["code"]) == (429, "rate_limit_exceeded")
        assert response.headers["Retry-After"] == "30"
    assert world.embedding_client.called == []


async def test_a_failing_model_has_no_stand_in(world: World) -> None:
    world.embedding_client.errors = [ProviderBroken("down")] * 2

    response = await embed(world)

    assert (response.status_code, error_of(response)["code"]) == (503, "no_model_answered")
    assert response.headers["Retry-After"]
    assert world.encoder.texts == []


async def test_no_address_of_a_deployment_is_told(world: World) -> None:
    world.embedding_client.errors = [ProviderBroken("down")] * 2

    assert "127.0.0.1" not in (await embed(world)).text


# --- what is refused


@pytest.mark.parametrize(
    ("given", "param", "rule"),
    [
        ("", "input", "must not be empty"),
        ([], "input", "at least 1 item"),
        (["a", ""], "input[1]", "must not be empty"),
        ([[]], "input[0]", "must not be empty"),
        (["a", 5], "input[1]", "must be a text or a list of tokens, got 5"),
        ([1, "a"], "input", "must be a text or a list of tokens, got 'a'"),
        ([1, -1], "input", "got -1"),
        ([1, True], "input", "got True"),
        ([[1, 2.5]], "input[0]", "got 2.5"),
        ([None], "input[0]", "got None"),
        ([{"text": "a"}], "input[0]", "got an object of 1"),
        ({"text": "a"}, "input", "got an object of 1"),
        (None, "input", "got None"),
        (5, "input", "got 5"),
        (["a"] * (MAX_INPUTS + 1), "input", f"at most {MAX_INPUTS} items, got {MAX_INPUTS + 1}"),
    ],
)
async def test_a_faulty_input_is_named_with_its_rule(
    world: World, given: object, param: str, rule: str
) -> None:
    response = await embed(world, given)

    assert response.status_code == 400
    assert error_of(response)["param"] == param
    assert rule in error_of(response)["message"]
    assert world.embedding_client.called == []


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"encoding_format": "int8"}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": "4"}, "dimensions"),
        ({"dimensions": 100_001}, "dimensions"),
        ({"model": ""}, "model"),
        ({"model": 5}, "model"),
        ({"model": None}, "model"),
    ],
)
async def test_a_faulty_field_is_named(world: World, fields: dict[str, Any], param: str) -> None:
    response = await embed(world, **fields)

    assert (response.status_code, error_of(response)["param"]) == (400, param)


@pytest.mark.parametrize("missing", ["model", "input"])
async def test_a_missing_field_is_named(world: World, missing: str) -> None:
    body = {"model": "embed", "input": "a"}
    del body[missing]

    response = await world.http.post("/v1/embeddings", json=body)

    assert (response.status_code, error_of(response)["message"]) == (400, f"{missing}: field is required")


@pytest.mark.parametrize(
    ("given", "at_least"), [(list(range(21)), ""), ([[1], list(range(21))], ""), ("x" * 1_281, "at least ")]
)
async def test_an_input_that_is_certainly_too_long_is_not_sent(
    world: World, given: object, at_least: str
) -> None:
    response = await embed(world, given)

    assert (response.status_code, error_of(response)["code"]) == (400, "context_length_exceeded")
    assert f"maximum context length is 20 tokens, got {at_least}21" in error_of(response)["message"]
    assert world.embedding_client.called == []


async def test_tokens_dimensions_and_the_user_are_passed_on(world: World) -> None:
    response = await embed(world, [[1, 2], [3]], dimensions=2, user="u-1")

    [request] = world.embedding_client.requests
    assert response.status_code == 200
    assert (request.inputs, request.dimensions, request.others) == (((1, 2), (3,)), 2, {"user": "u-1"})
    assert response.json()["data"][0]["embedding"] == [1.0, 1.0]


# --- the router's own encoder


async def test_the_own_encoder_gives_unit_vectors_free_of_charge(world: World) -> None:
    response = await embed(world, ["one two", "three"], model="router-minilm")

    body = response.json()
    assert (body["model"], body["usage"]["prompt_tokens"]) == ("router-minilm", 3)
    assert [len(row["embedding"]) for row in body["data"]] == [64, 64]
    assert [np.linalg.norm(row["embedding"]) for row in body["data"]] == pytest.approx([1.0, 1.0])
    assert response.headers["X-Router-Cost-Usd"] == "0"


@pytest.mark.parametrize(
    ("given", "fields", "param", "code", "rule"),
    [
        ([1, 2], {}, "input[0]", None, "reads texts, not lists of tokens"),
        (["a", [1]], {}, "input[1]", None, "reads texts, not lists of tokens"),
        ("a b c d e f g h i", {}, "input[0]", "context_length_exceeded", "is 8 tokens, got 9"),
        (["a", "x" * 101], {}, "input[1]", "context_length_exceeded", "100 characters"),
        ("a", {"dimensions": 32}, "dimensions", None, "has 64, got 32"),
    ],
)
async def test_what_the_own_encoder_cannot_read_is_refused(
    world: World, given: object, fields: dict[str, Any], param: str, code: str | None, rule: str
) -> None:
    response = await embed(world, given, model="router-minilm", **fields)

    assert response.status_code == 400
    assert (error_of(response)["param"], error_of(response)["code"]) == (param, code)
    assert rule in error_of(response)["message"]
    assert world.encoder.texts == []


async def test_counting_ends_at_the_first_text_that_is_too_long() -> None:
    counted = []

    def count(text: str) -> int:
        counted.append(text)
        return len(text)

    own = OwnEncoder(FakeEncoder(), count, max_tokens=2, max_characters=100)

    with pytest.raises(ContextTooLong, match=r"input\[1\]"):
        await own.embed(EmbeddingRequest("router-minilm", ("a", "abc", "a", "a")))

    assert counted == ["a", "abc"]


async def test_the_own_dimensions_may_be_requested(world: World) -> None:
    assert (await embed(world, model="router-minilm", dimensions=64)).status_code == 200


async def test_a_broken_encoder_is_unavailable(world: World) -> None:
    world.encoder.is_down = True

    response = await embed(world, model="router-minilm")

    assert (response.status_code, error_of(response)["code"]) == (503, "unavailable")


async def test_a_stuck_encoder_ends_with_the_deadline(tmp_path: Path) -> None:
    async with opened(tmp_path, request_deadline_s=0.01) as world:
        world.encoder.is_stuck = True

        response = await embed(world, model="router-minilm")

    assert response.status_code == 503


async def test_many_texts_do_not_fill_the_queue_of_decisions(world: World) -> None:
    world.encoder.is_stuck = True
    requests = [asyncio.create_task(embed(world, ["a"] * 9, model="router-minilm")) for _ in range(5)]
    await asyncio.wait(requests, timeout=0.3)

    assert len(world.encoder.texts) == 2
    for request in requests:
        request.cancel()
    await asyncio.gather(*requests, return_exceptions=True)
