"""The pools that each measure is played on."""

from __future__ import annotations

from pathlib import Path

from benchmarks.measures.task import Task
from benchmarks.sets import WITHOUT_PROMPTS, all_set_names, is_hard_enough, read_set, set_names

SMALL_POOL = 5
# Slow measures use one informative set; if it is missing, `budget` uses every set.
LONG_SET, BUDGET_SET, TASK_SET = "llmrouter", "judged", "coderouter"
ON_EVERY_SET = {"public priors", "calibration", "heavy tails"}  # also without prompts, and on hard versions
# Not with five arms too.
WITH_ALL_ARMS = {"budget", "coderouter", "calibration", "heavy tails", "fast arms", "recovery"}


def pools_of(folder: Path, measure: str) -> list[Task]:
    """All arms of each set, five of them if it has more, and the hard versions; without seeds."""
    names = _sets(folder, measure)
    full = [Task(measure, folder, name, None, 0) for name in names]
    small = [
        Task(measure, folder, name, SMALL_POOL, 0)
        for name in names
        if measure not in WITH_ALL_ARMS
        and name not in WITHOUT_PROMPTS
        and len(read_set(folder, name).arms) > SMALL_POOL
    ]
    hard = [
        Task(measure, folder, name, None, 0, is_hard=True)
        for name in names
        if measure in ON_EVERY_SET and name not in WITHOUT_PROMPTS and is_hard_enough(folder, name)
    ]
    return full + small + hard


def _sets(folder: Path, measure: str) -> list[str]:
    names = set_names(folder)
    if measure in ON_EVERY_SET:
        return all_set_names(folder)
    if measure == "fast arms":  # its arms are made up
        return names[:1]
    only = {"long": LONG_SET, "task tags": LONG_SET, "budget": BUDGET_SET, "coderouter": TASK_SET}
    if measure not in only or (measure == "budget" and BUDGET_SET not in names):
        return names
    return [name for name in all_set_names(folder) if name == only[measure]]
