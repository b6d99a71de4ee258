"""Streams: recorded outcomes in a random order, with each request's most similar predecessors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from pyarrow import parquet  # type: ignore[import-untyped]  # pyarrow has no types

from bandit.arrays import Bools, Floats, Ints
from benchmarks.contexts import encoded
from service.routing.router import TASK_IS_KNOWN

N_NEIGHBOURS = 100
N_REQUESTS = 2500
BLOCK = 500
MOST_ENCODED = 4000  # rows of a set without vectors


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """One set: the score and the dollars of every arm on every prompt."""

    arms: tuple[str, ...]
    prompts: tuple[str, ...]
    scores: Floats  # (n, n_arms)
    costs: Floats  # (n, n_arms), dollars
    contexts: Floats  # (n, d), unit rows
    tags: Ints  # (n,), each prompt's category, numbered

    @property
    def n(self) -> int:
        return int(self.scores.shape[0])


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """Requests in order. Costs are in units of the most expensive arm's mean.

    Args:
        scores, costs: shape (n, n_arms).
        neighbours: shape (n, k), positions of the most similar earlier requests whose feedback has arrived.
        similarity: shape (n, k), cosines to these; at most 0 where there are fewer than k.
        is_rated: shape (n,), requests that get feedback.
        delay: number of requests until feedback arrives, at least 1.
        quality, price: shape (n_arms,), mean score and cost over the whole set.
        contexts: shape (n, d), unit rows.
        prompts: n texts.
        arms: n_arms names.
        unit_usd: dollars of one unit of cost.
        tags: shape (n,), each prompt's category, numbered, which a client might send as its task.
    """

    scores: Floats
    costs: Floats
    neighbours: Ints
    similarity: Floats
    is_rated: Bools
    delay: int
    quality: Floats
    price: Floats
    contexts: Floats
    prompts: tuple[str, ...]
    arms: tuple[str, ...]
    unit_usd: float
    tags: Ints

    @property
    def shape(self) -> tuple[int, int]:
        n, n_arms = self.scores.shape
        return n, n_arms

    def utilities(self, lam: float) -> Floats:
        return self.scores - lam * self.costs


def set_names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.parquet"))


@lru_cache(maxsize=2)
def read_set(folder: Path, name: str) -> Recorded:
    """Read `<name>.parquet`, and its vectors from `<name>.emb.npz` if there is one, in the same order.

    Rows without a vector are left out. Without that file, at most MOST_ENCODED rows, drawn with a fixed seed,
    are encoded.
    """
    table = parquet.read_table(folder / f"{name}.parquet")
    vectors = folder / f"{name}.emb.npz"
    if vectors.exists():
        contexts = np.load(vectors)["emb"].astype(np.float32)
        table = table.slice(0, contexts.shape[0])
        prompts = tuple(table["prompt"].to_pylist())
    else:
        rows = np.random.default_rng(0).permutation(table.num_rows)[:MOST_ENCODED]
        table = table.take(np.sort(rows))
        prompts = tuple(table["prompt"].to_pylist())
        contexts = encoded(prompts, name)
    arms = tuple(c.removeprefix("score:") for c in table.column_names if c.startswith("score:"))

    def columns(kind: str) -> Floats:
        return np.column_stack([np.asarray(table[f"{kind}:{arm}"], dtype=np.float64) for arm in arms])

    categories = table["category"].to_pylist() if "category" in table.column_names else [""] * table.num_rows
    tags = np.unique(categories, return_inverse=True)[1].astype(np.int64)
    return Recorded(arms, prompts, columns("score"), columns("cost"), contexts, tags)


@lru_cache(maxsize=4)
def _order(
    folder: Path, name: str, seed: int, n: int, share: float, delay: int
) -> tuple[Ints, Ints, Floats, Bools]:
    recorded = read_set(folder, name)
    rng = np.random.default_rng(seed)
    rows = rng.permutation(recorded.n)[:n]
    is_rated = rng.random(rows.size) < share
    neighbours, similarity = _neighbours(recorded.contexts[rows], is_rated, delay)
    return rows, neighbours, similarity, is_rated


def _neighbours(
    contexts: Floats, is_rated: Bools, delay: int, tags: Ints | None = None
) -> tuple[Ints, Floats]:
    n = contexts.shape[0]
    neighbours, similarity = np.zeros((n, N_NEIGHBOURS), np.int64), np.full((n, N_NEIGHBOURS), -1.0)
    for start in range(0, n, BLOCK):
        cosines = contexts[start : start + BLOCK] @ contexts.T
        for t in range(start, min(start + BLOCK, n)):
            known = np.flatnonzero(is_rated[: max(t - delay + 1, 0)])
            if tags is not None and np.count_nonzero(same := tags[known] == tags[t]) >= TASK_IS_KNOWN:
                known = known[same]
            cosine = cosines[t - start, known]
            if known.size > N_NEIGHBOURS:
                nearest = np.argpartition(-cosine, N_NEIGHBOURS)[:N_NEIGHBOURS]
                known, cosine = known[nearest], cosine[nearest]
            neighbours[t, : known.size], similarity[t, : known.size] = known, cosine
    return neighbours, similarity


def open_stream(
    folder: Path,
    name: str,
    seed: int,
    *,
    n_arms: int | None = None,
    n: int = N_REQUESTS,
    share: float = 1.0,
    delay: int = 1,
) -> Stream:
    """Shuffle one set by a seed; `n_arms` draws a pool of that many arms by the same seed."""
    recorded = read_set(folder, name)
    rows, neighbours, similarity, is_rated = _order(folder, name, seed, n, share, delay)
    pool = np.arange(len(recorded.arms))
    if n_arms is not None:
        pool = np.sort(np.random.default_rng(1000 + seed).permutation(pool)[:n_arms])
    mean_cost = recorded.costs[:, pool].mean(axis=0)
    return Stream(
        scores=recorded.scores[rows][:, pool],
        costs=recorded.costs[rows][:, pool] / mean_cost.max(),
        neighbours=neighbours,
        similarity=similarity,
        is_rated=is_rated,
        delay=delay,
        quality=recorded.scores[:, pool].mean(axis=0),
        price=mean_cost / mean_cost.max(),
        contexts=recorded.contexts[rows],
        prompts=tuple(recorded.prompts[row] for row in rows),
        arms=tuple(recorded.arms[arm] for arm in pool),
        unit_usd=float(mean_cost.max()),
        tags=recorded.tags[rows],
    )


def tagged(stream: Stream, tags: Ints) -> Stream:
    """Tag every request, shape (n,): its neighbours are then of the same task, like those of the router."""
    neighbours, similarity = _neighbours(stream.contexts, stream.is_rated, stream.delay, tags)
    return replace(stream, neighbours=neighbours, similarity=similarity)


def failing(stream: Stream, arm: int, part: slice | None = None, factor: float = 0.4) -> Stream:
    """In this part, by default the second half, the arm's scores are multiplied by a factor, unannounced."""
    scores = stream.scores.copy()
    scores[slice(stream.shape[0] // 2, None) if part is None else part, arm] *= factor
    return replace(stream, scores=scores)
