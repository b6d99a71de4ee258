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


def test_a_row_without_propensity_has_weight_one() -> None:
    found = survey([row("a"), row("a", propensity=0.5)], ARMS)

    assert found.weight("a", None) == 1


def test_weights_are_inverse_to_the_propensity_and_the_rarest_row_has_weight_one() -> None:
    found = survey([row("a", propensity=p) for p in (0.2, 0.4, 0.8)], ARMS)

    assert [found.weight("a", p) for p in (0.2, 0.4, 0.8)] == [1, Decimal("0.5"), Decimal("0.25")]


def test_rows_of_equal_propensity_have_weight_one_however_rare() -> None:
    found = survey([row("a", propensity=0.01), row("b", propensity=0.5)], ARMS)

    assert found.weight("a", 0.01) == found.weight("b", 0.5) == 1


@pytest.mark.parametrize("propensity", [1e-9, 0.0002, 0.05, 0.3, 1.0])
def test_every_weight_is_in_the_range_that_evidence_allows(propensity: float) -> None:
    found = survey([row("a", propensity=1e-9), row("a", propensity=1.0)], ARMS)

    assert Decimal(str(LEAST_PROPENSITY)) <= found.weight("a", propensity) <= 1


def confounded_log(rng: np.random.Generator, n: int) -> list[Row]:
    """A log whose policy sends easy requests to `a` and hard requests to `b`, nineteen times in twenty."""
    hardness = rng.random(n)
    probability_of_a = np.where(hardness < 0.5, 0.95, 0.05)
    is_a = rng.random(n) < probability_of_a
    mean = np.where(is_a, 0.8 - 0.6 * hardness, 0.95 - 0.3 * hardness)  # 0.5 and 0.8 over all requests
    scores = (rng.random(n) < mean).astype(float)
    propensities = np.where(is_a, probability_of_a, 1.0 - probability_of_a)
    return [row("a" if is_a[i] else "b", float(scores[i]), float(propensities[i])) for i in range(n)]


def mean_and_error(found: Survey, rows: list[Row], arm_id: str, *, weighs: bool) -> tuple[float, float]:
    of_arm = [r for r in rows if r.model == arm_id]
    propensities = [r.propensity if weighs else None for r in of_arm]
    weights: Floats = np.array([float(found.weight(arm_id, propensity)) for propensity in propensities])
    scores: Floats = np.array([r.score for r in of_arm])
    mean = float(weights @ scores / weights.sum())
    return mean, float(np.sqrt(weights**2 @ (scores - mean) ** 2) / weights.sum())


@pytest.mark.parametrize(("arm_id", "truth"), [("a", 0.5), ("b", 0.8)])
def test_propensities_remove_the_bias_of_a_policy_that_looks_at_requests(arm_id: str, truth: float) -> None:
    rows = confounded_log(np.random.default_rng(7), 20_000)
    found = survey(rows, ARMS)

    plain, plain_error = mean_and_error(found, rows, arm_id, weighs=False)
    weighed, error = mean_and_error(found, rows, arm_id, weighs=True)

    assert abs(plain - truth) > 10 * plain_error
    assert abs(weighed - truth) < 4 * error
    assert abs(weighed - truth) < abs(plain - truth) / 4
