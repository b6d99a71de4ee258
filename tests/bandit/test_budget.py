import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit.arrays import Floats
from bandit.budget import PURSE_LIMIT, PURSE_START, Pacer, solve_price
from tests.bandit.worlds import seeds


def spend(pacer: Pacer, n_requests: int, rng: np.random.Generator, costs: Floats) -> Floats:
    """Run requests under the pacer's price and purse; return their dollars."""
    spent = np.zeros(n_requests)
    for i in range(n_requests):
        utilities = rng.normal(np.linspace(0.4, 0.8, costs.size), 0.1)
        expected = costs * rng.uniform(0.5, 1.5)
        budget = pacer.budget_usd or 1.0
        total = utilities - pacer.price * expected / budget
        arm = int(np.where(pacer.barred(expected), -np.inf, total).argmax())
        pacer.record(utilities, expected, arm)
        spent[i] = expected[arm] * rng.uniform(0.9, 1.1)
        pacer.settle(float(expected[arm]), float(spent[i]))
    return spent


def test_without_a_budget_nothing_is_priced_or_barred() -> None:
    pacer = Pacer(None)

    spend(pacer, 50, np.random.default_rng(0), np.array([0.1, 10.0]))

    assert pacer.price == 0.0
    assert not pacer.barred(np.array([0.1, 1e6])).any()


@given(seed=seeds, target=st.floats(min_value=0.01, max_value=3.0))
def test_the_price_is_the_lowest_that_meets_the_target(seed: int, target: float) -> None:
    rng = np.random.default_rng(seed)
    utilities, dollars = rng.uniform(size=(100, 4)), rng.uniform(0.0, 2.0, size=(100, 4))
    dollars[:, 0] = 0.0

    price = solve_price(utilities, dollars, target)

    def replayed(at: float) -> float:
        return float(dollars[np.arange(100), (utilities - at * dollars).argmax(axis=1)].mean())

    assert replayed(price) <= target
    assert price == 0.0 or replayed(price - 1e-6) > target


@given(seed=seeds)
def test_the_price_rises_only_when_overspending(seed: int) -> None:
    rng = np.random.default_rng(seed)
    utilities, dollars = rng.uniform(size=(100, 4)), rng.uniform(0.0, 2.0, size=(100, 4))
    earlier = rng.uniform(0.0, 2.0)
    spent = dollars[np.arange(100), (utilities - earlier * dollars).argmax(axis=1)].mean()

    assert solve_price(utilities, dollars, target=spent + 1e-9) <= earlier + 1e-6
    assert solve_price(utilities, dollars, target=spent - 1e-3) >= earlier - 1e-6


def test_a_budget_below_the_cheapest_arm_leaves_the_cheapest_arm() -> None:
    pacer = Pacer(0.001)

    spent = spend(pacer, 300, np.random.default_rng(1), np.array([0.002, 0.02]))

    assert spent[100:].max() < 0.02 * 0.4
    assert not pacer.barred(np.array([0.002, 0.02]))[0]


@pytest.mark.parametrize("seed", range(5))
def test_no_stretch_of_requests_overspends_by_more_than_the_purse(seed: int) -> None:
    budget = 0.01
    pacer = Pacer(budget)

    spent = spend(pacer, 600, np.random.default_rng(seed), np.array([0.001, 0.008, 0.05, 0.15]))

    balance = np.concatenate([[0.0], np.cumsum(spent / budget - 1.0)])
    worst = (balance - np.minimum.accumulate(balance)).max()
    # Calls cost up to a tenth more than expected, and one such call can be the purse's last.
    assert worst <= PURSE_LIMIT * 1.1
    assert 0.85 * budget < spent.mean() < 1.03 * budget


def test_a_loose_budget_costs_nothing() -> None:
    pacer = Pacer(1.0)

    spend(pacer, 100, np.random.default_rng(2), np.array([0.001, 0.05]))

    assert pacer.price == 0.0
    assert pacer.purse == PURSE_LIMIT


def test_an_arm_above_the_purse_is_barred_only_if_it_is_above_the_budget() -> None:
    empty = Pacer(0.01, purse=0.5)

    assert empty.barred(np.array([0.001, 0.009, 0.02])).tolist() == [False, False, True]
    assert Pacer(0.01, purse=3.0).barred(np.array([0.001, 0.009, 0.02])).tolist() == [False] * 3


def test_dollars_are_reserved_while_the_call_runs_and_returned_if_it_bills_nothing() -> None:
    pacer, expected = Pacer(0.01), np.array([0.001, 0.05])

    pacer.record(np.array([0.0, 1.0]), expected, chosen=1)
    reserved = pacer.purse
    pacer.settle(0.05, 0.0)

    assert reserved == pytest.approx(PURSE_START + 1 - 5)
    assert pacer.purse == pytest.approx(PURSE_START + 1)


def test_requests_with_different_eligible_arms_share_one_window() -> None:
    pacer = Pacer(0.01)

    for _ in range(5):
        pacer.record(np.array([0.5, 0.9]), np.array([0.001, 0.03]), chosen=1)
        pacer.record(np.array([0.5, 0.7, 0.9]), np.array([0.001, 0.002, 0.03]), chosen=2)

    assert pacer.price > 0


def test_an_announced_price_counts_at_once_in_the_window() -> None:
    pacer = Pacer(0.01)
    for _ in range(50):
        pacer.record(np.array([0.5, 0.9]), np.array([0.001, 0.03]), chosen=0, arms=("cheap", "dear"))
    before = pacer.price

    pacer.reprice("dear", 1 / 20)

    assert before > 0
    assert pacer.price == 0.0
