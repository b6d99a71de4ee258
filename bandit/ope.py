"""Off-policy evaluation: what another policy would have been worth, from this one's log."""

from dataclasses import dataclass

import numpy as np

from bandit.arrays import Floats


@dataclass(frozen=True, slots=True)
class Estimate:
    """A policy's estimated value.

    Args:
        value: mean reward per request, or whatever was given as rewards.
        standard_error: of the value.
        effective_n: rounds of the target policy's own log that would tell as much, (sum w)^2 / sum w^2.
    """

    value: float
    standard_error: float
    effective_n: float


def ips(rewards: Floats, propensities: Floats, target_probs: Floats) -> Estimate:
    """Estimate a target policy's value, inverse propensity score.

        v = mean(w * r),    w = target_probs / propensities

    Unbiased, with a variance that grows with the largest weight. The target's own log gives the plain mean.

    Args:
        rewards: shape (n,), reward of the logged arm.
        propensities: shape (n,), logged probability of that arm, in (0, 1].
        target_probs: shape (n,), the target policy's probability of it.

    Raises:
        ValueError: shapes differ, the log is empty, a propensity is not in (0, 1], or the target never takes
            a logged arm.

    Source: Horvitz & Thompson (1952), A Generalization of Sampling Without Replacement, JASA 47.
    """
    weights = _weights(rewards, propensities, target_probs)
    return _mean(weights * rewards, weights)


def snips(rewards: Floats, propensities: Floats, target_probs: Floats) -> Estimate:
    """Estimate a target policy's value, self-normalised inverse propensity.

        v = sum(w * r) / sum(w),    w = target_probs / propensities

    Biased by O(1/n) but bounded by the observed rewards, unlike plain IPS. The standard error is the delta
    method's. Arguments and errors are those of `ips`.

    Source: Swaminathan & Joachims (2015), The Self-Normalized Estimator for Counterfactual Learning, NeurIPS.
    """
    weights = _weights(rewards, propensities, target_probs)
    total = weights.sum()
    value = float(weights @ rewards / total)
    residuals = weights * (rewards - value)
    return Estimate(
        value=value,
        standard_error=float(np.sqrt(residuals @ residuals) / total),
        effective_n=_effective_n(weights),
    )


def doubly_robust(
    rewards: Floats,
    propensities: Floats,
    target_probs: Floats,
    predicted: Floats,
    predicted_value: Floats,
) -> Estimate:
    """Estimate a target policy's value from predictions, corrected by what the log shows of their error.

        v = mean(q_pi + w * (r - q)),    w = target_probs / propensities

    Unbiased whatever the predictions are, if they were made without the round's own reward; good ones narrow
    it. Other arguments and errors are those of `ips`.

    Args:
        predicted: shape (n,), predicted reward q of the logged arm.
        predicted_value: shape (n,), predicted reward of the target policy, q_pi = sum_a pi(a) q(a).

    Source: Dudik, Langford & Li (2011), Doubly Robust Policy Evaluation and Learning, ICML 28.
    """
    if not predicted.shape == predicted_value.shape == rewards.shape:
        raise ValueError("rewards, predicted and predicted_value differ in shape")
    weights = _weights(rewards, propensities, target_probs)
    return _mean(predicted_value + weights * (rewards - predicted), weights)


def _weights(rewards: Floats, propensities: Floats, target_probs: Floats) -> Floats:
    if not rewards.shape == propensities.shape == target_probs.shape:
        raise ValueError("rewards, propensities and target_probs differ in shape")
    if rewards.size == 0 or not np.all((propensities > 0) & (propensities <= 1)):
        raise ValueError("need at least one round, every propensity in (0, 1]")
    weights = target_probs / propensities
    if weights.sum() == 0:
        raise ValueError("the target policy never takes a logged arm")
    return weights


def _mean(terms: Floats, weights: Floats) -> Estimate:
    return Estimate(
        value=float(terms.mean()),
        standard_error=float(terms.std() / np.sqrt(terms.size)),
        effective_n=_effective_n(weights),
    )


def _effective_n(weights: Floats) -> float:
    return float(weights.sum() ** 2 / (weights @ weights))
