"""Call arms until one answers: the decided one, and on failure those that remain."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np

from bandit.policy import draw, without
from service.catalog import Catalog
from service.errors import AllArmsFailed, ProviderError, ProviderRejected
from service.ports import Clock
from service.run import Call, Run
from service.types import Arm

T = TypeVar("T")
Ask: TypeAlias = Callable[[Run, Call], Awaitable[T]]


class AnsweredElsewhere(Exception):
    """The same request id is being answered at the same time, and its decision was logged first."""


@dataclass(frozen=True, slots=True)
class Attempts:
    """Makes the calls of a run; what comes of each is noted in the run and told to the breaker."""

    catalog: Catalog
    rng: np.random.Generator
    clock: Clock
    max_attempts: int

    async def until_answered(self, run: Run, ask: Ask[T]) -> tuple[Call, T]:
        """Call the decided arm, and on failure the next one by probability.

        The call that is returned may still go on: say how it ended by `succeeded`, `failed` or `cancelled`.

        Raises:
            ProviderRejected: the provider found the request faulty, and no other arm may accept it.
            AllArmsFailed: none is left, or enough were tried.
        """
        arm_id, propensity = run.arm_id, run.propensity
        while True:
            arm = self._find(arm_id)
            is_kept = run.is_held and arm_id == run.arm_id
            # gone, or resting, since it was drawn
            if arm is None or not (self.catalog.breaker.begin(arm) or is_kept):
                run.passed_over[arm_id] = "is no longer there" if arm is None else "is resting"
                arm_id, propensity = self._next(run)
                continue
            call = run.call(arm, propensity, self.clock())
            try:
                return call, await ask(run, call)
            except ProviderError as error:
                self.failed(run, call, error)
                if isinstance(error, ProviderRejected) and not (error.another_may_accept and self._left(run)):
                    raise
                arm_id, propensity = self._next(run, error)
            except AnsweredElsewhere:
                if call.answered_at is None:
                    self.cancelled(run, call)
                else:
                    self.succeeded(run, call)
                raise
            except asyncio.CancelledError:
                self.cancelled(run, call)
                raise

    def succeeded(self, run: Run, call: Call) -> None:
        """The answer is whole."""
        self.catalog.breaker.succeeded(call.arm)
        run.finished(call, self.clock())

    def failed(self, run: Run, call: Call, error: ProviderError) -> None:
        """The call broke off, before its first content or after."""
        self.catalog.breaker.failed(call.arm, error)
        run.failed(call, error, self.clock())

    def cancelled(self, run: Run, call: Call) -> None:
        """We gave the call up, which says nothing about the arm."""
        self.catalog.breaker.released(call.arm)
        run.cancelled(call, self.clock())

    def any_exists(self, arm_ids: Iterable[str]) -> bool:
        """Whether one of these arms is still in the catalogue."""
        return any(self._find(arm_id) is not None for arm_id in arm_ids)

    def _next(self, run: Run, error: ProviderError | None = None) -> tuple[str, float]:
        """Draw among the arms that remain, by their probability."""
        left = self._left(run)
        if not left:
            tried = [f"{a.arm_id}: {a.error_message}" for a in run.attempts if a.status == "failed"]
            tried += [f"{arm_id}: {why}" for arm_id, why in run.passed_over.items()]
            wait_s = None if error is None else error.retry_after_s
            raise AllArmsFailed(f"no model answered: {'; '.join(tried)}", retry_after_s=wait_s) from error
        arm_ids = list(run.probabilities)
        tried_or_resting = [i for i, arm_id in enumerate(arm_ids) if arm_id not in left]
        probabilities = without(np.array(list(run.probabilities.values())), tried_or_resting)
        choice = draw(probabilities, self.rng)
        return arm_ids[choice.index], choice.propensity

    def _left(self, run: Run) -> set[str]:
        """The arms that may still be tried."""
        if len(run.attempts) >= self.max_attempts:
            return set()
        return {arm_id for arm_id in run.untried if self._may_be_called(arm_id)}

    def _may_be_called(self, arm_id: str) -> bool:
        arm = self._find(arm_id)
        return arm is not None and self.catalog.breaker.is_resting(arm) is None

    def _find(self, arm_id: str) -> Arm | None:
        """The arm of exactly this id; a retry may know one that has left the catalogue since."""
        return next((arm for arm in self.catalog.arms if arm.arm_id == arm_id), None)
