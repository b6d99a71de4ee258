from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, replace
from decimal import Decimal
from pathlib import Path
from queue import Queue

import pytest

from service.callbacks.callbacks import Callbacks
from service.callbacks.functions import NamedFunction, functions_named
from service.callbacks.report import RequestReport
from service.completion.request_run import RequestRun
from service.domain.answer import Outcome
from service.errors import ProviderBroken
from service.settings.faults import FaultySettings
from tests.fakes import ANY, Reply
from tests.service.callbacks import own_functions
from tests.service.world import World, opened

OWN = "tests.service.callbacks.own_functions"
PATIENCE_S = 60.0  # only a failing test waits that long


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    own_functions.seen.queue.clear()
    own_functions.seen_async.queue.clear()
    own_functions.is_blocked.clear()
    own_functions.release.clear()
    yield
    own_functions.release.set()


async def next_of(queue: Queue[RequestReport]) -> RequestReport:
    return await asyncio.to_thread(queue.get, timeout=PATIENCE_S)


async def counted(world: World) -> dict[str, str]:
    text = (await world.http.get("/metrics")).text
    lines = [line for line in text.splitlines() if line.startswith("router_callbacks_total{")]
    return dict(line.rsplit(" ", 1) for line in lines)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
async def test_plain_and_async_callbacks_get_the_report_of_a_request(
    tmp_path: Path, stream: bool, path: str
) -> None:
    names = [f"{OWN}:keep", f"{OWN}:keep_async"]
    async with opened(tmp_path, callbacks=names) as world:
        world.model_client.will(ANY, Reply(words=(), error=ProviderBroken("down", status=500)))
        body = {"model": "auto", "messages": [{"role": "user", "content": "Hi."}], "max_tokens": 50}
        response = await world.http.post(
            path, json={**body, "stream": stream}, headers={"X-Request-ID": "r-1"}
        )
        report = await next_of(own_functions.seen)
        same = await next_of(own_functions.seen_async)
        record = await world.record("r-1")
        await world.parts.callbacks.close()

    assert response.status_code == 200
    assert report == same
    assert (report.request_id, report.decision_id) == ("r-1", record["decision_id"])
    assert (report.chosen_model, report.model) == (record["chosen_model"], record["outcome"]["model"])
    assert (report.decision, report.status, report.stream) == ("fallback", "ok", stream)
    assert report.propensity == record["propensity"]
    assert float(report.cost_usd or Decimal(-1)) == record["outcome"]["cost_usd"] > 0
    assert report.completion_tokens == record["outcome"]["usage"]["completion_tokens"] > 0
    assert [(a.model, a.status, a.error, a.upstream_status) for a in report.attempts] == [
        (report.chosen_model, "failed", "ProviderBroken", 500),
        (report.model, "ok", None, None),
    ]
    with pytest.raises(FrozenInstanceError):
        report.status = "failed"  # type: ignore[misc]


async def test_a_failing_callback_is_counted_and_keeps_nothing_from_the_others(tmp_path: Path) -> None:
    async with opened(tmp_path, callbacks=[f"{OWN}:fail", f"{OWN}:keep"]) as world:
        for _ in range(2):
            assert (await world.ask()).status_code == 200
            await next_of(own_functions.seen)
        await world.parts.callbacks.close(PATIENCE_S)
        metrics = await counted(world)

    assert metrics == {
        f'router_callbacks_total{{callback="{OWN}:fail",result="failed"}}': "2.0",
        f'router_callbacks_total{{callback="{OWN}:keep",result="ok"}}': "2.0",
    }


async def test_a_callback_that_hangs_delays_no_answer_and_no_shutdown(tmp_path: Path) -> None:
    async with opened(tmp_path, callbacks=[f"{OWN}:block"]) as world:
        for _ in range(5):
            assert (await world.ask()).status_code == 200
        await asyncio.to_thread(own_functions.is_blocked.wait, PATIENCE_S)
        await world.parts.callbacks.close(0.01)


async def test_reports_beyond_the_queue_are_dropped_and_counted(world: World) -> None:
    results: Counter[str] = Counter()
    function = NamedFunction("block", own_functions.block)
    callbacks = Callbacks([function], lambda _, result: results.update([result]), max_waiting=3)
    run_and_outcome = await _completed(world)

    callbacks.completed(*run_and_outcome)
    await asyncio.to_thread(own_functions.is_blocked.wait, PATIENCE_S)
    for _ in range(10):
        callbacks.completed(*run_and_outcome)
    own_functions.release.set()
    await callbacks.close(PATIENCE_S)

    assert results == {"dropped": 7, "ok": 4}


async def test_an_async_callback_that_never_ends_is_given_up(world: World) -> None:
    results: Counter[str] = Counter()
    function = NamedFunction("never_end", own_functions.never_end)
    callbacks = Callbacks([function], lambda _, result: results.update([result]), timeout_s=0.01)

    callbacks.completed(*await _completed(world))
    await callbacks.close(PATIENCE_S)

    assert results == {"failed": 1}


async def _completed(world: World) -> tuple[RequestRun, Outcome]:
    """A run of the world with its outcome."""
    found: list[tuple[RequestRun, Outcome]] = []
    observe = world.parts.completion.observe
    world.parts.completion = replace(
        world.parts.completion, observe=lambda run, outcome: found.append((run, outcome))
    )
    await world.ask()
    world.parts.completion = replace(world.parts.completion, observe=observe)
    return found[0]


def test_every_name_that_cannot_be_imported_is_a_fault() -> None:
    names = ["nowhere", "no_such_module:f", f"{OWN}:missing", f"{OWN}:NO_FUNCTION", f"{OWN}:keep"]

    with pytest.raises(FaultySettings) as caught:
        functions_named(names, {})

    messages = [fault.message for fault in caught.value.faults]
    assert messages[0] == "callbacks: 'nowhere' must be module:function"
    assert "cannot be imported: ModuleNotFoundError" in messages[1]
    assert "cannot be imported: AttributeError" in messages[2]
    assert messages[3] == f"callbacks: '{OWN}:NO_FUNCTION' is not a function"
    assert len(messages) == 4
