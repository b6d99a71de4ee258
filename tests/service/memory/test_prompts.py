"""Prompts: which rated decisions are outcomes of one."""

from __future__ import annotations

import numpy as np
from hypothesis import given

from service.memory.prompts import by_prompt, context_key
from tests.bandit.worlds import seeds


@given(seeds)
def test_each_asking_of_a_context_has_one_outcome_of_each_arm_newest_first(seed: int) -> None:
    rng = np.random.default_rng(seed)
    k = int(rng.integers(1, 200))
    rank = np.unique(rng.integers(12, size=k), return_inverse=True)[1]
    arm, decided_at, key = rng.integers(4, size=k), rng.integers(30, size=k), rng.permutation(k)

    order, prompt = by_prompt(rank, arm, decided_at, key)

    assert sorted(order) == list(range(k))
    assert np.unique(prompt).tolist() == list(range(prompt[-1] + 1))
    assert (np.diff(prompt) >= 0).all()
    assert (np.diff(rank[order]) >= 0).all()
    for number in range(prompt[-1] + 1):
        outcomes = order[prompt == number]
        assert len(set(rank[outcomes])) == 1
        assert len(set(arm[outcomes])) == outcomes.size
    for context in set(rank):
        for one in set(arm):
            of_arm = [i for i in order if (rank[i], arm[i]) == (context, one)]
            assert of_arm == sorted(of_arm, key=lambda i: (-decided_at[i], key[i]))
            first = prompt[rank[order] == context].min()
            assert [int(prompt[order == i][0]) for i in of_arm] == list(range(first, first + len(of_arm)))


def test_no_outcomes_are_no_prompts() -> None:
    nothing = np.zeros(0, dtype=np.int64)

    order, prompt = by_prompt(nothing, nothing, nothing, nothing)

    assert (order.size, prompt.size) == (0, 0)


def test_a_context_is_told_from_its_nearest_neighbour_and_not_from_its_copy() -> None:
    context = np.random.default_rng(0).normal(size=384).astype(np.float32)
    next_to_it = context.copy()
    next_to_it[7] = np.nextafter(next_to_it[7], np.float32(9))
    zero, minus_zero = np.zeros((2, 4), dtype=np.float32)
    minus_zero[1] = -0.0

    assert context_key(context) == context_key(context.copy())
    assert context_key(context) != context_key(next_to_it)
    assert context_key(zero) == context_key(minus_zero)
