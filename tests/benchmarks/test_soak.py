"""The soak notices what it is for: what is lost, and what grows."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.soak.faults import OF_THE_ROUTER, faults_in_turn
from benchmarks.soak.samples import Sample, slopes


@pytest.mark.parametrize("n", [1, 2, 9, 60])
def test_the_second_half_of_the_faults_leaves_the_router_alive(n: int) -> None:
    faults = faults_in_turn(n)

    assert len(faults) == n
    assert not set(faults[(n + 1) // 2 :]) & set(OF_THE_ROUTER)


def test_a_leak_has_a_slope_although_single_samples_jump() -> None:
    rng = np.random.default_rng(3)
    samples = [
        Sample(float(second), 300 + second / 60 + 50 * (rng.random() < 0.1), 40, 12, 0, 0, 5.0)
        for second in range(600)
    ]

    by_name = {slope.name: slope for slope in slopes(samples)}

    assert by_name["rss_mb"].an_hour == pytest.approx(60, rel=0.05)
    assert by_name["rss_mb"].growth == pytest.approx(9, abs=1)
    assert by_name["descriptors"].growth == 0
