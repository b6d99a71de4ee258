"""What is decided of an arm at runtime, on top of its configuration."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal
from typing import Literal

from service.domain.answer import Attempt
from service.domain.arm import ArmSums, Price
from service.domain.basics import Json

# active: may be chosen. shadow: answers unseen, beside others. draining: answers only who names it, and
# finishes what it began. retired: answers nobody.
ArmState = Literal["active", "shadow", "draining", "retired"]

# The request by which two prices are compared.
TYPICAL_PROMPT_TOKENS = 1000
TYPICAL_ANSWER_TOKENS = 300

_NINE_PLACES = Decimal("0.000000001")
_FIFTEEN_DIGITS = Context(prec=15)


@dataclass(frozen=True, slots=True)
class Shadow:
    """How much of the traffic an arm in shadow answers."""

    share: float  # of the requests it could answer, in (0, 1]
    usd_per_day: Decimal


@dataclass(frozen=True, slots=True)
class PriceChange:
    """Says what answers billed at older prices would cost since: usd * factor + added_usd."""

    changed_at: datetime
    factor: Decimal
    added_usd: Decimal


@dataclass(frozen=True, slots=True)
class ArmRegistration:
    """One arm as the deployment knows it."""

    arm_id: str
    added_at: datetime
    changed_at: datetime
    state: ArmState = "active"
    entry: Json | None = None  # its `models:` entry; None: it is configured
    price: Price | None = None  # instead of that of the entry or the configuration
    shadow: Shadow | None = None
    is_newcomer: bool = False  # came when others had been rated
    reason: str | None = None
    price_changes: tuple[PriceChange, ...] = ()  # oldest first

    def price_version(self, moment: datetime) -> int:
        """How often the price had changed by then."""
        return sum(change.changed_at <= moment for change in self.price_changes)

    def todays_usd(self, usd: float, decided_at: datetime) -> float:
        """About what an answer that cost `usd` when it was decided would cost now."""
        for change in self.price_changes:
            if change.changed_at > decided_at:
                usd = usd * float(change.factor) + float(change.added_usd)
        return usd


@dataclass(frozen=True, slots=True)
class ShadowAnswer:
    """What an arm in shadow answered to a decided request."""

    tenant: str
    attempt: Attempt
    text: str | None  # only where texts are stored
    reserved_usd: Decimal
    price_version: int


@dataclass(frozen=True, slots=True)
class ArmFigures:
    """What was observed of one arm, over all tenants."""

    sums: ArmSums
    n_shadow_calls: int = 0
    n_shadow_errors: int = 0
    shadow_usd: Decimal = Decimal(0)
    shadow_latency_s: float | None = None  # mean over answers; None: there are none


def price_change(old: Price, new: Price, changed_at: datetime) -> PriceChange | None:
    """How dollars billed at one price compare with another; None where they are the same.

    By the ratio of what a typical request costs. An arm that was free has no ratio: each of its earlier
    answers counts as a typical request. One that becomes free has cost nothing.
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
