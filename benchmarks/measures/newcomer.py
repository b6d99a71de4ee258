"""An arm that joins half-way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bandit.arrays import Floats, Ints
from benchmarks.learner import Setting, registry, replay
from benchmarks.measures.task import LAMBDAS, Row, Task


def newcomer(task: Task) -> list[Row]:
    """The best arm joins half-way: unchanged, with half its score, or at ten times its cost with a budget."""
    stream = task.open()
    n, n_arms = stream.shape
    lam, half = LAMBDAS[1], n // 2
    arm = int(stream.utilities(lam).mean(axis=0).argmax())
    joins = np.where(np.arange(n_arms) == arm, half, 0)
    quality = registry(stream, task.seed)
    quality[arm] = np.nan
    rows = []
    for label, score, cost in (("good", 1.0, 1.0), ("bad", 0.5, 1.0), ("dear", 1.0, 10.0)):
        scores, costs, price = stream.scores.copy(), stream.costs.copy(), stream.price.copy()
        scores[:, arm] *= score
        costs[:, arm] *= cost
        price[arm] *= cost
        changed = replace(stream, scores=scores, costs=costs, price=price)
        ceiling = float(np.median(np.delete(stream.price, arm))) if label == "dear" else None
        run = replay(changed, Setting(lam, quality, ceiling, joins), task.seed)
        after = run.chosen[half:] == arm
        recent = np.convolve(after, np.ones(50), "valid") >= 25
        rows.append(
            {
                "policy": label,
                "lam": lam,
                "share": float(after.sum() / n),
                "adopted_after": int(recent.argmax()) + 50 if recent.any() else None,
                "spend": None if ceiling is None else float(run.spent.mean() / ceiling),
                "worst_phase": None if ceiling is None else _avoidable(run.spent, costs, joins, ceiling),
            }
        )
    return rows


def _avoidable(spent: Floats, costs: Floats, joins: Ints, ceiling: float) -> float:
    """Spend of the worst third over its ceiling, or over the cheapest arm's cost if that was more.

    The ceiling is the median price, which several arms may share: a third with long requests then costs more
    with any choice.
    """
    thirds = np.array_split(np.arange(spent.size), 3)
    return max(
        float(spent[part].mean() / max(ceiling, costs[part][:, joins == 0].mean(axis=0).min()))
        for part in thirds
    )
