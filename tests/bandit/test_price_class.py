"""The level that a price suggests."""

import numpy as np
import pytest
from hypothesis import given
from scipy.optimize import isotonic_regression

from bandit.arrays import Bools, Floats
from bandit.price_class import price_class
from tests.bandit.worlds import seeds

UNKNOWN = np.nan


def levels(quality: list[float], price: list[float]) -> list[float]:
    figures = np.array(quality)
    suggested: list[float] = price_class(figures, ~np.isnan(figures), np.array(price)).tolist()
    return suggested


def random_arms(seed: int) -> tuple[Floats, Bools, Floats]:
    rng = np.random.default_rng(seed)
    n_arms = int(rng.integers(1, 9))
    price = np.round(10.0 ** rng.uniform(-1.0, 2.0, n_arms))  # some equal, some 0
    price[rng.random(n_arms) < 0.2] = UNKNOWN
    known = rng.random(n_arms) < 0.5
    known[rng.integers(n_arms)] = True
    return np.where(known, rng.uniform(size=n_arms), UNKNOWN), known, price


@given(seeds)
def test_every_level_is_within_the_known_qualities(seed: int) -> None:
    quality, known, price = random_arms(seed)

    suggested = price_class(quality, known, price)

    assert np.all((suggested >= quality[known].min()) & (suggested <= quality[known].max()))


@given(seeds)
def test_a_higher_price_never_suggests_less_and_an_equal_one_the_same(seed: int) -> None:
    quality, known, price = random_arms(seed)
    is_priced = ~np.isnan(price)

    by_price = np.argsort(price[is_priced])
    suggested = price_class(quality, known, price)[is_priced][by_price]

    assert np.all(np.diff(suggested) >= 0)
    assert np.all(np.diff(suggested)[np.diff(price[is_priced][by_price]) == 0] == 0)


@given(seeds)
def test_the_unit_and_the_order_do_not_matter(seed: int) -> None:
    quality, known, price = random_arms(seed)
    order = np.random.default_rng(seed).permutation(price.size)

    shuffled = price_class(quality[order], known[order], 1000.0 * price[order])

    assert shuffled.tolist() == pytest.approx(price_class(quality, known, price)[order].tolist())


def test_an_arm_gets_the_level_of_the_highest_known_price_up_to_its_own() -> None:
    known_quality, known_price = [0.5, 0.7, 0.9], [1.0, 2.0, 4.0]
    price = [1.0, 1.9, 2.0, 3.9, 4.0, 100.0]

    suggested = levels([*known_quality, *[UNKNOWN] * 6], [*known_price, *price])

    assert suggested[3:] == pytest.approx([0.5, 0.5, 0.7, 0.7, 0.9, 0.9])


def test_a_free_arm_or_one_cheaper_than_all_known_ones_gets_the_level_of_the_cheapest() -> None:
    suggested = levels([0.5, 0.9, UNKNOWN, UNKNOWN], [1.0, 4.0, 0.0, 0.01])

    assert suggested[2:] == pytest.approx([0.5, 0.5])


def test_a_cheap_arm_that_is_better_than_a_dear_one_shares_its_level() -> None:
    suggested = levels([0.9, 0.5, 0.95, UNKNOWN, UNKNOWN], [1.0, 2.0, 4.0, 0.0, 4.0])

    assert suggested == pytest.approx([0.7, 0.7, 0.95, 0.7, 0.95])


def test_known_arms_of_one_price_share_a_level() -> None:
    assert levels([0.5, 0.9, UNKNOWN, UNKNOWN], [1.0, 1.0, 1.0, 0.0]) == pytest.approx([0.7] * 4)


def test_a_price_that_is_not_known_suggests_the_known_arms_mean() -> None:
    assert levels([0.9, 0.5, UNKNOWN], [10.0, 0.1, UNKNOWN])[2] == pytest.approx(0.7)


def test_a_known_arm_without_a_price_does_not_shift_the_levels_of_others() -> None:
    suggested = levels([0.9, 0.5, UNKNOWN, UNKNOWN], [UNKNOWN, 1.0, 3.0, UNKNOWN])

    assert suggested[2:] == pytest.approx([0.5, 0.7])


def test_without_any_price_among_known_arms_all_are_at_their_mean() -> None:
    assert levels([0.9, 0.5, UNKNOWN], [UNKNOWN, UNKNOWN, 3.0])[2] == pytest.approx(0.7)


def test_known_arms_get_the_least_squares_fit_that_never_falls() -> None:
    rng = np.random.default_rng(5)

    for n_arms in range(1, 40):
        quality = rng.random(n_arms)
        fit = isotonic_regression(quality).x
        assert levels(list(quality), list(np.arange(1.0, n_arms + 1))) == pytest.approx(list(fit))
