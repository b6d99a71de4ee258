"""Which models no other model beats in quality and dollars, and which ones are dominated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from bandit.arrays import Floats
from service.calibration.report.intervals import effective_n, standard_error2
from service.calibration.report.table import AnswerTable

ONE_EACH_WAY = 0.5  # weight of two prompts that are added to each comparison, one won and one lost


@dataclass(frozen=True, slots=True)
class Domination:
    """Another model is at least as good and costs no more, and is better in one of them.

    Args:
        arm_id: of the other model.
        confidence: that this is so for all such prompts, not only for these.
        n_prompts: that both answered.
    """

    arm_id: str
    confidence: float
    n_prompts: int


def dominations(table: AnswerTable) -> dict[str, Domination]:
    """The model that most surely dominates each model, by arm id; models that no other dominates are missing.

    Two models are compared on the prompts that both answered.
    """
    found = {}
    for arm, arm_id in enumerate(table.arm_ids):
        by = [
            domination
            for other in range(len(table.arm_ids))
            if other != arm and (domination := _domination(table, arm, other)) is not None
        ]
        if by:
            found[arm_id] = max(by, key=lambda domination: domination.confidence)
    return found


def _domination(table: AnswerTable, arm: int, other: int) -> Domination | None:
    known = table.is_scored & table.is_priced
    rows = known[:, arm] & known[:, other]
    n = int(rows.sum())
    if n == 0:
        return None
    weights = table.weights[rows]
    better = table.scores[rows, other] - table.scores[rows, arm]
    cheaper = table.costs_usd[rows, arm] - table.costs_usd[rows, other]
    gained, saved = float(weights @ better), float(weights @ cheaper)
    if gained < 0 or saved < 0 or gained == saved == 0:
        return None
    size = float(np.nanmax(table.scores) - np.nanmin(table.scores)) or 1.0
    confidence = min(
        _sureness(np.append(better, [size, -size]), np.append(weights, [ONE_EACH_WAY, ONE_EACH_WAY])),
        _sureness(cheaper, weights),
    )
    return Domination(table.arm_ids[other], confidence, n)


def _sureness(differences: Floats, weights: Floats) -> float:
    """The confidence that the true mean is at least 0, by Student's t; 1 if all differences are 0.

    Both quality and dollars must pass, so the smaller of the two confidences holds for both together; Berger
    (1982), Multiparameter Hypothesis Testing and Acceptance Sampling, Technometrics 24.
    """
    if not differences.any():
        return 1.0
    if differences.size == 1:
        return 0.5
    error = np.sqrt(standard_error2(differences, weights))
    mean = float(np.average(differences, weights=weights))
    if error == 0:
        return 1.0 if mean >= 0 else 0.0
    return float(special.stdtr(max(effective_n(weights) - 1.0, 1.0), mean / error))
