"""A ledger of limits without PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TypeAlias
from uuid import UUID

from service.domain.limit import Amount, Limit, Measure, Passed, Period, Standing, Subject
from tests.fakes_store import FakeStore

SHARES = (100, 80, 50)  # percent, that are told
Account: TypeAlias = tuple[Subject, Measure, Period]


def account(limit: Limit) -> Account:
    return limit.subject, limit.measure, limit.period


class FakeLedger:
    """One period that never ends."""

    def __init__(self, store: FakeStore | None = None) -> None:
        self.store = FakeStore() if store is None else store
        self.used: dict[Account, Decimal] = {}
        self.holds: dict[UUID, dict[Account, Decimal]] = {}
        self.told: dict[Account, int] = {}
        self.n_calls = 0

    async def hold(self, hold_id: UUID, amounts: Sequence[Amount], lease_s: float) -> list[Standing]:
        self.store.check_write()
        self.n_calls += 1
        held = self.holds.get(hold_id, {})
        standings = [
            self._standing(wanted, held.get(account(wanted.limit), Decimal(0))) for wanted in amounts
        ]
        if any(standing.is_over for standing in standings):
            return [self._refused(standing, held) for standing in standings]
        self.holds[hold_id] = {**held, **{account(a.limit): a.amount or Decimal(0) for a in amounts}}
        self.used |= {account(standing.limit): standing.used for standing in standings}
        return standings

    def _standing(self, wanted: Amount, held: Decimal) -> Standing:
        amount = wanted.amount or Decimal(0)
        used = self.used.get(account(wanted.limit), Decimal(0)) - held + amount
        return Standing(wanted.limit, used, 30.0, is_over=amount > held and used > wanted.limit.most)

    def _refused(self, standing: Standing, held: dict[Account, Decimal]) -> Standing:
        of = account(standing.limit)
        own = held.get(of, Decimal(0))
        used, others = self.used.get(of, Decimal(0)) - own, self._under_way(of) - own
        is_used_up = standing.is_over and standing.used - others > standing.limit.most
        is_told = is_used_up and self.told.get(of, 0) < 100
        if is_told:
            self.told[of] = 100
        return replace(standing, used=used, under_way=others, is_told=is_told)

    def _under_way(self, of: Account) -> Decimal:
        return sum((hold.get(of, Decimal(0)) for hold in self.holds.values()), Decimal(0))

    async def settle(self, hold_id: UUID, amounts: Sequence[Amount]) -> list[Passed]:
        self.store.check_write()
        self.n_calls += 1
        held, passed = self.holds.pop(hold_id, {}), []
        for settled in amounts:
            limit, of = settled.limit, account(settled.limit)
            if of not in held:
                continue
            if settled.amount is not None:
                self.used[of] += settled.amount - held[of]
            if (percent := self._newly_passed(limit)) is not None:
                self.told[of] = percent
                passed.append(Passed(limit, percent, self.used[of]))
        return passed

    def _newly_passed(self, limit: Limit) -> int | None:
        if not limit.is_told_of:
            return None
        of = account(limit)
        used = self.used[of] - self._under_way(of)
        share = next((percent for percent in SHARES if used * 100 >= limit.most * percent), 0)
        return share if share > self.told.get(of, 0) else None

    async def prune(self) -> None: ...
