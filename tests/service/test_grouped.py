from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from service.errors import StoreUnavailable
from service.grouped import Grouped


class Doubling:
    """Doubles numbers, and records the groups in which they came; `faulty` fails whatever group has it."""

    def __init__(self, faulty: int | None = None, error: Exception | None = None) -> None:
        self.groups: list[list[int]] = []
        self.faulty = faulty
        self.error = error or ValueError("faulty")

    async def __call__(self, numbers: Sequence[int]) -> list[int | Exception]:
        self.groups.append(list(numbers))
        await asyncio.sleep(0)
        if self.faulty in numbers:
            raise self.error
        return [ZeroDivisionError() if number == 0 else 2 * number for number in numbers]


async def test_what_arrives_in_one_moment_is_one_group_in_its_order() -> None:
    doubling = Doubling()
    grouped = Grouped(doubling)

    results = await asyncio.gather(*(grouped.add(number) for number in (3, 1, 2)))

    assert (results, doubling.groups) == ([6, 2, 4], [[3, 1, 2]])


async def test_what_arrives_during_a_call_is_the_next_group() -> None:
    doubling = Doubling()
    grouped = Grouped(doubling)
    first = grouped.add(1)
    await asyncio.sleep(0)
    others = [grouped.add(number) for number in (2, 3)]

    assert await asyncio.gather(first, *others) == [2, 4, 6]
    assert doubling.groups == [[1], [2, 3]]


async def test_a_group_has_a_greatest_size() -> None:
    doubling = Doubling()
    grouped = Grouped(doubling, most=2)

    await asyncio.gather(*(grouped.add(number) for number in (1, 2, 3)))

    assert doubling.groups == [[1, 2], [3]]


async def test_a_value_fails_for_itself_only() -> None:
    doubling = Doubling(faulty=7)
    grouped = Grouped(doubling)

    results = await asyncio.gather(*(grouped.add(n) for n in (1, 7, 0, 2)), return_exceptions=True)

    assert (results[0], results[3]) == (2, 4)
    assert [type(results[i]) for i in (1, 2)] == [ValueError, ZeroDivisionError]
    assert doubling.groups == [[1, 7, 0, 2], [1], [7], [0], [2]]


async def test_what_would_fail_each_value_fails_the_group_once() -> None:
    doubling = Doubling(faulty=7, error=StoreUnavailable("PostgreSQL does not answer"))
    grouped = Grouped(doubling)

    results = await asyncio.gather(*(grouped.add(n) for n in (1, 7)), return_exceptions=True)

    assert [type(result) for result in results] == [StoreUnavailable] * 2
    assert doubling.groups == [[1, 7]]


async def test_a_value_that_nobody_waits_for_is_not_passed_on() -> None:
    doubling = Doubling()
    grouped = Grouped(doubling)
    given_up, wanted = grouped.add(1), grouped.add(2)
    given_up.cancel()

    assert await wanted == 4
    await grouped.idle()
    assert doubling.groups == [[2]]
    with pytest.raises(asyncio.CancelledError):
        await given_up


async def test_values_do_not_wait_for_a_call_that_hangs() -> None:
    hangs, groups = asyncio.Event(), list[list[int]]()

    async def call(numbers: Sequence[int]) -> list[int]:
        groups.append(list(numbers))
        if 1 in numbers:
            await hangs.wait()
        return list(numbers)

    grouped = Grouped(call, patience_s=0.001)
    first = grouped.add(1)
    await asyncio.sleep(0)
    others = [grouped.add(number) for number in (2, 3)]

    assert await asyncio.gather(*others) == [2, 3]
    assert groups == [[1], [2, 3]]
    hangs.set()
    await grouped.idle()
    assert first.result() == 1


async def test_few_calls_hang_beside_each_other() -> None:
    hangs, groups = asyncio.Event(), list[list[int]]()

    async def call(numbers: Sequence[int]) -> list[int]:
        groups.append(list(numbers))
        await hangs.wait()
        return list(numbers)

    grouped = Grouped(call, patience_s=0.0, most_calls=2)
    results = []
    for number in range(10):
        results.append(grouped.add(number))
        await asyncio.sleep(0.001)

    assert len(groups) == 2
    hangs.set()
    assert await asyncio.gather(*results) == list(range(10))
    assert len(groups) == 3


async def test_a_value_may_be_added_as_soon_as_the_one_before_has_its_result() -> None:
    grouped = Grouped(Doubling())

    async with asyncio.timeout(5.0):
        results = [await grouped.add(number) for number in (1, 2, 3)]

    assert results == [2, 4, 6]
