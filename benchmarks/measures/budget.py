"""Rewards kept to a ceiling of dollars."""

from __future__ import annotations

import numpy as np

from bandit.arrays import Floats, Ints
from benchmarks.learner import Setting, registry, replay
from benchmarks.measures.task import Row, Task
from benchmarks.rivals.table import is_installed
from benchmarks.streams import Stream, failing

N_CEILINGS = 7


def budget(task: Task) -> list[Row]:
    """Seven ceilings on three streams.

    Plain; the most expensive arm at a twentieth of its price in the middle third; the best arm failing.
    """
    plain = task.open()
    n, n_arms = plain.shape
    quality = registry(plain, task.seed)
    cheaper = np.ones((n, n_arms))
    cheaper[n // 3 : 2 * n // 3, int(plain.price.argmax())] = 1 / 20
    failed = failing(plain, int(plain.quality.argmax()))
    rows = []
    ceilings = np.geomspace(plain.price.min(), plain.price.max(), N_CEILINGS + 2)[1:-1].tolist()
    for rank, ceiling in enumerate(ceilings):
        for label, stream, factors in (
            ("plain", plain, None),
            ("price falls", plain, cheaper),
            ("arm fails", failed, None),
        ):
            run = replay(stream, Setting(0.0, quality, budget=ceiling, price_factors=factors), task.seed)
            spends = {label: (run.chosen, run.spent)}
            if task.rivals and is_installed("paretobandit"):
                spends |= _paretobandit(stream, ceiling, task.seed, factors, label)
            rows += [
                {
                    "policy": k,
                    "lam": 0.0,
                    "ceiling": ceiling,
                    "ceiling_rank": rank,
                    **_spend(stream, *choices, ceiling),
                }
                for k, choices in spends.items()
            ]
    names = [arm.rpartition("/")[2] for arm in plain.arms]
    rows[0]["arms"] = list(zip(names, plain.price.tolist(), plain.quality.tolist(), strict=True))
    return rows


def _paretobandit(
    stream: Stream, ceiling: float, seed: int, factors: Floats | None, label: str
) -> dict[str, tuple[Ints, Floats]]:
    from benchmarks.rivals.paretobandit import paced

    return {
        f"paretobandit, registry: {label}": paced(stream, ceiling, seed, factors, is_cold=False),
        f"paretobandit, none: {label}": paced(stream, ceiling, seed, factors, is_cold=True),
    }


def _spend(stream: Stream, chosen: Ints, spent: Floats, ceiling: float) -> Row:
    thirds = [float(part.mean() / ceiling) for part in np.array_split(spent, 3)]
    return {
        "n": chosen.size,
        "reward": float(stream.scores[np.arange(chosen.size), chosen].mean()),
        "spend": float(spent.mean() / ceiling),
        "worst_phase": max(thirds),
    }
