"""The belief about each arm before any evidence, and what arms of unknown quality start from."""

from dataclasses import dataclass, replace

import numpy as np

from bandit.arrays import Bools, Floats
from bandit.evidence import Sums
from bandit.knobs import Knobs
from bandit.price_class import price_class
from bandit.records import ArmRecords

KNOWN_MASS = 20.0  # observations that a known prior quality is worth
CLASS_MASS = 5.0  # observations that the level of an arm's price is worth
LEVEL_PULL = 20.0  # observations at the shared level that each known prior quality gets
OFFSET_MASS = 5.0  # observations of no offset, in the offset of relative qualities
RELATIVE_HEAD_START = 0.05  # of relative qualities, because their order may be wrong for these requests
NEWCOMER = 0.97, 5.0  # mean and mass of an arm that joins rated arms, high so that it is tried
LEVEL_MASS = 5.0  # of the optimistic prior, in the level that arms of unknown quality share
LEVEL_SHARE = 10.0  # cap on one arm's ratings in a level or offset; else one busy arm would set it for all
HEAD_START = 0.1  # of an arm of unknown quality over that level
QUALITY_RANGE = (0.01, 0.99)  # of a relative quality after its offset


@dataclass(frozen=True, slots=True, eq=False)
class Prior:
    """The belief about each arm before any evidence; every array has shape (n_arms,).

    Args:
        mean: reward, in [0, 1].
        mass: observations that the mean is worth, above 0.
        cost_usd: dollars of a typical request.
        latency_s: seconds of a typical request.
        offset: that relative qualities were moved by; 0 if there are none.
    """

    mean: Floats
    mass: Floats
    cost_usd: Floats
    latency_s: Floats
    offset: float = 0.0

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
        is_relative: Bools | None = None,
    ) -> "Prior":
        """Fill in unknown values, which are NaN.

        Known qualities are shrunk towards their shared level, as in `towards_level`. Of relative ones only
        the differences are known: `relative_offset` moves them to the level of their ratings, plus a head
        start. Arms of unknown quality start at a guess: beside known arms, `_guess_beside_known`; if no
        quality is known, `_guess_alone`.

        Args:
            records: of the same arms; None: nothing is rated yet.
            is_newcomer: arms added after other arms already had ratings; None: no arm.
            price: in any unit; NaN, or None for all arms: not known.
            is_relative: arms whose quality was measured on other requests than these; None: no arm.
        """
        known = ~np.isnan(quality)
        joined = np.zeros(quality.size, dtype=np.bool_) if is_newcomer is None else is_newcomer
        seen = ArmRecords.from_sums(Sums.zeros(quality.size)) if records is None else records
        relative = known & (np.zeros_like(known) if is_relative is None else is_relative)
        absolute = known & ~relative
        mean, filled, offset = quality.copy(), np.where(np.isnan(mass), KNOWN_MASS, mass), 0.0
        if absolute.any():
            mean[absolute], filled[absolute] = towards_level(mean[absolute], filled[absolute])
        if relative.any():
            offset = relative_offset(mean[relative], seen.n[relative], seen.reward_sum[relative])
            mean[relative] = np.clip(mean[relative] + offset + RELATIVE_HEAD_START, *QUALITY_RANGE)
        if known.any():
            prices = np.full(quality.size, np.nan) if price is None else price
            guess, guess_mass = _guess_beside_known(mean, filled, known, seen, joined, prices)
        else:
            guess, guess_mass = _guess_alone(seen, joined, knobs)
        return cls(
            mean=np.where(known, mean, guess),
            mass=np.where(~known & np.isnan(mass), guess_mass, filled),
            cost_usd=cost_usd,
            latency_s=latency_s,
            offset=offset,
        )

    def with_pooled(self, n: Floats, reward_sum: Floats, most: float) -> "Prior":
        """Add ratings that others gave the arms, which are worth a bounded number of observations.

            w_a  = min(n_a, most)
            m'_a = m_a + w_a
            q'_a = (m_a q_a + w_a reward_sum_a / n_a) / m'_a

        Others may ask differently, so however many ratings they gave, own ones soon outweigh them.

        Args:
            n: shape (n_arms,), weight of the others' ratings, at least 0.
            reward_sum: shape (n_arms,), their rewards, summed by these weights.
            most: observations that they are worth at most, at least 0.
        """
        weight = np.minimum(n, most)
        mean = np.divide(reward_sum, n, out=np.zeros_like(self.mean), where=n > 0)
        mass = self.mass + weight
        return replace(self, mean=(self.mass * self.mean + weight * mean) / mass, mass=mass)


def relative_offset(quality: Floats, n: Floats, reward_sum: Floats) -> float:
    """Compute how far the ratings of arms with relative qualities lie above these, all arms together.

        o = sum_a c_a (mean_a - q_a) / (5 + sum_a c_a),   c_a = min(N_a, 10)

    A public table compares models on its own requests. Where requests are harder, all models fail more often.

    Args:
        quality, n, reward_sum: shape (n_relative,); n and reward_sum as in `ArmRecords`.
    """
    counted = LEVEL_SHARE / np.maximum(n, LEVEL_SHARE)
    return float(counted @ (reward_sum - n * quality)) / (OFFSET_MASS + float(counted @ n))


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
