"""The circuit breaker of each arm: it opens after failures in a row, or when a provider asks to wait.

An arm that failed too often in a row cools down. Then the breaker is half open: one trial call is let
through, all others are refused. If the trial succeeds the breaker closes, if it fails the arm cools down
again. An account without credit opens the breaker at once, and for long. A rate limit (429) makes the arm
cool down too, but counts neither as a failure nor as a success.

Each deployment of an arm has a breaker of its own. The arm cools down only while all of them do.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from service.domain.arm import Arm, Deployment
from service.domain.ports import Clock
from service.errors import ProviderError, ProviderOutOfCredit, ProviderRateLimited, ProviderRejected

# Arms with the same upstream share a breaker.
Upstream = tuple[str, str | None, str, str | None]  # provider, base_url, model, key_name
OpenReason = Literal["failing", "out_of_credit", "rate_limited", "on_trial"]
Condition = Literal["closed", "open", "half_open"]
Entry = Literal["free", "trial", "refused"]
CallResult = Literal["succeeded", "failed", "rate_limited", "rejected", "cancelled"]

N_LAST_ERRORS = 3
TRIAL_S = 2.0  # assumed longest time of a trial, for Retry-After
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_CONDITION_OF: dict[OpenReason, Condition] = {
    "failing": "open",
    "out_of_credit": "open",
    "rate_limited": "open",
    "on_trial": "half_open",
}
_CAUSE_OF: dict[OpenReason, type[ProviderError]] = {
    "out_of_credit": ProviderOutOfCredit,
    "rate_limited": ProviderRateLimited,
}


@dataclass(frozen=True, slots=True)
class LastError:
    """An error of a call, without the provider's message."""

    error: str  # name of the error class
    status: int | None
    at: datetime


@dataclass(frozen=True, slots=True)
class BreakerState:
    """The state of one arm's breaker now."""

    condition: Condition
    since: datetime | None  # None: closed since the start
    until: datetime | None  # None: it is not cooling down
    n_failures: int  # in a row
    last_errors: tuple[LastError, ...]  # newest first
    counts: Mapping[CallResult, int]  # of calls, since the process started


@dataclass(slots=True)
class _State:
    n_failures: int = 0  # in a row
    n_limits: int = 0  # in a row
    needs_trial: bool = False  # only a successful trial closes the breaker
    reason: OpenReason = "failing"
    since: datetime | None = None
    until: datetime = _LONG_AGO
    last_errors: deque[LastError] = field(default_factory=lambda: deque(maxlen=N_LAST_ERRORS))
    counts: Counter[CallResult] = field(default_factory=Counter)


class Breaker:
    """The circuit breakers of all arms, in this process.

    Args:
        failures_to_open: failures in a row that open the breaker.
        rest_s: cool-down after them, seconds; also after a rate limit without a time to wait.
        long_rest_s: cool-down of an account without credit, or after `failures_to_open` rate limits in a
            row, seconds. It is also the longest cool-down after any rate limit, and the longest time
            that a trial may stay without a result.
    """

    def __init__(
        self, clock: Clock, *, failures_to_open: int = 3, rest_s: float = 30.0, long_rest_s: float = 300.0
    ) -> None:
        self._clock = clock
        self._failures_to_open = failures_to_open
        self._rest_s = rest_s
        self._long_rest_s = long_rest_s
        self._states: defaultdict[Upstream, _State] = defaultdict(_State)
        self._latest = _LONG_AGO  # end of the latest cool-down of all

    def is_open(self, deployment: Deployment) -> bool:
        """Whether the deployment is cooling down."""
        return self._remaining_s(self._state(deployment)) > 0

    def open_reason(self, arm: Arm) -> str | None:
        """Why the arm should not be called now; None: it may be called."""
        if self._clock() >= self._latest:  # none cools down: it is asked of every arm for every request
            return None
        state = self._state(arm)
        remaining_s = self._remaining_s(state)
        if remaining_s <= 0:
            return None
        if state.reason == "on_trial":
            return "one call is testing it after failures"
        if state.reason == "rate_limited":
            return f"cooling down for {remaining_s:.0f} s more: its provider asked to wait"
        if state.reason == "out_of_credit":
            return f"cooling down for {remaining_s:.0f} s more: the provider account has no credit"
        return f"cooling down for {remaining_s:.0f} s more after {state.n_failures} failures in a row"

    def open_cause(self, arm: Arm) -> type[ProviderError]:
        """The error that the arm is cooling down from; ProviderError if it is not, or if it just fails."""
        state = self._state(arm)
        return _CAUSE_OF.get(state.reason, ProviderError) if self._remaining_s(state) > 0 else ProviderError

    def asks_to_wait(self, arm: Arm) -> bool:
        """Whether the arm cools down because its provider asked to wait."""
        state = self._state(arm)
        return state.reason == "rate_limited" and self._remaining_s(state) > 0

    def reopens_in_s(self, arm: Arm | Deployment) -> float:
        """How much longer the arm cools down, seconds; an estimate during a trial."""
        state = self._state(arm)
        remaining_s = max(0.0, self._remaining_s(state))
        return min(remaining_s, TRIAL_S) if state.reason == "on_trial" else remaining_s

    def begin(self, arm: Arm) -> Entry:
        """Record that a call begins. `refused`: the arm has been cooling down since it was chosen."""
        state = self._state(arm)
        if self._remaining_s(state) > 0:
            return "refused"
        if not state.needs_trial:
            return "free"
        self._cool_down(state, "on_trial", self._long_rest_s)
        return "trial"

    def succeeded(self, arm: Arm) -> None:
        """Record that the arm answered."""
        state = self._state(arm)
        state.counts["succeeded"] += 1
        state.n_failures = state.n_limits = 0
        if state.needs_trial:
            state.needs_trial, state.since = False, self._clock()
        if state.reason != "rate_limited":
            state.until = _LONG_AGO

    def failed(
        self, arm: Arm, error: ProviderError, *, is_trial: bool = False, is_retry: bool = False
    ) -> None:
        """Record that the call ended with this error.

        Args:
            is_retry: an earlier call of the same request failed too; together they count as one failure.
        """
        state = self._state(arm)
        if isinstance(error, ProviderRejected):  # the client's fault
            state.counts["rejected"] += 1
            self._release_trial(state, is_trial=is_trial)
            return
        state.last_errors.appendleft(LastError(type(error).__name__, error.status, self._clock()))
        if isinstance(error, ProviderOutOfCredit):
            state.counts["failed"] += 1
            state.needs_trial = True
            self._cool_down(state, "out_of_credit", self._long_rest_s, is_trial=is_trial)
        elif isinstance(error, ProviderRateLimited):
            state.counts["rate_limited"] += 1
            state.n_limits += not is_retry
            self._cool_down(state, "rate_limited", self._wait_s(state, error), is_trial=is_trial)
        elif is_retry:
            state.counts["failed"] += 1
        else:
            self._count_failure(state, is_trial=is_trial)

    def released(self, arm: Arm, *, is_trial: bool = False) -> None:
        """Record that the call was cancelled: no result; a cancelled trial allows the next one."""
        state = self._state(arm)
        state.counts["cancelled"] += 1
        self._release_trial(state, is_trial=is_trial)

    def not_called(self, arm: Arm, *, is_trial: bool) -> None:
        """Record that a call was begun and not made; a trial that was not made allows the next one."""
        self._release_trial(self._state(arm), is_trial=is_trial)

    def state_of(self, arm: Arm) -> BreakerState:
        """The state of the arm's breaker now."""
        state = self._state(arm)
        is_cooling_down = self._remaining_s(state) > 0
        condition: Condition = _CONDITION_OF[state.reason] if is_cooling_down else _condition_when_cool(state)
        has_cooled_down = not is_cooling_down and state.until > _LONG_AGO
        return BreakerState(
            condition,
            since=state.until if has_cooled_down else state.since,
            until=state.until if is_cooling_down else None,
            n_failures=state.n_failures,
            last_errors=tuple(state.last_errors),
            counts=state.counts.copy(),
        )

    def _state(self, arm: Arm | Deployment) -> _State:
        """The state of an endpoint; of an arm with several deployments that of the first to be available."""
        if isinstance(arm, Arm) and arm.deployments and arm.deployment is None:
            return min(map(self._state, arm.deployments), key=lambda state: state.until)
        return self._states[upstream_of(arm)]

    def _count_failure(self, state: _State, *, is_trial: bool) -> None:
        state.counts["failed"] += 1
        state.n_failures += 1
        state.needs_trial |= state.n_failures >= self._failures_to_open
        if state.needs_trial:
            self._cool_down(state, "failing", self._rest_s, is_trial=is_trial)

    def _wait_s(self, state: _State, error: ProviderRateLimited) -> float:
        if error.retry_after_s is not None:
            return min(error.retry_after_s, self._long_rest_s)
        is_repeated = state.n_limits >= self._failures_to_open
        return self._long_rest_s if is_repeated else min(self._rest_s, self._long_rest_s)

    def _release_trial(self, state: _State, *, is_trial: bool) -> None:
        if is_trial and state.reason == "on_trial":
            state.until = self._clock()

    def _remaining_s(self, state: _State) -> float:
        return (state.until - self._clock()).total_seconds()

    def _cool_down(
        self, state: _State, reason: OpenReason, seconds: float, *, is_trial: bool = False
    ) -> None:
        """Cool down at least so long. A longer cool-down stays, unless a trial reports the error."""
        now = self._clock()
        until = now + timedelta(seconds=seconds)
        if until > state.until or (is_trial and state.reason == "on_trial"):
            state.reason, state.since, state.until = reason, now, until
            self._latest = max(self._latest, until)


def upstream_of(endpoint: Arm | Deployment) -> Upstream:
    """What distinguishes the endpoint from others."""
    return endpoint.provider, endpoint.base_url, endpoint.model, endpoint.key_name


def _condition_when_cool(state: _State) -> Condition:
    return "half_open" if state.needs_trial else "closed"
