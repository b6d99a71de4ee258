"""Streams: recorded outcomes in a random order, with each request's most similar predecessors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from bandit.arrays import Bools, Floats, Ints, Vectors
from bandit.utility import speed
from benchmarks.sets import read_set
from service.routing.router import TASK_IS_KNOWN

N_NEIGHBOURS = 100
N_REQUESTS = 2500
BLOCK = 500


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Prompts that every arm answered before the stream began.

    Args:
        scores, costs, latencies: shape (n_prompts, n_arms), in the stream's units.
        contexts: shape (n_prompts, d), unit rows.
    """

    scores: Floats
    costs: Floats
    latencies: Floats
    contexts: Vectors


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """Requests in order. Costs are in units of the most expensive arm's mean.

    Args:
        scores, costs: shape (n, n_arms).
        latencies: shape (n, n_arms), seconds; 0 where none were recorded.
        neighbours: shape (n, k), positions of the most similar earlier requests whose feedback has arrived;
            below 0: of prompts of the calibration, the last of which is -1.
        similarity: shape (n, k), cosines to these; at most 0 where there are fewer than k.
        is_rated: shape (n,), requests that get feedback.
        delay: number of requests until feedback arrives, at least 1.
        quality, price: shape (n_arms,), mean score and cost over the whole set.
        contexts: shape (n, d), unit rows.
        prompts: n texts.
        arms: n_arms names.
        unit_usd: dollars of one unit of cost.
        tags: shape (n,), each prompt's category, numbered, which a client might send as its task.
        calibration: what is known before the first request.
    """

    scores: Floats
    costs: Floats
    latencies: Floats
    neighbours: Ints
    similarity: Floats
    is_rated: Bools
    delay: int
    quality: Floats
    price: Floats
    contexts: Vectors
    prompts: tuple[str, ...]
    arms: tuple[str, ...]
    unit_usd: float
    tags: Ints
    calibration: Calibration | None = None

    @property
    def shape(self) -> tuple[int, int]:
        n, n_arms = self.scores.shape
        return n, n_arms

    def utilities(self, lam: float, latency_weight: float = 0.0) -> Floats:
        """The utility of every answer, shape (n, n_arms): speed is the learner's, of the recorded seconds."""
        utilities = self.scores - lam * self.costs
        if latency_weight:
            utilities = utilities + latency_weight * np.array([speed(seconds) for seconds in self.latencies])
        return utilities


@lru_cache(maxsize=8)
def _order(
    folder: Path, name: str, is_hard: bool, seed: int, n: int, share: float, delay: int
) -> tuple[Ints, Ints, Floats, Bools]:
    recorded = read_set(folder, name, is_hard=is_hard)
    rng = np.random.default_rng(seed)
    rows = rng.permutation(recorded.n)[:n]
    is_rated = rng.random(rows.size) < share
    tags = recorded.tags[rows] if recorded.is_tagged else None
    neighbours, similarity = _neighbours(recorded.contexts[rows], is_rated, delay, tags)
    return rows, neighbours, similarity, is_rated


def _neighbours(
    contexts: Vectors, is_rated: Bools, delay: int, tags: Ints | None = None
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
    is_hard: bool = False,
    n: int = N_REQUESTS,
    share: float = 1.0,
    delay: int = 1,
) -> Stream:
    """Shuffle one set by a seed; `n_arms` draws a pool of that many arms by the same seed."""
    recorded = read_set(folder, name, is_hard=is_hard)
    rows, neighbours, similarity, is_rated = _order(folder, name, is_hard, seed, n, share, delay)
    pool = np.arange(len(recorded.arms))
    if n_arms is not None:
        pool = np.sort(np.random.default_rng(1000 + seed).permutation(pool)[:n_arms])
    mean_cost = recorded.costs[:, pool].mean(axis=0)
    return Stream(
        scores=recorded.scores[rows][:, pool],
        costs=recorded.costs[rows][:, pool] / mean_cost.max(),
        latencies=recorded.latencies[rows][:, pool],
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


def calibrated(
    folder: Path, name: str, seed: int, n_prompts: int, *, left_out: int, is_hard: bool, n: int
) -> Stream:
    """The stream of all arms of a set, with prompts that every arm answered before it.

    Whatever their number, the prompts are from the last `left_out` rows of the order, which are in no stream.
    """
    recorded = read_set(folder, name, is_hard=is_hard)
    n = min(n, recorded.n - left_out)
    plain = open_stream(folder, name, seed, is_hard=is_hard, n=n)
    rows = np.random.default_rng(seed).permutation(recorded.n)[recorded.n - n_prompts :]
    contexts = np.concatenate([recorded.contexts[rows], plain.contexts])
    tags = np.concatenate([recorded.tags[rows], plain.tags]) if recorded.is_tagged else None
    neighbours, similarity = _neighbours(contexts, np.ones(contexts.shape[0], np.bool_), plain.delay, tags)
    return replace(
        plain,
        neighbours=neighbours[n_prompts:] - n_prompts,
        similarity=similarity[n_prompts:],
        calibration=Calibration(
            scores=recorded.scores[rows],
            costs=recorded.costs[rows] / plain.unit_usd,
            latencies=recorded.latencies[rows],
            contexts=recorded.contexts[rows],
        ),
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
