"""An arm's runtime settings, on top of its configuration."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal
from typing import Literal

from service.domain.answer import Attempt
from service.domain.arm import ArmSums, Price
from service.domain.basics import Json

# active: can be chosen. shadow: answers a copy of some requests, and clients never see the answers.
# draining: answers only requests that name it, and continues its conversations. retired: answers no request.
ArmState = Literal["active", "shadow", "draining", "retired"]

# The typical request, by whose cost two prices are compared.
TYPICAL_PROMPT_TOKENS = 1000
TYPICAL_ANSWER_TOKENS = 300

_NINE_PLACES = Decimal("0.000000001")
_FIFTEEN_DIGITS = Context(prec=15)


@dataclass(frozen=True, slots=True)
class Shadow:
    """The part of the traffic that an arm in shadow answers."""

    share: float  # of the requests it can answer, in (0, 1]
    usd_per_day: Decimal


@dataclass(frozen=True, slots=True)
class PriceChange:
    """Converts dollars billed at the older price to the newer one: usd * factor + added_usd."""

    changed_at: datetime
    factor: Decimal
    added_usd: Decimal


@dataclass(frozen=True, slots=True)
class ArmRegistration:
    """One arm with its runtime settings."""

    arm_id: str
    added_at: datetime
    changed_at: datetime
    state: ArmState = "active"
    entry: Json | None = None  # its `models:` entry; None: the configuration has it
    price: Price | None = None  # replaces the price in the entry or the configuration
    shadow: Shadow | None = None
    is_newcomer: bool = False  # added after other arms already had ratings
    reason: str | None = None
    price_changes: tuple[PriceChange, ...] = ()  # oldest first

    def price_version(self, moment: datetime) -> int:
        """The number of price changes up to that moment."""
        return sum(change.changed_at <= moment for change in self.price_changes)

    def todays_usd(self, usd: float, decided_at: datetime) -> float:
        """The estimated cost at today's price of an answer that cost `usd` when it was decided."""
        for change in self.price_changes:
            if change.changed_at > decided_at:
                usd = usd * float(change.factor) + float(change.added_usd)
        return usd


@dataclass(frozen=True, slots=True)
class ShadowAnswer:
    """The answer of an arm in shadow to a decided request."""

    tenant: str
    attempt: Attempt
    text: str | None  # None unless texts are stored
    reserved_usd: Decimal
    price_version: int


@dataclass(frozen=True, slots=True)
class ArmFigures:
    """What a tenant's requests have shown of one arm."""

    sums: ArmSums
    n_shadow_calls: int = 0
    n_shadow_errors: int = 0
    n_shadow_unpriced: int = 0  # calls whose dollars nobody knows
    shadow_usd: Decimal = Decimal(0)
    shadow_latency_s: float | None = None  # mean over answers; None: no answers


def price_change(old: Price, new: Price, changed_at: datetime) -> PriceChange | None:
    """The conversion of dollars from one price to another; None if a typical request costs the same.

    The factor is the ratio of a typical request's costs. An arm that was free has no ratio: each of its
    earlier answers counts as a typical request. For an arm that becomes free, earlier answers cost 0.
    """
    old_usd, new_usd = typical_usd(old), typical_usd(new)
    if old_usd == new_usd:
        return None
    if old_usd == 0:
        return PriceChange(changed_at, Decimal(1), new_usd.quantize(_NINE_PLACES))
    return PriceChange(changed_at, _FIFTEEN_DIGITS.divide(new_usd, old_usd), Decimal(0))


def typical_usd(price: Price) -> Decimal:
    """US dollars of a typical request."""
    return (TYPICAL_PROMPT_TOKENS * price.input + TYPICAL_ANSWER_TOKENS * price.output) / 1_000_000
