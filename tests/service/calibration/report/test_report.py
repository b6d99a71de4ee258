from __future__ import annotations

import numpy as np
import pytest

from service.calibration.report.report import CalibrationReport
from tests.service.calibration.report.made_up import answer, answers, prompt


def test_models_are_listed_the_best_first_and_unscored_ones_last() -> None:
    scores = np.array([[np.nan, 0.2, 0.9, 0.9]] * 10)
    costs_usd = np.array([[0.1, 0.1, 0.3, 0.2]] * 10)

    report = CalibrationReport.of(answers(scores, costs_usd))

    assert [model.model for model in report.models] == ["model-3", "model-2", "model-1", "model-0"]
    assert [model.is_on_frontier for model in report.models] == [True, False, True, False]
    assert report.models[1].dominated_by is not None
    assert report.models[1].dominated_by.arm_id == "model-3"


def test_figures_count_what_is_missing() -> None:
    report = CalibrationReport.of(
        [
            answer(prompt(1), "a", 1.0, 0.1, 2.0),
            answer(prompt(2), "a", 0.5, None, 4.0),
            answer(prompt(3), "a", None, None, 60.0, problem="timed out"),
            answer(prompt(4), "b", 1.0, 0.2),
        ]
    )
    a = next(model.figures for model in report.models if model.model == "a")

    assert (a.n_scored, a.n_unscored, a.n_unpriced) == (2, 2, 1)
    assert a.quality is not None
    assert a.quality.value == 0.75
    assert a.cost_usd is not None
    assert a.cost_usd.value == pytest.approx(0.1)
    assert a.latency_s is not None
    assert a.latency_s.value == 3.0
    assert [(p.model, p.problem, p.n) for p in report.problems] == [("a", "timed out", 1)]


def test_a_topic_has_its_own_figures() -> None:
    scores = np.array([[1.0, 0.0]] * 6 + [[0.0, 1.0]] * 6)
    report = CalibrationReport.of(
        answers(
            scores, np.ones((12, 2)), tasks=["code"] * 6 + ["letters"] * 6, weights=np.repeat([3.0, 1.0], 6)
        )
    )
    by_topic = {topic.topic: topic for topic in report.topics}

    assert by_topic["code"].share == 0.75
    best = {
        name: {model: f.quality.value for model, f in topic.models.items() if f.quality is not None}
        for name, topic in by_topic.items()
    }
    assert best == {"code": {"model-0": 1.0, "model-1": 0.0}, "letters": {"model-0": 0.0, "model-1": 1.0}}
    assert report.models[0].figures.quality is not None
    assert report.models[0].figures.quality.value == 0.75


def test_problems_are_counted_the_most_frequent_first_without_control_characters() -> None:
    found = [answer(prompt(i), "a", None, problem="\x1b[31mtimed\nout") for i in range(3)]
    found += [answer(prompt(9), "a", None, problem=None), answer(prompt(10), "a", 1.0)]

    problems = CalibrationReport.of(found).problems

    assert [(p.problem, p.n) for p in problems] == [("[31mtimed out", 3), ("no reason given", 1)]


def test_nothing_scored_is_still_a_report() -> None:
    report = CalibrationReport.of([answer(prompt(i), "a", None, problem="down") for i in range(3)])

    assert report.models[0].figures.quality is None
    assert report.routing.equal_quality is None


def test_the_order_of_the_answers_does_not_change_the_figures_of_a_model() -> None:
    rng = np.random.default_rng(1)
    found = answers(rng.random((40, 3)), rng.random((40, 3)))
    shuffled = [found[i] for i in rng.permutation(len(found))]

    first, second = CalibrationReport.of(found), CalibrationReport.of(shuffled)

    def qualities(report: CalibrationReport) -> dict[str, float]:
        return {m.model: round(m.figures.quality.value, 9) for m in report.models if m.figures.quality}

    assert qualities(first) == qualities(second)
    assert [m.is_on_frontier for m in first.models] == [m.is_on_frontier for m in second.models]
