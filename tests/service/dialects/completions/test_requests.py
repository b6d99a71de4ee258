"""What a Completions request becomes, and what is refused by name."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from starlette.datastructures import Headers

from service.dialects.completions.requests import read_query
from service.dialects.received import Received
from service.domain.query import Query
from service.errors import BadRequest


def read(**body: Any) -> Query:
    received = Received(
        headers=Headers({}),
        tenant="default",
        request_id="r-1",
        request_id_given=True,
        received_at=datetime(2026, 11, 20, tzinfo=UTC),
    )
    return read_query(orjson.dumps({"prompt": "Once upon", **body}), received)


@pytest.mark.parametrize("prompt", ["Once upon", ["Once upon"]])
def test_the_prompt_is_the_one_message_of_the_user(prompt: object) -> None:
    query = read(prompt=prompt, model="auto")

    assert query.body == {"model": "auto", "messages": [{"role": "user", "content": "Once upon"}]}
    assert (query.dialect, query.text, query.requested_model) == ("completions", "Once upon", None)
    assert (query.n_prompt_tokens, query.max_output_tokens, query.native) == (3, None, None)


def test_what_means_the_same_in_a_chat_is_kept_and_the_rest_is_not_sent() -> None:
    shared = {
        "model": "large",
        "max_tokens": 5,
        "temperature": 0.5,
        "top_p": 0.9,
        "n": 2,
        "stop": ["x"],
        "stream": True,
        "stream_options": {"include_usage": True},
        "seed": 1,
        "user": "u",
        "presence_penalty": 0.1,
        "frequency_penalty": 0.1,
        "logit_bias": {"1": 2},
        "top_k": 3,
    }

    query = read(**shared, best_of=2, echo=True, suffix="", router={"learn": False})

    assert query.body == shared | {"messages": [{"role": "user", "content": "Once upon"}]}
    assert (query.requested_model, query.max_output_tokens, query.stream) == ("large", 5, True)
    assert query.options.learn is False


@pytest.mark.parametrize(
    ("logprobs", "in_a_chat"),
    [(None, {}), (0, {"logprobs": True}), (3, {"logprobs": True, "top_logprobs": 3})],
)
def test_log_probabilities_are_asked_for_as_in_a_chat(logprobs: int | None, in_a_chat: object) -> None:
    body = read(logprobs=logprobs).body

    assert {name: body[name] for name in ("logprobs", "top_logprobs") if name in body} == in_a_chat


@pytest.mark.parametrize(
    "neutral",
    [
        {"best_of": 1},
        {"best_of": 0},
        {"best_of": None},
        {"best_of": 2, "n": 2},
        {"suffix": None},
        {"suffix": ""},
        {"echo": False},
        {"echo": None, "logprobs": 1},
        {"echo": False, "logprobs": 1},
        {"max_tokens": None},
        {"stop": None},
        {"tools": []},
        {"response_format": None},
    ],
)
def test_neutral_values_are_no_demand(neutral: dict[str, Any]) -> None:
    assert read(**neutral).body["messages"]


@pytest.mark.parametrize(
    ("fields", "param", "rule"),
    [
        ({"prompt": ["a", "b"]}, "prompt", "must be one text, got 2"),
        ({"prompt": [1, 2]}, "prompt", "must be a text, got tokens"),
        ({"prompt": [[1, 2]]}, "prompt", "must be a text, got tokens"),
        ({"prompt": [[1], [2]]}, "prompt", "must be a text, got tokens"),
        ({"prompt": []}, "prompt", "must be a text, got a list of 0"),
        ({"prompt": ["a", 1]}, "prompt", "must be a text, got a list of 2"),
        ({"prompt": [True]}, "prompt", "must be a text, got a list of 1"),
        ({"prompt": None}, "prompt", "got None"),
        ({"prompt": {"text": "a"}}, "prompt", "got an object of 1"),
        ({"suffix": "end"}, "suffix", "must be empty"),
        ({"best_of": 2}, "best_of", "at most n, which is 1, got 2"),
        ({"best_of": 3, "n": 2}, "best_of", "at most n, which is 2, got 3"),
        ({"echo": True, "logprobs": 0}, "echo", "must be false with logprobs"),
        ({"logprobs": 6}, "logprobs", "less than or equal to 5"),
        ({"logprobs": True}, "logprobs", "got True"),
        ({"max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
        ({"n": 0}, "n", "greater than or equal to 1"),
        ({"temperature": 3}, "temperature", "less than or equal to 2"),
        ({"stop": 1}, "stop", "got 1"),
        ({"messages": [{"role": "user", "content": "Hi"}]}, "messages", "/v1/chat/completions only"),
        ({"tools": "x"}, "tools", "/v1/chat/completions only"),
        ({"response_format": {"type": "json_object"}}, "response_format", "/v1/chat/completions only"),
        ({"max_completion_tokens": 5}, "max_completion_tokens", "/v1/chat/completions only"),
        ({"router": {"unknown": 1}}, "router.unknown", "not permitted"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(fields: dict[str, Any], param: str, rule: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read(**fields)

    assert refused.value.param == param
    assert rule in str(refused.value)


def test_a_prompt_is_required() -> None:
    with pytest.raises(BadRequest, match="prompt: field is required"):
        read_query(b'{"model": "auto"}', Received(Headers({}), "t", "r", False, datetime.now(UTC)))
