"""The longest answer that a refusal allows: `max_tokens` is a limit, so it is sent again within that."""

from __future__ import annotations

import re
from functools import partial

from service.domain.basics import Json
from service.providers.repairs import Repair
from service.providers.thinking import with_fitting_budget

FORM = "max_tokens above the limit"
_NAMES = ("max_tokens", "max_completion_tokens")
_LEAST = 256  # tokens of an answer that is of use; a smaller limit is that of a prompt that is too long
_WORDING = (
    r"max[ _]?(?:completion|output|new)?[ _]?tokens|maximum tokens|in the completion"
    r"|(?:output|completion) tokens"
)
_NUMBER = r"(\d[\d,_]{0,11})"
_WINDOW = re.compile(rf"(?:context (?:length|window|limit|size)|maximum length)\D{{0,40}}{_NUMBER}")
_PROMPT = re.compile(
    rf"{_NUMBER} (?:tokens )?"
    r"(?:in the (?:messages|prompt|input)|(?:text )?(?:input|prompt) tokens|of (?:text )?input)"
)
_SUM = re.compile(rf"{_NUMBER} ?\+ ?{_NUMBER} ?> ?{_NUMBER}")  # Anthropic: prompt + max_tokens > window
_EXCLUSIVE = re.compile(r"exclusive|(?:lower|less|smaller) than (?!or equal)")


def limit_repair() -> Repair:
    """The repair of a `max_tokens` that the server finds too large."""
    return Repair(FORM, _WORDING, lambda body: body, reads=_read)


def _read(said: str, body: Json) -> Repair | None:
    """The repair with the limit that the refusal states; None: it states none that is of use."""
    asked = max((body[name] for name in _NAMES if isinstance(body.get(name), int)), default=0)
    of_window = _left_in_window(said)
    limit = of_window if of_window is not None else _largest_below(asked, said)
    if limit is None or not _LEAST <= limit < asked:
        return None
    # What a window leaves is different for each prompt.
    return Repair(FORM, _WORDING, partial(_clamped, limit), is_remembered=of_window is None)


def _left_in_window(said: str) -> int | None:
    """What the context window leaves for the answer; None: the refusal is not about it."""
    if (total := _SUM.search(said)) is not None:
        return _value(total[3]) - _value(total[1])
    window, prompt = _WINDOW.search(said), _PROMPT.search(said)
    if window is None:
        return None
    return 0 if prompt is None else _value(window[1]) - _value(prompt[1])


def _largest_below(asked: int, said: str) -> int | None:
    numbers = [n for n in map(_value, re.findall(_NUMBER, said)) if n < asked]
    if not numbers:
        return None
    return max(numbers) - (_EXCLUSIVE.search(said) is not None)


def _value(digits: str) -> int:
    return int(digits.replace(",", "").replace("_", ""))


def _clamped(limit: int, body: Json) -> Json:
    above = {name: limit for name in _NAMES if isinstance(body.get(name), int) and body[name] > limit}
    return with_fitting_budget({**body, **above}) if above else body
