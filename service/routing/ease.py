"""How easy a tenant's requests are: fitted in this replica, now and then, to the newest rated requests."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import structlog

from bandit.arrays import Floats, Ints
from bandit.drift import BEGINNING, ArmHistory
from bandit.ease import LEAST_RATED, MOST_RATED, Ease, is_due
from bandit.records import EaseSums
from service.background import Background
from service.domain.arm import Arm
from service.domain.basics import Vector
from service.domain.feedback import Experience
from service.domain.neighbours import NeighbourColumns, key_of
from service.domain.ports import Evidence
from service.domain.precision import one_rounded_ease, rounded_ease
from service.errors import StoreUnavailable

log = structlog.get_logger(__name__)

RETRY_S = 5.0  # until the next fit, after PostgreSQL did not answer


@dataclass(frozen=True, slots=True, eq=False)
class FittedEase:
    """One fit of ease, and the ease of each request that it was fitted to.

    Args:
        n_rated: the tenant's rated requests at the time of the fit, of all arms.
        ease: above 0 means easier than usual; None: too few requests were rated.
        keys: of the fitted decisions, ascending, as in `NeighbourColumns`.
        each: ease of each fitted decision, as exact as the log keeps it, in the order of `keys`.
        sums: by arm, the start of its epoch, and the weight of the fitted requests on it since then and their
            ease, summed by these weights. Older requests count as having the usual ease.
    """

    n_rated: float = 0.0
    ease: Ease | None = None
    keys: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    each: Floats = field(default_factory=lambda: np.zeros(0))
    sums: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)

    def at(self, context: Vector | None) -> float:
        """The ease of a new request; 0 without its context."""
        return 0.0 if self.ease is None or context is None else float(self.ease.at(context))

    def of(self, neighbours: NeighbourColumns, ease: float) -> Floats:
        """The ease of past requests, one number per prompt, as exact as the log keeps it.

        A prompt of which no outcome was fitted counts as having the ease of the new request.
        """
        if self.ease is None:
            return np.zeros(len(neighbours))
        at = self.keys[:-1].searchsorted(neighbours.keys)  # without the last: never beyond the end
        is_fitted = self.keys[at] == neighbours.keys
        of_prompts = np.full(neighbours.n_prompts, one_rounded_ease(ease))
        of_prompts[neighbours.prompt[is_fitted]] = self.each[at[is_fitted]]
        return of_prompts[neighbours.prompt]

    def sums_of(self, arms: Sequence[Arm], histories: Sequence[ArmHistory]) -> EaseSums:
        """The ease of each arm's rated requests; 0 if a new epoch has begun."""
        known = [self.sums.get(arm.arm_id, (math.nan, 0.0, 0.0)) for arm in arms]
        sums = [
            (n, total) if began == history.epoch.started_at else (0.0, 0.0)
            for (began, n, total), history in zip(known, histories, strict=True)
        ]
        return EaseSums(*np.array(sums).reshape(-1, 2).T)


NOTHING = FittedEase()


class EaseFitter:
    """The newest fit of each tenant. Each replica fits on its own; every decision logs the ease it used.

    Each fit takes up to 40 kB, until the process ends.
    """

    def __init__(self, evidence: Evidence, encoder: str, background: Background) -> None:
        self._evidence = evidence
        self._encoder = encoder
        self._background = background
        self._fitted: dict[str, FittedEase] = {}
        self._fitting: set[str] = set()
        self._retry_at = -math.inf  # on the event loop's clock

    def of(self, tenant: str, n_rated: float) -> FittedEase:
        """The newest fit. Never waits: a new fit is made in the background when it is due."""
        fitted = self._fitted.get(tenant, NOTHING)
        if is_due(n_rated, fitted.n_rated) and self._is_free(tenant):
            self._fitting.add(tenant)
            self._background.spawn(self._fit(tenant, n_rated))
        return fitted

    def _is_free(self, tenant: str) -> bool:
        return tenant not in self._fitting and asyncio.get_running_loop().time() >= self._retry_at

    async def _fit(self, tenant: str, n_rated: float) -> None:
        try:
            rated = await self._evidence.rated(tenant, self._encoder, MOST_RATED)
            histories = dict(self._evidence.histories(tenant))
            self._fitted[tenant] = await asyncio.to_thread(fit, rated, histories, n_rated)
        except StoreUnavailable as error:
            self._retry_at = asyncio.get_running_loop().time() + RETRY_S
            log.debug("ease_not_fitted", error=str(error))
        finally:
            self._fitting.discard(tenant)


def fit(rated: Sequence[Experience], histories: Mapping[str, ArmHistory], n_rated: float) -> FittedEase:
    """Fit ease to rated requests; an arm before it changed counts as another arm."""
    if len(rated) < LEAST_RATED:
        return FittedEase(n_rated)
    began = {e.arm_id: _epoch_of(histories, e.arm_id) for e in rated}
    is_current = np.array([e.decided_at.timestamp() > began[e.arm_id] for e in rated])
    numbered = {arm_id: number for number, arm_id in enumerate(began)}
    arm = np.array([numbered[e.arm_id] for e in rated])
    contexts = np.stack([e.context for e in rated])
    weights = np.array([e.weight for e in rated])
    ease = Ease.fit(contexts, 2 * arm + is_current, np.array([e.reward for e in rated]), weights)
    each = ease.at(contexts)
    keys = np.array([key_of(e.decision_id) for e in rated], dtype=np.int64)
    order = keys.argsort()
    weight = np.bincount(arm, weights * is_current, minlength=len(began)).tolist()
    total = np.bincount(arm, each * weights * is_current, minlength=len(began)).tolist()
    return FittedEase(
        n_rated=n_rated,
        ease=ease,
        keys=keys[order],
        each=rounded_ease(each[order]),
        sums={arm_id: (began[arm_id], *sums) for arm_id, *sums in zip(began, weight, total, strict=True)},
    )


def _epoch_of(histories: Mapping[str, ArmHistory], arm_id: str) -> float:
    history = histories.get(arm_id)
    return BEGINNING if history is None else history.epoch.started_at
