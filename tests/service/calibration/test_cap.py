from __future__ import annotations

import asyncio
from decimal import Decimal

from service.calibration.cap import SpendingCap
from service.calibration.grading.comparisons import CONTAINS
from service.calibration.run import calibrate
from tests.service.calibration.provider import COST_USD, Provider, prompts


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
