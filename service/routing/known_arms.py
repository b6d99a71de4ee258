"""What is known of a set of arms for one tenant before a query comes: arrays, kept between queries.

The one rule: an array is kept as long as the objects that it was made from are the same objects. The snapshot
of the evidence replaces an arm's sums and history when they change, the catalogue replaces its arms, and a
fit of ease replaces the fit before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TypeVar

import numpy as np

from bandit.beliefs import PriorState, dollars_of, seconds_of
from bandit.drift import ArmHistory
from bandit.evidence import Sums
from bandit.knobs import Knobs
from bandit.records import ArmRecords
from service.arms.catalog import Catalog
from service.domain.arm import Arm, ArmSums
from service.domain.query import Query
from service.domain.value import value
from service.routing.ease import FittedEase
from service.routing.pool import Pool
from service.routing.priors import USUAL_LATENCY_S, ArmColumns

MAX_KEPT = 1_000  # tenants times sets of arms

NO_SUMS, NO_HISTORY = ArmSums(), ArmHistory()
SUMS = tuple(field.name for field in fields(Sums))
T = TypeVar("T")


@value
class TenantEvidence:
    """The evidence on all arms of a tenant as this replica knows it now.

    Args:
        pool: what other tenants' ratings add to the prior; None: nothing.
    """

    sums: Mapping[str, ArmSums]
    histories: Mapping[str, ArmHistory]
    n_rated: float
    fitted: FittedEase
    pool: Pool | None = None


class KnownArms:
    """The arrays of one set of arms for one tenant."""

    def __init__(self, columns: ArmColumns) -> None:
        n_arms = len(columns.arms)
        self.columns = columns
        self._ids = [arm.arm_id for arm in columns.arms]
        self._sums_of: list[ArmSums | None] = [None] * n_arms
        self._raw_sums = np.zeros((len(SUMS), n_arms))
        self._sums = Sums.zeros(n_arms)
        self._seconds = seconds_of(np.full(n_arms, USUAL_LATENCY_S), self._sums)
        self._histories_of: list[ArmHistory | None] = [None] * n_arms
        self._rated_for: tuple[FittedEase, float, Knobs] | None = None
        self._started_at = np.full(n_arms, -np.inf)
        self._rewards: PriorState | None = None

    def prior_state(
        self, query: Query, evidence: TenantEvidence, knobs: Knobs, ease: float, now: float
    ) -> PriorState:
        """What is known of each arm, for the query and at this time.

        Args:
            knobs: the operator's.
            ease: of the query.
            now: in seconds since 1970.
        """
        rewards, sums = self._of_rewards(evidence, knobs), self._current_sums(evidence)
        dollars = dollars_of(self.columns.list_cost_usd(query), sums)
        return rewards.with_calls(dollars, self._seconds, now - self._started_at, ease)

    def _current_sums(self, evidence: TenantEvidence) -> Sums:
        if changed := _changed(self._ids, self._sums_of, evidence.sums, NO_SUMS):
            for i, of_arm in changed:
                self._raw_sums[:, i] = [float(getattr(of_arm, name)) for name in SUMS]
            self._sums = Sums(*self._raw_sums)
            self._seconds = seconds_of(np.full(len(self._ids), USUAL_LATENCY_S), self._sums)
        return self._sums

    def _of_rewards(self, evidence: TenantEvidence, knobs: Knobs) -> PriorState:
        changed = _changed(self._ids, self._histories_of, evidence.histories, NO_HISTORY)
        rated_for = evidence.fitted, evidence.n_rated, knobs
        if changed or self._rewards is None or self._rated_for != rated_for:
            histories = [evidence.histories.get(arm_id, NO_HISTORY) for arm_id in self._ids]
            records = ArmRecords.of(
                histories, 0.0, evidence.n_rated, evidence.fitted.sums_of(self.columns.arms, histories)
            )
            self._started_at = -records.epoch_age_s
            prior = self.columns.prior(knobs, np.zeros(len(self._ids)), records)
            if evidence.pool is not None:
                prior = evidence.pool.added_to(prior, self._ids)
            self._rewards, self._rated_for = PriorState.of_rewards(prior, records), rated_for
        return self._rewards


@dataclass(frozen=True, slots=True)
class KnownArmSets:
    """The arrays of every set of arms that queries left to choose among, by tenant."""

    _kept: dict[tuple[str, tuple[str, ...]], KnownArms] = field(default_factory=dict)

    def of(self, tenant: str, arms: Sequence[Arm], catalog: Catalog) -> KnownArms:
        key = tenant, tuple([arm.arm_id for arm in arms])
        kept = self._kept.get(key)
        if kept is not None and kept.columns.is_current(arms, catalog):
            return kept
        if len(self._kept) >= MAX_KEPT:
            self._kept.clear()
        kept = self._kept[key] = KnownArms(ArmColumns.of(arms, catalog))
        return kept


def _changed(
    ids: Sequence[str], kept: list[T | None], now: Mapping[str, T], nothing: T
) -> list[tuple[int, T]]:
    """The places whose object is another one now, with it; they are kept from now on."""
    changed = []
    for i, arm_id in enumerate(ids):
        value = now.get(arm_id, nothing)
        if value is not kept[i]:
            kept[i] = value
            changed.append((i, value))
    return changed
