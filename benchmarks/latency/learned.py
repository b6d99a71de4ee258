"""A data directory with rated outcomes, written by `router import`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import numpy as np

from benchmarks.latency import bodies
from benchmarks.latency.router import run_command


async def teach(folder: Path, upstream_url: str, checkout: Path, n_points: int, n_arms: int) -> Path:
    """Teach a new router; return the path of its configuration."""
    config = folder / "config.json"  # JSON is YAML
    config.write_text(json.dumps(bodies.settings(upstream_url, n_arms)), "utf-8")
    if n_points:
        outcomes = folder / "outcomes.jsonl"
        texts = bodies.Texts(np.random.default_rng(1))
        outcomes.write_text("\n".join(map(json.dumps, texts.taught(n_points, n_arms))), "utf-8")
        await run_command(folder, config, checkout, "import", str(outcomes))
    return config


async def until_remembered(client: httpx.AsyncClient) -> None:
    """Wait until the memory has taken what was imported, so that no row pays for it."""
    n_points, before = -1, -2
    while n_points != before:
        await asyncio.sleep(0.5)
        health = (await client.get("/health")).json()
        before, n_points = n_points, health["dependencies"]["qdrant"]["points"]
