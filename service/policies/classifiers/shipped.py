"""The heads that come with the package."""

from __future__ import annotations

from pathlib import Path

from service.policies.classifiers.features import TextFeatures
from service.policies.classifiers.head import Head, read_head

NAMES = ("intent", "difficulty")


def shipped_heads(features: TextFeatures) -> tuple[Head, ...]:
    """The heads for intent and difficulty."""
    folder = Path(__file__).parent
    return tuple(read_head(folder / f"{name}.json", features.names) for name in NAMES)
