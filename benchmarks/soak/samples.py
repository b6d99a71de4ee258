"""What a router uses, second by second, and how fast that grows."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields

import asyncpg
import httpx
import numpy as np

from benchmarks.latency.processes import memory_mb
from benchmarks.soak.site import Site

EVERY_S = 1.0
TIMEOUT_S = 10.0
_SPOOLED = re.compile(r'"spooled":\s*(\d+)')
_TASKS = re.compile(r"^router_tasks(?:\{.*\})? (\S+)$", re.MULTILINE)
_STORED = """
SELECT (SELECT count(*) FROM memory_queue), (SELECT coalesce(sum(pg_total_relation_size(oid)), 0) / 1e6
    FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace)::float8
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """The router at one moment.

    Args:
        at_s: since the first sample.
        spooled: decisions and outcomes that PostgreSQL has not taken yet.
        to_remember: rated decisions whose place in the memory is not up to date.
        tables_mb: of all tables with their indexes.
    """

    at_s: float
    rss_mb: float
    descriptors: int
    tasks: float
    spooled: int
    to_remember: int
    tables_mb: float


@dataclass(frozen=True, slots=True)
class Slope:
    """How one figure grew: its medians in the first and the last tenth, and its growth an hour."""

    name: str
    early: float
    late: float
    an_hour: float

    @property
    def growth(self) -> float:
        return self.late - self.early


class Sampler:
    """Takes a sample every second; none while something does not answer."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.samples: list[Sample] = []
        self._began_at = time.monotonic()
        self._taken = asyncio.Event()

    @property
    def now_s(self) -> float:
        return time.monotonic() - self._began_at

    async def run(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            with suppress(httpx.HTTPError, OSError, asyncpg.PostgresError, TimeoutError, StopIteration):
                async with asyncio.timeout(TIMEOUT_S):
                    self.samples.append(await self.sample())
                    self._taken.set()

    async def next(self) -> Sample:
        """Wait for the next sample."""
        self._taken.clear()
        await self._taken.wait()
        return self.samples[-1]

    async def sample(self) -> Sample:
        async with httpx.AsyncClient(base_url=self.site.url, timeout=TIMEOUT_S) as http:
            metrics, health = (await http.get("/metrics")).text, (await http.get("/health")).text
        connection = await asyncpg.connect(self.site.dsn)
        try:
            row = await connection.fetchrow(_STORED)
        finally:
            await connection.close()
        assert row is not None
        tasks, spooled = _TASKS.search(metrics), _SPOOLED.search(health)
        assert tasks is not None
        assert spooled is not None
        pid = self.site.router_pid
        return Sample(
            at_s=self.now_s,
            rss_mb=memory_mb(pid),
            descriptors=len(os.listdir(f"/proc/{pid}/fd")),
            tasks=float(tasks[1]),
            spooled=int(spooled[1]),
            to_remember=int(row[0]),
            tables_mb=float(row[1]),
        )


def slopes(samples: Sequence[Sample]) -> list[Slope]:
    """The growth of every figure. Raises ValueError for fewer than ten samples."""
    if len(samples) < 10:
        raise ValueError(f"slopes need at least 10 samples, got {len(samples)}")
    at_s = np.array([sample.at_s for sample in samples])
    return [
        _slope(field.name, at_s, np.array([asdict(sample)[field.name] for sample in samples]))
        for field in fields(Sample)
        if field.name != "at_s"
    ]


def _slope(name: str, at_s: np.ndarray, values: np.ndarray) -> Slope:
    """Theil and Sen's: the median of the slopes between all pairs, which outliers do not move."""
    first, second = np.triu_indices(len(values), 1)
    by_second = np.median((values[second] - values[first]) / (at_s[second] - at_s[first]))
    tenth = max(len(values) // 10, 5)
    return Slope(
        name, float(np.median(values[:tenth])), float(np.median(values[-tenth:])), float(by_second * 3600)
    )
