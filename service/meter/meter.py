"""What requests hold and use of the limits of their callers and of the models that they call."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from uuid import UUID, uuid4

import structlog

from service.domain.caller import Caller
from service.domain.limit import Amount, Ledger, Limit, Passed, Standing
from service.domain.value import value
from service.errors import LimitReached, Rate, StoreUnavailable
from service.meter.refused import Refused, rates_of, refused_by

log = structlog.get_logger(__name__)

LEASE_S = 900.0  # after that a request that is not settled counts as lost
MAX_UNSETTLED = 10_000  # settlements that wait for PostgreSQL
RETRY_S = 5.0
PRUNE_EVERY_S = 3600.0


@value
class Use:
    """What one call of a model uses, or may use at worst.

    Args:
        usd: None: nobody knows it.
    """

    model_id: str
    usd: Decimal | None
    tokens: int


@dataclass(slots=True)
class Hold:
    """What one request holds: of each limit, as it was held last.

    Args:
        limits: of which it may hold something.
        standings: after the last hold that is known to be made; none: none is.
    """

    hold_id: UUID = field(default_factory=uuid4)
    limits: tuple[Limit, ...] = ()
    standings: Sequence[Standing] = ()

    @property
    def rates(self) -> Mapping[str, Rate]:
        """What is left to the caller, by `requests` and `tokens`."""
        return rates_of(self.standings)


@dataclass(slots=True)
class Metered:
    """A request with one call: what it holds, and what it used; None: nothing."""

    hold: Hold = field(default_factory=Hold)
    use: Use | None = None


class Meter:
    """Holds and settles the use of limits, over all processes.

    A request without a limit asks PostgreSQL nothing.

    Args:
        of_tenants: the limits of tenants, by name.
        of_models: the limits of models, by id.
        on_passed: is told of shares of a limit that are passed for the first time in their period.
        on_refused: is told of every refusal.
        seconds: a clock that is never set.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        of_tenants: Mapping[str, Sequence[Limit]],
        of_models: Mapping[str, Sequence[Limit]],
        on_passed: Callable[[Passed], None],
        on_refused: Callable[[Limit], None],
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._of_tenants = of_tenants
        self._of_models = of_models
        self._on_passed, self._on_refused = on_passed, on_refused
        self._seconds = seconds
        self._used_up: dict[Limit, tuple[float, LimitReached]] = {}  # until when
        self._unsettled: deque[tuple[UUID, list[Amount]]] = deque(maxlen=MAX_UNSETTLED)
        self._has_unsettled = asyncio.Event()

    def is_limited(self, caller: Caller | None, model_id: str) -> bool:
        """Whether there is a limit for a call."""
        return model_id in self._of_models or bool(self._limits_of(caller))

    def check(self, caller: Caller | None) -> None:
        """Refuse a request before any work if its caller has used up its requests, as far as is known here.

        Raises LimitReached.
        """
        if not self._used_up:
            return
        for limit in self._limits_of(caller):
            until, error = self._used_up.get(limit, (0.0, None))
            if error is None:
                continue
            left_s = until - self._seconds()
            if left_s > 0:
                self._on_refused(limit)
                rates = {
                    name: rate._replace(resets_in_s=left_s) if name == limit.measure else rate
                    for name, rate in error.rates.items()
                }
                raise LimitReached(str(error), retry_after_s=left_s, rates=rates)
            del self._used_up[limit]

    async def hold(
        self, hold: Hold, caller: Caller | None, used: Sequence[Use], worst: Use
    ) -> Refused | None:
        """Hold what a call may use at worst, beside what earlier calls of the request used.

        Returns why it is refused; None: it is held, or no limit applies.

        Raises:
            StoreUnavailable: PostgreSQL does not answer, so nobody knows what is left.
        """
        uses = [*used, worst]
        of_call = (*self._limits_of(caller), *self._of_models.get(worst.model_id, ()))
        limits = (*hold.limits, *(limit for limit in of_call if limit not in hold.limits))
        if not limits:
            return None
        amounts = [Amount(limit, _amount(limit, uses)) for limit in limits]
        try:
            standings = await self._ledger.hold(hold.hold_id, amounts, LEASE_S)
        except BaseException:  # also cancelled: it may be held all the same
            hold.limits = limits
            raise
        refused = refused_by(standings, amounts)
        if refused is None:
            hold.limits, hold.standings = limits, standings
            return None
        for standing in standings:
            if standing.is_over:
                self._on_refused(standing.limit)
            if standing.is_told and standing.limit.is_told_of:
                self._tell(Passed(standing.limit, 100, standing.used))
            if refused.is_final and standing.is_over and _is_of_caller(standing.limit, "requests"):
                until = self._seconds() + standing.ends_in_s
                self._used_up[standing.limit] = until, refused.error
        return refused

    async def settle(self, hold: Hold, used: Sequence[Use]) -> None:
        """Replace what the request holds by what its calls used; later if PostgreSQL does not answer.

        A hold whose answer was lost is settled too; if there is none, that changes nothing.
        """
        if not hold.limits:
            return
        amounts = [Amount(limit, _amount(limit, used)) for limit in hold.limits]
        try:
            await self._settle(hold.hold_id, amounts)
        except StoreUnavailable:
            if hold.standings or len(self._unsettled) < MAX_UNSETTLED:  # a doubtful hold displaces no other
                self._unsettled.append((hold.hold_id, amounts))
                self._has_unsettled.set()

    @asynccontextmanager
    async def metering(self, caller: Caller | None, worst: Use) -> AsyncIterator[Metered]:
        """Hold the use of a request with one call, and settle it at the end.

        A call that fails has used nothing; what a cancelled one used nobody knows.

        Raises:
            LimitReached: a limit leaves too little.
            StoreUnavailable: nobody knows what is left.
        """
        metered = Metered()
        if not self.is_limited(caller, worst.model_id):
            yield metered
            return
        self.check(caller)
        try:
            if (refused := await self.hold(metered.hold, caller, (), worst)) is not None:
                raise refused.error
            try:
                yield metered
            except asyncio.CancelledError:
                metered.use = replace(worst, usd=None)
                raise
        finally:
            used = () if metered.use is None else (metered.use,)
            await asyncio.shield(self.settle(metered.hold, used))

    async def settle_forever(self) -> None:
        """Settle what could not be settled at once."""
        while True:
            await self._has_unsettled.wait()
            try:
                while self._unsettled:
                    await self._settle(*self._unsettled[0])
                    self._unsettled.popleft()
                self._has_unsettled.clear()
            except StoreUnavailable:
                await asyncio.sleep(RETRY_S)

    async def prune_forever(self) -> None:
        """Forget the use of periods that are long over."""
        while True:
            try:
                await self._ledger.prune()
            except StoreUnavailable:
                log.warning("limits_not_pruned")
            await asyncio.sleep(PRUNE_EVERY_S)

    async def _settle(self, hold_id: UUID, amounts: Sequence[Amount]) -> None:
        for passed in await self._ledger.settle(hold_id, amounts):
            self._tell(passed)

    def _tell(self, passed: Passed) -> None:
        limit = passed.limit
        log.warning(
            "limit_share_used",
            of=str(limit.subject),
            measure=limit.measure,
            period=limit.period,
            percent=passed.percent,
            used=passed.used,
            limit=limit.most,
        )
        self._on_passed(passed)

    def _limits_of(self, caller: Caller | None) -> tuple[Limit, ...]:
        return () if caller is None else (*caller.limits, *self._of_tenants.get(caller.tenant, ()))


def _amount(limit: Limit, uses: Sequence[Use]) -> Decimal | None:
    """What the calls of a request use of a limit; None: nobody knows it."""
    if limit.subject.kind == "model":
        uses = [use for use in uses if use.model_id == limit.subject.name]
    if limit.measure == "requests":
        return Decimal(len(uses) if limit.subject.kind == "model" else 1)
    if limit.measure == "tokens":
        return Decimal(sum(use.tokens for use in uses))
    dollars = [use.usd for use in uses]
    return None if None in dollars else sum((usd for usd in dollars if usd is not None), Decimal(0))


def _is_of_caller(limit: Limit, measure: str) -> bool:
    return limit.subject.kind != "model" and limit.measure == measure
