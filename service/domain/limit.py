"""What a key, a tenant or a model may use in a period, and how much of it is used."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Literal, Protocol, get_args
from uuid import UUID

from service.domain.basics import plain
from service.domain.value import value

Measure = Literal["usd", "tokens", "requests"]
Period = Literal["minute", "day", "month"]
MEASURES: tuple[Measure, ...] = get_args(Measure)
PERIODS: tuple[Period, ...] = get_args(Period)
_TOLD_OF = frozenset({"day", "month"})  # a full minute is no news

_AMOUNT = re.compile(r"([0-9]{1,11}(?:\.[0-9]{1,9})?)/(minute|day|month)")


@value
class Subject:
    """Whose use is limited: a key by its id, a tenant or a model by its name."""

    kind: Literal["key", "tenant", "model"]
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


@value
class Limit:
    """The most that a subject may use in each minute, day or month of UTC."""

    subject: Subject
    measure: Measure
    period: Period
    most: Decimal

    @classmethod
    def parsed(cls, subject: Subject, measure: Measure, text: str) -> Limit:
        """The limit in the form `5/day`. Raises ValueError."""
        if (match := _AMOUNT.fullmatch(text)) is None:
            raise ValueError(f"must be an amount for each {', '.join(PERIODS)}, such as 5/day, got {text!r}")
        period: Period = match[2]  # type: ignore[assignment]
        return cls(subject, measure, period, Decimal(match[1]))

    @property
    def amount(self) -> str:
        """It in the form `5/day`."""
        return f"{plain(self.most)}/{self.period}"

    @property
    def is_told_of(self) -> bool:
        """Whether the operator is told how much of it is used."""
        return self.period in _TOLD_OF

    def __str__(self) -> str:
        unit = "USD" if self.measure == "usd" else self.measure
        return f"{plain(self.most)} {unit} a {self.period}"


def limits_of(subject: Subject, amounts: Mapping[Measure, Sequence[str]]) -> tuple[Limit, ...]:
    """The limits of a subject, from amounts such as `5/day`.

    Raises ValueError: an amount is malformed, or a measure has two for one period.
    """
    limits = tuple(
        Limit.parsed(subject, measure, text) for measure in MEASURES for text in amounts.get(measure, ())
    )
    if len({(limit.measure, limit.period) for limit in limits}) < len(limits):
        raise ValueError("must have one amount for each period")
    return limits


@value
class Amount:
    """So much of a limit; None: nobody knows it."""

    limit: Limit
    amount: Decimal | None


@value
class Standing:
    """How much of a limit is used.

    Args:
        used: with what requests under way hold; after a refusal without what the refused one holds itself.
        ends_in_s: seconds until the period ends.
        is_over: the limit left too little for what was asked.
        under_way: what other requests hold, known if a limit left too little.
        is_told: the limit is used up, and this is the first refusal of the period.
    """

    limit: Limit
    used: Decimal
    ends_in_s: float
    is_over: bool = False
    under_way: Decimal = Decimal(0)
    is_told: bool = False

    @property
    def left(self) -> Decimal:
        return max(self.limit.most - self.used, Decimal(0))


@value
class Passed:
    """A share of a limit that was passed for the first time in its period."""

    limit: Limit
    percent: int
    used: Decimal


class Ledger(Protocol):
    """What is used of limits, in all processes together. Raises StoreUnavailable."""

    async def hold(self, hold_id: UUID, amounts: Sequence[Amount], lease_s: float) -> list[Standing]:
        """Hold all amounts, or none if one limit leaves too little, before they are used.

        Amounts of the same hold replace earlier ones. What is never settled stays counted.
        """
        ...

    async def settle(self, hold_id: UUID, amounts: Sequence[Amount]) -> list[Passed]:
        """Replace what is held by what was used; a second time this changes nothing."""
        ...

    async def prune(self) -> None:
        """Forget the use of periods that are long over."""
        ...
