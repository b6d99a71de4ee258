from __future__ import annotations

import numpy as np
import pytest

from service.calibration.report.intervals import Interval
from service.calibration.report.page import as_html
from service.calibration.report.report import CalibrationReport
from service.calibration.report.routing import Comparison, Means, Routing, Verdict
from service.calibration.report.sentences import best_single, routing_findings, summary
from service.calibration.report.text import as_text
from tests.service.calibration.report.made_up import answers

NONE, SURE, WIDE = Interval(0.0, 0.0, 0.0), Interval(0.4, 0.3, 0.5), Interval(0.4, -0.1, 0.9)
LOSS, LEVEL = Interval(-0.06, -0.1, -0.02), Interval(0.0, -0.08, 0.08)
MEANS = Means(0.8, 0.01, 1.0)


def compared(
    saving: Interval | None, gain: Interval, verdict: Verdict, needed: int | None = None
) -> Comparison:
    return Comparison(MEANS, MEANS, saving, gain, {"a": 1.0}, verdict, needed)


def findings(equal_quality: Comparison, equal_dollars: Comparison) -> list[str]:
    return routing_findings(Routing(40, ("a", "b"), {}, {"b": 1.0}, None, equal_quality, equal_dollars))


@pytest.mark.parametrize(
    ("comparison", "said"),
    [
        (
            compared(SURE, NONE, "yes"),
            "At equal quality routing saves dollars: 40 % of the dollars saved [30, 50]",
        ),
        (compared(NONE, NONE, "no"), "At equal quality routing saves little or nothing: 0 %"),
        (compared(SURE, LOSS, "no"), "Routing saves dollars only at a loss of quality: 40 %"),
        (compared(None, NONE, "no"), "saves little or nothing: the single model costs nothing"),
        (compared(SURE, LEVEL, "unknown", 90), "but a loss of 5 points of quality cannot be excluded: 40 %"),
        (compared(SURE, LEVEL, "unknown", 90), "About 90 prompts could."),
        (compared(WIDE, NONE, "unknown"), "These prompts cannot tell whether routing saves dollars"),
        (compared(SURE, NONE, "yes"), "compared with always b."),
    ],
)
def test_a_saving_is_said_as_far_as_it_is_known(comparison: Comparison, said: str) -> None:
    assert said in findings(comparison, compared(NONE, NONE, "no"))[0]


@pytest.mark.parametrize(
    ("comparison", "said"),
    [
        (compared(NONE, SURE, "yes"), "At equal dollars routing gains quality: +40.0 [+30.0, +50.0] points"),
        (compared(NONE, NONE, "no"), "At equal dollars routing gains little or nothing"),
        (compared(LOSS, SURE, "no"), "Routing gains quality only for more dollars"),
        (compared(NONE, WIDE, "unknown", 120), "cannot tell whether routing gains quality at equal dollars"),
        (compared(NONE, WIDE, "unknown", 1200), "About 1,200 prompts could."),
    ],
)
def test_a_gain_is_said_as_far_as_it_is_known(comparison: Comparison, said: str) -> None:
    assert said in findings(compared(NONE, NONE, "no"), comparison)[1]


@pytest.mark.parametrize(
    ("n_answered", "said"),
    [
        (10, "Best quality: model-0, 1.000 ["),
        (8, "], on 8 of 10 prompts."),
        (7, "Best quality: model-1, 0.500 ["),
        (1, "Best quality: model-1, 0.500 ["),
    ],
)
def test_the_best_model_has_a_score_of_most_prompts(n_answered: int, said: str) -> None:
    scores = np.array([[1.0, i % 2] for i in range(10)])
    scores[n_answered:, 0] = np.nan

    best, *_ = summary(CalibrationReport.of(answers(scores, np.full((10, 2), 0.001))))

    assert said in best
    assert ("prompts" in best) == (n_answered == 8)


def test_one_prompt_and_one_model_are_counted_as_one() -> None:
    report = CalibrationReport.of(answers(np.ones((1, 1)), np.ones((1, 1))))

    assert as_text(report).startswith("1 prompt, 1 model\n")
    assert "<h1>1 model on 1 prompt</h1>" in as_html(report)


def test_several_best_single_models_are_named_with_their_shares() -> None:
    assert best_single({"a": 1.0}) == "a"
    assert best_single({"a": 0.7, "b": 0.3}) == "the best single model (a for 70 %, b for 30 %)"
    assert best_single({"a": 0.4, "b": 0.3, "c": 0.2, "d": 0.1}).endswith("c for 20 %, …)")
