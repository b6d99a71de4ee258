"""Streams in which nothing changes."""

from __future__ import annotations

import numpy as np

from benchmarks.learner import Setting, StreamRun, registry, replay
from benchmarks.measures.priors import learned
from benchmarks.measures.task import LAMBDAS, Row, Task, gaps
from benchmarks.rivals.baselines import first_system
from benchmarks.rivals.table import rivals
from benchmarks.streams import tagged

LONG = 4000


def draw_statistics(run: StreamRun) -> Row:
    """Statistics that show whether arms were drawn by their propensities."""
    excess = run.propensity - run.expected
    spread = float(np.sqrt(run.variance.sum()))
    return {
        "least_propensity": float(run.propensity.min()),
        "largest_propensity": float(run.propensity.max()),
        "draws_z": float(excess.sum()) / spread if spread > 0 else 0.0,
    }


def stationary(task: Task) -> list[Row]:
    """The plain stream, with registry priors and with no priors, and every rival."""
    stream = task.open()
    rows = []
    for lam in LAMBDAS:
        utilities = stream.utilities(lam)
        for label in ("registry", "none"):
            run = learned(task, lam, label)
            rows.append(
                {
                    "policy": f"ours, {label}",
                    "lam": lam,
                    **gaps(utilities, run.chosen),
                    "alarms": len(run.alarms),
                    **draw_statistics(run),
                }
            )
        if task.rivals:
            rows += [
                {"policy": k, "lam": lam, **gaps(utilities, f(stream, lam, task.seed))}
                for k, f in rivals().items()
            ]
            for rank, arm in enumerate(np.argsort(-utilities.mean(axis=0))):
                fixed = np.full(stream.shape[0], arm)
                rows.append({"policy": f"fixed arm, rank {rank + 1}", "lam": lam, **gaps(utilities, fixed)})
    return rows


def long(task: Task) -> list[Row]:
    stream = task.open(n=LONG)
    quality = registry(stream, task.seed)
    runs = [(lam, replay(stream, Setting(lam, quality), task.seed)) for lam in LAMBDAS]
    return [
        {"policy": "ours, registry", "lam": lam, **gaps(stream.utilities(lam), r.chosen)} for lam, r in runs
    ]


def task_tags(task: Task) -> list[Row]:
    """The plain stream, tagged by each prompt's category, and at random."""
    plain = task.open()
    quality = registry(plain, task.seed)
    random_tags = np.random.default_rng(9_000 + task.seed).permutation(plain.tags)
    return [
        {"policy": f"tagged by {what}", "lam": lam, **gaps(plain.utilities(lam), run.chosen)}
        for what, tags in (("category", plain.tags), ("chance", random_tags))
        for stream in [tagged(plain, tags)]
        for lam in LAMBDAS
        for run in [replay(stream, Setting(lam, quality), task.seed)]
    ]


def sparse(task: Task) -> list[Row]:
    """A fifth of the requests get feedback, 50 requests late."""
    stream = task.open(share=0.2, delay=50)
    rows = []
    for lam in LAMBDAS:
        run = replay(stream, Setting(lam, registry(stream, task.seed)), task.seed)
        rows.append({"policy": "ours, registry", "lam": lam, **gaps(stream.utilities(lam), run.chosen)})
        if task.rivals:
            chosen = first_system(stream, lam, task.seed)
            rows.append({"policy": "first system", "lam": lam, **gaps(stream.utilities(lam), chosen)})
    return rows
