"""Evidence: sums that add, and the neighbours of one query."""

from dataclasses import dataclass, field, fields, replace

import numpy as np

from bandit.arrays import Bools, Floats, Ints, columns
from bandit.knobs import Knobs

SECONDS_PER_DAY = 86_400.0
# Sums are whole numbers of grains, which are powers of two. So additions and subtractions are exact in
# floating point, and every order of arrival gives the same bits: up to 8e9 rewards, seconds or squares of
# seconds, 8e6 dollars, and 8 squares of dollars (8e4 calls of a cent), per arm. Larger sums are rounded.
MICRO_GRAIN = 2.0**-20
NANO_GRAIN = 2.0**-30
FEMTO_GRAIN = 2.0**-50  # of dollars squared: a call of a hundred-thousandth of a dollar is 1e-10
_GRAIN_OF_EACH = (
    *(MICRO_GRAIN, MICRO_GRAIN, MICRO_GRAIN, NANO_GRAIN, MICRO_GRAIN, MICRO_GRAIN),
    *(FEMTO_GRAIN, MICRO_GRAIN),
)
GRAINS = np.array([_GRAIN_OF_EACH]).T  # of `Sums`


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """Evidence on each arm. It is added; a withdrawal subtracts what was added.

    Args:
        n: shape (n_arms,), rated requests, each with the weight of its reward.
        reward_sum: shape (n_arms,), weight times reward.
        n_outcomes: shape (n_arms,), finished calls, rated or not.
        cost_usd_sum: shape (n_arms,), dollars of these calls, where known.
        latency_s_sum: shape (n_arms,), seconds of these calls.
        n_unpriced: shape (n_arms,), finished calls whose dollars nobody knows.
        cost_usd_squares: shape (n_arms,), the squares of these calls' dollars, where known.
        latency_s_squares: shape (n_arms,), the squares of these calls' seconds.
    """

    n: Floats
    reward_sum: Floats
    n_outcomes: Floats
    cost_usd_sum: Floats
    latency_s_sum: Floats
    n_unpriced: Floats
    cost_usd_squares: Floats
    latency_s_squares: Floats

    def __post_init__(self) -> None:
        grained = np.rint(np.array([getattr(self, n) for n in _SUMS], dtype=np.float64) / GRAINS) * GRAINS
        for name, values in zip(_SUMS, grained, strict=True):
            object.__setattr__(self, name, values)

    @classmethod
    def zeros(cls, n_arms: int) -> "Sums":
        return cls(*np.zeros((8, n_arms)))

    @classmethod
    def rating(cls, n_arms: int, arm: int, reward: float, weight: float = 1.0) -> "Sums":
        """Return the sums of one rated request."""
        if not (0 <= reward <= 1 and weight >= 0):
            raise ValueError(f"reward must be in [0, 1] and weight at least 0, got {reward} and {weight}")
        one_hot = _one_hot(n_arms, arm)
        return replace(cls.zeros(n_arms), n=weight * one_hot, reward_sum=weight * reward * one_hot)

    @classmethod
    def outcome(cls, n_arms: int, arm: int, cost_usd: float | None, latency_s: float) -> "Sums":
        """Return the sums of one finished call; `cost_usd=None`: nobody knows its dollars."""
        if not ((cost_usd is None or cost_usd >= 0) and latency_s >= 0):
            raise ValueError(f"cost_usd and latency_s must be at least 0, got {cost_usd} and {latency_s}")
        one_hot, known_usd = _one_hot(n_arms, arm), cost_usd or 0.0
        return replace(
            cls.zeros(n_arms),
            n_outcomes=one_hot,
            cost_usd_sum=known_usd * one_hot,
            latency_s_sum=latency_s * one_hot,
            n_unpriced=float(cost_usd is None) * one_hot,
            cost_usd_squares=known_usd**2 * one_hot,
            latency_s_squares=latency_s**2 * one_hot,
        )

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __sub__(self, other: "Sums") -> "Sums":
        return Sums(*(getattr(self, f.name) - getattr(other, f.name) for f in fields(self)))

    def repriced(self, factor: Floats) -> "Sums":
        """Return the sums as if every call had been billed at the new prices; factor: shape (n_arms,)."""
        return replace(
            self,
            cost_usd_sum=self.cost_usd_sum * factor,
            cost_usd_squares=self.cost_usd_squares * factor**2,
        )


_SUMS = tuple(f.name for f in fields(Sums))


@columns
class Neighbours:
    """Outcomes of past requests near one query, in any order; every array has shape (k,).

    Args:
        arm: index of the arm that answered, among the arms of this decision.
        similarity: cosine to the query, in [-1, 1].
        age_s: seconds since the past request.
        reward: in [0, 1]; any finite number where the weight is 0.
        cost_usd: of the answer; NaN where nobody knows it.
        latency_s: of the answer.
        weight: of the reward; 0 for a request without a rating.
        ease: of the past request, by today's fit, in reward; 0 where unknown.
        prompt: number of the prompt, from 0: several arms may have answered one prompt. If left out, each
            neighbour has a prompt of its own.
    """

    arm: Ints
    similarity: Floats
    age_s: Floats
    reward: Floats
    cost_usd: Floats
    latency_s: Floats
    weight: Floats
    ease: Floats
    prompt: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def __post_init__(self) -> None:
        if self.prompt.size == 0:
            object.__setattr__(self, "prompt", np.arange(self.arm.size))
        numbers = self.similarity, self.age_s, self.reward, self.cost_usd, self.latency_s
        shapes = {column.shape for column in (self.arm, *numbers, self.weight, self.ease, self.prompt)}
        if shapes != {(self.arm.size,)}:
            raise ValueError(f"every array of the neighbours must have shape (k,), got {sorted(shapes)}")

    def where(self, wanted: Bools) -> "Neighbours":
        """Return the wanted ones; wanted: shape (k,)."""
        return Neighbours(*(getattr(self, f.name)[wanted] for f in fields(self)))

    @classmethod
    def none(cls) -> "Neighbours":
        return cls(np.zeros(0, dtype=np.int64), *np.zeros((7, 0)))


def kernel(neighbours: Neighbours, knobs: Knobs) -> Floats:
    """Weigh each neighbour by its similarity: max(cosine, 0), and 0 for neighbours that do not count.

    The kernel is broad because with a sharp one, or a high threshold, most queries have no neighbour.

    Returns:
        Shape (k,), in [0, 1]; 0 below the similarity threshold, beyond the recency limit, and after the
        `max_similar_requests` most similar prompts of the others.
    """
    counts = (neighbours.similarity >= knobs.similarity_threshold) & (
        neighbours.age_s <= knobs.recency_days * SECONDS_PER_DAY
    )
    weights = np.where(counts, np.maximum(neighbours.similarity, 0.0), 0.0)
    if weights.size > knobs.max_similar_requests:
        of_prompts = np.zeros(neighbours.prompt.max() + 1)
        np.maximum.at(of_prompts, neighbours.prompt, weights)
        is_far = np.ones(of_prompts.size, dtype=np.bool_)
        is_far[np.argsort(-of_prompts, kind="stable")[: knobs.max_similar_requests]] = False
        weights[is_far[neighbours.prompt]] = 0.0
    return weights


def n_prompts(neighbours: Neighbours, weights: Floats) -> int:
    """Return the number of prompts of which an outcome has a weight above 0."""
    return int(np.count_nonzero(np.bincount(neighbours.prompt[weights > 0])))


def _one_hot(n_arms: int, arm: int) -> Floats:
    one_hot = np.zeros(n_arms)
    one_hot[arm] = 1.0
    return one_hot
