"""The rated decisions near a query: columns for the decision, neighbours for the log."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import fields
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import numpy as np
import numpy.typing as npt

from bandit.arrays import columns
from service.domain import precision
from service.domain.basics import Vector
from service.domain.decision import Neighbour

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


_WHOLE = ("arm_ids", "codes")  # fields of NeighbourColumns that are no columns


def key_of(decision_id: UUID) -> int:
    """The first 63 bits of the id: they fit into an array and distinguish thousands of decisions."""
    return decision_id.int >> 65


@columns
class NeighbourQuery:
    """Selects the neighbours of a query.

    Args:
        context: shape (d,), unit norm; prompts are ranked by similarity to it.
        limit: maximum number of prompts.
        min_similarity: minimum cosine of a neighbour.
        since: neighbours were decided at this time or later.
        now: the age of a neighbour is measured from here.
        task: only decisions that their clients tagged with it; None: all decisions.
    """

    context: Vector
    tenant: str
    limit: int
    min_similarity: float
    since: datetime
    now: datetime
    task: str | None = None


class Point(NamedTuple):
    """Identifies a remembered decision."""

    decision_id: UUID
    request_id: str
    task: str | None


class Codes(NamedTuple):
    """What the log keeps of rounded numbers, as `service.domain.precision` has them.

    Args:
        similarity: shape (k,).
        shares: shape (2, k), of reward and weight.
        magnitudes: shape (3, k), of age_s, latency_s and cost_usd.
    """

    similarity: npt.NDArray[np.int32]
    shares: precision.Codes
    magnitudes: precision.Codes


@columns
class NeighbourColumns(Collection[Neighbour]):
    """Neighbours, most similar prompt first.

    The numbers are columns of shape (k,), as beliefs need them. `Neighbour` objects are built only on
    iteration, for the log: building a hundred of them would take a fifth of a decision's time.

    Args:
        keys: `key_of` of each decision.
        arm_ids: the arms that `arm` refers to.
        arm: each neighbour's index into `arm_ids`.
        prompt: number of each neighbour's prompt, ascending from 0; see `service.memory.prompts`.
        cost_usd: NaN where nobody knows it.
        codes: of the numbers, which are as exact as these; None: they are not rounded, see `rounded`.
    """

    points: tuple[Point, ...]
    keys: Ints
    arm_ids: tuple[str, ...]
    arm: Ints
    prompt: Ints
    similarity: Floats
    age_s: Floats
    reward: Floats
    weight: Floats
    latency_s: Floats
    cost_usd: Floats
    codes: Codes | None = None

    @classmethod
    def of(cls, neighbours: Iterable[Neighbour]) -> NeighbourColumns:
        if isinstance(neighbours, cls):
            return neighbours
        listed = list(neighbours)
        index = {arm_id: i for i, arm_id in enumerate({n.arm_id: None for n in listed})}
        numbers = [(n.similarity, n.age_s, n.reward, n.weight, n.latency_s, n.cost_usd) for n in listed]
        return cls(
            tuple(Point(n.decision_id, n.request_id, n.task) for n in listed),
            np.array([key_of(n.decision_id) for n in listed], dtype=np.int64),
            tuple(index),
            np.array([index[n.arm_id] for n in listed], dtype=np.int64),
            np.array([i if n.prompt is None else n.prompt for i, n in enumerate(listed)], dtype=np.int64),
            *np.array(numbers, dtype=np.float64).reshape(-1, 6).T,
        )

    @property
    def n_prompts(self) -> int:
        return int(self.prompt[-1]) + 1 if self.points else 0

    def rounded(self) -> NeighbourColumns:
        """The neighbours with numbers as exact as the log keeps them.

        A decision uses these, so that the log reproduces it to the last bit.
        """
        fractions = precision.fraction_codes(np.array([self.similarity, self.reward, self.weight]))
        magnitudes = precision.magnitude_codes(np.array([self.age_s, self.latency_s, self.cost_usd]))
        similarity, reward, weight = precision.fractions(fractions)
        age_s, latency_s, cost_usd = precision.magnitudes(magnitudes)
        return NeighbourColumns(
            points=self.points,
            keys=self.keys,
            arm_ids=self.arm_ids,
            arm=self.arm,
            prompt=self.prompt,
            similarity=similarity,
            age_s=age_s,
            reward=reward,
            weight=weight,
            latency_s=latency_s,
            cost_usd=cost_usd,
            codes=Codes(fractions[0], fractions[1:].astype(np.uint16), magnitudes),
        )

    def of_prompts(self, n: int) -> NeighbourColumns:
        """The neighbours of the `n` most similar prompts."""
        k = int(np.searchsorted(self.prompt, n))
        if k == len(self):
            return self
        columns = {f.name: getattr(self, f.name)[:k] for f in fields(self) if f.name not in _WHOLE}
        return NeighbourColumns(arm_ids=self.arm_ids, **columns)

    def __len__(self) -> int:
        return len(self.points)

    def __iter__(self) -> Iterator[Neighbour]:
        columns = self.similarity, self.age_s, self.reward, self.weight, self.latency_s, self.cost_usd
        numbers = np.array(columns).T.tolist()
        places = self.arm.tolist(), self.prompt.tolist()
        for point, arm, prompt, row in zip(self.points, *places, numbers, strict=True):
            similarity, age_s, reward, weight, latency_s, cost_usd = row
            yield Neighbour(
                point.decision_id,
                point.request_id,
                self.arm_ids[arm],
                similarity,
                age_s,
                reward,
                weight,
                latency_s,
                None if math.isnan(cost_usd) else cost_usd,
                point.task,
                prompt,
            )

    def __contains__(self, value: object) -> bool:
        return any(value == neighbour for neighbour in self)


NO_NEIGHBOURS = NeighbourColumns.of(())
