"""The measures: each function plays one stream by one seed and returns rows of plain numbers."""

from __future__ import annotations

from benchmarks.measures.budget import budget
from benchmarks.measures.calibration import calibration
from benchmarks.measures.changes import recovery, silent_failure
from benchmarks.measures.coderouter import coderouter
from benchmarks.measures.newcomer import newcomer
from benchmarks.measures.outcomes import fast_arms, heavy_tails
from benchmarks.measures.plain import long, sparse, stationary, task_tags
from benchmarks.measures.priors import public_priors
from benchmarks.measures.task import Row, Task

MEASURES = {
    "stationary": stationary,
    "long": long,
    "task tags": task_tags,
    "silent failure": silent_failure,
    "recovery": recovery,
    "sparse and late": sparse,
    "budget": budget,
    "newcomer": newcomer,
    "public priors": public_priors,
    "calibration": calibration,
    "heavy tails": heavy_tails,
    "fast arms": fast_arms,
    "coderouter": coderouter,
}


def measure(task: Task) -> list[Row]:
    rows = MEASURES[task.measure](task)
    return [{"measure": task.measure, "pool": task.pool, "seed": task.seed, **row} for row in rows]
