from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from bandit.budget import PURSE_START
from service.background import Background
from service.completion.completion import Completion, Streaming
from service.completion.model_call import MAX_TEXT_BYTES, ModelCall
from service.completion.streaming import MAX_EMPTY_CHUNKS
from service.dialects.chat.requests import read_query
from service.dialects.received import Received
from service.domain.answer import Attempt, Chunk, Outcome, Usage
from service.domain.arm import Arm
from service.domain.basics import Json, Vector
from service.domain.decision import Decision
from service.domain.query import Query
from service.domain.usage import cost_usd
from service.errors import AllArmsFailed, ProviderBroken, ProviderRateLimited, RequestConflict, UnknownModel
from tests.fakes import ANY, USAGE, FakeEncoder, FakeJournal, FakeStore, Reply
from tests.service.world import LARGE, MEDIUM, SMALL, World, opened

BROKEN = ProviderBroken("gone", status=500)
NOT_FOUND = ProviderBroken("no such model", status=404)  # which no second call mends
BUDGET = Decimal("0.001")


class GatedJournal(FakeJournal):
    """A journal whose commits wait for an event."""

    def __init__(self, store: FakeStore) -> None:
        super().__init__(store)
        self.deciding = asyncio.Event()  # set: a decision waits
        self.decisions = asyncio.Event()  # set: decisions are committed
        self.finishing = asyncio.Event()
        self.outcomes = asyncio.Event()

    async def log_decision(self, decision: Decision) -> None:
        self.deciding.set()
        await self.decisions.wait()
        await super().log_decision(decision)

    async def log_outcome(self, outcome: Outcome, attempts: Sequence[Attempt]) -> None:
        self.finishing.set()
        await self.outcomes.wait()
        await super().log_outcome(outcome, attempts)


class GatedEncoder(FakeEncoder):
    """An encoder that waits for an event."""

    def __init__(self) -> None:
        super().__init__()
        self.encoding = asyncio.Event()
        self.goes_on = asyncio.Event()

    def cached(self, text: str) -> None:
        return None

    async def encode(self, text: str) -> Vector:
        self.encoding.set()
        await self.goes_on.wait()
        return await super().encode(text)


def query(request_id: str = "r-1", **body: Any) -> Query:
    return read_query(
        orjson.dumps({"messages": [{"role": "user", "content": "Hi"}], **body}),
        Received(
            headers={},
            tenant="default",
            request_id=request_id,
            request_id_given=True,
            received_at=datetime(2026, 11, 20, tzinfo=UTC),
        ),
    )


@pytest.fixture
def completion(world: World) -> Completion:
    return world.parts.completion


@pytest.fixture
def gated(world: World) -> GatedJournal:
    return GatedJournal(world.store)


@pytest.fixture
def slow(completion: Completion, gated: GatedJournal) -> Completion:
    """A completion whose decisions wait until they are committed."""
    gated.outcomes.set()
    return replace(completion, journal=gated)


def attempts(world: World) -> list[Attempt]:
    return sorted(world.store.attempts.values(), key=lambda attempt: attempt.position)


def with_arms(completion: Completion, *arms: Arm) -> Completion:
    """The same service with other arms."""
    catalog = replace(completion.catalog, arms=arms, default_arm_id=arms[0].arm_id)
    router = replace(completion.router, catalog=catalog)
    untried = replace(completion.fallback.untried, catalog=catalog)
    calls = replace(completion.fallback, catalog=catalog, untried=untried)
    return replace(completion, catalog=catalog, router=router, fallback=calls)


async def whole(streaming: Streaming) -> list[Chunk]:
    return [chunk async for burst in streaming.bursts for chunk in burst]


async def until_cancelled(task: asyncio.Task[Any], background: Background) -> None:
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    await background.drain(5.0)


# --- the same id at the same time


async def test_two_requests_with_the_same_id_at_the_same_time_are_one_decision(
    world: World, slow: Completion, gated: GatedJournal
) -> None:
    asking = [asyncio.create_task(slow.complete(query())) for _ in range(2)]
    await gated.deciding.wait()
    gated.decisions.set()

    answers = await asyncio.gather(*asking)

    assert len(world.store.decisions) == 1
    [decision] = world.store.decisions.values()
    assert {answer.head.arm_id for answer in answers} == {decision.arm_id}
    assert [attempt.decision_id for attempt in attempts(world)] == [decision.decision_id] * 3
    assert len(world.model_client.calls) == 3  # one of them before its decision was refused


async def test_two_streams_with_the_same_id_leave_no_call_behind(
    world: World, slow: Completion, gated: GatedJournal
) -> None:
    asking = [asyncio.create_task(slow.stream(query())) for _ in range(2)]
    await gated.deciding.wait()
    gated.decisions.set()

    streams = await asyncio.gather(*asking)

    chunks = [await whole(stream) for stream in streams]
    assert [len(answer) for answer in chunks] == [5, 5]
    assert len(world.model_client.calls) == 3  # one of them before its decision was refused
    assert len(world.model_client.cancelled) == 1


async def test_of_two_different_requests_with_the_same_id_one_is_a_conflict(
    world: World, slow: Completion, gated: GatedJournal
) -> None:
    strict = replace(slow, allows_reused_request_ids=False)
    asking = [asyncio.create_task(strict.complete(query(seed=seed))) for seed in (1, 2)]
    await gated.deciding.wait()
    gated.decisions.set()

    results = await asyncio.gather(*asking, return_exceptions=True)

    assert [type(result) for result in results].count(RequestConflict) == 1
    assert len(world.store.decisions) == len(world.store.outcomes) == 1


async def test_of_different_requests_with_the_same_id_at_the_same_time_each_has_its_own_decision(
    world: World, slow: Completion, gated: GatedJournal
) -> None:
    renamed: list[str] = []
    queries = [replace(query(seed=seed), _on_new_id=renamed.append) for seed in (1, 1, 2, 2, 3)]
    asking = [asyncio.create_task(slow.complete(one)) for one in queries]
    await gated.deciding.wait()
    gated.decisions.set()

    results = await asyncio.gather(*asking)

    by_body = [result.head.decision_id for result in results]
    assert by_body[0] == by_body[1] != by_body[2] == by_body[3] != by_body[4]
    ids = {decision.query.request_id for decision in world.store.decisions.values()}
    assert len(ids) == len(world.store.decisions) == len(world.store.outcomes) == 3
    assert set(renamed) < ids
    assert [result.head.request_id for result in results] == [
        world.store.decisions[decision_id].query.request_id for decision_id in by_body
    ]


async def test_two_requests_with_the_same_id_may_both_be_answered_from_the_cache(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path, cache_enabled=True) as world:
        await world.parts.completion.complete(query("r-0"))
        gated = GatedJournal(world.store)
        gated.outcomes.set()
        slow = replace(world.parts.completion, journal=gated)
        asking = [asyncio.create_task(slow.complete(query("r-1"))) for _ in range(2)]
        await gated.deciding.wait()
        gated.decisions.set()

        answers = await asyncio.gather(*asking)

    assert [answer.head.kind for answer in answers] == ["cache", "cache"]
    assert len(world.store.decisions) == len(world.store.outcomes) == 2


# --- clients that disconnect


async def test_a_client_that_disconnects_before_the_answer_cancels_the_call(
    world: World, completion: Completion
) -> None:
    world.model_client.will(ANY, Reply(until=asyncio.Event()))
    asking = asyncio.create_task(completion.complete(query()))
    await world.model_client.call_started.wait()

    await until_cancelled(asking, world.background)

    assert world.model_client.cancelled == world.model_client.called
    [attempt] = attempts(world)
    assert attempt.status == "cancelled"
    assert attempt.usage.estimated
    assert next(iter(world.store.outcomes.values())).status == "cancelled"


async def test_a_client_that_disconnects_before_the_first_content_of_a_stream_cancels_the_call(
    world: World, completion: Completion
) -> None:
    world.model_client.will(ANY, Reply(words=(), until=asyncio.Event()))
    asking = asyncio.create_task(completion.stream(query(stream=True)))
    await world.model_client.call_started.wait()

    await until_cancelled(asking, world.background)

    assert world.model_client.cancelled == world.model_client.called
    assert [attempt.status for attempt in attempts(world)] == ["cancelled"]


async def test_a_client_that_disconnects_mid_stream_pays_for_the_tokens_written(
    world: World, completion: Completion
) -> None:
    world.model_client.will(ANY, Reply(words=("Half an", " answer"), until=asyncio.Event()))
    streaming = await completion.stream(query(stream=True))

    async with aclosing(streaming.bursts):
        await anext(streaming.bursts)
        await anext(streaming.bursts)
    await world.background.drain(5.0)

    [attempt] = attempts(world)
    assert world.model_client.cancelled == [attempt.arm_id]
    assert attempt.status == "cancelled"
    assert attempt.usage.completion_tokens == 4  # of 14 bytes
    assert (attempt.cost_usd or 0) > 0


@pytest.mark.parametrize(
    ("delta", "tokens"), [({"reasoning_content": "x" * 40}, 10), ({"reasoning": "x" * 40}, 10)]
)
async def test_a_client_that_disconnects_during_thinking_pays_for_the_thinking(
    world: World, completion: Completion, delta: Json, tokens: int
) -> None:
    world.model_client.will(ANY, Reply(words=(), message=delta, until=asyncio.Event()))
    streaming = await completion.stream(query(stream=True))

    await streaming.bursts.aclose()

    await world.background.drain(5.0)
    [attempt] = attempts(world)
    assert attempt.usage.completion_tokens == tokens


def test_an_interrupted_call_uses_the_counted_tokens_and_estimates_the_rest() -> None:
    call = ModelCall(query(), SMALL, 1.0, started_at=datetime(2026, 11, 20, tzinfo=UTC))
    begun = Usage(prompt_tokens=1_000, cached_tokens=900, completion_tokens=1)
    for body, usage in (({}, begun), ({"choices": [{"delta": {"content": "x" * 40}}]}, None)):
        call.received_burst([Chunk(body, usage)], call.started_at)

    assert call.counted() == replace(begun, completion_tokens=10, estimated=True)


async def test_a_stream_closed_unread_is_cancelled_and_logged(world: World, completion: Completion) -> None:
    world.model_client.will(ANY, Reply(words=("Half an",), until=asyncio.Event()))
    streaming = await completion.stream(query(stream=True))

    await streaming.bursts.aclose()

    await world.background.drain(5.0)
    [attempt] = attempts(world)
    assert world.model_client.cancelled == [attempt.arm_id]
    assert attempt.status == "cancelled"
    assert (attempt.cost_usd or 0) > 0


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_disconnects_while_the_decision_is_committed_is_logged(
    world: World, slow: Completion, gated: GatedJournal, stream: bool
) -> None:
    world.model_client.will(ANY, Reply(words=("Done.",)))
    ask = slow.stream if stream else slow.complete
    asking: asyncio.Task[Any] = asyncio.create_task(ask(query(stream=stream)))
    await gated.deciding.wait()
    await world.model_client.call_started.wait()
    asking.cancel()
    await asyncio.wait({asking})
    gated.decisions.set()

    await world.background.drain(5.0)

    assert len(world.store.decisions) == 1
    [attempt] = attempts(world)
    # A whole answer that came at once is committed together with its decision.
    assert attempt.status == ("cancelled" if stream else "ok")
    assert (attempt.cost_usd or 0) > 0
    assert world.model_client.cancelled == ([attempt.arm_id] if stream else [])


async def test_the_decision_is_written_while_a_slow_model_answers(
    world: World, completion: Completion
) -> None:
    goes_on = asyncio.Event()
    world.model_client.will(ANY, Reply(words=("Done.",), until=goes_on))
    asking = asyncio.create_task(completion.complete(query()))

    async with asyncio.timeout(5.0):
        while not world.store.decisions:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.001)

    assert not asking.done()
    goes_on.set()
    assert (await asking).head.request_id == "r-1"


async def test_a_client_that_disconnects_while_the_outcome_is_committed_does_not_undo_it(
    world: World, slow: Completion, gated: GatedJournal
) -> None:
    gated.decisions.set()
    gated.outcomes.clear()
    asking = asyncio.create_task(slow.complete(query()))
    await gated.finishing.wait()
    asking.cancel()
    await asyncio.wait({asking})
    gated.outcomes.set()

    await world.background.drain(5.0)

    assert [attempt.status for attempt in attempts(world)] == ["ok"]
    assert next(iter(world.store.outcomes.values())).status == "ok"


async def test_a_cancelled_call_does_not_count_against_the_arm(world: World, completion: Completion) -> None:
    for i in range(5):
        world.model_client.call_started.clear()
        world.model_client.will("large", Reply(until=asyncio.Event()))
        asking = asyncio.create_task(completion.complete(query(f"r-{i}", model="large")))
        await world.model_client.call_started.wait()
        await until_cancelled(asking, world.background)

    answered = await completion.complete(query("r-9", model="large"))

    assert answered.head.arm_id == "large"


# --- commit before answer


@pytest.mark.parametrize("stream", [False, True])
async def test_no_answer_begins_before_its_decision_is_committed(
    slow: Completion, gated: GatedJournal, world: World, stream: bool
) -> None:
    ask = slow.stream if stream else slow.complete
    asking: asyncio.Task[Any] = asyncio.create_task(ask(query(stream=stream)))
    await gated.deciding.wait()
    await world.model_client.call_started.wait()

    done, _ = await asyncio.wait({asking}, timeout=0.01)

    assert not done
    gated.decisions.set()
    answer = await asking
    assert answer.head.request_id == "r-1"
    assert len(world.store.decisions) == 1


async def test_waiting_for_the_commit_does_not_count_as_the_models_time(
    slow: Completion, gated: GatedJournal, world: World
) -> None:
    world.model_client.will(ANY, Reply(takes_s=0.25))
    asking = asyncio.create_task(slow.complete(query()))
    await gated.deciding.wait()
    await world.model_client.call_started.wait()
    await asyncio.sleep(0)
    world.clock.advance(3.0)
    gated.decisions.set()

    await asking

    assert attempts(world)[0].latency_s == 0.25


# --- odd answers


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "odd",
    [
        {"tool_calls": ["x"]},
        {"tool_calls": {"a": 1}},
        {"tool_calls": [{"function": "f"}]},
        {"tool_calls": [{"function": {"arguments": {"a": 1}}}]},
        {"content": [{"type": "text"}]},
        {"refusal": 5},
    ],
    ids=range(6),
)
async def test_an_oddly_shaped_message_is_passed_on_unchanged(
    world: World, stream: bool, odd: dict[str, Any]
) -> None:
    world.model_client.will(ANY, Reply(words=("Hm.",), message=odd))

    response = await world.ask(stream=stream)

    assert response.status_code == 200
    assert orjson.dumps(odd)[1:-1] in response.content


async def test_tool_calls_count_as_content_and_as_tokens(world: World, completion: Completion) -> None:
    call = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": "x" * 40}}
    world.model_client.will(ANY, Reply(words=(), message={"tool_calls": [call]}, until=asyncio.Event()))
    streaming = await completion.stream(query(stream=True))

    async with aclosing(streaming.bursts):
        *_, first = await anext(streaming.bursts)
    await world.background.drain(5.0)

    assert first.body["choices"][0]["delta"]["tool_calls"] == [call]
    assert attempts(world)[0].usage.completion_tokens == 10
    assert attempts(world)[0].ttft_s is not None


# --- falling back


async def test_a_fallback_is_drawn_by_its_probability_among_the_untried_arms(
    world: World, completion: Completion
) -> None:
    world.model_client.will(ANY, Reply(error=BROKEN), Reply(error=BROKEN))

    await completion.complete(query())

    [decision] = world.store.decisions.values()
    weighed = {candidate.arm_id: candidate.probability for candidate in decision.candidates}
    first, second, third = attempts(world)
    assert first.propensity == decision.propensity == weighed[first.arm_id]
    assert second.propensity == pytest.approx(weighed[second.arm_id] / (1 - weighed[first.arm_id]))
    assert third.propensity == pytest.approx(1)
    assert {first.arm_id, second.arm_id, third.arm_id} == {"small", "medium", "large"}


async def test_an_arm_that_is_cooling_down_is_not_drawn(world: World, completion: Completion) -> None:
    for arm_id in ("small", "medium"):
        world.model_client.will(
            arm_id, Reply(error=ProviderRateLimited("wait", status=429, retry_after_s=60))
        )
    for i, arm_id in enumerate(("small", "medium")):
        with pytest.raises(AllArmsFailed):
            await completion.complete(query(f"p-{i}", model=arm_id))

    answers = [await completion.complete(query(f"r-{i}")) for i in range(5)]

    assert {answer.head.arm_id for answer in answers} == {"large"}
    assert {answer.head.kind for answer in answers} == {"exploit"}


async def test_an_arm_that_is_cooling_down_since_it_was_drawn_is_passed_over(
    world: World, completion: Completion
) -> None:
    first = await completion.complete(query())
    arm = world.parts.catalog.find(first.head.arm_id)
    world.parts.catalog.breaker.failed(arm, ProviderRateLimited("wait", status=429, retry_after_s=60))

    retry = await completion.complete(query())

    assert retry.head.arm_id != first.head.arm_id
    assert retry.head.kind == "fallback"
    assert world.model_client.called.count(first.head.arm_id) == 1


async def test_an_arm_that_may_not_answer_since_it_was_drawn_is_passed_over(
    world: World, completion: Completion
) -> None:
    catalog = world.parts.catalog
    first = await completion.complete(query())
    gone = catalog.find(first.head.arm_id)
    others = [replace(arm, data_use=frozenset({"eu"})) for arm in catalog.arms if arm is not gone]
    catalog.put([gone, *others], {})
    catalog.required_data_use = frozenset({"eu"})

    retry = await completion.complete(query())

    assert retry.head.arm_id != gone.arm_id
    assert retry.head.kind == "fallback"


async def test_the_fallback_never_calls_an_arm_that_may_not_answer(
    world: World, completion: Completion
) -> None:
    first = await completion.complete(query())
    world.parts.catalog.required_data_use = frozenset({"eu"})

    with pytest.raises(AllArmsFailed, match=f"{first.head.arm_id}: its provider does not promise eu"):
        await completion.complete(query())

    assert len(world.model_client.called) == 1


def rest_all_but_large(world: World) -> None:
    """Let every other model cool down, so that `large` is called."""
    for each in (SMALL, MEDIUM):
        world.parts.catalog.breaker.failed(each, ProviderRateLimited("wait", retry_after_s=300))


async def test_an_arm_that_keeps_failing_cools_down_and_is_then_tried_once(
    world: World, completion: Completion
) -> None:
    rest_all_but_large(world)
    world.model_client.will("large", *[Reply(error=NOT_FOUND)] * 4)
    for i in range(3):
        with pytest.raises(AllArmsFailed):
            await completion.complete(query(f"r-{i}"))

    with pytest.raises(AllArmsFailed, match="is cooling down"):
        await completion.complete(query("r-3"))
    world.clock.advance(31)
    with pytest.raises(AllArmsFailed, match="no such model"):
        await completion.complete(query("r-4"))
    world.clock.advance(31)
    answered = await completion.complete(query("r-5"))

    assert answered.head.arm_id == "large"
    assert len(world.model_client.calls) == 5


async def test_a_model_that_keeps_failing_mid_stream_cools_down(world: World, completion: Completion) -> None:
    rest_all_but_large(world)
    world.model_client.will("large", *[Reply(words=("Half an",), error=BROKEN)] * 3)
    for i in range(3):
        streaming = await completion.stream(query(f"r-{i}", stream=True))
        with pytest.raises(ProviderBroken):
            await whole(streaming)

    with pytest.raises(AllArmsFailed, match="is cooling down"):
        await completion.stream(query("r-3", stream=True))


async def test_a_completed_stream_resets_the_count_of_failures(world: World, completion: Completion) -> None:
    dying = Reply(words=("Half an",), error=BROKEN)
    world.model_client.will("large", dying, dying, Reply(), dying)
    for i in range(4):
        with suppress(ProviderBroken):
            await whole(await completion.stream(query(f"r-{i}", model="large", stream=True)))

    state = world.parts.catalog.breaker.state_of(LARGE)
    assert (state.n_failures, state.condition) == (1, "closed")


async def test_a_cancelled_trial_stream_allows_the_next_trial(world: World, completion: Completion) -> None:
    rest_all_but_large(world)
    world.model_client.will("large", *[Reply(error=NOT_FOUND)] * 3)
    for i in range(3):
        with pytest.raises(AllArmsFailed):
            await completion.complete(query(f"r-{i}"))
    world.clock.advance(31)
    trial = await completion.stream(query("r-3", stream=True))
    with pytest.raises(AllArmsFailed, match="one call is testing it"):
        await completion.stream(query("r-4", stream=True))
    async with aclosing(trial.bursts):
        await anext(trial.bursts)

    streaming = await completion.stream(query("r-5", stream=True))

    assert len(await whole(streaming)) == 5


async def test_arms_of_probability_zero_are_called_when_the_others_failed(tmp_path: Path) -> None:
    async with opened(tmp_path, min_confidence_score=1.0, propensity_floor=0.0) as world:
        world.model_client.will("small", Reply(error=BROKEN))

        answered = await world.parts.completion.complete(query())

    first, second = attempts(world)
    assert (first.arm_id, first.propensity) == ("small", 1.0)
    assert answered.head.arm_id == second.arm_id != "small"
    assert second.propensity == 0.5


async def test_a_stream_that_never_has_content_is_cancelled(world: World, completion: Completion) -> None:
    endless = Reply(words=("",) * (MAX_EMPTY_CHUNKS + 1), until=asyncio.Event())
    world.model_client.will("small", *[endless] * 3)

    with pytest.raises(AllArmsFailed, match="chunks without content"):
        await completion.stream(query(model="small", stream=True))

    assert world.model_client.cancelled == ["small"] * 3


async def test_a_stream_that_never_ends_is_cancelled(world: World, completion: Completion) -> None:
    page = "x" * (MAX_TEXT_BYTES // 4)
    world.model_client.will("large", Reply(words=(page,) * 5))
    streaming = await completion.stream(query(model="large", stream=True))

    with pytest.raises(ProviderBroken, match="more than"):
        await whole(streaming)

    [attempt] = attempts(world)
    assert world.model_client.cancelled == ["large"]
    assert attempt.status == "failed"
    assert (attempt.cost_usd or 0) > 0


# --- retries after a change of the configuration


async def test_a_retry_whose_arm_was_removed_is_answered_by_another_of_the_same_decision(
    world: World, completion: Completion
) -> None:
    first = await completion.complete(query())
    others = [arm for arm in (SMALL, MEDIUM, LARGE) if arm.arm_id != first.head.arm_id]

    retry = await with_arms(completion, *others).complete(query())

    [decision] = world.store.decisions.values()
    weighed = {candidate.arm_id: candidate.probability for candidate in decision.candidates}
    last = attempts(world)[-1]
    assert retry.head.arm_id == last.arm_id != first.head.arm_id
    assert retry.head.kind == "fallback"
    assert last.propensity == pytest.approx(weighed[last.arm_id] / (1 - weighed[first.head.arm_id]))


async def test_a_retry_whose_arms_were_all_removed_is_weighed_again_for_the_same_decision(
    world: World, completion: Completion
) -> None:
    await with_arms(completion, SMALL).complete(query())

    retry = await with_arms(completion, MEDIUM, LARGE).complete(query())

    [decision] = world.store.decisions.values()
    assert retry.head.arm_id in {"medium", "large"}
    assert retry.head.kind in {"exploit", "explore", "default"}
    assert [a.decision_id for a in attempts(world)] == [decision.decision_id] * 2
    assert [a.position for a in attempts(world)] == [0, 1]


async def test_a_retry_that_names_a_removed_arm_is_rejected(completion: Completion) -> None:
    await completion.complete(query(model="large"))

    with pytest.raises(UnknownModel, match="'large' does not exist"):
        await with_arms(completion, SMALL).complete(query(model="large"))


# --- the calls of a request whose decision came second under its id


@pytest.mark.parametrize("ends", ["ok", "failed", "cancelled"])
async def test_the_calls_of_the_second_of_two_equal_requests_are_logged_under_the_first_decision(
    world: World, completion: Completion, slow: Completion, gated: GatedJournal, ends: str
) -> None:
    goes_on = asyncio.Event()
    world.model_client.will(ANY, Reply(until=goes_on, error=BROKEN if ends == "failed" else None), Reply())
    second = asyncio.create_task(slow.complete(query()))
    await world.model_client.call_started.wait()
    await completion.complete(query())
    gated.decisions.set()
    if ends == "cancelled":
        await until_cancelled(second, world.background)
    goes_on.set()
    await asyncio.wait({second})

    [decision] = world.store.decisions.values()
    [outcome] = world.store.outcomes.values()
    logged = attempts(world)
    assert {attempt.decision_id for attempt in logged} == {decision.decision_id}
    assert [attempt.position for attempt in logged] == list(range(len(world.model_client.calls)))
    assert logged[1].status == ends
    assert outcome.cost_usd == sum(attempt.cost_usd or 0 for attempt in logged[1:])


async def test_a_stream_that_came_second_is_logged_as_cancelled(
    world: World, completion: Completion, slow: Completion, gated: GatedJournal
) -> None:
    second = asyncio.create_task(slow.stream(query(stream=True)))
    await world.model_client.call_started.wait()
    await whole(await completion.stream(query(stream=True)))
    gated.decisions.set()

    await whole(await second)

    assert [attempt.status for attempt in attempts(world)] == ["ok", "cancelled", "ok"]


# --- the budget


@pytest.fixture
async def thrifty(tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path / "thrifty", budget_usd_per_request=BUDGET) as world:
        yield world


def paid_usd(world: World, n_requests: int) -> float:
    """Dollars paid by a purse that was filled for so many requests."""
    return (PURSE_START + n_requests - world.parts.router.pacer.purse) * float(BUDGET)


def spent_usd(world: World) -> float:
    """Cost of all completed calls, US dollars."""
    prices = {arm.arm_id: arm.expected_price for arm in world.parts.catalog.arms}
    return float(sum(cost_usd(USAGE, prices[arm_id]) for arm_id in world.model_client.called))


async def test_the_purse_pays_the_cost_of_a_request_and_its_retries(thrifty: World) -> None:
    for _ in range(3):
        await thrifty.parts.completion.complete(query())

    assert len(thrifty.model_client.calls) == 3
    assert paid_usd(thrifty, 1) == pytest.approx(spent_usd(thrifty))


async def test_the_purse_gets_its_reserve_back_if_no_model_was_called(
    thrifty: World,
) -> None:
    encoder = GatedEncoder()
    completion = thrifty.parts.completion
    completion = replace(completion, router=replace(completion.router, encoder=encoder))
    asking = asyncio.create_task(completion.complete(query()))
    await encoder.encoding.wait()
    for arm in completion.catalog.arms:
        completion.catalog.breaker.failed(arm, ProviderRateLimited("wait", status=429, retry_after_s=60))
    encoder.goes_on.set()

    with pytest.raises(AllArmsFailed, match="is cooling down"):
        await asking

    assert thrifty.model_client.calls == []
    assert paid_usd(thrifty, 1) == pytest.approx(0)


@pytest.mark.parametrize("seed", [1, 2], ids=["the same request", "another request"])
async def test_the_purse_pays_for_the_calls_of_a_request_whose_id_was_taken(
    thrifty: World, seed: int
) -> None:
    gated = GatedJournal(thrifty.store)
    gated.outcomes.set()
    slow = replace(thrifty.parts.completion, journal=gated, allows_reused_request_ids=False)
    second = asyncio.create_task(slow.complete(query(seed=1)))
    await gated.deciding.wait()
    await thrifty.parts.completion.complete(query(seed=seed))
    gated.decisions.set()
    with suppress(RequestConflict):
        await second

    assert len(thrifty.model_client.calls) == (3 if seed == 1 else 2)
    assert paid_usd(thrifty, 2) == pytest.approx(spent_usd(thrifty))


async def test_the_purse_does_not_pay_for_models_that_clients_name(thrifty: World) -> None:
    for _ in range(2):
        await thrifty.parts.completion.complete(query(model="large"))

    assert spent_usd(thrifty) > 0
    assert paid_usd(thrifty, 0) == 0
