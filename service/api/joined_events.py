"""Awaits a source of events without a delay for those that it gave before."""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

T = TypeVar("T")


@types.coroutine
def next_or_flush(
    following: Generator[Any, Any, T], flush: Callable[[], Awaitable[None]]
) -> Generator[Any, Any, T]:
    """The next event of a source; if the source has to wait for it, flush what it gave before.

    So events that come together are sent together, and none waits for a later one.

    Args:
        following: what `anext` of the source gives.
    """
    try:
        waits_for = following.send(None)
        try:
            yield from flush().__await__()
        except BaseException as error:  # ends the source too
            waits_for = following.throw(error)
        while True:
            try:
                yield waits_for
            except BaseException as error:
                waits_for = following.throw(error)
            else:
                waits_for = following.send(None)
    except StopIteration as event:
        value: T = event.value
        return value
