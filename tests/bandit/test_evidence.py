from dataclasses import fields, replace
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit.evidence import Neighbours, Sums, kernel
from bandit.knobs import Knobs
from tests.bandit.worlds import random_neighbours, seeds, some_neighbours

rewards = st.floats(min_value=0, max_value=1)
ratings = st.builds(Sums.rating, st.just(3), st.integers(0, 2), rewards, st.floats(min_value=0, max_value=10))
outcomes = st.builds(
    Sums.outcome,
    st.just(3),
    st.integers(0, 2),
    st.none() | st.floats(min_value=0, max_value=0.5),
    st.floats(min_value=0, max_value=1000),
)
events = st.lists(ratings | outcomes, max_size=30)


def total(parts: list[Sums]) -> Sums:
    return sum(parts, start=Sums.zeros(3))


def same(left: Sums, right: Sums) -> bool:
    return all(np.array_equal(getattr(left, f.name), getattr(right, f.name)) for f in fields(Sums))


@given(parts=events, order=st.randoms(use_true_random=False), cut=st.integers(0, 30))
def test_evidence_merges_in_any_order_to_the_same_bits(parts: list[Sums], order: Random, cut: int) -> None:
    shuffled = order.sample(parts, len(parts))

    merged = total(shuffled[:cut]) + total(shuffled[cut:])

    assert same(merged, total(parts))


@given(before=events, after=events, reward=rewards)
def test_withdrawn_feedback_leaves_no_trace(before: list[Sums], after: list[Sums], reward: float) -> None:
    feedback = Sums.rating(3, 1, reward)

    withdrawn = total([*before, feedback, *after]) - feedback

    assert same(withdrawn, total([*before, *after]))


def test_a_rating_counts_with_its_weight() -> None:
    sums = Sums.rating(2, 1, reward=0.5, weight=0.25)

    assert sums.n.tolist() == [0.0, 0.25]
    assert sums.reward_sum.tolist() == [0.0, 0.125]
    assert sums.n_outcomes.tolist() == [0.0, 0.0]


def test_a_fraction_of_a_cent_is_kept_to_a_nano_dollar() -> None:
    sums = total([Sums.outcome(3, 0, cost_usd=0.0000123, latency_s=0.25)] * 1000)

    assert sums.cost_usd_sum[0] == pytest.approx(0.0123, abs=1e-6)
    assert sums.latency_s_sum[0] == 250.0
    assert sums.n_outcomes[0] == 1000.0


def test_squares_tell_calls_that_vary_from_calls_that_do_not() -> None:
    costs, latencies = [0.0000123, 0.0003, 0.25], [0.01, 2.0, 600.0]

    varied = total([Sums.outcome(3, 1, c, s) for c, s in zip(costs, latencies, strict=True)])
    equal = total([Sums.outcome(3, 1, 0.0000123, 0.01)] * 3)

    assert varied.cost_usd_squares[1] == pytest.approx(np.square(costs).sum(), rel=1e-9)
    assert varied.latency_s_squares[1] == pytest.approx(np.square(latencies).sum(), rel=1e-9)
    assert equal.cost_usd_squares[1] == pytest.approx(3 * 0.0000123**2, rel=1e-4)
    assert equal.latency_s_squares[1] == pytest.approx(3 * 0.0001, rel=1e-2)
    assert varied.cost_usd_squares[0] == varied.latency_s_squares[0] == 0.0


def test_a_call_of_unknown_cost_adds_seconds_and_no_dollars() -> None:
    sums = Sums.outcome(2, 0, cost_usd=None, latency_s=3.0)

    assert sums.cost_usd_sum.tolist() == sums.cost_usd_squares.tolist() == [0.0, 0.0]
    assert sums.n_unpriced.tolist() == [1.0, 0.0]
    assert sums.latency_s_squares.tolist() == [9.0, 0.0]


@pytest.mark.parametrize("reward", [-0.1, 1.5, float("nan")])
def test_a_reward_outside_its_range_is_refused(reward: float) -> None:
    with pytest.raises(ValueError, match=r"reward must be in \[0, 1\]"):
        Sums.rating(2, 0, reward)


def test_a_negative_cost_is_refused() -> None:
    with pytest.raises(ValueError, match="cost_usd and latency_s must be at least 0"):
        Sums.outcome(2, 0, cost_usd=-1.0, latency_s=1.0)


def test_neighbours_of_unequal_lengths_are_refused() -> None:
    neighbours = some_neighbours([0, 1], [1.0, 0.0])

    with pytest.raises(ValueError, match="must have shape"):
        replace(neighbours, reward=np.ones(3))


def test_the_kernel_is_the_similarity_and_nothing_for_opposites() -> None:
    neighbours = replace(some_neighbours([0, 0, 0], [1, 1, 1]), similarity=np.array([1.0, 0.25, -0.5]))

    weights = kernel(neighbours, Knobs(similarity_threshold=-1.0))

    assert weights.tolist() == [1.0, 0.25, 0.0]


@given(seed=seeds)
def test_neighbours_may_come_in_any_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    neighbours = random_neighbours(3, rng, k=30)
    order = rng.permutation(30)
    shuffled = Neighbours(*(getattr(neighbours, f.name)[order] for f in fields(Neighbours)))
    knobs = Knobs(max_similar_requests=10)

    assert np.array_equal(kernel(shuffled, knobs), kernel(neighbours, knobs)[order])


def test_an_announced_price_scales_the_dollars_and_nothing_else() -> None:
    sums = total([Sums.outcome(3, 0, cost_usd=0.02, latency_s=0.25), Sums.rating(3, 0, 1.0)])

    repriced = sums.repriced(np.array([0.5, 1.0, 1.0]))

    assert repriced.cost_usd_sum.tolist() == pytest.approx([0.01, 0.0, 0.0])
    assert repriced.cost_usd_squares.tolist() == pytest.approx([0.0001, 0.0, 0.0])
    as_before = {"cost_usd_sum": sums.cost_usd_sum, "cost_usd_squares": sums.cost_usd_squares}
    assert same(replace(repriced, **as_before), sums)
