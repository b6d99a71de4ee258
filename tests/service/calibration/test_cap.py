from __future__ import annotations

import asyncio
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pytest

from service.calibration.cap import SpendingCap
from service.calibration.grading.comparisons import CONTAINS
from service.calibration.journal import open_journal
from service.calibration.run import calibrate
from service.providers.streams import MAX_ANSWER_BYTES
from tests.service.calibration.provider import COST_USD, Provider, prompts
from tests.service.providers.scripted import Script, answers, completion, drop, hang, refuses

NOWHERE = "http://127.0.0.1:1/v1"


async def test_concurrent_calls_never_reserve_more_than_the_cap() -> None:
    cap = SpendingCap(Decimal(10))
    under_way, most = Decimal(0), Decimal(0)

    async def call() -> bool:
        nonlocal under_way, most
        if not await cap.reserve(Decimal(3)):
            return False
        under_way += 3
        most = max(most, cap.spent_usd + under_way)
        await asyncio.sleep(0)
        under_way -= 3
        await cap.settle(Decimal(3), Decimal(1))
        return True

    made = await asyncio.gather(*(call() for _ in range(30)))

    assert most <= 10
    assert sum(made) == 8  # after 8 dollars another call could cost 3
    assert cap.spent_usd == 8


async def test_a_call_waits_while_others_may_turn_out_cheaper() -> None:
    cap = SpendingCap(Decimal(10))
    assert await cap.reserve(Decimal(8))

    waiting = asyncio.create_task(cap.reserve(Decimal(5)))
    await asyncio.sleep(0)
    assert not waiting.done()
    await cap.settle(Decimal(8), Decimal(2))

    assert await waiting


async def test_a_call_that_cannot_fit_is_refused_at_once() -> None:
    cap = SpendingCap(Decimal(10), spent_usd=Decimal(6))

    assert not await cap.reserve(Decimal(5))
    assert await cap.reserve(Decimal(4))


async def test_a_calibration_keeps_to_its_cap(provider: Provider) -> None:
    for model in ("a", "b", "c"):
        provider.says(model, "42")
    calls = provider.calls(max_usd="0.02", max_answer_tokens=500)

    graded = await calibrate(
        prompts(*(f"{i} + 1?" for i in range(30)), expected="42"),
        [provider.arm(model) for model in ("a", "b", "c")],
        CONTAINS,
        calls,
    )

    n_answered = sum(a.score is not None for a in graded)
    assert n_answered == len(provider.upstream.bodies)
    assert 0 < n_answered < 90
    assert calls.cap.spent_usd == n_answered * COST_USD <= Decimal("0.02")
    assert calls.is_capped
    assert all("cap" in str(a.problem) for a in graded if a.score is None)


async def test_nothing_starts_after_a_provider_billed_more_than_the_worst_price(provider: Provider) -> None:
    more = {"prompt_tokens": 100, "completion_tokens": 100_000}
    provider.upstream.script = answers(completion("42", usage=more))
    calls = provider.calls(max_usd="0.5", max_answer_tokens=500, concurrency=1)

    graded = await calibrate(
        prompts(*(f"{i} + 1?" for i in range(5)), expected="42"), [provider.arm("a")], CONTAINS, calls
    )

    assert [a.score for a in graded] == [1.0, None, None, None, None]
    assert calls.cap.spent_usd == Decimal("1.0001")


async def test_a_call_that_may_have_been_billed_counts_at_its_worst_price(provider: Provider) -> None:
    provider.upstream.script = hang
    calls = provider.calls(max_usd="1", timeout_s=0.2)
    [prompt] = prompts("6 * 7?", expected="42")

    [graded] = await calibrate([prompt], [provider.arm("silent")], CONTAINS, calls)

    assert graded.score is None
    assert calls.cap.spent_usd == calls.worst_usd(provider.arm("silent"), prompt.body)


@pytest.mark.parametrize(
    "script",
    [drop, answers(b"\x00\xff"), answers({"choices": []}), answers(b"x" * (MAX_ANSWER_BYTES + 1))],
    ids=["a lost connection", "no JSON", "no answer", "an endless answer"],
)
async def test_a_call_whose_answer_broke_counts_at_its_worst_price(
    provider: Provider, script: Script
) -> None:
    provider.upstream.script = script
    calls, arm = provider.calls(max_usd="1"), provider.arm("broken")
    [prompt] = prompts("6 * 7?", expected="42")

    [graded] = await calibrate([prompt], [arm], CONTAINS, calls)

    assert graded.score is None
    assert provider.asked("broken") > 0
    assert calls.cap.spent_usd == provider.asked("broken") * calls.worst_usd(arm, prompt.body)


async def test_calls_that_reached_no_provider_cost_nothing(provider: Provider) -> None:
    calls = provider.calls(max_usd="1")
    [prompt] = prompts("6 * 7?", expected="42")

    [graded] = await calibrate([prompt], [provider.arm("gone", base_url=NOWHERE)], CONTAINS, calls)

    assert graded.score is None
    assert calls.cap.spent_usd == 0


async def test_calls_that_a_provider_refused_cost_nothing(provider: Provider) -> None:
    provider.upstream.script = refuses(503)
    calls = provider.calls(max_usd="1")

    await calibrate(prompts("6 * 7?", expected="42"), [provider.arm("broken")], CONTAINS, calls)

    assert provider.asked("broken") == 3
    assert calls.cap.spent_usd == 0


async def test_stopping_a_calibration_settles_the_calls_under_way(provider: Provider, tmp_path: Path) -> None:
    provider.upstream.script = hang
    path, [prompt] = tmp_path / "journal", prompts("6 * 7?", expected="42")
    with open_journal(path) as journal:
        calls = provider.calls(journal=journal)
        run = asyncio.create_task(calibrate([prompt], [provider.arm("silent")], CONTAINS, calls))
        await provider.upstream.call_started.wait()

        run.cancel()
        with suppress(asyncio.CancelledError):
            await run

        worst_usd = calls.worst_usd(provider.arm("silent"), prompt.body)
        assert calls.cap.spent_usd == worst_usd
    with open_journal(path) as journal:
        assert journal.spent_usd == worst_usd
        assert journal.replies == {}
