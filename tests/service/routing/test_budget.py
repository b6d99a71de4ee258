"""How the budget resumes after a restart."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest

from bandit.budget import PURSE_LIMIT, PURSE_START, Pacer
from service.domain.decision import PacedArm, Spend
from service.domain.registration import ArmRegistration, PriceChange
from service.routing.budget import resume

NOW = datetime(2026, 11, 20, tzinfo=UTC)
BUDGET = 0.01
CHEAP = PacedArm("cheap", 5.0, 5.0, 0.0, BUDGET / 4)
DEAR = PacedArm("dear", 90.0, 10.0, 0.0, BUDGET * 4)


def spend(arm_id: str, cost_usd: float | None, *arms: PacedArm) -> Spend:
    return Spend(NOW, arm_id, cost_usd, arms, feedback_weight=None)


def resumed(*spends: Spend, budget: float | None = BUDGET, **registrations: ArmRegistration) -> Pacer:
    pacer = Pacer(budget)
    resume(pacer, spends, registrations, 1.0, np.random.default_rng(0))
    return pacer


def test_the_resumed_purse_has_paid_the_logged_costs() -> None:
    pacer = resumed(spend("dear", 4 * BUDGET), spend("cheap", BUDGET / 4, CHEAP, DEAR))

    assert pacer.purse == pytest.approx(PURSE_START + 2 - 4.25)


def test_the_cost_of_a_request_without_an_outcome_is_reserved() -> None:
    assert resumed(spend("dear", None, CHEAP, DEAR)).purse == pytest.approx(PURSE_START + 1 - 4)


def test_the_price_is_solved_at_once_from_the_last_requests() -> None:
    assert resumed().price == 0.0
    assert resumed(*[spend("dear", 4 * BUDGET, CHEAP, DEAR)] * 5).price > 0.05


def test_resumed_dollars_are_at_todays_prices() -> None:
    fell = PriceChange(NOW.replace(day=21), Decimal("0.05"), Decimal(0))
    history = [spend("dear", 4 * BUDGET, CHEAP, DEAR)] * 5

    assert resumed(*history, dear=ArmRegistration("dear", NOW, NOW, price_changes=(fell,))).price == 0.0


def test_a_debt_is_dropped_and_credit_is_limited() -> None:
    assert resumed(*[spend("dear", 40 * BUDGET)] * 5).purse == 0.0
    assert resumed(*[spend("cheap", 0.0)] * 50).purse == PURSE_LIMIT


def test_without_a_budget_nothing_is_resumed() -> None:
    assert resumed(spend("dear", 1.0, CHEAP, DEAR), budget=None).price == 0.0


def test_restarts_do_not_overspend() -> None:
    rng, history = np.random.default_rng(0), list[Spend]()
    expected_usd = np.array([CHEAP.expected_cost_usd, DEAR.expected_cost_usd])
    for _ in range(60):
        pacer = resumed(*history)
        for _ in range(5):
            utilities = rng.beta([CHEAP.alpha, DEAR.alpha], [CHEAP.beta, DEAR.beta])
            offset = np.where(pacer.barred(expected_usd), -np.inf, -pacer.price * expected_usd / BUDGET)
            chosen = int(np.argmax(utilities + offset))
            pacer.record(utilities, expected_usd, chosen)
            history.append(spend((CHEAP, DEAR)[chosen].arm_id, expected_usd[chosen], CHEAP, DEAR))

    spent = sum(past.cost_usd or 0.0 for past in history)
    assert 0.9 * BUDGET * len(history) < spent <= BUDGET * (len(history) + PURSE_LIMIT)
