"""Recorded sets: the score, the dollars and the seconds of every arm on every prompt."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow has no types
from pyarrow import parquet

from bandit.arrays import Floats, Ints, Vectors
from benchmarks.contexts import encoded

MOST_ENCODED = 4000  # rows of a set without vectors
WITHOUT_PROMPTS = frozenset({"coderouter"})  # sets whose prompts are identifiers; only the category is known
DIMENSION = 384  # of the vectors of such a set: that of the encoder, which some rivals need
HARD_SHARE = 0.2  # of the rows
HARDNESS = 3.0  # a row that no arm solves is drawn e^3 times as often as one that every arm solves


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """One set.

    Args:
        arms: n_arms names.
        prompts: n texts.
        scores: shape (n, n_arms), in [0, 1].
        costs: shape (n, n_arms), dollars.
        latencies: shape (n, n_arms), seconds; 0 where none were recorded.
        contexts: shape (n, d), unit rows.
        tags: shape (n,), each prompt's category, numbered.
        is_tagged: whether requests carry their category as their task.
    """

    arms: tuple[str, ...]
    prompts: tuple[str, ...]
    scores: Floats
    costs: Floats
    latencies: Floats
    contexts: Vectors
    tags: Ints
    is_tagged: bool = False

    @property
    def n(self) -> int:
        return int(self.scores.shape[0])

    def at(self, rows: Ints) -> Recorded:
        """The set of these rows, in this order."""
        return Recorded(
            self.arms,
            tuple(self.prompts[row] for row in rows),
            self.scores[rows],
            self.costs[rows],
            self.latencies[rows],
            self.contexts[rows],
            self.tags[rows],
            self.is_tagged,
        )


def set_names(folder: Path) -> list[str]:
    """The sets of prompts, over which figures are averaged."""
    return [name for name in all_set_names(folder) if name not in WITHOUT_PROMPTS]


def all_set_names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.parquet"))


@lru_cache(maxsize=4)
def read_set(folder: Path, name: str, *, is_hard: bool = False) -> Recorded:
    """Read `<name>.parquet`, and its vectors from `<name>.emb.npz` if there is one, in the same order.

    Rows without a vector are left out. Without that file, at most MOST_ENCODED rows, drawn with a fixed seed,
    are encoded. Sets without prompts get one vector per category, and their requests are tagged with it.
    """
    if is_hard:
        return _hard(read_set(folder, name))
    table = parquet.read_table(folder / f"{name}.parquet")
    has_categories = "category" in table.column_names
    categories = table["category"].to_pylist() if has_categories else [""] * table.num_rows
    tags = np.unique(categories, return_inverse=True)[1].astype(np.int64)
    rows, contexts = _contexts(folder, name, table, tags)
    table = table.take(rows)
    arms = tuple(c.removeprefix("score:") for c in table.column_names if c.startswith("score:"))
    return Recorded(
        arms=arms,
        prompts=tuple(table["prompt"].to_pylist()),
        scores=_columns(table, "score", arms),
        costs=_columns(table, "cost", arms),
        latencies=np.nan_to_num(_columns(table, "latency", arms)),
        contexts=contexts,
        tags=tags[rows],
        is_tagged=name in WITHOUT_PROMPTS,
    )


def is_hard_enough(folder: Path, name: str) -> bool:
    """Whether the hard version of a set is hard: its best arm fails at three requests in ten or more."""
    return bool(read_set(folder, name, is_hard=True).scores.mean(axis=0).max() <= 0.7)


def _hard(recorded: Recorded) -> Recorded:
    """A fifth of the rows, drawn with a fixed seed, and the likelier the fewer arms solve them."""
    weights = np.exp(HARDNESS * (1.0 - recorded.scores.mean(axis=1)))
    n = int(HARD_SHARE * recorded.n)
    chances = weights / weights.sum()
    return recorded.at(np.random.default_rng(0).choice(recorded.n, n, replace=False, p=chances))


def _contexts(folder: Path, name: str, table: pa.Table, tags: Ints) -> tuple[Ints, Vectors]:
    """The rows that have vectors, and these vectors."""
    n, vectors = table.num_rows, folder / f"{name}.emb.npz"
    if name in WITHOUT_PROMPTS:
        return np.arange(n), np.eye(int(tags.max()) + 1, DIMENSION, dtype=np.float32)[tags]
    if vectors.exists():
        contexts = np.load(vectors)["emb"].astype(np.float32)
        return np.arange(contexts.shape[0]), contexts
    rows = np.sort(np.random.default_rng(0).permutation(n)[:MOST_ENCODED])
    return rows, encoded(tuple(table["prompt"].take(rows).to_pylist()), name)


def _columns(table: pa.Table, kind: str, arms: tuple[str, ...]) -> Floats:
    """Shape (n, n_arms); 0 for an arm that has no such column."""
    columns = [f"{kind}:{arm}" for arm in arms]
    nothing = np.zeros(table.num_rows)
    return np.column_stack(
        [np.asarray(table[c], dtype=np.float64) if c in table.column_names else nothing for c in columns]
    )
