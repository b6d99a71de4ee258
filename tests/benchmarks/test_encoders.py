"""What vectors are worth, on outcomes that depend on them."""

from __future__ import annotations

import numpy as np

from benchmarks.encoders.worth import Difference, squared_errors
from benchmarks.sets import Recorded


def recorded(contexts: np.ndarray, scores: np.ndarray) -> Recorded:
    n, n_arms = scores.shape
    nothing = np.zeros((n, n_arms))
    return Recorded(
        tuple("ab"), ("",) * n, scores, nothing, nothing, contexts.astype(np.float32), np.zeros(n, np.int64)
    )


def test_vectors_that_tell_the_scores_have_smaller_errors_than_chance() -> None:
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 2, 600)
    scores = np.stack([kinds, 1 - kinds], axis=1).astype(float)
    chance = rng.normal(size=(600, 8))
    chance /= np.linalg.norm(chance, axis=1, keepdims=True)

    told = squared_errors(recorded(np.eye(8)[kinds], scores))
    guessed = squared_errors(recorded(chance, scores))

    assert told.shape == (600,)
    assert told.mean() < 5
    assert guessed.mean() > 200


def test_a_difference_has_the_standard_error_of_its_mean() -> None:
    difference = Difference.of(np.array([1.0, 2.0, 3.0]))

    assert (difference.mean, round(difference.error, 4)) == (2.0, 0.5774)
