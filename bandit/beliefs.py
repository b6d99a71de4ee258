"""Beliefs about each arm for one query, from prior, sums and neighbours."""

from dataclasses import dataclass

import numpy as np

from bandit.arrays import Bools, Floats, Ints
from bandit.beta import Beta
from bandit.evidence import Neighbours, Sums, kernel, n_prompts
from bandit.experts import LOCAL_SHRINKAGE, expert_weights, residual_variance, sharpness
from bandit.knobs import Knobs
from bandit.price_class import price_class
from bandit.records import ArmRecords

KNOWN_MASS = 20.0  # observations that a known prior quality is worth
CLASS_MASS = 5.0  # observations that the level of an arm's price is worth
LEVEL_PULL = 20.0  # observations at the shared level that each known prior quality gets
NEWCOMER = 0.97, 5.0  # mean and mass of an arm that joins rated arms, high so that it is tried
LEVEL_MASS = 5.0  # of the optimistic prior, in the level that arms of unknown quality share
LEVEL_SHARE = 10.0  # cap on one arm's ratings in that level; else one bad, busy arm would set it for all
HEAD_START = 0.1  # of an arm of unknown quality over that level
PRIOR_OUTCOMES = 2.0  # finished calls that a prior price or latency is worth
EASE_SHRINKAGE = 10.0  # pseudo-observations of the local ease
OUTCOME_SHRINKAGE = 20.0  # pseudo-observations of an arm's own mean dollars and seconds near the query
MEAN_RANGE = (0.005, 0.995)  # a Beta distribution needs a mean strictly between 0 and 1


@dataclass(frozen=True, slots=True, eq=False)
class Prior:
    """The belief about each arm before any evidence; every array has shape (n_arms,).

    Args:
        mean: reward, in [0, 1].
        mass: observations that the mean is worth, above 0.
        cost_usd: dollars of a typical request.
        latency_s: seconds of a typical request.
    """

    mean: Floats
    mass: Floats
    cost_usd: Floats
    latency_s: Floats

    @classmethod
    def of(
        cls,
        quality: Floats,
        mass: Floats,
        cost_usd: Floats,
        latency_s: Floats,
        knobs: Knobs,
        records: ArmRecords | None = None,
        is_newcomer: Bools | None = None,
        price: Floats | None = None,
    ) -> "Prior":
        """Fill in unknown values, which are NaN.

        Known qualities are shrunk towards their shared level, as in `towards_level`. Arms of unknown quality
        start at a guess: beside known arms, `_guess_beside_known`; if no quality is known, `_guess_alone`.

        Args:
            records: of the same arms; None: nothing is rated yet.
            is_newcomer: arms added after other arms already had ratings; None: no arm.
            price: in any unit; NaN, or None for all arms: not known.
        """
        known = ~np.isnan(quality)
        joined = np.zeros(quality.size, dtype=np.bool_) if is_newcomer is None else is_newcomer
        seen = ArmRecords.from_sums(Sums.zeros(quality.size)) if records is None else records
        mean, filled = quality.copy(), np.where(np.isnan(mass), KNOWN_MASS, mass)
        if known.any():
            mean[known], filled[known] = towards_level(mean[known], filled[known])
            prices = np.full(quality.size, np.nan) if price is None else price
            guess, guess_mass = _guess_beside_known(mean, filled, known, seen, joined, prices)
        else:
            guess, guess_mass = _guess_alone(seen, joined, knobs)
        return cls(
            mean=np.where(known, mean, guess),
            mass=np.where(~known & np.isnan(mass), guess_mass, filled),
            cost_usd=cost_usd,
            latency_s=latency_s,
        )


def towards_level(quality: Floats, mass: Floats) -> tuple[Floats, Floats]:
    """Shrink known qualities towards the level they share, and raise their mass.

        h_a   = m_a / (m_a + 20)                              weight of an arm's own figure
        level = sum_a h_a q_a / sum_a h_a
        q'_a  = h_a q_a + (1 - h_a) level
        m'_a  = m_a / (h_a + (1 - h_a) h_a / sum_b h_b)

    The highest of several uncertain figures is probably too high, the lowest too low. The result is the
    mean and variance of a normal quality that scatters around an unknown level as one figure of mass 20
    scatters around its quality. A single figure stays as it is. Arms of equal mass keep their order.

    Args:
        quality: shape (n_known,), in [0, 1].
        mass: shape (n_known,), above 0.

    Source: Efron & Morris (1973), Stein's Estimation Rule and Its Competitors, JASA 68.
    """
    own = mass / (mass + LEVEL_PULL)
    share = own / own.sum()
    level = float(share @ quality)
    return own * quality + (1.0 - own) * level, mass / (own + (1.0 - own) * share)


def _guess_beside_known(
    mean: Floats, mass: Floats, known: Bools, records: ArmRecords, joined: Bools, price: Floats
) -> tuple[Floats, Floats]:
    """Guess the mean and mass of arms beside known ones: never above the best of these.

    An arm starts at the level of its price among the known arms' present means: with feedback their level
    moves, and the guess with it. A newcomer starts at the present mean of the best known arm, so that it is
    tried.
    """
    kept = mass * records.prior_kept
    present = mean + (records.reward_sum - records.n * mean) / (kept + records.n)
    guess = np.where(joined, present[known].max(), price_class(present, known, price))
    return guess, np.where(joined, NEWCOMER[1], CLASS_MASS)


def _guess_alone(records: ArmRecords, joined: Bools, knobs: Knobs) -> tuple[Floats, Floats]:
    """Guess the mean and mass of arms where no quality is known: a little above all rewards so far.

        level = (5 q0 + sum_a c_a mean_a) / (5 + sum_a c_a),    c_a = min(N_a, 10),    q_a = level + 0.1

    q0 is the optimistic prior. With a fixed start, a first guess that is far off would send many requests to
    untried arms.
    """
    counted = LEVEL_SHARE / np.maximum(records.n, LEVEL_SHARE)
    rewards, n = float(counted @ records.reward_sum), float(counted @ records.n)
    level = (LEVEL_MASS * knobs.optimistic_prior + rewards) / (LEVEL_MASS + n)
    guess = np.where(joined, NEWCOMER[0], min(level + HEAD_START, 1.0))
    return guess, np.where(joined, NEWCOMER[1], knobs.optimistic_prior_mass)


@dataclass(frozen=True, slots=True, eq=False)
class PriorState:
    """What is known of each arm before its neighbours are considered; arrays have shape (n_arms,).

    Every decision logs it. Together with the decision's neighbours it gives the same beliefs again, under
    any knobs.

    Args:
        prior_mean, prior_mass: of the reward; after a change the mass is the part that is kept.
        n, reward_sum: rated requests that count, and their rewards minus their ease.
        deviation: standard deviation of a reward around its prediction.
        cost_usd: mean over finished calls of known cost and prior.
        latency_s: mean over finished calls and prior.
        epoch_age_s: seconds since the arm last changed; infinite if it never did.
        n_changes: changes detected so far.
        expert_weights: shape (n_experts,).
        ease: of this query, in reward, by `ease.Ease`; 0 where unknown.
    """

    prior_mean: Floats
    prior_mass: Floats
    n: Floats
    reward_sum: Floats
    deviation: Floats
    cost_usd: Floats
    latency_s: Floats
    epoch_age_s: Floats
    n_changes: Ints
    expert_weights: Floats
    ease: float = 0.0

    @classmethod
    def of(cls, prior: Prior, sums: Sums, records: ArmRecords, ease: float = 0.0) -> "PriorState":
        n_outcomes = PRIOR_OUTCOMES + sums.n_outcomes
        n_priced = n_outcomes - sums.n_unpriced
        return cls(
            prior_mean=prior.mean,
            prior_mass=prior.mass * records.prior_kept,
            n=records.n,
            reward_sum=records.reward_sum,
            deviation=np.sqrt(residual_variance(records.squared_errors[-1], records.n_predicted)),
            cost_usd=(PRIOR_OUTCOMES * prior.cost_usd + sums.cost_usd_sum) / n_priced,
            latency_s=(PRIOR_OUTCOMES * prior.latency_s + sums.latency_s_sum) / n_outcomes,
            epoch_age_s=records.epoch_age_s,
            n_changes=records.n_changes,
            expert_weights=expert_weights(
                records.squared_errors[:-1].sum(axis=1), float(records.n_predicted.sum())
            ),
            ease=ease,
        )

    @property
    def global_mass(self) -> Floats:
        return self.prior_mass + self.n

    @property
    def global_mean(self) -> Floats:
        return (self.prior_mass * self.prior_mean + self.reward_sum) / self.global_mass


@dataclass(frozen=True, slots=True, eq=False)
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

    Dollars and seconds are the arm's own means, shrunk to the prior, plus the neighbours' deviation from
    them, shrunk with 20 pseudo-observations. Calls whose dollars nobody knows say nothing about dollars.
    """
    global_mean, global_mass = prior_state.global_mean, prior_state.global_mass
    similar = kernel(neighbours, knobs)
    is_current = neighbours.age_s < prior_state.epoch_age_s[neighbours.arm]
    trusted = np.where(is_current, neighbours.weight, 0.0)
    rated = _enough(neighbours, similar * trusted, knobs)

    surprise = neighbours.reward - global_mean[neighbours.arm] - neighbours.ease
    local_ease = float(rated @ surprise / (rated.sum() + EASE_SHRINKAGE))
    local_mass = _per_arm(neighbours, rated, global_mass.size)
    local_sum = _per_arm(neighbours, rated * (surprise - local_ease), global_mass.size)
    expert_deviations = local_sum / (local_mass + LOCAL_SHRINKAGE)

    weights = prior_state.expert_weights
    deviation = weights[1:] @ expert_deviations
    masses = np.sqrt((local_mass + LOCAL_SHRINKAGE) * global_mass)
    mass = 1.0 / (weights[0] / global_mass + weights[1:] @ (1.0 / masses))
    mean = np.clip(global_mean + deviation, *MEAN_RANGE)
    ease = prior_state.ease + local_ease

    finished = _enough(neighbours, similar, knobs)
    is_priced = ~np.isnan(neighbours.cost_usd)
    return Beliefs(
        prior_state=prior_state,
        posterior=Beta.from_mean(mean, sharpness(mean, prior_state.deviation**2) * mass),
        local_mass=local_mass,
        local_deviation=deviation,
        ease=ease,
        expected_cost_usd=_local_mean(
            prior_state.cost_usd,
            neighbours,
            np.nan_to_num(neighbours.cost_usd),
            np.where(is_priced, finished, 0.0),
        ),
        expected_latency_s=_local_mean(prior_state.latency_s, neighbours, neighbours.latency_s, finished),
        bonus=_bonus(prior_state.n, knobs),
        predicted=np.clip(np.vstack([global_mean, global_mean + expert_deviations, mean]) + ease, 0.0, 1.0),
    )


def _enough(neighbours: Neighbours, weights: Floats, knobs: Knobs) -> Floats:
    """Return the weights, or zeros if fewer prompts count than `min_similar_requests`."""
    is_enough = n_prompts(neighbours, weights) >= knobs.min_similar_requests
    return weights if is_enough else np.zeros_like(weights)


def _per_arm(neighbours: Neighbours, values: Floats, n_arms: int) -> Floats:
    return np.bincount(neighbours.arm, values, minlength=n_arms).astype(np.float64)


def _local_mean(overall: Floats, neighbours: Neighbours, values: Floats, weights: Floats) -> Floats:
    deviations = _per_arm(neighbours, weights * (values - overall[neighbours.arm]), overall.size)
    return overall + deviations / (_per_arm(neighbours, weights, overall.size) + OUTCOME_SHRINKAGE)


def _bonus(n: Floats, knobs: Knobs) -> Floats:
    if knobs.min_requests_for_global == 0:
        return np.zeros_like(n)
    return knobs.exploration_bonus * np.maximum(0.0, 1.0 - n / knobs.min_requests_for_global)
