from __future__ import annotations

from itertools import pairwise
from statistics import mean

import orjson
import pytest

from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.usage_report import usage_from
from service.errors import ProviderBroken, ProviderRejected, ProviderTimeout
from service.providers.simulator.simulator import (
    SIMULATED_ARMS,
    SimulatedClient,
    prompt_of,
    topic_of,
    true_quality,
)
from tests.service.providers.scripted import collected, text_of

SMALL, CODE, MATH, WRITER, LARGE = SIMULATED_ARMS
PROMPTS = {
    "code": "Write a Python function that reverses a list.",
    "math": "What is 17 * 23?",
    "writing": "Write a short poem about autumn.",
    "facts": "Which river flows through the capital of France?",
}


def body(prompt: str = "Hello there", **fields: object) -> Json:
    return {"messages": [{"role": "user", "content": prompt}], **fields}


@pytest.fixture
def model_client() -> SimulatedClient:
    return SimulatedClient(time_scale=0)


async def text_answer(model_client: SimulatedClient, arm: Arm, request: Json) -> str:
    answer = await model_client.complete(arm, request, timeout_s=5)
    content: str = answer.body["choices"][0]["message"]["content"]
    return content


@pytest.mark.parametrize(("topic", "prompt"), PROMPTS.items())
def test_the_topic_is_found_by_its_words(topic: str, prompt: str) -> None:
    assert topic_of(prompt) == topic


@pytest.mark.parametrize(
    ("topic", "specialist"), [("code", "sim-code"), ("math", "sim-math"), ("writing", "sim-writer")]
)
def test_each_specialist_is_best_on_its_topic(topic: str, specialist: str) -> None:
    prompts = [f"{PROMPTS[topic]} Number {i}." for i in range(50)]

    mean_quality = {
        arm.arm_id: mean(true_quality(arm.arm_id, prompt) for prompt in prompts) for arm in SIMULATED_ARMS
    }

    assert max(mean_quality, key=lambda arm_id: mean_quality[arm_id]) == specialist
    assert all(0 <= quality <= 1 for quality in mean_quality.values())


async def test_an_answer_states_that_it_is_simulated(model_client: SimulatedClient) -> None:
    text = await text_answer(model_client, CODE, body(PROMPTS["code"]))

    quality = true_quality("sim-code", PROMPTS["code"])
    assert "simulated" in text
    assert "sim-code" in text
    assert "code" in text
    assert f"good: quality {quality:.2f}" in text


async def test_the_same_request_gets_the_same_answer(model_client: SimulatedClient) -> None:
    again = SimulatedClient(time_scale=0)
    other = SimulatedClient(seed=1, time_scale=0)

    first = await model_client.complete(LARGE, body(), timeout_s=5)

    assert await again.complete(LARGE, body(), timeout_s=5) == first
    assert await other.complete(LARGE, body(), timeout_s=5) != first


async def test_a_stream_has_the_same_text_as_a_whole_answer(model_client: SimulatedClient) -> None:
    whole = await model_client.complete(WRITER, body(), timeout_s=5)

    chunks = await collected(model_client.stream(WRITER, body(), timeout_s=5))

    assert text_of(chunks) == whole.body["choices"][0]["message"]["content"]
    assert chunks[0].body["choices"][0]["delta"]["role"] == "assistant"
    assert chunks[-2].body["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1].body["choices"] == []
    assert chunks[-1].usage == whole.usage == usage_from(chunks[-1].body["usage"])
    assert all(a.body["id"] == b.body["id"] for a, b in pairwise(chunks))


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
async def test_a_token_limit_cuts_the_answer(model_client: SimulatedClient, field: str) -> None:
    answer = await model_client.complete(SMALL, body() | {field: 5}, timeout_s=5)

    assert answer.usage.completion_tokens == 5
    assert answer.body["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("stop", ["No model", ["nowhere", "No model"]])
async def test_a_stop_sequence_ends_the_answer(model_client: SimulatedClient, stop: str | list[str]) -> None:
    answer = await model_client.complete(SMALL, body(stop=stop), timeout_s=5)

    choice = answer.body["choices"][0]
    assert choice["message"]["content"].strip() == "[simulated]"
    assert choice["finish_reason"] == "stop"


async def test_json_is_answered_if_json_is_requested(model_client: SimulatedClient) -> None:
    text = await text_answer(model_client, SMALL, body(response_format={"type": "json_object"}))

    found = orjson.loads(text)
    assert found["simulated"] is True
    assert found["model"] == "sim-small"


async def test_a_json_schema_gets_an_instance_of_it(model_client: SimulatedClient) -> None:
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": ["string", "null"]},
            "kind": {"enum": ["a", "b"]},
            "sizes": {"type": "array", "items": {"type": "integer"}},
            "ok": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
            "place": {"$ref": "#/$defs/Place"},
        },
        "$defs": {"Place": {"type": "object", "properties": {"x": {"type": "number"}}}},
    }
    response_format = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}

    found = orjson.loads(await text_answer(model_client, SMALL, body(response_format=response_format)))

    assert isinstance(found.pop("name"), str)
    assert found == {"kind": "a", "sizes": [1], "ok": True, "place": {"x": 0.5}}


async def test_a_recursive_schema_ends(model_client: SimulatedClient) -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}
    response_format = {"type": "json_schema", "json_schema": {"schema": node | {"$defs": {"Node": node}}}}

    text = await text_answer(model_client, SMALL, body(response_format=response_format))

    assert "next" in orjson.loads(text)


async def test_several_choices_are_refused(model_client: SimulatedClient) -> None:
    with pytest.raises(ProviderRejected, match="n must be 1"):
        await model_client.complete(SMALL, body(n=2), timeout_s=5)


async def test_an_unknown_simulated_model_is_a_broken_provider(model_client: SimulatedClient) -> None:
    with pytest.raises(ProviderBroken, match="sim-small"):
        await model_client.complete(Arm("x", "simulator", "sim-huge"), body(), timeout_s=5)


async def test_a_slow_answer_times_out() -> None:
    slow = SimulatedClient(time_scale=1e6)

    with pytest.raises(ProviderTimeout):
        await slow.complete(LARGE, body(), timeout_s=0.01)
    with pytest.raises(ProviderTimeout):
        await anext(slow.stream(LARGE, body(), timeout_s=0.01))


async def test_an_answer_to_a_schema_whose_references_multiply_has_a_limit(
    model_client: SimulatedClient,
) -> None:
    reference = [{"$ref": f"#/$defs/{level}"} for level in range(13)]
    defs = {str(i): {"properties": {str(n): reference[i + 1] for n in range(5)}} for i in range(12)}
    response_format = {"type": "json_schema", "json_schema": {"schema": {"$defs": defs} | defs["0"]}}

    text = await text_answer(model_client, SMALL, body(response_format=response_format))

    assert len(text) < 200_000  # 5^12 values would be a gigabyte


def test_a_long_prompt_is_judged_by_its_beginning() -> None:
    assert len(prompt_of(body("word " * 1_000_000))) == 20_000


def test_the_last_user_message_is_the_prompt() -> None:
    parts = [{"type": "text", "text": "two"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    messages = [
        {"role": "user", "content": "one"},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": "three"},
    ]

    assert prompt_of({"messages": messages}) == "two"
