"""The cases: what a client sends, what a provider answers, and what should come, one JSON file each.

Each file is one symptom that users of comparable gateways reported in public (`report`), rebuilt with
words and data of our own.

| key | meaning |
|---|---|
| `kind` | the class of fault |
| `provider`, `arm` | the adapter of the arm, and further settings of it |
| `arms` | two arms `a`, the preferred one, and `b`; absent: one arm with the case's id |
| `request` | what the client sends: `path`, `headers`, `body` or `raw`; `%MODEL%`, `%A%`, `%B%` are names |
| `upstream` | what the provider answers: the first rule whose `when` is true, by arm if there are two |
| `expect` | what should come, in words; `checks.py` has it as assertions |

A rule has a `status`, and `json` or `sse`: a list of events, where an object is sent as JSON, a string
unchanged in a `data:` line, `!raw` without one, and `{"sleep": s}` waits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from service.domain.basics import Json

DATA = Path(__file__).parent / "data"

# Cases about time run on a faster clock: every wait of the provider and every limit is multiplied by this.
TIME_SCALES: Mapping[str, float] = {"s14-keepalives-hold": 0.4, "s17-whole-after-65s": 0.02}


@dataclass(frozen=True, slots=True)
class Case:
    """One case."""

    case_id: str
    provider: str
    arm: Json
    arms: tuple[str, ...]  # of two arms, their names in the file
    request: Json
    upstream: Mapping[str, Sequence[Json]]  # rules by arm; of one arm under ""

    @property
    def time_scale(self) -> float:
        return TIME_SCALES.get(self.case_id, 1.0)

    @property
    def arm_ids(self) -> list[str]:
        return [self.arm_id(name) for name in self.arms or ("",)]

    def arm_id(self, name: str = "") -> str:
        return f"{self.case_id}@{name}" if name else self.case_id

    @property
    def is_streamed(self) -> bool:
        return bool(self.request.get("body", {}).get("stream"))

    def raw_request(self) -> bytes:
        """The bytes that the client sends."""
        if "raw" in self.request:
            raw = str(self.request["raw"]).encode()
        else:
            raw = orjson.dumps({"model": "auto" if self.arms else "%MODEL%", **self.request["body"]})
        for mark, name in (("%A%", "a"), ("%B%", "b"), ("%MODEL%", "")):
            raw = raw.replace(mark.encode(), self.arm_id(name).encode())
        return raw


def load(name: str) -> Case:
    """Read one file."""
    found = orjson.loads((DATA / f"{name}.json").read_bytes())
    upstream = found["upstream"]
    return Case(
        case_id=found["id"],
        provider=found["provider"],
        arm=found["arm"],
        arms=tuple(found.get("arms", ())),
        request=found["request"],
        upstream=upstream if isinstance(upstream, dict) else {"": upstream},
    )


def names() -> list[str]:
    return sorted(path.stem for path in DATA.glob("*.json"))
