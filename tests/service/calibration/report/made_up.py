"""Graded answers that are made up, with known truths."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import numpy as np

from bandit.arrays import Floats, Ints, Vectors
from service.calibration.answers import GradedAnswer
from service.calibration.prompts import CalibrationPrompt

TOPICS = ("code", "mathematics", "letters", "facts")


def prompt(number: int, text: str = "", task: str | None = None, weight: float = 1.0) -> CalibrationPrompt:
    said = text or f"question {number}"
    body = {"messages": [{"role": "user", "content": said}]}
    return CalibrationPrompt(f"key-{number}", body, said, task=task, weight=weight)


def answer(
    to: CalibrationPrompt,
    arm_id: str,
    score: float | None,
    cost_usd: float | None = 0.001,
    latency_s: float = 1.0,
    problem: str | None = None,
) -> GradedAnswer:
    cost = None if cost_usd is None else Decimal(str(cost_usd))
    return GradedAnswer(
        to, arm_id, score, cost, latency_s, None if score is None else "an answer", problem=problem
    )


def answers(
    scores: Floats,
    costs_usd: Floats,
    tasks: Sequence[str | None] | None = None,
    weights: Floats | None = None,
) -> list[GradedAnswer]:
    """Answers of arms `model-0`, ... to the prompts of each row; a NaN is unknown."""
    found = []
    for row in range(scores.shape[0]):
        task = None if tasks is None else tasks[row]
        asked = prompt(row, task=task, weight=1.0 if weights is None else float(weights[row]))
        for arm in range(scores.shape[1]):
            score, cost = (None if np.isnan(v[row, arm]) else float(v[row, arm]) for v in (scores, costs_usd))
            found.append(
                answer(asked, f"model-{arm}", score, cost, problem="timed out" if score is None else None)
            )
    return found


def played(rng: np.random.Generator, topic: Ints, skills: Floats, prices: Floats) -> tuple[Floats, Floats]:
    """Scores of 0 and 1, and dollars; harder prompts are harder for every arm.

    Args:
        topic: shape (n,).
        skills: shape (n_topics, n_arms), the logarithm of the odds of a good answer.
        prices: shape (n_arms,), typical dollars.
    """
    shape = topic.size, prices.size
    ease = rng.normal(size=(topic.size, 1))
    scores = (rng.random(shape) < 1.0 / (1.0 + np.exp(-(skills[topic] + ease)))).astype(np.float64)
    costs_usd = prices * rng.lognormal(0.0, 0.4, (topic.size, 1)) * rng.lognormal(0.0, 0.2, shape)
    return scores, costs_usd


def vectors(rng: np.random.Generator, topic: Ints, d: int = 24, spread: float = 0.2) -> Vectors:
    """Unit vectors around one direction for each topic."""
    centres = np.linalg.qr(rng.normal(size=(d, int(topic.max()) + 1)))[0].T
    points = centres[topic] + spread * rng.normal(size=(topic.size, d))
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True))
