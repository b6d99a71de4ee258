"""Which arms rest: after failures in a row, or because their provider asked for it.

An arm that failed too often in a row rests; then one call may try it, while it goes on resting for
the others. If that call succeeds the arm is back, if it fails the arm rests again. An account without
credit rests its arm at once, and for long. A provider that asks us to wait (429) gets its rest, which
says nothing about the arm's health either way.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from service.domain.arm import Arm
from service.domain.ports import Clock
from service.errors import ProviderError, ProviderOutOfCredit, ProviderRateLimited, ProviderRejected

# Arms that name the same thing rest together.
Upstream = tuple[str, str | None, str, str | None]  # provider, base_url, model, api_key_env
OpenReason = Literal["failing", "out_of_credit", "rate_limited", "on_trial"]
Condition = Literal["closed", "open", "half_open"]
Entry = Literal["free", "trial", "refused"]
CallResult = Literal["succeeded", "failed", "rate_limited", "rejected", "cancelled"]

N_LAST_ERRORS = 3
TRIAL_S = 2.0  # what a trial may take; nobody knows
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_CONDITIONS: dict[OpenReason, Condition] = {
    "failing": "open",
    "out_of_credit": "open",
    "rate_limited": "open",
    "on_trial": "half_open",
}
_CAUSES: dict[OpenReason, type[ProviderError]] = {
    "out_of_credit": ProviderOutOfCredit,
    "rate_limited": ProviderRateLimited,
}


@dataclass(frozen=True, slots=True)
class LastError:
    """What went wrong, without the provider's words."""

    error: str  # the class
    status: int | None
    at: datetime


@dataclass(frozen=True, slots=True)
class BreakerState:
    """How the breaker sees one arm at the moment."""

    condition: Condition
    since: datetime | None  # None: nothing ever went wrong
    until: datetime | None  # None: it does not rest
    n_failures: int  # in a row
    last_errors: tuple[LastError, ...]  # newest first
    counts: Mapping[CallResult, int]  # of calls, since the process started


@dataclass(slots=True)
class _State:
    n_failures: int = 0  # in a row
    n_limits: int = 0  # in a row
    is_open: bool = False  # only a trial brings the arm back
    reason: OpenReason = "failing"
    since: datetime | None = None
    until: datetime = _LONG_AGO
    last_errors: deque[LastError] = field(default_factory=lambda: deque(maxlen=N_LAST_ERRORS))
    counts: Counter[CallResult] = field(default_factory=Counter)


class Breaker:
    """The rests of all arms, in this process.

    Args:
        failures_to_open: so many failures in a row make an arm rest.
        rest_s: for how long; also how long a provider rests that asks us to wait without saying
            until when.
        long_rest_s: how long an arm rests whose account has no credit, or whose provider asked that
            `failures_to_open` times in a row. No provider's wish is followed for longer, and no trial
            may stay without a result for longer.
    """

    def __init__(
        self, clock: Clock, *, failures_to_open: int = 3, rest_s: float = 30.0, long_rest_s: float = 300.0
    ) -> None:
        self._clock = clock
        self._failures_to_open = failures_to_open
        self._rest_s = rest_s
        self._long_rest_s = long_rest_s
        self._states: defaultdict[Upstream, _State] = defaultdict(_State)

    def open_reason(self, arm: Arm) -> str | None:
        """Why the arm should not be called now; None: it may be."""
        state = self._state(arm)
        left_s = self._left_s(state)
        if left_s <= 0:
            return None
        if state.reason == "on_trial":
            return "one call is testing it after failures"
        if state.reason == "rate_limited":
            return f"cooling down for {left_s:.0f} s more: its provider asked to wait"
        if state.reason == "out_of_credit":
            return f"cooling down for {left_s:.0f} s more: the provider account has no credit"
        return f"cooling down for {left_s:.0f} s more after {state.n_failures} failures in a row"

    def open_cause(self, arm: Arm) -> type[ProviderError]:
        """What the arm rests of; of nothing in particular where it does not."""
        state = self._state(arm)
        return _CAUSES.get(state.reason, ProviderError) if self._left_s(state) > 0 else ProviderError

    def reopens_in_s(self, arm: Arm) -> float:
        """How much longer the arm rests, seconds; while a call is trying it, a guess."""
        state = self._state(arm)
        left_s = max(0.0, self._left_s(state))
        return min(left_s, TRIAL_S) if state.reason == "on_trial" else left_s

    def begin(self, arm: Arm) -> Entry:
        """Note that a call starts. `refused`: the arm has begun to rest since it was chosen."""
        state = self._state(arm)
        if self._left_s(state) > 0:
            return "refused"
        if not state.is_open:
            return "free"
        self._cool_down(state, "on_trial", self._long_rest_s)
        return "trial"

    def succeeded(self, arm: Arm) -> None:
        """The arm answered."""
        state = self._state(arm)
        state.counts["succeeded"] += 1
        state.n_failures = state.n_limits = 0
        if state.is_open:
            state.is_open, state.since = False, self._clock()
        if state.reason != "rate_limited":
            state.until = _LONG_AGO

    def failed(self, arm: Arm, error: ProviderError, *, is_trial: bool = False) -> None:
        """The call ended with this error."""
        state = self._state(arm)
        if isinstance(error, ProviderRejected):  # the caller's fault
            state.counts["rejected"] += 1
            self._give_back(state, is_trial=is_trial)
            return
        state.last_errors.appendleft(LastError(type(error).__name__, error.status, self._clock()))
        if isinstance(error, ProviderOutOfCredit):
            state.counts["failed"] += 1
            state.is_open = True
            self._cool_down(state, "out_of_credit", self._long_rest_s, is_trial=is_trial)
        elif isinstance(error, ProviderRateLimited):
            state.counts["rate_limited"] += 1
            state.n_limits += 1
            self._cool_down(state, "rate_limited", self._wait_s(state, error), is_trial=is_trial)
        else:
            self._count_failure(state, is_trial=is_trial)

    def released(self, arm: Arm, *, is_trial: bool = False) -> None:
        """The call was given up, which says nothing about the arm; a trial makes room for the next."""
        state = self._state(arm)
        state.counts["cancelled"] += 1
        self._give_back(state, is_trial=is_trial)

    def state_of(self, arm: Arm) -> BreakerState:
        """How the arm stands now."""
        state = self._state(arm)
        is_cooling_down = self._left_s(state) > 0
        condition: Condition = _CONDITIONS[state.reason] if is_cooling_down else _cooled_down(state)
        has_cooled_down = not is_cooling_down and state.until > _LONG_AGO
        return BreakerState(
            condition,
            since=state.until if has_cooled_down else state.since,
            until=state.until if is_cooling_down else None,
            n_failures=state.n_failures,
            last_errors=tuple(state.last_errors),
            counts=state.counts.copy(),
        )

    def _state(self, arm: Arm) -> _State:
        return self._states[arm.provider, arm.base_url, arm.model, arm.api_key_env]

    def _count_failure(self, state: _State, *, is_trial: bool) -> None:
        state.counts["failed"] += 1
        state.n_failures += 1
        state.is_open |= state.n_failures >= self._failures_to_open
        if state.is_open:
            self._cool_down(state, "failing", self._rest_s, is_trial=is_trial)

    def _wait_s(self, state: _State, error: ProviderRateLimited) -> float:
        if error.retry_after_s is not None:
            return min(error.retry_after_s, self._long_rest_s)
        is_storm = state.n_limits >= self._failures_to_open
        return self._long_rest_s if is_storm else min(self._rest_s, self._long_rest_s)

    def _give_back(self, state: _State, *, is_trial: bool) -> None:
        if is_trial and state.reason == "on_trial":
            state.until = self._clock()

    def _left_s(self, state: _State) -> float:
        return (state.until - self._clock()).total_seconds()

    def _cool_down(
        self, state: _State, reason: OpenReason, seconds: float, *, is_trial: bool = False
    ) -> None:
        """Rest at least so long; what was said before still holds, unless a trial call brings the news."""
        now = self._clock()
        until = now + timedelta(seconds=seconds)
        if until > state.until or (is_trial and state.reason == "on_trial"):
            state.reason, state.since, state.until = reason, now, until


def _cooled_down(state: _State) -> Condition:
    return "half_open" if state.is_open else "closed"
