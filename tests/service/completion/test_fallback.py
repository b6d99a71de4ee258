"""The limits of one request, which arm is called next, and faulty answers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from service.arms.eligibility import list_cost_usd
from service.domain.answer import Burst, Chunk
from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.query import Native
from service.errors import ProviderBroken, ProviderRateLimited, ProviderTimeout
from tests.fakes import ANY, FakeModelClient, FixedClock, Reply
from tests.service.completion.test_completion import query
from tests.service.world import LARGE, MEDIUM, SMALL, World, arm, error_of, events_of, opened, text_of

BROKEN = ProviderBroken("gone", status=500)
NOT_FOUND = ProviderBroken("no such model", status=404)  # which no second call mends
EMPTY = Reply(words=())
REFUSAL = Reply(words=("I'm sorry, but I can't help with that.",))
CUT_OFF = Reply(words=("It all began",), finish_reason="length")
FORM = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "number", "schema": FORM}}


class PingingClient(FakeModelClient):
    """A model that says one word, and then only that it is alive."""

    def __init__(self) -> None:
        super().__init__(FixedClock())

    async def stream(
        self, arm: Arm, body: Json, *, timeout_s: float, native: Native | None = None
    ) -> AsyncGenerator[Burst, None]:
        word = {"index": 0, "delta": {"role": "assistant", "content": "Hello"}, "finish_reason": None}
        yield [Chunk({"object": "chat.completion.chunk", "choices": [word]})]
        while True:
            await asyncio.sleep(0.01)
            yield [Chunk({"object": "chat.completion.chunk", "choices": []})]


async def attempts(world: World, request_id: str = "r-1") -> list[tuple[str, str, str | None]]:
    record = await world.record(request_id)
    return [(a["model"], a["status"], a["error_message"]) for a in record["attempts"]]


# --- the deadline


async def test_each_call_gets_what_the_deadline_has_left(tmp_path: Path) -> None:
    async with opened(tmp_path, request_deadline_s=100) as world:
        world.model_client.will(ANY, Reply(takes_s=45, error=BROKEN), Reply(takes_s=30, error=BROKEN))

        response = await world.ask()

    assert response.status_code == 200
    assert world.model_client.timeouts_s == [50, 27.5, 25]  # half, while another model could still answer


async def test_the_only_model_gets_all_that_the_deadline_has_left(tmp_path: Path) -> None:
    async with opened(tmp_path, [SMALL], request_deadline_s=100) as world:
        await world.ask()

    assert world.model_client.timeouts_s == [100]


async def test_a_model_with_a_longer_timeout_of_its_own_keeps_it(tmp_path: Path) -> None:
    arms = [replace(each, timeout_s=80) for each in (SMALL, LARGE)]
    async with opened(tmp_path, arms, request_deadline_s=100) as world:
        await world.ask()

    assert world.model_client.timeouts_s == [80]


@pytest.mark.parametrize("stream", [False, True])
async def test_what_a_model_produced_before_it_was_late_is_billed(tmp_path: Path, stream: bool) -> None:
    late = ProviderTimeout("late", has_begun=True)
    async with opened(tmp_path, [SMALL], max_attempts=1) as world:
        world.model_client.will(ANY, Reply(words=(), error=late))
        response = await world.ask("word " * 400, request_id="r-1", stream=stream)
        record = await world.record("r-1")

    assert response.status_code == 503
    [attempt] = record["attempts"]
    assert attempt["usage"]["prompt_tokens"] > 100
    assert attempt["usage"]["estimated"]
    assert attempt["cost_usd"] > 0
    assert record["outcome"]["cost_usd"] == attempt["cost_usd"]


async def test_a_request_that_never_reached_the_model_is_not_billed(tmp_path: Path) -> None:
    async with opened(tmp_path, [SMALL], max_attempts=1) as world:
        world.model_client.will(ANY, Reply(error=ProviderTimeout("no connection")))
        await world.ask("word " * 400, request_id="r-1")
        record = await world.record("r-1")

    assert record["attempts"][0]["cost_usd"] == 0


async def test_no_model_is_called_after_the_deadline(tmp_path: Path) -> None:
    async with opened(tmp_path, request_deadline_s=100) as world:
        world.model_client.will(ANY, Reply(takes_s=100, error=BROKEN))

        response = await world.ask(request_id="r-1")

        assert len(await attempts(world)) == 1
    assert response.status_code == 503
    assert "the time for a request is over (100 s)" in error_of(response)["message"]
    assert len(world.model_client.calls) == 1


@pytest.mark.parametrize("word", [(), ("",)], ids=["nothing", "only the role"])
async def test_the_deadline_bounds_the_time_to_a_streams_first_content(
    tmp_path: Path, word: tuple[str, ...]
) -> None:
    async with opened(tmp_path, request_deadline_s=0.05, max_attempts=1) as world:
        world.model_client.will(ANY, Reply(words=word, until=asyncio.Event()))

        response = await world.ask(stream=True)

    assert response.status_code == 503
    assert "gave no content within" in error_of(response)["message"]
    assert len(world.model_client.cancelled) == 1


async def test_a_stream_may_go_on_beyond_the_deadline(tmp_path: Path) -> None:
    async with opened(tmp_path, request_deadline_s=0.05) as world:
        goes_on = asyncio.Event()
        world.model_client.will(ANY, Reply(until=goes_on))
        asyncio.get_running_loop().call_later(0.1, goes_on.set)

        events = events_of(await world.ask(stream=True))

    assert text_of(events) == "Hello there."
    assert events[-1] == "[DONE]"
    assert world.model_client.timeouts_s == [60]  # for each further chunk


async def test_pings_after_the_first_content_are_no_life_for_ever(tmp_path: Path) -> None:
    """The model sends empty chunks and never ends."""
    silent = replace(SMALL, timeout_s=0.05)
    async with opened(tmp_path, [silent], request_deadline_s=0.2) as world:
        world.parts.completion = replace(world.parts.completion, model_client=PingingClient())
        response = await world.ask(stream=True, request_id="r-1")
        record = await world.record("r-1")

    assert '"content":"Hello"' in response.text
    assert "gave no content for 0.2 s" in response.text
    assert record["attempts"][0]["error_type"] == "ProviderTimeout"
    assert record["attempts"][0]["usage"]["completion_tokens"] > 0


@pytest.mark.parametrize(("taken_s", "n_failures"), [(80, 0), (45, 1)])
async def test_a_timeout_does_not_count_against_an_arm_that_had_little_time(
    tmp_path: Path, taken_s: float, n_failures: int
) -> None:
    async with opened(
        tmp_path, [SMALL, LARGE], request_deadline_s=100, min_confidence_score=1.0, propensity_floor=0.0
    ) as world:
        world.model_client.will("small", Reply(takes_s=taken_s, error=BROKEN))
        world.model_client.will("large", Reply(error=ProviderTimeout("late")))

        await world.ask()

        assert world.parts.catalog.breaker.state_of(LARGE).n_failures == n_failures


# --- one budget of calls


@pytest.mark.parametrize(("header", "n_calls"), [("0", 3), ("1", 2), ("2", 1), ("7", 1), ("-1", 3), ("x", 3)])
async def test_retries_of_the_client_reduce_the_retries_of_the_router(
    world: World, header: str, n_calls: int
) -> None:
    world.model_client.will(ANY, *[Reply(error=BROKEN)] * 3)

    response = await world.ask(headers={"X-Stainless-Retry-Count": header})

    assert response.status_code == 503
    assert len(world.model_client.calls) == n_calls


async def test_calls_under_the_same_id_share_one_budget(world: World) -> None:
    world.model_client.will(ANY, *[Reply(error=BROKEN)] * 9)

    called = []
    for _ in range(3):
        await world.ask(request_id="r-1")
        called.append(len(world.model_client.calls))

    assert called == [3, 4, 5]


@pytest.mark.parametrize(("retries", "n_calls"), [("0", 2), ("1", 2), ("3", 2), ("4", 1)])
async def test_of_reported_retries_and_logged_calls_the_larger_number_counts(
    tmp_path: Path, retries: str, n_calls: int
) -> None:
    async with opened(tmp_path, max_attempts=5) as world:
        world.model_client.will(ANY, *[Reply(error=BROKEN)] * 9)
        await world.ask(request_id="r-1")
        n_logged = len(world.model_client.calls)

        await world.ask(request_id="r-1", headers={"X-Stainless-Retry-Count": retries})

    assert n_logged == 3
    assert len(world.model_client.calls) - n_logged == n_calls


@pytest.mark.parametrize("stream", [False, True])
async def test_a_clock_that_is_set_back_during_a_call_gives_no_negative_times(
    world: World, stream: bool
) -> None:
    world.model_client.will(ANY, Reply(takes_s=-3_600.0))

    answer = await world.ask(request_id="r-1", stream=stream)
    record = await world.record("r-1")

    assert answer.status_code == 200
    assert record["attempts"][0]["latency_s"] == 0.0
    assert record["outcome"]["latency_s"] == 0.0
    assert record["outcome"]["overhead_s"] >= 0.0


# --- when to come back


async def test_retry_after_names_the_time_until_the_first_model_is_back(world: World) -> None:
    for arm_id, wait_s in (("small", 20), ("medium", 7), ("large", 30)):
        limited = ProviderRateLimited("slow down", status=429, retry_after_s=wait_s)
        world.model_client.will(arm_id, Reply(error=limited))

    response = await world.ask()

    assert (response.status_code, response.headers["Retry-After"]) == (429, "7")


async def cool_down(world: World) -> None:
    """Let `large` fail until it cools down, and wait until it may be tried again, while the others rest."""
    for each in (SMALL, MEDIUM):
        world.parts.catalog.breaker.failed(each, ProviderRateLimited("wait", retry_after_s=300))
    world.model_client.will("large", *[Reply(words=(), error=NOT_FOUND)] * 3)
    for _ in range(3):
        await world.ask()
    world.clock.advance(30)
    world.model_client.calls.clear()


@pytest.mark.parametrize("stream", [False, True])
async def test_of_many_requests_at_once_one_tries_a_half_open_arm(world: World, stream: bool) -> None:
    await cool_down(world)
    goes_on = asyncio.Event()
    world.model_client.will("large", Reply(words=(), until=goes_on, error=ProviderTimeout("late")))
    asking = [asyncio.create_task(world.ask(stream=stream)) for _ in range(5)]

    await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
    others = await asyncio.gather(*[world.ask() for _ in range(5)])
    goes_on.set()
    answers = await asyncio.gather(*asking)

    assert len(world.model_client.calls) == 1
    assert {answer.status_code for answer in [*others, *answers]} == {503}
    assert {answer.headers["Retry-After"] for answer in others} == {
        "2"
    }  # not until a trial ends at the latest
    world.clock.advance(30)
    assert (await world.ask()).headers["X-Router-Model"] == "large"


class Bug(Exception):
    """An unexpected error."""


async def test_a_bug_releases_the_trial(world: World) -> None:
    await cool_down(world)
    world.model_client.will("large", Reply(error=Bug()))
    assert (await world.ask(model="large")).status_code == 500

    response = await world.ask(model="large")

    assert response.status_code == 200


# --- requests that are refused


@pytest.mark.parametrize("model", ["auto", "large"])
async def test_a_request_refused_because_every_arm_is_cooling_down_is_logged(
    world: World, model: str
) -> None:
    for each in world.parts.catalog.arms:
        world.parts.catalog.breaker.failed(each, ProviderRateLimited("wait", retry_after_s=60))

    with capture_logs() as logs:
        response = await world.ask(request_id="r-1", model=model)
        record = await world.record("r-1")

    assert (response.status_code, response.headers["Retry-After"]) == (429, "60")
    assert (record["outcome"]["status"], record["attempts"]) == ("failed", [])
    assert record["decision"] == ("pinned" if model == "large" else "default")
    assert record["rejected"][-1]["reason"] == "cooling down for 60 s more: its provider asked to wait"
    logged = [(line["event"], line["status"]) for line in logs]
    assert logged == [("not_answered", "failed"), ("refused", 429)]
    assert world.model_client.calls == []
    metrics = (await world.http.get("/metrics")).text
    assert 'status="failed"} 1.0' in metrics
    assert "router_latency_seconds_count" not in metrics


async def test_the_retry_of_a_refused_request_is_decided_again(world: World) -> None:
    for each in world.parts.catalog.arms:
        world.parts.catalog.breaker.failed(each, ProviderRateLimited("wait", retry_after_s=60))
    await world.ask(request_id="r-1")
    world.clock.advance(60)

    response = await world.ask(request_id="r-1")

    assert response.status_code == 200
    assert len(world.store.decisions) == 1
    assert [status for _, status, _ in await attempts(world)] == ["ok"]


# --- answers without content


@pytest.mark.parametrize("stream", [False, True])
async def test_an_empty_answer_is_returned_when_no_better_one_comes(world: World, stream: bool) -> None:
    broken = Reply(words=(), error=BROKEN)
    world.model_client.will(ANY, EMPTY, broken, broken)

    response = await world.ask(request_id="r-1", stream=stream)

    assert response.status_code == 200
    first, *others = await attempts(world)
    record = await world.record("r-1")
    assert first == (response.headers["X-Router-Model"], "ok", None)
    assert [status for _, status, _ in others] == ["failed", "failed"]
    assert record["outcome"]["model"] == first[0]
    assert response.headers["X-Router-Decision"] == record["decision"]


async def test_an_empty_answer_is_not_cached(tmp_path: Path) -> None:
    async with opened(tmp_path, cache_enabled=True) as world:
        world.model_client.will("large", EMPTY)

        answers = [await world.ask(model="large") for _ in range(2)]

    assert [answer.headers["X-Router-Decision"] for answer in answers] == ["pinned", "pinned"]


@pytest.mark.parametrize(
    "reply",
    [
        Reply(words=(), message={"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{}"}}]}),
        Reply(words=(), message={"refusal": "No."}),
        Reply(words=(), finish_reason="length"),
        Reply(words=(), finish_reason="content_filter"),
        Reply(words=(), message={"blocks": ["server_tool_use"]}),
    ],
    ids=["tool call", "refusal", "limit", "filter", "block of the dialect's own"],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_without_text_is_not_always_empty(world: World, reply: Reply, stream: bool) -> None:
    world.model_client.will(ANY, reply)

    await world.ask(request_id="r-1", stream=stream)

    assert [status for _, status, _ in await attempts(world)] == ["ok"]


async def test_a_model_that_keeps_answering_nothing_cools_down(world: World) -> None:
    for each in (SMALL, MEDIUM):
        world.parts.catalog.breaker.failed(each, ProviderRateLimited("wait", retry_after_s=300))
    world.model_client.will("large", *[EMPTY] * 3)

    answers = [await world.ask() for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 503]


# --- escalation


def rated(arm_id: str, quality: float, price: str = "1.00") -> Arm:
    """An arm with this expected quality."""
    return arm(arm_id, price, 100_000, prior_quality=quality, prior_mass=50.0)


@asynccontextmanager
async def escalating(folder: Path, *, lookahead_s: float = 60.0, **knobs: Any) -> AsyncIterator[World]:
    """`first` is always called first; of the others only `strong` has a higher expected reward."""
    arms = [rated("first", 0.5), rated("weak", 0.3), rated("strong", 0.9, "4.00")]
    sure = {"min_confidence_score": 1.0, "propensity_floor": 0.0}
    async with opened(
        folder, arms, escalation=True, escalation_hold_s=lookahead_s, **{**sure, **knobs}
    ) as world:
        yield world


FAULTY: list[Any] = [
    pytest.param(EMPTY, {}, "empty", id="empty"),
    pytest.param(REFUSAL, {}, "refusal", id="refused"),
    pytest.param(CUT_OFF, {}, "truncated", id="cut off"),
    pytest.param(Reply(words=("four",)), {"response_format": SCHEMA}, "invalid_schema", id="invalid schema"),
]
GOOD = Reply(words=('{"n":', "4}"))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("faulty", "body", "fault"), FAULTY)
async def test_a_stronger_arm_is_called_when_an_answer_is_faulty(
    tmp_path: Path, faulty: Reply, body: Json, fault: str, stream: bool
) -> None:
    async with escalating(tmp_path) as world:
        world.model_client.will("first", faulty)
        world.model_client.will("strong", GOOD)

        response = await world.ask(request_id="r-1", stream=stream, **body)
        record = await world.record("r-1")

    assert (response.status_code, response.headers["X-Router-Decision"]) == (200, "escalated")
    text = text_of(events_of(response)) if stream else response.json()["choices"][0]["message"]["content"]
    assert text == '{"n":4}'
    first, second = record["attempts"]
    assert (first["model"], first["status"], first["error_type"]) == ("first", "failed", "ProviderFellShort")
    assert first["error_message"] == fault
    assert first["cost_usd"] > 0
    assert (second["model"], second["status"], second["propensity"]) == ("strong", "ok", 1.0)
    assert (record["outcome"]["decision"], record["outcome"]["model"]) == ("escalated", "strong")
    assert record["outcome"]["cost_usd"] == pytest.approx(first["cost_usd"] + second["cost_usd"])
    assert [(signal["signal"], signal["model"]) for signal in record["signals"]] == [(fault, "first")]


async def test_a_faulty_answer_is_returned_if_nobody_knows_what_a_limit_leaves_for_a_better_one(
    tmp_path: Path,
) -> None:
    async with escalating(tmp_path, limits={"tenants": {"default": {"usd": "5/day"}}}) as world:
        may_end = asyncio.Event()
        world.model_client.will("first", replace(REFUSAL, until=may_end))
        asking = asyncio.create_task(world.ask())
        await world.model_client.call_started.wait()
        world.store.is_down = True
        may_end.set()

        response = await asking

    assert response.status_code == 200
    assert response.json()["choices"][0]["message"]["content"] == REFUSAL.words[0]


async def test_the_cost_of_an_arm_is_learned_from_its_own_calls(tmp_path: Path) -> None:
    async with escalating(tmp_path) as world:
        world.model_client.will("first", REFUSAL)
        world.model_client.will("strong", GOOD)

        await world.ask(request_id="r-1")
        await world.rate("r-1", 1.0)
        _, answering = (await world.record("r-1"))["attempts"]

    own_usd = answering["cost_usd"]
    assert float(world.store.sums["default"]["strong"].cost_usd_sum) == pytest.approx(own_usd)
    (remembered,) = world.memory.points.values()
    assert remembered.arm_id == "strong"
    assert remembered.cost_usd == pytest.approx(own_usd)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("faulty", "body", "fault"), FAULTY[1:])
async def test_escalation_is_off_by_default(
    world: World, faulty: Reply, body: Json, fault: str, stream: bool
) -> None:
    world.model_client.will(ANY, faulty)

    response = await world.ask(stream=stream, **body)

    assert response.status_code == 200
    assert len(world.model_client.calls) == 1


async def test_escalation_never_calls_an_arm_that_the_budget_bars(tmp_path: Path) -> None:
    budget, n = Decimal("0.00045"), 60  # half as much again as an answer of `first` costs
    async with escalating(tmp_path, budget_usd_per_request=budget) as world:
        world.model_client.will("first", *[REFUSAL] * n)
        for _ in range(n):
            await world.ask()
        arms = Counter(outcome.arm_id for outcome in world.store.outcomes.values())
        spent = sum((outcome.cost_usd or 0 for outcome in world.store.outcomes.values()), Decimal(0))

    assert arms.keys() == {"first", "strong"}
    assert spent <= budget * (n + 16)


async def test_an_answer_truncated_at_the_clients_own_limit_is_no_fault(tmp_path: Path) -> None:
    async with escalating(tmp_path) as world:
        world.model_client.will("first", CUT_OFF)

        response = await world.ask(max_tokens=5)

    assert response.headers["X-Router-Model"] == "first"


@pytest.mark.parametrize("stream", [False, True])
async def test_when_the_stronger_arm_fails_the_first_answer_is_returned(tmp_path: Path, stream: bool) -> None:
    async with escalating(tmp_path, max_attempts=2) as world:
        world.model_client.will("first", REFUSAL)
        world.model_client.will("strong", Reply(words=(), error=BROKEN))

        response = await world.ask(request_id="r-1", stream=stream)
        record = await world.record("r-1")

    assert (response.status_code, response.headers["X-Router-Model"]) == (200, "first")
    assert response.headers["X-Router-Decision"] == record["outcome"]["decision"] == "default"
    assert [(a["model"], a["status"]) for a in record["attempts"]] == [("first", "ok"), ("strong", "failed")]
    assert record["outcome"]["answer_chars"] == len(REFUSAL.words[0])
    assert record["outcome"]["status"] == "ok"
    assert {(signal["signal"], signal["model"]) for signal in record["signals"]} == {
        ("refusal", "first"),
        ("provider_error", "strong"),
    }


async def test_a_weaker_arm_is_not_called(tmp_path: Path) -> None:
    async with escalating(tmp_path) as world:
        world.model_client.will("strong", REFUSAL)

        response = await world.ask(router={"models": ["strong", "weak"]})

    assert (response.headers["X-Router-Model"], world.model_client.called) == ("strong", ["strong"])


async def test_an_arm_that_the_client_named_is_not_replaced(tmp_path: Path) -> None:
    async with escalating(tmp_path) as world:
        world.model_client.will("first", REFUSAL)

        response = await world.ask(model="first")

    assert response.headers["X-Router-Decision"] == "pinned"
    assert world.model_client.called == ["first"]


async def test_a_request_that_is_held_out_is_answered_by_the_default_model_alone(tmp_path: Path) -> None:
    async with escalating(tmp_path, holdout_share=0.5, min_confidence_score=0.0) as world:
        world.model_client.will("first", *[REFUSAL] * 20)
        for i in range(20):
            await world.ask(request_id=f"r-{i}")
        records = [await world.record(f"r-{i}") for i in range(20)]

    held_out = [record for record in records if record["holdout"]]
    assert len(held_out) > 3
    assert {len(record["attempts"]) for record in held_out} == {1}


@pytest.mark.parametrize(("cap_usd", "called"), [(0.0050, ["first"]), (0.0052, ["first", "strong"])])
async def test_the_cost_cap_applies_to_all_calls_together(
    tmp_path: Path, cap_usd: float, called: list[str]
) -> None:
    """`first` took 0.0003 dollars for its faulty answer, `strong` is expected to cost about 0.0048 alone."""
    async with escalating(tmp_path) as world:
        world.model_client.will("first", REFUSAL)

        await world.ask(router={"max_cost_usd": cap_usd})

    assert world.model_client.called == called


@pytest.mark.parametrize(("beyond", "called"), [(0, ["first", "strong"]), (1, ["first"])])
async def test_the_cost_cap_is_exact_for_all_calls_together(
    tmp_path: Path, beyond: int, called: list[str]
) -> None:
    async with escalating(tmp_path) as world:
        world.model_client.will("first", REFUSAL, REFUSAL)
        await world.ask("Hi", request_id="r-1", model="first")
        spent = Decimal(str((await world.record("r-1"))["attempts"][0]["cost_usd"]))
        strong = next(a for a in world.parts.catalog.arms if a.arm_id == "strong")
        exact = spent + list_cost_usd(strong, query("r-2"))
        cap = exact - beyond * Decimal("1e-30")

        await world.ask("Hi", router={"max_cost_usd": f"{cap:f}"})

    assert world.model_client.called[1:] == called


@pytest.mark.parametrize("lookahead_s", [0.0, 0.05])
async def test_a_stream_that_takes_longer_than_the_lookahead_is_sent(
    tmp_path: Path, lookahead_s: float
) -> None:
    async with escalating(tmp_path, lookahead_s=lookahead_s) as world:
        goes_on = asyncio.Event()
        world.model_client.will("first", Reply(words=REFUSAL.words, until=goes_on))
        asyncio.get_running_loop().call_later(0.2, goes_on.set)

        response = await world.ask(stream=True)

    assert text_of(events_of(response)) == REFUSAL.words[0]
    assert events_of(response)[-1] == "[DONE]"
    assert world.model_client.called == ["first"]


async def test_a_stream_that_fails_during_the_lookahead_is_replaced(tmp_path: Path) -> None:
    async with escalating(tmp_path) as world:
        world.model_client.will("first", Reply(words=("Half an",), error=BROKEN))

        response = await world.ask(stream=True)

    assert response.headers["X-Router-Decision"] == "fallback"
    assert text_of(events_of(response)) == "Hello there."


async def test_a_client_that_disconnects_during_the_lookahead_cancels_the_call(tmp_path: Path) -> None:
    async with escalating(tmp_path) as world:
        world.model_client.will("first", Reply(until=asyncio.Event()))
        asking = asyncio.create_task(world.parts.completion.stream(query(stream=True)))
        await world.model_client.call_started.wait()
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait({asking})
        await world.background.drain(5.0)

        [attempt] = world.store.attempts.values()

    assert world.model_client.cancelled == ["first"]
    assert attempt.status == "cancelled"


async def test_no_stronger_arm_is_called_after_the_deadline(tmp_path: Path) -> None:
    async with escalating(tmp_path, request_deadline_s=50) as world:
        world.model_client.will("first", Reply(words=REFUSAL.words, takes_s=50))

        response = await world.ask()

    assert (response.status_code, world.model_client.called) == (200, ["first"])
