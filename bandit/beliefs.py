"""Beliefs about each arm for one query, from prior, sums and neighbours."""

import numpy as np

from bandit.arrays import Floats, Ints, columns, within
from bandit.beta import Beta
from bandit.credibility import Means, at_shared_level, credible_means
from bandit.evidence import Neighbours, Sums, kernel, n_prompts
from bandit.experts import LOCAL_SHRINKAGE, expert_weights, residual_variance, sharpness
from bandit.knobs import Knobs
from bandit.prior import Prior
from bandit.records import ArmRecords

EASE_SHRINKAGE = 10.0  # pseudo-observations of the local ease
OUTCOME_SHRINKAGE = 20.0  # pseudo-observations of an arm's own mean dollars and seconds near the query
MEAN_RANGE = (0.005, 0.995)  # a Beta distribution needs a mean strictly between 0 and 1


@columns
class PriorState:
    """What is known of each arm before its neighbours are considered; arrays have shape (n_arms,).

    Every decision logs it. Together with the decision's neighbours it gives the same beliefs again, under
    any knobs.

    Args:
        prior_mean, prior_mass: of the reward; after a change the mass is the part that is kept.
        n, reward_sum: rated requests that count, and their rewards minus their ease.
        deviation: standard deviation of a reward around its prediction.
        cost_usd, latency_s: dollars and seconds of a call, as in `credible_means`.
        cost_usd_error, latency_s_error: their standard errors.
        epoch_age_s: seconds since the arm last changed; infinite if it never did.
        n_changes: changes detected so far.
        expert_weights: shape (n_experts,).
        ease: of this query, in reward, by `ease.Ease`; 0 where unknown.
        prior_offset: that relative prior qualities were moved by.
    """

    prior_mean: Floats
    prior_mass: Floats
    n: Floats
    reward_sum: Floats
    deviation: Floats
    cost_usd: Floats
    cost_usd_error: Floats
    latency_s: Floats
    latency_s_error: Floats
    epoch_age_s: Floats
    n_changes: Ints
    expert_weights: Floats
    ease: float = 0.0
    prior_offset: float = 0.0

    @classmethod
    def of(cls, prior: Prior, sums: Sums, records: ArmRecords, ease: float = 0.0) -> "PriorState":
        dollars, seconds = dollars_of(prior.cost_usd, sums), seconds_of(prior.latency_s, sums)
        return cls.of_rewards(prior, records).with_calls(dollars, seconds, records.epoch_age_s, ease)

    @classmethod
    def of_rewards(cls, prior: Prior, records: ArmRecords) -> "PriorState":
        """Return what ratings say, which only ratings change; the rest as of arms that were never called."""
        nothing = np.zeros_like(prior.mean)
        return cls(
            prior_mean=prior.mean,
            prior_mass=prior.mass * records.prior_kept,
            n=records.n,
            reward_sum=records.reward_sum,
            deviation=np.sqrt(residual_variance(records.squared_errors[-1], records.n_predicted)),
            cost_usd=nothing,
            cost_usd_error=nothing,
            latency_s=nothing,
            latency_s_error=nothing,
            epoch_age_s=records.epoch_age_s,
            n_changes=records.n_changes,
            expert_weights=expert_weights(
                records.squared_errors[:-1].sum(axis=1), float(records.n_predicted.sum())
            ),
            prior_offset=prior.offset,
        )

    def with_calls(self, dollars: Means, seconds: Means, epoch_age_s: Floats, ease: float) -> "PriorState":
        """Return the same with what calls cost and take, for one query at one time."""
        return PriorState(
            prior_mean=self.prior_mean,
            prior_mass=self.prior_mass,
            n=self.n,
            reward_sum=self.reward_sum,
            deviation=self.deviation,
            cost_usd=dollars.mean,
            cost_usd_error=dollars.error,
            latency_s=seconds.mean,
            latency_s_error=seconds.error,
            epoch_age_s=epoch_age_s,
            n_changes=self.n_changes,
            expert_weights=self.expert_weights,
            ease=ease,
            prior_offset=self.prior_offset,
        )

    @property
    def global_mass(self) -> Floats:
        return self.prior_mass + self.n

    @property
    def global_mean(self) -> Floats:
        return (self.prior_mass * self.prior_mean + self.reward_sum) / self.global_mass


def dollars_of(prior: Floats, sums: Sums) -> Means:
    """Return what a call of each arm costs; prior: shape (n_arms,), dollars."""
    n_priced = sums.n_outcomes - sums.n_unpriced
    return credible_means(prior, n_priced, sums.cost_usd_sum, sums.cost_usd_squares)


def seconds_of(prior: Floats, sums: Sums) -> Means:
    """Return how long a call of each arm takes; prior: shape (n_arms,), seconds."""
    usual = at_shared_level(prior, sums.n_outcomes, sums.latency_s_sum)
    return credible_means(usual, sums.n_outcomes, sums.latency_s_sum, sums.latency_s_squares)


@columns
class Beliefs:
    """The beliefs about each arm for one query; arrays have shape (n_arms,)."""

    prior_state: PriorState
    posterior: Beta  # of the mean reward
    local_mass: Floats  # weight of the arm's rated neighbours
    local_deviation: Floats  # posterior mean minus global mean
    ease: float  # how much better than usual all arms do here, in reward: fitted plus local ease
    expected_cost_usd: Floats
    expected_latency_s: Floats
    bonus: Floats  # head start of an arm with little evidence, in reward
    predicted: Floats  # (n_predictions, n_arms): reward predicted by each expert and by their mixture, logged


def believe(prior_state: PriorState, neighbours: Neighbours, knobs: Knobs) -> Beliefs:
    """Combine what is known of the arms and this query's neighbours into beliefs per arm.

        ease(x)                                                        fitted, all arms together: `ease.Ease`
        G_a   = m_a + N_a                                              q, m: prior mean and mass
        g_a   = (m_a q_a + sum_{i on a} (r_i - ease(x_i))) / G_a       global mean
        e_i   = r_i - g_{a_i} - ease(x_i)                              surprise
        d     = sum_i w_i e_i / (sum_i w_i + 10)                       local ease: what the fit leaves
        v_ae  = sum_{i on a} w_i (e_i - d) / (sum_{i on a} w_i + n0_e)          deviation; e: expert
        mu_a  = g_a + sum_e W_e v_ae                                   mean; W: weight of the expert
        1/M_a = sum_e W_e / M_ae,   M_ae = sqrt((n0_e + sum_{i on a} w_i) G_a)  mass

    For the expert that ignores neighbours v_ae = 0 and M_ae = G_a. The posterior is
    Beta(k M_a mu_a, k M_a (1 - mu_a)), k as in `experts.sharpness`. The predicted reward is
    ease(x) + d + mu_a. Ease is subtracted before arms are compared, so that an arm that answered easier
    queries does not look better than it is.

    Dollars and seconds are the arm's own means, as in `credible_means`, plus the neighbours' deviation from
    them, shrunk with 20 pseudo-observations. Calls whose dollars nobody knows say nothing about dollars.
    """
    n_arms, arm = prior_state.n.size, neighbours.arm
    global_mean, global_mass = prior_state.global_mean, prior_state.global_mass
    similar = kernel(neighbours, knobs)
    is_current = neighbours.age_s < prior_state.epoch_age_s[arm]
    rated = similar * np.where(is_current, neighbours.weight, 0.0)
    finished = similar
    if not _are_enough(neighbours, rated, knobs):
        rated = np.zeros_like(rated)
        finished = similar if _are_enough(neighbours, similar, knobs) else rated

    surprise = rated * (neighbours.reward - global_mean[arm] - neighbours.ease)
    local_ease = float(surprise.sum()) / (float(rated.sum()) + EASE_SHRINKAGE)
    local_mass = _per_arm(arm, rated, n_arms)
    shrunk_mass = local_mass + LOCAL_SHRINKAGE
    expert_deviations = (_per_arm(arm, surprise, n_arms) - local_ease * local_mass) / shrunk_mass

    weights = prior_state.expert_weights
    deviation = weights[1:] @ expert_deviations
    mass = 1.0 / (weights[0] / global_mass + weights[1:] @ (1.0 / np.sqrt(shrunk_mass * global_mass)))
    mean = within(global_mean + deviation, *MEAN_RANGE)
    ease = prior_state.ease + local_ease

    is_unpriced = np.isnan(neighbours.cost_usd)
    return Beliefs(
        prior_state=prior_state,
        posterior=Beta(mean, sharpness(mean, prior_state.deviation**2) * mass),
        local_mass=local_mass,
        local_deviation=deviation,
        ease=ease,
        expected_cost_usd=_local_mean(
            prior_state.cost_usd,
            arm,
            np.where(is_unpriced, 0.0, neighbours.cost_usd),
            np.where(is_unpriced, 0.0, finished),
        ),
        expected_latency_s=_local_mean(prior_state.latency_s, arm, neighbours.latency_s, finished),
        bonus=_bonus(prior_state.n, knobs),
        predicted=within(
            np.concatenate([global_mean[None], global_mean + expert_deviations, mean[None]]) + ease, 0.0, 1.0
        ),
    )


def _are_enough(neighbours: Neighbours, weights: Floats, knobs: Knobs) -> bool:
    """Return whether as many prompts count as `min_similar_requests`."""
    return n_prompts(neighbours, weights) >= knobs.min_similar_requests


def _per_arm(arm: Ints, values: Floats, n_arms: int) -> Floats:
    return np.asarray(np.bincount(arm, values, n_arms), dtype=np.float64)


def _local_mean(overall: Floats, arm: Ints, values: Floats, weights: Floats) -> Floats:
    """Return the means of the neighbours' values per arm, shrunk towards the overall means."""
    total, mass = _per_arm(arm, weights * values, overall.size), _per_arm(arm, weights, overall.size)
    return (OUTCOME_SHRINKAGE * overall + total) / (OUTCOME_SHRINKAGE + mass)


def _bonus(n: Floats, knobs: Knobs) -> Floats:
    if knobs.min_requests_for_global == 0:
        return np.zeros_like(n)
    return knobs.exploration_bonus * np.maximum(0.0, 1.0 - n / knobs.min_requests_for_global)
