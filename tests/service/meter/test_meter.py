from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from decimal import Decimal
from uuid import UUID

import pytest

from service.domain.caller import ALL_SCOPES, Caller
from service.domain.limit import Amount, Limit, Passed, Standing, Subject
from service.errors import LimitReached, StoreUnavailable
from service.meter.meter import Hold, Meter, Use
from tests.fakes_limits import FakeLedger

KEY_ID = UUID(int=1)
OF_KEY = Limit(Subject("key", str(KEY_ID)), "usd", "day", Decimal(5))
CALLER = Caller("acme", ALL_SCOPES, KEY_ID, "ci")
LIMITED = Caller("acme", ALL_SCOPES, KEY_ID, "ci", limits=(OF_KEY,))
CHEAP = Use("small", Decimal("0.1"), 100)


class MuteLedger(FakeLedger):
    """A ledger that holds, and whose answer is lost."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    async def hold(self, hold_id: UUID, amounts: Sequence[Amount], lease_s: float) -> list[Standing]:
        await super().hold(hold_id, amounts, lease_s)
        raise self.error


def meter_of(
    ledger: FakeLedger, *, told: list[Passed] | None = None, **of: Mapping[str, Sequence[Limit]]
) -> Meter:
    return Meter(
        ledger,
        of_tenants=of.get("of_tenants", {}),
        of_models=of.get("of_models", {}),
        on_passed=(told if told is not None else []).append,
        on_refused=lambda _: None,
    )


async def test_a_key_with_limits_is_limited_and_one_without_asks_nothing() -> None:
    ledger = FakeLedger()
    meter = meter_of(ledger)

    assert meter.is_limited(LIMITED, "small")
    assert not meter.is_limited(CALLER, "small")
    assert await meter.hold(Hold(), LIMITED, (), Use("small", Decimal(6), 1)) is not None
    assert await meter.hold(Hold(), CALLER, (), Use("small", Decimal(6), 1)) is None
    assert ledger.n_calls == 1


async def test_the_next_call_of_a_request_holds_only_what_the_earlier_ones_used_and_its_own_worst() -> None:
    ledger = FakeLedger()
    meter, hold = meter_of(ledger), Hold()
    await meter.hold(hold, LIMITED, (), Use("large", Decimal(4), 10))

    failed_unbilled = Use("large", Decimal(0), 0)
    assert await meter.hold(hold, LIMITED, [failed_unbilled], Use("medium", Decimal(3), 10)) is None
    await meter.settle(hold, [failed_unbilled, Use("medium", Decimal("0.5"), 20)])

    assert list(ledger.used.values()) == [Decimal("0.5")]


async def test_a_cost_that_nobody_knows_counts_as_what_was_held() -> None:
    ledger = FakeLedger()
    meter, hold = meter_of(ledger), Hold()
    await meter.hold(hold, LIMITED, (), CHEAP)

    await meter.settle(hold, [Use("small", None, 20)])

    assert list(ledger.used.values()) == [CHEAP.usd]


async def test_calls_of_models_count_for_each_of_them_and_the_request_once_for_its_caller() -> None:
    of_model = {name: [Limit(Subject("model", name), "requests", "day", Decimal(9))] for name in ("a", "b")}
    of_tenant = Limit(Subject("tenant", "acme"), "requests", "day", Decimal(9))
    ledger = FakeLedger()
    meter, hold = meter_of(ledger, of_models=of_model, of_tenants={"acme": [of_tenant]}), Hold()
    await meter.hold(hold, CALLER, (), Use("a", Decimal(0), 1))
    await meter.hold(hold, CALLER, [Use("a", Decimal(0), 1)], Use("b", Decimal(0), 1))

    await meter.settle(hold, [Use("a", Decimal(0), 1), Use("b", Decimal(0), 1)])

    used = {str(subject): used for (subject, _, _), used in ledger.used.items()}
    assert used == {"tenant:acme": 1, "model:a": 1, "model:b": 1}


async def test_a_cancelled_request_of_one_call_counts_at_its_worst_price() -> None:
    ledger = FakeLedger()
    meter = meter_of(ledger)

    with pytest.raises(asyncio.CancelledError):
        async with meter.metering(LIMITED, CHEAP):
            raise asyncio.CancelledError

    assert list(ledger.used.values()) == [CHEAP.usd]
    assert ledger.holds == {}


@pytest.mark.parametrize("error", [StoreUnavailable("no answer in time"), asyncio.CancelledError()])
async def test_a_hold_whose_answer_is_lost_is_given_back(error: BaseException) -> None:
    ledger = MuteLedger(error)
    meter = meter_of(ledger)

    with pytest.raises(type(error)):
        async with meter.metering(LIMITED, CHEAP):
            pytest.fail("the call began")

    assert ledger.holds == {}
    assert list(ledger.used.values()) == [0]


@pytest.mark.parametrize("error", [StoreUnavailable("no answer in time"), asyncio.CancelledError()])
async def test_after_a_hold_whose_answer_is_lost_the_earlier_calls_of_the_request_count(
    error: BaseException,
) -> None:
    ledger, hold = MuteLedger(error), Hold()
    meter = meter_of(ledger)

    with pytest.raises(type(error)):
        await meter.hold(hold, LIMITED, [CHEAP], Use("large", Decimal(3), 10))
    await meter.settle(hold, [CHEAP])

    assert ledger.holds == {}
    assert list(ledger.used.values()) == [CHEAP.usd]


async def test_what_the_router_itself_asks_is_charged_to_nobody() -> None:
    ledger = FakeLedger()
    limit = Limit(Subject("tenant", "acme"), "usd", "day", Decimal(0))
    meter = meter_of(ledger, of_tenants={"acme": [limit]})

    assert not meter.is_limited(None, "small")


async def test_a_refusal_by_dollars_says_what_a_cheaper_model_may_cost() -> None:
    ledger = FakeLedger()
    meter = meter_of(ledger)
    await meter.hold(Hold(), LIMITED, (), Use("large", Decimal(3), 1))

    refused = await meter.hold(Hold(), LIMITED, (), Use("large", Decimal(3), 1))

    assert refused is not None
    assert (refused.left_usd, refused.is_final, refused.is_of_model) == (Decimal(2), False, False)
    assert "may leave more in a moment" in str(refused.error)


async def test_the_tightest_of_several_limits_is_told() -> None:
    subject = Subject("tenant", "acme")
    limits = [
        Limit(subject, "requests", "minute", Decimal(60)),
        Limit(subject, "requests", "day", Decimal(2)),
    ]
    meter, hold = meter_of(FakeLedger(), of_tenants={"acme": limits}), Hold()

    await meter.hold(hold, CALLER, (), CHEAP)

    assert (hold.rates["requests"].limit, hold.rates["requests"].left) == (2, 1)


async def test_a_used_up_rate_is_known_until_its_period_ends() -> None:
    now = 0.0
    limit = Limit(Subject("tenant", "acme"), "requests", "minute", Decimal(1))
    meter = Meter(
        FakeLedger(),
        of_tenants={"acme": [limit]},
        of_models={},
        on_passed=lambda _: None,
        on_refused=lambda _: None,
        seconds=lambda: now,
    )
    for _ in range(2):
        hold = Hold()
        await meter.hold(hold, CALLER, (), CHEAP)
        await meter.settle(hold, [CHEAP])

    now = 10.0
    with pytest.raises(LimitReached) as refused:
        meter.check(CALLER)
    assert refused.value.retry_after_s == 20.0
    now = 31.0
    meter.check(CALLER)
