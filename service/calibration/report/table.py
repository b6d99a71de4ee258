"""The graded answers as arrays: one row for each prompt, one column for each model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np

from bandit.arrays import Bools, Floats, Vectors
from service.calibration.answers import GradedAnswer
from service.calibration.prompts import CalibrationPrompt


@dataclass(frozen=True, slots=True, eq=False)
class AnswerTable:
    """The answers of every model to every prompt; arrays have shape (n_prompts, n_arms), NaN where unknown.

    Args:
        weights: shape (n_prompts,), above 0, 1 on average.
        costs_usd, latencies_s: of answers only; a call without an answer has neither.
        contexts: shape (n_prompts, d), unit vectors; zeros for a prompt without one. If none has one, all are
            alike.
    """

    prompts: tuple[CalibrationPrompt, ...]
    arm_ids: tuple[str, ...]
    scores: Floats
    costs_usd: Floats
    latencies_s: Floats
    weights: Floats
    contexts: Vectors

    @classmethod
    def of(cls, answers: Sequence[GradedAnswer], contexts: Mapping[str, Vectors]) -> AnswerTable:
        """Sort answers into a table; of several answers of a model to a prompt the last counts.

        Args:
            contexts: vectors by the key of the prompt; prompts may be missing.

        Raises:
            ValueError: there is no answer, or a weight is not above 0.
        """
        if not answers:
            raise ValueError("a report needs at least one answer")
        prompts = {answer.prompt.key: answer.prompt for answer in answers}
        arms = dict.fromkeys(answer.arm_id for answer in answers)
        rows = {key: row for row, key in enumerate(prompts)}
        columns = {arm_id: column for column, arm_id in enumerate(arms)}
        cells = np.full((3, len(rows), len(columns)), np.nan)
        for answer in answers:
            cells[:, rows[answer.prompt.key], columns[answer.arm_id]] = _numbers(answer)
        weights = np.array([prompt.weight for prompt in prompts.values()], dtype=np.float64)
        if not (np.isfinite(weights).all() and (weights > 0).all()):
            raise ValueError(f"the weight of a prompt must be above 0, got {weights.min():g}")
        scores, costs_usd, latencies_s = cells
        return cls(
            prompts=tuple(prompts.values()),
            arm_ids=tuple(arms),
            scores=scores,
            costs_usd=costs_usd,
            latencies_s=latencies_s,
            weights=weights / weights.mean(),
            contexts=_stacked(contexts, rows),
        )

    @property
    def is_scored(self) -> Bools:
        return ~np.isnan(self.scores)

    @property
    def is_priced(self) -> Bools:
        return ~np.isnan(self.costs_usd)

    def part(self, rows: Bools, arms: Bools | None = None) -> AnswerTable:
        """The answers to some of the prompts, of some of the models; None: of all."""
        columns = np.ones(len(self.arm_ids), dtype=np.bool_) if arms is None else arms
        cells = np.ix_(rows, columns)
        return AnswerTable(
            tuple(compress(self.prompts, rows.tolist())),
            tuple(compress(self.arm_ids, columns.tolist())),
            self.scores[cells],
            self.costs_usd[cells],
            self.latencies_s[cells],
            self.weights[rows],
            self.contexts[rows],
        )


def _numbers(answer: GradedAnswer) -> tuple[float, float, float]:
    """The score, dollars and seconds of an answer, NaN where unknown."""
    if answer.score is None and answer.answer_text is None and answer.answered_at is None:
        return np.nan, np.nan, np.nan
    score, cost_usd = (np.nan if x is None else float(x) for x in (answer.score, answer.cost_usd))
    return score, cost_usd, answer.latency_s


def _stacked(contexts: Mapping[str, Vectors], keys: Mapping[str, int]) -> Vectors:
    d = next((vector.size for key, vector in contexts.items() if key in keys), None)
    if d is None:
        return np.ones((len(keys), 1))
    stacked = np.zeros((len(keys), d))
    for key, row in keys.items():
        if key in contexts:
            stacked[row] = contexts[key]
    return stacked
