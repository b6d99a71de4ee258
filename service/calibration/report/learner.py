"""The product's learner after it was shown every model's answers to some prompts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bandit.arrays import Floats, Ints
from bandit.beliefs import Beliefs, PriorState, believe
from bandit.drift import N_PREDICTIONS
from bandit.evidence import Neighbours, Sums
from bandit.knobs import Knobs
from bandit.prior import Prior
from bandit.records import ArmRecords
from service.calibration.report.table import AnswerTable
from service.routing.router import TASK_IS_KNOWN

KNOBS = Knobs()
SEED = 11


@dataclass(frozen=True, slots=True, eq=False)
class Learner:
    """What was learned from a complete table: the state of the arms, and the prompts as neighbours."""

    seen: AnswerTable
    state: PriorState

    @classmethod
    def of(cls, seen: AnswerTable, squared_errors: Floats | None = None) -> Learner:
        """Learn from all answers at once, without priors.

        Args:
            seen: without NaN.
            squared_errors: shape (n_predictions, n_arms), summed over these prompts, of predictions made
                without them; they decide how much neighbours count. None: there are none.
        """
        n_arms = len(seen.arm_ids)
        n = np.full(n_arms, seen.weights.sum())
        of_answers = seen.weights @ np.stack([seen.scores, seen.costs_usd, seen.latencies_s])
        rewards, costs_usd, latencies_s = of_answers
        sums = replace(
            Sums.zeros(n_arms),
            n=n,
            reward_sum=rewards,
            n_outcomes=n,
            cost_usd_sum=costs_usd,
            latency_s_sum=latencies_s,
            cost_usd_squares=seen.weights @ seen.costs_usd**2,
            latency_s_squares=seen.weights @ seen.latencies_s**2,
        )
        records = ArmRecords.from_sums(sums)
        if squared_errors is not None:
            records = replace(
                records, n_predicted=np.full(n_arms, float(len(seen.prompts))), squared_errors=squared_errors
            )
        unknown = np.full(n_arms, np.nan)
        prior = Prior.of(unknown, unknown, costs_usd / n, latencies_s / n, KNOBS, records)
        return cls(seen, PriorState.of(prior, sums, records))

    def about(self, table: AnswerTable, row: int) -> Beliefs:
        """The beliefs about one prompt of any table with the same arms."""
        rows = self._candidates(table.prompts[row].task)
        similarity = np.asarray(self.seen.contexts[rows] @ table.contexts[row], dtype=np.float64)
        nearest = np.argsort(-similarity, kind="stable")[: KNOBS.max_similar_requests]
        return believe(self.state, self._neighbours(rows[nearest], similarity[nearest]), KNOBS)

    def _candidates(self, task: str | None) -> Ints:
        """The prompts of the same task if there are enough, else all; as the router recalls them."""
        same = [
            row for row, prompt in enumerate(self.seen.prompts) if task is not None and prompt.task == task
        ]
        return np.array(same) if len(same) >= TASK_IS_KNOWN else np.arange(len(self.seen.prompts))

    def _neighbours(self, prompts: Ints, similarity: Floats) -> Neighbours:
        n_arms = len(self.seen.arm_ids)
        return Neighbours(
            arm=np.tile(np.arange(n_arms), prompts.size),
            similarity=np.repeat(similarity, n_arms),
            age_s=np.zeros(prompts.size * n_arms),
            reward=self.seen.scores[prompts].ravel(),
            cost_usd=self.seen.costs_usd[prompts].ravel(),
            latency_s=self.seen.latencies_s[prompts].ravel(),
            weight=np.repeat(self.seen.weights[prompts], n_arms),
            ease=np.zeros(prompts.size * n_arms),
            prompt=np.repeat(np.arange(prompts.size), n_arms),
        )


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """The beliefs about each prompt of a table, learned from the prompts of the other folds.

    Args:
        reward, cost_usd: shape (n_prompts, n_arms).
        squared_errors: shape (n_predictions, n_arms), of the predicted scores, summed over the prompts.
    """

    reward: Floats
    cost_usd: Floats
    squared_errors: Floats

    @classmethod
    def of(cls, table: AnswerTable, fold: Ints, squared_errors: Floats | None = None) -> HeldOut:
        """Learn from all folds but one, for each fold; squared_errors: as for `Learner.of`."""
        reward, cost_usd = np.empty((2, *table.scores.shape))
        errors = np.zeros((N_PREDICTIONS, len(table.arm_ids)))
        for number in np.unique(fold):
            learner = Learner.of(table.part(fold != number), squared_errors)
            for row in np.flatnonzero(fold == number).tolist():
                beliefs = learner.about(table, row)
                reward[row], cost_usd[row] = beliefs.posterior.mean, beliefs.expected_cost_usd
                errors += (beliefs.predicted - table.scores[row]) ** 2
        return cls(reward, cost_usd, errors)


def folds(topic: Ints, n_folds: int, seed: int = SEED) -> Ints:
    """The fold of each prompt, with the topics spread evenly over the folds; the same every time.

    Args:
        topic: shape (n_prompts,).
    """
    shuffled = np.random.default_rng(seed).permutation(topic.size)
    ordered = shuffled[np.argsort(topic[shuffled], kind="stable")]
    fold = np.empty(topic.size, dtype=np.int64)
    fold[ordered] = np.arange(topic.size) % n_folds
    return fold
