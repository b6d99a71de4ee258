"""How long a provider asks to wait: every spelling in headers, in fields of the body, and in its sentence."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_RETRY_AFTER_S = 3600.0
_MAX_NODES = 500  # of a body
_UNITS = {  # the first letters that tell the units apart
    "ms": 0.001,
    "mil": 0.001,
    "毫": 0.001,
    "s": 1,
    "秒": 1,
    "m": 60,
    "分": 60,
    "h": 3600,
    "小": 3600,
    "时": 3600,
    "d": 86_400,
    "天": 86_400,
}
_UNIT = (
    r"ms\b|milliseconds?|millis\b|毫秒|seconds?|secs?\b|s(?![a-z])|秒钟?|minutes?|mins?\b|m(?![a-z])|分钟?"
    r"|hours?|hrs?\b|h(?![a-z])|小时|days?|d(?![a-z])|天"
)
_PART = re.compile(rf"(\d{{1,12}}(?:\.\d{{1,12}})?) ?({_UNIT})")
_DURATION = rf"(?:\d{{1,12}}(?:\.\d{{1,12}})? ?(?:{_UNIT})(?:,? and |, ?| )?){{1,4}}"
_IN_SENTENCE = re.compile(
    rf"(?:again|retry|retrying|wait|reset|resets|available|delay)\b[^\d\n]{{0,30}}?({_DURATION})"
    rf"|({_DURATION})(?:后|之后|以后)",
)
_UNTIL_IN_SENTENCE = re.compile(
    r"(?:again|retry|wait|resets?|available|access|until)\b[^\d\n.]{0,30}?"
    r"(\d{4}-\d\d-\d\d[t ]\d\d:\d\d(?::\d\d)?(?:\.\d{1,9})?(?:z|[+-]\d\d:?\d\d)?)"
)
_IN_MILLISECONDS = re.compile(r"(?:_|-|^)(?:ms|millis|milliseconds)$")
_FIELDS = re.compile(
    r"(?:retry|try|reset|resets|wait)_?(?:after|delay|in|at)?(?:_?(?:s|sec|secs|seconds|ms|millis|milliseconds))?"
    r"|(?:seconds|milliseconds)_?(?:to_wait|until_reset)"
)


def wait_s(headers: Mapping[str, str], body: object, sentence: str | None, now: datetime) -> float | None:
    """Seconds that the provider asks to wait, from 0 to an hour; None: it does not state a time.

    What it says of this refusal counts before what it says of its limits in general.
    """
    headers = {name.lower(): value for name, value in headers.items()}
    stated = _in_retry_after(headers, now)
    if stated is None:
        stated = _in_body(body, now)
    if stated is None and sentence:
        stated = _in_text(sentence.lower(), now)
    if stated is None:
        stated = _in_reset_headers(headers, now)
    return None if stated is None else min(max(stated, 0.0), MAX_RETRY_AFTER_S)


def seconds(value: object, now: datetime) -> float | None:
    """Seconds until the time, or in the duration, that this value states: `7`, `1m30s`, a date, an epoch."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return _of_number(float(value), now)
    if isinstance(value, dict):  # a protobuf duration
        return seconds(value.get("seconds"), now)
    text = str(value).strip().lower()[:100]
    try:
        return _of_number(float(text), now)
    except ValueError:
        pass
    return _until(text, now) if (duration := _duration(text)) is None else duration


def _of_number(number: float, now: datetime) -> float | None:
    if not math.isfinite(number):
        return None
    if number > 1e11:  # an epoch in milliseconds
        return number / 1000 - now.timestamp()
    return number - now.timestamp() if number > 1e9 else number  # an epoch in seconds


def _duration(text: str) -> float | None:
    """`1m30s`, `6ms`, `2 minutes and 5 seconds`; None if anything else is in the text."""
    if re.fullmatch(_DURATION, text) is None:
        return None
    return sum(float(number) * _unit_s(unit) for number, unit in _PART.findall(text))


def _unit_s(unit: str) -> float:
    return next(value for start, value in _UNITS.items() if unit.startswith(start))


def _until(text: str, now: datetime) -> float | None:
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError:
        try:
            moment = parsedate_to_datetime(text)
        except ValueError:
            return None
        if moment.tzinfo is None:
            return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now.timestamp()


def _in_retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    if (milliseconds := headers.get("retry-after-ms")) and (value := seconds(milliseconds, now)) is not None:
        return value / 1000
    return seconds(headers.get("retry-after"), now)


def _in_reset_headers(headers: Mapping[str, str], now: datetime) -> float | None:
    """When the limit that was reached resets: the longest of those with nothing left.

    Without any, one of the limits with something left was too small for the request: the shortest wait.
    """
    exhausted: list[float] = []
    others: list[float] = []
    for name, value in headers.items():
        if "ratelimit" not in name or "reset" not in name or (wait := seconds(value, now)) is None:
            continue
        wait /= 1000 if _IN_MILLISECONDS.search(name) else 1
        left = headers.get(name.replace("reset-after", "reset").replace("reset", "remaining"))
        (exhausted if left is not None and left.strip() in ("0", "0.0", "-1") else others).append(wait)
    return max(exhausted) if exhausted else min(others, default=_in_ratelimit_header(headers, now))


def _in_ratelimit_header(headers: Mapping[str, str], now: datetime) -> float | None:
    """`RateLimit: limit=9, remaining=0, reset=30`, and its newer form `"default";r=0;t=30`."""
    found = re.search(r"\b(?:reset|t) ?= ?(\d{1,12})", headers.get("ratelimit", "")[:200])
    return None if found is None else seconds(found[1], now)


def _in_body(body: object, now: datetime) -> float | None:
    waits = [wait for name, value in _members(body) if (wait := _in_field(name, value, now)) is not None]
    return max(waits, default=None)


def _in_field(name: str, value: object, now: datetime) -> float | None:
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)[:60].lower().replace("-", "_")
    if name == "headers" and isinstance(value, dict):  # OpenRouter passes on the headers of its provider
        return wait_s({str(key): str(text) for key, text in value.items()}, None, None, now)
    if _FIELDS.fullmatch(name) is None or (wait := seconds(value, now)) is None:
        return None
    return wait / 1000 if _IN_MILLISECONDS.search(name) else wait


def _members(body: object) -> Iterator[tuple[str, object]]:
    """The fields of all objects in the body, up to a limit."""
    waiting, n_seen = [body], 0
    while waiting and (n_seen := n_seen + 1) < _MAX_NODES:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value[:_MAX_NODES]
        elif isinstance(value, dict):
            yield from value.items()
            waiting += [inner for name, inner in value.items() if name.lower() != "headers"]


def _in_text(sentence: str, now: datetime) -> float | None:
    """`Please try again in 1m2.5s`, `retry after 20 seconds`, `请在 20 秒后重试`."""
    sentence = sentence[:4000]
    if (found := _IN_SENTENCE.search(sentence)) is not None:
        return sum(float(n) * _unit_s(unit) for n, unit in _PART.findall(found[1] or found[2]))
    found = _UNTIL_IN_SENTENCE.search(sentence)
    return None if found is None else _until(found[1], now)
