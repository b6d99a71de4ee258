"""A few prompts that every arm answered before the stream, imported as evidence."""

from __future__ import annotations

from benchmarks.learner import Setting, registry, replay, unknown
from benchmarks.measures.task import LAMBDAS, SHORT, Row, Task, gaps
from benchmarks.sets import read_set
from benchmarks.streams import calibrated

PROMPTS = (30, 100, 300)
MOST_LEFT_OUT = 0.6  # share of a set's rows


def calibration(task: Task) -> list[Row]:
    """The same requests after 30, 100 and 300 calibrated prompts, with no priors, and with a registry."""
    n_recorded = read_set(task.folder, task.name, is_hard=task.is_hard).n
    left_out = min(PROMPTS[-1], int(MOST_LEFT_OUT * n_recorded))
    sizes = [0, *(size for size in PROMPTS if size <= left_out)]
    rows = []
    for size in sizes:
        stream = calibrated(
            task.folder,
            task.name,
            task.seed,
            size,
            left_out=left_out,
            is_hard=task.is_hard,
            n=min(task.n, SHORT),
        )
        known = {f"{size} prompts" if size else "none": unknown(stream)}
        if size == 0:
            known["registry"] = registry(stream, task.seed)
        for lam in LAMBDAS[:2]:
            utilities = stream.utilities(lam)
            for label, quality in known.items():
                chosen = replay(stream, Setting(lam, quality), task.seed).chosen
                rows.append({"policy": label, "lam": lam, **gaps(utilities, chosen)})
    return rows
