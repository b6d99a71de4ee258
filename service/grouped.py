"""Groups the calls of one moment into one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar, cast

from service.errors import Unavailable

V = TypeVar("V")
R = TypeVar("R")


class Grouped(Generic[V, R]):
    """Passes values on to one call at a time: what arrives during a call waits, and is the next group.

    A value that arrives alone is passed on at once. Values keep their order. If a call fails for a group,
    each of its values is passed on alone, so that none fails for another; an Unavailable fails all of them,
    because it would fail each.

    Args:
        call: returns the result of each value, in their order; an exception among the results is raised where
            the value was passed.
        most: most values of one call.
        patience_s: how long values wait for the calls before them, until another call begins beside those;
            None: as long as it takes.
        most_calls: most calls beside each other.
    """

    def __init__(
        self,
        call: Callable[[Sequence[V]], Awaitable[Sequence[R | Exception]]],
        *,
        most: int = 256,
        patience_s: float | None = None,
        most_calls: int = 4,
    ) -> None:
        self._call = call
        self._most = most
        self._waiting: deque[tuple[V, asyncio.Future[R]]] = deque()
        self._patience_s = patience_s
        self._most_calls = most_calls
        self._calling: set[asyncio.Task[None]] = set()
        self._patience: asyncio.TimerHandle | None = None

    def add(self, value: V) -> asyncio.Future[R]:
        """Add a value to the next group; a cancelled future withdraws it, unless its group was passed on."""
        result: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((value, result))
        if not self._calling:
            self._begin()
        elif (
            self._patience_s is not None and self._patience is None and len(self._calling) < self._most_calls
        ):
            self._patience = asyncio.get_running_loop().call_later(self._patience_s, self._begin)
        return result

    async def idle(self) -> None:
        """Wait until no value waits."""
        while self._calling:
            await asyncio.wait(self._calling)

    def _begin(self) -> None:
        self._calling.add(asyncio.create_task(self._call_all()))

    async def _call_all(self) -> None:
        try:
            await self._call_groups()
        finally:  # at once: whoever got the last result may add the next value before the task is done
            self._calling.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    async def _call_groups(self) -> None:
        while self._waiting:
            if self._patience is not None:
                self._patience.cancel()
                self._patience = None
            group = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
            await self._call_group([(value, result) for value, result in group if not result.done()])

    async def _call_group(self, group: Sequence[tuple[V, asyncio.Future[R]]]) -> None:
        if not group:
            return
        try:
            results = await self._call([value for value, _ in group])
        except Exception as error:
            if len(group) > 1 and not isinstance(error, Unavailable):
                for alone in group:
                    await self._call_group([alone])
                return
            results = [error] * len(group)
        except BaseException:  # the loop ends
            for _, future in group:
                future.cancel()
            raise
        for (_, future), result in zip(group, results, strict=True):
            _settle(future, result)


def _settle(future: asyncio.Future[R], result: R | Exception) -> None:
    if future.done():  # cancelled: nobody waits for it any more
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
