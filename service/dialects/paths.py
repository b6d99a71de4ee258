"""Compares paths of requests."""

from __future__ import annotations

from collections.abc import Iterable


def is_within(path: str, places: Iterable[str]) -> bool:
    """Whether the path is one of these places, or below one."""
    return any(path == place or path.startswith(f"{place}/") for place in places)
