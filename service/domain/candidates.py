"""The weighed arms of a decision: columns for the log and the budget, candidates for who wants one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np
import numpy.typing as npt

from bandit.arrays import columns
from service.domain.decision import Candidate, LoggedPriorState

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

PRIOR_STATE = (
    "prior_mean",
    "prior_mass",
    "n_rated",
    "reward_sum",
    "deviation",
    "cost_usd",
    "latency_s",
    "epoch_age_s",  # infinite: the arm never changed
    "n_changes",
    "cost_usd_error",
    "latency_s_error",
)
POSTERIOR = ("alpha", "beta", "local_mass", "bonus", "expected_latency_s", "expected_cost_usd")
TERMS = ("quality", "speed", "cost", "budget", "utility")
NUMBERS = ("probability", *PRIOR_STATE, *POSTERIOR, *TERMS)  # the rows of `CandidateColumns.numbers`
_ROW = {name: row for row, name in enumerate(NUMBERS)}


@columns
class CandidateColumns(Sequence[Candidate]):
    """Candidates in the order of the weighed arms.

    `Candidate` objects are built only where one is asked for: most requests need a column or two.

    Args:
        prior_sources: of each prior mean; None: no quality was known.
        numbers: shape (len(NUMBERS), n_arms).
        predicted: shape (n_predictions, n_arms), reward predicted by each expert, then by their mixture.
        is_barred: shape (n_arms,), whether the budget excludes the arm from this request.
    """

    arm_ids: tuple[str, ...]
    prior_sources: tuple[str | None, ...]
    numbers: Floats
    predicted: Floats
    is_barred: Bools

    @classmethod
    def of(cls, candidates: Iterable[Candidate]) -> CandidateColumns:
        if isinstance(candidates, cls):
            return candidates
        listed = list(candidates)
        return cls(
            tuple(c.arm_id for c in listed),
            tuple(c.prior_state.prior_source for c in listed),
            np.array([_numbers(c) for c in listed], dtype=np.float64).reshape(-1, len(NUMBERS)).T,
            np.array([c.predicted for c in listed], dtype=np.float64).reshape(len(listed), -1).T
            if listed
            else np.zeros((0, 0)),
            np.array([c.is_barred for c in listed], dtype=np.bool_),
        )

    def column(self, name: str) -> Floats:
        """One of `NUMBERS`, shape (n_arms,)."""
        column: Floats = self.numbers[_ROW[name]]
        return column

    def __len__(self) -> int:
        return len(self.arm_ids)

    @overload
    def __getitem__(self, index: int) -> Candidate: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Candidate]: ...
    def __getitem__(self, index: int | slice) -> Candidate | Sequence[Candidate]:
        if isinstance(index, slice):
            return tuple(self)[index]
        at = range(len(self))[index]
        return self._candidate(at, self.numbers[:, at].tolist(), self.predicted[:, at].tolist())

    def __iter__(self) -> Iterator[Candidate]:
        rows = zip(self.numbers.T.tolist(), self.predicted.T.tolist(), strict=True)
        for at, (numbers, predicted) in enumerate(rows):
            yield self._candidate(at, numbers, predicted)

    def _candidate(self, at: int, numbers: list[float], predicted: list[float]) -> Candidate:
        probability, *of_arm = numbers
        known = of_arm[: len(PRIOR_STATE)]
        alpha, beta, local_mass, bonus, latency_s, cost_usd, *terms = of_arm[len(PRIOR_STATE) :]
        quality, speed, cost, budget, utility = terms
        return Candidate(
            self.arm_ids[at],
            probability,
            _prior_state(known, self.prior_sources[at]),
            tuple(predicted),
            alpha,
            beta,
            local_mass,
            bonus,
            latency_s,
            cost_usd,
            quality,
            speed,
            cost,
            budget,
            utility,
            bool(self.is_barred[at]),
        )


def _prior_state(numbers: list[float], source: str | None) -> LoggedPriorState:
    mean, mass, n_rated, reward_sum, deviation, cost_usd, latency_s, *of_epoch, usd_error, s_error = numbers
    epoch_age_s, n_changes = of_epoch
    return LoggedPriorState(
        mean,
        mass,
        n_rated,
        reward_sum,
        deviation,
        cost_usd,
        latency_s,
        None if epoch_age_s == np.inf else epoch_age_s,
        int(n_changes),
        source,
        usd_error,
        s_error,
    )


def _numbers(c: Candidate) -> list[float]:
    known = c.prior_state
    of_prior_state = [getattr(known, name) for name in PRIOR_STATE]
    if known.epoch_age_s is None:
        of_prior_state[PRIOR_STATE.index("epoch_age_s")] = np.inf
    return [c.probability, *of_prior_state, *(getattr(c, name) for name in (*POSTERIOR, *TERMS))]
