"""The write of a decision, which waits a moment for the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TypeAlias

from service.domain.answer import Outcome

Write: TypeAlias = Callable[[Outcome | None], Coroutine[None, None, None]]

# A model that answers sooner has its outcome committed together with the decision, also in a busy process.
_MOMENT_S = 0.05


class DecisionWrite:
    """Begins when somebody waits for the decision, when the outcome is known, or after a moment.

    Args:
        write: commits the decision, and the outcome where one is given.
    """

    def __init__(self, write: Write) -> None:
        self._write = write
        self._writing: asyncio.Future[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(_MOMENT_S, self.begin)

    @property
    def has_begun(self) -> bool:
        return self._writing is not None

    def begin(self) -> asyncio.Future[None]:
        """The write of the decision, begun now unless it has begun before."""
        if self._writing is None:
            self._timer.cancel()
            self._writing = asyncio.create_task(self._write(None))
        return self._writing

    async def begin_with(self, outcome: Outcome) -> None:
        """Write the decision, which has not begun, together with the outcome; not to be cancelled."""
        self._timer.cancel()
        self._writing = asyncio.get_running_loop().create_future()
        try:
            await self._write(outcome)
        except Exception as error:
            self._writing.set_exception(error)
            self._writing.exception()  # whoever waits later gets it too, but there may be nobody
            raise
        self._writing.set_result(None)
