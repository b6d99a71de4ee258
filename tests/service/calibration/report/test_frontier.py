from __future__ import annotations

import numpy as np
import pytest

from bandit.arrays import Floats
from service.calibration.report.frontier import Domination, dominations
from service.calibration.report.table import AnswerTable
from tests.service.calibration.report.made_up import answers


def of(scores: Floats, costs_usd: Floats) -> dict[str, Domination]:
    return dominations(AnswerTable.of(answers(scores, costs_usd), {}))


def repeated(rows: list[list[float]], n: int) -> Floats:
    return np.array(rows * n)


def test_a_better_and_cheaper_model_dominates_surely() -> None:
    found = of(repeated([[1.0, 0.0], [1.0, 1.0]], 30), repeated([[0.1, 0.2]], 60))

    assert list(found) == ["model-1"]
    assert (found["model-1"].arm_id, found["model-1"].n_prompts) == ("model-0", 60)
    assert found["model-1"].confidence > 0.99


def test_a_better_but_dearer_model_dominates_nothing() -> None:
    assert of(repeated([[1.0, 0.0]], 30), repeated([[0.2, 0.1]], 30)) == {}


def test_level_quality_at_fewer_dollars_dominates_without_confidence() -> None:
    found = of(repeated([[1.0, 1.0]], 30), repeated([[0.1, 0.2]], 30))

    assert found["model-1"].confidence == pytest.approx(0.5)


def test_models_that_are_level_in_everything_dominate_neither() -> None:
    assert of(repeated([[1.0, 1.0]], 30), repeated([[0.1, 0.1]], 30)) == {}


def test_a_model_of_unknown_price_is_not_compared() -> None:
    assert of(repeated([[1.0, 0.0]], 30), repeated([[0.1, np.nan]], 30)) == {}


def test_models_are_compared_on_the_prompts_that_both_answered() -> None:
    easy, hard = repeated([[1.0, 0.9]], 20), repeated([[0.4, np.nan]], 20)

    found = of(np.vstack([easy, hard]), np.full((40, 2), 0.1))

    assert (found["model-1"].arm_id, found["model-1"].n_prompts) == ("model-0", 20)


def test_one_prompt_proves_nothing() -> None:
    assert of(np.array([[1.0, 0.0]]), np.array([[0.1, 0.2]]))["model-1"].confidence <= 0.5


def test_the_surest_of_several_dominating_models_is_named() -> None:
    rng = np.random.default_rng(2)
    scores = (rng.random((80, 3)) < [0.9, 0.75, 0.6]).astype(np.float64)

    found = of(scores, np.tile([0.1, 0.1, 0.2], (80, 1)) * rng.lognormal(0, 0.1, (80, 1)))

    assert found["model-2"].arm_id == "model-0"


def test_of_level_models_few_are_called_dominated_with_95_percent_confidence() -> None:
    rng = np.random.default_rng(4)
    wrong = 0
    for _ in range(400):
        scores = (rng.random((60, 2)) < 0.7).astype(np.float64)
        costs_usd = rng.lognormal(0.0, 0.5, (60, 2)) * [0.1, 0.5]
        by = of(scores, costs_usd).get("model-1")
        wrong += by is not None and by.confidence >= 0.95

    assert wrong / 400 <= 0.065  # both are as good: in truth "at least as good" holds with equality
