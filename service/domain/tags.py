"""Tags: what classifiers find out about a request before its model is chosen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

INTENT, DIFFICULTY, EXPERT = "intent", "difficulty", "expert"
INTENTS = ("completion", "error", "refactoring", "explanation", "test", "other")
DIFFICULTIES = ("simple", "medium", "complex")
# The tags that rules may name, and their values. The values of `expert` are the names in the settings.
TAG_VALUES: Mapping[str, tuple[str, ...]] = {INTENT: INTENTS, DIFFICULTY: DIFFICULTIES}

STAND_IN = "embedding in place of the routing model"  # a source: the model failed


@dataclass(frozen=True, slots=True)
class Tag:
    """What a classifier found: `intent` is `error`."""

    name: str
    value: str
    confidence: float  # in [0, 1]
    cost_usd: Decimal | None  # of finding it; None: nobody knows it
    source: str  # what found it: `linear`, `embedding`, or the name of a model


def task_of(tag: Tag) -> str:
    """The tag as a task: the name keeps it apart from tasks that clients tag."""
    return f"{tag.name}:{tag.value}"


def value_of(name: str, tags: Iterable[Tag]) -> str | None:
    """The value of the tag of this name; None: there is none."""
    return next((tag.value for tag in tags if tag.name == name), None)
