"""Which requests of the log to list, and the summary of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from service.domain.basics import DecisionKind

RequestStatus = Literal["ok", "failed", "cancelled", "pending"]  # pending: no outcome is logged yet


@dataclass(frozen=True, slots=True)
class RequestFilter:
    """Which requests to list; None: any."""

    since: datetime | None = None
    until: datetime | None = None  # exclusive
    arm_id: str | None = None  # that answered, or else was tried last
    kind: DecisionKind | None = None
    task: str | None = None
    status: RequestStatus | None = None
    rated: bool | None = None  # whether the newest feedback is a score
    session_id: str | None = None
    rule: str | None = None  # that narrowed the choice
    tag: tuple[str, str] | None = None  # name and value of a tag that the request has


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a request in a list, the newest request first."""

    decided_at: datetime
    decision_id: UUID


@dataclass(frozen=True, slots=True)
class RequestSummary:
    """One request of a list, without its texts and without what was weighed."""

    place: Place
    request_id: str
    dialect: str
    stream: bool
    requested_model: str | None  # None: the router chose
    arm_id: str  # that answered, or else was tried last
    kind: DecisionKind
    status: RequestStatus
    task: str | None
    session_id: str | None
    latency_s: float | None
    ttft_s: float | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cost_usd: float | None  # of all calls; None: no outcome, or the cost of a call is not known
    reward: float | None  # of the newest score
    signals: tuple[str, ...]  # implicit, the oldest first
    rule: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)  # the values, by the names
