"""What the other tools return."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, Field

from service.domain.basics import Json
from service.mcp_server.reasons import reasons


class Weighed(BaseModel):
    """A model that was weighed for a request."""

    model: str
    probability: float
    expected_quality: float = Field(description="posterior mean of its reward, 0 to 1")
    expected_cost_usd: float | None
    expected_latency_s: float | None
    utility: float

    @classmethod
    def of(cls, candidate: Json) -> Weighed:
        return cls(
            model=candidate["model"],
            probability=candidate["probability"],
            expected_quality=candidate["posterior"]["mean"],
            expected_cost_usd=candidate["expected_cost_usd"],
            expected_latency_s=candidate["expected_latency_s"],
            utility=candidate["utility"]["total"],
        )


class Left(BaseModel):
    """A model that could not answer."""

    model: str
    reason: str


class Decided(BaseModel):
    """A decision in words and numbers."""

    model: str
    decision: str
    propensity: float | None = Field(description="probability with which the model was chosen")
    why: str = Field(description="the reasons in plain sentences")
    candidates: list[Weighed] = Field(description="by utility, the best first")
    rejected: list[Left]
    degraded: list[str]

    @classmethod
    def of(cls, record: Json) -> Decided:
        return cls(**_decided(record))


class Explained(Decided):
    """A decision that was made, and what became of it."""

    request_id: str
    decided_at: str
    attempts: list[dict[str, Any]]
    numbers: dict[str, Any] = Field(description="latency, tokens, dollars and reward of the request")

    @classmethod
    def of_record(cls, record: Json, numbers: Json) -> Explained:
        return cls(
            **_decided(record),
            request_id=record["request_id"],
            decided_at=record["decided_at"],
            attempts=record["attempts"],
            numbers=numbers,
        )


class Taught(BaseModel):
    """What became of a rating."""

    request_id: str
    status: str = Field(description="applied, revised, duplicate or not_learned")
    model: str | None
    reward: float | None
    event_id: int | None


class Models(BaseModel):
    """The models, and the names that `complete` accepts."""

    names: list[str] = Field(description="what `model` may be; `auto`: the router chooses")
    models: list[dict[str, Any]] = Field(description="each model with the state of its circuit breaker")


def _decided(record: Json) -> Json:
    candidates: Sequence[Json] = record.get("candidates") or []
    weighed = [Weighed.of(candidate) for candidate in candidates]
    return {
        "model": record["model"],
        "decision": record["decision"],
        "propensity": record["propensity"],
        "why": " ".join(reasons(record)),
        "candidates": sorted(weighed, key=lambda each: -each.utility),
        "rejected": [
            Left(model=each["model"], reason=each["reason"]) for each in record.get("rejected") or []
        ],
        "degraded": list(record.get("degraded") or []),
    }
