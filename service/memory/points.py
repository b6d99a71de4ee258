"""How an experience is stored as a point; the same in this process and on a server."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import quote
from uuid import UUID

import numpy as np

from service.domain.basics import Vector
from service.domain.feedback import Experience
from service.domain.neighbours import NeighbourColumns, Point, key_of
from service.memory.prompts import by_prompt, context_key

TENANT = "tenant"
ARM_ID = "arm_id"
TASK = "task"
DECIDED_AT = "decided_at"
CONTEXT = "context"
UNPRICED = "unpriced"
TEXTS = (ARM_ID, "request_id", "reward", "weight", "latency_s", "cost_usd")  # every payload has them, as text
MICROS_PER_S = 1e6
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class TenantArm(NamedTuple):
    """One arm of one tenant, whose points are capped together."""

    tenant: str
    arm_id: str


def space_name(encoder: str, dimension: int) -> str:
    """The unique name of an encoder's vector space, in characters that a folder name allows."""
    return f"{quote(encoder, safe='')}-{dimension}"


def to_micros(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def from_micros(micros: int) -> datetime:
    return EPOCH + timedelta(microseconds=micros)


def to_payload(experience: Experience) -> dict[str, Any]:
    """All fields but id and vector, and the key of the vector.

    Numbers that no filter uses are stored as text: the engine's JSON numbers lose the last bit of one
    float in six, and a recalled number must equal the journal's.
    """
    # Replicas of earlier versions need a number; they count an unknown cost as 0.
    unpriced = {UNPRICED: True} if experience.cost_usd is None else {}
    return {
        TENANT: experience.tenant,
        ARM_ID: experience.arm_id,
        DECIDED_AT: to_micros(experience.decided_at),
        TASK: experience.task,
        CONTEXT: context_key(experience.context),
        "request_id": experience.request_id,
        "reward": repr(float(experience.reward)),
        "weight": repr(float(experience.weight)),
        "latency_s": repr(float(experience.latency_s)),
        "cost_usd": repr(float(experience.cost_usd or 0)),
        **unpriced,
    }


def to_experience(decision_id: UUID, payload: Mapping[str, Any], vector: Any, *, encoder: str) -> Experience:
    return Experience(
        decision_id=decision_id,
        tenant=payload[TENANT],
        request_id=payload["request_id"],
        arm_id=payload[ARM_ID],
        encoder=encoder,
        context=np.asarray(vector, dtype=np.float32),
        reward=float(payload["reward"]),
        weight=float(payload["weight"]),
        latency_s=float(payload["latency_s"]),
        cost_usd=_cost_usd(payload),
        decided_at=from_micros(payload[DECIDED_AT]),
        task=payload.get(TASK),  # points older than tasks have none
    )


def stored_context(decision_id: UUID, payload: Mapping[str, Any]) -> int:
    """The key of a point's context. Points of earlier versions have none: each has a context of its own."""
    return int(payload.get(CONTEXT, key_of(decision_id)))


class Found(NamedTuple):
    """A point that a search found."""

    decision_id: UUID
    payload: Mapping[str, Any]
    similarity: float

    @property
    def context(self) -> int:
        return stored_context(self.decision_id, self.payload)

    @property
    def point(self) -> Point:
        return Point(self.decision_id, self.payload["request_id"], self.payload.get(TASK))


def to_neighbours(found: Sequence[Found], *, now: datetime) -> NeighbourColumns:
    """The points, most similar first, as neighbours by prompt."""
    rank_of = {context: rank for rank, context in enumerate(dict.fromkeys(one.context for one in found))}
    arm_of = {arm_id: arm for arm, arm_id in enumerate(dict.fromkeys(one.payload[ARM_ID] for one in found))}
    rank = np.array([rank_of[one.context] for one in found], dtype=np.int64)
    arm = np.array([arm_of[one.payload[ARM_ID]] for one in found], dtype=np.int64)
    decided_at = np.array([one.payload[DECIDED_AT] for one in found], dtype=np.int64)
    keys = np.array([key_of(one.decision_id) for one in found], dtype=np.int64)
    order, prompt = by_prompt(rank, arm, decided_at, keys)
    # Equal contexts have equal similarities, whatever a server rounds; the first of each rank counts.
    similarity = np.array([found[i].similarity for i in np.unique(rank, return_index=True)[1]])
    numbers = np.array([_numbers(one.payload) for one in found]).reshape(-1, 4)[order].T
    return NeighbourColumns(
        tuple([found[i].point for i in order.tolist()]),
        keys[order],
        tuple(arm_of),
        arm[order],
        prompt,
        similarity.clip(-1.0, 1.0)[rank[order]],  # float32 rounding overshoots
        (to_micros(now) - decided_at[order]) / MICROS_PER_S,
        *numbers,
    )


def _numbers(payload: Mapping[str, Any]) -> tuple[float, float, float, float]:
    cost_usd = _cost_usd(payload)
    return (
        float(payload["reward"]),
        float(payload["weight"]),
        float(payload["latency_s"]),
        math.nan if cost_usd is None else cost_usd,
    )


def _cost_usd(payload: Mapping[str, Any]) -> float | None:
    return None if payload.get(UNPRICED) else float(payload["cost_usd"])


def score_threshold(min_similarity: float) -> float | None:
    """The engine's threshold, which is exclusive, for a similarity of at least `min_similarity`.

    None at -1, which matches every vector: rounding may put an opposite vector just below -1.
    """
    if min_similarity <= -1:
        return None
    return float(np.nextafter(np.float32(min_similarity), np.float32(-1)))


def require_dimension(context: Vector, dimension: int) -> None:
    """Raises ValueError if `context` is no vector of this space."""
    if context.shape != (dimension,):
        raise ValueError(f"context must have shape ({dimension},), got {context.shape}")


def require_space(experiences: Iterable[Experience], *, encoder: str, dimension: int) -> None:
    """Raises ValueError if a vector is of another encoder: cosines across vector spaces mean nothing."""
    for experience in experiences:
        if experience.encoder != encoder:
            raise ValueError(f"encoder must be {encoder!r}, got {experience.encoder!r}")
        require_dimension(experience.context, dimension)


def latest_of_each(experiences: Iterable[Experience]) -> list[Experience]:
    """The last experience of each decision: the engine does not define which of two in one write wins."""
    return list({experience.decision_id: experience for experience in experiences}.values())
