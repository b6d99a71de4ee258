"""A decision's explanation as the log keeps it: two packed columns, and what is seldom there as JSON.

`weighed` has the decision's own numbers and the weighed arms, `recalled` the neighbours. Both begin with the
version of their form. Every number that the decision can be reproduced from is exact; numbers that are only
shown are float32. JSON would take ten times as many bytes, and a millisecond of compression.

Versions up to 0.4 logged all of it as JSON; `unpacked` reads both forms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt

from service.domain import precision
from service.domain.candidates import NUMBERS, POSTERIOR, TERMS, CandidateColumns, Floats
from service.domain.neighbours import Codes, NeighbourColumns, Point, key_of
from service.domain.packing import Reader, Writer

VERSION = 1
HAS_CANDIDATES_AT = 1  # where `weighed` has the number of candidates: two bytes
SCALARS = ("n_rated", "prior_offset", "ease", "uniform", "confidence", "budget_price")
_WRITTEN = [row for row, name in enumerate(NUMBERS) if name != "utility"]
# Not to decide again.
_SHOWN = [row for row, name in enumerate(NUMBERS) if name in (*POSTERIOR, *TERMS)]
_TASK = attrgetter("task")
_KEY_BITS = 32  # of a neighbour's id: with its time, they tell a tenant's decisions apart
_ONE_OUTCOME_EACH, _HAS_EASE, _HAS_NO_EASE_BUT_ZERO = 1, 2, 4


@dataclass(frozen=True, slots=True, eq=False)
class Weighed:
    """What `weighed` keeps: the decision's own numbers and its candidates.

    Args:
        scalars: in the order of SCALARS.
    """

    scalars: Sequence[float]
    expert_weights: Sequence[float]
    candidates: CandidateColumns


@dataclass(frozen=True, slots=True, eq=False)
class RecalledNeighbours:
    """What `recalled` keeps: the neighbours, and the ease of their requests; empty: not known.

    Only the beginning of each neighbour's `decision_id` is known, and its `request_id` is empty.
    """

    columns: NeighbourColumns
    ease: tuple[float, ...]


NONE_RECALLED = RecalledNeighbours(NeighbourColumns.of(()), ())


def pack_weighed(weighed: Weighed) -> bytes:
    columns, own = weighed.candidates, [*weighed.scalars, *weighed.expert_weights]
    writer = Writer()
    writer.fields("BHBB", VERSION, len(columns), len(weighed.expert_weights), len(columns.predicted))
    writer.rows([[number] for number in own], [[number] for number in _single(own)])
    return writer.bytes() + (_packed_candidates(columns) if columns else b"")


@lru_cache(maxsize=128)  # by identity: requests whose arm is certain share their candidates
def _packed_candidates(columns: CandidateColumns) -> bytes:
    writer = Writer()
    numbers, singles, predicted = (
        columns.numbers.tolist(),
        _single(columns.numbers),
        _single(columns.predicted),
    )
    writer.small(columns.is_barred, 2)
    singles = [singles[row] for row in _WRITTEN]
    rows = [single if row in _SHOWN else numbers[row] for row, single in zip(_WRITTEN, singles, strict=True)]
    writer.rows([*rows, *predicted], [*singles, *predicted])
    return _packed_arms(columns.arm_ids, columns.prior_sources) + writer.bytes()


@lru_cache(maxsize=128)
def _packed_arms(arm_ids: tuple[str, ...], prior_sources: tuple[str | None, ...]) -> bytes:
    writer, sources = Writer(), list(dict.fromkeys(prior_sources))
    writer.texts(arm_ids)
    writer.texts(sources)
    writer.small(np.array([sources.index(source) for source in prior_sources]), len(sources))
    return writer.bytes()


def unpack_weighed(data: bytes) -> Weighed:
    reader = Reader(data)
    version, n, n_experts, n_predicted = reader.fields("BHBB")
    _require_version(version)
    scalars = reader.rows(len(SCALARS) + n_experts, 1)[:, 0].tolist()
    own, expert_weights = scalars[: len(SCALARS)], scalars[len(SCALARS) :]
    if not n:
        return Weighed(own, expert_weights, CandidateColumns.of(()))
    arm_ids, sources = reader.texts(), reader.texts()
    source_of = reader.small(n, len(sources)).tolist()
    is_barred = reader.small(n, 2) > 0
    rows = reader.rows(len(_WRITTEN) + n_predicted, n)
    numbers = np.zeros((len(NUMBERS), n))
    numbers[_WRITTEN] = rows[: len(_WRITTEN)]
    columns = CandidateColumns(
        tuple(arm_ids),
        tuple([sources[number] or None for number in source_of]),
        numbers,
        _shown(rows[len(_WRITTEN) :]),
        is_barred,
    )
    numbers[_SHOWN] = _shown(numbers[_SHOWN])
    columns.column("utility")[:] = columns.column("quality") + _other_terms(columns)
    return Weighed(own, expert_weights, columns)


def pack_recalled(columns: NeighbourColumns, ease: Sequence[float], arm_ids: Sequence[str]) -> bytes | None:
    """The neighbours of a decision whose candidates are `arm_ids`; None: the form lacks digits of them.

    `ease` is empty if it is not known, and rounded if the neighbours are.
    """
    codes = columns.codes or _codes_of(columns, ease)
    if codes is None:
        return None
    writer, n, n_prompts = Writer(), len(columns), columns.n_prompts
    similarity, of_prompts = codes.similarity, np.array(ease) if any(ease) else None
    flags = _ONE_OUTCOME_EACH if n == n_prompts else 0
    if ease:
        flags |= _HAS_NO_EASE_BUT_ZERO if of_prompts is None else _HAS_EASE
    writer.fields("BBII", VERSION, flags, n, n_prompts)
    if n != n_prompts:
        firsts = np.searchsorted(columns.prompt, np.arange(n_prompts))
        writer.array(np.diff(firsts, append=n), "u2")
        similarity, of_prompts = similarity[firsts], None if of_prompts is None else of_prompts[firsts]
    writer.array(similarity, "i2")
    if of_prompts is not None:
        writer.array(precision.ease_codes(of_prompts), "i1")
    writer.array(columns.keys >> (63 - _KEY_BITS), "u4")
    place = {arm_id: number for number, arm_id in enumerate(arm_ids)}
    if not place.keys() >= set(columns.arm_ids):
        for number in np.unique(columns.arm).tolist():
            place.setdefault(columns.arm_ids[number], len(place))
    writer.texts(list(place)[len(arm_ids) :])
    number_of = np.array([place.get(arm_id, 0) for arm_id in columns.arm_ids])
    writer.small(number_of[columns.arm], len(place))
    tasks = list(dict.fromkeys(map(_TASK, columns.points)))
    writer.texts(tasks)
    if len(tasks) > 1:
        writer.small(np.array([tasks.index(point.task) for point in columns.points]), len(tasks))
    for of_shares in codes.shares:
        writer.repeated(of_shares)
    writer.array(codes.magnitudes, "u2")
    return writer.bytes()


def _codes_of(columns: NeighbourColumns, ease: Sequence[float]) -> Codes | None:
    """The codes of numbers that were not rounded, as an earlier version decided; None: they lack digits."""
    rounded = columns.rounded()
    is_exact = np.array_equal(precision.rounded_ease(np.array(ease)), ease) and list(rounded) == list(columns)
    return rounded.codes if is_exact else None


def unpack_recalled(data: bytes, arm_ids: Sequence[str]) -> RecalledNeighbours:
    reader = Reader(data)
    version, flags, n, n_prompts = reader.fields("BBII")
    _require_version(version)
    n_outcomes = 1 if flags & _ONE_OUTCOME_EACH else reader.array(n_prompts, "u2")
    prompt = np.repeat(np.arange(n_prompts), n_outcomes)
    similarity = precision.cosines(reader.array(n_prompts, "i2"))[prompt]
    ease = np.zeros(n if flags & _HAS_NO_EASE_BUT_ZERO else 0)
    if flags & _HAS_EASE:
        ease = precision.eases(reader.array(n_prompts, "i1"))[prompt]
    beginnings = reader.array(n, "u4").tolist()
    every_arm = (*arm_ids, *reader.texts())
    arm = reader.small(n, len(every_arm))
    tasks = [task or None for task in reader.texts()]
    task_of = reader.small(n, len(tasks)).tolist()
    reward, weight = (precision.shares(reader.repeated(n)) for _ in range(2))
    age_s, latency_s, cost_usd = precision.magnitudes(reader.array(3 * n, "u2").reshape(3, n))
    ids = [UUID(int=beginning << (128 - _KEY_BITS)) for beginning in beginnings]
    columns = NeighbourColumns(
        points=tuple([Point(known, "", tasks[task]) for known, task in zip(ids, task_of, strict=True)]),
        keys=np.array([key_of(known) for known in ids], dtype=np.int64),
        arm_ids=every_arm,
        arm=arm,
        prompt=prompt,
        similarity=similarity,
        age_s=age_s,
        reward=reward,
        weight=weight,
        latency_s=latency_s,
        cost_usd=cost_usd,
    )
    return RecalledNeighbours(columns, tuple(ease.tolist()))


def range_of(decision_id: UUID) -> tuple[UUID, UUID]:
    """The first and the last id that begin as the `decision_id` of a neighbour in the log."""
    beginning = decision_id.int >> (128 - _KEY_BITS) << (128 - _KEY_BITS)
    return UUID(int=beginning), UUID(int=beginning | ((1 << (128 - _KEY_BITS)) - 1))


def _single(numbers: npt.ArrayLike) -> list[Any]:
    """The numbers as float32, in lists."""
    rounded: list[Any] = np.asarray(numbers, dtype=np.float64).astype(np.float32).tolist()
    return rounded


def _shown(numbers: Floats) -> Floats:
    """The decimal numbers that `_single` rounded, as far as they have at most six digits."""
    shortest = [float(f"{number:.7g}") for number in numbers.ravel().tolist()]
    return np.array(shortest).reshape(numbers.shape)


def _other_terms(columns: CandidateColumns) -> Floats:
    total: Floats = np.sum([columns.column(name) for name in ("bonus", "speed", "cost", "budget")], axis=0)
    return total


def _require_version(version: int) -> None:
    if version != VERSION:
        raise ValueError(f"a later version of the router packed this decision ({version})")
