from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from bandit.arrays import Floats
from service.domain.arm import Arm
from service.learning.importing.rows import Row
from service.learning.importing.survey import LEAST_PROPENSITY, Survey, survey

ARMS = {name: Arm(arm_id, "openai", arm_id) for name, arm_id in (("a", "a"), ("alias", "a"), ("b", "b"))}


def row(model: str, score: float = 1.0, propensity: float | None = None) -> Row:
    return Row(prompt="Why?", model=model, score=score, propensity=propensity)


def test_rows_are_counted_by_arm_and_unknown_models_by_name() -> None:
    found = survey([row("a"), row("alias"), row("b"), row("c"), row("c")], ARMS)

    assert found.n_rows == 3
    assert found.n_by_arm == {"a": 2, "b": 1}
    assert found.n_unknown == {"c": 2}


def test_a_row_without_propensity_counts_whole() -> None:
    found = survey([row("a"), row("a", propensity=0.5)], ARMS)

    assert found.weight("a", None) == 1


def test_weights_are_inverse_to_the_propensity_and_the_rarest_row_counts_whole() -> None:
    found = survey([row("a", propensity=p) for p in (0.2, 0.4, 0.8)], ARMS)

    assert [found.weight("a", p) for p in (0.2, 0.4, 0.8)] == [1, Decimal("0.5"), Decimal("0.25")]


def test_rows_drawn_alike_count_whole_however_rare_that_was() -> None:
    found = survey([row("a", propensity=0.01), row("b", propensity=0.5)], ARMS)

    assert found.weight("a", 0.01) == found.weight("b", 0.5) == 1


@pytest.mark.parametrize("propensity", [1e-9, 0.0002, 0.05, 0.3, 1.0])
def test_every_weight_is_in_the_range_that_evidence_allows(propensity: float) -> None:
    found = survey([row("a", propensity=1e-9), row("a", propensity=1.0)], ARMS)

    assert Decimal(str(LEAST_PROPENSITY)) <= found.weight("a", propensity) <= 1


def confounded_log(rng: np.random.Generator, n: int) -> list[Row]:
    """A policy that sends easy requests to `a` and hard ones to `b`, nineteen times in twenty."""
    ease = rng.random(n)
    to_a = np.where(ease < 0.5, 0.95, 0.05)
    is_a = rng.random(n) < to_a
    worth = np.where(is_a, 0.8 - 0.6 * ease, 0.95 - 0.3 * ease)  # 0.5 and 0.8 over all requests
    scores = (rng.random(n) < worth).astype(float)
    drawn = np.where(is_a, to_a, 1.0 - to_a)
    return [row("a" if is_a[i] else "b", float(scores[i]), float(drawn[i])) for i in range(n)]


def mean_and_error(found: Survey, rows: list[Row], arm_id: str, *, weighs: bool) -> tuple[float, float]:
    own = [r for r in rows if r.model == arm_id]
    weights: Floats = np.array([float(found.weight(arm_id, r.propensity if weighs else None)) for r in own])
    scores: Floats = np.array([r.score for r in own])
    mean = float(weights @ scores / weights.sum())
    return mean, float(np.sqrt(weights**2 @ (scores - mean) ** 2) / weights.sum())


@pytest.mark.parametrize(("arm_id", "truth"), [("a", 0.5), ("b", 0.8)])
def test_propensities_undo_what_a_policy_that_looks_at_requests_hides(arm_id: str, truth: float) -> None:
    rows = confounded_log(np.random.default_rng(7), 20_000)
    found = survey(rows, ARMS)

    plain, plain_error = mean_and_error(found, rows, arm_id, weighs=False)
    weighed, error = mean_and_error(found, rows, arm_id, weighs=True)

    assert abs(plain - truth) > 10 * plain_error
    assert abs(weighed - truth) < 4 * error
    assert abs(weighed - truth) < abs(plain - truth) / 4
