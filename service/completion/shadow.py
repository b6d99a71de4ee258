"""Call arms in shadow for a sampled share of answered requests, within a daily budget."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
import structlog

from service.arms.catalog import Catalog
from service.arms.eligibility import list_cost_usd
from service.background import Background
from service.completion.model_call import ModelCall
from service.completion.request_run import RequestRun
from service.domain.answer import Outcome
from service.domain.arm import Arm
from service.domain.ports import Clock, ModelClient, ShadowLog
from service.domain.registration import ShadowAnswer
from service.errors import ProviderError, ProviderRejected, StoreUnavailable

log = structlog.get_logger(__name__)

MAX_UNDER_WAY = 4  # calls at the same time, in this process


@dataclass(slots=True)
class Shadows:
    """Calls arms in shadow in the background; their failures never reach a client."""

    catalog: Catalog
    model_client: ModelClient
    shadow_log: ShadowLog
    background: Background
    rng: np.random.Generator
    clock: Clock
    deadline_s: float  # longest time of one call
    store_texts: bool
    on_spent: Callable[[Decimal | None], None]  # with the dollars of a call; None: nobody knows them
    _n_under_way: int = field(default=0, init=False)

    def consider(self, run: RequestRun, outcome: Outcome) -> None:
        """Start shadow calls for an answered request, at each arm's share.

        Requests that name their model, have `learn` off, are retries or could not be logged are skipped.
        """
        query, is_new = run.query, run.decision is not None and not run.is_lost
        if outcome.status != "ok" or outcome.kind in {"pinned", "cache"} or not is_new:
            return
        if query.requested_model is not None or not query.options.learn:
            return
        for arm in self.catalog.shadows(query):
            if self._is_sampled(arm) and self._n_under_way < MAX_UNDER_WAY:
                self._n_under_way += 1
                self.background.spawn(self._answer(run, arm))

    def _is_sampled(self, arm: Arm) -> bool:
        shadow = self.catalog.registrations[arm.arm_id].shadow
        return shadow is not None and self.rng.random() < shadow.share

    async def _answer(self, run: RequestRun, arm: Arm) -> None:
        try:
            expected_usd = list_cost_usd(arm, run.query)
            if await self.shadow_log.reserve(arm.arm_id, expected_usd, self.clock()):
                shadow_run = _shadow_run_of(run, arm)
                call = await self._call(shadow_run, arm)
                self.on_spent(shadow_run.attempts[0].cost_usd)
                text = call.text if self.store_texts else None
                answer = ShadowAnswer(
                    run.query.tenant, shadow_run.attempts[0], text, expected_usd, arm.price_version
                )
                await self.shadow_log.keep(answer)
        except StoreUnavailable as error:
            log.warning("shadow_answer_not_stored", model=arm.arm_id, error=str(error))
        finally:
            self._n_under_way -= 1

    async def _call(self, shadow_run: RequestRun, arm: Arm) -> ModelCall:
        """Call the arm and record the result as the only attempt of `shadow_run`."""
        arm = self.catalog.balancer.begun(arm, shadow_run.query.turn)
        try:
            return await self._call_at(shadow_run, arm)
        finally:
            self.catalog.balancer.ended(arm)

    async def _call_at(self, shadow_run: RequestRun, arm: Arm) -> ModelCall:
        call = shadow_run.call(arm, shadow_run.propensity, self.clock())
        try:
            body, native = shadow_run.request_for(arm)
            answer = await self.model_client.complete(
                shadow_run.arm_to_call(arm), body, timeout_s=self.deadline_s, native=native
            )
            call.received(answer, self.clock())
        except ProviderError as error:
            self.catalog.breaker.failed(arm, error)
            if isinstance(error, ProviderRejected):
                self.catalog.refused.learn(arm, shadow_run.query, error)
            shadow_run.failed(call, error, self.clock())
        except asyncio.CancelledError:
            self.catalog.breaker.released(arm)
            raise
        else:
            self.catalog.breaker.succeeded(arm)
            shadow_run.finished(call, self.clock())
        return call


def _shadow_run_of(run: RequestRun, arm: Arm) -> RequestRun:
    """A run of the same decision with this arm alone."""
    return RequestRun(
        query=run.query,
        decision_id=run.decision_id,
        arm_id=arm.arm_id,
        propensity=1.0,
        kind=run.kind,
        decision=None,
        probabilities={},
        position=0,
        degraded=[],
        step=run.step,
    )
