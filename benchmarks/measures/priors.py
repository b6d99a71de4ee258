"""What is known of the arms before the stream: nothing, the shipped table, or a registry."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from benchmarks.learner import Setting, StreamRun, public, registry, replay, unknown
from benchmarks.measures.task import LAMBDAS, Row, Task, gaps
from benchmarks.streams import Stream

KNOWN = ("registry", "none", "public")


def setting_of(stream: Stream, label: str, seed: int, lam: float) -> Setting:
    """The setting in which this is known of the arms, by one of the labels in `KNOWN`."""
    if label == "registry":
        return Setting(lam, registry(stream, seed))
    if label == "public":
        return Setting(lam, public(stream), is_relative=True)
    return Setting(lam, unknown(stream))


def learned(task: Task, lam: float, label: str) -> StreamRun:
    """The learner's run on the task's plain stream; measures of one stream share it."""
    return _learned(replace(task, measure="", rivals=False), lam, label)


@lru_cache(maxsize=32)
def _learned(task: Task, lam: float, label: str) -> StreamRun:
    stream = task.open()
    return replay(stream, setting_of(stream, label, task.seed, lam), task.seed)


def public_priors(task: Task) -> list[Row]:
    """The plain stream with each kind of priors."""
    stream = task.open()
    return [
        {
            "policy": f"ours, {label}",
            "lam": lam,
            **gaps(stream.utilities(lam), learned(task, lam, label).chosen),
        }
        for lam in LAMBDAS
        for label in KNOWN
    ]
