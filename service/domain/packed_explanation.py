"""A decision's explanation as the log keeps it: two packed columns, and what is seldom there as JSON.

`weighed` has the decision's own numbers and the weighed arms, `recalled` the neighbours. Both begin with the
version of their form. Every number that the decision can be reproduced from is exact; numbers that are only
shown are float32. JSON would take ten times as many bytes, and a millisecond of compression.

Versions up to 0.4 logged all of it as JSON; `unpacked` reads both forms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np

from service.domain import precision
from service.domain.candidates import NUMBERS, POSTERIOR, TERMS, CandidateColumns, Floats
from service.domain.neighbours import NeighbourColumns, Point, key_of
from service.domain.packing import Reader, Writer

VERSION = 1
HAS_CANDIDATES_AT = 1  # where `weighed` has the number of candidates: two bytes
SCALARS = ("n_rated", "prior_offset", "ease", "uniform", "confidence", "budget_price")
_WRITTEN = np.array([row for row, name in enumerate(NUMBERS) if name != "utility"])
# Not to decide again.
_SHOWN = np.array([row for row, name in enumerate(NUMBERS) if name in (*POSTERIOR, *TERMS)])
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
    columns = weighed.candidates
    writer, n = Writer(), len(columns)
    writer.fields("BHBB", VERSION, n, len(weighed.expert_weights), len(columns.predicted))
    writer.rows(np.array([*weighed.scalars, *weighed.expert_weights], dtype=np.float64)[:, None])
    if n:
        sources = list(dict.fromkeys(columns.prior_sources))
        writer.texts(columns.arm_ids)
        writer.texts(sources)
        writer.small(np.array([sources.index(source) for source in columns.prior_sources]), len(sources))
        writer.small(columns.is_barred.astype(np.int64), 2)
        numbers = columns.numbers.copy()
        numbers[_SHOWN] = _single(numbers[_SHOWN])
        writer.rows(np.concatenate([numbers[_WRITTEN], _single(columns.predicted)]))
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


def can_pack(columns: NeighbourColumns, ease: Floats) -> bool:
    """Whether the packed form has every digit; not for what an earlier version decided."""
    if not np.array_equal(precision.rounded_ease(ease), ease):
        return False
    return columns.is_rounded or list(columns.rounded()) == list(columns)


def pack_recalled(columns: NeighbourColumns, ease: Floats, arm_ids: Sequence[str]) -> bytes:
    """The neighbours of a decision whose candidates are `arm_ids`; `can_pack` must allow it.

    `ease` is empty if it is not known.
    """
    writer, n, n_prompts = Writer(), len(columns), columns.n_prompts
    similarity, n_outcomes, flags = columns.similarity, None, _ONE_OUTCOME_EACH
    if n != n_prompts:
        firsts = np.searchsorted(columns.prompt, np.arange(n_prompts))
        n_outcomes, flags = np.diff(firsts, append=n), 0
        similarity, ease = similarity[firsts], ease[firsts] if ease.size else ease
    if ease.size:
        flags |= _HAS_EASE if ease.any() else _HAS_NO_EASE_BUT_ZERO
    writer.fields("BBII", VERSION, flags, n, n_prompts)
    if n_outcomes is not None:
        writer.array(n_outcomes, "u2")
    writer.array(precision.cosine_codes(similarity), "i2")
    if flags & _HAS_EASE:
        writer.array(precision.ease_codes(ease), "i1")
    writer.array(columns.keys >> (63 - _KEY_BITS), "u4")
    place = {arm_id: number for number, arm_id in enumerate(arm_ids)}
    for number in np.flatnonzero(np.bincount(columns.arm, minlength=len(columns.arm_ids))).tolist():
        place.setdefault(columns.arm_ids[number], len(place))
    writer.texts(list(place)[len(arm_ids) :])
    number_of = np.array([place.get(arm_id, 0) for arm_id in columns.arm_ids], dtype=np.int64)
    writer.small(number_of[columns.arm], len(place))
    task_of = [point.task for point in columns.points]
    tasks = {task: number for number, task in enumerate(dict.fromkeys(task_of))}
    writer.texts(list(tasks))
    if len(tasks) > 1:
        writer.small(np.array([tasks[task] for task in task_of]), len(tasks))
    for codes in precision.share_codes(np.array([columns.reward, columns.weight])):
        writer.repeated(codes)
    numbers = np.array([columns.age_s, columns.latency_s, columns.cost_usd])
    writer.array(precision.magnitude_codes(numbers), "u2")
    return writer.bytes()


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
        is_rounded=True,
    )
    return RecalledNeighbours(columns, tuple(ease.tolist()))


def range_of(decision_id: UUID) -> tuple[UUID, UUID]:
    """The first and the last id that begin as the `decision_id` of a neighbour in the log."""
    beginning = decision_id.int >> (128 - _KEY_BITS) << (128 - _KEY_BITS)
    return UUID(int=beginning), UUID(int=beginning | ((1 << (128 - _KEY_BITS)) - 1))


def _single(numbers: Floats) -> Floats:
    return numbers.astype(np.float32).astype(np.float64)


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
