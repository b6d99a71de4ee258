"""Textbook rivals, each in a few lines."""

from __future__ import annotations

import numpy as np

from bandit.arrays import Floats, Ints, Vectors
from benchmarks.rivals.playing import Rival, play
from benchmarks.streams import Stream

N_FEATURES = 16
LEAST_SPREAD = 1e-6


def at_random(stream: Stream, lam: float, seed: int) -> Ints:
    n, n_arms = stream.shape
    return np.random.default_rng(seed).integers(0, n_arms, n)


def oracle(stream: Stream, lam: float, seed: int) -> Ints:
    """The best arm of every single request, which no policy can know."""
    return np.asarray(stream.utilities(lam).argmax(axis=1))


def full_information(stream: Stream, lam: float, seed: int) -> Ints:
    """The learner's neighbours, but with every arm's score of every past request."""
    n, n_arms = stream.shape
    utilities = stream.utilities(lam)
    mean = (
        np.vstack([np.zeros(n_arms), np.cumsum(utilities, axis=0)[:-1]])
        / np.maximum(np.arange(n), 1)[:, None]
    )
    weight = np.sqrt(np.maximum(stream.similarity, 0.0))
    mass = weight.sum(axis=1)[:, None]
    deviation = np.einsum("tk,tka->ta", weight, utilities[stream.neighbours]) - mass * mean
    return np.asarray((mean + deviation / (mass + 20.0)).argmax(axis=1))


def context_free_thompson(stream: Stream, lam: float, seed: int) -> Ints:
    """Beta(1, 1) per arm, with known prices."""
    rng = np.random.default_rng(seed)
    _, n_arms = stream.shape
    alpha, beta = np.ones(n_arms), np.ones(n_arms)

    def choose(t: int) -> int:
        return int(np.argmax(rng.beta(alpha, beta) - lam * stream.price))

    def learn(t: int, arm: int, reward: float) -> None:
        alpha[arm] += reward
        beta[arm] += 1.0 - reward

    return play(stream, choose, learn)


def epsilon_greedy(stream: Stream, lam: float, seed: int, epsilon: float = 0.1) -> Ints:
    rng = np.random.default_rng(seed)
    _, n_arms = stream.shape
    count, total = np.zeros(n_arms), np.zeros(n_arms)

    def choose(t: int) -> int:
        if rng.random() < epsilon:
            return int(rng.integers(n_arms))
        return int(np.argmax((0.8 * 2 + total) / (2 + count) - lam * stream.price))

    def learn(t: int, arm: int, reward: float) -> None:
        count[arm] += 1
        total[arm] += reward

    return play(stream, choose, learn)


def first_system(stream: Stream, lam: float, seed: int) -> Ints:
    """The first version of this router: similarity at least 0.7, 50 neighbours, 10 % of requests at random.

    The Beta comes from the neighbours if there are 5, from all evidence on the arm if there are 10 ratings,
    and otherwise has the mean 0.8.
    """
    rng = np.random.default_rng(seed)
    n, n_arms = stream.shape
    count, total = np.zeros(n_arms), np.zeros(n_arms)
    chosen, rewards = np.zeros(n, np.int64), np.zeros(n)

    def choose(t: int) -> int:
        if rng.random() < 0.1:
            return int(rng.integers(n_arms))
        order = np.argsort(-stream.similarity[t], kind="stable")[:50]
        positions = stream.neighbours[t][order[stream.similarity[t][order] >= 0.7]]
        m, s = np.where(count >= 10, count, 0.0), np.where(count >= 10, total, 0.0)
        if positions.size >= 5:
            m = np.bincount(chosen[positions], minlength=n_arms).astype(np.float64)
            s = np.bincount(chosen[positions], rewards[positions], minlength=n_arms)
        return int(np.argmax(rng.beta(1.6 + s, 0.4 + m - s) - lam * stream.price))

    def learn(t: int, arm: int, reward: float) -> None:
        count[arm] += 1
        total[arm] += reward
        rewards[t] = reward

    return play(stream, choose, learn, chosen)


def lin_ucb(stream: Stream, lam: float, seed: int, width: float = 0.3) -> Ints:
    """One ridge regression per arm on 16 principal components; Li et al. (2010)."""
    _, n_arms = stream.shape
    features = features_of(stream.contexts)
    inverse = np.tile(np.eye(features.shape[1]), (n_arms, 1, 1))
    response = np.zeros((n_arms, features.shape[1]))

    def choose(t: int) -> int:
        spread = inverse @ features[t]
        mean = np.einsum("ad,ad->a", spread, response)
        return int(np.argmax(mean + width * np.sqrt(spread @ features[t]) - lam * stream.price))

    def learn(t: int, arm: int, reward: float) -> None:
        gain = inverse[arm] @ features[t]
        inverse[arm] -= np.outer(gain, gain) / (1.0 + features[t] @ gain)
        response[arm] += reward * features[t]

    return play(stream, choose, learn)


def features_of(contexts: Vectors) -> Floats:
    """A constant and the first principal components, scaled by the first 500 requests.

    Directions in which the contexts do not differ are left out.
    """
    centre = contexts[:500].mean(axis=0)
    _, spread, axes = np.linalg.svd(contexts[:500] - centre, full_matrices=False)
    scores = (contexts - centre) @ axes[:N_FEATURES][spread[:N_FEATURES] > LEAST_SPREAD].T
    return np.hstack([np.ones((contexts.shape[0], 1)), scores / scores[:500].std(axis=0)])


BASELINES: dict[str, Rival] = {
    "random": at_random,
    "first system": first_system,
    "epsilon-greedy": epsilon_greedy,
    "LinUCB": lin_ucb,
    "Thompson, no context": context_free_thompson,
    "kNN, full information": full_information,
    "oracle": oracle,
}
