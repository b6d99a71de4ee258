"""Whether work that is done all the time was done lately."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from service.domain.lately import FORGOTTEN_AFTER_S, Lately


@dataclass
class SteppedClock:
    now_s: float = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


def test_some_failures_in_a_row_are_a_fault_and_one_success_ends_it(clock: SteppedClock) -> None:
    lately = Lately(failures=2, clock=clock)
    seen = []
    for work in ("fail", "fail", "succeed", "fail"):
        lately.succeeded() if work == "succeed" else lately.failed(OSError("disk full"))
        seen.append(lately.is_failing)

    assert seen == [False, True, False, False]
    assert lately.as_json() == {"last_success_s_ago": 0.0, "failures_since": 1, "last_error": "disk full"}


def test_failures_of_a_process_that_has_nothing_to_do_any_more_are_forgotten(clock: SteppedClock) -> None:
    lately = Lately(failures=1, clock=clock)
    lately.failed(TimeoutError())

    clock.now_s += FORGOTTEN_AFTER_S - 1
    assert lately.is_failing
    clock.now_s += 1
    assert not lately.is_failing
    assert lately.as_json()["last_error"] == "TimeoutError"
