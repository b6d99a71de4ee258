"""The lag of the event loop."""

from __future__ import annotations

import asyncio
import time

from service.loop_lag import LoopLag


async def test_a_loop_that_was_blocked_is_late_by_that_time() -> None:
    lags: list[tuple[float, float]] = []
    seen = asyncio.Event()

    def observe(lag_s: float, longest_s: float) -> None:
        lags.append((lag_s, longest_s))
        seen.set()

    lag = LoopLag(observe, every_s=0.001)
    await seen.wait()
    time.sleep(0.05)  # noqa: ASYNC251  # this is what is measured
    seen.clear()
    await seen.wait()
    lag.stop()

    assert lags[-1][0] >= 0.04
    assert lags[-1][1] == max(one for one, _ in lags)


async def test_it_measures_nothing_once_stopped() -> None:
    lags: list[float] = []
    lag = LoopLag(lambda lag_s, _: lags.append(lag_s), every_s=0.001)

    lag.stop()
    await asyncio.sleep(0.01)

    assert lags == []
