"""What a tenant takes over from the ratings of others: sums by arm, of bounded weight, in its prior."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from bandit.drift import ArmHistory
from bandit.prior import Prior
from service.domain.value import value


@value
class Pool:
    """The ratings of all other tenants.

    They are added up when a tenant's prior is made: at its first request, and after its own ratings. The log
    of a decision has the prior that it used, so nothing of this is needed to reproduce it.

    Args:
        most: ratings of each arm that the pool is worth at most.
        others: gives the histories of each other tenant, by arm id.
    """

    most: float
    others: Callable[[], Iterable[Mapping[str, ArmHistory]]]

    def added_to(self, prior: Prior, arm_ids: Sequence[str]) -> Prior:
        """The prior of these arms with the pool; ratings from before an arm last changed do not count."""
        n, reward_sum = np.zeros((2, len(arm_ids)))
        for histories in self.others():
            for i, arm_id in enumerate(arm_ids):
                if (history := histories.get(arm_id)) is not None:
                    n[i] += history.epoch.rated.n
                    reward_sum[i] += history.epoch.rated.reward_sum
        return prior.with_pooled(n, reward_sum, self.most)
