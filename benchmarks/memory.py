"""What the learner remembers of a stream: the log of its requests, and the ease fitted to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bandit.arrays import Floats, Ints, Vectors
from bandit.drift import N_PREDICTIONS, ArmHistory, Rating, Score, learn
from bandit.ease import MOST_RATED, Ease, is_due
from bandit.records import EaseSums
from benchmarks.streams import Calibration, Stream


@dataclass(slots=True, eq=False)
class Memory:
    """The log of each request, shape (n,); predictions (n, n_predictions).

    The answers of a calibration come after the requests of the stream, prompt by prompt. Counted from the
    end, their positions are below 0, so they read as times before the stream.
    """

    arm: Ints
    reward: Floats
    cost: Floats
    latency: Floats
    predicted: Floats
    deviation: Floats
    n_rated: Floats
    n_changes: Ints

    @classmethod
    def of(cls, stream: Stream) -> Memory:
        """The memory before the first request."""
        n, n_arms = stream.shape
        known = stream.calibration
        if known is None:
            return cls.blank(n)
        n_prompts = known.scores.shape[0]
        memory = cls.blank(n + n_prompts * n_arms)
        answers = slice(n, None)
        memory.arm[answers] = np.tile(np.arange(n_arms), n_prompts)
        memory.reward[answers] = known.scores.ravel()
        memory.cost[answers] = known.costs.ravel()
        memory.latency[answers] = known.latencies.ravel()
        return memory

    @classmethod
    def blank(cls, n: int) -> Memory:
        positions, numbers = np.zeros((2, n), dtype=np.int64), np.zeros((5, n))
        return cls(
            arm=positions[0],
            reward=numbers[0],
            cost=numbers[1],
            predicted=np.zeros((n, N_PREDICTIONS)),
            latency=numbers[2],
            deviation=numbers[3],
            n_rated=numbers[4],
            n_changes=positions[1],
        )

    def rating(self, t: int) -> Rating:
        """The rating of the request at this position."""
        return Rating(
            decided_at=float(t),
            n_rated=float(self.n_rated[t]),
            n_changes=int(self.n_changes[t]),
            predicted=tuple(self.predicted[t].tolist()),
            deviation=float(self.deviation[t]),
            score=Score(float(self.reward[t])),
        )


@dataclass(slots=True, eq=False)
class Fitting:
    """Ease, fitted to the rated requests whenever the service would fit it.

    Args:
        contexts: shape (n, d), of all requests in the memory.
        of_requests: shape (n,), ease of each request by the newest fit.
        counts, sums: shape (n_arms,), at the newest fit, rated requests in each arm's epoch and their ease.
        epoch_starts: shape (n_arms,), starts of these epochs.
        n_fitted: rated requests at the newest fit.
        ease: the newest fit.
    """

    contexts: Vectors
    of_requests: Floats
    counts: Floats
    sums: Floats
    epoch_starts: Floats
    n_fitted: float = 0.0
    ease: Ease | None = None

    @classmethod
    def of(cls, stream: Stream) -> Fitting:
        _, n_arms = stream.shape
        if (known := stream.calibration) is None:
            return cls.blank(stream.contexts, n_arms)
        answered = np.repeat(known.contexts, n_arms, axis=0)
        return cls.blank(np.concatenate([stream.contexts, answered]), n_arms)

    @classmethod
    def blank(cls, contexts: Vectors, n_arms: int) -> Fitting:
        return cls(contexts, np.zeros(contexts.shape[0]), *np.zeros((3, n_arms)))

    def refit_if_due(
        self, memory: Memory, rated: Sequence[int], histories: Sequence[ArmHistory], n: float
    ) -> None:
        """Fit again if that is due; rated: positions of the rated requests, n: their weight."""
        if not is_due(n, self.n_fitted):
            return
        newest = np.array(rated[-MOST_RATED:])
        arm, reward = memory.arm[newest], memory.reward[newest]
        self.epoch_starts = np.array([history.epoch.started_at for history in histories])
        is_current = newest > self.epoch_starts[arm]
        group = 2 * arm + is_current
        self.ease = Ease.fit(self.contexts[newest], group, reward, np.ones(newest.size))
        self.of_requests = self.ease.at(self.contexts)
        current_ease = np.where(is_current, self.of_requests[newest], 0.0)
        self.counts = np.bincount(arm, is_current, minlength=len(histories)).astype(np.float64)
        self.sums = np.bincount(arm, current_ease, minlength=len(histories)).astype(np.float64)
        self.n_fitted = n

    def at(self, context: Vectors) -> float:
        return 0.0 if self.ease is None else float(self.ease.at(context))

    def sums_of(self, histories: Sequence[ArmHistory]) -> EaseSums:
        """The ease of the rated requests; 0 for an arm that changed since the newest fit."""
        is_same = [h.epoch.started_at == s for h, s in zip(histories, self.epoch_starts, strict=True)]
        return EaseSums(np.where(is_same, self.counts, 0.0), np.where(is_same, self.sums, 0.0))


def imported(calibration: Calibration) -> list[ArmHistory]:
    """The history of each arm after `router import`: every answer is one rating, without a prediction."""
    histories = []
    for rewards in calibration.scores.T.tolist():
        history = ArmHistory()
        for reward in rewards:
            rating = Rating(-1.0, 0.0, 0, predicted=None, deviation=1.0, score=Score(reward))
            history = learn(history, rating)
        histories.append(history)
    return histories


def answers(positions: Ints, similarity: Floats, n_arms: int) -> tuple[Ints, Floats, Ints]:
    """The answers to these prompts: one of a request, one of each arm of a prompt of a calibration.

    Args:
        positions: shape (k,), as in `Stream.neighbours`.
        similarity: shape (k,).

    Returns:
        Positions in the memory, similarities, and numbers of the prompts.
    """
    is_request = positions >= 0
    prompt = np.arange(positions.size)
    of_calibration = positions[~is_request, None] * n_arms + np.arange(n_arms)
    return (
        np.concatenate([positions[is_request], of_calibration.ravel()]),
        np.concatenate([similarity[is_request], np.repeat(similarity[~is_request], n_arms)]),
        np.concatenate([prompt[is_request], np.repeat(prompt[~is_request], n_arms)]),
    )
