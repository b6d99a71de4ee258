"""Scripted faults: what an upstream does wrong, and for how many calls."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

FaultKind = Literal["slow", "status", "drop", "half_chunk", "truncated", "garbage", "empty", "hang"]


class Fault(BaseModel):
    """One fault.

    - slow: only the delay
    - status: an error in OpenAI's envelope, with `Retry-After` if set
    - drop: the connection is closed
    - half_chunk: half of the next chunk is sent, then the connection is closed
    - truncated: the answer ends early, as if it were complete
    - garbage: status 200 and a body that is not JSON
    - empty: an answer without text
    - hang: nothing more is sent until the client disconnects

    drop, half_chunk, truncated and hang come after `after_chunks` chunks. The first chunk of a stream
    contains the role, the next ones text; a plain answer is sent in two halves, which count as chunks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: FaultKind
    delay_s: float = Field(0.0, ge=0, description="wait before the first byte, seconds")
    status: int = Field(500, ge=400, le=599, description="HTTP status, for `status`")
    retry_after_s: float | None = Field(None, ge=0, description="the Retry-After header, for `status`")
    after_chunks: int = Field(0, ge=0, description="chunks sent before the fault")
    times: int | None = Field(1, ge=1, description="number of calls; None: until the script is replaced")


class Script:
    """The faults of one model, in the order of its calls; after the last fault it answers normally."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._faults = list(faults)
        self._served = 0  # calls that had the first fault

    def next(self) -> Fault | None:
        """The fault of the next call."""
        if not self._faults:
            return None
        fault = self._faults[0]
        self._served += 1
        if fault.times == self._served:
            self._faults.pop(0)
            self._served = 0
        return fault
