"""What vectors are worth: how well the nearest prompts tell the scores, and how far the learner gets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bandit.arrays import Floats
from benchmarks.measures.priors import learned
from benchmarks.measures.task import Task, gaps
from benchmarks.sets import Recorded

N_NEIGHBOURS, BLOCK = 100, 500
PRIOR = 3.0  # neighbours' worth of the arm's mean over all prompts
LAMBDA = 1 / 3
KNOWN = ("registry", "none")


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean of paired differences, and its standard error."""

    mean: float
    error: float

    @staticmethod
    def of(values: Floats) -> Difference:
        return Difference(float(values.mean()), float(values.std(ddof=1) / np.sqrt(values.size)))


def squared_errors(recorded: Recorded) -> Floats:
    """The error of the scores foretold by the nearest other prompts, squared, x 1000; shape (n,)."""
    means = recorded.scores.mean(axis=0)
    foretold = []
    for start in range(0, recorded.n, BLOCK):
        cosines = recorded.contexts[start : start + BLOCK] @ recorded.contexts.T
        rows = np.arange(cosines.shape[0])
        cosines[rows, start + rows] = -1.0
        nearest = np.argpartition(-cosines, N_NEIGHBOURS, axis=1)[:, :N_NEIGHBOURS]
        weights = np.maximum(np.take_along_axis(cosines, nearest, axis=1), 0.0)
        sums = np.einsum("nk,nka->na", weights, recorded.scores[nearest])
        foretold.append((sums + PRIOR * means) / (weights.sum(axis=1, keepdims=True) + PRIOR))
    errors: Floats = 1000.0 * ((np.concatenate(foretold) - recorded.scores) ** 2).mean(axis=1)
    return errors


def learner_gap(folder: Path, name: str, seed: int, n: int) -> float:
    """The learner's gap to the best arm, x 1000: the mean of both kinds of prior knowledge."""
    task = Task("stationary", folder, name, None, seed, n=n, rivals=False)
    utilities = task.open().utilities(LAMBDA)
    return float(np.mean([gaps(utilities, learned(task, LAMBDA, label).chosen)["gap"] for label in KNOWN]))
