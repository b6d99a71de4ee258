from __future__ import annotations

import asyncio

import pytest

from service.domain.patience import Patience


class TooLate(Exception):
    """The error of the tests."""


async def test_a_wait_that_lasts_too_long_ends_with_the_error() -> None:
    patience = Patience(0.01, TooLate)

    with pytest.raises(TooLate), patience:
        await asyncio.Event().wait()

    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]


async def test_several_waits_together_have_the_limit() -> None:
    patience = Patience(0.05, TooLate)

    async def wait_often() -> None:
        for _ in range(1_000):
            with patience:
                await asyncio.sleep(0.001)

    with pytest.raises(TooLate):
        await wait_often()


async def test_renewed_patience_begins_anew() -> None:
    patience = Patience(0.05, TooLate)

    for _ in range(20):
        with patience:
            await asyncio.sleep(0.005)
        patience.renew()
    patience.end()


async def test_time_in_which_nobody_waits_does_not_count() -> None:
    patience = Patience(0.02, TooLate)
    with patience:
        await asyncio.sleep(0)

    await asyncio.sleep(0.03)

    with patience:
        await asyncio.sleep(0)
    with pytest.raises(TooLate), patience:
        await asyncio.Event().wait()


async def test_many_waits_need_one_timer() -> None:
    patience = Patience(60.0, TooLate)
    with patience:
        await asyncio.sleep(0)
    timer = patience._timer

    for _ in range(100):
        with patience:
            await asyncio.sleep(0)
        patience.renew()

    assert patience._timer is timer
    patience.end()


async def test_somebody_elses_cancellation_stays_one() -> None:
    patience, began = Patience(60.0, TooLate), asyncio.Event()

    async def wait() -> None:
        with patience:
            began.set()
            await asyncio.Event().wait()

    waiting = asyncio.create_task(wait())
    await began.wait()
    waiting.cancel()
    await asyncio.wait({waiting})

    assert waiting.cancelled()
    patience.end()


async def test_no_limit_is_no_limit() -> None:
    with Patience(None, TooLate):
        await asyncio.sleep(0)
