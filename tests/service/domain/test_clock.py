from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pytest

from service.arms.breaker import Breaker
from service.domain.arm import Arm
from service.domain.clock import SteadyClock
from service.errors import ProviderRateLimited

HOUR = 3600.0


@dataclass
class Machine:
    """A machine whose clock somebody sets."""

    wall: float = 1_800_000_000.0
    steady: float = 50.0

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds

    def clock(self) -> SteadyClock:
        return SteadyClock(lambda: self.wall, lambda: self.steady)


def test_a_duration_is_a_duration_when_the_machines_clock_is_set() -> None:
    machine = Machine()
    clock = machine.clock()
    before = clock()

    machine.wall -= HOUR
    machine.passes(30.0)

    assert clock() - before == timedelta(seconds=30)


def test_a_rest_of_thirty_seconds_lasts_thirty_seconds_when_the_clock_is_set_back_an_hour() -> None:
    machine = Machine()
    clock = machine.clock()
    clock.set_to(machine.wall)
    breaker, arm = Breaker(clock, rest_s=30.0), Arm("an-arm", "openai", "some-model")
    breaker.failed(arm, ProviderRateLimited("slow down", status=429))

    machine.wall -= HOUR
    clock.set_to(machine.wall)  # so did PostgreSQL, on the same machine

    assert breaker.open_reason(arm) is not None
    machine.passes(34.0)  # the clock runs a tenth slower
    assert breaker.open_reason(arm) is None


def test_a_replica_whose_clock_is_ahead_has_postgresqls_time_from_the_start() -> None:
    right, wrong = Machine(), Machine(wall=1_800_000_000.0 + 2 * HOUR)
    clock = wrong.clock()

    clock.set_to(right.wall)

    assert clock().timestamp() == pytest.approx(right.wall)
    assert clock.skew_s == pytest.approx(2 * HOUR)


@pytest.mark.parametrize("step_s", [-HOUR, -1.0, 0.0, 0.5, HOUR])
def test_the_clock_never_goes_back_and_meets_the_one_that_it_follows(step_s: float) -> None:
    machine = Machine()
    clock = machine.clock()
    clock.set_to(machine.wall)
    machine.wall += step_s
    shown = [clock()]

    for _ in range(700):
        clock.set_to(machine.wall)
        shown.append(clock())
        machine.passes(60.0)
        shown.append(clock())

    assert shown == sorted(shown)
    assert shown[-1].timestamp() == pytest.approx(machine.wall)


def test_no_skew_is_known_before_another_clock_was_seen() -> None:
    assert Machine().clock().skew_s is None
