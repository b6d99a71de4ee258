"""Streams: recorded outcomes in a random order, with each request's most similar predecessors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from pyarrow import parquet  # type: ignore[import-untyped]  # it ships no types

from bandit.arrays import Bools, Floats, Ints

N_NEIGHBOURS = 100
N_REQUESTS = 2500
BLOCK = 500


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """One set: what every arm scores and costs on every prompt."""

    name: str
    arms: tuple[str, ...]
    scores: Floats  # (n, n_arms)
    costs: Floats  # (n, n_arms), dollars
    contexts: Floats  # (n, d), unit rows

    @property
    def n(self) -> int:
        return int(self.scores.shape[0])


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """Requests in order. Costs are in units of the dearest arm's mean.

    Args:
        scores, costs: shape (n, n_arms).
        near: shape (n, k), positions of the most similar rated predecessors that were known by then.
        similarity: shape (n, k), their cosines; at most 0 where there are fewer than k.
        same_task: shape (n, k), which of them have the request's own tag.
        is_rated: shape (n,), requests that get feedback.
        delay: how many requests later feedback is known, 1 at least.
        quality, price: shape (n_arms,), mean score and cost over the whole set.
        contexts: shape (n, d), unit rows.
    """

    scores: Floats
    costs: Floats
    near: Ints
    similarity: Floats
    same_task: Bools
    is_rated: Bools
    delay: int
    quality: Floats
    price: Floats
    contexts: Floats

    @property
    def shape(self) -> tuple[int, int]:
        n, n_arms = self.scores.shape
        return n, n_arms

    def utilities(self, lam: float) -> Floats:
        return self.scores - lam * self.costs


def set_names(folder: Path) -> list[str]:
    """Every set of a folder that has vectors too."""
    return sorted(p.stem for p in folder.glob("*.parquet") if (folder / f"{p.stem}.emb.npz").exists())


@lru_cache(maxsize=2)
def read_set(folder: Path, name: str) -> Recorded:
    """Read `<name>.parquet` and `<name>.emb.npz`; rows without a vector are left out."""
    table = parquet.read_table(folder / f"{name}.parquet")
    arms = tuple(c.removeprefix("score:") for c in table.column_names if c.startswith("score:"))
    contexts = np.load(folder / f"{name}.emb.npz")["emb"].astype(np.float32)
    n = contexts.shape[0]

    def columns(kind: str) -> Floats:
        return np.column_stack([np.asarray(table[f"{kind}:{arm}"], dtype=np.float64)[:n] for arm in arms])

    return Recorded(name, arms, columns("score"), columns("cost"), contexts)


def tags_of(folder: Path, name: str) -> Ints:
    """The category of each prompt, numbered: what a caller might tag it with."""
    table = parquet.read_table(folder / f"{name}.parquet", columns=["category"])
    _, tags = np.unique(table["category"].to_pylist()[: read_set(folder, name).n], return_inverse=True)
    return np.asarray(tags, dtype=np.int64)


@lru_cache(maxsize=4)
def _order(
    folder: Path, name: str, seed: int, n: int, share: float, delay: int
) -> tuple[Ints, Ints, Floats, Bools]:
    recorded = read_set(folder, name)
    rng = np.random.default_rng(seed)
    rows = rng.permutation(recorded.n)[:n]
    is_rated = rng.random(rows.size) < share
    near, similarity = _neighbours(recorded.contexts[rows], is_rated, delay)
    return rows, near, similarity, is_rated


def _neighbours(
    contexts: Floats, is_rated: Bools, delay: int, tags: Ints | None = None
) -> tuple[Ints, Floats]:
    n, k = contexts.shape[0], N_NEIGHBOURS if tags is None else 2 * N_NEIGHBOURS
    near, similarity = np.zeros((n, k), np.int64), np.full((n, k), -1.0)
    for start in range(0, n, BLOCK):
        cosines = contexts[start : start + BLOCK] @ contexts.T
        for t in range(start, min(start + BLOCK, n)):
            known = np.flatnonzero(is_rated[: max(t - delay + 1, 0)])
            cosine = cosines[t - start, known]
            chosen = _largest(cosine)
            if tags is not None:
                kin = np.flatnonzero(tags[known] == tags[t])
                chosen = np.union1d(chosen, kin[_largest(cosine[kin])])
            near[t, : chosen.size], similarity[t, : chosen.size] = known[chosen], cosine[chosen]
    return near, similarity


def _largest(cosine: Floats) -> Ints:
    if cosine.size <= N_NEIGHBOURS:
        return np.arange(cosine.size)
    return np.argpartition(-cosine, N_NEIGHBOURS)[:N_NEIGHBOURS]


def open_stream(
    folder: Path,
    name: str,
    seed: int,
    *,
    n_arms: int | None = None,
    n: int = N_REQUESTS,
    share: float = 1.0,
    delay: int = 1,
    tags: Ints | None = None,
) -> Stream:
    """Shuffle one set by a seed; `n_arms` draws a pool of that many arms, by the same seed.

    Args:
        tags: shape (set size,), the callers' task tags; None: they give none.
    """
    recorded = read_set(folder, name)
    rows, near, similarity, is_rated = _order(folder, name, seed, n, share, delay)
    same_task = np.zeros(near.shape, dtype=np.bool_)
    if tags is not None:
        near, similarity = _neighbours(recorded.contexts[rows], is_rated, delay, tags[rows])
        same_task = tags[rows][near] == tags[rows][:, None]
    pool = np.arange(len(recorded.arms))
    if n_arms is not None:
        pool = np.sort(np.random.default_rng(1000 + seed).permutation(pool)[:n_arms])
    mean_cost = recorded.costs[:, pool].mean(axis=0)
    return Stream(
        scores=recorded.scores[rows][:, pool],
        costs=recorded.costs[rows][:, pool] / mean_cost.max(),
        near=near,
        similarity=similarity,
        same_task=same_task,
        is_rated=is_rated,
        delay=delay,
        quality=recorded.scores[:, pool].mean(axis=0),
        price=mean_cost / mean_cost.max(),
        contexts=recorded.contexts[rows],
    )


def failing(stream: Stream, arm: int, kept: float = 0.4) -> Stream:
    """From half-way this arm keeps only a part of its score, and nobody says so."""
    scores = stream.scores.copy()
    scores[stream.shape[0] // 2 :, arm] *= kept
    return replace(stream, scores=scores)
