from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from structlog.testing import capture_logs

from service.errors import ProviderBroken
from service.providers.simulator.simulator import SIMULATED_ARMS
from tests.fakes import ANY, Reply
from tests.service.world import LARGE, MEDIUM, SMALL, World, error_of, events_of, opened, text_of

BROKEN = ProviderBroken("the upstream failed", status=500)
PATHS = ["/chat/completions", "/v1/chat/completions"]


@pytest.mark.parametrize("path", PATHS)
async def test_an_answer_is_a_chat_completion_that_names_the_arm_that_answered(
    world: World, path: str
) -> None:
    body = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}]}

    response = await world.http.post(path, json=body, headers={"X-Request-ID": "r-1"})

    assert response.status_code == 200
    answer = response.json()
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"]["content"] == "Hello there."
    assert answer["usage"]["total_tokens"] == 150
    assert answer["model"] == response.headers["X-Router-Model"] == world.model_client.called[0]
    assert response.headers["X-Router-Decision"] in {"exploit", "explore"}
    assert response.headers.get_list("X-Request-ID") == ["r-1"]
    assert "X-Router-Degraded" not in response.headers


@pytest.mark.parametrize("path", PATHS)
async def test_a_stream_carries_every_chunk_and_ends_with_done(world: World, path: str) -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}], "stream": True}

    response = await world.http.post(path, json=body, headers={"X-Request-ID": "r-1"})

    events = events_of(response)
    chunks = [event for event in events if isinstance(event, dict)]
    assert events[-1] == "[DONE]"
    assert text_of(events) == "Hello there."
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert {chunk["model"] for chunk in chunks} == {response.headers["X-Router-Model"]}
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert [c["choices"][0]["finish_reason"] for c in chunks][-1] == "stop"
    assert response.headers["X-Request-ID"] == "r-1"
    assert response.headers["X-Accel-Buffering"] == "no"


@pytest.mark.parametrize("stream", [False, True])
async def test_the_decision_has_its_id_in_a_header(world: World, stream: bool) -> None:
    first = await world.ask(request_id="r-1", stream=stream)
    retried = await world.ask(request_id="r-1", stream=stream)
    other = await world.ask(stream=stream)

    decision_id = (await world.record("r-1"))["decision_id"]
    assert [r.headers["X-Router-Decision-Id"] == decision_id for r in (first, retried, other)] == [
        True,
        True,
        False,
    ]


async def test_a_stream_has_no_usage_chunk_unless_the_client_requests_it(world: World) -> None:
    plain = events_of(await world.ask(stream=True))
    refused = events_of(await world.ask(stream=True, stream_options={"include_usage": False}))

    assert all("usage" not in event for event in [*plain, *refused] if isinstance(event, dict))
    assert all(event["choices"] for event in [*plain, *refused] if isinstance(event, dict))


async def test_usage_comes_in_one_closing_chunk_if_the_client_requests_it(world: World) -> None:
    events = events_of(await world.ask(stream=True, stream_options={"include_usage": True}))

    chunks = [event for event in events if isinstance(event, dict)]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["prompt_tokens"] == 100
    assert chunks[-1]["usage"]["completion_tokens"] == 50
    assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)


async def test_no_log_line_contains_a_prompt_or_an_answer(world: World) -> None:
    world.model_client.will(ANY, Reply(error=BROKEN), Reply(words=("a hidden answer",)))

    with capture_logs() as events:
        await world.ask("a hidden question", request_id="r-1")
        await world.ask("a hidden question", request_id="r-2", stream=True)
        await world.rate("r-1", 0.5, feedback_text="a hidden remark")

    assert [event["event"] for event in events] == ["call_failed", "answered", "answered", "feedback"]
    assert {event["request_id"] for event in events} == {"r-1", "r-2"}
    assert "hidden" not in str(events)


# --- X-Request-ID


async def test_the_first_path_requires_a_request_id(world: World) -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}]}

    response = await world.http.post("/chat/completions", json=body)

    assert response.status_code == 400
    assert error_of(response) == {
        "message": "X-Request-ID: header is required",
        "type": "invalid_request_error",
        "param": "X-Request-ID",
        "code": None,
    }
    assert world.model_client.calls == []


async def test_the_openai_path_makes_a_request_id_that_feedback_can_name(world: World) -> None:
    response = await world.ask()

    request_id = response.headers["X-Request-ID"]
    assert request_id.startswith("req_")
    assert (await world.rate(request_id, 1.0)).status_code == 202


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "bad", [b"x" * 129, b"two words", b"", "caf\u00e9".encode("latin-1"), b"tab\there"], ids=repr
)
async def test_a_malformed_request_id_is_refused(world: World, path: str, bad: bytes) -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}]}

    response = await world.http.post(path, json=body, headers={b"X-Request-ID": bad})

    assert response.status_code == 400
    error = error_of(response)
    assert error["param"] == "X-Request-ID"
    assert "must be 1 to 128 visible ASCII characters" in error["message"]
    assert len(error["message"]) < 200
    assert response.headers["X-Request-ID"].startswith("req_")


@pytest.mark.parametrize("unusual", ["x" * 128, "!~{}|\\^`\"'<>", "a/b?c=d&e#f%20", "0"])
async def test_an_unusual_request_id_is_echoed_and_finds_its_request(world: World, unusual: str) -> None:
    response = await world.ask(request_id=unusual)

    assert response.headers["X-Request-ID"] == unusual
    assert (await world.rate(unusual, 0.5)).json()["status"] == "applied"
    assert (await world.record(quote(unusual, safe="")))["request_id"] == unusual
    withdrawn = await world.http.delete(f"/feedback/{quote(unusual, safe='')}")
    assert withdrawn.json()["status"] == "withdrawn"


async def test_errors_carry_the_request_id_too(world: World) -> None:
    response = await world.ask(request_id="r-1", model="no-such-model")

    assert response.status_code == 404
    assert response.headers["X-Request-ID"] == "r-1"


# --- retries


async def test_a_retry_is_a_further_attempt_of_the_same_decision_on_the_same_arm(world: World) -> None:
    first = await world.ask("Hi", request_id="r-1")
    retries = [await world.ask("Hi", request_id="r-1") for _ in range(5)]

    assert {r.headers["X-Router-Model"] for r in retries} == {first.headers["X-Router-Model"]}
    assert {r.status_code for r in retries} == {200}
    assert len(world.store.decisions) == 1
    record = await world.record("r-1")
    assert [attempt["position"] for attempt in record["attempts"]] == [0, 1, 2, 3, 4, 5]
    assert world.store.sums["default"][record["model"]].n_outcomes == 1


async def test_a_retry_falls_back_when_its_arm_fails(world: World) -> None:
    first = await world.ask("Hi", request_id="r-1")
    world.model_client.will(first.headers["X-Router-Model"], Reply(error=BROKEN))

    retry = await world.ask("Hi", request_id="r-1")

    assert retry.status_code == 200
    assert retry.headers["X-Router-Decision"] == "fallback"
    assert len(world.store.decisions) == 1


# --- which model


@pytest.mark.parametrize(("name", "arm_id"), [("large", "large"), ("big", "large"), ("mini", "small")])
async def test_a_model_named_by_id_or_alias_answers_and_is_logged_with_propensity_one(
    world: World, name: str, arm_id: str
) -> None:
    response = await world.ask(request_id="r-1", model=name)

    assert response.headers["X-Router-Model"] == response.json()["model"] == arm_id
    assert response.headers["X-Router-Decision"] == "pinned"
    assert (await world.record("r-1"))["propensity"] == 1.0


@pytest.mark.parametrize("name", [None, "auto", "router/auto"])
async def test_these_names_leave_the_choice_to_the_router(world: World, name: str | None) -> None:
    response = await world.ask(model=name)

    assert response.status_code == 200
    assert response.headers["X-Router-Decision"] in {"exploit", "explore"}


async def test_an_unknown_model_is_not_found(world: World) -> None:
    response = await world.ask(model="acme-0")

    assert response.status_code == 404
    assert error_of(response) == {
        "message": "model 'acme-0' does not exist; there are: auto, small, medium, large",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }


async def test_a_pinned_model_that_fails_is_not_replaced_by_another(world: World) -> None:
    world.model_client.will("large", *[Reply(error=BROKEN)] * 3)

    response = await world.ask(model="large")

    assert response.status_code == 503
    assert world.model_client.called == ["large"] * 3


# --- options


async def test_explain_adds_the_decision_to_the_answer(world: World) -> None:
    answer = (await world.ask(router={"explain": True})).json()

    candidates = answer["router"]["candidates"]
    assert [candidate["model"] for candidate in candidates] == ["small", "medium", "large"]
    assert sum(candidate["probability"] for candidate in candidates) == pytest.approx(1)
    assert answer["router"]["draw"]["model"] == answer["model"]


async def test_explain_adds_the_decision_to_the_first_chunk_of_a_stream_only(world: World) -> None:
    events = events_of(await world.ask(stream=True, headers={"X-Router-Explain": "true"}))

    assert ["router" in event for event in events if isinstance(event, dict)] == [True] + [False] * 3


async def test_a_simulated_answer_says_so(tmp_path: Path, world: World) -> None:
    async with opened(tmp_path, SIMULATED_ARMS) as simulating:
        simulated = await simulating.ask()

    real = await world.ask()

    assert simulated.headers["X-Router-Simulated"] == "true"
    assert "X-Router-Simulated" not in real.headers


async def test_without_explain_an_answer_is_plain(world: World) -> None:
    assert "router" not in (await world.ask()).json()


async def test_the_providers_never_see_the_routers_own_options(world: World) -> None:
    await world.ask(router={"learn": False, "models": ["small"]}, temperature=0.5)

    assert "router" not in world.model_client.calls[0][1]
    assert world.model_client.calls[0][1]["temperature"] == 0.5


async def test_with_learn_off_feedback_is_stored_but_not_learned(world: World) -> None:
    await world.ask(request_id="r-1", router={"learn": False})
    before = await world.weigh("What is a bandit?")

    response = await world.rate("r-1", 0.0)

    assert response.json()["status"] == "not_learned"
    assert (await world.record("r-1"))["feedback"][0]["score"] == 0.0
    assert world.store.sums == {}
    assert await world.memory.count() == 0
    assert await world.weigh("What is a bandit?") == before


async def test_a_request_can_narrow_the_models(world: World) -> None:
    answers = [await world.ask(f"Question {i}", router={"models": ["big"]}) for i in range(5)]

    assert {answer.headers["X-Router-Model"] for answer in answers} == {"large"}


# --- requests that few or no models can answer


async def test_a_prompt_longer_than_every_window_is_refused_as_openai_does(world: World) -> None:
    response = await world.ask("word " * 100_000)

    assert response.status_code == 400
    error = error_of(response)
    assert error["code"] == "context_length_exceeded"
    assert error["param"] == "messages"
    assert "exceeds its window of 100000" in error["message"]
    assert len(error["message"]) < 1_000


async def test_a_long_prompt_goes_to_a_model_with_a_large_enough_window(world: World) -> None:
    response = await world.ask("word " * 20_000)

    assert response.headers["X-Router-Model"] == LARGE.arm_id


async def test_an_image_goes_to_a_model_with_vision(world: World) -> None:
    content = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:,"}},
    ]

    response = await world.http.post(
        "/v1/chat/completions", json={"messages": [{"role": "user", "content": content}]}
    )

    assert response.headers["X-Router-Model"] == LARGE.arm_id


async def test_a_price_that_no_model_meets_is_refused_with_every_reason(world: World) -> None:
    response = await world.ask(router={"max_cost_usd": 1e-9})

    assert response.status_code == 400
    error = error_of(response)
    assert error["code"] == "no_eligible_model"
    assert all(f"{arm.arm_id}: expected cost" in error["message"] for arm in (SMALL, MEDIUM, LARGE))
