"""Cancels work when its client disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import Receive

T = TypeVar("T")


async def unless_disconnected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Do the work, but cancel it as soon as the client disconnects.

    Raises:
        ClientDisconnect: the client has disconnected.
    """
    with UnlessDisconnected(request.receive):
        return await work


class UnlessDisconnected:
    """A block that is cancelled as soon as the client disconnects; it then raises ClientDisconnect.

    Every request has such a block, so it has no task of its own: the block runs `receive` up to its first
    wait, and what `receive` waits for runs it further.
    """

    def __init__(self, receive: Receive) -> None:
        self._receiving = until_disconnected(receive)
        self._is_running = self._has_cancelled = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._n_cancellations, self._loop = task, task.cancelling(), task.get_loop()
        self._is_running = True
        self._receive_further()

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        self._is_running = False
        self._receiving.close()
        # As in `asyncio.timeout`: if somebody else has cancelled the task too, that counts.
        is_ours = self._has_cancelled and self._task.uncancel() <= self._n_cancellations
        if is_ours and isinstance(error, asyncio.CancelledError):
            raise ClientDisconnect from error

    def _receive_further(self, _: object = None) -> None:
        if not self._is_running:
            return
        try:
            waits_for = self._receiving.send(None)
        except StopIteration:
            self._loop.call_soon(self._cancel)  # once the block waits for something
            return
        if waits_for is None:  # it only lets others run
            self._loop.call_soon(self._receive_further)
            return
        waits_for._asyncio_future_blocking = False  # as a task does with a future that it has received
        waits_for.add_done_callback(self._receive_further)

    def _cancel(self) -> None:
        if self._is_running:
            self._has_cancelled = True
            self._task.cancel()


async def until_disconnected(receive: Receive) -> None:
    """Wait until the client disconnects. The body has been read, so no other message can come."""
    while (await receive())["type"] != "http.disconnect":
        pass
