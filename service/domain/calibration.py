"""A calibration of a running router, as it is stored and shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from service.domain.basics import Json

# running, interrupted: its router died; stopped: by an operator; capped: the dollars were not enough
CalibrationState = Literal["running", "interrupted", "stopped", "failed", "capped", "done"]


@dataclass(frozen=True, slots=True)
class Calibration:
    """One calibration.

    Args:
        options: as asked for, without the prompts and the dollars.
        options_digest: of options and prompts.
        prompts: what every model is asked; None: it is done, or they were not read.
        n_problems: answers without a score.
        rows: imported rows, by what became of them.
        error: why it failed.
    """

    calibration_id: UUID
    tenant: str
    options: Json
    options_digest: bytes
    prompts: Sequence[Json] | None
    n_total: int
    max_usd: Decimal
    started_at: datetime
    updated_at: datetime
    state: CalibrationState = "running"
    n_done: int = 0
    n_problems: int = 0
    spent_usd: Decimal = Decimal(0)
    rows: Mapping[str, int] = field(default_factory=dict)
    error: str | None = None
    report: Json | None = None
    ended_at: datetime | None = None
