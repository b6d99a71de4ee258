"""Which arms rest: after failures in a row, or because their provider asked for it.

An arm that failed too often in a row rests; then one call may try it, while it goes on resting for
the others. If that call succeeds the arm is back, if it fails the arm rests again. A provider that
asks us to wait (429) gets its rest, which says nothing about the arm's health either way.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from service.errors import ProviderError, ProviderRateLimited, ProviderRejected
from service.ports import Clock
from service.types import Arm

# Arms that name the same thing rest together.
Upstream = tuple[str, str | None, str, str | None]  # provider, base_url, model, api_key_env
RestReason = Literal["failing", "rate_limited", "probing"]

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Rest:
    """What is held against one upstream at the moment."""

    provider: str
    model: str
    n_failures: int  # in a row
    reason: RestReason | None  # None: it does not rest now
    until: datetime | None


@dataclass(slots=True)
class _State:
    n_failures: int = 0
    reason: RestReason = "failing"
    until: datetime = _LONG_AGO


class Breaker:
    """The rests of all arms, in this process.

    Args:
        failures_to_open: so many failures in a row make an arm rest.
        rest_s: for how long; also how long a trial call may stay without a result, and how long a
            provider rests that asks us to wait without saying until when.
        longest_rest_s: no provider's wish is followed for longer.
    """

    def __init__(
        self, clock: Clock, *, failures_to_open: int = 3, rest_s: float = 30.0, longest_rest_s: float = 300.0
    ) -> None:
        self._clock = clock
        self._failures_to_open = failures_to_open
        self._rest_s = rest_s
        self._longest_rest_s = longest_rest_s
        self._states: dict[Upstream, _State] = {}

    def is_resting(self, arm: Arm) -> str | None:
        """Why the arm should not be called now; None: it may be."""
        state = self._states.get(_upstream(arm))
        left_s = self._left_s(state)
        if state is None or left_s <= 0:
            return None
        if state.reason == "probing":
            return "one call is trying it after failures"
        if state.reason == "rate_limited":
            return f"its provider asked to wait, {left_s:.0f} s more"
        return f"resting {left_s:.0f} s more after {state.n_failures} failures in a row"

    def rests_for_s(self, arm: Arm) -> float:
        """How much longer the arm rests, seconds."""
        return max(0.0, self._left_s(self._states.get(_upstream(arm))))

    def begin(self, arm: Arm) -> bool:
        """Note that a call starts. False: the arm has begun to rest since it was chosen."""
        state = self._states.get(_upstream(arm))
        if self._left_s(state) > 0:
            return False
        if state is not None and self._is_open(state):
            self._rest(state, "probing", self._rest_s)
        return True

    def succeeded(self, arm: Arm) -> None:
        """The arm answered."""
        state = self._states.get(_upstream(arm))
        if state is None:
            return
        state.n_failures = 0
        if state.reason != "rate_limited":
            state.until = _LONG_AGO

    def failed(self, arm: Arm, error: ProviderError) -> None:
        """The call ended with this error."""
        if isinstance(error, ProviderRejected):  # the caller's fault
            self.released(arm)
            return
        state = self._states.setdefault(_upstream(arm), _State())
        if isinstance(error, ProviderRateLimited):
            wait_s = self._rest_s if error.retry_after_s is None else error.retry_after_s
            self._rest(state, "rate_limited", min(wait_s, self._longest_rest_s))
            return
        state.n_failures += 1
        if self._is_open(state):
            self._rest(state, "failing", self._rest_s)

    def released(self, arm: Arm) -> None:
        """The call ended without saying anything about the arm: cancelled, or rightly refused."""
        state = self._states.get(_upstream(arm))
        if state is not None and state.reason == "probing":
            state.until = _LONG_AGO

    def status(self) -> list[Rest]:
        """Every upstream that rests or has failed since it last answered."""
        rests = []
        for (provider, _, model, _), state in self._states.items():
            is_resting = self._left_s(state) > 0
            if is_resting or state.n_failures:
                reason, until = (state.reason, state.until) if is_resting else (None, None)
                rests.append(Rest(provider, model, state.n_failures, reason, until))
        return rests

    def _is_open(self, state: _State) -> bool:
        return state.n_failures >= self._failures_to_open

    def _left_s(self, state: _State | None) -> float:
        return 0.0 if state is None else (state.until - self._clock()).total_seconds()

    def _rest(self, state: _State, reason: RestReason, seconds: float) -> None:
        """Rest at least so long; what was asked for before still holds, unless it was a trial call."""
        until = self._clock() + timedelta(seconds=seconds)
        if state.reason == "probing" or until > state.until:
            state.reason, state.until = reason, until


def _upstream(arm: Arm) -> Upstream:
    return (arm.provider, arm.base_url, arm.model, arm.api_key_env)
