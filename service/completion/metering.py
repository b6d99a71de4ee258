"""The limits of a run: what its next call may use is held before it, and what its calls used is settled."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from service.arms.catalog import Catalog
from service.arms.eligibility import answer_tokens
from service.completion.request_run import RequestRun
from service.domain.answer import Attempt
from service.domain.arm import Arm
from service.domain.tokens import prompt_tokens
from service.meter.meter import Hold, Meter, Use
from service.meter.worst_price import worst_usd


@dataclass(frozen=True, slots=True)
class Metering:
    """Holds and settles the use of runs.

    Args:
        default_max_tokens: limit of answers to requests that give none; None: the model's own.
    """

    meter: Meter
    catalog: Catalog
    default_max_tokens: int | None = None

    async def admits(self, run: RequestRun, arm_id: str) -> bool:
        """Hold what a call of the arm may use; False: its limits leave too little, and it is passed over.

        If the caller has few dollars left, every arm that may cost more is passed over with it.

        Raises:
            LimitReached: the limits of the caller leave too little for any arm.
            StoreUnavailable: nobody knows what they leave.
        """
        arm, caller = self.catalog.in_use(arm_id), run.query.caller
        if arm is None or not self.meter.is_limited(caller, arm_id):
            return True
        run.hold = run.hold or Hold()
        used = [self._use(run, attempt, is_over=False) for attempt in run.attempts]
        refused = await self.meter.hold(run.hold, caller, used, self._worst(run, arm))
        if refused is None:
            return True
        if not refused.is_of_model and refused.left_usd is None:
            raise refused.error
        run.over_limit = refused.error
        run.passed_over[arm_id] = str(refused.error)
        if refused.left_usd is not None:
            spent_usd = sum((use.usd or Decimal(0) for use in used), Decimal(0))
            self._pass_over_dearer(run, refused.left_usd - spent_usd)
        return False

    async def settle(self, run: RequestRun) -> None:
        """Count what the calls of a run used, in place of what it holds."""
        if run.hold is not None:
            used = [self._use(run, attempt, is_over=True) for attempt in run.attempts]
            await self.meter.settle(run.hold, used)

    def _pass_over_dearer(self, run: RequestRun, left_usd: Decimal) -> None:
        for arm in self.catalog.arms:
            if arm.arm_id not in run.tried and self._worst_usd(run, arm) > left_usd:
                run.passed_over[arm.arm_id] = "may cost more than the limits of the caller leave"

    def _worst(self, run: RequestRun, arm: Arm) -> Use:
        n_tokens = prompt_tokens(arm, run.query) + (run.query.max_output_tokens or answer_tokens(run.query))
        return Use(arm.arm_id, self._worst_usd(run, arm), n_tokens)

    def _worst_usd(self, run: RequestRun, arm: Arm) -> Decimal:
        if arm.takes_client_key:  # the caller's own account pays
            return Decimal(0)
        native = run.query.native
        return worst_usd(
            arm,
            run.query.body,
            default_max_tokens=arm.default_max_tokens or self.default_max_tokens,
            native=None if native is None else native.body,
            continues_thread=run.query.turn.continues_thread,
        )

    def _use(self, run: RequestRun, attempt: Attempt, *, is_over: bool) -> Use:
        """What a call used; a cost that nobody knows counts as its worst price until the run is over.

        Then what was held for the run stays counted.
        """
        usage, arm = attempt.usage, self.catalog.in_use(attempt.arm_id)
        usd = attempt.cost_usd
        if arm is not None and arm.takes_client_key:
            usd = Decimal(0)
        elif usd is None and not is_over:
            usd = Decimal(0) if arm is None else self._worst_usd(run, arm)
        return Use(attempt.arm_id, usd, usage.prompt_tokens + usage.completion_tokens)
