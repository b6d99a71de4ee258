"""Repairs a request whose form a server refuses, asks once more, and remembers the repair for the arm.

Servers that implement OpenAI's API differ in the fields, roles and forms that they accept, and say so only by
refusing. A repair changes the form of a request and not its meaning, so the client need not know of it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import structlog

from service.domain.answer import Answer, Burst
from service.domain.arm import Arm
from service.domain.basics import Json
from service.errors import ProviderRejected
from service.providers.restored import Restored

log = structlog.get_logger(__name__)

MAX_REPAIRS = 4  # of one request: a server names one fault at a time
_MAX_CHARS = 1500  # of a refusal that is compared


@dataclass(frozen=True, slots=True)
class Repair:
    """One change of requests.

    Args:
        form: what is refused, for the log.
        wording: a pattern of what a refusal says that asks for it, read as `param: message` in lower case.
        repaired: the changed request; the same object if the request does not have the refused form.
        is_remembered: whether the arm's later requests are changed before they are sent.
        reads: makes the repair from what the refusal says, in lower case, of the request; None: it cannot.
    """

    form: str
    wording: str
    repaired: Callable[[Json], Json]
    is_remembered: bool = True
    reads: Callable[[str, Json], Repair | None] | None = None

    def is_asked_for_by(self, said: str) -> bool:
        return re.search(self.wording, said, re.DOTALL) is not None

    def after(self, said: str, body: Json) -> Repair | None:
        return self if self.reads is None else self.reads(said, body)


class Repairs:
    """The repairs that an adapter knows, and those that each arm turned out to need.

    Args:
        table: in the order in which they are tried.
    """

    def __init__(self, table: Sequence[Repair]) -> None:
        self._table = table
        self._needed: dict[tuple[str, str, str | None], list[Repair]] = {}

    async def complete(
        self, arm: Arm, body: Json, call: Callable[[Json, float], Awaitable[Answer]], *, timeout_s: float
    ) -> Answer:
        """The answer of `call`, which is given a request and its time."""
        clock = asyncio.get_running_loop().time
        until, left_s = clock() + timeout_s, timeout_s
        fitting = self._begin(arm, body)
        while True:
            try:
                answer = await call(fitting.body, left_s)
            except ProviderRejected as refusal:
                left_s = until - clock()
                if left_s <= 0 or not fitting.repair(refusal):
                    raise
            else:
                self._worked(arm, fitting)
                return Restored(body, fitting.body, fitting.notes).answer(answer)

    async def stream(
        self, arm: Arm, body: Json, call: Callable[[Json], AsyncGenerator[Burst, None]]
    ) -> AsyncGenerator[Burst, None]:
        """The chunks of `call`, with notes in the first one, after which nothing is repaired."""
        fitting, restored = self._begin(arm, body), None
        while True:
            try:
                async with aclosing(call(fitting.body)) as bursts:
                    async for burst in bursts:
                        if restored is None:
                            restored = Restored(body, fitting.body, fitting.notes)
                            self._worked(arm, fitting)
                        if burst := restored.burst(burst):
                            yield burst
                        if restored.is_done:
                            return
                return
            except ProviderRejected as refusal:
                if restored is not None or not fitting.repair(refusal):
                    raise

    def _begin(self, arm: Arm, body: Json) -> _Fitting:
        fitting = _Fitting(self._table, body)
        for repair in self._needed.get(_server(arm), ()):
            fitting.foresee(repair)
        return fitting

    def _worked(self, arm: Arm, fitting: _Fitting) -> None:
        """Remember the repairs of a request that was accepted."""
        if not fitting.made:
            return
        for repair in fitting.made:
            log.info("request_repaired", model=arm.arm_id, form=repair.form)
        needed = self._needed.setdefault(_server(arm), [])
        needed += [r for r in fitting.made if r.is_remembered and r not in needed]


def _server(arm: Arm) -> tuple[str, str, str | None]:
    return arm.arm_id, arm.model, arm.base_url


class _Fitting:
    """One request on its way to a form that the server accepts."""

    def __init__(self, table: Sequence[Repair], body: Json) -> None:
        self.body = body
        self.made: list[Repair] = []  # after refusals of this request
        self._foreseen: list[Repair] = []  # after refusals of earlier ones
        self._table = table

    @property
    def notes(self) -> tuple[str, ...]:
        repairs = (*self._foreseen, *self.made)
        return tuple(f"{repair.form}: refused by the server, and repaired" for repair in repairs)

    def foresee(self, repair: Repair) -> None:
        """Make a repair that an earlier request turned out to need."""
        repaired = repair.repaired(self.body)
        if repaired is not self.body:
            self.body = repaired
            self._foreseen.append(repair)

    def repair(self, refusal: ProviderRejected) -> bool:
        """Repair what the refusal blames; False: nothing that it blames can be repaired."""
        if len(self.made) == MAX_REPAIRS:
            return False
        said = str(refusal) if refusal.param is None else f"{refusal.param}: {refusal}"
        said = said[:_MAX_CHARS].lower()
        tried = {repair.form for repair in self.made}
        for known in self._table:
            if known.form in tried or not known.is_asked_for_by(said):
                continue
            if (repair := known.after(said, self.body)) is None:
                continue
            repaired = repair.repaired(self.body)
            if repaired is not self.body:
                self.body = repaired
                self.made.append(repair)
                return True
        return False
