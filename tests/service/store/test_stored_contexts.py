"""How contexts are stored in PostgreSQL."""

from __future__ import annotations

import numpy as np
import pytest

from service.store.connection.values import from_bytes, to_bytes, to_half_bytes


def _unit(seed: int) -> np.ndarray:
    vector = np.random.default_rng(seed).normal(size=384).astype(np.float32)
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize("seed", range(5))
def test_a_rounded_context_is_close_and_has_length_1(seed: int) -> None:
    context = _unit(seed)

    read = from_bytes(to_half_bytes(context))

    assert read @ context == pytest.approx(1, abs=1e-6)
    assert np.linalg.norm(read) == pytest.approx(1, abs=2e-7)


def test_a_context_of_an_earlier_version_is_read_as_it_was_written() -> None:
    context = _unit(7)

    assert np.array_equal(from_bytes(to_bytes(context)), context)


def test_a_context_without_direction_stays_so() -> None:
    assert not from_bytes(to_half_bytes(np.zeros(384, np.float32))).any()
