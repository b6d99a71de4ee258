"""Counts the rows of a file before any row is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from service.domain.arm import Arm
from service.learning.importing.rows import Row

LEAST_PROPENSITY = 0.05  # smaller propensities count as this; else one lucky row would outweigh twenty others
CERTAIN = Decimal(1)


@dataclass(frozen=True, slots=True)
class Survey:
    """The counts of a file's rows.

    Args:
        n_by_arm: rows to import, by arm id.
        n_unknown: rows left out, by the name of a model that is no arm.
        n_drawn: rows with a propensity.
        least_propensity: by arm id, the least propensity of its rows, at least LEAST_PROPENSITY.
        spaces: encoders whose vectors the rows have in place of prompts, each with the length of a vector.
    """

    n_by_arm: Mapping[str, int]
    n_unknown: Mapping[str, int]
    n_drawn: int
    least_propensity: Mapping[str, float]
    spaces: Sequence[tuple[str, int]] = ()

    @property
    def n_rows(self) -> int:
        return sum(self.n_by_arm.values())

    def weight(self, arm_id: str, propensity: float | None) -> Decimal:
        """The weight of a row in its arm's mean, in (0, 1].

            w = p_a / max(p, 0.05),    p_a = max(least p of arm a in the file, 0.05)

        A policy that looks at requests gives an arm only some of them. With the weight 1 / p these represent
        all requests: sum(w r) / sum(w) is the self-normalised estimate of the arm's mean. The factor p_a
        keeps w within (0, 1]. A row without propensity has the weight 1.

        Source: Swaminathan & Joachims (2015), The Self-Normalized Estimator for Counterfactual
        Learning; Ionides (2008), Truncated Importance Sampling, for the bound.
        """
        if propensity is None:
            return CERTAIN
        least = self.least_propensity[arm_id]
        return Decimal(least / max(propensity, LEAST_PROPENSITY)).quantize(Decimal("0.000001"))


def survey(rows: Iterable[Row], arms: Mapping[str, Arm]) -> Survey:
    """Count all rows.

    Args:
        arms: by every name that a row may use.

    Raises:
        StartupError: as `read_rows`, whose rows are counted.
    """
    n_by_arm, n_unknown = Counter[str](), Counter[str]()
    n_drawn = 0
    least: dict[str, float] = {}
    spaces: set[tuple[str, int]] = set()
    for row in rows:
        arm = arms.get(row.model)
        if arm is None:
            n_unknown[row.model] += 1
            continue
        n_by_arm[arm.arm_id] += 1
        if row.encoder is not None and (vector := row.vector) is not None:
            spaces.add((row.encoder, vector.size))
        if row.propensity is not None:
            n_drawn += 1
            counted = max(row.propensity, LEAST_PROPENSITY)
            least[arm.arm_id] = min(least.get(arm.arm_id, 1.0), counted)
    return Survey(n_by_arm, n_unknown, n_drawn, least, sorted(spaces))
