"""Why a limit refuses a call, what still fits, and what clients are told of their rates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal

from service.domain.basics import plain
from service.domain.limit import Amount, Standing
from service.domain.value import value
from service.errors import BudgetSpent, LimitReached, Rate

SOON_S = 1.0  # when calls under way may have left enough


@value
class Refused:
    """Why a call is refused.

    Args:
        is_final: whether nothing that is under way can leave enough before the period ends.
        left_usd: what a cheaper model may cost; None: no other model helps.
        is_of_model: whether only the model's own limits refuse it, so that another one may be called.
    """

    error: LimitReached
    is_final: bool
    left_usd: Decimal | None
    is_of_model: bool


def refused_by(standings: Sequence[Standing], amounts: Sequence[Amount]) -> Refused | None:
    """Why the amounts are not held; None: they are."""
    over = [
        (standing, wanted.amount or Decimal(0))
        for standing, wanted in zip(standings, amounts, strict=True)
        if standing.is_over
    ]
    if not over:
        return None
    final = [each for each in over if _is_final(*each)]
    of_caller = [each for each in over if each[0].limit.subject.kind != "model"]
    is_cheaper_able = bool(of_caller) and all(each[0].limit.measure == "usd" for each in of_caller)
    return Refused(
        _error(final or over, rates_of(standings), is_final=bool(final)),
        is_final=bool(final),
        left_usd=min(each[0].left for each in of_caller) if is_cheaper_able else None,
        is_of_model=not of_caller,
    )


def rates_of(standings: Sequence[Standing]) -> Mapping[str, Rate]:
    """What is left to the caller, by `requests` and `tokens`: of several limits, the one with least left."""
    rates: dict[str, Rate] = {}
    for standing in standings:
        limit = standing.limit
        if limit.subject.kind == "model" or limit.measure == "usd":
            continue
        rate = Rate(int(limit.most), int(standing.left), standing.ends_in_s)
        if limit.measure not in rates or rate.left < rates[limit.measure].left:
            rates[limit.measure] = rate
    return rates


def _is_final(standing: Standing, wanted: Decimal) -> bool:
    return standing.used - standing.under_way + wanted > standing.limit.most


def _error(
    over: Sequence[tuple[Standing, Decimal]], rates: Mapping[str, Rate], *, is_final: bool
) -> LimitReached:
    standing, wanted = max(over, key=lambda each: each[0].ends_in_s)
    message = _message(standing, wanted, is_final=is_final)
    if not is_final:
        return LimitReached(message, retry_after_s=SOON_S, rates=rates)
    kind = BudgetSpent if standing.limit.measure == "usd" else LimitReached
    return kind(message, retry_after_s=max(standing.ends_in_s, SOON_S), rates=rates)


def _message(standing: Standing, wanted: Decimal, *, is_final: bool) -> str:
    limit = standing.limit
    whose = f"model {limit.subject.name}" if limit.subject.kind == "model" else f"this {limit.subject.kind}"
    unit = "USD" if limit.measure == "usd" else limit.measure
    left = f"the limit of {whose}, {limit}, leaves {plain(standing.left)} {unit}"
    if limit.measure == "usd":
        needs = f"the request may cost {plain(_cents(wanted))} USD at worst"
        needs += "; a lower max_tokens needs less" if wanted > limit.most else ""
    else:
        needs = f"the request needs {plain(wanted)}"
    until = (
        f"a new {limit.period} begins in {math.ceil(standing.ends_in_s)} s"
        if is_final
        else "requests under way may leave more in a moment"
    )
    return f"{left}, and {needs}; {until}"


def _cents(usd: Decimal) -> Decimal:
    return usd.quantize(Decimal("0.000001"))
