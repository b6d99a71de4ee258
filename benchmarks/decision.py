"""CPU of one decision without its embedding: the service's router over the memory in this process.

.venv/bin/python -m benchmarks.decision [--memories 10000] [--arms 10] [--per-prompt 1] [--decisions 1000]
    [--rules 0]
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import cast
from uuid import UUID

import numpy as np
import numpy.typing as npt
import orjson

from bandit.arrays import Floats
from bandit.budget import Pacer
from bandit.drift import ArmHistory
from bandit.knobs import Knobs
from service.arms.breaker import Breaker
from service.arms.catalog import Catalog
from service.background import Background
from service.conversations.affinity import ConversationAffinity
from service.dialects.chat.requests import read_query
from service.dialects.received import Received
from service.domain.arm import Arm, ArmSums, Price
from service.domain.feedback import Experience
from service.domain.neighbours import NeighbourQuery
from service.domain.ports import ConversationStates, Evidence, Memory
from service.domain.query import Query
from service.memory.edge import EdgeMemory
from service.memory.qdrant import QdrantMemory
from service.policies.conditions import Conditions
from service.policies.policies import Policies
from service.policies.rules import Rule
from service.routing.ease import EaseFitter
from service.routing.router import Router

DIMENSION = 384
POINTS_PER_WRITE = 5_000
NOW = datetime(2026, 11, 20, tzinfo=UTC)
Vectors = npt.NDArray[np.float32]


def decision_cpu(
    n: int = 300,
    n_memories: int = 10_000,
    n_arms: int = 10,
    per_prompt: int = 1,
    n_rules: int = 0,
    qdrant_url: str | None = None,
) -> dict[str, float]:
    """Measure milliseconds of CPU, medians over n decisions; all threads of this process count.

    Args:
        qdrant_url: a server that has the memory; None: it is in this process.
        per_prompt: number of arms that answered each prompt in the memory.
        n_rules: rules of the policies, of which the last one matches and leaves all arms but one.
    """
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(n_memories, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = vectors[np.arange(n_memories) // per_prompt]
    with tempfile.TemporaryDirectory(prefix="router-decision-") as folder:
        decisions, recalls = asyncio.run(_measure(Path(folder), vectors, n, n_arms, n_rules, rng, qdrant_url))
    kind = f"{n_memories:,} memories, {n_arms} arms{_shared(per_prompt)}{_ruled(n_rules)}"
    return {
        f"one decision, {kind}": _median_ms(decisions),
        "  of it recall by the memory in process": _median_ms(recalls),
        "  the same by comparing all, in numpy": _median_ms(_comparing_all(vectors, n)),
    }


@dataclass(slots=True)
class KnownContext:
    """An encoder without cost."""

    context: Vectors
    name: str = "benchmark"
    dimension: int = DIMENSION

    def cached(self, text: str) -> None:
        return None

    async def encode(self, text: str) -> Vectors:
        return self.context

    async def close(self) -> None:
        """Do nothing: nothing is open."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A replica's evidence on the arms."""

    is_loaded: bool
    of_arms: Mapping[str, ArmSums]
    experiences: Sequence[Experience]

    def sums(self, tenant: str) -> Mapping[str, ArmSums]:
        return self.of_arms

    def histories(self, tenant: str) -> Mapping[str, ArmHistory]:
        return {}

    async def rated(self, tenant: str, encoder: str, limit: int) -> list[Experience]:
        return list(self.experiences[-limit:])


async def _measure(
    folder: Path,
    vectors: Vectors,
    n: int,
    n_arms: int,
    n_rules: int,
    rng: np.random.Generator,
    qdrant_url: str | None,
) -> tuple[Floats, Floats]:
    encoder = KnownContext(vectors[0])
    memory = await _open_memory(folder, encoder, len(vectors), qdrant_url)
    decisions, recalls = np.zeros((2, n))
    try:
        experiences = [
            _experience(i, vector, f"arm-{i % n_arms}", NOW - timedelta(seconds=len(vectors) - i), rng)
            for i, vector in enumerate(vectors)
        ]
        for first in range(0, len(experiences), POINTS_PER_WRITE):
            await memory.remember(experiences[first : first + POINTS_PER_WRITE])
        background = Background()
        router, query = _router(encoder, memory, experiences, background, n_arms, rng), _query()
        router = replace(router, policies=_policies(n_rules, n_arms))
        await router.decide(query)
        await background.drain(60.0)  # fits ease once
        for i in range(n):
            encoder.context = vectors[i % len(vectors)]
            start = time.process_time()
            await router.decide(query)
            decided = time.process_time()
            await memory.recall(
                NeighbourQuery(
                    encoder.context,
                    tenant=query.tenant,
                    limit=router.knobs.max_similar_requests,
                    min_similarity=router.knobs.similarity_threshold,
                    since=NOW - timedelta(days=router.knobs.recency_days),
                    now=NOW,
                )
            )
            decisions[i], recalls[i] = decided - start, time.process_time() - decided
    finally:
        await memory.close()
    return decisions, recalls


async def _open_memory(folder: Path, encoder: KnownContext, n_points: int, qdrant_url: str | None) -> Memory:
    if qdrant_url is None:
        return await EdgeMemory.open(
            folder, encoder=encoder.name, dimension=DIMENSION, max_points_per_arm=n_points
        )
    memory = await QdrantMemory.connect(
        qdrant_url,
        api_key=None,
        name="router",
        encoder=encoder.name,
        dimension=DIMENSION,
        max_points_per_arm=n_points,
        timeout_s=60.0,
    )
    await memory.clear()
    return memory


def _router(
    encoder: KnownContext,
    memory: Memory,
    experiences: Sequence[Experience],
    background: Background,
    n_arms: int,
    rng: np.random.Generator,
) -> Router:
    price = Price(Decimal(1), Decimal(4))
    arms = tuple(
        Arm(f"arm-{i}", "openai", f"arm-{i}", base_url="http://127.0.0.1:9", price=price)
        for i in range(n_arms)
    )
    sums = ArmSums(
        Decimal(1_000),
        Decimal(800),
        1_000,
        latency_s_sum=Decimal(900),
        cost_usd_sum=Decimal("0.5"),
        cost_usd_squares=Decimal("0.0005"),
        latency_s_squares=Decimal(1_600),
    )

    evidence = cast(Evidence, Snapshot(True, {arm.arm_id: sums for arm in arms}, experiences))

    def clock() -> datetime:
        return NOW

    return Router(
        catalog=Catalog(arms, "arm-0", Breaker(clock)),
        encoder=encoder,
        memory=memory,
        evidence=evidence,
        ease_fitter=EaseFitter(evidence, encoder.name, background),
        affinity=ConversationAffinity(cast(ConversationStates, None), clock, ttl_s=0.0, switch_margin=0.0),
        knobs=Knobs(),
        pacer=Pacer(None),
        rng=rng,
        clock=clock,
        embedding_timeout_s=1.0,
        memory_timeout_s=1.0,
    )


def _policies(n_rules: int, n_arms: int) -> Policies:
    """Rules of which only the last one matches, and leaves all arms but the first."""
    arm_ids = frozenset(f"arm-{i}" for i in range(1, n_arms))
    limits = [*(1_000_000 + i for i in range(n_rules - 1)), 0][:n_rules]
    rules = [
        Rule(f"rule-{i}", Conditions(tokens_over=limit, lines_of_code_over=-1), arm_ids)
        for i, limit in enumerate(limits)
    ]
    return Policies(rules=tuple(rules))


def _query() -> Query:
    return read_query(
        orjson.dumps({"messages": [{"role": "user", "content": "What is a bandit?"}]}),
        Received(
            headers={},
            tenant="default",
            request_id="benchmark",
            request_id_given=False,
            received_at=NOW,
        ),
    )


def _experience(
    i: int, vector: Vectors, arm_id: str, decided_at: datetime, rng: np.random.Generator
) -> Experience:
    return Experience(
        decision_id=UUID(int=i),
        tenant="default",
        request_id=f"request-{i}",
        arm_id=arm_id,
        encoder="benchmark",
        context=vector,
        reward=float(rng.uniform()),
        weight=1.0,
        latency_s=float(rng.uniform()),
        cost_usd=float(rng.uniform()),
        decided_at=decided_at,
    )


def _comparing_all(vectors: Vectors, n: int, k: int = 100) -> Floats:
    """CPU seconds of exact comparisons on one thread; waiting threads of a BLAS library would use CPU too."""
    seconds = np.zeros(n)
    for i in range(n):
        start = time.process_time()
        np.argpartition(-np.vecdot(vectors, vectors[i % len(vectors)]), min(k, len(vectors) - 1))
        seconds[i] = time.process_time() - start
    return seconds


def _shared(per_prompt: int) -> str:
    return "" if per_prompt == 1 else f", {per_prompt} outcomes of each prompt"


def _ruled(n_rules: int) -> str:
    return "" if n_rules == 0 else f", {n_rules} rules"


def _median_ms(seconds: Floats) -> float:
    return 1000.0 * float(np.median(seconds))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--memories", type=int, default=10_000)
    parser.add_argument("--arms", type=int, default=10)
    parser.add_argument("--per-prompt", type=int, default=1)
    parser.add_argument("--decisions", type=int, default=1_000)
    parser.add_argument("--rules", type=int, default=0)
    options = parser.parse_args()
    measured = decision_cpu(
        options.decisions, options.memories, options.arms, options.per_prompt, options.rules
    )
    for name, milliseconds in measured.items():
        print(f"{milliseconds:.3f} ms  {name}")
