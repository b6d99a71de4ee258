"""Calls the deployments of one model in their order until one answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

import structlog

from service.arms.breaker import Breaker
from service.domain.arm import Arm
from service.domain.ports import Clock
from service.errors import LocalFault, ProviderError, ProviderRejected, no_answer

log = structlog.get_logger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Deployments:
    """The way to the deployments of all relayed models.

    Args:
        breaker: the circuit breakers, which deployments share with arms of the same server, model and key.
        deadline_s: longest time from the request to its answer.
    """

    breaker: Breaker
    clock: Clock
    deadline_s: float

    async def first_answer(
        self, arms: Sequence[Arm], call: Callable[[Arm, float], Awaitable[T]]
    ) -> tuple[Arm, T]:
        """The answer of the first deployment that gives one.

        Those that cool down come last, and not at all if their provider asked to wait.

        Args:
            call: calls a deployment within so many seconds.

        Raises:
            LocalFault: this machine could not make the call.
            ProviderRejected: a deployment rejected the request; the others hold the same model.
            AllArmsFailed: no deployment answered.
        """
        until = self.clock() + timedelta(seconds=self.deadline_s)
        ready = [arm for arm in arms if self.breaker.open_reason(arm) is None]
        cooling = [a for a in arms if a not in ready and not self.breaker.asks_to_wait(a)]
        reasons = [f"{a.model}: {self.breaker.open_reason(a)}" for a in arms if a not in [*ready, *cooling]]
        causes = [self.breaker.open_cause(arm) for arm in arms if arm not in [*ready, *cooling]]
        candidates = [*ready, *cooling]
        for position, arm in enumerate(candidates):
            is_last = position == len(candidates) - 1
            try:
                return arm, await self._called(arm, call, self._share_s(until, is_last=is_last))
            except (ProviderRejected, LocalFault):
                raise
            except ProviderError as error:
                log.info("call_failed", model=arm.arm_id, error=type(error).__name__, status=error.status)
                reasons.append(f"{arm.model}: {error}")
                causes.append(type(error))
        wait_s = min((self.breaker.reopens_in_s(arm) for arm in arms), default=0.0)
        raise no_answer(causes, f"no model answered: {'; '.join(reasons)}", retry_after_s=wait_s or None)

    async def _called(self, arm: Arm, call: Callable[[Arm, float], Awaitable[T]], timeout_s: float) -> T:
        is_trial = self.breaker.begin(arm) == "trial"
        try:
            answer = await call(arm, timeout_s)
        except LocalFault as error:
            log.error("local_fault", reason=str(error))
            self.breaker.released(arm, is_trial=is_trial)
            raise
        except ProviderError as error:
            self.breaker.failed(arm, error, is_trial=is_trial)
            raise
        except BaseException:  # the client disconnected, or a bug
            self.breaker.released(arm, is_trial=is_trial)
            raise
        self.breaker.succeeded(arm)
        return answer

    def _share_s(self, until: datetime, *, is_last: bool) -> float:
        """The time of a call: what is left, or half of it while another deployment could still answer."""
        left_s = max(0.0, (until - self.clock()).total_seconds())
        return left_s if is_last else left_s / 2
