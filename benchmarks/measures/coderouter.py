"""A set without prompts: nothing but its task tag tells one request from another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bandit.arrays import Ints
from benchmarks.learner import BASE, replay
from benchmarks.measures.priors import KNOWN, setting_of
from benchmarks.measures.task import Row, Task, gaps
from benchmarks.rivals.table import rivals
from benchmarks.streams import Stream

WEIGHTS = (
    (0.0, 0.0),
    (1 / 3, 0.0),
    (0.0, 1 / 3),
    (1 / 3, 1 / 3),
)  # of dollars and of speed, beside a reward's 1


def coderouter(task: Task) -> list[Row]:
    """Coding tasks, tagged by their kind, with recorded seconds: the learner beside three hindsights."""
    stream = task.open()
    rows = []
    for lam, latency_weight in WEIGHTS:
        knobs = replace(BASE, latency_weight=latency_weight)
        choices = {
            f"ours, {label}": replay(
                stream, setting_of(stream, label, task.seed, lam), task.seed, knobs
            ).chosen
            for label in KNOWN
        } | _hindsights(stream, lam, latency_weight)
        if task.rivals and not latency_weight:  # no rival weighs speed
            choices |= {name: rival(stream, lam, task.seed) for name, rival in rivals().items()}
        rows += [
            {
                "policy": policy,
                "lam": lam,
                "latency_weight": latency_weight,
                **gaps(stream.utilities(lam, latency_weight), chosen),
                **_obtained(stream, chosen, lam, latency_weight),
            }
            for policy, chosen in choices.items()
        ]
    return rows


def _hindsights(stream: Stream, lam: float, latency_weight: float) -> dict[str, Ints]:
    utilities = stream.utilities(lam, latency_weight)
    by_task = np.zeros(stream.shape[0], np.int64)
    for tag in np.unique(stream.tags):
        by_task[stream.tags == tag] = utilities[stream.tags == tag].mean(axis=0).argmax()
    return {
        "best arm": np.full(stream.shape[0], utilities.mean(axis=0).argmax()),
        "best arm of each task": by_task,
        "oracle": np.asarray(utilities.argmax(axis=1)),
    }


def _obtained(stream: Stream, chosen: Ints, lam: float, latency_weight: float) -> Row:
    positions = np.arange(chosen.size)
    last_third = slice(2 * chosen.size // 3, None)
    rewards = stream.scores[positions, chosen]
    utilities = stream.utilities(lam, latency_weight)[positions, chosen]
    return {
        "reward": float(rewards.mean()),
        "reward_of_last_third": float(rewards[last_third].mean()),
        "utility": float(utilities.mean()),
        "utility_of_last_third": float(utilities[last_third].mean()),
        "usd": float(stream.costs[positions, chosen].sum() * stream.unit_usd),
        "seconds": float(stream.latencies[positions, chosen].mean()),
    }
