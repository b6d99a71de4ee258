from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.arms.breaker import Breaker, BreakerState
from service.domain.arm import Arm
from service.errors import (
    ProviderBroken,
    ProviderError,
    ProviderOutOfCredit,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
)

ARM = Arm("an-arm", "openai", "some-model")
BROKEN = ProviderBroken("500")
TIMEOUT = ProviderTimeout("late")
REJECTED = ProviderRejected("bad field", status=400)


@dataclass
class HandClock:
    now: datetime = datetime(2026, 11, 20, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def breaker(clock: HandClock) -> Breaker:
    return Breaker(clock, failures_to_open=3, rest_s=30, long_rest_s=300)


def fail(breaker: Breaker, n: int, error: ProviderError = BROKEN) -> None:
    for _ in range(n):
        breaker.failed(ARM, error, is_trial=breaker.begin(ARM) == "trial")


def test_the_breaker_of_an_arm_that_was_never_called_is_closed(breaker: Breaker) -> None:
    assert breaker.open_reason(ARM) is None
    assert breaker.state_of(ARM) == BreakerState("closed", None, None, 0, (), {})


@pytest.mark.parametrize("error", [BROKEN, TIMEOUT])
def test_failures_in_a_row_open_the_breaker(breaker: Breaker, error: ProviderError) -> None:
    fail(breaker, 2, error)
    assert breaker.open_reason(ARM) is None

    fail(breaker, 1, error)

    assert breaker.open_reason(ARM) == "cooling down for 30 s more after 3 failures in a row"
    assert breaker.begin(ARM) == "refused"


def test_a_success_in_between_resets_the_count(breaker: Breaker) -> None:
    fail(breaker, 2)
    breaker.succeeded(ARM)
    fail(breaker, 2)

    assert breaker.open_reason(ARM) is None


def test_a_cool_down_ends_by_itself(breaker: Breaker, clock: HandClock) -> None:
    fail(breaker, 3)

    clock.forward(30)

    assert breaker.open_reason(ARM) is None


def test_after_the_cool_down_one_trial_call_is_let_through(breaker: Breaker, clock: HandClock) -> None:
    fail(breaker, 3)
    clock.forward(30)

    assert breaker.begin(ARM) == "trial"
    assert breaker.begin(ARM) == "refused"
    assert breaker.open_reason(ARM) == "one call is testing it after failures"


def test_a_trial_that_succeeds_closes_the_breaker(breaker: Breaker, clock: HandClock) -> None:
    fail(breaker, 3)
    clock.forward(30)

    breaker.begin(ARM)
    breaker.succeeded(ARM)

    assert breaker.open_reason(ARM) is None
    fail(breaker, 2)
    assert breaker.open_reason(ARM) is None


def test_a_trial_that_fails_starts_another_cool_down(breaker: Breaker, clock: HandClock) -> None:
    fail(breaker, 3)
    clock.forward(30)

    fail(breaker, 1)

    clock.forward(29)
    assert breaker.open_reason(ARM) is not None
    clock.forward(1)
    assert breaker.open_reason(ARM) is None


@pytest.mark.parametrize("is_cancelled", [True, False])
def test_a_trial_without_a_result_allows_the_next_trial(
    breaker: Breaker, clock: HandClock, is_cancelled: bool
) -> None:
    fail(breaker, 3)
    clock.forward(30)

    breaker.begin(ARM)
    if is_cancelled:
        breaker.released(ARM, is_trial=True)
    else:
        breaker.failed(ARM, REJECTED, is_trial=True)

    assert breaker.open_reason(ARM) is None
    assert breaker.begin(ARM) == "trial"
    assert breaker.begin(ARM) == "refused"


@pytest.mark.parametrize("ends", ["cancelled", "rejected", "broken", "limited"])
def test_the_end_of_an_older_call_does_not_end_the_trial(
    breaker: Breaker, clock: HandClock, ends: str
) -> None:
    assert breaker.begin(ARM) == "free"
    fail(breaker, 3)
    clock.forward(30)
    breaker.begin(ARM)

    match ends:
        case "cancelled":
            breaker.released(ARM)
        case "rejected":
            breaker.failed(ARM, REJECTED)
        case "broken":
            breaker.failed(ARM, BROKEN)
        case "limited":
            breaker.failed(ARM, ProviderRateLimited("429", retry_after_s=5))

    clock.forward(60)
    assert breaker.begin(ARM) == "refused"
    breaker.succeeded(ARM)
    assert breaker.begin(ARM) == "free"


def test_a_trial_that_never_ends_is_replaced_after_the_longest_cool_down(
    breaker: Breaker, clock: HandClock
) -> None:
    fail(breaker, 3)
    clock.forward(30)

    breaker.begin(ARM)
    clock.forward(299)
    assert breaker.begin(ARM) == "refused"
    clock.forward(1)

    assert breaker.begin(ARM) == "trial"


def test_a_trial_that_is_rate_limited_waits_as_asked(breaker: Breaker, clock: HandClock) -> None:
    fail(breaker, 3)
    clock.forward(30)

    breaker.begin(ARM)
    breaker.failed(ARM, ProviderRateLimited("429", retry_after_s=5), is_trial=True)

    assert breaker.open_reason(ARM) == "cooling down for 5 s more: its provider asked to wait"
    clock.forward(5)
    assert breaker.begin(ARM) == "trial"
    assert breaker.begin(ARM) == "refused"


def test_rejected_requests_never_open_the_breaker(breaker: Breaker) -> None:
    fail(breaker, 50, REJECTED)

    assert breaker.open_reason(ARM) is None
    assert breaker.state_of(ARM).condition == "closed"
    assert breaker.state_of(ARM).last_errors == ()


def test_a_rate_limit_cools_down_for_as_long_as_asked(breaker: Breaker, clock: HandClock) -> None:
    breaker.failed(ARM, ProviderRateLimited("429", retry_after_s=12))

    assert breaker.open_reason(ARM) == "cooling down for 12 s more: its provider asked to wait"
    clock.forward(12)
    assert breaker.open_reason(ARM) is None


def test_a_rate_limit_neither_counts_as_a_failure_nor_resets_the_count(
    breaker: Breaker, clock: HandClock
) -> None:
    limited = ProviderRateLimited("429", retry_after_s=0)

    fail(breaker, 20, limited)
    assert breaker.open_reason(ARM) is None
    fail(breaker, 2)
    fail(breaker, 1, limited)
    assert breaker.open_reason(ARM) is None
    fail(breaker, 1)

    assert breaker.open_reason(ARM) == "cooling down for 30 s more after 3 failures in a row"


@pytest.mark.parametrize(("retry_after_s", "expected_s"), [(None, 30), (86_400, 300)])
def test_the_cool_down_of_a_rate_limit_is_bounded(
    breaker: Breaker, clock: HandClock, retry_after_s: float | None, expected_s: float
) -> None:
    breaker.failed(ARM, ProviderRateLimited("429", retry_after_s=retry_after_s))

    clock.forward(expected_s - 1)
    assert breaker.open_reason(ARM) is not None
    clock.forward(1)
    assert breaker.open_reason(ARM) is None


def test_an_answer_already_under_way_does_not_end_a_rate_limit(breaker: Breaker) -> None:
    breaker.failed(ARM, ProviderRateLimited("429", retry_after_s=12))
    breaker.succeeded(ARM)

    assert breaker.open_reason(ARM) is not None


def test_a_shorter_rate_limit_does_not_shorten_the_cool_down(breaker: Breaker, clock: HandClock) -> None:
    breaker.failed(ARM, ProviderRateLimited("429", retry_after_s=60))
    breaker.failed(ARM, ProviderRateLimited("429", retry_after_s=1))

    clock.forward(59)
    assert breaker.open_reason(ARM) is not None


def test_only_arms_of_the_same_upstream_share_a_breaker(breaker: Breaker) -> None:
    fail(breaker, 3)

    assert breaker.open_reason(replace(ARM, arm_id="an-alias")) is not None
    assert breaker.open_reason(replace(ARM, model="other")) is None
    assert breaker.open_reason(replace(ARM, base_url="http://elsewhere")) is None
    assert breaker.open_reason(replace(ARM, api_key_env="OTHER_KEY")) is None


def test_rate_limits_in_a_row_cause_a_long_cool_down(breaker: Breaker, clock: HandClock) -> None:
    limited = ProviderRateLimited("429")

    for _ in range(2):
        breaker.failed(ARM, limited)
        clock.forward(30)
        assert breaker.begin(ARM) == "free"
    breaker.failed(ARM, limited)

    clock.forward(299)
    assert breaker.open_reason(ARM) == "cooling down for 1 s more: its provider asked to wait"
    clock.forward(1)
    assert breaker.begin(ARM) == "free"


def test_an_answer_resets_the_count_of_rate_limits(breaker: Breaker, clock: HandClock) -> None:
    for _ in range(4):
        breaker.failed(ARM, ProviderRateLimited("429"))
        clock.forward(300)
        breaker.succeeded(ARM)

    breaker.failed(ARM, ProviderRateLimited("429"))

    assert breaker.reopens_in_s(ARM) == 30


def test_an_account_without_credit_opens_the_breaker_until_a_trial(
    breaker: Breaker, clock: HandClock
) -> None:
    breaker.failed(ARM, ProviderOutOfCredit("402", status=402))

    assert breaker.open_reason(ARM) == "cooling down for 300 s more: the provider account has no credit"
    clock.forward(300)
    assert breaker.begin(ARM) == "trial"
    assert breaker.begin(ARM) == "refused"
    breaker.succeeded(ARM)
    assert breaker.begin(ARM) == "free"


def test_the_state_follows_the_breaker_through_open_half_open_and_closed(
    breaker: Breaker, clock: HandClock
) -> None:
    began = clock.now
    states = [breaker.state_of(ARM)]
    fail(breaker, 3)
    states.append(breaker.state_of(ARM))
    clock.forward(40)
    states.append(breaker.state_of(ARM))
    breaker.begin(ARM)
    states.append(breaker.state_of(ARM))
    clock.forward(1)
    breaker.succeeded(ARM)
    states.append(breaker.state_of(ARM))
    breaker.failed(ARM, ProviderRateLimited("429", status=429, retry_after_s=7))
    states.append(breaker.state_of(ARM))

    def after(seconds: float) -> datetime:
        return began + timedelta(seconds=seconds)

    assert [(state.condition, state.since, state.until) for state in states] == [
        ("closed", None, None),
        ("open", began, after(30)),
        ("half_open", after(30), None),
        ("half_open", after(40), after(340)),
        ("closed", after(41), None),
        ("open", after(41), after(48)),
    ]
    assert states[-1].counts == {"failed": 3, "succeeded": 1, "rate_limited": 1}
    assert [(last.error, last.status) for last in states[-1].last_errors] == [
        ("ProviderRateLimited", 429),
        ("ProviderBroken", None),
        ("ProviderBroken", None),
    ]


errors = st.sampled_from([BROKEN, TIMEOUT, REJECTED, ProviderOutOfCredit("402")]) | st.builds(
    lambda wait_s: ProviderRateLimited("429", retry_after_s=wait_s), st.none() | st.floats(0, 1e6)
)
events = st.lists(st.tuples(st.sampled_from(["begin", "ok", "fail", "leave"]), errors, st.floats(0, 400)))


@given(events)
def test_no_cool_down_is_longer_than_the_longest(
    history: list[tuple[str, ProviderError, float]],
) -> None:
    clock = HandClock()
    breaker = Breaker(clock, rest_s=30, long_rest_s=300)
    is_trial = False
    for event, error, wait_s in history:
        match event:
            case "begin":
                is_trial = breaker.begin(ARM) == "trial"
            case "ok":
                breaker.succeeded(ARM)
            case "fail":
                breaker.failed(ARM, error, is_trial=is_trial)
            case "leave":
                breaker.released(ARM, is_trial=is_trial)
        clock.forward(wait_s)

    clock.forward(300)
    assert breaker.open_reason(ARM) is None
    assert breaker.begin(ARM) != "refused"


def test_a_trial_that_was_not_made_leaves_the_next_call_to_be_it(breaker: Breaker, clock: HandClock) -> None:
    fail(breaker, 3)
    clock.forward(30)
    before = breaker.state_of(ARM)
    assert breaker.begin(ARM) == "trial"

    breaker.not_called(ARM, is_trial=True)

    assert breaker.state_of(ARM).counts == before.counts
    assert breaker.begin(ARM) == "trial"
