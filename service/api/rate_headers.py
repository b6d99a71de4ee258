"""The headers that tell callers what is left of their limits of requests and tokens, as the providers do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from service.dialects.dialect import Dialect
from service.errors import Rate


def rate_headers(rates: Mapping[str, Rate], dialect: Dialect) -> dict[str, str]:
    """The headers of the dialect; none for a caller without such limits."""
    if not rates:
        return {}
    return _anthropics(rates) if dialect.name == "anthropic" else openais_rates(rates)


def openais_rates(rates: Mapping[str, Rate]) -> dict[str, str]:
    """`x-ratelimit-limit-requests` and so on; the reset as a duration, such as `6m0s`."""
    fields = {}
    for kind, rate in rates.items():
        fields[f"x-ratelimit-limit-{kind}"] = str(rate.limit)
        fields[f"x-ratelimit-remaining-{kind}"] = str(rate.left)
        fields[f"x-ratelimit-reset-{kind}"] = _duration(rate.resets_in_s)
    return fields


def _anthropics(rates: Mapping[str, Rate]) -> dict[str, str]:
    """`anthropic-ratelimit-requests-limit` and so on; the reset as a time of RFC 3339."""
    fields = {}
    for kind, rate in rates.items():
        resets_at = datetime.now(UTC) + timedelta(seconds=math.ceil(rate.resets_in_s))
        fields[f"anthropic-ratelimit-{kind}-limit"] = str(rate.limit)
        fields[f"anthropic-ratelimit-{kind}-remaining"] = str(rate.left)
        fields[f"anthropic-ratelimit-{kind}-reset"] = resets_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return fields


def _duration(seconds: float) -> str:
    """Seconds in the form of Go, which OpenAI's headers have: `12s`, `6m0s`, `2h46m40s`."""
    minutes, s = divmod(math.ceil(seconds), 60)
    hours, m = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + (f"{m}m" if minutes else "") + f"{s}s"
