"""Dollars and seconds that mislead: a few dear calls, and arms that were never timed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bandit.arrays import Floats
from bandit.knobs import Knobs
from benchmarks.learner import Setting, replay
from benchmarks.measures.priors import setting_of
from benchmarks.measures.task import LAMBDAS, SHORT, Row, Task, gaps
from benchmarks.streams import N_NEIGHBOURS, Stream

TAIL = (
    1.5  # standard deviation of the logarithm of a call's dollars; one call in 20 costs four times its mean
)
N_FAST = 200  # requests
N_RUNS = 10  # of one seed: which arm is drawn first decides a run
FAST_S = 0.010
MADE_UP = {"equal": (0.7, 0.7), "second better": (0.6, 0.8)}  # chance that each of two arms succeeds


def heavy_tails(task: Task) -> list[Row]:
    """The dollars of every call are multiplied by a lognormal factor with mean 1, the same for all policies.

    Gaps are of the dollars that calls cost on average. By the dollars that were paid, the best arm in
    hindsight would be the luckiest one.
    """
    stream = task.open(n=min(task.n, SHORT))
    normal = np.random.default_rng(33_000 + task.seed).normal(size=stream.shape)
    dear = replace(stream, costs=stream.costs * np.exp(TAIL * normal - TAIL**2 / 2))
    rows = []
    for lam in LAMBDAS[1:]:
        utilities = stream.utilities(lam)
        best = int(utilities.mean(axis=0).argmax())
        for label in ("registry", "none"):
            run = replay(dear, setting_of(stream, label, task.seed, lam), task.seed)
            share = float((run.chosen == best).mean())
            rows.append(
                {"policy": f"ours, {label}", "lam": lam, "share": share, **gaps(utilities, run.chosen)}
            )
    return rows


def fast_arms(task: Task) -> list[Row]:
    """Two made-up arms of one price that answer in 10 ms, under the default knobs."""
    rows = []
    for label, chances in MADE_UP.items():
        stream = _two_arms(np.array(chances), task.seed)
        setting = Setting(0.0, np.full(2, np.nan))
        shares = [
            (replay(stream, setting, seed, Knobs()).chosen == 1).mean()
            for seed in range(N_RUNS * task.seed, N_RUNS * (task.seed + 1))
        ]
        rows.append(
            {
                "policy": label,
                "pool": "made up",
                "lam": 0.0,
                "share": float(np.mean(shares)),
                "share_of_rarer": float(np.minimum(shares, np.subtract(1.0, shares)).mean()),
            }
        )
    return rows


def _two_arms(chances: Floats, seed: int) -> Stream:
    """Requests without context: no neighbours are recalled."""
    rng = np.random.default_rng(44_000 + seed)
    return Stream(
        scores=(rng.random((N_FAST, 2)) < chances).astype(np.float64),
        costs=np.ones((N_FAST, 2)),
        latencies=np.full((N_FAST, 2), FAST_S),
        neighbours=np.zeros((N_FAST, N_NEIGHBOURS), np.int64),
        similarity=np.full((N_FAST, N_NEIGHBOURS), -1.0),
        is_rated=np.ones(N_FAST, np.bool_),
        delay=1,
        quality=chances,
        price=np.ones(2),
        contexts=np.ones((N_FAST, 1)),
        prompts=("",) * N_FAST,
        arms=("first", "second"),
        unit_usd=1.0,
        tags=np.zeros(N_FAST, np.int64),
    )
