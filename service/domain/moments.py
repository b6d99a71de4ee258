"""Moments as people write them: a time, or how long ago."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_UNITS = {"d": "days", "h": "hours", "m": "minutes"}


def parse_moment(text: str, now: datetime) -> datetime:
    """Read an ISO 8601 time, in UTC unless it says otherwise, or an age.

    Raises:
        ValueError: it is neither; the message is the rule and the value.
    """
    try:
        if age := re.fullmatch(r"([0-9]+)([dhm])", text):
            return now - timedelta(**{_UNITS[age[2]]: int(age[1])})
        time = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        rule = "must be a time (2026-11-24T08:00) or an age (7d, 12h, 30m)"
        raise ValueError(f"{rule}, got {text[:40]!r}") from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)
