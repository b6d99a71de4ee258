"""GET /v1/stats."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import Response

from service.api.dependencies import PartsDep, TenantDep
from service.api.disconnects import unless_disconnected
from service.api.json_response import JsonAnswer
from service.api.openapi import failures, query_parameters
from service.dialects.json_body import invalid
from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.traffic import Group, TrafficTotals, total
from service.errors import BadRequest, Unavailable, UnknownModel
from service.evaluation.projection import (
    MONTH_DAYS,
    Projection,
    Saving,
    against_baseline,
    against_holdout,
    observed_days,
)
from service.evaluation.savings import (
    CONFIDENCE,
    HoldoutDifference,
    assumed_savings,
    cost_difference,
    costs_of,
    holdout_difference,
    known_cost_usd,
    rewards_of,
)
from service.parts import Parts

endpoints = APIRouter(tags=["operations"])

USUAL_DAYS = 30
MAX_DAYS = 366
NOT_ROUTED = {"pinned", "cache"}  # the client chose the model, or the router called none

OFF = HoldoutDifference(None, "HOLDOUT_SHARE is 0: no request was held out")
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
Moment = Annotated[AwareDatetime, Field(ge=EARLIEST, le=LATEST)]


class StatsRequest(BaseModel):
    """Which requests to count, and with which model to compare them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    days: int | None = Field(
        None, ge=1, le=MAX_DAYS, description="length of the window before `until`, days; absent: 30"
    )
    since: Moment | None = Field(None, description="start of the window, with a time zone")
    until: Moment | None = Field(
        None, description="end of the window, exclusive, with a time zone; absent: now"
    )
    baseline: str | None = Field(
        None, max_length=128, description="model to compare costs with; absent: DEFAULT_MODEL"
    )

    def window(self, now: datetime) -> tuple[datetime, datetime]:
        """The start of the window, and its end, which is exclusive.

        Raises:
            BadRequest: the window is empty, is too long or is given twice.
        """
        until = self.until or now
        if self.since is None:
            return until - timedelta(days=self.days or USUAL_DAYS), until
        if self.days is not None:
            raise BadRequest("days: give days or since, not both", param="days")
        if not self.since < until <= self.since + timedelta(days=MAX_DAYS):
            rule = f"must be before until ({until.isoformat()}), by at most {MAX_DAYS} days"
            raise BadRequest(f"since: {rule}, got {self.since.isoformat()}", param="since")
        return self.since, until


@endpoints.get(
    "/v1/stats",
    openapi_extra=query_parameters(StatsRequest),
    responses=failures(BadRequest, UnknownModel, Unavailable),
)
async def stats(request: Request, parts: PartsDep, tenant: TenantDep) -> Response:
    """Traffic, cost and savings: assumed from the price list, and measured against the holdout."""
    stats_request = _read(request)
    since, until = stats_request.window(request.state.received_at)
    baseline = parts.catalog.known(stats_request.baseline or parts.catalog.default_arm_id, param="baseline")
    traffic = await unless_disconnected(request, parts.reports.traffic(tenant, since, until))
    return JsonAnswer(
        {
            "since": since.isoformat(),
            "until": until.isoformat(),
            "total": _numbers(total(traffic.values())),
            "per_decision": _per("decision", traffic, lambda group: group.kind),
            "per_model": _per("model", traffic, lambda group: group.arm_id),
            "per_day": _per("day", traffic, lambda group: group.day.isoformat()),
            "savings": {
                "assumed": _assumed(traffic, baseline),
                "measured": _measured(traffic, parts),
                "projected": _projected(traffic, baseline, parts, since, until),
            },
        }
    )


def _read(request: Request) -> StatsRequest:
    try:
        return StatsRequest.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise invalid(error) from error


def _per(name: str, traffic: Mapping[Group, TrafficTotals], key: Callable[[Group], str]) -> list[Json]:
    totals_of: defaultdict[str, TrafficTotals] = defaultdict(TrafficTotals)
    for group, totals in traffic.items():
        totals_of[key(group)] += totals
    return [{name: value, **_numbers(totals_of[value])} for value in sorted(totals_of)]


def _numbers(totals: TrafficTotals) -> Json:
    return {
        "requests": totals.n_requests,
        "ok": totals.n_ok,
        "failed": totals.n_failed,
        "cancelled": totals.n_cancelled,
        "cost_usd": known_cost_usd(totals),
        "requests_of_unknown_cost": totals.n_unpriced,
        "prompt_tokens": totals.prompt_tokens,
        "cached_tokens": totals.cached_tokens,
        "cache_write_tokens": totals.cache_write_tokens,
        "completion_tokens": totals.completion_tokens,
        "reasoning_tokens": totals.reasoning_tokens,
        "mean_latency_ms": _mean_ms(totals.latency_s, totals.n_timed),
        "mean_ttft_ms": _mean_ms(totals.ttft_s, totals.n_streamed),
        "rated": totals.n_rated,
        "mean_reward": rewards_of(totals).mean,
    }


def _mean_ms(seconds: Decimal, n: int) -> float | None:
    return round(float(seconds) / n * 1000, 3) if n else None


def _assumed(traffic: Mapping[Group, TrafficTotals], baseline: Arm) -> Json:
    """The savings of the requests whose cost is known."""
    routed = _routed(traffic)
    priced = _priced(routed)
    savings = None if baseline.price is None else assumed_savings(priced, baseline.price)
    return {
        "baseline": baseline.arm_id,
        "requests": priced.n_requests,
        "requests_of_unknown_cost": total(routed.values()).n_unpriced,
        "cost_usd": priced.cost_usd,
        "baseline_cost_usd": None if savings is None else savings.baseline_usd,
        "saved_usd": None if savings is None else savings.saved_usd,
        "saved_share": None if savings is None else savings.saved_share,
        "reason": _unknown_price(baseline),
    }


def _routed(traffic: Mapping[Group, TrafficTotals]) -> dict[Group, TrafficTotals]:
    """The requests for which the router chose the model."""
    return {group: totals for group, totals in traffic.items() if group.kind not in NOT_ROUTED}


def _priced(traffic: Mapping[Group, TrafficTotals]) -> TrafficTotals:
    return total(totals for group, totals in traffic.items() if group.is_priced)


def _unknown_price(baseline: Arm) -> str | None:
    return f"the price of {baseline.arm_id} is not known" if baseline.price is None else None


def _measured(traffic: Mapping[Group, TrafficTotals], parts: Parts) -> Json:
    routed, held_out = _sides(traffic)
    is_off = _is_off(parts, held_out)
    reward = OFF if is_off else holdout_difference(rewards_of(routed), rewards_of(held_out))
    return {
        "default_model": parts.catalog.default_arm_id,
        "holdout_share": parts.settings.holdout_share,
        "confidence": CONFIDENCE,
        "routed": _side(routed),
        "held_out": _side(held_out),
        "cost_usd_per_request": _difference(_cost_difference(traffic, parts)),
        "reward": _difference(reward),
    }


def _sides(traffic: Mapping[Group, TrafficTotals]) -> tuple[TrafficTotals, TrafficTotals]:
    """The routed and the held-out requests among those that were in the draw."""
    routed = total(totals for group, totals in traffic.items() if group.holdout is False)
    held_out = total(totals for group, totals in traffic.items() if group.holdout)
    return routed, held_out


def _is_off(parts: Parts, held_out: TrafficTotals) -> bool:
    return parts.settings.holdout_share == 0 and held_out.n_requests == 0


def _cost_difference(traffic: Mapping[Group, TrafficTotals], parts: Parts) -> HoldoutDifference:
    routed, held_out = _sides(traffic)
    return OFF if _is_off(parts, held_out) else cost_difference(routed, held_out)


def _projected(
    traffic: Mapping[Group, TrafficTotals], baseline: Arm, parts: Parts, since: datetime, until: datetime
) -> Json:
    """What the measured traffic saves in a month, and at round numbers of requests."""
    days = observed_days((group.day for group in traffic), since, until)
    priced = _priced(_routed(traffic))
    savings = None if baseline.price is None else assumed_savings(priced, baseline.price)
    assumed = against_baseline(priced.n_requests, days, savings, _unknown_price(baseline))
    routed, _ = _sides(traffic)
    measured = against_holdout(routed.n_finished, days, _cost_difference(traffic, parts))
    return {
        "days": round(days, 3),
        "month_days": MONTH_DAYS,
        "confidence": CONFIDENCE,
        "against_baseline": {"model": baseline.arm_id, **_projection(assumed)},
        "against_holdout": {"model": parts.catalog.default_arm_id, **_projection(measured)},
    }


def _projection(projection: Projection) -> Json:
    return {
        "requests": projection.n_requests,
        "requests_per_day": projection.requests_per_day,
        "saved_usd_per_request": _saving(projection.per_request, projection.reason),
        "saved_usd_per_month": _saving(projection.per_month, projection.reason_of_month),
        "saved_usd_at_requests": {
            str(n): _saving(saving, projection.reason) for n, saving in projection.at_round_numbers.items()
        },
    }


def _saving(saving: Saving | None, reason: str | None) -> Json:
    if saving is None:
        return {"saved_usd": None, "low": None, "high": None, "reason": reason}
    return {"saved_usd": saving.usd, "low": saving.low_usd, "high": saving.high_usd, "reason": None}


def _side(totals: TrafficTotals) -> Json:
    cost, reward = costs_of(totals), rewards_of(totals)
    return {
        "requests": cost.n,
        "mean_cost_usd": None if totals.n_unpriced else cost.mean,
        "rated": reward.n,
        "mean_reward": reward.mean,
    }


def _difference(found: HoldoutDifference) -> Json:
    if found.difference is None:
        return {"difference": None, "low": None, "high": None, "reason": found.reason}
    between = found.difference
    return {"difference": between.value, "low": between.low, "high": between.high, "reason": None}
