"""CPU of one decision without its embedding: recall by the in-process engine, and all that follows it."""

from __future__ import annotations

import asyncio
import tempfile
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import numpy as np
import numpy.typing as npt

from bandit.arrays import Floats
from bandit.beliefs import Prior, Standing, believe
from bandit.evidence import Neighbours, Sums
from bandit.history import History
from bandit.policy import ThompsonPolicy, draw
from bandit.track import Track
from benchmarks.learner import BASE
from service.memory.edge import EdgeMemory
from service.routing import neighbours_of
from service.types import Arm, Experience, Neighbour, Price

N_MEMORIES = 10_000
N_ARMS = 10
DIMENSION = 384
N_NEAR = 100
NOW = datetime(2026, 11, 20, tzinfo=UTC)
SPACE = "benchmark"
Vectors = npt.NDArray[np.float32]


def decision_cpu(n: int = 300) -> dict[str, float]:
    """Milliseconds of CPU, medians over n decisions; all threads of this process count."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(N_MEMORIES, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with tempfile.TemporaryDirectory(prefix="router-decision-") as folder:
        recall, choose = asyncio.run(_decide(Path(folder), vectors, n, rng))
    return {
        f"one decision, {N_MEMORIES:,} memories, {N_ARMS} arms": _median_ms(recall + choose),
        "  of it recall by the in-process engine": _median_ms(recall),
        "  of it beliefs, probabilities and the draw": _median_ms(choose),
        "recall by brute force instead": _median_ms(_brute_force(vectors, n)),
    }


async def _decide(folder: Path, vectors: Vectors, n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    memory = await EdgeMemory.open(folder, encoder=SPACE, dimension=DIMENSION, max_points_per_arm=N_MEMORIES)
    recall, choose = np.zeros((2, n))
    try:
        await memory.remember([_experience(i, vector, rng) for i, vector in enumerate(vectors)])
        for i in range(n):
            start = time.process_time()
            near = await memory.recall(
                vectors[i],
                tenant="default",
                limit=N_NEAR,
                min_similarity=BASE.similarity_threshold,
                since=NOW - timedelta(days=BASE.recency_days),
                now=NOW,
            )
            recalled = time.process_time()
            _choose(near, rng)
            recall[i], choose[i] = recalled - start, time.process_time() - recalled
    finally:
        await memory.close()
    return recall, choose


ARMS = [
    Arm(f"arm-{i}", "openai", f"arm-{i}", base_url="http://127.0.0.1:9", price=Price(Decimal(1), Decimal(1)))
    for i in range(N_ARMS)
]
HISTORIES = [History()] * N_ARMS
KNOWN = np.full(N_ARMS, 0.8)
CALLS = np.full(N_ARMS, N_MEMORIES / N_ARMS)


def _choose(near: list[Neighbour], rng: np.random.Generator) -> None:
    neighbours: Neighbours = neighbours_of(ARMS, near)
    track = Track.of(HISTORIES, 0.0, 0.0)
    sums = Sums(CALLS, 0.8 * CALLS, CALLS, 0.5 * CALLS, CALLS)
    prior = Prior.of(KNOWN, KNOWN * 25, KNOWN, KNOWN, BASE, track)
    beliefs = believe(Standing.of(prior, sums, track), neighbours, BASE)
    draw(ThompsonPolicy(BASE).probabilities(beliefs), rng)


def _experience(i: int, vector: Vectors, rng: np.random.Generator) -> Experience:
    return Experience(
        decision_id=UUID(int=i),
        tenant="default",
        request_id=f"request-{i}",
        arm_id=f"arm-{i % N_ARMS}",
        encoder=SPACE,
        context=vector,
        reward=float(rng.uniform()),
        weight=1.0,
        latency_s=float(rng.uniform()),
        cost_usd=float(rng.uniform()),
        decided_at=NOW - timedelta(seconds=N_MEMORIES - i),
    )


def _brute_force(vectors: Vectors, n: int) -> Floats:
    took = np.zeros(n)
    for i in range(n):
        start = time.process_time()
        cosine = vectors @ vectors[i]
        np.argpartition(-cosine, N_NEAR)
        took[i] = time.process_time() - start
    return took


def _median_ms(seconds: Floats) -> float:
    return 1000.0 * float(np.median(seconds))
