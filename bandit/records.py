"""The arms' histories as arrays."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bandit.arrays import Floats, Ints
from bandit.drift import N_PREDICTIONS, ArmHistory
from bandit.evidence import Sums

PRIOR_KEPT = 0.1  # share of the prior's mass after a change; evidence from before the change does not count


@dataclass(frozen=True, slots=True, eq=False)
class EaseSums:
    """The fitted ease of the rated requests in each arm's epoch; arrays have shape (n_arms,).

    Args:
        n: weight of these requests.
        ease_sum: their ease times their weight.
    """

    n: Floats
    ease_sum: Floats

    @classmethod
    def zeros(cls, n_arms: int) -> "EaseSums":
        return cls(*np.zeros((2, n_arms)))


@dataclass(frozen=True, slots=True, eq=False)
class ArmRecords:
    """The arms' records; arrays have shape (n_arms,) unless stated.

    Args:
        n: rated requests since the arm last changed.
        reward_sum: their rewards minus their ease.
        n_changes: changes detected so far; logged.
        prior_kept: factor on the prior's mass.
        epoch_age_s: seconds since the current epoch began; infinite if the arm never changed.
        n_predicted: rated requests in the squared errors.
        squared_errors: shape (n_predictions, n_arms), of each expert and, last, of their mixture.
    """

    n: Floats
    reward_sum: Floats
    n_changes: Ints
    prior_kept: Floats
    epoch_age_s: Floats
    n_predicted: Floats
    squared_errors: Floats

    @classmethod
    def from_sums(cls, sums: Sums) -> "ArmRecords":
        """Return the records of arms without a history."""
        n_arms = sums.n.size
        return cls(
            n=sums.n,
            reward_sum=sums.reward_sum,
            n_changes=np.zeros(n_arms, dtype=np.int64),
            prior_kept=np.ones(n_arms),
            epoch_age_s=np.full(n_arms, np.inf),
            n_predicted=np.zeros(n_arms),
            squared_errors=np.zeros((N_PREDICTIONS, n_arms)),
        )

    @classmethod
    def of(
        cls,
        histories: Sequence[ArmHistory],
        now: float,
        n_rated: float,
        ease: EaseSums | None = None,
    ) -> "ArmRecords":
        """Read the arms' histories.

        The evidence of a fallen arm has faded, as in `ArmHistory.faded`, and the ease of its requests too.

        Args:
            histories: one per arm, in order.
            now: on the clock of the ratings' `decided_at`.
            n_rated: the tenant's rated requests, of all arms.
            ease: of the rated requests in each arm's epoch; None: 0.
        """
        known = EaseSums.zeros(len(histories)) if ease is None else ease
        rated = [h.faded(n_rated) for h in histories]
        n = np.array([r.n for r in rated])
        left = np.minimum(n / np.where(known.n > 0, known.n, np.inf), 1.0)
        return cls(
            n=n,
            reward_sum=np.array([r.reward_sum for r in rated]) - left * known.ease_sum,
            n_changes=np.array([h.n_changes for h in histories], dtype=np.int64),
            prior_kept=np.array([PRIOR_KEPT if h.n_changes else 1.0 for h in histories]),
            epoch_age_s=np.array([now - h.epoch.started_at for h in histories]),
            n_predicted=np.array([h.n_predicted for h in histories]),
            squared_errors=np.array([h.squared_errors for h in histories]).T,
        )
