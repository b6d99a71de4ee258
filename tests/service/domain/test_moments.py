from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from service.domain.moments import parse_moment

NOW = datetime(2026, 7, 8, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("7d", NOW - timedelta(days=7)),
        ("12h", NOW - timedelta(hours=12)),
        ("30m", NOW - timedelta(minutes=30)),
        ("2026-07-01", datetime(2026, 7, 1, tzinfo=UTC)),
        ("2026-07-01T08:00", datetime(2026, 7, 1, 8, tzinfo=UTC)),
        ("2026-07-01T08:00+02:00", datetime(2026, 7, 1, 8, tzinfo=timezone(timedelta(hours=2)))),
    ],
)
def test_a_moment_is_a_time_or_an_age(text: str, moment: datetime) -> None:
    assert parse_moment(text, NOW) == moment


@pytest.mark.parametrize(
    "text", ["", "7", "d", "7w", "-7d", "7 d", "\u0667d", "yesterday", "9" * 30 + "d", "999999999d"]
)
def test_anything_else_is_rejected_with_the_rule(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be a time \(2026-11-24T08:00\) or an age"):
        parse_moment(text, NOW)
